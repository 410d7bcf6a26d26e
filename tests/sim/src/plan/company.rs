//! Other people: servers with habits of their own, and clients nobody invites.

use serde::{Deserialize, Serialize};

use crate::peers::{Babble, Parting, Stage};

/// Somebody else's server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerPlan {
    /// What it does.
    pub manner: PeerManner,
    /// Seconds after the beginning from which on it is like any other server, unless it only refuses somebody for good.
    pub until_s: u64,
    /// It offers STARTTLS, and can do it.
    pub tls: bool,
}

/// What somebody else's server does; see [`peers`](crate::peers) for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerManner {
    /// Nothing special.
    Plain,
    /// Turns each message away until so many seconds after it saw it first.
    Greylister(u64),
    /// Says one octet in so many milliseconds.
    Tarpit(u64),
    /// Says 4xx at this stage.
    Busy(Stage),
    /// Closes after the final dot, so many times.
    Dropper {
        /// It keeps the message.
        keeps: bool,
        /// It breaks the connection.
        resets: bool,
        /// How often.
        times: u32,
    },
    /// Offers STARTTLS, and cannot do it.
    BrokenTls(Flaws),
    /// Says one reply more than it was asked for.
    Smuggler(Stage, String),
    /// Falls silent at this stage, after it kept a message or not.
    Hanger(Stage, bool),
    /// Says too much.
    Talker(Stage, Babble),
    /// Says this.
    Confused(Stage, String),
    /// Leaves behind this stage so many times.
    Leaver(Stage, u32),
    /// Refuses its first mailbox for good.
    Picky,
    /// Never greets.
    Silent,
}

/// What is wrong with TLS; see [`Flaw`](crate::peers::Flaw).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is told where it is done")]
pub enum Flaws {
    Refuses,
    Ignores,
    Garbage,
    Injects,
    Hangs,
    Closes,
    Leaves,
    /// An expired certificate for another name.
    Presents,
}

/// One visit of a client nobody invites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rude {
    /// The port: 25, 587 or 143.
    pub port: u16,
    /// What it does there.
    pub trick: Trick,
}

/// What such a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trick {
    /// So many commands at once.
    Flood(u32),
    /// One octet in so many milliseconds.
    Drip(u64),
    /// So many commands, and no reply is read for so many milliseconds.
    Deaf(u32, u64),
    /// A message in one breath, of which the first octets are sent, so many.
    Cut(usize, Parting),
    /// A message with another one inside, behind an end that is none: one of [`ENDS`](Self::ENDS).
    Smuggle(usize),
    /// Commands in clear behind STARTTLS.
    Inject,
}

impl Trick {
    /// Ends of messages that are none.
    pub const ENDS: [&str; 5] = ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r"];
}
