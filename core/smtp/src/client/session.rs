//! The client as a [`Session`]: greeting, EHLO, STARTTLS, AUTH, then one message after another.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::fmt::Write;
use mox_address::Reply;
use mox_machine::{AskId, AskIds, Mono, Now, Secret, Session, Step, TlsFacts, mutant};

use super::transaction::Running;
use super::{Answer, Ask, Cause, Class, Config, Ending, Event, Offer, Outcome, Stage, Tls};
use crate::output::Output;
use crate::wire::{DotWriter, ReplyReader, base64_decode, base64_encode};

/// An SMTP client for one connection.
///
/// On an implicit-TLS port call [`secured`](Session::secured) before anything else.
#[derive(Debug)]
pub struct Client {
    pub(super) config: Arc<Config>,
    pub(super) out: Output<Ask, Event>,
    ids: AskIds,
    replies: ReplyReader,
    pub(super) phase: Phase,
    /// Commands whose replies are still to come, in order.
    pub(super) expect: VecDeque<Expect>,
    /// The same as they are told, where that is wanted.
    said: VecDeque<String>,
    pub(super) offer: Offer,
    pub(super) secure: bool,
    /// The open ask.
    asked: Option<(AskId, Waiting)>,
    mechanism: &'static str,
    pub(super) running: Option<Running>,
    /// The server's transaction is open though ours is over: RSET comes first.
    pub(super) dirty: bool,
    pub(super) since: Mono,
    draining: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Commands and replies.
    Talking,
    /// StartTls was said.
    Upgrading,
    /// The message is being sent.
    Body {
        writer: DotWriter,
        offset: u64,
    },
    Closed,
}

/// A reply that must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expect {
    pub(super) stage: Stage,
    /// Of RCPT: which.
    pub(super) index: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Next,
    Sasl { first: bool },
    Piece,
}

impl Client {
    /// A client for a connection that was made now.
    pub fn new(config: impl Into<Arc<Config>>, now: Now) -> Self {
        let config = config.into();
        let mut expect = VecDeque::new();
        expect.push_back(Expect {
            stage: Stage::Greeting,
            index: 0,
        });
        Self {
            replies: ReplyReader::new(config.limits.replies),
            said: config.transcribes.then(String::new).into_iter().collect(),
            config,
            out: Output::default(),
            ids: AskIds::default(),
            phase: Phase::Talking,
            expect,
            offer: Offer::default(),
            secure: false,
            asked: None,
            mechanism: "",
            running: None,
            dirty: false,
            since: now.mono,
            draining: false,
        }
    }

    pub(super) fn ask(&mut self, ask: Ask, waiting: Waiting) {
        let id = self.ids.next_id();
        self.out.push(Step::Ask(id, ask));
        self.asked = Some((id, waiting));
    }

    /// Sends a command line and expects its reply.
    pub(super) fn say(&mut self, stage: Stage, index: usize, line: &str) {
        let text = self.out.text();
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(b"\r\n");
        self.expect_reply(stage, index, || match (stage, line.starts_with("AUTH ")) {
            (Stage::Auth, true) => line.split(' ').take(2).collect::<Vec<_>>().join(" "),
            (Stage::Auth, false) => "(an answer)".into(),
            _ => line.into(),
        });
    }

    /// Expects a reply to what was sent.
    pub(super) fn expect_reply(&mut self, stage: Stage, index: usize, told: impl Fn() -> String) {
        self.expect.push_back(Expect { stage, index });
        if self.config.transcribes {
            self.said.push_back(told());
        }
    }

    /// Tells what was said to the next command.
    fn exchanged(&mut self, reply: Option<&Reply>) {
        let Some(command) = self.said.pop_front() else {
            return;
        };
        let mut reply = reply.cloned();
        // A challenge is half of what proves who we are.
        if let Some(challenge) = reply.as_mut().filter(|reply| reply.code == 334) {
            challenge.text = "(a challenge)".into();
        }
        self.out.event(Event::Exchanged { command, reply });
    }

    /// What a reply means for whatever it decides.
    pub(super) fn outcome(&self, stage: Stage, reply: Reply) -> Outcome {
        Outcome {
            class: match reply.code / 100 {
                2 => Class::Delivered,
                5 if mutant!(PermanentRetried) => Class::Temporary,
                4 if mutant!(TemporaryIsFinal) => Class::Permanent,
                5 => Class::Permanent,
                _ => Class::Temporary,
            },
            cause: Cause::Reply,
            stage,
            reply: Some(reply),
            tls: self.secure,
            ambiguous: false,
        }
    }

