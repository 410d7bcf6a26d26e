//! The server as a [`Session`]: phases, reply order, time.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use bytes::{Bytes, BytesMut};
use mox_address::Reply;
use mox_machine::{AskId, AskIds, Line, LineReader, Mono, Now, Session, Step, TlsFacts, mutant};

use super::mail::Mail;
use super::message::Incoming;
use super::slots::{Kind, Slot, State};
use super::slow::{Progress, Slow};
use super::{Answer, Ask, CloseReason, Config, Event, Mode, Violation};
use crate::output::Output;
use crate::wire::{DotReader, encode_reply};

/// An SMTP, submission or LMTP server for one connection.
///
/// It greets by itself. On an implicit-TLS port call [`secured`](Session::secured) before anything else.
#[derive(Debug)]
pub struct Server {
    pub(super) config: Arc<Config>,
    pub(super) out: Output<Ask, Event>,
    pub(super) ids: AskIds,
    lines: LineReader,
    pub(super) phase: Phase,
    pub(super) slots: VecDeque<Slot>,
    /// No command is taken before all slots are released.
    barrier: bool,
    pub(super) slow: Slow,
    pub(super) secure: bool,
    /// The TLS layer knows who the client is.
    pub(super) certified: bool,
    /// EHLO or HELO was accepted.
    pub(super) hello: bool,
    pub(super) authenticated: bool,
    /// The mechanism of the running AUTH exchange.
    pub(super) mechanism: Bytes,
    /// The MAIL that is asked about has SMTPUTF8.
    pub(super) mail_utf8: bool,
    /// The open transaction.
    pub(super) mail: Option<Mail>,
    /// The message that is being received.
    pub(super) incoming: Option<Incoming>,
    pub(super) counts: Counts,
    /// The last progress that a timeout counts from.
    pub(super) since: Mono,
    draining: bool,
    eof: bool,
    /// The last `recv` stopped for want of room, not of input.
    blocked: bool,
    /// The last `recv` left something.
    leftover: bool,
    early: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The greeting is held back until then.
    Greeting(Mono),
    Command,
    /// A line of an AUTH exchange is expected.
    Sasl,
    Data(DotReader),
    Chunk {
        /// Octets still to come.
        left: u64,
        size: u64,
        last: bool,
    },
    /// StartTls was said.
    Upgrading,
    Closed,
}

/// What is counted over a whole session.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) commands: usize,
    pub(super) errors: usize,
    pub(super) useless: usize,
    pub(super) auth_failures: usize,
    pub(super) messages: usize,
    pub(super) accepted: usize,
    pub(super) refused: usize,
    /// Commands pipelined behind a MAIL or RCPT that we refused: their failing is not the client's fault.
    pub(super) excused: usize,
}

