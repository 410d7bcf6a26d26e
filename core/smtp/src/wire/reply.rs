//! Replies (RFC 5321 4.2), written and read.

use alloc::borrow::Cow;
use alloc::string::String;
use bytes::{BufMut, BytesMut};
use core::fmt::Write;
use mox_address::{Enhanced, Reply};
use mox_machine::{Line, LineReader};

/// The longest reply line, in octets before its CRLF (RFC 5321 4.5.3.1.5).
pub const REPLY_LINE: usize = 510;
/// Where a line that is too long is rather cut: at the last space behind this many octets of text.
const SOFT_CUT: usize = 400;
/// The most lines one reply is written in; what does not fit is left out.
const LINES: usize = 100;

/// Appends a reply, each line of its text a line of the reply, long ones cut.
///
/// A 3xx reply is one line whatever its length: in AUTH it may be long (RFC 4954 4).
/// Characters outside printable ASCII become `?`, so no text can end a line early.
pub fn encode(reply: &Reply, out: &mut BytesMut) {
    let mut codes = String::new();
    if let Some(enhanced) = reply.enhanced {
        // A String takes everything that is written to it.
        let _ = write!(codes, "{enhanced} ");
    }
    let room = match reply.code {
        300..=399 => usize::MAX,
        _ => REPLY_LINE - 4 - codes.len(),
    };
    let mut written = 0;
    let mut lines = reply.text.split('\n').peekable();
    while let Some(line) = lines.next() {
        let text: String = line
            .trim_end_matches('\r')
            .chars()
            .map(|c| {
                if c == ' ' || c.is_ascii_graphic() {
                    c
                } else {
                    '?'
                }
            })
            .collect();
        let mut rest = text.as_str();
        loop {
            let (part, after) = cut(rest, room);
            written += 1;
            let last = (after.is_empty() && lines.peek().is_none()) || written == LINES;
            let _ = write!(
                out,
                "{:03}{}{codes}{part}",
                reply.code,
                if last { ' ' } else { '-' }
            );
            out.put_slice(b"\r\n");
            if last {
                return;
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
}

/// Cuts ASCII text so that the first part has at most `room` octets.
fn cut(text: &str, room: usize) -> (&str, &str) {
    if text.len() <= room {
        return (text, "");
    }
    let (head, _) = text.split_at_checked(room).unwrap_or((text, ""));
    match head.rfind(' ').filter(|&at| at > SOFT_CUT) {
        Some(at) => (
            head.get(..at).unwrap_or_default(),
            text.get(at + 1..).unwrap_or_default(),
        ),
        None => (head, text.get(room..).unwrap_or_default()),
    }
}

/// How much of a reply is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Lines of one reply.
    pub lines: usize,
    /// Octets of one line before its end.
    pub line: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            lines: 100,
            line: 2_047,
        }
    }
}

/// Why what came is no reply. Nothing after it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// A line over its limit.
    LineTooLong,
    /// Lines over their limit.
    TooManyLines,
    /// Not three digits (200 to 599) and a space, a hyphen or nothing.
    Syntax,
    /// Two lines of one reply with different codes.
    CodesDiffer,
}

/// Reads replies off a growing buffer.
///
/// A line may end in bare LF, as some servers send it; a bare CR is refused.
#[derive(Debug, Clone, Default)]
pub struct ReplyReader {
    limits: ReplyLimits,
    lines: LineReader,
    code: Option<u16>,
    enhanced: Option<Enhanced>,
    text: String,
    count: usize,
}

