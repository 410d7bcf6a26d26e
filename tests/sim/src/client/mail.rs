//! Somebody who sends: by submission with a password, or as another server does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_driver::Runtime;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::{Client, RETRY, Wire, patiently, sleep, text};
use crate::names;
use crate::oracle::Mail;
use crate::plan::{How, Notify, Send, To};

/// How often a message is tried at most: for a day and more, since the power of a server may fail again and again for hours.
const TRIES: u32 = 10_000;

/// Sends what its plan says.
pub(crate) struct Sender {
    who: Client,
    /// Who logs in; `None` is another server.
    account: Option<usize>,
}

/// What a session came to for the recipients it was about.
#[derive(Debug, Default)]
struct Outcome {
    /// Those the server said yes to, or may have.
    accepted: Vec<To>,
    /// Those it never will say yes to.
    refused: Vec<To>,
    /// The whole message set off.
    sent: bool,
    /// The reply to it.
    verdict: Option<Verdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Later,
    Never,
}

impl Sender {
    pub(crate) const fn new(who: Client, account: Option<usize>) -> Self {
        Self { who, account }
    }

    pub(crate) async fn run(self, sends: Vec<Send>) {
        for (n, send) in sends.iter().enumerate() {
            sleep(&self.who.on, Duration::from_millis(send.after_ms)).await;
            self.send(&format!("m{}x{n}e", self.who.number), send).await;
        }
    }

    /// The path of a message: every one has its own.
    fn path(&self, mark: &str) -> String {
        match self.account {
            Some(own) => format!(
                "{}+{mark}@{}",
                names::account(own),
                names::domain(self.who.server)
            ),
            None => format!("{mark}@{}", names::OUTSIDE),
        }
    }

    async fn send(&self, mark: &str, send: &Send) {
        let first = send.to.first().map(names::address).unwrap_or_default();
        let text = text(mark, &self.path(mark), &first, send.lines);
        let mail = Mail {
            server: self.who.server,
            sender: self.account.map(|own| names::account(own).to_owned()),
            text: text.clone(),
            to: send.to.iter().map(|to| (*to, Default::default())).collect(),
            settled: BTreeMap::new(),
            notify: send.notify,
            of_age: Default::default(),
            given_up: Default::default(),
            handed_on: Default::default(),
        };
        self.who.stage.judge.bench().ledger.enter(mark, mail);
        let mut open = send.to.clone();
        for attempt in 0..TRIES {
            // What goes wrong on purpose goes wrong once.
            let cut = attempt == 0 && matches!(send.how, How::CutOnce | How::InjectOnce);
            let mut outcome = Outcome::default();
            let began = self.who.on.now().mono;
            let session = self.session(mark, &text, &open, send, cut, &mut outcome);
            let ended = patiently(&self.who.on, session).await;
            let took = self.who.on.now().mono.since(began);
            self.tell(mark, &outcome, ended.as_ref().err().filter(|_| !cut), took);
            let done =
                |to: &To| outcome.accepted.contains(to) && outcome.verdict == Some(Verdict::Taken);
            open.retain(|to| !done(to) && !outcome.refused.contains(to));
            if open.is_empty() || outcome.verdict == Some(Verdict::Never) {
                return;
            }
            sleep(&self.who.on, RETRY).await;
        }
        self.who
            .stage
            .judge
            .wrong(format!("{mark} could not be sent in {TRIES} tries"));
    }

    fn tell(&self, mark: &str, outcome: &Outcome, failed: Option<&io::Error>, took: Duration) {
        let bench = &mut *self.who.stage.judge.bench();
        match outcome.verdict {
            Some(Verdict::Taken) => bench
                .ledger
                .taken(mark, &outcome.accepted, &mut bench.wrong),
            None if outcome.sent => bench.ledger.ambiguous(mark, &outcome.accepted),
            _ => {}
        }
        let who = format!("sender {}", self.who.number);
        let failed = failed.map(io::Error::to_string);
        bench
            .patience
            .session(&who, took, failed.as_deref(), &mut bench.wrong);
    }

