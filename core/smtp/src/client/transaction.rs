//! One mail transaction of a client: MAIL, RCPT, DATA, the message, and what becomes of each recipient.

use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::fmt::Write;
use mox_address::{Path, Reply};

use super::session::{Client, Expect, Phase, Waiting};
use super::{Ask, Cause, Class, Event, Outcome, Stage, Transaction, Until};
use crate::wire::DotWriter;

/// A transaction that was begun.
#[derive(Debug)]
pub(super) struct Running {
    transaction: Transaction,
    recipients: Vec<State>,
    /// The next command that was not said yet.
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Mail,
    Rcpt(usize),
    Data,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not answered yet.
    Open,
    /// The server takes it.
    Accepted,
    /// Its outcome was told.
    Done,
}

impl Running {
    /// Some recipient was accepted and waits for the message.
    pub(super) fn has_accepted(&self) -> bool {
        self.recipients.contains(&State::Accepted)
    }

    fn all_done(&self) -> bool {
        self.recipients.iter().all(|state| *state == State::Done)
    }
}

impl Client {
    /// Begins a transaction, if this server can take it at all.
    pub(super) fn begin(&mut self, transaction: Transaction) {
        let paths = transaction.from.iter().chain(&transaction.to);
        let utf8 = transaction.utf8 || !paths.into_iter().all(Path::is_ascii);
        let needs_tls = transaction.require_tls;
        let too_big = self.offer.size.is_some_and(|max| transaction.size > max);
        self.running = Some(Running {
            recipients: alloc::vec![State::Open; transaction.to.len()],
            next: Next::Mail,
            transaction: Transaction {
                utf8,
                ..transaction
            },
        });
        let is_unsafe = needs_tls && !(self.secure && self.offer.require_tls);
        let cause = if is_unsafe {
            Some(Cause::NoRequireTls)
        } else if utf8 && !self.offer.utf8 {
            Some(Cause::NoUtf8)
        } else {
            too_big.then_some(Cause::TooBig)
        };
        if let Some(cause) = cause {
            // RFC 8689 4.2.1, RFC 6531 3.2: another host of the domain may offer it.
            let outcome = self.failure(Class::Temporary, cause, Stage::Mail);
            self.settle_recipients(&outcome);
            return self.finish();
        }
        if self.until() == Until::Offer {
            let outcome = self.failure(Class::Delivered, Cause::NotAsked, Stage::Mail);
            self.settle_recipients(&outcome);
            return self.finish();
        }
        if self.dirty {
            self.dirty = false;
            return self.say(Stage::Rset, 0, "RSET");
        }
        self.go_on();
    }

    fn until(&self) -> Until {
        let running = self.running.as_ref();
        running.map_or(Until::Message, |running| running.transaction.until)
    }

    /// Says what may be said now: one command after another, or all at once with PIPELINING (RFC 2920).
    fn go_on(&mut self) {
        while let Some(running) = &mut self.running {
            let ahead = match self.offer.pipelining {
                true => self.config.limits.pipeline.max(1),
                false => 1,
            };
            if self.expect.len() >= ahead {
                return;
            }
            let (stage, index, line) = match running.next {
                Next::Mail => {
                    running.next = Next::Rcpt(0);
                    (Stage::Mail, 0, mail_line(&running.transaction, &self.offer))
                }
                Next::Rcpt(index) => {
                    let Some(to) = running.transaction.to.get(index) else {
                        running.next = Next::Data;
                        continue;
                    };
                    let mut line = alloc::format!("RCPT TO:<{to}>");
                    if let Some(dsn) = running.transaction.rcpt_dsn.get(index)
                        && self.offer.dsn
                    {
                        // A String takes everything that is written to it.
                        let _ = match running.transaction.utf8 {
                            true => write!(line, "{dsn}"),
                            false => write!(line, "{}", dsn.in_ascii()),
                        };
                    }
                    running.next = Next::Rcpt(index + 1);
                    (Stage::Rcpt, index, line)
                }
                Next::Data if running.transaction.until == Until::Recipients => {
                    running.next = Next::Nothing;
                    continue;
                }
                Next::Data => {
                    running.next = Next::Nothing;
                    let hopeless = self.expect.is_empty() && !running.has_accepted();
                    if hopeless {
                        self.dirty = true;
                        continue;
                    }
                    (Stage::Data, 0, String::from("DATA"))
                }
                Next::Nothing => break,
            };
            self.say(stage, index, &line);
        }
        if self.until() == Until::Recipients && self.expect.is_empty() {
            let outcome = self.failure(Class::Delivered, Cause::NotAsked, Stage::Rcpt);
            self.settle_recipients(&outcome);
        }
        let over = self.running.as_ref().is_some_and(Running::all_done);
        if over && self.expect.is_empty() {
            self.finish();
        }
    }

