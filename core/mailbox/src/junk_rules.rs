//! What putting a message into the Junk mailbox, or taking it out, says of it.
//!
//! People and programs say "junk" by moving. A message that comes into a mailbox for junk gets `$Junk`; one that leaves it
//! loses that, and gets `$NotJunk` unless it goes where anything may be. There it says again what it said before it came, so that
//! Junk and back is as if nothing had been, unless somebody called it `$NotJunk` meanwhile. What is thrown away keeps what it
//! says. What nobody said anything of is wanted when somebody puts it from where anything may be to where wanted mail is, or
//! takes it out of where this server put it: out of Junk, or out of the copies of what was not taken.

use crate::edit::Edit;
use crate::junk::{JUNK, NOT_JUNK};
use crate::rows::Said;
use crate::{AccountId, MailboxId, SpecialUse, Stop};

/// Beginnings, in lower case, of names of mailboxes for junk, beside that with the special use \Junk.
const JUNK_NAMES: [&str; 2] = ["junk", "spam"];
/// Beginnings of names of mailboxes for what is thrown away, beside that with the special use \Trash.
const TRASH_NAMES: [&str; 2] = ["trash", "deleted"];
/// Beginnings of names of mailboxes in which a message may be anything, or is the user's own, beside those with the special uses
/// \Sent and \Drafts.
const NEUTRAL_NAMES: [&str; 11] = [
    "sent",
    "drafts",
    "outbox",
    "templates",
    "scheduled",
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
    /// What is thrown away, whatever it is.
    Trash,
    /// Copies of what was not taken.
    Rejects,
    /// Anything.
    Anything,
    /// What somebody wants.
    Wanted,
}

impl Kept {
    /// `rejects` is the name of the mailbox for what was not taken: whatever it is, it says nothing else.
    pub(crate) fn of(
        edit: &mut Edit<'_>,
        account: AccountId,
        mailbox: MailboxId,
        rejects: Option<&str>,
    ) -> Result<Self, Stop> {
        let name = edit.mailbox(account, mailbox)?.row.name.clone();
        if rejects == Some(&name) {
            return Ok(Self::Rejects);
        }
        let special_use = edit.name(account, &name)?.and_then(|row| row.special_use);
        Ok(Self::named(&name, special_use))
    }

    fn named(name: &str, special_use: Option<SpecialUse>) -> Self {
        let name = name.to_lowercase();
        let begins = |names: &[&str]| names.iter().any(|begin| name.starts_with(begin));
        if special_use == Some(SpecialUse::Junk) || begins(&JUNK_NAMES) {
            Self::Junk
        } else if special_use == Some(SpecialUse::Trash) || begins(&TRASH_NAMES) {
            Self::Trash
        } else if matches!(special_use, Some(SpecialUse::Sent | SpecialUse::Drafts))
            || begins(&NEUTRAL_NAMES)
        {
            Self::Anything
        } else {
            Self::Wanted
        }
    }
}

impl Said {
    fn of(keywords: &[String]) -> Self {
        let has = |name: &str| keywords.iter().any(|k| k.eq_ignore_ascii_case(name));
        Self {
            junk: has(JUNK),
            not_junk: has(NOT_JUNK),
        }
    }

    fn put(self, keywords: &mut Vec<String>) {
        keywords.retain(|k| !k.eq_ignore_ascii_case(JUNK) && !k.eq_ignore_ascii_case(NOT_JUNK));
        keywords.extend(self.junk.then(|| JUNK.to_owned()));
        keywords.extend(self.not_junk.then(|| NOT_JUNK.to_owned()));
    }
}

/// A message that goes from one mailbox into another.
#[derive(Debug, Clone)]
pub(crate) struct Going {
    pub(crate) from: Kept,
    pub(crate) to: Kept,
    /// It is a copy of what was not taken, which this server put there.
    pub(crate) is_reject: bool,
    /// What was said of it before it came into a mailbox for junk.
    pub(crate) before: Option<Said>,
}

