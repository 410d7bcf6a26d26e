//! What an IMAP server asks the world, what it is answered, and the facts it tells.
//!
//! Asks name meanings, not storage. Pages keep memory bounded: the machine asks for the next page when its
//! output queue is empty.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use mox_machine::{Secret, Utc};
use mox_mime::{Envelope, Part};
use mox_uids::{Uid, UidSet};

use crate::search::SearchKey;

/// A mailbox of one account, named by a number that is never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BoxId(pub u32);

/// A question of the IMAP server to the world. At most 8 are open at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// One step of AUTHENTICATE; LOGIN comes as `Login`. Answer `Challenge`, `Authenticated` or `No`.
    Sasl {
        /// The mechanism's name in upper case.
        mechanism: Bytes,
        /// Decoded client response; `None` when there was no initial response.
        response: Option<Secret<Bytes>>,
        /// The first step of this exchange.
        first: bool,
    },
    /// LOGIN. Answer `Authenticated` or `No`.
    Login {
        /// The user name as typed.
        user: Bytes,
        /// The password as typed.
        password: Secret<Bytes>,
    },
    /// All mailboxes of the account, in order of name. Answer `Mailboxes`. The machine matches the patterns.
    Mailboxes,
    /// Figures of a mailbox by name. Answer `Status` or `No`.
    Status {
        /// Canonical UTF-8 name.
        name: String,
        /// `deleted_size` is wanted, which may take a look at all messages; it may be 0 otherwise.
        deleted_size: bool,
    },
    /// A change to the list of mailboxes. Answer `Done` or `No`.
    Edit(MailboxEdit),
    /// Open a mailbox. Answer `Selected` or `No`.
    Select {
        /// Canonical UTF-8 name.
        name: String,
        /// EXAMINE.
        read_only: bool,
    },
    /// Which messages are gone since a modification sequence. Answer `Vanished`.
    Vanished {
        /// The selected mailbox.
        mailbox: BoxId,
        /// Modification sequence already known.
        since: u64,
    },
    /// Stays open: answer `Modseq` once the mailbox is newer than `since` (at once when it already is), or `Gone`
    /// when it was deleted. Cancelled when the mailbox is closed.
    Watch {
        /// The selected mailbox.
        mailbox: BoxId,
        /// What the machine has seen.
        since: u64,
    },
    /// NOTIFY. Stays open: answer `Modseq` once anything in the account is newer than `since`, with a number that only grows:
    /// a message, a flag, a mailbox, a subscription. It may be answered without cause. Cancelled by NOTIFY NONE.
    Observe {
        /// The number of the last answer; at first 0, which is older than anything.
        since: u64,
    },
    /// What changed after `since`. Answer `Changes` (with `more` when `max` was reached). A page never ends between two
    /// rows of one modification sequence, and shows the present names of all keywords its rows use.
    Changes {
        /// The selected mailbox.
        mailbox: BoxId,
        /// Modification sequence already known.
        since: u64,
        /// Rows at most.
        max: u32,
    },
    /// Rows of these messages, ascending; those that are gone are left out. Answer `Rows`: about 500 rows or 64 KiB
    /// at a time. `next` in the answer tells where to go on.
    Rows {
        /// The selected mailbox.
        mailbox: BoxId,
        /// Which messages.
        uids: UidSet,
        /// Which columns beyond uid, modseq, size and flags.
        want: Want,
        /// Rows at most.
        max: u32,
    },
    /// Bytes of a message or of a part of it. Answer `Piece`, or `Missing` when the message or the part is not there.
    Body {
        /// The selected mailbox.
        mailbox: BoxId,
        /// The message.
        uid: Uid,
        /// Which bytes of it.
        part: BodyPart,
        /// Octets of that, at most 64 KiB; clipped at its end.
        range: Range<u64>,
    },
    /// STORE. Answer `Marked` or `No`.
    Mark {
        /// The selected mailbox.
        mailbox: BoxId,
        /// Which messages; those that are gone are passed over.
        uids: UidSet,
        /// How.
        how: MarkHow,
        /// System flags and keywords.
        flags: Vec<Flag>,
        /// CONDSTORE: leave messages alone that changed after this.
        unchanged_since: Option<u64>,
        /// Up to here the session knows what others did.
        known: u64,
    },
    /// COPY and MOVE. Answer `Copied` or `No`.
    Copy {
        /// The selected mailbox.
        mailbox: BoxId,
        /// Which messages.
        uids: UidSet,
        /// Canonical UTF-8 name of the destination.
        to: String,
        /// MOVE.
        remove: bool,
    },
    /// EXPUNGE: remove the messages that have \Deleted. Answer `Expunged`.
    Expunge {
        /// The selected mailbox.
        mailbox: BoxId,
        /// UID EXPUNGE: only those of these.
        only: Option<UidSet>,
    },
    /// SEARCH over these messages. Sequence numbers in the key are already UIDs. Answer `Found` or `No`.
    Search {
        /// The selected mailbox.
        mailbox: BoxId,
        /// The messages the session knows of.
        among: Arc<UidSet>,
        /// What to look for.
        key: Arc<SearchKey>,
    },
    /// SORT over these messages. Answer `Sorted` or `No`.
    Sort {
        /// The selected mailbox.
        mailbox: BoxId,
        /// The messages the session knows of.
        among: Arc<UidSet>,
        /// What to look for.
        key: Arc<SearchKey>,
        /// In which order; the order of the mailbox decides in the end.
        order: Vec<SortKey>,
    },
    /// THREAD over these messages. Answer `Threads` or `No`.
    Thread {
        /// The selected mailbox.
        mailbox: BoxId,
        /// The messages the session knows of.
        among: Arc<UidSet>,
        /// What to look for.
        key: Arc<SearchKey>,
        /// How they are put together.
        algorithm: Threading,
    },
    /// APPEND opens a message; the one before it, if there was one, is complete. Answer `Accept` or `No` (TRYCREATE,
    /// quota, ...).
    Append {
        /// Canonical UTF-8 name, the same for all messages of a command.
        name: String,
        /// System flags and keywords.
        flags: Vec<Flag>,
        /// The internal date the client gave.
        date: Option<Utc>,
        /// Octets that will come, as far as they are known.
        size: u64,
        /// The literal was `~{..}`: NULs are allowed.
        binary: bool,
    },
    /// The next piece of the open APPEND. Answer `Accept` or `No`. Unanswered pieces never exceed the window of `Limits`.
    Piece(Bytes),
    /// CATENATE: the next piece of the open APPEND is a part of a message that is there. Answer `Accept`, `Missing` when
    /// it is not there, or `No`.
    Insert {
        /// The mailbox it is in; canonical UTF-8 name.
        name: String,
        /// UIDVALIDITY it must have.
        validity: Option<u32>,
        /// The message.
        uid: Uid,
        /// Which bytes of it.
        part: BodyPart,
        /// Octets of that, clipped at its end.
        range: Range<u64>,
    },
    /// All messages of the open APPEND are complete. Answer `Appended` once they are durable, all or none, or `No`.
    Commit {
        /// REPLACE: this message of that mailbox goes in the same moment. It may be gone already.
        replace: Option<(BoxId, Uid)>,
    },
    /// GETQUOTA and GETQUOTAROOT: there is one root at most, the account. Answer `Quota` or `No`.
    Quota {
        /// The mailbox whose root is asked for, which need not exist (RFC 9208 4.1.2); canonical UTF-8 name.
        mailbox: Option<String>,
    },
    /// All annotations of a mailbox, or of the account. Answer `Annotations` or `No`.
    Annotations {
        /// Canonical UTF-8 name; `None` is the account itself.
        mailbox: Option<String>,
    },
    /// SETMETADATA, all or nothing. Answer `Done` or `No`.
    Annotate {
        /// Canonical UTF-8 name; `None` is the account itself.
        mailbox: Option<String>,
        /// Names in lower case; without a value an entry goes.
        entries: Vec<(String, Option<Bytes>)>,
    },
    /// COMPRESS: there is memory for it. Answer `Accept` or `No`.
    Compress,
    /// UNAUTHENTICATE: forget who the client was. Answer `Done`.
    Unauthenticate,
}