    pub(super) fn failure(&self, class: Class, cause: Cause, stage: Stage) -> Outcome {
        Outcome {
            class,
            cause,
            stage,
            reply: None,
            tls: self.secure,
            ambiguous: false,
        }
    }

    /// The session cannot go on: whoever has no outcome yet gets this one.
    pub(super) fn fail(&mut self, mut outcome: Outcome) {
        let polite = outcome.cause == Cause::Reply || outcome.cause == Cause::NoTls;
        if outcome.class == Class::Delivered {
            outcome.class = Class::Temporary;
        }
        let in_message = matches!(self.phase, Phase::Body { .. })
            || self
                .expect
                .front()
                .is_some_and(|e| e.stage == Stage::Message);
        let told = outcome.stage == Stage::Message && outcome.cause == Cause::Reply;
        outcome.ambiguous = !told
            && !matches!(self.phase, Phase::Body { .. })
            && self.expect.iter().any(|e| e.stage == Stage::Message)
            && self.running.as_ref().is_some_and(Running::has_accepted);
        self.settle_recipients(&outcome);
        if polite && !in_message && self.asked.is_none() {
            self.out.text().extend_from_slice(b"QUIT\r\n");
        }
        self.close(Ending::Failed(outcome));
    }

    fn lose(&mut self, cause: Cause) {
        self.exchanged(None);
        let stage = self.stage();
        let outcome = self.failure(Class::Temporary, cause, stage);
        let is_ended = stage == Stage::Message && matches!(self.phase, Phase::Talking);
        if mutant!(DotTakenForDelivered) && is_ended {
            let delivered = self.failure(Class::Delivered, cause, stage);
            self.settle_recipients(&delivered);
        }
        self.fail(outcome);
    }

    /// What is being waited for.
    fn stage(&self) -> Stage {
        match (&self.phase, self.expect.front()) {
            (Phase::Body { .. }, _) => Stage::Message,
            (Phase::Upgrading, _) => Stage::StartTls,
            (_, Some(expect)) => expect.stage,
            _ if matches!(self.asked, Some((_, Waiting::Sasl { .. }))) => Stage::Auth,
            _ => Stage::Ehlo,
        }
    }

    pub(super) fn close(&mut self, ending: Ending) {
        if let Some((id, _)) = self.asked.take()
            && !self.out.withdraw(id)
        {
            self.out.push(Step::Cancel(id));
        }
        self.out.event(Event::Closed(ending));
        self.out.push(Step::Close);
        self.phase = Phase::Closed;
        self.expect.clear();
        self.running = None;
    }

    /// Nothing is running: asks for a message, or leaves.
    pub(super) fn ready(&mut self) {
        if self.draining {
            return self.quit();
        }
        self.ask(Ask::Next(self.offer.clone()), Waiting::Next);
    }

    fn quit(&mut self) {
        self.say(Stage::Quit, 0, "QUIT");
    }

    fn hello(&mut self, stage: Stage) {
        let line = alloc::format!("{stage} {}", self.config.hello);
        self.say(stage, 0, &line);
    }

    /// EHLO or HELO was accepted.
    fn greeted(&mut self) {
        let wants_tls = !self.secure && self.config.tls != Tls::Never;
        if wants_tls && self.offer.start_tls {
            return self.say(Stage::StartTls, 0, "STARTTLS");
        }
        self.authenticate();
    }

    /// TLS is active, or does not come.
    fn authenticate(&mut self) {
        if self.config.tls == Tls::Required && !self.secure {
            let outcome = self.failure(Class::Temporary, Cause::NoTls, Stage::StartTls);
            return self.fail(outcome);
        }
        if self.config.mechanisms.is_empty() {
            return self.ready();
        }
        let offered = &self.offer.mechanisms;
        let usable = |mechanism: &&&str| offered.iter().any(|offered| offered == **mechanism);
        let Some(&mechanism) = self.config.mechanisms.iter().find(usable) else {
            let outcome = self.failure(Class::Temporary, Cause::NoAuth, Stage::Auth);
            return self.fail(outcome);
        };
        self.mechanism = mechanism;
        let challenge = None;
        self.ask(
            Ask::Sasl {
                mechanism,
                challenge,
            },
            Waiting::Sasl { first: true },
        );
    }

