//! System flags and keywords.

use core::ops::{BitAnd, BitOr, Not};

use crate::Stop;

/// System flags as bits (RFC 3501 2.3.2). \Recent is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
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
    /// The five.
    pub const ALL: Self = Self(31);

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0 & Self::ALL.0)
    }
}

/// Keywords in one mailbox at most: one bit each in a row.
pub const KEYWORDS_MAX: usize = 64;
/// Octets of a keyword at most.
pub const KEYWORD_MAX: usize = 100;

/// The position of a keyword in a list, without regard to ASCII case (RFC 3501 2.3.2).
pub(crate) fn position(keywords: &[String], wanted: &str) -> Option<usize> {
    keywords.iter().position(|k| k.eq_ignore_ascii_case(wanted))
}

/// Refuses what is no atom (RFC 3501 `flag-keyword`).
pub(crate) fn check_keyword(keyword: &str) -> Result<(), Stop> {
    let atom_char = |b: u8| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b);
    let fits = (1..=KEYWORD_MAX).contains(&keyword.len());
    if fits && keyword.bytes().all(atom_char) {
        Ok(())
    } else {
        Err(Stop::BadKeyword)
    }
}
