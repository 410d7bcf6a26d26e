//! A header block as fields: splitting, finding, unfolding, and IMAP's HEADER.FIELDS.
//!
//! A block is the bytes from a header's start up to and including the blank line; what stands behind that is ignored.

use alloc::vec::Vec;

use crate::lexer::clean;
use crate::scan::find_lf;

/// One field of a header block. All fields of a block, put together, are the block without its blank line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written, without the colon; empty for a line that is no field.
    pub name: &'a [u8],
    /// All behind the colon, still folded, without the last line end.
    pub value: &'a [u8],
    /// The whole field with its last line end.
    pub raw: &'a [u8],
    /// Where `raw` starts in the block.
    pub start: usize,
}

impl Field<'_> {
    /// Whether the field has this name, letter case aside.
    pub fn is(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.name.eq_ignore_ascii_case(name)
    }
}

/// The fields of a header block, in order.
pub fn split(block: &[u8]) -> Fields<'_> {
    Fields { block, at: 0 }
}

/// The raw value of the first field of that name.
pub fn find<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    split(block).find(|f| f.is(name)).map(|f| f.value)
}

/// The raw values of all fields of that name, in order.
pub fn find_all<'a>(block: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    split(block).filter(move |f| f.is(name)).map(|f| f.value)
}

/// A raw value on one line: line ends removed (RFC 5322 2.2.3), outer white space trimmed, NUL as U+FFFD.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    clean(value.trim_ascii())
}

/// IMAP's HEADER.FIELDS (or, with `not`, HEADER.FIELDS.NOT) of RFC 3501 6.4.5: the fields as they are in the block,
/// and the blank line behind them.
pub fn fields(block: &[u8], names: &[impl AsRef<[u8]>], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut all = split(block);
    for field in all.by_ref() {
        if names.iter().any(|n| field.is(n.as_ref())) != not {
            out.extend_from_slice(field.raw);
        }
    }
    // A header that ends without a line end gets one, so that the blank line is one.
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    let blank = match all.rest() {
        [b'\n', ..] => &b"\n"[..],
        _ => b"\r\n",
    };
    out.extend_from_slice(blank);
    out
}

/// Octets of the header block at the start of a message, blank line included; all of it when there is none.
pub fn len(message: &[u8]) -> usize {
    let mut all = split(message);
    all.by_ref().for_each(drop);
    match all.rest() {
        [b'\r', b'\n', ..] => all.at + 2,
        [b'\n', ..] => all.at + 1,
        _ => all.at,
    }
}

/// Iterator over the fields of a header block.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn rest(&self) -> &'a [u8] {
        self.block.get(self.at..).unwrap_or_default()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let rest = self.rest();
        if matches!(rest, [] | [b'\n', ..] | [b'\r', b'\n', ..]) {
            return None;
        }
        let mut len = 0;
        loop {
            let line = rest.get(len..).unwrap_or_default();
            len += find_lf(line).map_or(line.len(), |i| i + 1);
            // A line that begins with white space goes on with the field.
            if !matches!(rest.get(len), Some(b' ' | b'\t')) {
                break;
            }
        }
        let raw = rest.get(..len).unwrap_or_default();
        let start = self.at;
        self.at += len;
        let line = raw.strip_suffix(b"\n").unwrap_or(raw);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, value) = name_and_value(line).unwrap_or((&[], line));
        Some(Field {
            name,
            value,
            raw,
            start,
        })
    }
}

/// RFC 5322 3.6.8 for the name; white space before the colon is the obsolete syntax of 4.5.
fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|c| *c == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = name.trim_ascii_end();
    let fits = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    fits.then(|| (name, value.get(1..).unwrap_or_default()))
}
