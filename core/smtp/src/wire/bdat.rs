//! What both framings of a message need: fast scanning, and the rule that lines end in CRLF only.
//!
//! A BDAT chunk (RFC 3030) needs no framing of its own, it has a length. Its lines are checked like those of DATA:
//! a message with bare CR or LF would be cut differently by the next server.

use super::Fault;

/// Octets scanned at once; the compiler makes vector instructions of it.
const BLOCK: usize = 32;

/// How many octets at the front are neither CR, LF nor NUL.
pub fn plain_run(bytes: &[u8]) -> usize {
    let special = |b: u8| b == b'\r' || b == b'\n' || b == 0;
    let mut run = 0;
    for block in bytes.chunks(BLOCK) {
        if block.iter().fold(false, |any, &b| any | special(b)) {
            return run + block.iter().position(|&b| special(b)).unwrap_or_default();
        }
        run += block.len();
    }
    run
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
            text[at] = b'x';
        }
    }

    #[test]
    fn only_crlf_ends_a_line_at_every_cut() {
        let verdict = |text: &[u8], cut: usize| {
            let mut check = LineCheck::default();
            check
                .push(&text[..cut])
                .map_err(|(at, fault)| (at, fault))?;
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
