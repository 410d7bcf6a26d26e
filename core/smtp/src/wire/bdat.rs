//! What both framings of a message need: fast scanning, and the rule that lines end in CRLF only.
//!
//! A BDAT chunk (RFC 3030) needs no framing of its own, it has a length. Its lines are checked like those of DATA:
//! a message with bare CR or LF would be cut differently by the next server.

use super::Fault;

/// How many octets at the front are neither CR, LF nor NUL. Eight are looked at in one step.
pub fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // The lowest high bit that is set marks the first octet that is zero.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let cr = word ^ (ONES * b'\r' as u64);
        let lf = word ^ (ONES * b'\n' as u64);
        let found = zeros(word) | zeros(cr) | zeros(lf);
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// Checks that a stream of octets has no NUL and no CR or LF outside CRLF.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineCheck {
    after_cr: bool,
}

impl LineCheck {
    /// Checks the next piece; an error says how many of its octets stand before the fault.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), (usize, Fault)> {
        let mut at = 0;
        while let Some(&b) = piece.get(at) {
            match (b, self.after_cr) {
                (b'\n', true) => self.after_cr = false,
                (_, true) | (b'\n', false) => return Err((at, Fault::BareLineEnd)),
                (0, false) => return Err((at, Fault::Nul)),
                (b'\r', false) => self.after_cr = true,
                _ => {
                    at += plain_run(piece.get(at..).unwrap_or_default());
                    continue;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// The message is over: a CR at its end is a bare one.
    pub fn finish(self) -> Result<(), Fault> {
        if self.after_cr {
            Err(Fault::BareLineEnd)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_before_the_first_special_octet() {
        let mut text = [b'x'; 100];
        assert_eq!(plain_run(&text), 100);
        for at in 0..100 {
            for special in [0, b'\r', b'\n'] {
                text[at] = special;
                assert_eq!(plain_run(&text), at);
            }
            for plain in [1, 9, 11, 12, 14, 0x80, 0x8a, 0x8d, 0xff] {
                text[at] = plain;
                assert_eq!(plain_run(&text), 100);
            }
        }
    }

    #[test]
    fn only_crlf_ends_a_line_at_every_cut() {
        let verdict = |text: &[u8], cut: usize| {
            let mut check = LineCheck::default();
            check.push(&text[..cut])?;
            check
                .push(&text[cut..])
                .map_err(|(at, fault)| (cut + at, fault))?;
            check.finish().map_err(|fault| (text.len(), fault))
        };
        for (text, expected) in [
            (&b"a\r\n\r\nb"[..], Ok(())),
            (b"ab\ncd", Err((2, Fault::BareLineEnd))),
            (b"ab\rcd", Err((3, Fault::BareLineEnd))),
            (b"ab\r\r\n", Err((3, Fault::BareLineEnd))),
            (b"ab\r", Err((3, Fault::BareLineEnd))),
            (b"ab\0", Err((2, Fault::Nul))),
        ] {
            for cut in 0..=text.len() {
                assert_eq!(verdict(text, cut), expected, "{text:?} at {cut}");
            }
        }
    }
}
