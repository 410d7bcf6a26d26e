//! Literals: announced, waited for, refused, skipped.

use alloc::boxed::Box;
use bytes::Bytes;

use super::job::{Job, Next, Running};
use super::{CloseReason, Server};
use crate::wire::{Announced, AppendReader, Framed, Head, Malformed, Verb};

impl Server {
    /// A command so far ends in the announcement of a literal.
    pub(super) fn literal(&mut self, literal: Announced) {
        let limits = &self.config.limits;
        let held = self.framer.held();
        let head = Head::parse(held);
        let why = match (head.tag, head.verb) {
            (None, _) => Some(Malformed::Syntax("a tag was expected")),
            (_, None) => Some(Malformed::Syntax("there is no such command")),
            (_, Some(verb)) if !self.knows(verb) => {
                Some(Malformed::Syntax("there is no such command"))
            }
            (_, Some(verb)) => self.refusal(verb),
        };
        // RFC 5464 5: a value may be a literal8, with or without BINARY.
        let literal8 = literal.binary && head.verb != Some(Verb::SetMetadata);
        let judged = Announced {
            binary: literal8,
            ..literal
        };
        let why = why.or_else(|| self.literal_off(&judged));
        let why = match (why, head.verb, head.args) {
            (None, Some(verb), Some(args)) if verb.brings_message() => {
                let mut reader = AppendReader::new(verb != Verb::Append);
                match reader.read(args, &self.known(), &limits.parse) {
                    Ok(Some(steps)) => return self.append(verb, reader, steps, literal),
                    Ok(None) => None,
                    Err(why) => Some(why),
                }
            }
            (why, ..) => why,
        };
        let too_big = literal.size > limits.argument(self.authenticated)
            || held.len() as u64 + literal.size > limits.command as u64;
        let why = match why {
            None if too_big => Some(Malformed::Refused("TOOBIG", "the literal is too long")),
            None if literal8 => Some(Malformed::Syntax("a literal8 is not allowed here")),
            why => why,
        };
        match why {
            None => {
                self.framer.accept(literal);
                if literal.waits {
                    self.out.line(b"+ go ahead");
                }
            }
            Some(why) => self.refuse_literal(literal, why),
        }
    }

    /// A command is refused where a literal was announced: none of its octets may be taken for a command.
    pub(super) fn refuse_literal(&mut self, literal: Announced, why: Malformed) {
        if !literal.waits && literal.size > self.config.limits.frame(self.authenticated).skip {
            return self.endless();
        }
        let head = Bytes::copy_from_slice(self.framer.held());
        if self.framer.spoil(literal, why) {
            self.spoilt(&head, why);
        }
    }

    pub(super) fn endless(&mut self) {
        self.close(
            CloseReason::Violation,
            Some("[TOOBIG] the line or literal is too long"),
        );
    }

    /// A command that must not be obeyed is over.
    pub(super) fn spoilt(&mut self, head: &[u8], why: Malformed) {
        self.is_active();
        let head = Head::parse(head);
        match (head.tag, head.verb) {
            (None, _) => self.invalid(b"*", "a tag was expected"),
            (Some(tag), None) => self.invalid(tag, "there is no such command"),
            (Some(tag), verb) => self.reply(tag, verb, &why.into()),
        }
    }

    /// What the client sends to a command that is running.
    pub(super) fn continuation(&mut self, mut running: Box<Running>, framed: Framed) {
        self.is_active();
        let line = match framed {
            Framed::Complete(line) => Ok(line),
            Framed::Literal(literal) if matches!(running.job, Job::Append(_)) => {
                return self.append_literal(running, literal);
            }
            Framed::Literal(literal) => {
                let why = Malformed::Syntax("no literal was expected");
                if !literal.waits
                    && literal.size > self.config.limits.frame(self.authenticated).skip
                {
                    self.running = Some(running);
                    return self.endless();
                }
                if !self.framer.spoil(literal, why) {
                    self.running = Some(running);
                    return;
                }
                Err(why)
            }
            Framed::Spoilt { why, .. } => Err(why),
            Framed::Incomplete | Framed::Endless => {
                self.running = Some(running);
                return self.endless();
            }
        };
        let job = core::mem::replace(&mut running.job, Job::Login);
        let next = match (job, line) {
            (Job::Sasl(mechanism), Ok(line)) => self.sasl_line(mechanism, &line),
            (Job::Append(append), line) => self.append_line(append, line, running.verb.is_uid()),
            (Job::Idle(_), Ok(line)) => {
                let next = self.idle_line(&line);
                if let (Next::Done(reply), true) = (&next, self.report.is_some()) {
                    // The report that is on its way comes first.
                    let job = if reply.status == "OK" {
                        Job::Idle(true)
                    } else {
                        Job::Finish(reply.clone())
                    };
                    Next::Go(job)
                } else {
                    next
                }
            }
            (_, Err(why)) => Next::Done(why.into()),
            (job, Ok(_)) => Next::Go(job),
        };
        self.proceed(running, next);
    }
}