impl Server {
    /// A server for a connection that begins now.
    pub fn new(config: impl Into<Arc<Config>>, now: Now) -> Self {
        let config = config.into();
        let delay = config.greeting_delay;
        let mut server = Self {
            config,
            out: Output::default(),
            ids: AskIds::default(),
            lines: LineReader::default(),
            phase: Phase::Greeting(now.mono + delay),
            slots: VecDeque::new(),
            barrier: false,
            slow: Slow::default(),
            secure: false,
            certified: false,
            hello: false,
            authenticated: false,
            mechanism: Bytes::new(),
            mail_utf8: false,
            mail: None,
            incoming: None,
            counts: Counts::default(),
            since: now.mono,
            draining: false,
            eof: false,
            blocked: false,
            leftover: false,
            early: false,
        };
        if delay.is_zero() {
            server.greet();
        }
        server
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn greet(&mut self) {
        let protocol = match self.config.mode {
            Mode::Lmtp => "LMTP",
            Mode::Delivery | Mode::Submission => "ESMTP",
        };
        let text = alloc::format!("{} {protocol}", self.config.hostname);
        self.send(&Reply::plain(220, text));
        self.phase = Phase::Command;
    }

    pub(super) fn send(&mut self, reply: &Reply) {
        // What has been begun goes before it.
        let rest = self.slow.hurry();
        self.out.text().extend_from_slice(&rest);
        encode_reply(reply, self.out.text());
    }

    pub(super) fn ask(&mut self, ask: Ask) -> AskId {
        let id = self.ids.next_id();
        self.out.push(Step::Ask(id, ask));
        id
    }

    /// Forgets an ask, with a word to the world if it was asked already.
    pub(super) fn cancel(&mut self, id: AskId) {
        if !self.out.withdraw(id) {
            self.out.push(Step::Cancel(id));
        }
    }

    /// The reply to a command, in its turn.
    pub(super) fn reply(&mut self, now: Now, verb: Bytes, reply: Reply) {
        self.slots.push_back(Slot::ready(verb, reply));
        self.release(now);
    }

    /// The reply to a command after which nothing can be obeyed.
    pub(super) fn reply_and_close(
        &mut self,
        now: Now,
        verb: Bytes,
        reply: Reply,
        why: CloseReason,
    ) {
        let mut slot = Slot::ready(verb, reply);
        slot.close = Some(why);
        self.slots.push_back(slot);
        self.barrier = true;
        self.release(now);
    }

    /// Sends the replies whose turn has come.
    pub(super) fn release(&mut self, now: Now) {
        while self.slots.front().is_some_and(Slot::is_ready) {
            let is_written = match self.slow.progress() {
                Progress::Writing => return,
                Progress::Written => true,
                Progress::Fast if self.begins_slowly(now) => return,
                Progress::Fast => false,
            };
            let Some(slot) = self.slots.pop_front() else {
                return;
            };
            self.since = now.mono;
            self.slow.on |= slot.slows;
            let each = match slot.state {
                State::Ready(reply) => alloc::vec![reply],
                State::Each(replies) => replies,
                State::Asked(_) | State::Pieces => return,
            };
            let mut close = slot.close;
            for reply in each {
                if !is_written {
                    self.send(&reply);
                }
                if reply.code == 421 {
                    let tired = self.counts.auth_failures >= self.config.limits.auth_failures;
                    close = close.or(Some(if tired {
                        CloseReason::TooManyErrors
                    } else {
                        CloseReason::Refused
                    }));
                }
                if reply.code >= 400 {
                    let verb = slot.verb.clone();
                    self.out.event(Event::Refused { verb, reply });
                }
            }
            if let Some(why) = close {
                return self.close(why);
            }
        }
        if self.slots.is_empty() {
            self.barrier = false;
            self.slots = VecDeque::new();
        }
    }

    /// Begins to write the first reply slowly, if it is to be: not to who is sent away with it, nor when nothing is to be waited for.
    fn begins_slowly(&mut self, now: Now) -> bool {
        let limits = &self.config.limits;
        if !self.slow.is_next(limits) || self.draining || self.eof {
            return false;
        }
        let Some(slot) = self.slots.front().filter(|slot| slot.close.is_none()) else {
            return false;
        };
        if slot.replies().iter().any(|reply| reply.code == 421) {
            return false;
        }
        let mut text = BytesMut::new();
        for reply in slot.replies() {
            encode_reply(reply, &mut text);
        }
        self.slow.begin(text, now, limits);
        true
    }

    /// Ends waiting for the octets of a slow reply.
    pub(super) fn hurry(&mut self, now: Now) {
        if self.slow.deadline().is_some() {
            let rest = self.slow.hurry();
            self.out.text().extend_from_slice(&rest);
            self.release(now);
        }
    }

    /// Forgets the transaction; the world is told unless a Commit was asked.
    pub(super) fn end_transaction(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            for id in incoming.open_asks() {
                self.cancel(id);
            }
        }
        if self.mail.take().is_some_and(|mail| !mail.committing) {
            self.out.event(Event::Reset);
        }
    }

