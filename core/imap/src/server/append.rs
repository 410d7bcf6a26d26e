//! APPEND, RFC 3501 6.3.11: whether it is welcome is asked before its message is read, which then streams.
//!
//! Every octet of the literal is taken as what it is, whatever becomes of the command.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytes::{Buf, BytesMut};
use mox_machine::{AskId, Step};

use super::job::{Job, Next, Reply, Running};
use super::{Answer, Ask, Event, Limits, Server};
use crate::wire::{Announced, AppendHead, Head, Malformed, Verb, decode_name};

/// Octets that are worth an ask of their own, unless the message ends.
const PIECE_MIN: usize = 4 * 1024;
/// Octets in a piece at most.
const PIECE_MAX: usize = 64 * 1024;
/// Pieces not answered yet at most.
const PIECES_MAX: usize = 6;

/// An APPEND that is being read.
#[derive(Debug)]
pub(super) struct Append {
    stage: Stage,
    /// Octets of the message still to come.
    left: u64,
    waits: bool,
    binary: bool,
    /// It goes to the selected mailbox.
    own: bool,
    /// Pieces not answered yet, and their octets.
    pieces: VecDeque<(AskId, usize)>,
    unanswered: usize,
    /// The rest is read and thrown away; this is the answer in the end.
    refused: Option<Reply>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// May it be appended?
    Opening,
    /// The message.
    Reading,
    /// The end of the line behind it.
    Tail,
    /// Pieces are still on their way to the disk.
    Ending,
    Committing,
}

impl Append {
    pub(super) fn wants_read(&self, limits: &Limits) -> bool {
        match self.stage {
            Stage::Reading if self.refused.is_some() => true,
            Stage::Reading => {
                self.pieces.len() < PIECES_MAX
                    && (self.unanswered == 0 || self.unanswered + PIECE_MIN <= limits.window)
            }
            Stage::Tail => true,
            Stage::Opening | Stage::Ending | Stage::Committing => false,
        }
    }
}

impl Server {
    /// The command up to its message is read.
    pub(super) fn append(&mut self, head: AppendHead, literal: Announced) {
        let name = match decode_name(&head.mailbox) {
            _ if literal.size == 0 => Err(Malformed::Refused("", "there is no message in it")),
            _ if literal.size > self.config.limits.append => {
                Err(Malformed::Refused("TOOBIG", "the message is too large"))
            }
            Ok(name) => Ok(name),
            Err(error) => Err(Malformed::Refused("CANNOT", error.text())),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => return self.refuse_literal(literal, why),
        };
        self.is_active();
        let held = self.framer.take();
        let tag = Head::parse(&held).tag.unwrap_or(b"*").to_vec();
        let own = self.selected.as_ref().is_some_and(|s| s.name == name);
        let ask = Ask::Append {
            name,
            flags: head.flags,
            date: head.date,
            size: literal.size,
            binary: literal.binary,
        };
        let append = Append {
            stage: Stage::Opening,
            left: literal.size,
            waits: literal.waits,
            binary: literal.binary,
            own,
            pieces: VecDeque::new(),
            unanswered: 0,
            refused: None,
        };
        let ask = Some(self.ask(ask));
        let job = Job::Append(Box::new(append));
        self.running = Some(Box::new(Running {
            tag,
            verb: Verb::Append,
            ask,
            job,
        }));
    }

    pub(super) fn append_answer(&mut self, mut append: Box<Append>, answer: Answer) -> Next {
        match (append.stage, answer) {
            (Stage::Opening, Answer::Accept) => {
                append.stage = Stage::Reading;
                if append.waits {
                    self.out.line(b"+ go ahead");
                }
                Next::Go(Job::Append(append))
            }
            (Stage::Opening, answer) => {
                let reply = match answer {
                    Answer::No(refusal) => refusal.into(),
                    _ => Reply::unexpected(),
                };
                if append.waits {
                    return Next::Done(reply);
                }
                append.refused = Some(reply);
                append.stage = Stage::Reading;
                Next::Go(Job::Append(append))
            }
            (_, Answer::Appended { validity, uid }) => {
                if let (true, Some(selection)) = (append.own, &mut self.selected) {
                    selection.touch();
                }
                Next::Done(Reply::ok_with(alloc::format!("APPENDUID {validity} {uid}")))
            }
            (_, Answer::No(refusal)) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }

    /// The octets of a message are expected, not a line.
    pub(super) fn reads_message(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|r| matches!(&r.job, Job::Append(a) if a.stage == Stage::Reading))
    }

