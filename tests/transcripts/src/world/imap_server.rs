//! The IMAP server in transcripts written by hand. Its world is the small one of the crate's own tests: INBOX with three
//! messages, one user.

use core::fmt;
use core::time::Duration;
use mox_imap::Server;
use mox_imap::server::{Config, Event};
use mox_machine::{Session, Tape};

use super::model::{Client, World};
use crate::imap::Settings;
use crate::{Fact, Machine, Spelled, Transcript};

/// The server and its world.
pub struct ImapServer {
    world: World,
    client: Client,
    upgraded: bool,
    closed: bool,
    told: usize,
}

/// The configuration of a transcript. The error says what is wrong with it.
pub fn config(transcript: &Transcript) -> Result<Config, String> {
    let config = transcript.get("config").unwrap_or("()");
    let settings: Settings = ron::from_str(config).map_err(|why| format!("config: {why}"))?;
    settings.config()
}

/// The mailboxes of a transcript.
pub fn world(transcript: &Transcript) -> World {
    let mut world = World::new();
    for name in transcript.all("mailbox") {
        world.create(name, None);
    }
    world
}

/// What another session does.
pub fn happens(world: &mut World, what: &str) -> bool {
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["deliver"] => {
            let text = b"Subject: new\r\n\r\nnew\r\n".to_vec();
            world.deliver("INBOX", text, 0);
            true
        }
        ["arrive"] => world.arrive("INBOX"),
        ["expunge", uid] => uid.parse().is_ok_and(|uid| world.expunge("INBOX", uid)),
        ["seen", uid] => uid.parse().is_ok_and(|uid| world.flag("INBOX", uid, 1)),
        ["rename", from, to] => world.rename(from, to),
        ["delete", name] => world.mailboxes.remove(name).is_some(),
        _ => false,
    }
}

/// How a fact is written, if it is.
pub fn told(event: &Event) -> Option<Fact> {
    Server::event_text(event).map(Fact::Event)
}

impl fmt::Debug for ImapServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = &self.client.session;
        f.debug_tuple("ImapServer").field(session).finish()
    }
}

impl ImapServer {
    /// Just connected. The error says what is wrong with the header.
    pub fn new(transcript: &Transcript) -> Result<Self, String> {
        Self::recorded(transcript, None)
    }

    /// The same with a tape beside it, which begins where its clock does.
    pub fn recorded(transcript: &Transcript, tape: Option<Tape<Server>>) -> Result<Self, String> {
        let mut machine = Self {
            world: world(transcript),
            client: Client::recorded(config(transcript)?, tape),
            upgraded: false,
            closed: false,
            told: 0,
        };
        machine.client.run(&mut machine.world);
        Ok(machine)
    }

    /// What was recorded, once.
    pub fn take_tape(&mut self) -> Option<Tape<Server>> {
        self.client.session.take_tape()
    }
}

impl Machine for ImapServer {
    fn side(&self) -> char {
        'S'
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.client.input.extend_from_slice(bytes);
        if !self.client.upgrade {
            self.client.run(&mut self.world);
        }
    }

    fn transport(&mut self, what: &str) -> bool {
        match what {
            "tls" if self.client.upgrade => {
                self.client.secure();
                self.upgraded = false;
            }
            "eof" => self.client.session.eof(self.client.now),
            "drain" => self.client.session.drain(self.client.now),
            _ if happens(&mut self.world, what) => {}
            _ => return false,
        }
        self.client.run(&mut self.world);
        true
    }

    fn wait(&mut self, time: Duration) {
        let until = self.client.now.mono + time;
        while let Some((at, _)) = self
            .client
            .session
            .deadline()
            .filter(|(at, _)| *at <= until)
        {
            self.client.now.mono = at.max(self.client.now.mono);
            self.client.session.tick(self.client.now);
            self.client.run(&mut self.world);
        }
        self.client.now.mono = until;
    }

    fn answer(&mut self, _: usize, _: &str) -> bool {
        false
    }

    fn take(&mut self) -> Vec<Fact> {
        let mut facts = vec![Fact::Sent(core::mem::take(&mut self.client.output))];
        let new = self.client.events.iter().skip(self.told);
        facts.extend(new.filter_map(told));
        self.told = self.client.events.len();
        if self.client.upgrade && !self.upgraded {
            self.upgraded = true;
            facts.push(Fact::Event("starttls".into()));
        }
        if core::mem::take(&mut self.client.compress) {
            facts.push(Fact::Event("compress".into()));
        }
        if self.client.closed && !self.closed {
            self.closed = true;
            facts.push(Fact::Event("close".into()));
        }
        facts
    }
}
