//! The recipients of an entry of the queue, what was said of each, and what was decided for those here.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::AccountId;
use crate::queue::{LAST_TEXT_MAX, NAME_MAX, TEXT_MAX, clipped};
use crate::rows::octets;

/// Octets of what was said last of all recipients of an entry: each has its part of these, and at least so many.
pub(crate) const SAID: Shares = Shares {
    text: (8 * 1024, 128, LAST_TEXT_MAX),
    host: (4 * 1024, 64, NAME_MAX),
    tls: (3 * 1024, 48, NAME_MAX),
};
/// The same of those that leave the queue together, each of which has as much of it as there are others.
pub(crate) const FATES: Shares = Shares {
    text: (16 * 1024, TEXT_MAX, LAST_TEXT_MAX),
    ..SAID
};
/// Octets of what was decided for one recipient, at most.
pub const FILED_MAX: usize = 8 * 1024;

/// A recipient in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecipient {
    /// Its address.
    pub address: String,
    /// What the sender wants to be told about it, as parameters of RCPT; opaque to the engine.
    pub dsn: String,
    /// What was said of it in the last attempt; `None` before that, and where an earlier version made it.
    pub last: Option<Said>,
    /// Where it was decided that the message goes, if it is to a mailbox here.
    pub filed: Option<Filed>,
}

/// What was decided of a message for a mailbox here to which the queue brings it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// For whom that was decided: an address may be another's by the time of delivery.
    pub account: AccountId,
    /// The mailbox, made where there is none.
    pub mailbox: String,
    /// Header fields that tell of the decision; they stand before the message.
    pub fields: String,
    /// What it has in common with other mail; opaque to the engine.
    #[serde(with = "octets")]
    pub origin: Bytes,
    /// There is nothing to read in it.
    pub seen: bool,
}

/// What was said of one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Word for word, as far as there is room.
    pub text: String,
    /// Who decided, and how sure that is.
    pub by: Reached,
}

/// The host that decided about one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Its name and address; empty when none was reached.
    pub host: String,
    /// What there was of TLS with it, for people; empty when it came to no connection.
    pub tls: String,
    /// RFC 3463; empty where nobody knows.
    pub status: String,
    /// These are the words of the host, and not our own.
    pub from_peer: bool,
    /// In how many attempts the answer to the final dot was lost, or of how many no end is known: the recipient may have the message.
    pub ambiguous: u32,
}

/// How octets are shared by recipients: all together, each at least, each at most.
pub(crate) struct Shares {
    pub(crate) text: (usize, usize, usize),
    host: (usize, usize, usize),
    tls: (usize, usize, usize),
}

pub(crate) fn share((all, least, most): (usize, usize, usize), recipients: usize) -> usize {
    (all / recipients.max(1)).clamp(least, most)
}

impl Reached {
    /// As much as there is room for beside so many others.
    pub(crate) fn clipped(&self, shares: &Shares, recipients: usize) -> Self {
        /// Octets of a status.
        const STATUS_MAX: usize = 11;
        Self {
            host: clipped(&self.host, share(shares.host, recipients)),
            tls: clipped(&self.tls, share(shares.tls, recipients)),
            status: clipped(&self.status, STATUS_MAX),
            ..*self
        }
    }
}

impl QueueRecipient {
    /// In how many attempts the answer to the final dot was lost: it may have the message.
    pub fn ambiguous(&self) -> u32 {
        self.last.as_ref().map_or(0, |said| said.by.ambiguous)
    }

    /// Octets that it takes of [`RECIPIENTS_OCTETS_MAX`](crate::RECIPIENTS_OCTETS_MAX). What was said of it has room of its own.
    pub fn octets(&self) -> usize {
        // Two lengths beside the texts, and whether there is more.
        self.address.len() + self.dsn.len() + 6 + self.filed.as_ref().map_or(0, Filed::octets)
    }
}

impl Filed {
    pub(crate) fn octets(&self) -> usize {
        // A number, three lengths and a mark beside the texts.
        self.mailbox.len() + self.fields.len() + self.origin.len() + 12
    }
}

/// Nothing is wanted but what is usual.
impl From<String> for QueueRecipient {
    fn from(address: String) -> Self {
        Self {
            address,
            dsn: String::new(),
            last: None,
            filed: None,
        }
    }
}

impl From<&str> for QueueRecipient {
    fn from(address: &str) -> Self {
        address.to_owned().into()
    }
}

/// Its address.
impl PartialEq<&str> for QueueRecipient {
    fn eq(&self, address: &&str) -> bool {
        self.address == *address
    }
}
