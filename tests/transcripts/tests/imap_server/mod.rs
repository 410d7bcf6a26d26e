//! The IMAP server in transcripts. Its world is the small one of the crate's own tests: INBOX with three messages,
//! one user `u` whose password is `p`.

use crate::model::{Client, World};
use mox_imap::server::{Config, Event};
use mox_machine::Session;
use mox_transcripts::{Fact, Machine, Transcript};
use serde::Deserialize;
use std::time::Duration;

/// The `config` of a transcript.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    starttls: bool,
    /// Passwords only inside TLS.
    tls_required: bool,
    /// Octets of an APPEND at most; 0 is the default.
    append: u64,
}

pub struct ImapServer {
    world: World,
    client: Client,
    upgraded: bool,
    closed: bool,
    told: usize,
}

/// The configuration of a transcript.
pub fn config(transcript: &Transcript) -> Config {
    let settings: Settings = ron::from_str(transcript.get("config").unwrap_or("()")).unwrap();
    let mut config = Config {
        starttls: settings.starttls,
        clear_auth: !settings.tls_required,
        ..Config::default()
    };
    if settings.append > 0 {
        config.limits.append = settings.append;
    }
    config
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
    match what {
        "deliver" => {
            let text = b"Subject: new\r\n\r\nnew\r\n".to_vec();
            world.deliver("INBOX", text, 0);
        }
        "expunge 2" => world.expunge("INBOX", 2),
        "seen 1" => world.flag("INBOX", 1, 1),
        _ => return false,
    }
    true
}

/// How a fact is written, if it is.
pub fn told(event: &Event) -> Option<Fact> {
    Some(Fact::Event(match event {
        Event::Completed { .. } => return None,
        Event::Authenticated(user) => format!("authenticated {user}"),
        Event::Unselected => "unselected".into(),
        Event::AppendDropped => "append dropped".into(),
        Event::Closed(reason) => format!("closed {reason:?}"),
    }))
}

impl ImapServer {
    pub fn new(transcript: &Transcript) -> Self {
        let mut machine = Self {
            world: world(transcript),
            client: Client::with(config(transcript)),
            upgraded: false,
            closed: false,
            told: 0,
        };
        machine.client.run(&mut machine.world);
        machine
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
        let mut facts = vec![Fact::Sent(std::mem::take(&mut self.client.output))];
        let new = self.client.events.iter().skip(self.told);
        facts.extend(new.filter_map(told));
        self.told = self.client.events.len();
        if self.client.upgrade && !self.upgraded {
            self.upgraded = true;
            facts.push(Fact::Event("starttls".into()));
        }
        if self.client.closed && !self.closed {
            self.closed = true;
            facts.push(Fact::Event("close".into()));
        }
        facts
    }
}
