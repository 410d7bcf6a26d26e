//! GETMETADATA and SETMETADATA, RFC 5464 4.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::cursor::{Cursor, Malformed, ParseLimits, Parsed, syntax};

/// The arguments of GETMETADATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMetadata {
    /// As typed; empty for the server's own.
    pub mailbox: Vec<u8>,
    /// Names in lower case.
    pub entries: Vec<String>,
    /// DEPTH
    pub depth: Depth,
    /// MAXSIZE: longer values are left out.
    pub max_size: Option<u32>,
}

/// How far below the named entries others are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Not at all.
    #[default]
    Zero,
    /// One level.
    One,
    /// All.
    Infinity,
}

/// The arguments of SETMETADATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetMetadata {
    /// As typed; empty for the server's own.
    pub mailbox: Vec<u8>,
    /// Names in lower case; without a value an entry goes.
    pub entries: Vec<(String, Option<Bytes>)>,
}

impl GetMetadata {
    pub(crate) fn parse(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Self> {
        let (mut depth, mut max_size) = (Depth::Zero, None);
        let mut mailbox = None;
        // The options stand before the mailbox in the grammar, and behind it in the RFC's own examples.
        if cursor.peek() != Some(b'(') {
            mailbox = Some(cursor.astring()?.into_owned());
            cursor.space()?;
        }
        let mut ahead = *cursor;
        if ahead.eat(b'(') && options(&mut ahead, &mut depth, &mut max_size)? {
            *cursor = ahead;
            cursor.space()?;
        }
        let mailbox = match mailbox {
            Some(mailbox) => mailbox,
            None => {
                let mailbox = cursor.astring()?.into_owned();
                cursor.space()?;
                mailbox
            }
        };
        let mut entries = Vec::new();
        if cursor.eat(b'(') {
            loop {
                if entries.len() as u64 >= u64::from(limits.items) {
                    return Err(Malformed::Refused("LIMIT", "too many entries"));
                }
                entries.push(entry(cursor)?);
                if !cursor.eat(b' ') {
                    break;
                }
            }
            cursor.expect(b')', "the list of entries is not closed")?;
        } else {
            entries.push(entry(cursor)?);
        }
        Ok(Self {
            mailbox,
            entries,
            depth,
            max_size,
        })
    }
}

/// Reads options behind their parenthesis; false when it is no list of options.
fn options(cursor: &mut Cursor<'_>, depth: &mut Depth, max_size: &mut Option<u32>) -> Parsed<bool> {
    loop {
        if cursor.eat_word("MAXSIZE") {
            cursor.space()?;
            *max_size = Some(cursor.number()?);
        } else if cursor.eat_word("DEPTH") {
            cursor.space()?;
            *depth = match &cursor.word().to_ascii_uppercase()[..] {
                b"0" => Depth::Zero,
                b"1" => Depth::One,
                b"INFINITY" => Depth::Infinity,
                _ => return syntax("the depth is 0, 1 or infinity"),
            };
        } else {
            return Ok(false);
        }
        if !cursor.eat(b' ') {
            break;
        }
    }
    cursor.expect(b')', "the list of options is not closed")?;
    Ok(true)
}

impl SetMetadata {
    pub(crate) fn parse(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Self> {
        let mailbox = cursor.astring()?.into_owned();
        cursor.space()?;
        cursor.expect(b'(', "a list of entries was expected")?;
        let mut entries = Vec::new();
        loop {
            if entries.len() as u64 >= u64::from(limits.items) {
                return Err(Malformed::Refused("LIMIT", "too many entries"));
            }
            let name = entry(cursor)?;
            cursor.space()?;
            let value = cursor.nstring()?.map(Cow::into_owned).map(Bytes::from);
            entries.push((name, value));
            if !cursor.eat(b' ') {
                break;
            }
        }
        cursor.expect(b')', "the list of entries is not closed")?;
        Ok(Self { mailbox, entries })
    }
}

/// `/private/comment`: compared without regard to case (RFC 5464 3.2).
fn entry(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let raw = cursor.astring()?;
    let name = String::from_utf8_lossy(&raw).to_ascii_lowercase();
    let begins = name.starts_with("/private/") || name.starts_with("/shared/");
    let wild = |c: char| matches!(c, '*' | '%') || !c.is_ascii() || c.is_ascii_control();
    match begins && !name.ends_with('/') && !name.contains("//") && !name.contains(wild) {
        true => Ok(name),
        false => syntax("an entry is a path below /private or /shared"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn get(text: &str) -> Parsed<GetMetadata> {
        let mut cursor = Cursor::new(text.as_bytes());
        let args = GetMetadata::parse(&mut cursor, &ParseLimits::default())?;
        cursor.end()?;
        Ok(args)
    }

    fn set(text: &str) -> Parsed<SetMetadata> {
        let mut cursor = Cursor::new(text.as_bytes());
        let args = SetMetadata::parse(&mut cursor, &ParseLimits::default())?;
        cursor.end()?;
        Ok(args)
    }

    #[test]
    fn options_stand_before_or_behind_the_mailbox() {
        let plain = get("INBOX /Shared/Comment").unwrap();
        assert_eq!(plain.entries, ["/shared/comment"]);
        assert_eq!((plain.depth, plain.max_size), (Depth::Zero, None));
        for text in [
            "\"INBOX\" (MAXSIZE 1024 DEPTH 1) (/shared/comment /private/x)",
            "(DEPTH 1 MAXSIZE 1024) INBOX (/shared/comment /private/x)",
        ] {
            let full = get(text).unwrap();
            assert_eq!(
                (full.depth, full.max_size),
                (Depth::One, Some(1024)),
                "{text}"
            );
            assert_eq!(
                (&full.mailbox[..], full.entries.len()),
                (&b"INBOX"[..], 2),
                "{text}"
            );
        }
        assert_eq!(
            get("\"\" (DEPTH infinity) /shared/a").unwrap().depth,
            Depth::Infinity
        );
        for bad in [
            "INBOX",
            "INBOX comment",
            "INBOX /shared",
            "INBOX /shared/",
            "INBOX /shared//a",
            "INBOX \"/shared/*\"",
            "INBOX /other/a",
            "INBOX (DEPTH 2) /shared/a",
            "INBOX (FOO) /shared/a",
            "INBOX ()",
        ] {
            assert!(get(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_strings_or_nothing() {
        let args = set("INBOX (/private/comment \"x\" /shared/y NIL)").unwrap();
        assert_eq!(
            args.entries,
            vec![
                ("/private/comment".into(), Some(Bytes::from_static(b"x"))),
                ("/shared/y".into(), None)
            ]
        );
        assert!(set("INBOX (/private/a {2+}\r\nxy)").is_ok());
        for bad in [
            "INBOX ()",
            "INBOX (/private/a)",
            "INBOX /private/a x",
            "INBOX (/private/a x)",
        ] {
            assert!(set(bad).is_err(), "{bad}");
        }
    }
}
