//! Every command line goes through here; those of the mail transaction are in `mail`.

use alloc::string::String;
use bytes::{Bytes, BytesMut};
use core::fmt::Write;
use mox_address::{Domain, Host, Reply};
use mox_machine::{Now, Step, mutant};

use super::session::{Phase, Server};
use super::slots::{Kind, Slot};
use super::{Ask, CloseReason, Mode};
use crate::output::shown_verb;
use crate::wire::{Command, NotCommand, split_verb};

impl Server {
    /// Obeys or refuses one line.
    pub(super) fn command(&mut self, now: Now, line: &Bytes, input: &BytesMut) {
        let verb = shown_verb(split_verb(line).0);
        match Command::parse(line) {
            Ok(command) => self.obey(now, verb, command, line, input),
            Err(NotCommand::Syntax(syntax)) => {
                let reply = Reply::new(501, 5, 2, alloc::format!("Syntax: {syntax}"));
                if &*verb == b"BDAT" {
                    // Where its chunk ends nobody knows.
                    return self.reply_and_close(now, verb, reply, CloseReason::Violation);
                }
                self.error(now, verb, reply);
            }
            // It is not shown: after a refused AUTH it may be the password, sent all the same.
            Err(NotCommand::Unknown) => self.unknown(now, Bytes::new()),
        }
    }

    /// Whoever begins with a word that is no command does not speak SMTP.
    fn unknown(&mut self, now: Now, verb: Bytes) {
        let reply = Reply::new(500, 5, 1, "Command not recognized");
        if self.counts.commands == 0 {
            return self.reply_and_close(now, verb, reply, CloseReason::Violation);
        }
        self.error(now, verb, reply);
    }

    fn obey(
        &mut self,
        now: Now,
        verb: Bytes,
        command: Command<'_>,
        line: &Bytes,
        input: &BytesMut,
    ) {
        let lmtp = self.config.mode == Mode::Lmtp;
        match command {
            Command::Lhlo(name) if lmtp => self.say_hello(now, verb, line.slice_ref(name), true),
            Command::Lhlo(_) => self.unknown(now, verb),
            Command::Ehlo(_) | Command::Helo(_) if lmtp => {
                self.error(now, verb, Reply::new(500, 5, 1, "This is LMTP: LHLO"));
            }
            Command::Ehlo(name) => self.say_hello(now, verb, line.slice_ref(name), true),
            Command::Helo(name) => self.say_hello(now, verb, line.slice_ref(name), false),
            Command::Rset => {
                self.end_transaction();
                self.idle(now, verb, Reply::new(250, 0, 0, "OK"));
            }
            Command::Noop => self.idle(now, verb, Reply::new(250, 0, 0, "OK")),
            Command::Vrfy(_) | Command::Expn(_) => {
                self.idle(now, verb, Reply::new(252, 7, 0, "Send it and see"));
            }
            Command::Help => {
                self.idle(now, verb, Reply::new(214, 0, 0, "See RFC 5321"));
            }
            Command::Quit => {
                let reply = Reply::new(221, 0, 0, "Bye");
                self.reply_and_close(now, verb, reply, CloseReason::Quit);
            }
            Command::StartTls => self.start_tls(now, verb, input),
            Command::Auth { mechanism, initial } => self.auth(now, verb, mechanism, initial),
            Command::Mail(argument) => self.mail_from(now, verb, argument),
            Command::Rcpt(argument) => self.rcpt_to(now, verb, argument),
            Command::Data => self.data(now, verb),
            Command::Bdat { size, last } => self.bdat(now, verb, size, last),
        }
    }

    /// A command that could not be obeyed; too many of them end the session.
    pub(super) fn error(&mut self, now: Now, verb: Bytes, reply: Reply) {
        self.counts.errors += 1;
        if self.counts.errors < self.config.limits.errors {
            return self.reply(now, verb, reply);
        }
        let reply = Reply::new(421, 7, 0, "Too many errors");
        self.reply_and_close(now, verb, reply, CloseReason::TooManyErrors);
    }