    fn respond(&mut self, first: bool, response: Option<&Secret<Bytes>>) {
        let mut line = String::new();
        if first {
            // A String takes everything that is written to it.
            let _ = write!(line, "AUTH {}", self.mechanism);
        }
        if let Some(response) = response {
            if first {
                line.push(' ');
            }
            // An empty initial response is written `=` (RFC 4954 4).
            match response.expose() {
                empty if first && empty.is_empty() => line.push('='),
                bytes => line.push_str(&base64_encode(bytes)),
            }
        }
        self.say(Stage::Auth, 0, &line);
    }

    /// Takes one reply in its turn.
    fn reply(&mut self, reply: Reply, rest: &BytesMut) {
        let Some(expect) = self.expect.pop_front() else {
            if self.config.transcribes {
                self.said.push_front(String::new());
            }
            self.exchanged(Some(&reply));
            return self.unexpected(reply);
        };
        self.exchanged(Some(&reply));
        let good = reply.is_positive();
        match expect.stage {
            Stage::Quit => self.close(Ending::Quit),
            _ if reply.code == 421 => {
                // The server is leaving whatever it was asked.
                self.expect.push_front(expect);
                let outcome = self.outcome(expect.stage, reply);
                self.fail(outcome);
            }
            Stage::Greeting if good => {
                self.out.event(Event::Greeted(reply));
                self.hello(Stage::Ehlo);
            }
            Stage::Ehlo if good => {
                self.offer = Offer::parse(&reply.text);
                self.greeted();
            }
            // A server that does not know EHLO. 521 and 554 say that it takes no mail at all.
            Stage::Ehlo
                if reply.is_permanent() && !self.secure && !matches!(reply.code, 521 | 554) =>
            {
                self.hello(Stage::Helo);
            }
            Stage::Helo if good => {
                self.offer = Offer::default();
                self.greeted();
            }
            Stage::StartTls if reply.code == 220 => {
                if !rest.is_empty() {
                    return self.injected();
                }
                self.out.push(Step::StartTls);
                self.phase = Phase::Upgrading;
            }
            Stage::StartTls if self.config.tls == Tls::IfOffered => {
                self.out.event(Event::TlsRefused(reply));
                self.authenticate();
            }
            Stage::Auth if good => self.ready(),
            Stage::Auth if reply.code == 334 => match base64_decode(reply.text.trim().as_bytes()) {
                Some(challenge) => self.ask(
                    Ask::Sasl {
                        mechanism: self.mechanism,
                        challenge: Some(Secret::new(challenge.into())),
                    },
                    Waiting::Sasl { first: false },
                ),
                None => {
                    let outcome = self.failure(Class::Temporary, Cause::AuthFailed, Stage::Auth);
                    self.fail(outcome);
                }
            },
            Stage::Rset | Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Message => {
                self.transaction_reply(expect, reply);
            }
            // What demands TLS is not fulfilled, which is not final (RFC 7672 2.2, RFC 8461 5).
            Stage::StartTls => {
                let outcome = Outcome {
                    class: Class::Temporary,
                    ..self.outcome(expect.stage, reply)
                };
                self.fail(outcome);
            }
            Stage::Greeting | Stage::Ehlo | Stage::Helo | Stage::Auth => {
                let outcome = self.outcome(expect.stage, reply);
                self.fail(outcome);
            }
        }
    }

    /// A reply to nothing. A server that leaves (421) or refuses a message in its middle says so; the rest is noise.
    fn unexpected(&mut self, reply: Reply) {
        let stage = self.stage();
        let outcome = if reply.code >= 400 {
            self.outcome(stage, reply)
        } else {
            self.failure(Class::Temporary, Cause::Unexpected, stage)
        };
        self.fail(outcome);
    }

    /// Clear text behind the 220 of STARTTLS.
    fn injected(&mut self) {
        self.out.take_back(|step| matches!(step, Step::StartTls));
        let outcome = self.failure(Class::Temporary, Cause::DataAfterStartTls, Stage::StartTls);
        self.fail(outcome);
    }
}

impl Session for Client {
    type Ask = Ask;
    type Answer = Answer;
    type Event = Event;

