//! What an SMTP client asks the world, what it is answered, and the facts it tells.

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use mox_address::{Enhanced, Path, Reply};
use mox_machine::Secret;

use super::Offer;
use crate::wire::{Fault, MailDsn, RcptDsn, ReplyError};

/// A question of the SMTP client to the world. One is open at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The session is ready for a message. Answer `Send` or `Quit`.
    Next(Offer),
    /// One step of an AUTH exchange. Answer `Response` or `Failed` (the exchange is cancelled).
    Sasl {
        /// The mechanism, one of those configured.
        mechanism: &'static str,
        /// The server's challenge, decoded; `None` at the start, where the answer is the initial response.
        challenge: Option<Secret<Bytes>>,
    },
    /// The message from `offset` on, as it is stored: lines end in CRLF, dots are not doubled.
    /// Answer `Piece` with 1 to `max` octets, none at the end, or `Failed`.
    ///
    /// Asked only when everything before was taken by `poll`.
    Piece {
        /// Octets before it.
        offset: u64,
        /// Octets at most.
        max: usize,
    },
}

/// The world's answer to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Send this message.
    Send(Transaction),
    /// There is nothing more to send.
    Quit,
    /// SASL: say this; `None` only at the start, for a mechanism in which the server speaks first.
    Response(Option<Secret<Bytes>>),
    /// The next octets of the message; none at its end.
    Piece(Bytes),
    /// It cannot be had now.
    Failed,
}

/// One message for some recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The reverse-path; `None` is the null path. In ASCII unless `utf8`.
    pub from: Option<Path>,
    /// The recipients; outcomes name them by their place here. In ASCII unless `utf8`.
    pub to: Vec<Path>,
    /// Octets of the message.
    pub size: u64,
    /// It has octets over 127.
    pub eight_bit: bool,
    /// Its header or a path needs SMTPUTF8.
    pub utf8: bool,
    /// It travels to servers with REQUIRETLS only.
    pub require_tls: bool,
    /// RET and ENVID, said where the server offers DSN.
    pub dsn: MailDsn,
    /// How far it goes.
    pub until: Until,
    /// NOTIFY and ORCPT of the recipients, by their place in `to`, said where the server offers DSN; those that it lacks have
    /// none.
    pub rcpt_dsn: Vec<RcptDsn>,
}

/// How far a transaction goes. One that stops early sends nothing: it is to see what would become of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// What the server offers; MAIL is not said.
    Offer,
    /// What it says of each recipient; DATA is not said.
    Recipients,
    /// All of it.
    #[default]
    Message,
}

/// A fact an SMTP client tells. None needs an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server greeted.
    Greeted(Reply),
    /// STARTTLS was offered, but refused; the session goes on in clear.
    TlsRefused(Reply),
    /// The whole message was handed over and its final dot comes next: from here on the server may have it.
    Ending {
        /// Octets of the message, before dots were doubled.
        bytes: u64,
    },
    /// What became of one recipient. Each gets exactly one, before `Finished` or `Closed`.
    Recipient {
        /// Its place in [`Transaction::to`].
        index: usize,
        /// What became of it.
        outcome: Outcome,
    },
    /// A command and what was said to it, where [`Config::transcribes`](super::Config::transcribes) asks for that. Neither the
    /// message nor what proves who we are is in it.
    Exchanged {
        /// The command without its line end; empty for the greeting, and for a reply to nothing.
        command: String,
        /// `None` when none came.
        reply: Option<Reply>,
    },
    /// The transaction is over.
    Finished,
    /// The session is over, and why.
    Closed(Ending),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// We said QUIT.
    Quit,
    /// It could not go on. No recipient was lost by this: each had its outcome.
    Failed(Outcome),
}

/// What became of a recipient or a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it worked, or may work later.
    pub class: Class,
    /// Why.
    pub cause: Cause,
    /// The command that decided.
    pub stage: Stage,
    /// The server's reply, word for word.
    pub reply: Option<Reply>,
    /// The stream was encrypted.
    pub tls: bool,
    /// The final dot was sent and no reply seen: the server may have the message all the same.
    pub ambiguous: bool,
}

impl Outcome {
    /// A recipient of whom the server may only say that there were too many before: another transaction may reach it
    /// (RFC 5321 4.5.3.1.10). A full mailbox says so by its enhanced code.
    pub fn is_one_too_many(&self) -> bool {
        self.stage == Stage::Rcpt
            && self.reply.as_ref().is_some_and(|reply| {
                let is_count = |code: Enhanced| code.1 == 5;
                matches!(reply.code, 452 | 552) && reply.enhanced.is_none_or(is_count)
            })
    }
}

/// Whether it worked, or may work later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The server has it.
    Delivered,
    /// It may work later.
    Temporary,
    /// It will never work.
    Permanent,
}

/// Who or what decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The server's reply.
    Reply,
    /// The server did not answer in time.
    Timeout,
    /// The server closed the stream.
    Lost,
    /// What the server said is no reply.
    Protocol(ReplyError),
    /// The server spoke when nothing was asked.
    Unexpected,
    /// Bytes followed the server's reply to STARTTLS in clear.
    DataAfterStartTls,
    /// TLS is required and not offered.
    NoTls,
    /// None of the configured mechanisms is offered.
    NoAuth,
    /// An AUTH exchange was given up, by us or because of what the server sent.
    AuthFailed,
    /// The message needs SMTPUTF8, which is not offered (5.6.7).
    NoUtf8,
    /// The message needs REQUIRETLS, which is not offered, or not inside TLS (5.7.30).
    NoRequireTls,
    /// The message is bigger than the server's SIZE (5.3.4).
    TooBig,
    /// The message has what is never sent (5.6.0).
    BadMessage(Fault),
    /// Our own side could not give the message.
    SourceFailed,
    /// No more was asked, as [`Until`] wants it, and so far nothing is against it.
    NotAsked,
}

/// The command a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The connection itself.
    Greeting,
    /// EHLO
    Ehlo,
    /// HELO
    Helo,
    /// STARTTLS
    StartTls,
    /// AUTH
    Auth,
    /// RSET
    Rset,
    /// MAIL
    Mail,
    /// RCPT
    Rcpt,
    /// DATA, up to its 354.
    Data,
    /// The message, up to the reply to its final dot.
    Message,
    /// QUIT
    Quit,
}

/// As DSNs and logs name it.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "connection",
            Self::Ehlo => "EHLO",
            Self::Helo => "HELO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Rset => "RSET",
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Data => "DATA",
            Self::Message => "end of DATA",
            Self::Quit => "QUIT",
        })
    }
}