    pub(super) fn close(&mut self, why: CloseReason) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let rest = self.slow.hurry();
        self.out.text().extend_from_slice(&rest);
        for slot in core::mem::take(&mut self.slots) {
            if let State::Asked(id) = slot.state {
                self.cancel(id);
            }
        }
        self.end_transaction();
        self.out.event(Event::Closed(why));
        self.out.push(Step::Close);
        self.phase = Phase::Closed;
    }

    fn close_with(&mut self, reply: Reply, why: CloseReason) {
        self.send(&reply);
        let verb = Bytes::new();
        self.out.event(Event::Refused { verb, reply });
        self.close(why);
    }

    /// Asks of commands that are open; those for pieces of the message count apart.
    fn open_asks(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.state, State::Asked(_)))
            .count()
    }

    /// Takes a command line, if one may be taken now; true when something was done.
    fn take_command(&mut self, now: Now, input: &mut BytesMut) -> bool {
        if !self.slots.is_empty() && !self.may_overtake(input) {
            return false;
        }
        let limits = &self.config.limits;
        let max = match &self.phase {
            Phase::Sasl => limits.auth_line,
            _ if starts_with(input, b"AUTH ") == Some(true) => limits.auth_line,
            _ => limits.command_line,
        };
        match self.lines.take(input, max) {
            Line::Incomplete => return false,
            Line::TooLong => {
                self.out.event(Event::Protocol(Violation::LineTooLong));
                let reply = Reply::new(500, 5, 0, "Line too long");
                self.reply_and_close(now, Bytes::new(), reply, CloseReason::Violation);
            }
            Line::BadEnding(_) => {
                self.counts.commands += 1;
                if matches!(self.phase, Phase::Sasl) {
                    self.phase = Phase::Command;
                }
                self.out.event(Event::Protocol(Violation::BareLineEnd));
                let reply = Reply::new(500, 5, 2, "Lines end in CRLF");
                self.error(now, Bytes::new(), reply);
            }
            Line::Complete(line) => {
                self.since = now.mono;
                if matches!(self.phase, Phase::Sasl) {
                    self.sasl_line(now, &line);
                } else {
                    self.command(now, &line, input);
                    self.counts.commands += 1;
                }
            }
        }
        true
    }

    /// While RCPT is asked about, only more RCPT is taken: everything else depends on the answers.
    fn may_overtake(&mut self, input: &BytesMut) -> bool {
        let recipients = self.mail.as_ref().map_or(0, |mail| mail.recipients);
        let open = self.open_asks();
        let full = open > 0 && recipients + open >= self.config.limits.recipients;
        match starts_with(input, b"RCPT ") {
            Some(true) if !full => self.lines_fit(input),
            None => false,
            Some(_) => {
                self.barrier = true;
                false
            }
        }
    }

    /// A RCPT that is too long ends the session, so it waits for its turn.
    fn lines_fit(&mut self, input: &BytesMut) -> bool {
        let max = self.config.limits.command_line;
        let long = input
            .get(..max + 2)
            .is_some_and(|front| !front.contains(&b'\n'));
        self.barrier |= long;
        !long
    }

    /// Between two commands, with every reply sent.
    fn is_idle(&self) -> bool {
        match self.phase {
            Phase::Command | Phase::Greeting(_) | Phase::Sasl => self.slots.is_empty(),
            Phase::Data(_) | Phase::Chunk { .. } | Phase::Upgrading | Phase::Closed => false,
        }
    }

    /// After every call: what waited for its moment.
    fn settle(&mut self, now: Now) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let idle = self.is_idle();
        let committing = self.mail.as_ref().is_some_and(|mail| mail.committing);
        let cut = mutant!(DrainCutsCommit) && committing;
        if self.draining && (cut || (idle && self.mail.is_none())) {
            let reply = Reply::new(421, 3, 2, "Server is stopping, try again later");
            return self.close_with(reply, CloseReason::Drained);
        }
        let in_message = matches!(self.phase, Phase::Data(_) | Phase::Chunk { .. });
        let nothing_more = !(self.blocked && self.leftover);
        if mutant!(EofEndsMessage) && self.eof && nothing_more && in_message {
            return self.message_ended(now);
        }
        if self.eof
            && nothing_more
            && (idle || in_message || matches!(self.phase, Phase::Upgrading))
        {
            if self.leftover || in_message || matches!(self.phase, Phase::Sasl) {
                self.out.event(Event::Protocol(Violation::EofInside));
            }
            self.close(CloseReason::Eof);
        }
    }

    /// Something came where nothing may: behind STARTTLS in clear, or before the greeting.
    fn injected(&mut self, input: &mut BytesMut) {
        input.clear();
        // If nobody saw the 220 yet, it is not said.
        if self.out.take_back(|step| matches!(step, Step::StartTls)) {
            self.out.take_back(|step| matches!(step, Step::Send(_)));
            self.data_after_starttls();
        } else {
            self.out
                .event(Event::Protocol(Violation::DataAfterStartTls));
            self.close(CloseReason::Violation);
        }
    }

    pub(super) fn data_after_starttls(&mut self) {
        let reply = Reply::new(554, 5, 0, "Nothing may follow STARTTLS in clear");
        self.send(&reply);
        self.out
            .event(Event::Protocol(Violation::DataAfterStartTls));
        let verb = Bytes::from_static(b"STARTTLS");
        self.out.event(Event::Refused { verb, reply });
        self.close(CloseReason::Violation);
    }

    fn early_talk(&mut self) -> bool {
        if !self.early {
            self.early = true;
            self.out.event(Event::Protocol(Violation::EarlyTalker));
            if self.config.refuse_early_talkers {
                let reply = Reply::new(554, 5, 0, "Wait for the greeting");
                self.close_with(reply, CloseReason::Violation);
            }
        }
        false
    }
}

