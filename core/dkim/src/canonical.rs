//! What is hashed: RFC 6376 section 3.4.

use alloc::vec::Vec;

use crate::Canonical;

/// Appends a header field, `raw` with or without its last line end, in canonical form with one.
pub(crate) fn header(canonical: Canonical, raw: &[u8], out: &mut Vec<u8>) {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    match canonical {
        Canonical::Simple => out.extend_from_slice(raw),
        Canonical::Relaxed => {
            let colon = raw.iter().position(|b| *b == b':').unwrap_or(raw.len());
            let (name, value) = raw.split_at(colon);
            out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
            out.push(b':');
            // Unfolded at CRLF only: a bare CR or LF is not white space (RFC 6376 3.4.2).
            let start = out.len();
            let mut blank = false;
            let mut rest = value.get(1..).unwrap_or_default();
            while let Some((&octet, behind)) = rest.split_first() {
                rest = behind;
                if octet == b'\r' && rest.first() == Some(&b'\n') {
                    rest = rest.get(1..).unwrap_or_default();
                } else if b" \t".contains(&octet) {
                    blank = true;
                } else {
                    if core::mem::take(&mut blank) && out.len() > start {
                        out.push(b' ');
                    }
                    out.push(octet);
                }
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A body on its way into hashes: takes it in pieces of any size and gives its canonical form.
///
/// Empty lines at the end are counted, not kept, so a body of nothing else costs no memory.
#[derive(Debug, Clone)]
pub struct BodyCanonicalizer {
    kind: Canonical,
    /// Line ends read and not given: they may be the last ones.
    line_ends: u64,
    /// White space read and not given: it may end a line. Relaxed only.
    blank: bool,
    /// The last octet read was a CR that nothing was done about.
    cr: bool,
    /// Something was given.
    begun: bool,
}

/// Line ends given at a time.
const LINE_ENDS: &[u8] = b"\r\n\r\n\r\n\r\n";

impl BodyCanonicalizer {
    /// At the start of a body.
    pub const fn new(kind: Canonical) -> Self {
        Self {
            kind,
            line_ends: 0,
            blank: false,
            cr: false,
            begun: false,
        }
    }

    /// The next octets; `give` takes canonical ones.
    pub fn push(&mut self, bytes: &[u8], give: &mut impl FnMut(&[u8])) {
        let mut rest = bytes;
        if self.cr && !rest.is_empty() {
            self.cr = false;
            match rest.strip_prefix(b"\n") {
                Some(behind) => {
                    self.end_line();
                    rest = behind;
                }
                None => self.text(b"\r", give),
            }
        }
        while let Some(&first) = rest.first() {
            match first {
                b'\r' => match rest.get(1) {
                    Some(b'\n') => {
                        self.end_line();
                        rest = rest.get(2..).unwrap_or_default();
                    }
                    Some(_) => {
                        self.text(b"\r", give);
                        rest = rest.get(1..).unwrap_or_default();
                    }
                    None => {
                        self.cr = true;
                        return;
                    }
                },
                b' ' | b'\t' if self.kind == Canonical::Relaxed => {
                    self.blank = true;
                    rest = skip_blanks(rest);
                }
                _ => {
                    let (text, behind) = rest.split_at(self.run(rest));
                    self.text(text, give);
                    rest = behind;
                }
            }
        }
    }

    /// The end of the body.
    pub fn finish(mut self, give: &mut impl FnMut(&[u8])) {
        if self.cr {
            self.text(b"\r", give);
        }
        // A last line without an end gets one; the simple form of an empty body is a line end.
        if self.begun || self.kind == Canonical::Simple {
            give(b"\r\n");
        }
    }

    /// How long the text at the start of `rest` is that stays as it is.
    fn run(&self, rest: &[u8]) -> usize {
        if self.kind == Canonical::Simple {
            return rest.iter().position(|b| *b == b'\r').unwrap_or(rest.len());
        }
        let mut at = 0;
        loop {
            let tail = rest.get(at..).unwrap_or_default();
            at += tail
                .iter()
                .position(|b| matches!(b, b'\r' | b'\t' | b' '))
                .unwrap_or(tail.len());
            // One space between words stays.
            match (rest.get(at), rest.get(at + 1)) {
                (Some(b' '), Some(next)) if !b" \t\r".contains(next) => at += 1,
                _ => return at,
            }
        }
    }

    const fn end_line(&mut self) {
        self.blank = false;
        self.line_ends += 1;
    }

    fn text(&mut self, text: &[u8], give: &mut impl FnMut(&[u8])) {
        while self.line_ends > 0 {
            let many = usize::try_from(self.line_ends)
                .unwrap_or(usize::MAX)
                .min(LINE_ENDS.len() / 2);
            give(LINE_ENDS.get(..many * 2).unwrap_or_default());
            self.line_ends -= many as u64;
        }
        if core::mem::take(&mut self.blank) {
            give(b" ");
        }
        self.begun = true;
        give(text);
    }
}

/// Without spaces and tabs at the start; line ends stay.
fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| b" \t".contains(b)).count();
    text.get(blanks..).unwrap_or_default()
}
