//! The lexical tokens of RFC 5322 3.2, over a raw (folded) field value. One pass, no recursion.

use alloc::vec::Vec;

/// A place in a field's value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What was passed since `from`.
    pub(crate) fn since(&self, from: usize) -> &'a [u8] {
        self.text.get(from..self.at).unwrap_or_default()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(crate) fn bump(&mut self) -> Option<u8> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    pub(crate) fn skip(&mut self, octets: usize) {
        self.at = self.text.len().min(self.at + octets);
    }

    pub(crate) fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let len = rest.iter().position(|c| !wanted(*c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    /// Skips folding white space.
    pub(crate) fn space(&mut self) {
        self.take_while(is_space);
    }

    /// Skips comments and folding white space.
    pub(crate) fn cfws(&mut self) {
        self.space();
        while self.peek() == Some(b'(') {
            self.comment();
            self.space();
        }
    }

    /// At a `(`: the comment's text without quoting; `None` (and everything is passed) when it never ends.
    pub(crate) fn comment(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut depth = 0usize;
        while let Some(c) = self.bump() {
            match c {
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(text);
                    }
                }
                b'\\' => {
                    if let Some(c) = self.bump() {
                        push_clean(&mut text, c);
                    }
                    continue;
                }
                _ => {}
            }
            push_clean(&mut text, c);
        }
        None
    }

    /// At a `"`: the quoted string without quoting. One that never ends takes all the rest.
    pub(crate) fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                b'"' => break,
                b'\\' => {
                    if let Some(c) = self.bump() {
                        push_clean(&mut text, c);
                    }
                }
                _ => push_clean(&mut text, c),
            }
        }
        text
    }
}

pub(crate) fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n')
}

/// Appends one octet of a value: line ends go (unfolding, RFC 5322 2.2.3), and a NUL, which no IMAP string can
/// carry, becomes U+FFFD.
pub(crate) fn push_clean(out: &mut Vec<u8>, c: u8) {
    match c {
        b'\r' | b'\n' => {}
        0 => out.extend_from_slice("\u{fffd}".as_bytes()),
        _ => out.push(c),
    }
}

/// A value unfolded, as [`push_clean`] does.
pub(crate) fn clean(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for c in value {
        push_clean(&mut out, *c);
    }
    out
}