/// The keywords of a message behind its way, and what is kept of those it had before it came into a mailbox for junk.
pub(crate) fn keywords_after(
    going: &Going,
    mut keywords: Vec<String>,
) -> (Vec<String>, Option<Said>) {
    let said = Said::of(&keywords);
    let is_wanted = Said {
        not_junk: true,
        ..Said::default()
    };
    let is_junk = Said {
        junk: true,
        ..Said::default()
    };
    let (says, before) = match (going.from, going.to) {
        (Kept::Junk, Kept::Junk) => (is_junk, going.before),
        (_, Kept::Junk) => (is_junk, Some(said)),
        (_, Kept::Trash) => (said, going.before),
        (Kept::Junk, Kept::Wanted) => (is_wanted, None),
        // Said outright, and the move that follows takes nothing back.
        (Kept::Junk, _) if said.not_junk => (is_wanted, None),
        (Kept::Junk, _) if said.junk => (going.before.unwrap_or_default(), None),
        // Nobody put it there, so it is taken back from us.
        (Kept::Junk, Kept::Anything) if going.before.is_none() && said == Said::default() => {
            (is_wanted, None)
        }
        (Kept::Junk, _) => (said, None),
        (_, Kept::Anything | Kept::Wanted) if going.is_reject && said == Said::default() => {
            (is_wanted, None)
        }
        (Kept::Anything, Kept::Wanted) if said == Said::default() => (is_wanted, None),
        (..) => (said, going.before),
    };
    if says != said {
        says.put(&mut keywords);
    }
    (keywords, before)
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
            ("Deleted Items", None, Kept::Trash),
            ("Papierkorb", Some(SpecialUse::Trash), Kept::Trash),
            ("INBOX", None, Kept::Anything),
            ("Gesendet", Some(SpecialUse::Sent), Kept::Anything),
            ("Sent Items", None, Kept::Anything),
            ("Drafts", None, Kept::Anything),
            ("Rejects", None, Kept::Anything),
            ("Archive", Some(SpecialUse::Archive), Kept::Wanted),
            ("not junk", None, Kept::Wanted),
        ] {
            assert_eq!(Kept::named(name, special_use), expected, "{name}");
        }
    }

    fn after(going: &Going, keywords: &[&str]) -> (String, Option<Said>) {
        let keywords = keywords.iter().map(|&k| k.to_owned()).collect();
        let (keywords, before) = keywords_after(going, keywords);
        (keywords.join(" "), before)
    }

    fn going(from: Kept, to: Kept) -> Going {
        Going {
            from,
            to,
            is_reject: false,
            before: None,
        }
    }

    #[test]
    fn the_way_into_junk_and_out_of_it_and_to_what_is_wanted_says_something() {
        let after = |from, to, keywords: &[&str]| after(&going(from, to), keywords).0;
        let both = ["$notjunk", "red", "$Junk"];
        assert_eq!(after(Kept::Anything, Kept::Junk, &both), "red $Junk");
        assert_eq!(after(Kept::Junk, Kept::Junk, &["red"]), "red $Junk");
        assert_eq!(after(Kept::Junk, Kept::Anything, &["$junk"]), "");
        assert_eq!(after(Kept::Junk, Kept::Wanted, &both), "red $NotJunk");
        assert_eq!(after(Kept::Wanted, Kept::Anything, &both), both.join(" "));
        assert_eq!(
            after(Kept::Anything, Kept::Wanted, &["red"]),
            "red $NotJunk"
        );
        assert_eq!(after(Kept::Anything, Kept::Wanted, &["$Junk"]), "$Junk");
        assert_eq!(after(Kept::Wanted, Kept::Wanted, &["red"]), "red");
        assert_eq!(after(Kept::Anything, Kept::Anything, &["red"]), "red");
        // What is thrown away is what it was.
        assert_eq!(after(Kept::Junk, Kept::Trash, &["$Junk"]), "$Junk");
        assert_eq!(after(Kept::Anything, Kept::Trash, &["red"]), "red");
        assert_eq!(after(Kept::Trash, Kept::Anything, &both), both.join(" "));
        assert_eq!(after(Kept::Trash, Kept::Wanted, &["red"]), "red");
    }

    #[test]
    fn what_nobody_put_into_junk_is_wanted_when_somebody_takes_it_out() {
        let says = |before, keywords: &[&str]| {
            let going = Going {
                before,
                ..going(Kept::Junk, Kept::Anything)
            };
            after(&going, keywords).0
        };
        assert_eq!(says(None, &["red"]), "red $NotJunk");
        // Somebody did, and took back what he said.
        assert_eq!(says(Some(Said::default()), &["red"]), "red");
    }

    #[test]
    fn what_is_said_outright_in_junk_holds_on_the_way_out() {
        let after = |keywords: &[&str]| after(&going(Kept::Junk, Kept::Anything), keywords).0;
        assert_eq!(after(&["$notjunk", "red"]), "$notjunk red");
        assert_eq!(after(&["$NotJunk", "$Junk"]), "$NotJunk");
    }

    #[test]
    fn junk_and_back_says_again_what_was_said_before() {
        for said in [&[][..], &["$Junk"], &["$NotJunk"], &["$Junk", "$NotJunk"]] {
            let (there, before) = after(&going(Kept::Anything, Kept::Junk), said);
            assert_eq!(there, "$Junk");
            let further = Going {
                before,
                ..going(Kept::Junk, Kept::Junk)
            };
            assert_eq!(after(&further, &["$Junk"]), ("$Junk".into(), before));
            let back = Going {
                before,
                ..going(Kept::Junk, Kept::Anything)
            };
            assert_eq!(after(&back, &["$Junk"]), (said.join(" "), None));
            let wanted = Going {
                to: Kept::Wanted,
                ..back
            };
            assert_eq!(after(&wanted, &["$Junk"]), ("$NotJunk".into(), None));
        }
    }

    #[test]
    fn a_copy_of_what_was_not_taken_is_wanted_when_it_is_taken_out() {
        let after = |is_reject, to, keywords: &[&str]| {
            let going = Going {
                is_reject,
                ..going(Kept::Rejects, to)
            };
            after(&going, keywords).0
        };
        for to in [Kept::Anything, Kept::Wanted] {
            assert_eq!(after(true, to, &["red"]), "red $NotJunk");
            // Somebody said what it is, or put it there himself.
            assert_eq!(after(true, to, &["$Junk"]), "$Junk");
            assert_eq!(after(false, to, &["red"]), "red");
        }
        assert_eq!(after(true, Kept::Junk, &[]), "$Junk");
        assert_eq!(after(true, Kept::Trash, &[]), "");
        assert_eq!(after(true, Kept::Rejects, &[]), "");
    }
}