/// Whether the input starts with these bytes, without regard to case; `None` when it is too short to tell.
fn starts_with(input: &[u8], word: &[u8]) -> Option<bool> {
    let shared = input.len().min(word.len());
    let same = input
        .get(..shared)
        .unwrap_or_default()
        .eq_ignore_ascii_case(word.get(..shared).unwrap_or_default());
    match (same, shared == word.len()) {
        (true, false) => None,
        (same, _) => Some(same),
    }
}

impl Session for Server {
    type Ask = Ask;
    type Answer = Answer;
    type Event = Event;

    fn recv(&mut self, now: Now, input: &mut BytesMut) {
        self.blocked = false;
        loop {
            if !self.wants_read() {
                self.blocked = !input.is_empty();
                break;
            }
            let before = input.len();
            let moved = match &mut self.phase {
                _ if before == 0 => false,
                Phase::Greeting(_) => self.early_talk(),
                Phase::Command | Phase::Sasl => self.take_command(now, input),
                Phase::Data(_) => self.take_data(now, input),
                Phase::Chunk { .. } => self.take_chunk(now, input),
                Phase::Upgrading if mutant!(StartTlsLeftoversKept) => false,
                Phase::Upgrading => {
                    self.injected(input);
                    false
                }
                Phase::Closed => false,
            };
            if !moved {
                self.blocked = !self.wants_read() && !input.is_empty();
                break;
            }
            // The first safe point is the end, however much was sent ahead.
            if self.draining && self.is_idle() && self.mail.is_none() {
                break;
            }
        }
        self.leftover = match &self.phase {
            // Octets kept there are decoded already; they are no sign that more is to be read.
            Phase::Data(reader) => input.len() > reader.kept(),
            _ => !input.is_empty(),
        };
        self.settle(now);
    }

    fn eof(&mut self, now: Now) {
        self.eof = true;
        self.hurry(now);
        self.settle(now);
    }

    fn secured(&mut self, now: Now, tls: TlsFacts) {
        match self.phase {
            Phase::Closed => return,
            Phase::Greeting(_) => {}
            _ => {
                if mutant!(StartTlsKeepsState) {
                    self.phase = Phase::Command;
                    self.secure = true;
                    return;
                }
                // RFC 3207 4.2: everything that was learnt in clear is forgotten.
                let _ = self.slow.hurry();
                let _ = self.slow.progress();
                for slot in core::mem::take(&mut self.slots) {
                    if let State::Asked(id) = slot.state {
                        self.cancel(id);
                    }
                }
                self.barrier = false;
                self.end_transaction();
                self.phase = Phase::Command;
            }
        }
        self.lines.reset();
        self.hello = false;
        self.authenticated = false;
        self.secure = true;
        self.certified = tls.peer_certificate.is_some();
        self.leftover = false;
        self.blocked = false;
        self.since = now.mono;
        self.settle(now);
    }

