//! The message: DATA and BDAT, back-pressure, refusal, commit.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use mox_address::Reply;
use mox_machine::{AskId, Now, mutant};

use super::mail::{internal_error, sound, too_big};
use super::session::{Phase, Server};
use super::slots::{Kind, Slot, State};
use super::{Answer, Ask, CloseReason, Event, Limits, Mode, Unfit, Violation};
use crate::wire::{DotReader, Fault, LineCheck, Piece};

/// A message that is being received.
#[derive(Debug)]
pub(super) struct Incoming {
    verb: Bytes,
    /// Octets given out.
    bytes: u64,
    /// Octets read, with what framing removed.
    raw: u64,
    /// Pieces given out and not yet answered, with their lengths.
    open: VecDeque<(AskId, usize)>,
    unanswered: usize,
    /// What the message will be answered with, whatever follows.
    refusal: Option<Reply>,
    /// Why that is, when it is not for the world to say.
    unfit: Option<Unfit>,
    /// The session ends with the message.
    close: bool,
    /// BDAT: octets of small chunks, not yet worth a piece.
    held: BytesMut,
    check: LineCheck,
}

impl Incoming {
    fn new(verb: Bytes) -> Self {
        Self {
            verb,
            bytes: 0,
            raw: 0,
            open: VecDeque::new(),
            unanswered: 0,
            refusal: None,
            unfit: None,
            close: false,
            held: BytesMut::new(),
            check: LineCheck::default(),
        }
    }

    /// A chunk of a message that was refused before it began.
    fn refused(verb: Bytes, refusal: Reply) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::new(verb)
        }
    }

    pub(super) fn open_asks(&self) -> Vec<AskId> {
        self.open.iter().map(|&(id, _)| id).collect()
    }

    /// Pieces are unanswered.
    pub(super) fn is_waiting(&self) -> bool {
        !self.open.is_empty()
    }

    /// How many octets may be given out now: none, or enough to be worth it.
    pub(super) fn room(&self, limits: &Limits) -> usize {
        if self.refusal.is_some() {
            return usize::MAX;
        }
        let room = limits.window.saturating_sub(self.unanswered);
        if self.open.len() >= limits.asks || room < DotReader::WORTH.min(limits.window) {
            return 0;
        }
        room
    }
}

impl Server {
    /// DATA, RFC 5321 4.1.1.4.
    pub(super) fn data(&mut self, now: Now, verb: Bytes) {
        if !self.may_begin(now, &verb) {
            return;
        }
        if self.mail.as_ref().is_some_and(|mail| mail.chunked) {
            return self.out_of_order(now, verb, "BDAT was begun");
        }
        self.incoming = Some(Incoming::new(verb));
        self.phase = Phase::Data(DotReader::default());
        self.since = now.mono;
        self.send(&Reply::plain(354, "End with a line of one dot"));
    }

    /// BDAT, RFC 3030. Its chunk is read whatever becomes of it.
    pub(super) fn bdat(&mut self, now: Now, verb: Bytes, size: u64, last: bool) {
        if size == 0 && !last && !self.is_patient() {
            return self.impatient(now, verb);
        }
        let ready = self.mail.as_ref().is_some_and(|mail| mail.recipients > 0);
        if !ready {
            // The reply must come after the chunk.
            let refusal = Reply::new(503, 5, 1, "MAIL and RCPT come first");
            self.incoming = Some(Incoming::refused(verb.clone(), refusal));
        } else if let Some(mail) = &mut self.mail {
            mail.chunked = true;
        }
        let incoming = self.incoming.get_or_insert_with(|| Incoming::new(verb));
        let total = incoming
            .bytes
            .saturating_add(incoming.held.len() as u64)
            .saturating_add(size);
        let (max, times) = (self.config.max_size, self.config.limits.discard_times);
        if total > max {
            self.unfit(Unfit::TooBig, too_big());
        }
        let is_refused =
            (self.incoming.as_ref()).is_some_and(|incoming| incoming.refusal.is_some());
        if is_refused && size > max.saturating_mul(times) {
            return self.stop_discarding(now);
        }
        self.since = now.mono;
        self.phase = Phase::Chunk {
            left: size,
            size,
            last,
        };
        if size == 0 {
            self.chunk_ended(now, 0, last);
        }
    }

