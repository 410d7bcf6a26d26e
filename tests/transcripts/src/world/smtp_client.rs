//! The SMTP client in transcripts written by hand. Its world sends what the `send` lines of the header say, then quits.

use bytes::{Bytes, BytesMut};
use core::time::Duration;
use mox_address::Path;
use mox_machine::{AskId, Now, Secret, Seed, Session, Step, TlsFacts};
use mox_smtp::client::{Answer, Ask, Client, Transaction};
use std::collections::VecDeque;

use super::START;
use crate::smtp::client::take_param;
use crate::{Fact, Machine, Spelled, Transcript};

/// The client and its world.
#[derive(Debug)]
pub struct SmtpClient {
    client: Client,
    now: Now,
    input: BytesMut,
    facts: Vec<Fact>,
    todo: VecDeque<(Transaction, Vec<u8>)>,
    message: Vec<u8>,
    upgrade: bool,
}

impl SmtpClient {
    /// Just connected. The error says what is wrong with the header.
    pub fn new(transcript: &Transcript) -> Result<Self, String> {
        let now = START;
        let config = transcript.get("config").unwrap_or("()");
        let client = Client::make(config, &Seed::from_number(0), now);
        let todo = transcript
            .all("send")
            .map(|line| transaction(transcript, line));
        let mut machine = Self {
            client: client.map_err(|why| format!("config: {why}"))?,
            now,
            input: BytesMut::new(),
            facts: Vec::new(),
            todo: todo.collect::<Option<_>>().ok_or(
                "`send: <attachment> <sender> <parameter> ... <recipient> <parameter> ...`",
            )?,
            message: Vec::new(),
            upgrade: false,
        };
        machine.go();
        Ok(machine)
    }

    fn go(&mut self) {
        loop {
            let before = self.input.len();
            if self.client.wants_read() && !self.upgrade {
                self.client.recv(self.now, &mut self.input);
            }
            let mut moved = self.input.len() != before;
            while let Some(step) = self.client.poll() {
                moved = true;
                match step {
                    Step::Send(bytes) => self.facts.push(Fact::Sent(bytes.to_vec())),
                    Step::Cancel(_) => {}
                    Step::StartTls => {
                        self.upgrade = true;
                        self.facts.push(Fact::Event("starttls".into()));
                    }
                    Step::Close => self.facts.push(Fact::Event("close".into())),
                    Step::Compress => self.facts.push(Fact::Event("compress".into())),
                    Step::Event(event) => {
                        let text = Client::event_text(&event);
                        self.facts.extend(text.map(Fact::Event));
                    }
                    Step::Ask(id, ask) => self.ask(id, &ask),
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn ask(&mut self, id: AskId, ask: &Ask) {
        let answer = match ask {
            Ask::Next(_) => match self.todo.pop_front() {
                None => Answer::Quit,
                Some((transaction, message)) => {
                    self.message = message;
                    Answer::Send(transaction)
                }
            },
            Ask::Sasl {
                challenge: None, ..
            } => Answer::Response(Some(Secret::new(Bytes::from_static(b"\0user\0good")))),
            Ask::Sasl { .. } => Answer::Failed,
            Ask::Piece { offset, max } => {
                let rest = usize::try_from(*offset).ok();
                let rest = rest
                    .and_then(|at| self.message.get(at..))
                    .unwrap_or_default();
                let (piece, _) = rest.split_at(rest.len().min(*max));
                Answer::Piece(Bytes::copy_from_slice(piece))
            }
        };
        self.client.answer(self.now, id, answer);
    }
}

impl Machine for SmtpClient {
    fn side(&self) -> char {
        'C'
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.go();
    }

    fn transport(&mut self, what: &str) -> bool {
        match what {
            "tls" if self.upgrade => {
                self.upgrade = false;
                self.client.secured(self.now, TlsFacts::default());
            }
            "eof" => self.client.eof(self.now),
            "drain" => self.client.drain(self.now),
            _ => return false,
        }
        self.go();
        true
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some((at, _)) = self.client.deadline().filter(|(at, _)| *at <= until) {
            self.now.mono = at.max(self.now.mono);
            self.client.tick(self.now);
            self.go();
        }
        self.now.mono = until;
    }

    fn answer(&mut self, _: usize, _: &str) -> bool {
        false
    }

    fn take(&mut self) -> Vec<Fact> {
        core::mem::take(&mut self.facts)
    }
}

/// What a `send` line of the header says: `attachment from PARAM to PARAM to`. `None` when that is not understood.
pub fn transaction(transcript: &Transcript, line: &str) -> Option<(Transaction, Vec<u8>)> {
    let mut words = line.split(' ');
    let body = transcript.attachment(words.next()?)?;
    let from = match words.next()? {
        "<>" => None,
        path => Some(Path::parse(path, true).ok()?),
    };
    let mut transaction = Transaction {
        from,
        size: body.len() as u64,
        eight_bit: !body.is_ascii(),
        ..Transaction::default()
    };
    for word in words {
        match Path::parse(word, true) {
            Ok(path) if !word.starts_with("ORCPT=") => transaction.to.push(path),
            _ => {
                let to = transaction.to.len().checked_sub(1);
                take_param(&mut transaction, to, word)?;
            }
        }
    }
    Some((transaction, body))
}