    /// A reply to a command of the transaction.
    pub(super) fn transaction_reply(&mut self, expect: Expect, reply: Reply) {
        let good = reply.is_positive();
        let stage = expect.stage;
        match stage {
            Stage::Rset if !good => {
                let outcome = self.outcome(stage, reply);
                return self.fail(outcome);
            }
            Stage::Mail if !good => {
                // What was pipelined behind it fails too; its replies tell nothing.
                let outcome = self.refusal(stage, reply);
                self.settle_recipients(&outcome);
                if let Some(running) = &mut self.running {
                    running.next = Next::Nothing;
                }
            }
            Stage::Mail => self.dirty = true,
            Stage::Rcpt => {
                let mut outcome = self.refusal(stage, reply);
                // RFC 5321 4.5.3.1.10: one recipient too many, as earlier standards had it.
                let reached = self.running.as_ref().is_some_and(Running::has_accepted);
                if reached && outcome.is_one_too_many() {
                    outcome.class = Class::Temporary;
                }
                let state = self
                    .running
                    .as_mut()
                    .and_then(|running| running.recipients.get_mut(expect.index))
                    .filter(|state| **state == State::Open);
                match state {
                    Some(state) if good => *state = State::Accepted,
                    Some(state) => {
                        *state = State::Done;
                        let index = expect.index;
                        self.out.event(Event::Recipient { index, outcome });
                    }
                    None => {}
                }
            }
            Stage::Data if reply.code == 354 => return self.open_body(),
            Stage::Data => {
                let outcome = self.refusal(stage, reply);
                self.settle_recipients(&outcome);
            }
            Stage::Message => {
                self.dirty = false;
                let outcome = self.outcome(stage, reply);
                self.settle_recipients(&outcome);
            }
            _ => {}
        }
        self.go_on();
    }

    /// What a reply other than the hoped-for one means: a surprising 2xx or 3xx is worth another try.
    fn refusal(&self, stage: Stage, reply: Reply) -> Outcome {
        let mut outcome = self.outcome(stage, reply);
        if outcome.class == Class::Delivered {
            outcome.class = Class::Temporary;
        }
        outcome
    }

    /// 354 came.
    fn open_body(&mut self) {
        if self.running.as_ref().is_some_and(Running::has_accepted) {
            self.phase = Phase::Body {
                writer: DotWriter::default(),
                offset: 0,
            };
            return self.next_piece(0);
        }
        // A message for nobody: ended at once, its reply tells nothing (RFC 2920 3.1).
        self.say(Stage::Message, 0, ".");
    }

    /// Stands in the queue behind what was sent, so it is asked when that was taken.
    fn next_piece(&mut self, offset: u64) {
        let max = self.config.limits.piece;
        self.ask(Ask::Piece { offset, max }, Waiting::Piece);
    }

    /// The next octets of the message, or its end.
    pub(super) fn piece(&mut self, piece: &Bytes) {
        let Phase::Body { writer, offset } = &mut self.phase else {
            return;
        };
        let mut last = BytesMut::new();
        let done = if piece.is_empty() {
            writer.finish(&mut last)
        } else {
            writer.push(piece, self.out.text())
        };
        *offset += piece.len() as u64;
        let offset = *offset;
        if let Err(fault) = done {
            // Without the dot the server forgets it all; so it is not even ended.
            let cause = Cause::BadMessage(fault);
            let outcome = self.failure(Class::Permanent, cause, Stage::Message);
            return self.fail(outcome);
        }
        if !piece.is_empty() {
            return self.next_piece(offset);
        }
        self.out.event(Event::Ending { bytes: offset });
        self.out.text().extend_from_slice(&last);
        self.phase = Phase::Talking;
        self.expect_reply(Stage::Message, 0, || {
            alloc::format!("({offset} octets of a message, and its end)")
        });
    }

    /// Whoever has no outcome yet gets this one.
    pub(super) fn settle_recipients(&mut self, outcome: &Outcome) {
        let Some(running) = &mut self.running else {
            return;
        };
        for (index, state) in running.recipients.iter_mut().enumerate() {
            if *state != State::Done {
                *state = State::Done;
                let outcome = outcome.clone();
                self.out.event(Event::Recipient { index, outcome });
            }
        }
    }

    fn finish(&mut self) {
        self.running = None;
        self.out.event(Event::Finished);
        self.ready();
    }
}

fn mail_line(transaction: &Transaction, offer: &super::Offer) -> String {
    let mut line = String::from("MAIL FROM:<");
    // A String takes everything that is written to it.
    if let Some(from) = &transaction.from {
        let _ = write!(line, "{from}");
    }
    line.push('>');
    if offer.takes_size {
        let _ = write!(line, " SIZE={}", transaction.size);
    }
    if transaction.eight_bit && offer.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if transaction.utf8 {
        line.push_str(" SMTPUTF8");
    }
    if transaction.require_tls {
        line.push_str(" REQUIRETLS");
    }
    if offer.dsn {
        let _ = write!(line, "{}", transaction.dsn);
    }
    line
}
