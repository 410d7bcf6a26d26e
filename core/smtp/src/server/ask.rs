//! What an SMTP server asks the world, what it is answered, and the facts it tells.

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use mox_address::{Path, Reply};
use mox_machine::{Secret, Utc};

use crate::wire::{MailDsn, RcptDsn};

/// A question of the SMTP server to the world. At most 8 are open at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// EHLO, HELO or LHLO was given. Answer `Accept` or `Reply` (a refusal).
    Hello {
        /// The name as typed.
        name: Bytes,
        /// EHLO or LHLO rather than HELO.
        extended: bool,
    },
    /// One step of an AUTH exchange. Answer `Challenge`, `Authenticated` or `Reply` (a refusal: 535, 454, ...).
    Sasl {
        /// The mechanism's name in upper case.
        mechanism: Bytes,
        /// Decoded client response; `None` when AUTH came without an initial response.
        response: Option<Secret<Bytes>>,
        /// The first step of this exchange.
        first: bool,
    },
    /// MAIL was given and is well formed. Answer `Accept` (250 2.1.0) or `Reply`.
    Sender {
        /// The reverse-path; `None` is the null path.
        from: Option<Path>,
        /// Its parameters.
        params: MailParams,
    },
    /// RCPT was given and is well formed. Answer `Accept` (250 2.1.5) or `Reply`.
    ///
    /// A bare `<postmaster>` arrives as postmaster at the server's own host name.
    Recipient {
        /// The forward-path.
        to: Path,
        /// Its parameters.
        params: RcptDsn,
    },
    /// The next piece of the message, unstuffed. Answer `Accept` when it is taken care of, or `Reply` to refuse
    /// the message: the rest is read and discarded, and this reply ends the transaction.
    ///
    /// Pieces come in order. The first one opens the message. The unanswered pieces never exceed the window of `Limits`.
    Body(Bytes),
    /// The message is complete. Answer `Stored` once it is durable, `Reply`, or `Each` for LMTP.
    Commit {
        /// Octets in all `Body` pieces.
        bytes: u64,
    },
}

/// The world's answer to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Accept,
    /// MAIL: yes, and the id stands in the reply where the message turns out to be [unfit](Event::Unfit).
    Begun {
        /// Opaque id of the transaction.
        id: String,
    },
    /// This reply instead of the usual one. Positive ones accept, others refuse.
    Reply(Reply),
    /// The same of a refusal, and from the next one on replies but that to DATA and the last one are written slowly, until the client has authenticated or a
    /// message is [`Stored`](Self::Stored).
    SlowReply(Reply),
    /// LMTP: one reply for each accepted recipient.
    Each(Vec<Reply>),
    /// SASL: send this to the client (not yet base64).
    Challenge(Bytes),
    /// SASL: the client is this user.
    Authenticated(String),
    /// The message is durable; the id stands in the 250 and in the log.
    Stored {
        /// Opaque id of the transaction.
        id: String,
    },
}

/// Parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// SIZE, RFC 1870.
    pub size: Option<u64>,
    /// BODY, RFC 6152 and 3030.
    pub body: Option<BodyKind>,
    /// SMTPUTF8, RFC 6531.
    pub utf8: bool,
    /// AUTH, RFC 4954: the xtext, decoded.
    pub auth: Option<Bytes>,
    /// RET and ENVID, RFC 3461.
    pub dsn: MailDsn,
    /// REQUIRETLS, RFC 8689.
    pub require_tls: bool,
    /// HOLDFOR or HOLDUNTIL, RFC 4865: when it may leave.
    pub release: Option<Utc>,
}

/// BODY= of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// 7BIT
    SevenBit,
    /// 8BITMIME
    EightBit,
}

/// A fact an SMTP server tells. None needs an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The transaction, whose MAIL, RCPT or body asks were already accepted, is over without a Commit that was
    /// asked: forget it (RSET, EHLO, STARTTLS, a refused body, the end of the connection).
    Reset,
    /// A command was refused or a limit was reached, with the reply that was sent.
    Refused {
        /// The verb in upper case, empty when there was none that is a command.
        verb: Bytes,
        /// The reply.
        reply: Reply,
    },
    /// The message can be accepted by nobody, whatever the world would say: its transaction ends, and this is what it is
    /// answered with.
    Unfit {
        /// Why.
        why: Unfit,
        /// The reply.
        reply: Reply,
    },
    /// The peer broke the protocol.
    Protocol(Violation),
    /// The session is over, and why.
    Closed(CloseReason),
}

/// Why a message can be accepted by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is larger than any may be.
    TooBig,
    /// A line in it ends in bare LF, or holds a bare CR.
    BareLineEnd,
    /// It has a NUL.
    Nul,
}

/// How a peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A line ended in bare LF or held a bare CR.
    BareLineEnd,
    /// A command line over the limit.
    LineTooLong,
    /// Bytes followed STARTTLS in clear: an injection attack or a broken client.
    DataAfterStartTls,
    /// A bare CR or LF inside the message.
    BareLineEndInData,
    /// NUL inside the message.
    NulInData,
    /// The connection ended inside a command or a message.
    EofInside,
    /// It sent commands before the greeting.
    EarlyTalker,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// QUIT.
    Quit,
    /// The peer closed the stream.
    Eof,
    /// Nothing came for too long.
    Timeout,
    /// Too many errors or useless commands.
    TooManyErrors,
    /// The server is stopping.
    Drained,
    /// The peer broke the protocol in a way that cannot be recovered from.
    Violation,
    /// The world answered with a 421.
    Refused,
}
