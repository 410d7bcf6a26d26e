//! Ranges of positions in a list of results (RFC 5267 4.4, RFC 9394 3.1).

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::cursor::{Cursor, Parsed, syntax};

/// `2:4`, or `-1:-100`, which counts from the end. Both ends are positions, the smaller first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    first: u32,
    last: u32,
    from_end: bool,
}

impl Span {
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        const WHAT: &str = "a range of positions was expected";
        let from_end = cursor.eat(b'-');
        let a = cursor.nonzero()?;
        cursor.expect(b':', WHAT)?;
        if cursor.eat(b'-') != from_end {
            return syntax(WHAT);
        }
        let b = cursor.nonzero()?;
        Ok(Self {
            first: a.min(b),
            last: a.max(b),
            from_end,
        })
    }

    /// The positions it means in a list of that length, from 0.
    pub fn of(self, length: u32) -> Range<u32> {
        if self.from_end {
            let end = (length + 1).saturating_sub(self.first);
            let start = length.saturating_sub(self.last);
            return start.min(end)..end;
        }
        let end = self.last.min(length);
        (self.first - 1).min(end)..end
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.first, self.last)
    }
}

/// Numbers in their order, as a sequence set: runs that go up by one are ranges.
pub(crate) fn write_numbers(out: &mut Vec<u8>, numbers: impl Iterator<Item = u32>) {
    let mut open: Option<(u32, u32)> = None;
    let mut first = true;
    let mut write = |(from, to): (u32, u32)| {
        let comma = if core::mem::take(&mut first) { "" } else { "," };
        match from == to {
            true => super::put!(out, "{comma}{from}"),
            false => super::put!(out, "{comma}{from}:{to}"),
        }
    };
    for number in numbers {
        match &mut open {
            Some((_, to)) if Some(number) == to.checked_add(1) => *to = number,
            _ => {
                if let Some(run) = open.replace((number, number)) {
                    write(run);
                }
            }
        }
    }
    if let Some(run) = open {
        write(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn spans_are_read_from_either_end_and_cut_to_what_is_there() {
        for (text, shown, five) in [
            ("1:1", "1:1", 0..1),
            ("4:2", "2:4", 1..4),
            ("3:9", "3:9", 2..5),
            ("6:9", "6:9", 5..5),
            ("-1:-2", "-1:-2", 3..5),
            ("-4:-2", "-2:-4", 1..4),
            ("-3:-9", "-3:-9", 0..3),
            ("-6:-9", "-6:-9", 0..0),
        ] {
            let span = Span::parse(&mut Cursor::new(text.as_bytes())).unwrap();
            assert_eq!(
                (span.to_string(), span.of(5)),
                (shown.to_string(), five),
                "{text}"
            );
        }
        for bad in ["1", "1:*", "*:1", "0:1", "1:-1", "-1:1", "-0:-1", ":"] {
            assert!(
                Span::parse(&mut Cursor::new(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn numbers_keep_their_order() {
        let shown = |numbers: &[u32]| {
            let mut out = Vec::new();
            write_numbers(&mut out, numbers.iter().copied());
            alloc::string::String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&[5, 3, 4, 2, 1]), "5,3:4,2,1");
        assert_eq!(shown(&[1, 2, 3]), "1:3");
        assert_eq!(shown(&[]), "");
    }
}
