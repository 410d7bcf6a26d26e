//! Runs a session in memory: what a driver does, without a stream.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests; each file uses a part of it"
)]

use bytes::BytesMut;
use mox_address::{Domain, Reply};
use mox_machine::{AskId, Mono, Now, Session, Step, TlsFacts};
use mox_smtp::server::{Answer, Ask, Config, Event, Mode, Server};
use std::time::Duration;

/// Answers the asks of a session.
pub trait World<S: Session> {
    fn answer(&mut self, ask: S::Ask) -> S::Answer;
    fn event(&mut self, event: S::Event);
}

/// A session with its world and buffers.
pub struct Talk<S: Session, W> {
    pub session: S,
    pub world: W,
    pub now: Now,
    pub input: BytesMut,
    /// What it said, not yet looked at.
    pub output: Vec<u8>,
    pub closed: bool,
    pub upgrading: bool,
    pub most_open: usize,
    /// Asks are answered only when this says so.
    pub hold: bool,
    pub open: Vec<(AskId, S::Ask)>,
    pub seen: Vec<AskId>,
}

impl<S: Session, W: World<S>> Talk<S, W> {
    pub fn new(session: S, world: W) -> Self {
        let mut talk = Self {
            session,
            world,
            now: Now::default(),
            input: BytesMut::new(),
            output: Vec::new(),
            closed: false,
            upgrading: false,
            most_open: 0,
            hold: false,
            open: Vec::new(),
            seen: Vec::new(),
        };
        talk.run();
        talk
    }

    /// Feeds bytes, as they would come from the stream in one read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.run();
    }

    pub fn step(&mut self) -> bool {
        let Some(step) = self.session.poll() else {
            return false;
        };
        match step {
            Step::Ask(id, ask) => {
                assert!(!self.seen.contains(&id), "R5: {id:?} was used twice");
                self.seen.push(id);
                self.open.push((id, ask));
                self.most_open = self.most_open.max(self.open.len());
            }
            Step::Cancel(id) => self.open.retain(|(open, _)| *open != id),
            Step::Send(bytes) => {
                assert!(!bytes.is_empty());
                assert!(!self.closed, "nothing is said after Close");
                self.output.extend_from_slice(&bytes);
            }
            Step::StartTls => self.upgrading = true,
            Step::Compress => panic!("SMTP has no COMPRESS"),
            Step::Close => self.closed = true,
            Step::Event(event) => self.world.event(event),
        }
        true
    }

    pub fn answer_one(&mut self, at: usize) {
        let (id, ask) = self.open.remove(at);
        let answer = self.world.answer(ask);
        self.session.answer(self.now, id, answer);
    }

    /// Until nothing moves.
    pub fn run(&mut self) {
        loop {
            let mut moved = false;
            while self.step() {
                moved = true;
            }
            assert!(self.session.poll().is_none(), "R2");
            if !self.hold && !self.open.is_empty() {
                self.answer_one(0);
                continue;
            }
            if !self.input.is_empty() && self.session.wants_read() {
                let before = self.input.len();
                self.session.recv(self.now, &mut self.input);
                moved |= self.input.len() < before;
                while self.step() {
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }

    pub fn eof(&mut self) {
        self.session.eof(self.now);
        self.run();
    }

    pub fn tls(&mut self) {
        assert!(self.upgrading && self.input.is_empty());
        self.upgrading = false;
        self.session.secured(self.now, TlsFacts::default());
        self.run();
    }

    /// Lets time pass, deadline by deadline; R3 holds after each.
    pub fn sleep(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some((at, _)) = self.session.deadline().filter(|&(at, _)| at <= end) {
            self.now.mono = at.max(self.now.mono);
            self.session.tick(self.now);
            let after = self.session.deadline();
            assert!(
                after.is_none_or(|(at, _)| at > self.now.mono),
                "R3: {after:?}"
            );
            self.run();
        }
        self.now.mono = end;
    }

    pub fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.output)).unwrap()
    }
}

/// A mail store that takes everything but what a test tells it to refuse.
#[derive(Debug, Default)]
pub struct Store {
    /// What came in, message by message: sender and recipients, body.
    pub messages: Vec<(String, Vec<u8>)>,
    pub pieces: Vec<usize>,
    pub events: Vec<Event>,
    pub envelope: String,
    pub body: Vec<u8>,
    /// What transactions are called, if anything.
    pub id: Option<&'static str>,
    /// Replies instead of Accept, by what the ask shows.
    pub refuse: Vec<(&'static str, Reply)>,
    /// LMTP: an answer for each recipient.
    pub each: Option<Vec<Reply>>,
}

impl World<Server> for Store {
    fn answer(&mut self, ask: Ask) -> Answer {
        let shown = format!("{ask:?}");
        let refusal = self.refuse.iter().find(|(what, _)| shown.contains(what));
        if let Some((_, reply)) = refusal {
            return Answer::Reply(reply.clone());
        }
        match ask {
            Ask::Hello { .. } => {}
            Ask::Sasl {
                response, first, ..
            } => {
                return match response {
                    None => Answer::Challenge("".into()),
                    Some(secret) if &secret.expose()[..] == b"\0user\0good" => {
                        Answer::Authenticated("user".into())
                    }
                    Some(secret) if &secret.expose()[..] == b"more" && first => {
                        Answer::Challenge("again?".into())
                    }
                    Some(_) => Answer::Reply(Reply::new(535, 7, 8, "Bad credentials")),
                };
            }
            Ask::Sender { from, .. } => {
                self.envelope = from.map_or_else(|| "<>".into(), |from| from.to_string());
                self.body.clear();
                if let Some(id) = self.id {
                    return Answer::Begun { id: id.into() };
                }
            }
            Ask::Recipient { to, .. } => self.envelope.push_str(&format!(" {to}")),
            Ask::Body(piece) => {
                self.pieces.push(piece.len());
                self.body.extend_from_slice(&piece);
            }
            Ask::Commit { bytes } => {
                assert_eq!(bytes, self.body.len() as u64);
                let envelope = std::mem::take(&mut self.envelope);
                self.messages
                    .push((envelope, std::mem::take(&mut self.body)));
                if let Some(each) = self.each.clone() {
                    return Answer::Each(each);
                }
                return Answer::Stored {
                    id: format!("id{}", self.messages.len()),
                };
            }
        }
        Answer::Accept
    }

