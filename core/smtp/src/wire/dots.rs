//! The message after DATA: dots doubled at line starts, ended by CRLF . CRLF (RFC 5321 4.5.2).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mox_machine::mutant;

use super::bdat::plain_run;

/// What makes a message unacceptable whoever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A CR or LF that is not part of CRLF: another server may see a different end of the message.
    BareLineEnd,
    /// A NUL.
    Nul,
}

/// What [`DotReader::take`] made of its input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The next octets of the message, dots removed. Empty while too few came to be worth a piece.
    pub body: Bytes,
    /// A fault was found right behind `body`, and nothing was read past it. Told once; nothing after it is ever
    /// given out, but calls must go on until the end.
    pub fault: Option<Fault>,
    /// The end was taken; what is left in the input follows the message.
    pub end: bool,
}

/// Takes a message off a growing buffer.
///
/// Removes dots by moving what stays together inside the buffer, in time linear in the octets and without
/// another buffer. Octets that are decoded but not yet given out stay at the front of the buffer.
#[derive(Debug, Clone, Default)]
pub struct DotReader {
    state: State,
    /// Octets at the front of the buffer that are decoded already.
    kept: usize,
    /// After a fault: where a reader that takes any CR or LF for a line end would be.
    loose: Option<Loose>,
    ambiguous: bool,
}

/// Where in a line we are; only CRLF ends one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    LineStart,
    Text,
    Cr,
    /// After a dot at a line's start; it is not part of the message.
    Dot,
    DotCr,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loose {
    LineStart,
    Text,
    Dot,
}

impl DotReader {
    /// Fewer decoded octets than these are not given out before the end or a fault.
    pub const WORTH: usize = 4_096;

    /// Decodes the front of `input`, giving out at most `max` octets.
    pub fn take(&mut self, input: &mut BytesMut, max: usize) -> Piece {
        if self.state == State::End {
            return Piece {
                end: true,
                ..Piece::default()
            };
        }
        if self.loose.is_some() {
            return self.discard(input);
        }
        let (read, fault) = self.compact(input, max);
        let end = self.state == State::End;
        let mut body = Bytes::new();
        if end || fault.is_some() || self.kept >= Self::WORTH.min(max) {
            let gap = read - self.kept;
            body = input.split_to(self.kept).freeze();
            input.advance(gap);
            self.kept = 0;
        } else {
            input.truncate(self.kept);
        }
        Piece { body, fault, end }
    }

    /// After a fault and the end: whether some other server would have seen the end earlier.
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// Octets decoded and not yet given out.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Decodes until the input, the room or the message ends or a fault is found; how far it read.
    #[expect(
        clippy::indexing_slicing,
        reason = "kept <= read <= input.len() throughout: each octet read moves at most one octet down"
    )]
    fn compact(&mut self, input: &mut [u8], max: usize) -> (usize, Option<Fault>) {
        let mut read = self.kept;
        if mutant!(DotAtCut) && self.state == State::Text {
            self.state = State::LineStart;
        }
        while read < input.len() && self.kept < max {
            if self.state == State::Text {
                let run = plain_run(&input[read..]).min(max - self.kept);
                if run > 0 {
                    if self.kept != read {
                        input.copy_within(read..read + run, self.kept);
                    }
                    self.kept += run;
                    read += run;
                    continue;
                }
            }
            let b = input[read];
            let (next, keep) = match (self.state, b) {
                (State::Cr, b'\n') => (State::LineStart, true),
                (State::DotCr, b'\n') => {
                    self.state = State::End;
                    return (read + 1, None);
                }
                (State::Dot, b'\n') if mutant!(BareLfEndsLine) => {
                    self.state = State::End;
                    return (read + 1, None);
                }
                (_, b'\n') if mutant!(BareLfEndsLine) => (State::LineStart, true),
                (State::Cr | State::DotCr, _) | (_, b'\n') => {
                    return (read, Some(self.break_at(Fault::BareLineEnd)));
                }
                (_, 0) => return (read, Some(self.break_at(Fault::Nul))),
                (State::Dot, b'\r') => (State::DotCr, false),
                (_, b'\r') => (State::Cr, true),
                (State::LineStart, b'.') => (State::Dot, false),
                _ => (State::Text, true),
            };
            if keep {
                input[self.kept] = b;
                self.kept += 1;
            }
            self.state = next;
            read += 1;
        }
        (read, None)
    }

    /// Starts to watch for other readings of what follows.
    fn break_at(&mut self, fault: Fault) -> Fault {
        self.loose = Some(match self.state {
            State::LineStart | State::Cr => Loose::LineStart,
            State::Dot => Loose::Dot,
            State::DotCr => {
                self.ambiguous = true;
                Loose::LineStart
            }
            State::Text | State::End => Loose::Text,
        });
        fault
    }

    /// Reads on to the real end and keeps nothing.
    fn discard(&mut self, input: &mut BytesMut) -> Piece {
        let mut loose = self.loose.unwrap_or(Loose::Text);
        let mut read = 0;
        for &b in input.iter() {
            read += 1;
            // A CR behind a dot may be half of the real end; the next octet tells.
            let real = matches!((self.state, b), (State::Dot, b'\r') | (State::DotCr, b'\n'));
            if self.state == State::DotCr && !real {
                self.ambiguous = true;
            }
            self.state = match (self.state, b) {
                (State::Cr, b'\n') => State::LineStart,
                (State::DotCr, b'\n') => State::End,
                (State::Dot, b'\r') => State::DotCr,
                (_, b'\r') => State::Cr,
                (State::LineStart, b'.') => State::Dot,
                _ => State::Text,
            };
            if self.state == State::End {
                break;
            }
            loose = match (loose, b) {
                (Loose::Dot, b'\r' | b'\n') => {
                    self.ambiguous |= !real;
                    Loose::LineStart
                }
                (_, b'\r' | b'\n') => Loose::LineStart,
                (Loose::LineStart, b'.') => Loose::Dot,
                // Some readers do not see a NUL at all.
                (_, 0) => loose,
                _ => Loose::Text,
            };
        }
        self.loose = Some(loose);
        input.advance(read);
        Piece {
            end: self.state == State::End,
            ..Piece::default()
        }
    }
}

