//! Search keys, RFC 3501 6.4.4.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use mox_uids::UidSet;

use crate::server::SystemFlags;

/// A search key with message numbers already resolved to UIDs and strings already decoded to UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchKey {
    /// ALL
    All,
    /// Every one of these.
    And(Vec<Self>),
    /// OR
    Or(Box<Self>, Box<Self>),
    /// NOT
    Not(Box<Self>),
    /// A sequence set or UID set.
    Uids(UidSet),
    /// Has these system flags.
    Flags(SystemFlags),
    /// KEYWORD
    Keyword(String),
    /// Header field contains text (SUBJECT, FROM, TO, CC, BCC, HEADER); empty text matches any such field.
    Header {
        /// Field name as written.
        name: Bytes,
        /// Compared without regard to case, after decoding encoded words.
        text: String,
    },
    /// BODY: the text parts contain this.
    Body(String),
    /// TEXT: the header or the text parts contain this.
    Text(String),
    /// BEFORE, ON, SINCE on the internal date: days since 1970-01-01, `first..last` exclusive.
    InternalDay {
        /// First matching day.
        first: Option<i64>,
        /// First day that does not match any more.
        end: Option<i64>,
    },
    /// SENTBEFORE, SENTON, SENTSINCE on the Date field, without regard to time and zone.
    SentDay {
        /// First matching day.
        first: Option<i64>,
        /// First day that does not match any more.
        end: Option<i64>,
    },
    /// SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514): when it came into this mailbox, in days since 1970-01-01.
    SavedDay {
        /// First matching day.
        first: Option<i64>,
        /// First day that does not match any more.
        end: Option<i64>,
    },
    /// EMAILID (RFC 8474)
    EmailId(String),
    /// LARGER
    Larger(u64),
    /// SMALLER
    Smaller(u64),
    /// YOUNGER and OLDER (RFC 5032): age in seconds; `true` is YOUNGER.
    Within(u32, bool),
    /// MODSEQ (RFC 7162): at least this.
    Modseq(u64),
}