    fn answer(&mut self, now: Now, id: AskId, answer: Answer) {
        let slot = self
            .slots
            .iter_mut()
            .enumerate()
            .find(|(_, slot)| match slot.state {
                State::Asked(asked) => asked == id || mutant!(AnswerToOldestAsk),
                _ => false,
            })
            .map(|(at, slot)| (at, slot.kind));
        let (answer, slows) = match answer {
            Answer::SlowReply(reply) => (Answer::Reply(reply), true),
            answer => (answer, false),
        };
        match slot {
            Some((at, kind)) => {
                self.since = now.mono;
                if matches!(answer, Answer::Authenticated(_) | Answer::Stored { .. }) {
                    self.slow.on = false;
                }
                let state = self.decide(now, kind, answer);
                if let Some(slot) = self.slots.get_mut(at) {
                    slot.state = state;
                    slot.slows = slows;
                }
            }
            None if self.piece_answered(now, id, answer) => self.since = now.mono,
            None => return,
        }
        self.release(now);
        self.settle(now);
    }

    fn tick(&mut self, now: Now) {
        let Some((at, why)) = self.deadline() else {
            return;
        };
        if at > now.mono || mutant!(DeadlineStays) {
            return;
        }
        match why {
            "slow" => {
                let due = self.slow.due(now, &self.config.limits);
                self.out.text().extend_from_slice(&due);
                self.release(now);
                // Who looks late finds both over.
                let limits = &self.config.limits;
                let mail = self.mail.as_ref();
                if mail.is_some_and(|mail| mail.since + limits.transaction <= now.mono) {
                    let reply = Reply::new(421, 4, 2, "Timeout");
                    self.close_with(reply, CloseReason::Timeout);
                }
            }
            "greeting" => {
                self.since = now.mono;
                self.greet();
            }
            "answer" => {
                let reply = Reply::new(421, 3, 0, "Internal error, try again later");
                self.close_with(reply, CloseReason::Timeout);
            }
            _ => {
                let reply = Reply::new(421, 4, 2, "Timeout");
                self.close_with(reply, CloseReason::Timeout);
            }
        }
        self.settle(now);
    }

    fn deadline(&self) -> Option<(Mono, &'static str)> {
        let limits = &self.config.limits;
        let mail = self
            .mail
            .as_ref()
            .map(|mail| (mail.since + limits.transaction, "transaction"));
        if let Some(at) = self
            .slow
            .deadline()
            .filter(|_| !matches!(self.phase, Phase::Closed))
        {
            // The transaction may be over meanwhile.
            return Some(mail.map_or((at, "slow"), |mail| mail.min((at, "slow"))));
        }
        let pieces = self.incoming.as_ref().is_some_and(Incoming::is_waiting);
        let own = match &self.phase {
            Phase::Closed => return None,
            Phase::Greeting(at) => return Some((*at, "greeting")),
            Phase::Data(_) | Phase::Chunk { .. } if pieces && !self.wants_read() => {
                (self.since + limits.answer, "answer")
            }
            Phase::Data(_) | Phase::Chunk { .. } => (self.since + limits.data, "data"),
            _ if !self.slots.is_empty() => return Some((self.since + limits.answer, "answer")),
            _ => (self.since + limits.command, "command"),
        };
        Some(mail.map_or(own, |mail| own.min(mail)))
    }

    fn drain(&mut self, now: Now) {
        self.draining = true;
        self.hurry(now);
        self.settle(now);
    }

    fn wants_read(&self) -> bool {
        let limits = &self.config.limits;
        if self.out.backlog() > limits.output || self.slow.deadline().is_some() {
            return false;
        }
        match &self.phase {
            Phase::Closed => false,
            Phase::Greeting(_) => !self.early,
            Phase::Upgrading => true,
            Phase::Data(_) | Phase::Chunk { .. } => self
                .incoming
                .as_ref()
                .is_none_or(|incoming| incoming.room(limits) > 0),
            Phase::Command | Phase::Sasl => {
                !self.barrier
                    && self
                        .slots
                        .front()
                        .is_none_or(|slot| slot.kind == Kind::Recipient)
                    && self.open_asks() < limits.asks
            }
        }
    }

    fn in_bulk(&self) -> bool {
        matches!(self.phase, Phase::Data(_) | Phase::Chunk { .. })
    }

    fn poll(&mut self) -> Option<Step<Ask, Event>> {
        self.out.poll()
    }
}