/// Doubles the dots of a message and ends it.
#[derive(Debug, Clone, Default)]
pub struct DotWriter {
    state: State,
}

impl DotWriter {
    /// Appends the next octets of the message; an error when they have a bare CR or LF or a NUL, which are never sent.
    pub fn push(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let mut rest = piece;
        out.reserve(piece.len() + 2);
        while let Some(&b) = rest.first() {
            let (next, run) = match (self.state, b) {
                (State::Cr, b'\n') => (State::LineStart, 1),
                (State::Cr, _) | (_, b'\n') => return Err(Fault::BareLineEnd),
                (_, 0) => return Err(Fault::Nul),
                (_, b'\r') => (State::Cr, 1),
                (State::LineStart, b'.') if !mutant!(DotNotDoubled) => {
                    out.put_u8(b'.');
                    (State::Text, 1)
                }
                _ => (State::Text, plain_run(rest)),
            };
            let (part, after) = rest.split_at(run);
            out.put_slice(part);
            rest = after;
            self.state = next;
        }
        Ok(())
    }

    /// Appends the end. A message whose last line has no end gets one first (RFC 5321 4.1.1.4).
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        match self.state {
            State::Cr => return Err(Fault::BareLineEnd),
            State::LineStart => {}
            _ => out.put_slice(b"\r\n"),
        }
        self.state = State::End;
        out.put_slice(b".\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Body, fault, ambiguous, what is left; `None` when the end was not found.
    type Read = Option<(Vec<u8>, Option<Fault>, bool, Vec<u8>)>;

    fn read(pieces: &[&[u8]], max: usize) -> Read {
        let mut reader = DotReader::default();
        let mut input = BytesMut::new();
        let (mut body, mut fault) = (Vec::new(), None);
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                let before = (input.len(), reader.kept());
                let taken = reader.take(&mut input, max);
                body.extend_from_slice(&taken.body);
                fault = fault.or(taken.fault);
                if taken.end && core::ptr::eq(*piece, *pieces.last().unwrap()) {
                    return Some((body, fault, reader.is_ambiguous(), input.to_vec()));
                }
                let still = (input.len(), reader.kept()) == before && taken.fault.is_none();
                if taken.end || still {
                    break;
                }
            }
        }
        None
    }

    fn every_cut(text: &[u8], expected: &Read) {
        assert_eq!(&read(&[text], 1 << 20), expected, "whole");
        for cut in 0..text.len() {
            assert_eq!(
                &read(&[&text[..cut], &text[cut..]], 1 << 20),
                expected,
                "cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(&read(&bytes, 1 << 20), expected, "byte by byte");
    }

    #[test]
    fn dots_are_removed_and_only_crlf_dot_crlf_ends() {
        let ok = |body: &[u8]| Some((body.to_vec(), None, false, Vec::new()));
        every_cut(b".\r\n", &ok(b""));
        every_cut(b"a\r\n.\r\n", &ok(b"a\r\n"));
        every_cut(
            b"..\r\n.x\r\n..y\r\n\r\n.\r\n",
            &ok(b".\r\nx\r\n.y\r\n\r\n"),
        );
        every_cut(b"a..\r\n.\r\n", &ok(b"a..\r\n"));
        assert_eq!(read(&[b"a\r\n.\r"], 99), None);
        assert_eq!(
            read(&[b"a\r\n.\r\nQUIT\r\n"], 99),
            Some((b"a\r\n".to_vec(), None, false, b"QUIT\r\n".to_vec()))
        );
    }

    #[test]
    fn a_fault_is_told_and_the_real_end_is_found_behind_it() {
        let bare = |body: &[u8], ambiguous| {
            Some((
                body.to_vec(),
                Some(Fault::BareLineEnd),
                ambiguous,
                Vec::new(),
            ))
        };
        every_cut(b"a\nb\r\n.\r\n", &bare(b"a", false));
        every_cut(b"a\rb\r\n.\r\n", &bare(b"a\r", false));
        every_cut(b"a\n.\nb\r\n.\r\n", &bare(b"a", true));
        every_cut(b"a\n.\r\nb\r\n.\r\n", &bare(b"a", true));
        every_cut(b"a\r\n.\nb\r\n.\r\n", &bare(b"a\r\n", true));
        every_cut(b"a\r\n.\rb\r\n.\r\n", &bare(b"a\r\n", true));
        every_cut(b"a\r.\rb\r\n.\r\n", &bare(b"a\r", true));
        every_cut(b"a\r\n.\r\r\n\r\n.\r\n", &bare(b"a\r\n", true));
        every_cut(b"a\r\r\n.\r\r\nb\r\n.\r\n", &bare(b"a\r", true));
        every_cut(b"a\n\r\n.\r\n", &bare(b"a", false));
        every_cut(
            b"a\0b\r\n.\r\n",
            &Some((b"a".to_vec(), Some(Fault::Nul), false, Vec::new())),
        );
        every_cut(
            b"a\r\n\0.\r\nb\r\n.\r\n",
            &Some((b"a\r\n".to_vec(), Some(Fault::Nul), true, Vec::new())),
        );
    }

    #[test]
    fn pieces_keep_to_their_bounds() {
        let line = b"..23456789\r\n".repeat(2_000);
        let mut input = BytesMut::from(&line[..]);
        let mut reader = DotReader::default();
        let piece = reader.take(&mut input, 8_192);
        assert_eq!(piece.body.len(), 8_192);
        let mut few = BytesMut::from(&b"..a"[..]);
        let mut reader = DotReader::default();
        assert_eq!(reader.take(&mut few, 8_192), Piece::default());
        assert_eq!((&few[..], reader.kept()), (&b".a"[..], 2));
    }

    fn stuffed(message: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut writer = DotWriter::default();
        let mut out = BytesMut::new();
        writer.push(message, &mut out)?;
        writer.finish(&mut out)?;
        Ok(out.to_vec())
    }

    #[test]
    fn dots_are_doubled_and_the_last_line_gets_its_end() {
        assert_eq!(stuffed(b"").unwrap(), b".\r\n");
        assert_eq!(
            stuffed(b".\r\n..\r\na.").unwrap(),
            b"..\r\n...\r\na.\r\n.\r\n"
        );
        assert_eq!(stuffed(b"a\nb"), Err(Fault::BareLineEnd));
        assert_eq!(stuffed(b"a\r"), Err(Fault::BareLineEnd));
        assert_eq!(stuffed(b"a\rb"), Err(Fault::BareLineEnd));
        assert_eq!(stuffed(b"\0"), Err(Fault::Nul));
    }

    proptest! {
        #[test]
        fn stuffing_and_unstuffing_are_inverse(lines in prop::collection::vec("[.a]{0,5}", 0..20), max in 1usize..30, step in 1usize..9) {
            let message: Vec<u8> = lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
            let wire = stuffed(&message).unwrap();
            let pieces: Vec<&[u8]> = wire.chunks(step).collect();
            prop_assert_eq!(read(&pieces, max), Some((message, None, false, Vec::new())));
        }

        #[test]
        fn any_bytes_read_the_same_however_they_are_cut(text in prop::collection::vec(prop::sample::select(&b"\r\n.\0a\r\n."[..]), 0..40), max in 1usize..30, step in 1usize..9) {
            let mut text = text;
            text.extend_from_slice(b"\r\n.\r\n");
            let mut input = BytesMut::from(&text[..]);
            let mut one = DotReader::default();
            let piece = one.take(&mut input, 1 << 20);
            prop_assert!(piece.end || (piece.fault.is_some() && one.take(&mut input, 1).end));
            let used = text.len() - input.len();
            let pieces: Vec<&[u8]> = text[..used].chunks(step).collect();
            prop_assert_eq!(read(&pieces, max), Some((piece.body.to_vec(), piece.fault, one.is_ambiguous(), Vec::new())));
        }
    }
}
