//! What breaks at a certain time, and for how long.

use serde::{Deserialize, Serialize};

/// Nothing gets from one computer to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// From here.
    pub from: Ends,
    /// To there.
    pub to: Ends,
    /// And back.
    pub both: bool,
    /// When it begins, in milliseconds after the beginning.
    pub at_ms: u64,
    /// How long it lasts.
    pub for_ms: u64,
}

/// Where a cut ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ends {
    /// One of our servers.
    Server(usize),
    /// A client.
    Client(usize),
    /// Somebody else's server.
    Peer(usize),
    /// The name server.
    Names,
}

/// Something is wrong with the disk of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskTrouble {
    /// Whose.
    pub server: usize,
    /// When it begins, in milliseconds after the beginning.
    pub at_ms: u64,
    /// How long it lasts.
    pub for_ms: u64,
    /// What.
    pub what: Wrong,
}

/// What can be wrong with a disk. Once in so many times, where there is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wrong {
    /// No room for files but so many octets.
    Full(u64),
    /// Files cannot be read.
    Reads(u64),
    /// Files cannot be written.
    Writes(u64),
    /// Files and directories cannot be synced.
    Syncs(u64),
    /// Names of files cannot be made, changed, removed or listed.
    Names(u64),
    /// Rows cannot be written.
    Rows(u64),
    /// Rows cannot be synced, from the first time on.
    RowSyncs(u64),
}

/// Somebody sets all clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// When, in milliseconds after the beginning.
    pub at_ms: u64,
    /// By so many seconds.
    pub seconds: u64,
    /// Back, not forward.
    pub back: bool,
}
