//! The session contract.

use bytes::BytesMut;
use mox_machine::{AskId, Mono, Now, Session, Step, TlsFacts};

use super::job::Job;
use super::{Answer, Ask, CloseReason, Event, OUTPUT_HIGH, Phase, Server};
use crate::wire::{Framed, Framer};

impl Session for Server {
    type Ask = Ask;
    type Answer = Answer;
    type Event = Event;

    fn recv(&mut self, now: Now, input: &mut BytesMut) {
        self.clock(now);
        self.greet();
        while self.wants_read() {
            if self.reads_message() {
                if !self.message_bytes(input) {
                    break;
                }
                continue;
            }
            let limits = self.config.limits.frame(self.authenticated);
            let framed = match self.framer.next(input, &limits) {
                Framed::Incomplete => break,
                Framed::Endless => {
                    self.endless();
                    break;
                }
                framed => framed,
            };
            match (self.running.take(), framed) {
                (Some(running), framed) => self.continuation(running, framed),
                (None, Framed::Literal(literal)) => self.literal(literal),
                (None, Framed::Complete(line)) => self.command(&line, !input.is_empty()),
                (None, Framed::Spoilt { head, why }) => self.spoilt(&head, why),
                (None, Framed::Incomplete | Framed::Endless) => break,
            }
        }
    }

    fn eof(&mut self, now: Now) {
        self.clock(now);
        self.greet();
        self.eof = true;
        // A command that runs is answered; what waits for the client never will be.
        if self.wants_read() {
            self.close(CloseReason::Eof, None);
        }
    }

    fn secured(&mut self, now: Now, tls: TlsFacts) {
        self.clock(now);
        self.tls = true;
        self.certified = tls.peer_certificate.is_some();
        if self.phase == Phase::Upgrading {
            self.phase = Phase::Open;
            self.framer = Framer::default();
        }
    }

    fn answer(&mut self, now: Now, id: AskId, answer: Answer) {
        self.clock(now);
        if self.phase == Phase::Closed {
            return;
        }
        let Some(answer) = self.watch_answer(id, answer) else {
            return;
        };
        let Some(answer) = self.report_answer(id, answer) else {
            return;
        };
        let Some(answer) = self.notify_answer(id, answer) else {
            return;
        };
        let Some(answer) = self.context_answer(id, answer) else {
            return;
        };
        let Some(answer) = self.piece_answer(id, answer) else {
            return;
        };
        if let Some(running) = self.running.take_if(|r| r.ask == Some(id)) {
            self.is_active();
            self.step(running, answer);
        }
    }

    fn tick(&mut self, now: Now) {
        self.clock(now);
        self.greet();
        self.tell_progress(now);
        if self.deadline().is_some_and(|(at, _)| at <= now.mono) {
            if self.eof {
                self.close(CloseReason::Eof, None);
            } else {
                self.closing(CloseReason::Timeout, "nothing came for too long");
            }
        }
    }

    fn deadline(&self) -> Option<(Mono, &'static str)> {
        if self.phase == Phase::Closed {
            return None;
        }
        if self.now.is_none() {
            // The clock is not known yet: let the driver tell it.
            return Some((Mono::default(), "start"));
        }
        if self.eof && self.wants_read() {
            // Commands that were sent before the end are taken first.
            return Some((self.active, "eof"));
        }
        let limits = &self.config.limits;
        let silence = if self.authenticated {
            (self.active + limits.idle_timeout, "idle")
        } else {
            (self.active + limits.auth_timeout, "login")
        };
        Some(match self.progress_due() {
            Some(at) if at < silence.0 => (at, "progress"),
            _ => silence,
        })
    }

    fn drain(&mut self, now: Now) {
        self.clock(now);
        self.greet();
        self.draining = true;
        if self.phase != Phase::Closed && (self.running.is_none() || self.wants_read()) {
            self.close(CloseReason::Drained, Some("the server is stopping"));
        }
    }

    fn wants_read(&self) -> bool {
        if self.phase != Phase::Open || self.out.octets() >= OUTPUT_HIGH {
            return false;
        }
        match &self.running {
            // Numbers must not change between a command and its answer.
            None => self.report.is_none(),
            Some(running) => match &running.job {
                Job::Sasl(_) => running.ask.is_none(),
                Job::Idle(done) => !done,
                Job::Append(append) => {
                    append.wants_read(&self.config.limits) && running.ask.is_none()
                }
                _ => false,
            },
        }
    }

    fn in_bulk(&self) -> bool {
        self.reads_message()
    }

    fn poll(&mut self) -> Option<Step<Ask, Event>> {
        self.greet();
        loop {
            if let Some(step) = self.out.pop() {
                return Some(step);
            }
            if !self.pump() {
                return None;
            }
        }
    }
}
