//! Why an operation writes nothing, and how far a long one came.

use core::fmt;

use crate::{AccountId, BodyId, ReadError};

/// An operation that changed nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The store could not be read, or a row of it is damaged.
    Read(ReadError),
    /// The store was written by a later program.
    Schema {
        /// What it says.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// No account has this name or number.
    NoSuchAccount,
    /// Another account has this name.
    AccountExists,
    /// Not a name for an account: `[a-z0-9][a-z0-9._@-]{0,63}`.
    BadAccountName,
    /// No mailbox has this name.
    NoSuchMailbox,
    /// The mailbox with this number was deleted.
    MailboxGone,
    /// Another mailbox has this name.
    MailboxExists,
    /// Not a name for a mailbox, and why.
    BadMailboxName(&'static str),
    /// INBOX can neither be deleted nor be the new name of another.
    Inbox,
    /// A mailbox that has others below it is not deleted.
    HasChildren,
    /// Another mailbox has this special use.
    SpecialUseTaken,
    /// Not a keyword: an atom of at most [`KEYWORD_MAX`](crate::KEYWORD_MAX) octets.
    BadKeyword,
    /// The account would have more octets than it may.
    OverQuota(AccountId),
    /// More than a limit allows.
    TooMany(Limit),
    /// The body given as stored has no reference, or one given as new is not as its length says.
    NoSuchBody(BodyId),
    /// The queue has no such entry.
    NoSuchEntry(u64),
    /// The message in this file was taken before.
    Taken,
}

/// A limit of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`MAILBOXES_MAX`](crate::MAILBOXES_MAX) mailboxes and subscriptions in an account.
    Mailboxes,
    /// [`RENAME_MAX`](crate::RENAME_MAX) mailboxes renamed at once.
    Rename,
    /// [`KEYWORDS_MAX`](crate::KEYWORDS_MAX) keywords in a mailbox.
    Keywords,
    /// 4,294,967,294 UIDs given in a mailbox.
    Uids,
    /// 4,294,967,295 values of UIDVALIDITY, accounts, or mailboxes of an account ever.
    Numbers,
    /// [`PREFIX_MAX`](crate::PREFIX_MAX) octets before a message.
    Prefix,
    /// [`ORIGIN_MAX`](crate::ORIGIN_MAX) octets of origin facts.
    Origin,
    /// [`CREDENTIALS_MAX`](crate::CREDENTIALS_MAX) octets of credentials.
    Credentials,
    /// [`RECIPIENTS_MAX`](crate::RECIPIENTS_MAX) recipients in one entry of the queue, or none at all.
    Recipients,
    /// [`ADDRESS_MAX`](crate::ADDRESS_MAX) octets of an address in the queue.
    Address,
    /// [`BATCH_ROWS_MAX`](crate::BATCH_ROWS_MAX) rows or [`BATCH_BYTES_MAX`](crate::BATCH_BYTES_MAX) octets in one
    /// operation: too many targets.
    Batch,
    /// [`ANNOTATIONS_MAX`](crate::ANNOTATIONS_MAX) annotations of a mailbox, or
    /// [`ANNOTATIONS_OCTETS_MAX`](crate::ANNOTATIONS_OCTETS_MAX) of the account.
    Annotations,
    /// [`ANNOTATION_MAX`](crate::ANNOTATION_MAX) octets of an annotation, or
    /// [`ANNOTATION_NAME_MAX`](crate::ANNOTATION_NAME_MAX) of its name.
    Annotation,
    /// [`SUPPRESSIONS_MAX`](crate::SUPPRESSIONS_MAX) addresses of an account that nothing is sent to.
    Suppressions,
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(e) => e.fmt(f),
            Self::Schema { found, known } => write!(
                f,
                "the store has schema {found}, this program knows {known}: use a later program"
            ),
            Self::NoSuchAccount => f.write_str("no such account"),
            Self::AccountExists => f.write_str("the account exists"),
            Self::BadAccountName => f.write_str(
                "an account name is 1 to 64 of a-z 0-9 . _ @ - and begins with a letter or digit",
            ),
            Self::NoSuchMailbox => f.write_str("no such mailbox"),
            Self::MailboxGone => f.write_str("the mailbox was deleted"),
            Self::MailboxExists => f.write_str("the mailbox exists"),
            Self::BadMailboxName(why) => write!(f, "not a mailbox name: {why}"),
            Self::Inbox => f.write_str("not possible with INBOX"),
            Self::HasChildren => f.write_str("the mailbox has others below it"),
            Self::SpecialUseTaken => f.write_str("another mailbox has this special use"),
            Self::BadKeyword => f.write_str("not a keyword"),
            Self::OverQuota(_) => f.write_str("the account is over its quota"),
            Self::TooMany(Limit::Suppressions) => write!(
                f,
                "the account has {} suppressed addresses, and no more are kept; `moxctl queue suppress list` names them, `rm` lifts one",
                crate::SUPPRESSIONS_MAX
            ),
            Self::TooMany(limit) => write!(f, "too many: the limit is on {limit:?}"),
            Self::NoSuchBody(id) => write!(f, "no body {}-{}", id.boot, id.counter),
            Self::NoSuchEntry(id) => write!(f, "the queue has no entry {id}"),
            Self::Taken => f.write_str("this message was taken before"),
        }
    }
}

impl std::error::Error for Stop {}

/// Whether a job of several operations is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress<C = ()> {
    /// It is.
    Done,
    /// Run the operation again with this.
    More(C),
}
