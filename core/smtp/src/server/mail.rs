//! The mail transaction up to its message: MAIL, RCPT, and what the world says to every command.

use alloc::string::String;
use bytes::Bytes;
use mox_address::Reply;
use mox_machine::{Mono, Now};

use super::session::{Phase, Server};
use super::slots::{Kind, Slot, State};
use super::{Answer, Ask, BodyKind, CloseReason, MailParams, Mode};
use crate::wire::{
    NotPath, Param, Params, PathArgument, RcptDsn, base64_encode, forward_path, hold, number,
    reverse_path, xtext_decode,
};

/// A transaction whose MAIL was accepted.
#[derive(Debug)]
pub(super) struct Mail {
    /// What the world calls it.
    pub(super) id: Option<String>,
    pub(super) since: Mono,
    utf8: bool,
    /// Accepted recipients.
    pub(super) recipients: usize,
    /// Recipients refused because there were too many already.
    pub(super) surplus: usize,
    /// A recipient was refused.
    refused: bool,
    /// The Commit was asked: the transaction is in the world's hands.
    pub(super) committing: bool,
    /// A BDAT came: only BDAT or RSET may follow.
    pub(super) chunked: bool,
}

impl Server {
    /// MAIL, RFC 5321 4.1.1.2.
    pub(super) fn mail_from(&mut self, now: Now, verb: Bytes, argument: PathArgument<'_>) {
        self.counts.excused = 0;
        let limits = &self.config.limits;
        if self.counts.accepted == 0 && self.counts.refused > limits.refused_messages {
            let reply = Reply::new(550, 1, 0, "Too many refused messages");
            return self.reply_and_close(now, verb, reply, CloseReason::TooManyErrors);
        }
        if self.counts.messages >= limits.messages {
            let reply = Reply::new(421, 7, 0, "Too many messages in one session");
            return self.reply_and_close(now, verb, reply, CloseReason::TooManyErrors);
        }
        // Senders that were refused count as commands that lead to no message.
        if self.counts.useless > limits.useless {
            return self.impatient(now, verb);
        }
        if !self.hello {
            return self.out_of_order(now, verb, "EHLO comes first");
        }
        if self.config.tls_required && !self.secure {
            let reply = Reply::new(530, 7, 0, "STARTTLS comes first");
            return self.error(now, verb, reply);
        }
        if self.config.auth_required && !self.authenticated {
            let reply = Reply::new(530, 7, 0, "Authentication required");
            return self.error(now, verb, reply);
        }
        if self.mail.is_some() {
            return self.out_of_order(now, verb, "MAIL was given already");
        }
        let params = match self.mail_params(now, argument.params) {
            Ok(params) => params,
            Err(reply) => return self.error(now, verb, reply),
        };
        let from = match reverse_path(argument.path, params.utf8) {
            Ok(from) => from,
            Err(problem) => return self.error(now, verb, path_reply(problem, 550)),
        };
        self.mail_utf8 = params.utf8;
        let id = self.ask(Ask::Sender { from, params });
        self.slots.push_back(Slot::asked(verb, Kind::Sender, id));
    }

