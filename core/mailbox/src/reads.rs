//! The seam between the engine and whatever keeps its rows.

use bytes::Bytes;
use core::fmt;
use core::ops::ControlFlow;

/// The two keyspaces of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// All tables: small rows, one prefix byte each.
    Rows,
    /// Bodies up to [`INLINE_BODY_MAX`], by body id.
    Bodies,
}

/// A consistent view of a store, ordered by key.
pub trait Reads {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError>;
    /// Visits keys from `from` (inclusive) to `to` (exclusive) in ascending order until told to break.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError>;
    /// As `scan`, in descending order: from below `to` (exclusive) down to `from` (inclusive).
    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError>;
}

/// The store could not be read: an I/O error or damage, with what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError(pub String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store cannot be read: {}", self.0)
    }
}

impl std::error::Error for ReadError {}

/// Writes that become visible and durable together, or not at all. At most [`BATCH_ROWS_MAX`] rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// In order; a later write of a key wins. `None` removes.
    pub writes: Vec<(Space, Vec<u8>, Option<Bytes>)>,
    /// Mailboxes and queues whose watchers are told once the batch is published.
    pub touched: Vec<Touched>,
    /// Body files to unlink once the commit that removed their last reference is published (S2).
    pub unlink: Vec<crate::BodyId>,
}

/// Something that watchers wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Touched {
    /// A mailbox reached a modification sequence.
    Mailbox {
        /// Whose.
        account: crate::AccountId,
        /// Which.
        mailbox: crate::MailboxId,
        /// Its new modification sequence; `u64::MAX` when it was deleted.
        modseq: u64,
    },
    /// The names of mailboxes of an account, its subscriptions, or its annotations.
    Account(crate::AccountId),
    /// The outgoing queue has a new or changed row.
    Queue,
    /// A junk filter has something to learn or to forget.
    Junk,
}

/// The largest body kept in the store's own `Bodies` space, in octets; larger ones are files.
pub const INLINE_BODY_MAX: usize = 16 * 1024;
/// Rows in one batch at most: room for an APPEND of 500 messages, which is one or nothing. Jobs that can be resumed take
/// smaller steps.
pub const BATCH_ROWS_MAX: usize = 4_096;
/// Octets of keys and values in one batch at most.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Octets of one value at most.
pub const VALUE_MAX: usize = 64 * 1024;
