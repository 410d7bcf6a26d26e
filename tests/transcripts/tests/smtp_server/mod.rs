//! The SMTP server in transcripts.

use bytes::{Bytes, BytesMut};
use mox_address::{Domain, Reply};
use mox_machine::{AskId, Mono, Now, Session, Step, TlsFacts, Utc};
use mox_smtp::server::{Answer, Ask, Config, Event, Mode, Server};
use mox_transcripts::{Fact, Machine, Transcript, escape};
use serde::Deserialize;
use std::time::Duration;

/// The `config` of a transcript; what is left out is as in `Config::new`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    hostname: String,
    mode: String,
    starttls: bool,
    auth: bool,
    auth_in_clear: bool,
    auth_required: bool,
    tls_required: bool,
    max_size: u64,
    recipients: usize,
    surplus: usize,
    messages: usize,
    errors: usize,
    useless: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname: "mx.example.org".into(),
            mode: "delivery".into(),
            starttls: false,
            auth: false,
            auth_in_clear: false,
            auth_required: false,
            tls_required: false,
            max_size: 1_000_000,
            recipients: 1_000,
            surplus: 10_000,
            messages: 10_000,
            errors: 10,
            useless: 100,
        }
    }
}

impl Settings {
    fn config(self) -> Config {
        let mut config = Config::new(Domain::parse(&self.hostname, false).unwrap());
        config.mode = match self.mode.as_str() {
            "submission" => Mode::Submission,
            "lmtp" => Mode::Lmtp,
            _ => Mode::Delivery,
        };
        config.starttls = self.starttls;
        config.mechanisms = if self.auth { vec!["PLAIN"] } else { vec![] };
        config.auth_in_clear = self.auth_in_clear;
        config.auth_required = self.auth_required;
        config.tls_required = self.tls_required;
        config.max_size = self.max_size;
        config.limits.recipients = self.recipients;
        config.limits.surplus = self.surplus;
        config.limits.messages = self.messages;
        config.limits.errors = self.errors;
        config.limits.useless = self.useless;
        config
    }
}

/// When every transcript begins.
pub const START: Now = Now {
    mono: Mono(1_000_000_000),
    utc: Utc::from_secs(1_767_323_045),
};

/// Whoever the server asks.
pub struct SmtpWorld {
    /// Asks are lines of the transcript, and answered by it.
    spelled: bool,
    refusals: Vec<(String, Reply)>,
    /// What PLAIN's response ends in for the user it knows.
    credentials: Vec<u8>,
    open: Vec<AskId>,
    message: Vec<u8>,
    stored: u32,
}

pub struct SmtpServer {
    server: Server,
    world: SmtpWorld,
    now: Now,
    input: BytesMut,
    facts: Vec<Fact>,
    upgrade: bool,
    closed: bool,
}

impl SmtpServer {
    pub fn new(transcript: &Transcript) -> Self {
        let mut machine = Self {
            server: server(transcript),
            world: SmtpWorld::new(transcript),
            now: START,
            input: BytesMut::new(),
            facts: Vec::new(),
            upgrade: false,
            closed: false,
        };
        machine.go();
        machine
    }

