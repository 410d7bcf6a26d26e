//! The SMTP client in transcripts. Its world sends what the `send` lines of the header say, then quits.

use bytes::{Bytes, BytesMut};
use mox_address::{Host, Path};
use mox_machine::{AskId, Mono, Now, Secret, Session, Step, TlsFacts, Utc};
use mox_smtp::client::{Answer, Ask, Client, Config, Ending, Event, Outcome, Tls, Transaction};
use mox_transcripts::{Fact, Machine, Transcript};
use serde::Deserialize;
use std::time::Duration;

/// The `config` of a transcript.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// `never`, `required`; otherwise TLS is used where it is offered.
    tls: String,
    auth: bool,
}

pub struct SmtpClient {
    client: Client,
    now: Now,
    input: BytesMut,
    facts: Vec<Fact>,
    todo: Vec<(Transaction, Vec<u8>)>,
    message: Vec<u8>,
    upgrade: bool,
}

impl SmtpClient {
    pub fn new(transcript: &Transcript) -> Self {
        let settings: Settings = ron::from_str(transcript.get("config").unwrap_or("()")).unwrap();
        let now = Now {
            mono: Mono(1_000_000_000),
            utc: Utc::from_secs(1_767_323_045),
        };
        let mut config = Config::new(Host::parse("client.example", false).unwrap());
        config.tls = match settings.tls.as_str() {
            "never" => Tls::Never,
            "required" => Tls::Required,
            _ => Tls::IfOffered,
        };
        config.mechanisms = if settings.auth { vec!["PLAIN"] } else { vec![] };
        // `send: attachment from to to`
        let send = |line: &str| {
            let mut words = line.split(' ');
            let body = transcript.attachment(words.next().unwrap()).unwrap();
            let mut paths = words.map(|word| Path::parse(word, false).ok());
            let transaction = Transaction {
                from: paths.next().unwrap(),
                to: paths.map(Option::unwrap).collect(),
                size: body.len() as u64,
                eight_bit: !body.is_ascii(),
                utf8: false,
            };
            (transaction, body)
        };
        let mut machine = Self {
            client: Client::new(config, now),
            now,
            input: BytesMut::new(),
            facts: Vec::new(),
            todo: transcript.all("send").map(send).collect(),
            message: Vec::new(),
            upgrade: false,
        };
        machine.go();
        machine
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
                    Step::Compress => panic!("not offered"),
                    Step::Event(event) => self.event(&event),
                    Step::Ask(id, ask) => self.ask(id, &ask),
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn event(&mut self, event: &Event) {
        let why = |outcome: &Outcome| {
            let ambiguous = if outcome.ambiguous { " ambiguous" } else { "" };
            let (class, cause) = (outcome.class, outcome.cause);
            format!("{class:?} {cause:?} {:?}{ambiguous}", outcome.stage)
        };
        let text = match event {
            Event::Greeted(_) => return,
            Event::TlsRefused(reply) => format!("tls refused {reply}"),
            Event::Ending { bytes } => format!("ending {bytes}"),
            Event::Recipient { index, outcome } => format!("recipient {index} {}", why(outcome)),
            Event::Finished => "finished".into(),
            Event::Closed(Ending::Quit) => "closed Quit".into(),
            Event::Closed(Ending::Failed(outcome)) => format!("closed {}", why(outcome)),
        };
        self.facts.push(Fact::Event(text));
    }

    fn ask(&mut self, id: AskId, ask: &Ask) {
        let answer = match ask {
            Ask::Next(_) if self.todo.is_empty() => Answer::Quit,
            Ask::Next(_) => {
                let (transaction, message) = self.todo.remove(0);
                self.message = message;
                Answer::Send(transaction)
            }
            Ask::Sasl {
                challenge: None, ..
            } => Answer::Response(Some(Secret::new(Bytes::from_static(b"\0user\0good")))),
            Ask::Sasl { .. } => Answer::Failed,
            Ask::Piece { offset, max } => {
                let from = usize::try_from(*offset).unwrap();
                let to = self.message.len().min(from + max);
                Answer::Piece(Bytes::copy_from_slice(&self.message[from..to]))
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
        std::mem::take(&mut self.facts)
    }
}
