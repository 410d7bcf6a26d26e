//! Clients no server invites, as a world has them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Client, sleep};
use crate::names;
use crate::oracle::{Mail, Tally};
use crate::peers::{Habit, visit};
use crate::plan::{Rude, To, Trick};

/// How long a visit lasts at most.
const PATIENCE: Duration = Duration::from_secs(420);
/// The pause between two.
const PAUSE: Duration = Duration::from_secs(1);

impl Client {
    pub(crate) async fn intrude(self, visits: Vec<Rude>) {
        for (n, rude) in visits.iter().enumerate() {
            let habit = self.habit(n, rude);
            let to = names::socket(self.server, rude.port);
            let came = visit(&self.on, to, &habit, PATIENCE).await;
            self.on.sim().record("intruded", &came.sent.to_le_bytes());
            sleep(&self.on, PAUSE).await;
        }
    }

    fn habit(&self, n: usize, rude: &Rude) -> Habit {
        let is_imap = rude.port == 143;
        let command: &[u8] = if is_imap { b"a NOOP\r\n" } else { b"NOOP\r\n" };
        match rude.trick {
            Trick::Flood(times) => Habit::Flood(command.to_vec(), times),
            Trick::Drip(ms) => Habit::Drip(command.to_vec(), Duration::from_millis(ms)),
            Trick::Deaf(times, ms) => {
                Habit::Deaf(command.to_vec(), times, Duration::from_millis(ms))
            }
            Trick::Cut(at, parting) if is_imap => {
                let login = format!(
                    "a LOGIN {{5}}\r\nb APPEND INBOX {{400+}}\r\n{}",
                    "x".repeat(400)
                );
                Habit::Cut(login.into_bytes(), at, parting)
            }
            Trick::Cut(at, parting) => Habit::Cut(self.letter(n, "", at), at, parting),
            Trick::Smuggle(end) => {
                let end = Trick::ENDS.get(end).copied().unwrap_or("\n.\n");
                Habit::Say(self.letter(n, end, usize::MAX))
            }
            Trick::Inject if is_imap => {
                let said = "a STARTTLS\r\nb LOGIN ann secret\r\nc NOOP\r\n";
                Habit::Say(said.into())
            }
            Trick::Inject => {
                let said = "EHLO x.example\r\nSTARTTLS\r\nMAIL FROM:<>\r\nRSET\r\n";
                Habit::Say(said.into())
            }
        }
    }

    /// A message in one breath, and one inside it behind an end that is none. The judge knows of both: the first may come
    /// to its recipient if all of it is said, the second is for nobody.
    fn letter(&self, n: usize, end: &str, at: usize) -> Vec<u8> {
        let to = To::Account(self.server, 0);
        let (mark, inner) = (
            format!("v{}x{n}e", self.number),
            format!("w{}x{n}e", self.number),
        );
        let path = names::address(&to);
        // From the null path, which name servers have no say about: were MAIL put off, all the rest would be commands, since it is
        // said without waiting for a reply.
        let envelope = format!("MAIL FROM:<>\r\nRCPT TO:<{path}>\r\nDATA\r\n");
        let mut text = format!("Subject: {mark}\r\n\r\nnothing");
        if !end.is_empty() {
            text += &format!("{end}{envelope}Subject: {inner}\r\n\r\nsmuggled");
        }
        text += "\r\n";
        let said = format!("EHLO x.example\r\n{envelope}{text}.\r\n");
        let is_whole = at >= said.len();
        let tally = Tally {
            ambiguous: u32::from(is_whole),
            ..Tally::default()
        };
        let bench = &mut *self.stage.judge.bench();
        for (mark, to) in [
            (mark, BTreeMap::from([(to, tally)])),
            (inner, BTreeMap::new()),
        ] {
            let mail = Mail {
                server: self.server,
                sender: None,
                text: text.clone(),
                to,
                settled: BTreeMap::new(),
                of_age: Default::default(),
                notify: Default::default(),
                given_up: Default::default(),
                handed_on: Default::default(),
            };
            bench.ledger.enter(&mark, mail);
        }
        format!("{said}QUIT\r\n").into_bytes()
    }
}