    async fn session(
        &self,
        mark: &str,
        text: &str,
        to: &[To],
        send: &Send,
        cut: bool,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        let how = send.how;
        let notify = match self.account {
            Some(_) => send.notify,
            None => Notify::Usual,
        };
        let mut smtp = match self.account {
            Some(_) => self.who.connect(587, Some(465)).await?,
            None => self.who.connect(25, None).await?,
        };
        smtp.expect("220").await?;
        smtp.say("EHLO client.example\r\n").await?;
        let offer = smtp.expect("250").await?;
        if self.who.starts_tls(&smtp) && offer.contains("STARTTLS") {
            let injected = if cut && how == How::InjectOnce {
                "NOOP\r\n"
            } else {
                ""
            };
            smtp.say(&format!("STARTTLS\r\n{injected}")).await?;
            smtp.expect("220").await?;
            smtp = self.who.secure(smtp).await?;
            smtp.say("EHLO client.example\r\n").await?;
            smtp.expect("250").await?;
        }
        if let Some(own) = self.account {
            let user = names::user(self.who.server, own);
            let response = STANDARD.encode(format!("\0{user}\0{}", names::PASSWORD));
            smtp.say(&format!("AUTH PLAIN {response}\r\n")).await?;
            smtp.expect("235").await?;
        }
        let mail = format!("MAIL FROM:<{}>\r\n", self.path(mark));
        if how == How::AfterReset {
            // Whoever is named here must not get it.
            let decoy = To::Account(self.who.server, 0);
            smtp.say(&mail).await?;
            smtp.expect("250").await?;
            if !to.contains(&decoy) {
                smtp.say(&rcpt(&decoy, notify)).await?;
                smtp.expect("250").await?;
            }
            smtp.say("RSET\r\n").await?;
            smtp.expect("250").await?;
        }
        let in_chunks = matches!(how, How::Chunks(_));
        if how == How::Pipelined {
            let all: String = to.iter().map(|to| rcpt(to, notify)).collect();
            smtp.say(&format!("{mail}{all}DATA\r\n")).await?;
            smtp.expect("250").await?;
            for to in to {
                recipient(&mut smtp, to, outcome).await?;
            }
        } else {
            smtp.say(&mail).await?;
            smtp.expect("250").await?;
            for to in to {
                smtp.say(&rcpt(to, notify)).await?;
                recipient(&mut smtp, to, outcome).await?;
            }
            if outcome.accepted.is_empty() {
                return goodbye(smtp).await;
            }
            if !in_chunks {
                smtp.say("DATA\r\n").await?;
            }
        }
        if !in_chunks && smtp.expect("354").await.is_err() {
            return match outcome.accepted.is_empty() {
                true => goodbye(smtp).await,
                false => Err(io::Error::other("DATA was refused")),
            };
        }
        if cut && how == How::CutOnce {
            let half = text.len() / 2;
            let text = text.replace("\r\n.", "\r\n..");
            smtp.say(text.get(..half).unwrap_or_default()).await?;
            return smtp.close().await;
        }
        outcome.sent = true;
        if let How::Chunks(size) = how {
            // Nothing of it counts before the last piece.
            outcome.sent = false;
            chunks(&mut smtp, text, size, outcome).await?;
        } else {
            let stuffed = text.replace("\r\n.", "\r\n..");
            smtp.say(&format!("{stuffed}.\r\n")).await?;
            verdict(&mut smtp, outcome).await?;
        }
        goodbye(smtp).await
    }
}

async fn chunks(smtp: &mut Wire, text: &str, size: u32, outcome: &mut Outcome) -> io::Result<()> {
    // At most forty pieces.
    let size = usize::try_from(size).unwrap_or(1).max(1 + text.len() / 40);
    let mut rest = text;
    loop {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        let last = if after.is_empty() { " LAST" } else { "" };
        outcome.sent = after.is_empty();
        smtp.say(&format!("BDAT {}{last}\r\n{piece}", piece.len()))
            .await?;
        if after.is_empty() {
            return verdict(smtp, outcome).await;
        }
        smtp.expect("250").await?;
        rest = after;
    }
}

/// The reply to the whole message.
async fn verdict(smtp: &mut Wire, outcome: &mut Outcome) -> io::Result<()> {
    let reply = smtp.reply().await?;
    outcome.verdict = Some(match reply.as_bytes().first() {
        Some(b'2') => Verdict::Taken,
        Some(b'4') => Verdict::Later,
        _ => Verdict::Never,
    });
    match outcome.verdict {
        Some(Verdict::Taken) => Ok(()),
        _ => Err(io::Error::other(reply)),
    }
}

fn rcpt(to: &To, notify: Notify) -> String {
    let notify = match notify {
        Notify::Usual => "",
        Notify::Never => " NOTIFY=NEVER",
        Notify::Failure => " NOTIFY=FAILURE",
        Notify::Success => " NOTIFY=SUCCESS,FAILURE",
    };
    format!("RCPT TO:<{}>{notify}\r\n", names::address(to))
}

/// The reply to RCPT.
async fn recipient(smtp: &mut Wire, to: &To, outcome: &mut Outcome) -> io::Result<()> {
    let reply = smtp.reply().await?;
    match reply.as_bytes().first() {
        Some(b'2') => outcome.accepted.push(*to),
        Some(b'5') => outcome.refused.push(*to),
        _ => {}
    }
    Ok(())
}

async fn goodbye(mut smtp: Wire) -> io::Result<()> {
    smtp.say("QUIT\r\n").await?;
    smtp.expect("221").await?;
    Ok(())
}
