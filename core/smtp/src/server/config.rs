//! What a server offers and where it stops.

use alloc::vec::Vec;
use core::time::Duration;
use mox_address::Domain;

/// Who a server is and what it offers. One is shared by all sessions of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name in the greeting and the reply to EHLO.
    pub hostname: Domain,
    /// Which rules it follows.
    pub mode: Mode,
    /// STARTTLS is offered while the stream is in clear.
    pub starttls: bool,
    /// SASL mechanisms in upper case, in the order they are announced; those that end in -PLUS only inside TLS,
    /// EXTERNAL only where the client has a certificate.
    /// None: AUTH is not offered.
    pub mechanisms: Vec<&'static str>,
    /// AUTH may be used in clear.
    pub auth_in_clear: bool,
    /// MAIL needs AUTH first (530 5.7.0).
    pub auth_required: bool,
    /// MAIL needs TLS first (530 5.7.0).
    pub tls_required: bool,
    /// Octets of a message at most, announced with SIZE.
    pub max_size: u64,
    /// MAIL with a SIZE that is too much is the world's to refuse, which is asked about it as about any other.
    pub asks_about_size: bool,
    /// How long the greeting is held back, to see who speaks before it. Zero: not at all.
    pub greeting_delay: Duration,
    /// Who speaks before the greeting is sent away with 554, and not only noted.
    pub refuse_early_talkers: bool,
    /// Where everything ends.
    pub limits: Limits,
}

impl Config {
    /// 100 MiB, RFC 1870's SIZE where nothing else is configured.
    pub const MAX_SIZE: u64 = 100 * 1024 * 1024;

    /// Delivery without TLS and AUTH.
    pub fn new(hostname: Domain) -> Self {
        Self {
            hostname,
            mode: Mode::Delivery,
            starttls: false,
            mechanisms: Vec::new(),
            auth_in_clear: false,
            auth_required: false,
            tls_required: false,
            max_size: Self::MAX_SIZE,
            asks_about_size: false,
            greeting_delay: Duration::ZERO,
            refuse_early_talkers: false,
            limits: Limits::default(),
        }
    }
}

/// Which rules a server follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Mail from other servers, RFC 5321.
    Delivery,
    /// Mail from users, RFC 6409: what they say in EHLO is not looked at.
    Submission,
    /// RFC 2033: LHLO instead of EHLO, a reply for each recipient.
    Lmtp,
}

/// Every limit of a session. What happens at each is said beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line before its CRLF. `500 5.5.0`, close.
    pub command_line: usize,
    /// Octets of an AUTH command or of a line of its exchange (RFC 4954 4). `500 5.5.0`, close.
    pub auth_line: usize,
    /// Recipients of one message, announced with LIMITS RCPTMAX. `452 4.5.3`.
    pub recipients: usize,
    /// Recipients beyond those, of one message, that are refused like that and count as nothing else. `421 4.7.0`.
    pub surplus: usize,
    /// Messages of one session, announced with LIMITS MAILMAX. `421 4.7.0`.
    pub messages: usize,
    /// Asks open at once. No more is read.
    pub asks: usize,
    /// Octets of the message given out and not yet answered. No more is read.
    pub window: usize,
    /// Octets of replies not yet taken by `poll`. No more is read.
    pub output: usize,
    /// How many times `max_size` of a message that was refused already is read to find its end. Then close.
    pub discard_times: u64,
    /// Commands that cannot be obeyed. `421 4.7.0`.
    pub errors: usize,
    /// Commands in a row that lead to no message: NOOP, RSET, HELP, VRFY, EXPN, EHLO, STARTTLS, DATA without recipients, and MAIL
    /// that was refused. `421 4.7.0`.
    pub useless: usize,
    /// Failed AUTH exchanges. `421 4.7.0`.
    pub auth_failures: usize,
    /// Messages that were refused, while none was accepted. `550 5.1.0`, close.
    pub refused_messages: usize,
    /// From one reply to the end of the next command (RFC 5321 4.5.3.2.7: at least 5 minutes). `421 4.4.2`.
    pub command: Duration,
    /// Between two pieces of a message. `421 4.4.2`.
    pub data: Duration,
    /// From MAIL to the end of the message. `421 4.4.2`.
    pub transaction: Duration,
    /// For the answer to an ask. `421 4.3.0`.
    pub answer: Duration,
    /// Before each octet of a reply that is written slowly ([`Answer::SlowReply`](super::Answer::SlowReply)). Zero: none is.
    pub slow: Duration,
    /// Octets of such a reply that are written one by one; the rest leaves at once.
    pub slow_octets: usize,
    /// Such replies of one transaction, and of what follows it. More leave at once.
    pub slow_replies: usize,
    /// How long a submitted message may be held back (RFC 4865), announced with FUTURERELEASE; zero: it is not offered.
    /// `501 5.5.4`.
    pub hold: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_line: 2_047,
            auth_line: 12_288,
            recipients: 1_000,
            surplus: 10_000,
            messages: 10_000,
            asks: 8,
            window: 256 * 1024,
            output: 64 * 1024,
            discard_times: 2,
            errors: 10,
            useless: 100,
            auth_failures: 5,
            refused_messages: 10,
            command: Duration::from_secs(5 * 60),
            data: Duration::from_secs(10 * 60),
            transaction: Duration::from_secs(60 * 60),
            answer: Duration::from_secs(10 * 60),
            slow: Duration::from_secs(1),
            slow_octets: 10,
            slow_replies: 20,
            hold: Duration::from_secs(60 * 24 * 60 * 60),
        }
    }
}
