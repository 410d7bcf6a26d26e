//! Strings in responses: as an atom, quoted, or as a literal, whichever carries them.

use alloc::vec::Vec;
use core::fmt::Write as _;

use super::cursor::is_atom_char;

/// Octets in a quoted string at most; a longer one is sent as a literal.
const QUOTED_MAX: usize = 1_000;

/// Writes formatted ASCII.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        $crate::wire::put_text($out, format_args!($($arg)*))
    };
}
pub(crate) use put;

/// Appends formatted text.
pub(crate) fn put_text(out: &mut Vec<u8>, text: core::fmt::Arguments<'_>) {
    struct Sink<'a>(&'a mut Vec<u8>);
    impl core::fmt::Write for Sink<'_> {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // Writing to a vector cannot fail.
    let _ = Sink(out).write_fmt(text);
}

/// Writes a number: the hot path of every untagged response.
pub(crate) fn put_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        n /= 10;
        at -= 1;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Writes an atom where that is enough, a string otherwise.
pub fn write_astring(out: &mut Vec<u8>, value: &[u8]) {
    let bare = !value.is_empty()
        && value.iter().all(|&b| is_atom_char(b))
        && !value.eq_ignore_ascii_case(b"NIL");
    if bare {
        out.extend_from_slice(value);
    } else {
        write_string(out, value);
    }
}

/// Writes an atom where that is enough, a quoted string in UTF-8 otherwise (RFC 6855 3, RFC 9051 4.3), a literal where
/// that is not enough either.
pub fn write_utf8_astring(out: &mut Vec<u8>, value: &str) {
    let quotable = |c: char| !matches!(c, '\r' | '\n' | '\0');
    if value.is_ascii() || value.len() > QUOTED_MAX || !value.chars().all(quotable) {
        return write_astring(out, value.as_bytes());
    }
    out.push(b'"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push(b'\\');
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.push(b'"');
}

/// Writes a quoted string, or a literal for what cannot be quoted. NUL, which neither can carry, is left out.
pub fn write_string(out: &mut Vec<u8>, value: &[u8]) {
    let quotable = value.len() <= QUOTED_MAX
        && value
            .iter()
            .all(|&b| b.is_ascii() && !matches!(b, b'\r' | b'\n' | 0));
    if quotable {
        out.push(b'"');
        for &b in value {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(b);
        }
        out.push(b'"');
    } else {
        let nuls = value.iter().filter(|&&b| b == 0).count();
        put!(out, "{{{}}}\r\n", value.len() - nuls);
        out.extend(value.iter().filter(|&&b| b != 0));
    }
}

/// Writes NIL or a string.
pub fn write_nstring(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => write_string(out, value),
        None => out.extend_from_slice(b"NIL"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Cursor;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_the_formatter_does() {
        for n in [0, 7, 10, 4_294_967_295, u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, n);
            assert_eq!(out, alloc::string::ToString::to_string(&n).into_bytes());
        }
    }

    #[test]
    fn the_plainest_form_that_carries_the_value_is_chosen() {
        let astring = |value: &[u8]| {
            let mut out = Vec::new();
            write_astring(&mut out, value);
            out
        };
        assert_eq!(astring(b"INBOX"), b"INBOX");
        assert_eq!(astring(b"nil"), b"\"nil\"");
        assert_eq!(astring(b""), b"\"\"");
        assert_eq!(astring(b"a\"b\\"), br#""a\"b\\""#);
        assert_eq!(astring(b"a b"), b"\"a b\"");
        assert_eq!(astring(b"a]"), b"\"a]\"");
        assert_eq!(astring(b"\x7f"), b"\"\x7f\"");
        assert_eq!(astring("\u{fc}".as_bytes()), b"{2}\r\n\xc3\xbc");
        assert_eq!(astring(b"a\0\r"), b"{2}\r\na\r");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in proptest::collection::vec(1u8.., 0..60)) {
            let mut out = Vec::new();
            write_astring(&mut out, &value);
            let mut cursor = Cursor::new(&out);
            let read = cursor.astring().unwrap();
            prop_assert_eq!(&*read, &value[..]);
            prop_assert!(cursor.end().is_ok());
        }
    }
}
