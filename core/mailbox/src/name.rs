//! Names of accounts and mailboxes, and special uses.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::Stop;

/// The mailbox every account has.
pub const INBOX: &str = "INBOX";
/// Octets of a mailbox name at most.
pub const NAME_MAX: usize = 512;
/// Levels of a mailbox name at most.
pub const NAME_LEVELS_MAX: usize = 32;

/// RFC 6154 special use of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SpecialUse {
    /// \All
    All,
    /// \Archive
    Archive,
    /// \Drafts
    Drafts,
    /// \Flagged
    Flagged,
    /// \Junk
    Junk,
    /// \Sent
    Sent,
    /// \Trash
    Trash,
}

impl SpecialUse {
    const ALL: [Self; 7] = [
        Self::All,
        Self::Archive,
        Self::Drafts,
        Self::Flagged,
        Self::Junk,
        Self::Sent,
        Self::Trash,
    ];

    /// From the attribute, `\Sent`, without regard to case.
    pub fn parse(attribute: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|special_use| special_use.as_str().eq_ignore_ascii_case(attribute))
    }

    /// The attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }
}

/// The canonical form of a mailbox name: `/` between levels, a first level of INBOX in any case is `INBOX`.
///
/// Refused are empty levels, `.` and `..`, more than [`NAME_MAX`] octets or [`NAME_LEVELS_MAX`] levels, the characters
/// `% * # &`, controls and line separators, and what is not in normalisation form C.
pub fn mailbox_name(name: &str) -> Result<String, Stop> {
    let bad = |why| Err(Stop::BadMailboxName(why));
    if name.is_empty() {
        return bad("it is empty");
    }
    if name.len() > NAME_MAX {
        return bad("it has more than 512 octets");
    }
    if name.split('/').any(str::is_empty) {
        return bad("a level of it is empty");
    }
    if name.split('/').any(|level| matches!(level, "." | "..")) {
        return bad("a level of it is . or ..");
    }
    if name.split('/').count() > NAME_LEVELS_MAX {
        return bad("it has more than 32 levels");
    }
    let forbidden =
        |c: char| c.is_control() || matches!(c, '%' | '*' | '#' | '&' | '\u{2028}' | '\u{2029}');
    if name.contains(forbidden) {
        return bad("it has a control character or one of % * # &");
    }
    if !name.is_ascii() && !name.nfc().eq(name.chars()) {
        return bad("it is not in Unicode normalisation form C");
    }
    Ok(match name.split_once('/') {
        None if name.eq_ignore_ascii_case(INBOX) => INBOX.into(),
        Some((first, rest)) if first.eq_ignore_ascii_case(INBOX) => format!("{INBOX}/{rest}"),
        _ => name.into(),
    })
}

/// The names above a canonical one, the highest first.
pub(crate) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/')
        .map(|(at, _)| name.get(..at).unwrap_or_default())
}

/// Refuses what is not `[a-z0-9][a-z0-9._@-]{0,63}`.
pub(crate) fn check_account_name(name: &str) -> Result<(), Stop> {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = (1..=64).contains(&name.len())
        && name.as_bytes().first().is_some_and(alphanumeric)
        && name
            .bytes()
            .all(|b| alphanumeric(&b) || b"._@-".contains(&b));
    if good {
        Ok(())
    } else {
        Err(Stop::BadAccountName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_canonical_or_are_refused() {
        for (given, canonical) in [
            ("inbox", "INBOX"),
            ("InBoX/a", "INBOX/a"),
            ("a/inbox", "a/inbox"),
            ("Inboxes", "Inboxes"),
            ("Entwürfe/ü", "Entwürfe/ü"),
        ] {
            assert_eq!(mailbox_name(given).as_deref(), Ok(canonical));
        }
        let long = "x".repeat(NAME_MAX + 1);
        let deep = "x/".repeat(NAME_LEVELS_MAX) + "x";
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            ".",
            "a*",
            "%",
            "a#b",
            "a&b",
            "a\tb",
            "u\u{308}",
            "a\u{2028}b",
            &long,
            &deep,
        ] {
            assert!(mailbox_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parents_come_from_the_top() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a").count(), 0);
    }

    #[test]
    fn special_uses_are_read_back_as_written() {
        for special_use in SpecialUse::ALL {
            let name = special_use.as_str().to_uppercase();
            assert_eq!(SpecialUse::parse(&name), Some(special_use));
        }
        assert_eq!(SpecialUse::parse("\\Nothing"), None);
    }

    #[test]
    fn account_names_are_plain() {
        for good in ["mox", "u0", "a.b_c-d@e", "9"] {
            assert_eq!(check_account_name(good), Ok(()));
        }
        for bad in ["", ".a", "A", "a/b", "ü", &"a".repeat(65)] {
            assert_eq!(check_account_name(bad), Err(Stop::BadAccountName));
        }
    }
}
