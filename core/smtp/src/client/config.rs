//! How a client behaves and where it stops.

use alloc::vec::Vec;
use core::time::Duration;
use mox_address::Host;

use crate::wire::ReplyLimits;

/// How a client behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What it calls itself in EHLO.
    pub hello: Host,
    /// When it asks for TLS.
    pub tls: Tls,
    /// SASL mechanisms in upper case, best first; the first that is offered is used. None: no AUTH.
    pub mechanisms: Vec<&'static str>,
    /// Each command is told with its reply, by [`Event::Exchanged`](super::Event::Exchanged).
    pub transcribes: bool,
    /// Where everything ends.
    pub limits: Limits,
}

impl Config {
    /// Opportunistic TLS, no AUTH.
    pub fn new(hello: Host) -> Self {
        Self {
            hello,
            tls: Tls::IfOffered,
            mechanisms: Vec::new(),
            transcribes: false,
            limits: Limits::default(),
        }
    }
}

/// When STARTTLS is used. A stream that is TLS from its first byte needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not even when offered.
    Never,
    /// When offered; where it is refused the mail goes in clear.
    IfOffered,
    /// Nothing is sent without.
    Required,
}

/// Every limit of a session: sizes, and how long each reply is waited for (RFC 5321 4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Lines of a reply and their length. The session ends with [`Cause::Protocol`](super::Cause::Protocol).
    pub replies: ReplyLimits,
    /// Octets of the message asked for at once.
    pub piece: usize,
    /// Commands sent ahead of their replies with PIPELINING.
    pub pipeline: usize,
    /// Until the greeting.
    pub greeting: Duration,
    /// After EHLO, HELO, AUTH, MAIL, RCPT, RSET.
    pub command: Duration,
    /// After STARTTLS.
    pub start_tls: Duration,
    /// After DATA.
    pub data: Duration,
    /// For each piece of the message, until the next is wanted and here.
    pub block: Duration,
    /// After the final dot.
    pub end: Duration,
    /// After QUIT.
    pub quit: Duration,
    /// For an answer to [`Ask::Next`](super::Ask::Next); then QUIT.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            replies: ReplyLimits::default(),
            piece: 64 * 1024,
            pipeline: 100,
            greeting: minutes(5),
            command: minutes(5),
            start_tls: minutes(2),
            data: minutes(2),
            block: minutes(3),
            end: minutes(10),
            quit: Duration::from_secs(5),
            idle: minutes(5),
        }
    }
}
