//! Flags and keywords.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::{Cursor, Malformed, ParseLimits, Parsed, syntax};
use crate::server::{Flag, SystemFlags};

/// The system flags a client may set, with their names, in the order they are shown.
pub(crate) const SYSTEM: [(SystemFlags, &str); 5] = [
    (SystemFlags::SEEN, "\\Seen"),
    (SystemFlags::ANSWERED, "\\Answered"),
    (SystemFlags::FLAGGED, "\\Flagged"),
    (SystemFlags::DELETED, "\\Deleted"),
    (SystemFlags::DRAFT, "\\Draft"),
];

/// Writes `(\Seen $Forwarded)`. Bits without a keyword are left out.
pub fn write_flags(
    out: &mut Vec<u8>,
    system: SystemFlags,
    recent: bool,
    bits: u64,
    keywords: &[String],
) {
    out.push(b'(');
    let start = out.len();
    let mut word = |text: &str| {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(text.as_bytes());
    };
    for (flag, name) in SYSTEM {
        if system.contains(flag) {
            word(name);
        }
    }
    if recent {
        word("\\Recent");
    }
    let mut left = bits;
    while left != 0 {
        let bit = left.trailing_zeros();
        left &= left - 1;
        if let Some(keyword) = keywords.get(bit as usize) {
            word(keyword);
        }
    }
    out.push(b')');
}

/// `(\Seen work)`, possibly empty.
pub(crate) fn flag_list(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Vec<Flag>> {
    cursor.expect(b'(', "a list of flags was expected")?;
    if cursor.eat(b')') {
        return Ok(Vec::new());
    }
    let flags = flags(cursor, limits)?;
    cursor.expect(b')', "a list of flags is not closed")?;
    Ok(flags)
}

/// Flags with spaces between them, at least one.
pub(crate) fn flags(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Vec<Flag>> {
    let mut flags = Vec::new();
    loop {
        if flags.len() as u64 >= u64::from(limits.items) {
            return Err(Malformed::Refused("LIMIT", "too many flags"));
        }
        if let Some(flag) = flag(cursor, limits)? {
            flags.push(flag);
        }
        if !cursor.eat(b' ') {
            return Ok(flags);
        }
    }
}

/// One flag; `None` for `\Recent`, which only the server sets (RFC 3501 2.3.2) and old clients send back.
fn flag(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Option<Flag>> {
    if cursor.peek() == Some(b'\\') {
        cursor.eat(b'\\');
        let name = cursor.atom()?;
        let found = SYSTEM.iter().find(|(_, known)| {
            known
                .as_bytes()
                .get(1..)
                .is_some_and(|k| k.eq_ignore_ascii_case(name))
        });
        return match found {
            Some((flag, _)) => Ok(Some(Flag::System(*flag))),
            None if name.eq_ignore_ascii_case(b"Recent") => Ok(None),
            None => Err(Malformed::Refused("", "there is no such system flag")),
        };
    }
    let atom = cursor.atom()?;
    if atom.len() > limits.keyword {
        return Err(Malformed::Refused("LIMIT", "a keyword is too long"));
    }
    match core::str::from_utf8(atom) {
        Ok(keyword) => Ok(Some(Flag::Keyword(keyword.into()))),
        Err(_) => syntax("a keyword is not an atom"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn flags_are_shown_in_one_order_and_unknown_bits_not_at_all() {
        let mut out = Vec::new();
        let keywords = ["a".into(), "b".into()];
        write_flags(&mut out, SystemFlags(1 | 8), false, 0b110, &keywords);
        assert_eq!(out, b"(\\Seen \\Deleted b)");
        out.clear();
        write_flags(&mut out, SystemFlags(1), true, 1, &keywords);
        assert_eq!(out, b"(\\Seen \\Recent a)");
    }

    #[test]
    fn flags_compare_without_case_and_recent_is_dropped() {
        let parse = |text: &'static str| {
            flag_list(&mut Cursor::new(text.as_bytes()), &ParseLimits::default())
        };
        assert_eq!(
            parse("(\\sEEN $Work \\Recent)"),
            Ok(vec![
                Flag::System(SystemFlags::SEEN),
                Flag::Keyword("$Work".into())
            ])
        );
        assert_eq!(parse("()"), Ok(vec![]));
        assert!(matches!(parse("(\\Foo)"), Err(Malformed::Refused(..))));
        for bad in ["(", "(a", "(a  b)", "( )", "(a\")"] {
            assert!(matches!(parse(bad), Err(Malformed::Syntax(_))), "{bad}");
        }
    }
}