    /// Takes message octets after DATA; true when there may be more to take.
    pub(super) fn take_data(&mut self, now: Now, input: &mut BytesMut) -> bool {
        let limits = self.config.limits;
        let max = self.config.max_size;
        let bound = max.saturating_mul(limits.discard_times);
        let (Phase::Data(reader), Some(incoming)) = (&mut self.phase, &mut self.incoming) else {
            return false;
        };
        self.since = now.mono;
        let unread = input.len() - reader.kept();
        // Sizes are looked at octet for octet, so that no cut of the input shows in a reply.
        let piece = if incoming.refusal.is_some() {
            let allowed = (bound + 1).saturating_sub(incoming.raw);
            let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
            let beyond = input.split_off(input.len().min(reader.kept().saturating_add(allowed)));
            let mut piece = reader.take(input, usize::MAX);
            input.unsplit(beyond);
            piece.body = Bytes::new();
            piece
        } else {
            let left = usize::try_from(max - incoming.bytes).unwrap_or(usize::MAX);
            let room = incoming.room(&limits).min(left.saturating_add(1));
            reader.take(input, room)
        };
        let read = unread - (input.len() - reader.kept());
        incoming.raw = incoming.raw.saturating_add(read as u64);
        let Piece { body, fault, end } = piece;
        let given = !body.is_empty();
        self.give_out(body);
        if let Some(fault) = fault {
            self.broken(fault);
        }
        if end {
            self.message_ended(now);
        } else if self
            .incoming
            .as_ref()
            .is_some_and(|incoming| incoming.refusal.is_some() && incoming.raw > bound)
        {
            self.stop_discarding(now);
        }
        end || given || fault.is_some() || read > 0
    }

    /// Takes octets of a BDAT chunk; true when there may be more to take.
    pub(super) fn take_chunk(&mut self, now: Now, input: &mut BytesMut) -> bool {
        let limits = self.config.limits;
        let (Phase::Chunk { left, size, last }, Some(incoming)) =
            (&mut self.phase, &mut self.incoming)
        else {
            return false;
        };
        self.since = now.mono;
        let (size, last) = (*size, *last);
        let here = usize::try_from(*left)
            .unwrap_or(usize::MAX)
            .min(input.len());
        if incoming.refusal.is_some() {
            input.advance(here);
            *left -= here as u64;
            if *left == 0 {
                self.chunk_ended(now, size, last);
            }
            return true;
        }
        let take = here.min(incoming.room(&limits));
        if (here as u64) < *left && take < DotReader::WORTH.min(limits.window) {
            return false;
        }
        // Small chunks are gathered: a piece for each of them could be an ask for each octet. They come whole.
        let gather = incoming.held.len() as u64 + size < DotReader::WORTH as u64 && !last;
        *left -= take as u64;
        let done = *left == 0;
        let piece = input.split_to(take).freeze();
        let fault = incoming.check.push(&piece).err();
        let good = piece.slice(..fault.map_or(take, |(good, _)| good));
        let body = if incoming.held.is_empty() && !gather {
            good
        } else {
            incoming.held.extend_from_slice(&good);
            if gather && fault.is_none() {
                Bytes::new()
            } else {
                incoming.held.split().freeze()
            }
        };
        self.give_out(body);
        if let Some((_, fault)) = fault {
            self.broken(fault);
        }
        if done {
            self.chunk_ended(now, size, last);
        }
        true
    }

