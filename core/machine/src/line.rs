//! Lines that end in CRLF and nothing else.

use bytes::{Bytes, BytesMut};

/// What [`LineReader::take`] found at the front of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// No complete line yet; nothing was taken.
    Incomplete,
    /// A line, its CRLF taken and cut off.
    Complete(Bytes),
    /// A line that ended in a bare LF, or had a bare CR inside, cut off likewise: to be refused, never obeyed.
    BadEnding(Bytes),
    /// More bytes than the limit without a line end. Nothing was taken; the line has no end one could wait for.
    TooLong,
}

/// Takes lines off a growing buffer and remembers how far it searched, so a slow drip costs O(n) in all.
#[derive(Debug, Clone, Default)]
pub struct LineReader {
    searched: usize,
}

impl LineReader {
    /// Takes one line of at most `max` bytes before its CRLF from the front of `input`.
    pub fn take(&mut self, input: &mut BytesMut, max: usize) -> Line {
        let fresh = input.get(self.searched..).unwrap_or_default();
        let Some(at) = fresh.iter().position(|&b| b == b'\n') else {
            self.searched = input.len();
            // A CR at the very end may be half of the line's end.
            return if input.len() > max + 1 {
                Line::TooLong
            } else {
                Line::Incomplete
            };
        };
        let end = self.searched + at;
        self.searched = 0;
        let with_cr = end > 0 && input.get(end - 1) == Some(&b'\r');
        let length = if with_cr { end - 1 } else { end };
        if length > max {
            self.searched = end;
            return Line::TooLong;
        }
        let mut line = input.split_to(end + 1).freeze();
        line.truncate(length);
        if with_cr && !line.contains(&b'\r') {
            Line::Complete(line)
        } else {
            Line::BadEnding(line)
        }
    }

    /// Forgets how far it searched: the buffer's front was taken by somebody else.
    pub fn reset(&mut self) {
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8], max: usize) -> (Line, usize) {
        let mut buffer = BytesMut::from(input);
        let line = LineReader::default().take(&mut buffer, max);
        (line, buffer.len())
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(whole(b"NOOP\r\nX", 10), (Line::Complete("NOOP".into()), 1));
        assert_eq!(whole(b"NOOP\nX", 10), (Line::BadEnding("NOOP".into()), 1));
        assert_eq!(
            whole(b"NO\rOP\r\n", 10),
            (Line::BadEnding("NO\rOP".into()), 0)
        );
        assert_eq!(whole(b"NOOP\r", 10), (Line::Incomplete, 5));
        assert_eq!(whole(b"\r\n", 10), (Line::Complete("".into()), 0));
    }

    #[test]
    fn the_limit_counts_the_bytes_before_crlf_however_they_arrive() {
        assert_eq!(whole(b"12345\r\n", 5), (Line::Complete("12345".into()), 0));
        assert_eq!(whole(b"123456\r\n", 5).0, Line::TooLong);
        assert_eq!(whole(b"12345\r", 5).0, Line::Incomplete);
        assert_eq!(whole(b"1234567", 5).0, Line::TooLong);
        let mut buffer = BytesMut::new();
        let mut reader = LineReader::default();
        for (i, b) in b"12345\r\n".iter().enumerate() {
            buffer.extend_from_slice(&[*b]);
            let line = reader.take(&mut buffer, 5);
            assert_eq!(
                line == Line::Complete("12345".into()),
                i == 6,
                "byte {i}: {line:?}"
            );
        }
    }
}
