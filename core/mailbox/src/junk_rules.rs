//! What putting a message into the Junk mailbox, or taking it out, says of it.
//!
//! People and programs say "junk" by moving. A message that comes into a mailbox for junk gets `$Junk`; one that leaves it
//! loses that, and gets `$NotJunk` unless it goes where anything may be. Between other mailboxes nothing changes.

use crate::edit::Edit;
use crate::junk::{JUNK, NOT_JUNK};
use crate::{AccountId, MailboxId, SpecialUse, Stop};

/// Beginnings, in lower case, of names of mailboxes for junk, beside that with the special use \Junk.
const JUNK_NAMES: [&str; 2] = ["junk", "spam"];
/// Beginnings of names of mailboxes in which a message may be anything.
const NEUTRAL_NAMES: [&str; 6] = [
    "inbox",
    "neutral",
    "postmaster",
    "dmarc",
    "tlsrpt",
    "rejects",
];

/// What is in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Junk.
    Junk,
    /// Anything.
    Anything,
    /// What somebody wants.
    Wanted,
}

impl Kept {
    pub(crate) fn of(
        edit: &mut Edit<'_>,
        account: AccountId,
        mailbox: MailboxId,
    ) -> Result<Self, Stop> {
        let name = edit.mailbox(account, mailbox)?.row.name.clone();
        let special_use = edit.name(account, &name)?.and_then(|row| row.special_use);
        Ok(Self::named(&name, special_use))
    }

    fn named(name: &str, special_use: Option<SpecialUse>) -> Self {
        let name = name.to_lowercase();
        let begins = |names: &[&str]| names.iter().any(|begin| name.starts_with(begin));
        if special_use == Some(SpecialUse::Junk) || begins(&JUNK_NAMES) {
            Self::Junk
        } else if begins(&NEUTRAL_NAMES) {
            Self::Anything
        } else {
            Self::Wanted
        }
    }
}

/// The keywords of a message that goes from one mailbox into another.
pub(crate) fn keywords_after(from: Kept, to: Kept, mut keywords: Vec<String>) -> Vec<String> {
    if from != Kept::Junk && to != Kept::Junk {
        return keywords;
    }
    keywords.retain(|k| !k.eq_ignore_ascii_case(JUNK) && !k.eq_ignore_ascii_case(NOT_JUNK));
    match to {
        Kept::Junk => keywords.push(JUNK.into()),
        Kept::Wanted => keywords.push(NOT_JUNK.into()),
        Kept::Anything => {}
    }
    keywords
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_special_use_say_what_is_in_a_mailbox() {
        for (name, special_use, expected) in [
            ("Junk", None, Kept::Junk),
            ("SPAM/2024", None, Kept::Junk),
            ("Werbung", Some(SpecialUse::Junk), Kept::Junk),
            ("INBOX", None, Kept::Anything),
            ("Rejects", None, Kept::Anything),
            ("Archive", Some(SpecialUse::Archive), Kept::Wanted),
            ("not junk", None, Kept::Wanted),
        ] {
            assert_eq!(Kept::named(name, special_use), expected, "{name}");
        }
    }

    #[test]
    fn only_the_way_into_junk_and_out_of_it_says_something() {
        let after = |from, to, keywords: &[&str]| {
            keywords_after(from, to, keywords.iter().map(|&k| k.to_owned()).collect()).join(" ")
        };
        let both = ["$notjunk", "red", "$Junk"];
        assert_eq!(after(Kept::Anything, Kept::Junk, &both), "red $Junk");
        assert_eq!(after(Kept::Junk, Kept::Junk, &["red"]), "red $Junk");
        assert_eq!(after(Kept::Junk, Kept::Anything, &both), "red");
        assert_eq!(after(Kept::Junk, Kept::Wanted, &both), "red $NotJunk");
        assert_eq!(after(Kept::Wanted, Kept::Anything, &both), both.join(" "));
    }
}