    /// A command that is fine but leads to no message; too many in a row end the session.
    pub(super) fn idle(&mut self, now: Now, verb: Bytes, reply: Reply) {
        if self.is_patient() {
            return self.reply(now, verb, reply);
        }
        self.impatient(now, verb);
    }

    pub(super) fn is_patient(&mut self) -> bool {
        self.counts.useless += 1;
        self.counts.useless <= self.config.limits.useless
    }

    pub(super) fn impatient(&mut self, now: Now, verb: Bytes) {
        let reply = Reply::new(421, 7, 0, "Too many commands without mail");
        self.reply_and_close(now, verb, reply, CloseReason::TooManyErrors);
    }

    pub(super) fn out_of_order(&mut self, now: Now, verb: Bytes, text: &'static str) {
        self.error(now, verb, Reply::new(503, 5, 1, text));
    }

    /// EHLO, HELO and LHLO, RFC 5321 4.1.1.1. They reset like RSET (4.1.4).
    fn say_hello(&mut self, now: Now, verb: Bytes, name: Bytes, extended: bool) {
        // Users' programs say anything; other servers must know their names.
        let ok = match core::str::from_utf8(&name) {
            _ if name.is_empty() => false,
            _ if self.config.mode == Mode::Submission => true,
            Ok(name) if extended => Host::parse(name, true).is_ok(),
            Ok(name) => Domain::parse(name, true).is_ok(),
            Err(_) => false,
        };
        if !ok {
            let reply = Reply::new(501, 5, 2, "Say your domain name or [address]");
            return self.error(now, verb, reply);
        }
        if !self.is_patient() {
            return self.impatient(now, verb);
        }
        self.end_transaction();
        let id = self.ask(Ask::Hello { name, extended });
        self.slots
            .push_back(Slot::asked(verb, Kind::Hello { extended }, id));
    }

    /// The reply to a greeting that the world accepts.
    pub(super) fn welcome(&self, now: Now, extended: bool) -> Reply {
        let config = &self.config;
        let mut text = String::from(config.hostname.as_str());
        if extended {
            text.push_str("\nPIPELINING");
            // A String takes everything that is written to it.
            let _ = write!(text, "\nSIZE {}", config.max_size);
            if config.starttls && !self.secure {
                text.push_str("\nSTARTTLS");
            }
            if self.may_auth() {
                text.push_str("\nAUTH");
                for mechanism in config.mechanisms.iter().filter(|name| self.offers(name)) {
                    text.push(' ');
                    text.push_str(mechanism);
                }
            }
            text.push_str("\nENHANCEDSTATUSCODES\n8BITMIME\nSMTPUTF8\nCHUNKING\nDSN");
            if self.secure {
                // RFC 8689 3: inside TLS only.
                text.push_str("\nREQUIRETLS");
            }
            if self.may_hold() {
                let longest = config.limits.hold;
                let _ = write!(
                    text,
                    "\nFUTURERELEASE {} {}",
                    longest.as_secs(),
                    now.utc + longest
                );
            }
            let _ = write!(
                text,
                "\nLIMITS RCPTMAX={} MAILMAX={}",
                config.limits.recipients, config.limits.messages
            );
        }
        Reply::plain(250, text)
    }

    /// STARTTLS, RFC 3207.
    fn start_tls(&mut self, now: Now, verb: Bytes, input: &BytesMut) {
        if !self.config.starttls && !self.secure {
            let reply = Reply::new(502, 5, 1, "TLS is not offered");
            return self.error(now, verb, reply);
        }
        if !self.hello {
            return self.out_of_order(now, verb, "EHLO comes first");
        }
        if self.secure {
            return self.out_of_order(now, verb, "TLS is active already");
        }
        if self.authenticated {
            return self.out_of_order(now, verb, "TLS comes before AUTH");
        }
        if !input.is_empty() && !mutant!(StartTlsLeftoversKept) {
            return self.data_after_starttls();
        }
        if !self.is_patient() {
            return self.impatient(now, verb);
        }
        self.end_transaction();
        self.out.seal();
        self.send(&Reply::new(220, 0, 0, "Go ahead"));
        self.out.push(Step::StartTls);
        self.since = now.mono;
        self.phase = Phase::Upgrading;
    }
}
