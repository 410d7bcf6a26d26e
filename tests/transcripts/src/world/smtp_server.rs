//! The SMTP server in transcripts written by hand, and whoever it asks.

use bytes::{Bytes, BytesMut};
use core::time::Duration;
use mox_address::Reply;
use mox_machine::{AskId, Mono, Now, Recorded, Seed, Session, Step, Tape, TlsFacts, Utc};
use mox_smtp::server::{Answer, Ask, Event, Server};

use crate::smtp::parse_reply;
use crate::{Fact, Machine, Spelled, Transcript, escape};

/// When every transcript begins.
pub const START: Now = Now {
    mono: Mono(1_000_000_000),
    utc: Utc::from_secs(1_767_323_045),
};

/// Whoever the server asks.
#[derive(Debug)]
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

/// The server and its world.
#[derive(Debug)]
pub struct SmtpServer {
    server: Recorded<Server>,
    world: SmtpWorld,
    now: Now,
    input: BytesMut,
    facts: Vec<Fact>,
    upgrade: bool,
    closed: bool,
}

impl SmtpServer {
    /// Just connected. The error says what is wrong with the header.
    pub fn new(transcript: &Transcript) -> Result<Self, String> {
        Self::recorded(transcript, None)
    }

    /// The same with a tape beside it, which begins at [`START`].
    pub fn recorded(transcript: &Transcript, tape: Option<Tape<Server>>) -> Result<Self, String> {
        let mut machine = Self {
            server: Recorded::new(server(transcript)?, tape),
            world: SmtpWorld::new(transcript)?,
            now: START,
            input: BytesMut::new(),
            facts: Vec::new(),
            upgrade: false,
            closed: false,
        };
        machine.go();
        Ok(machine)
    }

    /// What was recorded, once.
    pub fn take_tape(&mut self) -> Option<Tape<Server>> {
        self.server.take_tape()
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
                    Step::Compress => self.facts.push(Fact::Event("compress".into())),
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
pub fn server(transcript: &Transcript) -> Result<Server, String> {
    let config = transcript.get("config").unwrap_or("()");
    Server::make(config, &Seed::from_number(0), START).map_err(|why| format!("config: {why}"))
}

impl SmtpWorld {
    /// As the header says. The error says what is wrong with it.
    pub fn new(transcript: &Transcript) -> Result<Self, String> {
        let refuse = |line: &str| {
            let (address, reply) = line.split_once(' ')?;
            Some((address.to_owned(), parse_reply(reply)?))
        };
        let refusals = transcript.all("refuse").map(refuse);
        let user = transcript.get("user").unwrap_or("user good");
        let (name, password) = user.split_once(' ').ok_or("`user: <name> <password>`")?;
        Ok(Self {
            spelled: transcript.get("world") == Some("spelled"),
            refusals: refusals
                .collect::<Option<_>>()
                .ok_or("`refuse: <address> <reply>`")?,
            credentials: format!("\0{name}\0{password}").into_bytes(),
            open: Vec::new(),
            message: Vec::new(),
            stored: 0,
        })
    }

    /// How a fact is written, if it is.
    pub fn told(event: &Event) -> Option<Fact> {
        Server::event_text(event).map(Fact::Event)
    }

    /// An answer is not wanted any more.
    pub fn cancel(&mut self, id: AskId) {
        self.open.retain(|open| *open != id);
    }

    /// The answer, if it is not left to the transcript.
    pub fn ask(&mut self, id: AskId, ask: Ask, facts: &mut Vec<Fact>) -> Option<Answer> {
        match &ask {
            Ask::Body(piece) => {
                self.message.extend_from_slice(piece);
                return Some(Answer::Accept);
            }
            Ask::Commit { bytes } => {
                let message = core::mem::take(&mut self.message);
                if *bytes != message.len() as u64 {
                    facts.push(Fact::Event(format!("a commit of {bytes} octets")));
                }
                let message = escape(&message);
                facts.push(Fact::Event(format!("message \"{message}\"")));
            }
            _ => {}
        }
        if matches!(ask, Ask::Sender { .. }) {
            self.message.clear();
        }
        if self.spelled {
            self.open.push(id);
            facts.push(Fact::Ask(Server::ask_text(&ask)));
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
        let answer = Server::parse_answer(answer)?;
        Some((self.open.remove(place), answer))
    }
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
        core::mem::take(&mut self.facts)
    }
}