/// The world's answer to an [`Ask`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Go on.
    Accept,
    /// Done and durable.
    Done,
    /// Refused: a tagged NO.
    No(Refusal),
    /// SASL: send this to the client (not yet base64).
    Challenge(Bytes),
    /// The client is this user.
    Authenticated(String),
    /// The client is this user, for whom some capabilities are off, beside those of the configuration.
    AuthenticatedWithout {
        /// The user.
        user: String,
        /// Of [`CAPABILITIES`](super::CAPABILITIES), in any case.
        without: Vec<String>,
    },
    /// All mailboxes.
    Mailboxes(Vec<MailboxInfo>),
    /// The figures of one mailbox.
    Status(StatusFigures),
    /// An opened mailbox.
    Selected(Selected),
    /// The mailbox reached this modification sequence.
    Modseq(u64),
    /// The watched mailbox was deleted.
    Gone,
    /// CREATE is durable.
    Created(BoxId),
    /// What changed.
    Changes(Changes),
    /// Expunged messages; some of them may never have been known.
    Vanished(UidSet),
    /// A page of rows.
    Rows {
        /// Ascending by UID.
        rows: Vec<Row>,
        /// The first wanted UID not looked at yet; `None` when this was the last page.
        next: Option<Uid>,
    },
    /// Bytes of a message.
    Piece {
        /// Octets of the whole part, whatever range was asked for.
        total: u64,
        /// Those of the range.
        bytes: Bytes,
    },
    /// No such message or part.
    Missing,
    /// STORE is durable.
    Marked {
        /// The messages as they are now, or as many of them as the world keeps at once.
        rows: Vec<Row>,
        /// The others, which the session will ask for where it tells of them.
        others: UidSet,
        /// Those that UNCHANGEDSINCE left alone.
        modified: UidSet,
        /// What this changed, by modification sequence. Left out are messages that somebody else changed after `known`: of
        /// that the session was not told.
        changed: Vec<(u64, UidSet)>,
    },
    /// COPY or MOVE is durable. The n-th of `from` became the n-th of `to`.
    Copied {
        /// UIDVALIDITY of the destination.
        validity: u32,
        /// In the selected mailbox.
        from: UidSet,
        /// In the destination.
        to: UidSet,
    },
    /// EXPUNGE is durable.
    Expunged {
        /// What went.
        uids: UidSet,
        /// The modification sequence of this change; 0 when it had no effect: the mailbox's own may be of a change that the
        /// session was not told.
        modseq: u64,
    },
    /// SEARCH found these.
    Found {
        /// Ascending.
        uids: UidSet,
        /// The highest modification sequence among them, when the key has MODSEQ.
        modseq: Option<u64>,
    },
    /// What an account has and may have.
    Quota {
        /// Octets of all messages.
        octets: u64,
        /// How many may be; without a limit there is no root.
        most: Option<u64>,
    },
    /// Annotations by name, in order.
    Annotations(Vec<(String, Bytes)>),
    /// SORT found these.
    Sorted {
        /// In the order wanted.
        uids: Vec<Uid>,
        /// The highest modification sequence among them, when the key has MODSEQ.
        modseq: Option<u64>,
    },
    /// The threads that THREAD found, each node before those below it.
    Threads(Vec<ThreadNode>),
    /// APPEND is durable.
    Appended {
        /// UIDVALIDITY of the mailbox.
        validity: u32,
        /// The new messages, in the order they came.
        uids: UidSet,
    },
}