    fn recv(&mut self, now: Now, input: &mut BytesMut) {
        while !input.is_empty() {
            match self.phase {
                Phase::Closed => return,
                Phase::Upgrading => {
                    input.clear();
                    return self.injected();
                }
                Phase::Talking | Phase::Body { .. } => {}
            }
            match self.replies.take(input) {
                None => return,
                Some(Ok(reply)) => {
                    self.since = now.mono;
                    self.reply(reply, input);
                }
                Some(Err(error)) => self.lose(Cause::Protocol(error)),
            }
        }
    }

    fn eof(&mut self, _now: Now) {
        match self.phase {
            Phase::Closed => {}
            _ if self.expect.front().is_some_and(|e| e.stage == Stage::Quit) => {
                self.close(Ending::Quit);
            }
            _ => self.lose(Cause::Lost),
        }
    }

    fn secured(&mut self, now: Now, _tls: TlsFacts) {
        match self.phase {
            Phase::Closed => return,
            Phase::Upgrading => {
                // RFC 3207 4.2: what was offered in clear is forgotten.
                self.phase = Phase::Talking;
                self.replies = ReplyReader::new(self.config.limits.replies);
                self.offer = Offer::default();
                self.secure = true;
                self.hello(Stage::Ehlo);
            }
            Phase::Talking | Phase::Body { .. } => self.secure = true,
        }
        self.since = now.mono;
    }

    fn answer(&mut self, now: Now, id: AskId, answer: Answer) {
        let Some((_, waiting)) = self.asked.filter(|&(asked, _)| asked == id) else {
            return;
        };
        self.asked = None;
        self.since = now.mono;
        match (waiting, answer) {
            (Waiting::Next, Answer::Send(transaction)) => self.begin(transaction),
            (Waiting::Next, _) => self.quit(),
            (Waiting::Sasl { first }, Answer::Response(response)) => {
                self.respond(first, response.as_ref());
            }
            (Waiting::Sasl { first }, _) => {
                if !first {
                    self.out.text().extend_from_slice(b"*\r\n");
                }
                let outcome = self.failure(Class::Temporary, Cause::AuthFailed, Stage::Auth);
                self.fail(outcome);
            }
            (Waiting::Piece, Answer::Piece(piece)) => self.piece(&piece),
            (Waiting::Piece, _) => {
                let outcome = self.failure(Class::Temporary, Cause::SourceFailed, Stage::Message);
                self.fail(outcome);
            }
        }
    }

    fn tick(&mut self, now: Now) {
        match self.deadline() {
            Some((at, why)) if at <= now.mono => match why {
                "idle" => {
                    if let Some((id, _)) = self.asked.take()
                        && !self.out.withdraw(id)
                    {
                        self.out.push(Step::Cancel(id));
                    }
                    self.since = now.mono;
                    self.quit();
                }
                "quit" => self.close(Ending::Quit),
                _ => self.lose(Cause::Timeout),
            },
            _ => {}
        }
    }

    fn deadline(&self) -> Option<(Mono, &'static str)> {
        let limits = &self.config.limits;
        let (limit, why) = match (&self.phase, self.expect.front()) {
            (Phase::Closed, _) => return None,
            (Phase::Upgrading, _) => (limits.start_tls, "starttls"),
            (Phase::Body { .. }, _) => (limits.block, "block"),
            (Phase::Talking, Some(expect)) => match expect.stage {
                Stage::Greeting => (limits.greeting, "greeting"),
                Stage::StartTls => (limits.start_tls, "starttls"),
                Stage::Data => (limits.data, "data"),
                Stage::Message => (limits.end, "end"),
                Stage::Quit => (limits.quit, "quit"),
                Stage::Ehlo
                | Stage::Helo
                | Stage::Auth
                | Stage::Rset
                | Stage::Mail
                | Stage::Rcpt => (limits.command, "command"),
            },
            (Phase::Talking, None) => match self.asked {
                Some((_, Waiting::Next)) => (limits.idle, "idle"),
                _ => (limits.command, "answer"),
            },
        };
        Some((self.since + limit, why))
    }

    fn drain(&mut self, now: Now) {
        self.draining = true;
        if let Some((id, Waiting::Next)) = self.asked {
            self.asked = None;
            if !self.out.withdraw(id) {
                self.out.push(Step::Cancel(id));
            }
            self.since = now.mono;
            self.quit();
        }
    }

    fn wants_read(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
    }

    fn poll(&mut self) -> Option<Step<Ask, Event>> {
        self.out.poll()
    }
}