    /// The next piece for the world.
    fn give_out(&mut self, mut body: Bytes) {
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        if body.is_empty() || incoming.refusal.is_some() {
            return;
        }
        let room = self.config.max_size.saturating_sub(incoming.bytes);
        if body.len() as u64 > room {
            body.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            self.unfit(Unfit::TooBig, too_big());
        }
        if body.is_empty() {
            return;
        }
        let length = body.len();
        let id = self.ask(Ask::Body(body));
        if let Some(incoming) = &mut self.incoming {
            incoming.bytes += length as u64;
            incoming.unanswered += length;
            incoming.open.push_back((id, length));
        }
    }

    /// The message can be accepted by nobody.
    fn broken(&mut self, fault: Fault) {
        let (violation, why, reply) = match fault {
            Fault::BareLineEnd => (
                Violation::BareLineEndInData,
                Unfit::BareLineEnd,
                Reply::new(550, 5, 2, "Bare CR or LF in the message"),
            ),
            Fault::Nul => (
                Violation::NulInData,
                Unfit::Nul,
                Reply::new(554, 6, 0, "NUL in the message"),
            ),
        };
        self.out.event(Event::Protocol(violation));
        self.unfit(why, reply);
    }

    /// The message is refused, unless it is already; the reply carries the id of the transaction.
    fn unfit(&mut self, why: Unfit, reply: Reply) {
        let id = self.mail.as_ref().and_then(|mail| mail.id.as_deref());
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        if incoming.refusal.is_none() {
            incoming.unfit = Some(why);
            incoming.refusal = Some(match id {
                Some(id) => Reply {
                    text: alloc::format!("{} (id {id})", reply.text).into(),
                    ..reply
                },
                None => reply,
            });
        }
    }

    /// Tells the world of a message that it will not be asked about, while its transaction is still there.
    fn tell_of_unfit(&mut self, reply: &Reply) {
        let why = self.incoming.as_ref().and_then(|incoming| incoming.unfit);
        if let Some(why) = why
            && self.mail.is_some()
        {
            let reply = reply.clone();
            self.out.event(Event::Unfit { why, reply });
        }
    }

    /// So much of a refused message came that its end is not waited for.
    fn stop_discarding(&mut self, now: Now) {
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        let verb = incoming.verb.clone();
        let reply = incoming.refusal.take().unwrap_or_else(too_big);
        self.tell_of_unfit(&reply);
        self.phase = Phase::Command;
        self.end_transaction();
        self.reply_and_close(now, verb, reply, CloseReason::Violation);
    }

    /// The end of DATA came.
    pub(super) fn message_ended(&mut self, now: Now) {
        if let (Phase::Data(reader), Some(incoming)) = (&self.phase, &mut self.incoming) {
            incoming.close = reader.is_ambiguous();
        }
        self.wait_for_pieces(now, Kind::Message);
    }

    /// The end of a BDAT chunk came.
    fn chunk_ended(&mut self, now: Now, size: u64, last: bool) {
        if last
            && let Some(incoming) = &self.incoming
            && incoming.refusal.is_none()
        {
            let check = incoming.check;
            if let Some(incoming) = &mut self.incoming {
                let held = incoming.held.split().freeze();
                self.give_out(held);
            }
            if let Err(fault) = check.finish() {
                self.broken(fault);
            }
        }
        let kind = if last {
            Kind::Message
        } else {
            Kind::Chunk { size }
        };
        self.wait_for_pieces(now, kind);
    }

    fn wait_for_pieces(&mut self, now: Now, kind: Kind) {
        self.phase = Phase::Command;
        let verb = self
            .incoming
            .as_ref()
            .map_or_else(Bytes::new, |incoming| incoming.verb.clone());
        self.slots.push_back(Slot {
            verb,
            kind,
            state: State::Pieces,
            slows: false,
            close: None,
        });
        self.pieces_done(now);
    }

