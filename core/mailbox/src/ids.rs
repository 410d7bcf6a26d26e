//! Numbers that name things, never used twice.

use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId(pub u32);

/// A mailbox of an account; unique within it, also after it was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxId(pub u32);

/// A message body: the number of the store's start that wrote it, and a counter within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BodyId {
    /// Which start of the store.
    pub boot: u32,
    /// Which body of that start.
    pub counter: u64,
}