/// A criterion of SORT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// What is compared.
    pub field: SortField,
    /// REVERSE: larger ones first.
    pub reverse: bool,
}

/// What SORT compares (RFC 5256 3, RFC 5957 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortField {
    /// The internal date.
    Arrival,
    /// The first Cc address.
    Cc,
    /// The sent date.
    Date,
    /// What people see of the first From address.
    DisplayFrom,
    /// What people see of the first To address.
    DisplayTo,
    /// The first From address.
    From,
    /// Octets.
    Size,
    /// The base subject.
    Subject,
    /// The first To address.
    To,
}

/// An algorithm of THREAD (RFC 5256 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threading {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}

/// A message in a thread, or the place of one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadNode {
    /// The message.
    pub uid: Option<Uid>,
    /// How many of the nodes that follow are right below it.
    pub children: u32,
}

/// Why the world says no: a response code of RFC 5530 or another RFC, and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Without brackets: `TRYCREATE`, `NONEXISTENT`, `OVERQUOTA`, `AUTHENTICATIONFAILED`, `SERVERBUG`, ...
    pub code: Option<&'static str>,
    /// For people.
    pub text: String,
}

/// A change to the list of mailboxes. Names are canonical UTF-8: `/` separates levels, INBOX is upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxEdit {
    /// CREATE, parents included.
    Create {
        /// The new name.
        name: String,
        /// RFC 6154 USE attribute, e.g. `\Sent`.
        special_use: Option<String>,
    },
    /// DELETE.
    Delete {
        /// Which.
        name: String,
    },
    /// RENAME, children included; INBOX keeps existing and loses its messages to the new name.
    Rename {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// SUBSCRIBE and UNSUBSCRIBE; the name need not exist.
    Subscribe {
        /// Which.
        name: String,
        /// False unsubscribes.
        on: bool,
    },
}

