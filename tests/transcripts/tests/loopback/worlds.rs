//! The worlds of transcripts, as the driver asks them.

use crate::lo::{Answered, World};
use bytes::Bytes;
use mox_machine::{AskId, Secret};
use mox_smtp::client::{self, Client, Transaction};
use mox_transcripts::world::{self, SmtpWorld, model};
use mox_transcripts::{Fact, Spelled, Transcript};
use std::collections::VecDeque;

impl World for SmtpWorld {
    type Session = mox_smtp::server::Server;

    fn ask(
        &mut self,
        id: AskId,
        ask: mox_smtp::server::Ask,
        facts: &mut Vec<Fact>,
    ) -> Option<mox_smtp::server::Answer> {
        Self::ask(self, id, ask, facts)
    }
    fn cancel(&mut self, id: AskId) {
        Self::cancel(self, id);
    }
    fn told(event: &mox_smtp::server::Event) -> Option<Fact> {
        Self::told(event)
    }
    fn answer(&mut self, place: usize, answer: &str) -> Option<Answered<Self>> {
        Self::answer(self, place, answer)
    }
    fn late(&mut self) -> Option<Answered<Self>> {
        None
    }
    fn happens(&mut self, _: &str) -> bool {
        false
    }
}

/// The small world of the IMAP crate's own tests; the session of its client is not used.
pub struct ImapWorld {
    world: model::World,
    client: model::Client,
}

impl ImapWorld {
    pub fn new(transcript: &Transcript, config: mox_imap::server::Config) -> Self {
        Self {
            world: world::world(transcript),
            client: model::Client::with(config),
        }
    }
}

impl World for ImapWorld {
    type Session = mox_imap::Server;

    fn ask(
        &mut self,
        id: AskId,
        ask: mox_imap::server::Ask,
        _: &mut Vec<Fact>,
    ) -> Option<mox_imap::server::Answer> {
        self.client.answer(&mut self.world, id, ask)
    }
    fn cancel(&mut self, id: AskId) {
        self.client.cancel(id);
    }
    fn told(event: &mox_imap::server::Event) -> Option<Fact> {
        world::told(event)
    }
    fn answer(&mut self, _: usize, _: &str) -> Option<Answered<Self>> {
        None
    }
    fn late(&mut self) -> Option<Answered<Self>> {
        let watched = self.client.watched(&mut self.world);
        watched.or_else(|| self.client.observed(&mut self.world))
    }
    fn happens(&mut self, what: &str) -> bool {
        world::happens(&mut self.world, what)
    }
}

/// Sends what the `send` lines of the header say, then quits.
pub struct ClientWorld {
    todo: VecDeque<(Transaction, Vec<u8>)>,
    message: Vec<u8>,
}

impl ClientWorld {
    pub fn new(transcript: &Transcript) -> Self {
        let send = |line: &str| world::transaction(transcript, line).unwrap();
        Self {
            todo: transcript.all("send").map(send).collect(),
            message: Vec::new(),
        }
    }
}

impl World for ClientWorld {
    type Session = Client;

    fn ask(&mut self, _: AskId, ask: client::Ask, _: &mut Vec<Fact>) -> Option<client::Answer> {
        Some(match ask {
            client::Ask::Next(_) => match self.todo.pop_front() {
                None => client::Answer::Quit,
                Some((transaction, message)) => {
                    self.message = message;
                    client::Answer::Send(transaction)
                }
            },
            client::Ask::Sasl {
                challenge: None, ..
            } => {
                let response = Bytes::from_static(b"\0user\0good");
                client::Answer::Response(Some(Secret::new(response)))
            }
            client::Ask::Sasl { .. } => client::Answer::Failed,
            client::Ask::Piece { offset, max } => {
                let from = usize::try_from(offset).unwrap();
                let to = self.message.len().min(from + max);
                client::Answer::Piece(Bytes::copy_from_slice(&self.message[from..to]))
            }
        })
    }
    fn cancel(&mut self, _: AskId) {}
    fn told(event: &client::Event) -> Option<Fact> {
        Client::event_text(event).map(Fact::Event)
    }
    fn answer(&mut self, _: usize, _: &str) -> Option<Answered<Self>> {
        None
    }
    fn late(&mut self) -> Option<Answered<Self>> {
        None
    }
    fn happens(&mut self, _: &str) -> bool {
        false
    }
}
