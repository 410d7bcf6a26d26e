//! ESEARCH over several mailboxes, RFC 7377, and the mailboxes that NOTIFY names, RFC 5465 6.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::{Cursor, Known, Malformed, ParseLimits, Parsed, syntax};
use super::name::decode_name;
use super::search::SearchArgs;

/// Some mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The selected one.
    Selected,
    /// INBOX.
    Inboxes,
    /// All of the user.
    Personal,
    /// Those that are subscribed.
    Subscribed,
    /// These and all below them; canonical names.
    Subtree(Vec<String>),
    /// These and those right below them; canonical names.
    SubtreeOne(Vec<String>),
    /// These; canonical names.
    Mailboxes(Vec<String>),
}

impl Source {
    /// Whether it means a mailbox that is not the selected one by that word.
    pub fn includes(&self, name: &str, subscribed: bool) -> bool {
        let below = |of: &String| {
            let rest = name.strip_prefix(&of[..])?;
            if rest.is_empty() {
                Some(rest)
            } else {
                rest.strip_prefix('/')
            }
        };
        match self {
            Self::Selected => false,
            Self::Inboxes => name == "INBOX",
            Self::Personal => true,
            Self::Subscribed => subscribed,
            Self::Mailboxes(names) => names.iter().any(|n| n == name),
            Self::Subtree(names) => names.iter().any(|n| below(n).is_some()),
            Self::SubtreeOne(names) => names
                .iter()
                .any(|n| below(n).is_some_and(|rest| !rest.contains('/'))),
        }
    }

    /// How many mailboxes it names.
    pub(crate) fn names(&self) -> usize {
        match self {
            Self::Selected | Self::Inboxes | Self::Personal | Self::Subscribed => 0,
            Self::Subtree(names) | Self::SubtreeOne(names) | Self::Mailboxes(names) => names.len(),
        }
    }

    /// One specifier.
    pub(crate) fn parse(cursor: &mut Cursor<'_>, utf8: bool, limits: &ParseLimits) -> Parsed<Self> {
        let word = cursor.word().to_ascii_uppercase();
        Ok(match &word[..] {
            b"SELECTED" => Self::Selected,
            b"INBOXES" => Self::Inboxes,
            b"PERSONAL" => Self::Personal,
            b"SUBSCRIBED" => Self::Subscribed,
            b"SUBTREE" => Self::Subtree(names(cursor, utf8, limits)?),
            b"SUBTREE-ONE" => Self::SubtreeOne(names(cursor, utf8, limits)?),
            b"MAILBOXES" => Self::Mailboxes(names(cursor, utf8, limits)?),
            _ => return syntax("there is no such specifier of mailboxes"),
        })
    }
}

fn names(cursor: &mut Cursor<'_>, utf8: bool, limits: &ParseLimits) -> Parsed<Vec<String>> {
    cursor.space()?;
    let name = |cursor: &mut Cursor<'_>| {
        let raw = cursor.astring()?;
        decode_name(&raw, utf8).map_err(|error| Malformed::Refused("CANNOT", error.text()))
    };
    if !cursor.eat(b'(') {
        return Ok(Vec::from([name(cursor)?]));
    }
    let mut names = Vec::new();
    loop {
        if names.len() as u64 >= u64::from(limits.items) {
            return Err(Malformed::Refused("LIMIT", "too many mailboxes"));
        }
        names.push(name(cursor)?);
        if !cursor.eat(b' ') {
            break;
        }
    }
    cursor.expect(b')', "the list of mailboxes is not closed")?;
    Ok(names)
}

/// The arguments of ESEARCH.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiSearchArgs {
    /// Where.
    pub sources: Vec<Source>,
    /// What.
    pub search: SearchArgs,
}

impl MultiSearchArgs {
    pub(crate) fn parse(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Self> {
        let mut sources = Vec::new();
        if cursor.eat_word("IN") {
            cursor.space()?;
            cursor.expect(b'(', "source options were expected")?;
            loop {
                if sources.len() as u64 >= u64::from(limits.items) {
                    return Err(Malformed::Refused("LIMIT", "too many source options"));
                }
                sources.push(Source::parse(cursor, known.utf8, limits)?);
                if !cursor.eat(b' ') {
                    break;
                }
            }
            cursor.expect(b')', "the list of source options is not closed")?;
            cursor.space()?;
        } else {
            sources.push(Source::Selected);
        }
        let search = match sources[..] == [Source::Selected] {
            true => SearchArgs::parse(cursor, known, limits)?,
            false => SearchArgs::parse_anywhere(cursor, known, limits)?,
        };
        Ok(Self { sources, search })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parsed<MultiSearchArgs> {
        let mut cursor = Cursor::new(text.as_bytes());
        MultiSearchArgs::parse(&mut cursor, &Known::NOTHING, &ParseLimits::default())
    }

    #[test]
    fn sources_are_read_and_numbers_mean_nothing_elsewhere() {
        assert_eq!(parse("UNSEEN").unwrap().sources, [Source::Selected]);
        let many = parse("IN (mailboxes inbox subtree (a b) personal) RETURN (COUNT) UID 5:7");
        let many = many.unwrap();
        assert_eq!(many.sources.len(), 3);
        assert_eq!(many.sources[0], Source::Mailboxes(["INBOX".into()].into()));
        for bad in [
            "IN () ALL",
            "IN (foo) ALL",
            "IN (mailboxes) ALL",
            "IN (personal) 1:3",
            "IN (personal)",
            "IN (selected-delayed) ALL",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn trees_have_levels() {
        let tree = Source::Subtree(["a".into()].into());
        let one = Source::SubtreeOne(["a".into()].into());
        for (name, all, near) in [
            ("a", true, true),
            ("a/b", true, true),
            ("a/b/c", true, false),
            ("ab", false, false),
        ] {
            assert_eq!(
                (tree.includes(name, false), one.includes(name, false)),
                (all, near),
                "{name}"
            );
        }
        assert!(Source::Subscribed.includes("x", true) && !Source::Subscribed.includes("x", false));
    }
}