    /// Takes octets of the message. False when there are too few.
    pub(super) fn message_bytes(&mut self, input: &mut BytesMut) -> bool {
        let window = self.config.limits.window;
        let Some(Running {
            job: Job::Append(append),
            ..
        }) = self.running.as_deref_mut()
        else {
            return false;
        };
        let left = usize::try_from(append.left).unwrap_or(usize::MAX);
        let mut take = left.min(input.len());
        if append.refused.is_some() {
            input.advance(take);
        } else {
            let room = window.saturating_sub(append.unanswered).max(PIECE_MIN);
            take = take.min(PIECE_MAX).min(room);
            if take < PIECE_MIN && take < left {
                return false;
            }
            let piece = input.split_to(take).freeze();
            // RFC 3501 4.3: a literal has no NUL; only a literal8 may.
            if !append.binary && piece.contains(&0) {
                append.refused = Some(Reply::no("", "a message with NUL needs a literal8"));
                append.pieces.clear();
                self.out.push(Step::Event(Event::AppendDropped));
            } else {
                let id = self.ids.next_id();
                append.unanswered += take;
                append.pieces.push_back((id, take));
                self.out.push(Step::Ask(id, Ask::Piece(piece)));
            }
        }
        append.left -= take as u64;
        if append.left == 0 {
            append.stage = Stage::Tail;
        }
        self.is_active();
        take > 0
    }

    /// Gives the answer back when it is not for a piece.
    pub(super) fn piece_answer(&mut self, id: AskId, answer: Answer) -> Option<Answer> {
        let Some(Running {
            job: Job::Append(append),
            ..
        }) = self.running.as_deref_mut()
        else {
            return Some(answer);
        };
        let Some(at) = append.pieces.iter().position(|(piece, _)| *piece == id) else {
            return Some(answer);
        };
        if let Some((_, octets)) = append.pieces.remove(at) {
            append.unanswered -= octets;
        }
        let reply = match answer {
            Answer::Accept => None,
            Answer::No(refusal) => Some(refusal.into()),
            _ => Some(Reply::unexpected()),
        };
        if let Some(reply) = reply {
            append.refused = Some(reply);
            append.pieces.clear();
            append.unanswered = 0;
            self.out.push(Step::Event(Event::AppendDropped));
        }
        let ended = append.stage == Stage::Ending && append.pieces.is_empty();
        if let Some(mut running) = self.running.take_if(|_| ended) {
            let next = match core::mem::replace(&mut running.job, Job::Login) {
                Job::Append(append) => self.append_end(append),
                job => Next::Go(job),
            };
            self.proceed(running, next);
        }
        None
    }

    /// What stood behind the message: nothing may.
    pub(super) fn append_tail(
        &mut self,
        mut append: Box<Append>,
        line: Result<bytes::Bytes, Malformed>,
    ) -> Next {
        let wrong = match line {
            Ok(line) if line.is_empty() => None,
            Ok(_) => Some(Reply::bad("nothing may follow the message")),
            Err(why) => Some(why.into()),
        };
        if let Some(reply) = wrong {
            let job = Job::Append(append);
            self.drop_append(&job);
            return Next::Done(reply);
        }
        if append.pieces.is_empty() {
            return self.append_end(append);
        }
        append.stage = Stage::Ending;
        Next::Go(Job::Append(append))
    }

    fn append_end(&mut self, mut append: Box<Append>) -> Next {
        if let Some(reply) = append.refused {
            return Next::Done(reply);
        }
        append.stage = Stage::Committing;
        Next::Wait(self.ask(Ask::Commit), Job::Append(append))
    }

    /// An APPEND that will never be committed.
    pub(super) fn drop_append(&mut self, job: &Job) {
        if let Job::Append(append) = job
            && append.stage != Stage::Committing
            && append.refused.is_none()
        {
            self.out.push(Step::Event(Event::AppendDropped));
        }
    }
}