/// One mailbox in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxInfo {
    /// Canonical UTF-8 name.
    pub name: String,
    /// Is in the list of subscriptions.
    pub subscribed: bool,
    /// Exists; false for a subscription whose mailbox is gone.
    pub exists: bool,
    /// RFC 6154 attribute, e.g. `\Sent`.
    pub special_use: Option<String>,
}

/// What STATUS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusFigures {
    /// Its number.
    pub mailbox: BoxId,
    /// Messages.
    pub messages: u32,
    /// Those that no session was told of.
    pub recent: u32,
    /// Those without \Seen.
    pub unseen: u32,
    /// Those with \Deleted.
    pub deleted: u32,
    /// Octets of all messages.
    pub size: u64,
    /// Octets of those with \Deleted.
    pub deleted_size: u64,
    /// The next UID.
    pub next: u32,
    /// UIDVALIDITY.
    pub validity: u32,
    /// HIGHESTMODSEQ.
    pub modseq: u64,
}

/// An opened mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its number.
    pub mailbox: BoxId,
    /// UIDVALIDITY.
    pub validity: u32,
    /// The next UID.
    pub next: u32,
    /// HIGHESTMODSEQ.
    pub modseq: u64,
    /// The first message without \Seen, if any.
    pub first_unseen: Option<Uid>,
    /// Its messages.
    pub uids: Arc<UidSet>,
    /// Those that no session was told of before; unless it is read-only they are this session's now.
    pub recent: UidSet,
    /// The keywords used in it, in order of their bits.
    pub keywords: Vec<String>,
    /// May be changed by this user.
    pub writable: bool,
}

/// What changed in a mailbox since a modification sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New and changed messages, ascending by modification sequence.
    pub rows: Vec<Row>,
    /// Expunged messages.
    pub gone: UidSet,
    /// New messages that no session was told of before.
    pub recent: UidSet,
    /// Everything up to here is told.
    pub upto: u64,
    /// Ask again from `upto`.
    pub more: bool,
    /// The mailbox's next UID.
    pub next: u32,
    /// All keywords of the mailbox when they changed since SELECT or the last `Changes`; empty otherwise.
    pub keywords: Vec<String>,
}