    fn mail_params(&self, now: Now, text: &[u8]) -> Result<MailParams, Reply> {
        let mut params = MailParams::default();
        for param in Params::new(text) {
            let param = param.map_err(|_| bad())?;
            if param.is("SIZE") && params.size.is_none() {
                // RFC 1870 6: up to 20 digits, which may say more than any number of ours can hold.
                let is_number =
                    |v: &&[u8]| (1..=20).contains(&v.len()) && v.iter().all(u8::is_ascii_digit);
                let digits = param.value.filter(is_number).ok_or_else(bad)?;
                let size = number(digits).unwrap_or(u64::MAX);
                if size > self.config.max_size && !self.config.asks_about_size {
                    return Err(too_big());
                }
                params.size = Some(size);
            } else if param.is("BODY") && params.body.is_none() {
                params.body = Some(match param.value {
                    Some(v) if v.eq_ignore_ascii_case(b"7BIT") => BodyKind::SevenBit,
                    Some(v) if v.eq_ignore_ascii_case(b"8BITMIME") => BodyKind::EightBit,
                    Some(_) => return Err(Reply::new(555, 5, 4, "BODY is 7BIT or 8BITMIME")),
                    None => return Err(bad()),
                });
            } else if param.is("SMTPUTF8") && !params.utf8 && param.value.is_none() {
                params.utf8 = true;
            } else if param.is("AUTH") && params.auth.is_none() {
                let value = param.value.and_then(xtext_decode).ok_or_else(bad)?;
                params.auth = Some(Bytes::from(value));
            } else if params.dsn.take(&param).map_err(|_| bad())?
                || (self.config.mode == Mode::Submission && is_priority(&param))
            {
                // It is kept; MT-PRIORITY (RFC 6710) may be asked for, and is not obeyed.
            } else if self.secure && param.is("REQUIRETLS") {
                if params.require_tls || param.value.is_some() {
                    return Err(bad());
                }
                params.require_tls = true;
            } else if self.may_hold()
                && let Some(release) = hold(&param, now.utc).map_err(|_| bad())?
            {
                // RFC 4865 5: one of them, once.
                if params.release.is_some() {
                    return Err(bad());
                }
                if release > now.utc + self.config.limits.hold {
                    let reply = "The message cannot be held back for so long";
                    return Err(Reply::new(501, 5, 4, reply));
                }
                params.release = Some(release);
            } else if ["SIZE", "BODY", "SMTPUTF8", "AUTH"]
                .iter()
                .any(|known| param.is(known))
            {
                return Err(bad());
            } else {
                return Err(unsupported());
            }
        }
        Ok(params)
    }

    /// Whether FUTURERELEASE is offered.
    pub(super) fn may_hold(&self) -> bool {
        self.config.mode == Mode::Submission && !self.config.limits.hold.is_zero()
    }

    /// RCPT, RFC 5321 4.1.1.3.
    pub(super) fn rcpt_to(&mut self, now: Now, verb: Bytes, argument: PathArgument<'_>) {
        let Some(mail) = &self.mail else {
            return self.nothing_to_add_to(now, verb, "MAIL comes first");
        };
        if mail.chunked {
            return self.out_of_order(now, verb, "Not inside a message");
        }
        let params = match rcpt_params(argument.params, mail.utf8) {
            Ok(params) => params,
            Err(reply) => return self.error(now, verb, reply),
        };
        let to = match forward_path(argument.path, mail.utf8, &self.config.hostname) {
            Ok(to) => to,
            Err(problem) => return self.error(now, verb, path_reply(problem, 553)),
        };
        if mail.recipients >= self.config.limits.recipients {
            return self.one_too_many(now, verb);
        }
        let id = self.ask(Ask::Recipient { to, params });
        self.slots.push_back(Slot::asked(verb, Kind::Recipient, id));
    }

    /// RFC 5321 4.5.3.1.10: more recipients than announced are refused, but no crime; they are sent in another message.
    fn one_too_many(&mut self, now: Now, verb: Bytes) {
        if let Some(mail) = &mut self.mail
            && mail.surplus < self.config.limits.surplus
        {
            mail.surplus += 1;
            return self.reply(now, verb, Reply::new(452, 5, 3, "Too many recipients"));
        }
        let reply = Reply::new(421, 7, 0, "Too many recipients");
        self.reply_and_close(now, verb, reply, CloseReason::TooManyErrors);
    }

    /// Whether a message may begin now; the reply is given when not.
    pub(super) fn may_begin(&mut self, now: Now, verb: &Bytes) -> bool {
        match &self.mail {
            None => self.nothing_to_add_to(now, verb.clone(), "MAIL comes first"),
            Some(mail) if mail.recipients == 0 => {
                // After refused recipients this is what a pipelining client must do.
                let text = "No valid recipients";
                if mail.refused {
                    self.idle(now, verb.clone(), Reply::new(503, 5, 1, text));
                } else {
                    self.out_of_order(now, verb.clone(), text);
                }
            }
            Some(_) => return true,
        }
        false
    }

    /// A command that needs a MAIL. When we just refused that MAIL, its pipelined followers are no errors.
    fn nothing_to_add_to(&mut self, now: Now, verb: Bytes, text: &'static str) {
        let reply = Reply::new(503, 5, 1, text);
        if self.counts.excused > 0 {
            self.counts.excused -= 1;
            return self.reply(now, verb, reply);
        }
        self.error(now, verb, reply);
    }