impl ReplyReader {
    /// A reader with these limits.
    pub fn new(limits: ReplyLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes the next whole reply from the front of `input`; `None` when it is not complete yet.
    pub fn take(&mut self, input: &mut BytesMut) -> Option<Result<Reply, ReplyError>> {
        loop {
            let line = match self.lines.take(input, self.limits.line) {
                Line::Incomplete => return None,
                Line::TooLong => return Some(Err(ReplyError::LineTooLong)),
                Line::BadEnding(line) if line.contains(&b'\r') => {
                    return Some(Err(ReplyError::Syntax));
                }
                Line::Complete(line) | Line::BadEnding(line) => line,
            };
            match self.line(&line) {
                Ok(false) => {}
                Ok(true) => {
                    let text = core::mem::take(&mut self.text);
                    self.count = 0;
                    return Some(Ok(Reply {
                        code: self.code.take().unwrap_or_default(),
                        enhanced: self.enhanced.take(),
                        text: Cow::Owned(text),
                    }));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// True when this line ends the reply.
    fn line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::Syntax)?;
        let code = digits
            .iter()
            .try_fold(0u16, |n, &b| {
                b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0'))
            })
            .filter(|code| (200..600).contains(code))
            .ok_or(ReplyError::Syntax)?;
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(ReplyError::Syntax),
        };
        let first = self.code.is_none();
        if self.code.is_some_and(|seen| seen != code) {
            return Err(ReplyError::CodesDiffer);
        }
        self.count += 1;
        if self.count > self.limits.lines {
            return Err(ReplyError::TooManyLines);
        }
        self.code = Some(code);
        let text = String::from_utf8_lossy(text);
        let (enhanced, after) = split_enhanced(code, &text);
        let text = if first {
            self.enhanced = enhanced;
            after
        } else {
            self.text.push('\n');
            // Each line repeats the enhanced code of the first (RFC 2034 4); it is kept once.
            if enhanced.is_some() && enhanced == self.enhanced {
                after
            } else {
                &text
            }
        };
        self.text.push_str(text);
        Ok(last)
    }
}

/// An enhanced code of the reply's own class at the front of its text.
fn split_enhanced(code: u16, text: &str) -> (Option<Enhanced>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = word.split('.').map(|part| {
        let fits = matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| part.parse::<u16>().ok()).flatten()
    });
    let enhanced = (|| {
        let class = parts.next()??;
        let enhanced = Enhanced(u8::try_from(class).ok()?, parts.next()??, parts.next()??);
        (class == code / 100 && parts.next().is_none()).then_some(enhanced)
    })();
    match enhanced {
        Some(enhanced) => (Some(enhanced), rest),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn encoded(reply: &Reply) -> String {
        let mut out = BytesMut::new();
        encode(reply, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn every_line_repeats_both_codes() {
        assert_eq!(encoded(&Reply::plain(220, "mx ESMTP")), "220 mx ESMTP\r\n");
        assert_eq!(
            encoded(&Reply::new(550, 1, 1, "no\nsuch\r\nuser")),
            "550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n"
        );
    }

    #[test]
    fn no_text_can_break_out_of_its_line() {
        assert_eq!(
            encoded(&Reply::new(550, 0, 0, "a\rb\0ü\x7f")),
            "550 5.0.0 a?b???\r\n"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_late_space_or_hard() {
        let hard = encoded(&Reply::new(250, 0, 0, "x".repeat(1_000)));
        let lengths: Vec<usize> = hard.lines().map(str::len).collect();
        assert_eq!(
            lengths,
            [510, 510, 10 + 1_000 - 2 * 500]
                .into_iter()
                .filter(|&n| n > 10)
                .collect::<Vec<_>>()
        );
        let words = encoded(&Reply::plain(250, "word ".repeat(200)));
        assert!(words.lines().all(|line| line.len() <= 510));
        assert_eq!(words.matches("word").count(), 200);
    }

    #[test]
    fn writing_and_reading_are_inverse_at_every_cut() {
        let reply = Reply::new(451, 4, 2, "later\nmuch later\n");
        let whole = encoded(&reply);
        for cut in 0..=whole.len() {
            let mut reader = ReplyReader::default();
            let mut input = BytesMut::from(&whole[..cut]);
            let early = reader.take(&mut input);
            assert_eq!(early.is_some(), cut == whole.len());
            input.extend_from_slice(&whole.as_bytes()[cut..]);
            let read = early.or_else(|| reader.take(&mut input)).unwrap();
            assert_eq!(read.as_ref(), Ok(&reply));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_with_its_reason() {
        let read = |text: &str| {
            ReplyReader::new(ReplyLimits { lines: 3, line: 20 }).take(&mut BytesMut::from(text))
        };
        assert_eq!(read("25 ok\r\n"), Some(Err(ReplyError::Syntax)));
        assert_eq!(read("250_ok\r\n"), Some(Err(ReplyError::Syntax)));
        assert_eq!(read("999 ok\r\n"), Some(Err(ReplyError::Syntax)));
        assert_eq!(read("250 o\rk\r\n"), Some(Err(ReplyError::Syntax)));
        assert_eq!(
            read("250-a\r\n251 b\r\n"),
            Some(Err(ReplyError::CodesDiffer))
        );
        assert_eq!(
            read("250-a\r\n250-a\r\n250-a\r\n250 a\r\n"),
            Some(Err(ReplyError::TooManyLines))
        );
        assert_eq!(
            read("250 aaaaaaaaaaaaaaaaaaaaaaaa"),
            Some(Err(ReplyError::LineTooLong))
        );
        assert_eq!(read("250\r\n"), Some(Ok(Reply::plain(250, ""))));
        assert_eq!(
            read("250 2.0.0 ok\n"),
            Some(Ok(Reply::new(250, 0, 0, "ok")))
        );
        assert_eq!(
            read("250 5.0.0 ok\n"),
            Some(Ok(Reply::plain(250, "5.0.0 ok")))
        );
    }
}