    /// True when the id was that of a piece.
    pub(super) fn piece_answered(&mut self, now: Now, id: AskId, answer: Answer) -> bool {
        let Some(incoming) = &mut self.incoming else {
            return false;
        };
        let is_ours = |&(open, _): &(AskId, usize)| open == id || mutant!(StaleAnswerTaken);
        let Some(at) = incoming.open.iter().position(is_ours) else {
            return false;
        };
        if let Some((_, length)) = incoming.open.remove(at) {
            incoming.unanswered -= length;
        }
        let refusal = match answer {
            Answer::Accept => None,
            Answer::Reply(reply) if reply.is_positive() => None,
            Answer::Reply(reply) => Some(sound(reply)),
            _ => Some(internal_error()),
        };
        if let Some(reply) = refusal {
            incoming.refusal.get_or_insert(reply);
            incoming.unanswered = 0;
            let rest: Vec<AskId> = incoming.open.drain(..).map(|(id, _)| id).collect();
            for id in rest {
                self.cancel(id);
            }
        }
        self.pieces_done(now);
        true
    }

    /// When the chunk or message is complete and all its pieces are answered: goes on to its end.
    fn pieces_done(&mut self, now: Now) {
        let Some(slot) = self.slots.front() else {
            return;
        };
        let (State::Pieces, kind) = (&slot.state, slot.kind) else {
            return;
        };
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        if incoming.refusal.is_none() && incoming.is_waiting() {
            return;
        }
        let (refusal, close, bytes) = (incoming.refusal.take(), incoming.close, incoming.bytes);
        let state = match (refusal, kind) {
            (Some(reply), _) => {
                self.tell_of_unfit(&reply);
                let close = close.then_some(CloseReason::Violation);
                if self.mail.is_some() {
                    self.counts.refused += 1;
                    self.counts.excused = self.config.limits.recipients;
                } else if self.counts.excused > 0 {
                    // A chunk pipelined behind one that was refused.
                    self.counts.excused -= 1;
                } else {
                    self.counts.errors += 1;
                }
                let count = self.replies();
                self.end_transaction();
                if let Some(slot) = self.slots.front_mut() {
                    slot.close = close;
                    if self.counts.errors >= self.config.limits.errors {
                        slot.close = Some(CloseReason::TooManyErrors);
                    }
                }
                if kind == Kind::Message {
                    State::Each(alloc::vec![reply; count])
                } else {
                    State::Ready(reply)
                }
            }
            (None, Kind::Chunk { size }) => {
                let text = alloc::format!("{size} octets received");
                State::Ready(Reply::new(250, 0, 0, text))
            }
            (None, _) => {
                if let Some(mail) = &mut self.mail {
                    mail.committing = true;
                }
                State::Asked(self.ask(Ask::Commit { bytes }))
            }
        };
        if let Some(slot) = self.slots.front_mut() {
            slot.state = state;
        }
        self.release(now);
    }

    /// How many replies the message gets: LMTP has one for each recipient (RFC 2033 4.2).
    fn replies(&self) -> usize {
        match (self.config.mode, &self.mail) {
            (Mode::Lmtp, Some(mail)) => mail.recipients.max(1),
            _ => 1,
        }
    }

    /// The world's answer to the Commit.
    pub(super) fn committed(&mut self, answer: Answer) -> State {
        let count = self.replies();
        let replies = match answer {
            Answer::Stored { id } => {
                alloc::vec![Reply::new(250, 0, 0, alloc::format!("{id} stored")); count]
            }
            Answer::Accept => alloc::vec![Reply::new(250, 0, 0, "OK"); count],
            Answer::Reply(reply) => alloc::vec![sound(reply); count],
            Answer::Each(mut replies) if self.config.mode == Mode::Lmtp => {
                replies.resize_with(count, internal_error);
                replies.into_iter().map(sound).collect()
            }
            _ => alloc::vec![internal_error(); count],
        };
        if replies.iter().any(Reply::is_positive) {
            self.counts.accepted += 1;
            self.counts.useless = 0;
        } else {
            self.counts.refused += 1;
        }
        self.end_transaction();
        State::Each(replies)
    }
}
