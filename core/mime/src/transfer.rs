//! Content-Transfer-Encoding undone, as the octets stream by (RFC 2045 6.7 and 6.8). Never an error: what cannot be decoded
//! is passed over (base64) or kept as it is (quoted-printable).

use alloc::vec::Vec;

/// Undoes any transfer encoding.
#[derive(Debug, Clone)]
pub enum TransferDecoder {
    /// 7bit, 8bit and binary.
    Identity,
    /// base64.
    Base64(Base64Decoder),
    /// quoted-printable.
    QuotedPrintable(QuotedPrintableDecoder),
}

impl TransferDecoder {
    /// For an encoding as written in the field; `None` when it is not known (RFC 3516 answers UNKNOWN-CTE then).
    pub fn new(encoding: &[u8]) -> Option<Self> {
        Some(
            match encoding.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"7bit" | b"8bit" | b"binary" => Self::Identity,
                b"base64" => Self::Base64(Base64Decoder::new()),
                b"quoted-printable" => Self::QuotedPrintable(QuotedPrintableDecoder::new()),
                _ => return None,
            },
        )
    }

    /// Appends what `bytes` decode to.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(bytes),
            Self::Base64(d) => d.push(bytes, out),
            Self::QuotedPrintable(d) => d.push(bytes, out),
        }
    }

    /// Appends what was held back at the end of the part.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Identity => {}
            Self::Base64(d) => d.finish(out),
            Self::QuotedPrintable(d) => d.finish(out),
        }
    }
}

/// Undoes base64. Characters outside the alphabet are passed over; padding ends a group, and more may follow it.
#[derive(Debug, Clone, Default)]
pub struct Base64Decoder {
    bits: u32,
    /// Characters of the present group of four.
    have: u8,
}

impl Base64Decoder {
    /// A new decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what `bytes` decode to.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.reserve(bytes.len() / 4 * 3 + 3);
        for c in bytes {
            let value = value_of(*c);
            if value < 64 {
                self.bits = self.bits << 6 | u32::from(value);
                self.have += 1;
                if self.have == 4 {
                    let [_, a, b, c] = self.bits.to_be_bytes();
                    out.extend_from_slice(&[a, b, c]);
                    (self.bits, self.have) = (0, 0);
                }
            } else if *c == b'=' {
                self.finish(out);
            }
        }
    }

    /// Appends the octets of a last, short group.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.have {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&[(self.bits >> 10) as u8, (self.bits >> 2) as u8]),
            _ => {}
        }
        (self.bits, self.have) = (0, 0);
    }
}

/// The six bits of a character, 64 for others.
const fn value_of(c: u8) -> u8 {
    match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 64,
    }
}

/// Undoes quoted-printable.
#[derive(Debug, Clone, Default)]
pub struct QuotedPrintableDecoder {
    /// What may be an escape, or white space that may stand before a line end.
    held: Vec<u8>,
}

impl QuotedPrintableDecoder {
    /// White space longer than this is not held back until the line end shows whether it counts.
    const HELD_MAX: usize = 1_000;

    /// A new decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what `bytes` decode to.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if self.held.is_empty() && !matches!(first, b'=' | b' ' | b'\t' | b'\r') {
                let plain = rest
                    .iter()
                    .position(|c| matches!(c, b'=' | b' ' | b'\t' | b'\r'))
                    .unwrap_or(rest.len());
                let (run, behind) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
                out.extend_from_slice(run);
                rest = behind;
                continue;
            }
            self.one(*first, out);
            rest = rest.get(1..).unwrap_or_default();
        }
    }

    /// Appends what was held back: an unfinished escape stays as it is, white space at the end goes (RFC 2045 6.7 (3)).
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.held.first() == Some(&b'=') && !self.soft_break_so_far() {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
    }

    fn one(&mut self, c: u8, out: &mut Vec<u8>) {
        match (self.held.first(), c) {
            // A soft line break, white space before its end included.
            (Some(b'='), b'\n') if self.soft_break_so_far() => self.held.clear(),
            (Some(b'='), b' ' | b'\t' | b'\r') if self.soft_break_so_far() => self.hold(c, out),
            (Some(b'='), _) => match self.held.as_slice() {
                [_] if c.is_ascii_hexdigit() => self.hold(c, out),
                [_, high] if high.is_ascii_hexdigit() && c.is_ascii_hexdigit() => {
                    out.extend(hex_pair(&[*high, c]));
                    self.held.clear();
                }
                _ => {
                    out.append(&mut self.held);
                    self.start(c, out);
                }
            },
            // White space that a line end follows was added on the way.
            (Some(_), b'\n') => {
                if self.held.last() == Some(&b'\r') {
                    out.push(b'\r');
                }
                self.held.clear();
                out.push(c);
            }
            (Some(_), b' ' | b'\t' | b'\r') => self.hold(c, out),
            (Some(_), _) => {
                out.append(&mut self.held);
                self.start(c, out);
            }
            (None, _) => self.start(c, out),
        }
    }

    fn start(&mut self, c: u8, out: &mut Vec<u8>) {
        match c {
            b'=' | b' ' | b'\t' | b'\r' => self.hold(c, out),
            _ => out.push(c),
        }
    }

    fn hold(&mut self, c: u8, out: &mut Vec<u8>) {
        if self.held.len() >= Self::HELD_MAX {
            out.append(&mut self.held);
        }
        self.held.push(c);
    }

    /// No hexadecimal digit stands behind the `=`; what is held behind it is white space then.
    fn soft_break_so_far(&self) -> bool {
        !self.held.get(1).is_some_and(u8::is_ascii_hexdigit)
    }
}

/// The octet that two hexadecimal digits at the start stand for.
pub(crate) fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let [high, low, ..] = text else {
        return None;
    };
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}