    /// What the world's answer to a command means.
    pub(super) fn decide(&mut self, now: Now, kind: Kind, answer: Answer) -> State {
        let refusal = match (kind, answer) {
            (Kind::Hello { extended }, Answer::Accept) => {
                self.hello = true;
                return State::Ready(self.welcome(now, extended));
            }
            (Kind::Hello { .. }, Answer::Reply(reply)) => {
                self.hello = reply.is_positive();
                reply
            }
            (Kind::Sasl, Answer::Challenge(bytes)) => {
                self.phase = Phase::Sasl;
                return State::Ready(Reply::plain(334, base64_encode(&bytes)));
            }
            (Kind::Sasl, Answer::Authenticated(_)) => {
                self.authenticated = true;
                self.counts.auth_failures = 0;
                self.counts.useless = 0;
                return State::Ready(Reply::new(235, 7, 0, "Authenticated"));
            }
            (Kind::Sasl, Answer::Reply(reply)) if !reply.is_positive() => self.count_failure(reply),
            (Kind::Sender, Answer::Accept) => {
                self.begin(now, None);
                Reply::new(250, 1, 0, "OK")
            }
            (Kind::Sender, Answer::Begun { id }) => {
                self.begin(now, Some(id));
                Reply::new(250, 1, 0, "OK")
            }
            (Kind::Sender, Answer::Reply(reply)) => {
                if reply.is_positive() {
                    self.begin(now, None);
                } else {
                    self.counts.excused = self.config.limits.recipients + 1;
                    self.counts.useless += 1;
                }
                reply
            }
            (Kind::Recipient, Answer::Accept) => {
                self.count_recipient(true);
                Reply::new(250, 1, 5, "OK")
            }
            (Kind::Recipient, Answer::Reply(reply)) => {
                self.count_recipient(reply.is_positive());
                reply
            }
            (Kind::Message, answer) => return self.committed(answer),
            _ => internal_error(),
        };
        State::Ready(sound(refusal))
    }

    fn begin(&mut self, now: Now, id: Option<String>) {
        self.counts.messages += 1;
        self.slow.anew();
        self.mail = Some(Mail {
            id,
            since: now.mono,
            utf8: self.mail_utf8,
            recipients: 0,
            surplus: 0,
            refused: false,
            committing: false,
            chunked: false,
        });
    }

    fn count_recipient(&mut self, accepted: bool) {
        if accepted {
            self.counts.useless = 0;
        }
        if let Some(mail) = &mut self.mail {
            if accepted {
                mail.recipients += 1;
            } else {
                mail.refused = true;
            }
        }
    }
}

fn rcpt_params(text: &[u8], utf8: bool) -> Result<RcptDsn, Reply> {
    let mut params = RcptDsn::default();
    for param in Params::new(text) {
        let param = param.map_err(|_| bad())?;
        if !params.take(&param, utf8).map_err(|_| bad())? {
            return Err(unsupported());
        }
    }
    Ok(params)
}

/// MT-PRIORITY, RFC 6710 4: -9 to 9.
fn is_priority(param: &Param<'_>) -> bool {
    let value = param.value.unwrap_or_default();
    param.is("MT-PRIORITY") && matches!(value.strip_prefix(b"-").unwrap_or(value), [b'0'..=b'9'])
}

fn bad() -> Reply {
    Reply::new(501, 5, 4, "Bad parameter")
}

fn unsupported() -> Reply {
    Reply::new(555, 3, 3, "Parameter not supported")
}

pub(super) fn too_big() -> Reply {
    Reply::new(552, 3, 4, "Message too big")
}

pub(super) fn internal_error() -> Reply {
    Reply::new(451, 3, 0, "Internal error, try again later")
}

/// A reply of the world that fits the end of a command; a 3xx would promise that something may follow.
pub(super) fn sound(reply: Reply) -> Reply {
    match reply.code {
        200..=299 | 400..=599 => reply,
        _ => internal_error(),
    }
}

fn path_reply(problem: NotPath, needs_utf8: u16) -> Reply {
    match problem {
        NotPath::Syntax => Reply::new(501, 5, 2, "Bad address"),
        NotPath::NeedsUtf8 => Reply::new(needs_utf8, 6, 7, "Such an address needs SMTPUTF8"),
    }
}