    fn event(&mut self, event: Event) {
        if event == Event::Reset {
            self.envelope.clear();
            self.body.clear();
        }
        self.events.push(event);
    }
}

pub fn config(mode: Mode) -> Config {
    let mut config = Config::new(Domain::parse("mx.example", false).unwrap());
    config.mode = mode;
    config.max_size = 100_000;
    config
}

pub fn server(config: &Config) -> Talk<Server, Store> {
    let now = Now {
        mono: Mono(1_000),
        ..Now::default()
    };
    let mut talk = Talk::new(Server::new(config.clone(), now), Store::default());
    talk.now = now;
    talk
}

/// `\r`, `\n`, `\0`, `\\` written out.
fn unescape(text: &str) -> String {
    text.replace("\\r", "\r")
        .replace("\\n", "\n")
        .replace("\\0", "\0")
}

/// What the client sends and then the server answers, turn by turn. `C: ` is a line, `C| ` bytes with escapes,
/// `S: ` a line of the server, `@ tls` the handshake, `@ close` the end.
fn turns(script: &str) -> Vec<(Vec<u8>, String, Vec<String>)> {
    let mut turns: Vec<(Vec<u8>, String, Vec<String>)> = vec![Default::default()];
    for line in script
        .lines()
        .map(str::trim_start)
        .filter(|l| !l.is_empty())
    {
        let (sigil, rest) = line.split_at(line.len().min(3));
        let last = turns.last().unwrap();
        if sigil.starts_with('C') && !(last.1.is_empty() && last.2.is_empty()) {
            turns.push(Default::default());
        }
        let last = turns.last_mut().unwrap();
        match sigil.trim_end() {
            "C:" => last.0.extend_from_slice(format!("{rest}\r\n").as_bytes()),
            "C|" => last.0.extend_from_slice(unescape(rest).as_bytes()),
            "S:" => last.1.push_str(&format!("{rest}\r\n")),
            "@" | "@ t" | "@ c" => last.2.push(line[2..].to_owned()),
            other => panic!("what is {other:?}?"),
        }
    }
    turns
}

/// Plays a script whole, byte by byte, and with each single cut; the same must come of all.
pub fn play(config: &Config, script: &str) -> Store {
    play_with(config, script, Store::default)
}

pub fn play_with(config: &Config, script: &str, store: impl Fn() -> Store) -> Store {
    let turns = turns(script);
    let length: usize = turns.iter().map(|turn| turn.0.len()).sum();
    let whole = play_once(config, &turns, store(), Cut::None);
    let mut others = vec![play_once(config, &turns, store(), Cut::All)];
    for at in 0..length {
        others.push(play_once(config, &turns, store(), Cut::At(at)));
    }
    for other in others {
        assert_eq!(other.messages, whole.messages);
        assert_eq!(other.events, whole.events);
    }
    whole
}

#[derive(Clone, Copy, PartialEq)]
enum Cut {
    None,
    All,
    At(usize),
}

fn play_once(
    config: &Config,
    turns: &[(Vec<u8>, String, Vec<String>)],
    store: Store,
    cut: Cut,
) -> Store {
    let mut talk = server(config);
    talk.world = store;
    let mut offset = 0;
    for (client, server, transport) in turns {
        match cut {
            Cut::All => client.iter().for_each(|b| talk.feed(&[*b])),
            Cut::At(at) if (offset..offset + client.len()).contains(&at) => {
                talk.feed(&client[..at - offset]);
                talk.feed(&client[at - offset..]);
            }
            _ => talk.feed(client),
        }
        offset += client.len();
        assert_eq!(
            talk.said(),
            *server,
            "after {:?}",
            String::from_utf8_lossy(client)
        );
        for step in transport {
            match step.as_str() {
                "tls" => talk.tls(),
                "close" => assert!(talk.closed),
                other => panic!("what is {other:?}?"),
            }
        }
    }
    let closes = turns.iter().any(|turn| turn.2.iter().any(|s| s == "close"));
    assert_eq!(talk.closed, closes);
    assert!(talk.most_open <= 8, "R6");
    talk.world
}
