//! LIST and STATUS: options (RFC 5258, RFC 6154, RFC 5819) and patterns.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::{Cursor, Malformed, ParseLimits, Parsed, syntax};
use super::name::decode_pattern;

/// The arguments of LIST.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListArgs {
    /// What the patterns are relative to.
    pub reference: String,
    /// Patterns, decoded to UTF-8.
    pub patterns: Vec<String>,
    /// Selection options.
    pub select: ListSelect,
    /// Return options.
    pub returns: ListReturn,
    /// An option list, a pattern list or RETURN was given.
    pub extended: bool,
}

/// Selection options of LIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListSelect {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// RECURSIVEMATCH
    pub recursive: bool,
    /// SPECIAL-USE
    pub special_use: bool,
}

/// Return options of LIST.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListReturn {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// STATUS
    pub status: Vec<StatusItem>,
}

/// A figure STATUS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the RFCs")]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    Size,
    HighestModseq,
    AppendLimit,
    MailboxId,
    DeletedStorage,
}

impl StatusItem {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Messages, "MESSAGES"),
        (Self::Recent, "RECENT"),
        (Self::UidNext, "UIDNEXT"),
        (Self::UidValidity, "UIDVALIDITY"),
        (Self::Unseen, "UNSEEN"),
        (Self::Deleted, "DELETED"),
        (Self::Size, "SIZE"),
        (Self::HighestModseq, "HIGHESTMODSEQ"),
        (Self::AppendLimit, "APPENDLIMIT"),
        (Self::MailboxId, "MAILBOXID"),
        (Self::DeletedStorage, "DELETED-STORAGE"),
    ];

    /// As commands and responses spell it.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(item, _)| *item == self)
            .map_or("", |(_, name)| name)
    }

    /// `(MESSAGES UNSEEN)`, at least one, repetitions dropped.
    pub(crate) fn list(cursor: &mut Cursor<'_>) -> Parsed<Vec<Self>> {
        cursor.expect(b'(', "a list of status items was expected")?;
        let mut items = Vec::new();
        loop {
            let word = cursor.word();
            let found = Self::ALL
                .iter()
                .find(|(_, n)| n.as_bytes().eq_ignore_ascii_case(word));
            let Some((item, _)) = found else {
                return syntax("there is no such status item");
            };
            if !items.contains(item) {
                items.push(*item);
            }
            if !cursor.eat(b' ') {
                break;
            }
        }
        cursor.expect(b')', "the list of status items is not closed")?;
        Ok(items)
    }
}

impl ListArgs {
    pub(crate) fn parse(cursor: &mut Cursor<'_>, utf8: bool, limits: &ParseLimits) -> Parsed<Self> {
        let mut args = Self::default();
        if cursor.eat(b'(') {
            args.extended = true;
            args.select = select_options(cursor)?;
            cursor.space()?;
        }
        args.reference = decode_pattern(&cursor.astring_or_list()?, utf8);
        cursor.space()?;
        if cursor.eat(b'(') {
            args.extended = true;
            loop {
                if args.patterns.len() as u64 >= u64::from(limits.items) {
                    return Err(Malformed::Refused("LIMIT", "too many patterns"));
                }
                let pattern = decode_pattern(&cursor.list_mailbox()?, utf8);
                args.patterns.push(pattern);
                if !cursor.eat(b' ') {
                    break;
                }
            }
            cursor.expect(b')', "the list of patterns is not closed")?;
        } else {
            args.patterns
                .push(decode_pattern(&cursor.list_mailbox()?, utf8));
        }
        if cursor.eat(b' ') {
            if !cursor.eat_word("RETURN") {
                return syntax("RETURN was expected");
            }
            args.extended = true;
            cursor.space()?;
            args.returns = return_options(cursor)?;
        }
        cursor.end()?;
        let octets = |pattern: &String| args.reference.len() + 1 + pattern.len();
        if args.patterns.iter().map(octets).sum::<usize>() > PATTERN_MAX {
            return Err(Malformed::Refused("LIMIT", "the patterns are too long"));
        }
        Ok(args)
    }

    pub(crate) fn parse_lsub(cursor: &mut Cursor<'_>, utf8: bool) -> Parsed<Self> {
        let args = Self::parse(cursor, utf8, &ParseLimits::default())?;
        if args.extended {
            return syntax("LSUB has no options");
        }
        Ok(args)
    }
}

/// Octets of all patterns of one command, the reference before each: matching costs their product with the names. The
/// longest name there can be is less.
const PATTERN_MAX: usize = 600;

impl<'a> Cursor<'a> {
    /// The reference of LIST is a mailbox, but old clients leave wildcards in it.
    fn astring_or_list(&mut self) -> Parsed<alloc::borrow::Cow<'a, [u8]>> {
        self.list_mailbox()
    }
}

fn select_options(cursor: &mut Cursor<'_>) -> Parsed<ListSelect> {
    let mut options = ListSelect::default();
    while !cursor.eat(b')') {
        let word = cursor.word().to_ascii_uppercase();
        match &word[..] {
            b"SUBSCRIBED" => options.subscribed = true,
            b"RECURSIVEMATCH" => options.recursive = true,
            b"SPECIAL-USE" => options.special_use = true,
            // There are no remote mailboxes (RFC 5258 3.1): the option changes nothing.
            b"REMOTE" => {}
            _ => return syntax("there is no such selection option"),
        }
        if cursor.peek() != Some(b')') {
            cursor.space()?;
        }
    }
    if options.recursive && !options.subscribed && !options.special_use {
        return syntax("RECURSIVEMATCH needs another selection option");
    }
    Ok(options)
}

fn return_options(cursor: &mut Cursor<'_>) -> Parsed<ListReturn> {
    let mut options = ListReturn::default();
    cursor.expect(b'(', "return options were expected")?;
    while !cursor.eat(b')') {
        let word = cursor.word().to_ascii_uppercase();
        match &word[..] {
            b"SUBSCRIBED" => options.subscribed = true,
            // Both are always told.
            b"CHILDREN" | b"SPECIAL-USE" => {}
            b"STATUS" => {
                cursor.space()?;
                options.status = StatusItem::list(cursor)?;
            }
            _ => return syntax("there is no such return option"),
        }
        if cursor.peek() != Some(b')') {
            cursor.space()?;
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_reads_both_forms() {
        let parse = |text: &str| {
            let mut cursor = Cursor::new(text.as_bytes());
            ListArgs::parse(&mut cursor, false, &ParseLimits::default())
        };
        let plain = parse(r#""" %"#).unwrap();
        assert!(!plain.extended && plain.patterns == ["%"] && plain.reference.is_empty());
        let full = parse(
            r#"(SUBSCRIBED RECURSIVEMATCH) "" ("a" b%) RETURN (CHILDREN STATUS (MESSAGES UNSEEN) SPECIAL-USE)"#,
        );
        let full = full.unwrap();
        assert!(full.select.subscribed && full.select.recursive && full.extended);
        assert_eq!(
            full.returns.status,
            [StatusItem::Messages, StatusItem::Unseen]
        );
        assert_eq!(full.patterns, ["a", "b%"]);
        assert!(parse(r#"() "" "*" RETURN ()"#).unwrap().extended);
        for bad in [
            r#"(RECURSIVEMATCH) "" *"#,
            r#"(FOO) "" *"#,
            r#""""#,
            r#""" *  "#,
            r#""" * RETURN"#,
            r#""" * RETURN (FOO)"#,
            r#""" ()"#,
            r#""" * RETURN (STATUS ())"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