    fn go(&mut self) {
        loop {
            let before = self.input.len();
            if self.server.wants_read() && !self.upgrade && !self.closed {
                self.server.recv(self.now, &mut self.input);
            }
            let mut moved = self.input.len() != before;
            while let Some(step) = self.server.poll() {
                moved = true;
                match step {
                    Step::Send(bytes) => self.facts.push(Fact::Sent(bytes.to_vec())),
                    Step::Cancel(id) => self.world.cancel(id),
                    Step::StartTls => {
                        self.upgrade = true;
                        self.facts.push(Fact::Event("starttls".into()));
                    }
                    Step::Close => {
                        self.closed = true;
                        self.facts.push(Fact::Event("close".into()));
                    }
                    Step::Compress => panic!("not offered"),
                    Step::Event(event) => self.facts.extend(SmtpWorld::told(&event)),
                    Step::Ask(id, ask) => {
                        if let Some(answer) = self.world.ask(id, ask, &mut self.facts) {
                            self.server.answer(self.now, id, answer);
                        }
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

/// The server that a transcript configures, just connected.
pub fn server(transcript: &Transcript) -> Server {
    let settings: Settings = ron::from_str(transcript.get("config").unwrap_or("()")).unwrap();
    Server::new(settings.config(), START)
}

impl SmtpWorld {
    pub fn new(transcript: &Transcript) -> Self {
        let refuse = |line: &str| {
            let (address, reply) = line.split_once(' ').unwrap();
            (address.to_string(), reply_of(reply).unwrap())
        };
        let user = transcript.get("user").unwrap_or("user good");
        let (name, password) = user.split_once(' ').unwrap();
        Self {
            spelled: transcript.get("world") == Some("spelled"),
            refusals: transcript.all("refuse").map(refuse).collect(),
            credentials: format!("\0{name}\0{password}").into_bytes(),
            open: Vec::new(),
            message: Vec::new(),
            stored: 0,
        }
    }

    /// How a fact is written, if it is.
    pub fn told(event: &Event) -> Option<Fact> {
        let text = match event {
            Event::Protocol(violation) => format!("protocol {violation:?}"),
            Event::Closed(reason) => format!("closed {reason:?}"),
            Event::Reset => "reset".into(),
            Event::Refused { .. } => return None,
        };
        Some(Fact::Event(text))
    }

    pub fn cancel(&mut self, id: AskId) {
        self.open.retain(|open| *open != id);
    }

    /// The answer, if it is not left to the transcript.
    pub fn ask(&mut self, id: AskId, ask: Ask, facts: &mut Vec<Fact>) -> Option<Answer> {
        let shown = match &ask {
            Ask::Hello { name, .. } => format!("hello {}", escape(name)),
            Ask::Sasl { mechanism, .. } => format!("sasl {}", escape(mechanism)),
            Ask::Sender { from: None, .. } => "sender <>".into(),
            Ask::Sender {
                from: Some(path), ..
            } => format!("sender <{path}>"),
            Ask::Recipient { to, .. } => format!("recipient <{to}>"),
            Ask::Body(piece) => {
                self.message.extend_from_slice(piece);
                return Some(Answer::Accept);
            }
            Ask::Commit { bytes } => {
                let message = std::mem::take(&mut self.message);
                assert_eq!(*bytes, message.len() as u64);
                let message = escape(&message);
                facts.push(Fact::Event(format!("message \"{message}\"")));
                format!("commit {bytes}")
            }
        };
        if matches!(ask, Ask::Sender { .. }) {
            self.message.clear();
        }
        if self.spelled {
            self.open.push(id);
            facts.push(Fact::Ask(shown));
            return None;
        }
        let refused = |address: String| {
            let refusal = self.refusals.iter().find(|(a, _)| *a == address);
            refusal.map_or(Answer::Accept, |(_, reply)| Answer::Reply(reply.clone()))
        };
        Some(match ask {
            Ask::Sender { from, .. } => refused(from.map_or_else(String::new, |p| p.to_string())),
            Ask::Recipient { to, .. } => refused(to.to_string()),
            Ask::Sasl { response: None, .. } => Answer::Challenge(Bytes::new()),
            Ask::Sasl {
                response: Some(response),
                ..
            } if response.expose().ends_with(&self.credentials) => {
                Answer::Authenticated("user".into())
            }
            Ask::Sasl { .. } => Answer::Reply(Reply::new(535, 7, 8, "Wrong")),
            Ask::Commit { .. } => {
                self.stored += 1;
                Answer::Stored {
                    id: self.stored.to_string(),
                }
            }
            Ask::Hello { .. } | Ask::Body(_) => Answer::Accept,
        })
    }

    /// What the transcript answers to the open ask of a place.
    pub fn answer(&mut self, place: usize, answer: &str) -> Option<(AskId, Answer)> {
        if place >= self.open.len() {
            return None;
        }
        let (what, rest) = answer.split_once(' ').unwrap_or((answer, ""));
        let rest = rest.trim_matches('"');
        let answer = match what {
            "accept" => Answer::Accept,
            "reply" => Answer::Reply(reply_of(rest)?),
            "challenge" => Answer::Challenge(Bytes::copy_from_slice(rest.as_bytes())),
            "authenticated" => Answer::Authenticated(rest.into()),
            "stored" => Answer::Stored { id: rest.into() },
            _ => return None,
        };
        Some((self.open.remove(place), answer))
    }
}

/// `550 5.1.1 No such user`.
fn reply_of(text: &str) -> Option<Reply> {
    let (code, rest) = text.split_once(' ')?;
    let (enhanced, text) = rest.split_once(' ')?;
    let mut parts = enhanced.split('.').skip(1).map(str::parse);
    let (subject, detail) = (parts.next()?.ok()?, parts.next()?.ok()?);
    Some(Reply::new(
        code.parse().ok()?,
        subject,
        detail,
        text.to_string(),
    ))
}

impl Machine for SmtpServer {
    fn side(&self) -> char {
        'S'
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.go();
    }

    fn transport(&mut self, what: &str) -> bool {
        match what {
            "tls" if self.upgrade => {
                self.upgrade = false;
                self.server.secured(self.now, TlsFacts::default());
            }
            "eof" => self.server.eof(self.now),
            "drain" => self.server.drain(self.now),
            _ => return false,
        }
        self.go();
        true
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some((at, _)) = self.server.deadline().filter(|(at, _)| *at <= until) {
            let at = at.max(self.now.mono);
            self.now.utc = self.now.utc + at.since(self.now.mono);
            self.now.mono = at;
            self.server.tick(self.now);
            self.go();
        }
        self.now.utc = self.now.utc + until.since(self.now.mono);
        self.now.mono = until;
    }

    fn answer(&mut self, place: usize, answer: &str) -> bool {
        let Some((id, answer)) = self.world.answer(place, answer) else {
            return false;
        };
        self.server.answer(self.now, id, answer);
        self.go();
        true
    }

    fn take(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }
}