/// Which columns of a row are wanted beyond uid, modseq, size and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Want {
    /// The internal date.
    pub date: bool,
    /// The envelope.
    pub envelope: bool,
    /// The structure.
    pub structure: bool,
    /// The whole header of the message.
    pub header: bool,
    /// When it came into the mailbox, and its identifier.
    pub identity: bool,
    /// How its text begins.
    pub preview: Option<Preview>,
}

/// How a preview is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preview {
    /// Only where it is at hand.
    Lazy,
    /// Whatever it costs.
    Eager,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its identifier.
    pub uid: Uid,
    /// When it last changed.
    pub modseq: u64,
    /// RFC822.SIZE.
    pub size: u64,
    /// System flags.
    pub flags: SystemFlags,
    /// Indexes into the mailbox's keyword list, as bits.
    pub keywords: u64,
    /// The internal date, when wanted.
    pub date: Option<Utc>,
    /// The envelope, when wanted.
    pub envelope: Option<Arc<Envelope>>,
    /// The structure, when wanted. Its offsets mean nothing to the machine.
    pub structure: Option<Arc<Part>>,
    /// The whole header, blank line included, when wanted.
    pub header: Option<Bytes>,
    /// What is seldom wanted.
    pub more: Option<Arc<More>>,
}

/// Columns of a message that are seldom wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct More {
    /// When it came into the mailbox (RFC 8514).
    pub saved: Option<Utc>,
    /// Names its content (RFC 8474): equal only where everything fixed about two messages is equal.
    pub email: Option<[u8; 16]>,
    /// How its text begins; empty when there is none. `None` when it was not wanted, or not at hand.
    pub preview: Option<String>,
}

/// System flags as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SystemFlags(pub u8);

impl SystemFlags {
    /// \Seen
    pub const SEEN: Self = Self(1);
    /// \Answered
    pub const ANSWERED: Self = Self(2);
    /// \Flagged
    pub const FLAGGED: Self = Self(4);
    /// \Deleted
    pub const DELETED: Self = Self(8);
    /// \Draft
    pub const DRAFT: Self = Self(16);

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A flag in STORE or APPEND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flag {
    /// One of the five.
    System(SystemFlags),
    /// A keyword as written; compared without regard to ASCII case.
    Keyword(String),
}

/// How STORE changes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkHow {
    /// FLAGS
    Set,
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
}

/// Which bytes of a message BODY[...] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyPart {
    /// Part numbers, e.g. 1.2; empty for the message itself.
    pub path: Vec<u32>,
    /// What of it.
    pub what: BodyWhat,
}

/// The text specifier of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyWhat {
    /// The whole part (its body; for the message itself header and body).
    All,
    /// HEADER of the message or of a message/rfc822 part.
    Header,
    /// HEADER.FIELDS: names as written.
    Fields(Vec<Bytes>),
    /// HEADER.FIELDS.NOT: names as written.
    NotFields(Vec<Bytes>),
    /// TEXT of the message or of a message/rfc822 part.
    Text,
    /// MIME header of a part.
    Mime,
    /// BINARY[...]: the part with its transfer encoding undone. `No` with UNKNOWN-CTE when that is not possible.
    Binary,
}

/// A fact an IMAP server tells. None needs an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A command was completed.
    Completed {
        /// Its name in upper case.
        command: &'static str,
        /// OK, NO or BAD.
        status: &'static str,
    },
    /// The user logged in.
    Authenticated(String),
    /// The mailbox was closed; forget it.
    Unselected,
    /// The open APPEND is over without a Commit that was asked: forget it.
    AppendDropped,
    /// The session is over, and why.
    Closed(CloseReason),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// LOGOUT.
    Logout,
    /// The peer closed the stream.
    Eof,
    /// Nothing came for too long.
    Timeout,
    /// Too many errors.
    TooManyErrors,
    /// The server is stopping.
    Drained,
    /// A line or literal over the limit that cannot be skipped, or bytes after STARTTLS.
    Violation,
    /// The selected mailbox was deleted while its client waited in IDLE.
    MailboxDeleted,
    /// The world failed in the middle of a response that could not be completed.
    Failed,
}
