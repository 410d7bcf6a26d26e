//! What is learned of a message while its bytes stream in.

use bytes::{Bytes, BytesMut};
use mox_mime::{Structure, Walker};

/// Header octets kept beside the message, so that listing headers never opens a body. Longer headers are read
/// from the body: this is more than a store keeps, so that the store sees that there was more.
pub const HEADER_KEPT_MAX: usize = 64 * 1024;

/// Takes a message in pieces and keeps its structure and header, never its body.
#[derive(Debug)]
pub struct Intake {
    walker: Walker,
    header: HeaderCapture,
    size: u64,
    line_feeds: u32,
}

/// What an [`Intake`] found.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Envelope and structure.
    pub structure: Structure,
    /// The header with the blank line that ends it; cut at [`HEADER_KEPT_MAX`].
    pub header: Bytes,
    /// False when `header` was cut.
    pub header_whole: bool,
    /// The message has no header at all: what stands before its body must end in a blank line.
    pub headless: bool,
    /// Octets.
    pub size: u64,
}

impl Default for Intake {
    fn default() -> Self {
        Self::new()
    }
}

impl Intake {
    /// For one message.
    pub fn new() -> Self {
        Self {
            walker: Walker::new(mox_mime::Limits::default()),
            header: HeaderCapture::default(),
            size: 0,
            line_feeds: 0,
        }
    }

    /// The next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.walker.push(piece);
        self.header.push(piece);
        self.size += piece.len() as u64;
        let feeds = piece.iter().filter(|&&b| b == b'\n').count();
        self.line_feeds = self
            .line_feeds
            .saturating_add(u32::try_from(feeds).unwrap_or(u32::MAX));
    }

    /// Octets so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The message is complete.
    pub fn finish(self) -> Arrived {
        let mut structure = self.walker.finish();
        let ended = self.header.ended;
        let mut header = self.header.kept.freeze();
        // RFC 5322 2.1: without an empty line all of it is header, if it is fields at all.
        let headless = !ended && !starts_with_field(&header) && self.size > 0;
        if headless {
            structure = headless_text(self.size, self.line_feeds);
            header = Bytes::new();
        }
        Arrived {
            structure,
            header_whole: headless || header.len() < HEADER_KEPT_MAX,
            header,
            headless,
            size: self.size,
        }
    }
}

/// Keeps the bytes up to the first empty line.
#[derive(Debug, Default)]
struct HeaderCapture {
    kept: BytesMut,
    ended: bool,
}

impl HeaderCapture {
    fn push(&mut self, piece: &[u8]) {
        if self.ended || self.kept.len() >= HEADER_KEPT_MAX {
            return;
        }
        // The end may lie across two pieces: search from the last three bytes on.
        let from = self.kept.len().saturating_sub(3);
        let room = HEADER_KEPT_MAX - self.kept.len();
        self.kept
            .extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        if let Some(end) = end_of_header(&self.kept, from) {
            self.kept.truncate(end);
            self.ended = true;
        }
    }
}

/// Where the body begins: behind the first empty line, searching from `from` on.
fn end_of_header(bytes: &[u8], from: usize) -> Option<usize> {
    if from == 0 {
        if bytes.starts_with(b"\r\n") {
            return Some(2);
        }
        if bytes.starts_with(b"\n") {
            return Some(1);
        }
    }
    let tail = bytes.get(from..)?;
    let mut at = 0;
    while let Some(feed) = tail.get(at..)?.iter().position(|&b| b == b'\n') {
        at += feed + 1;
        match tail.get(at..)? {
            [b'\n', ..] => return Some(from + at + 1),
            [b'\r', b'\n', ..] => return Some(from + at + 2),
            _ => {}
        }
    }
    None
}

/// Whether the first line is a header field: a name of printable characters, then a colon.
fn starts_with_field(header: &[u8]) -> bool {
    let name = header.split(|&b| b == b':').next().unwrap_or_default();
    !name.is_empty()
        && name.len() < header.len()
        && name.iter().all(|b| b.is_ascii_graphic() || *b == b' ')
}

fn headless_text(size: u64, lines: u32) -> Structure {
    let mut walker = Walker::new(mox_mime::Limits::default());
    walker.push(b"\r\n");
    let mut structure = walker.finish();
    structure.part.header = 0;
    structure.part.body = 0;
    structure.part.end = size;
    structure.part.lines = lines;
    structure.header_len = 0;
    structure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(message: &[u8]) -> Arrived {
        let mut intake = Intake::new();
        intake.push(message);
        intake.finish()
    }

    #[test]
    fn the_header_ends_behind_the_first_empty_line_however_the_message_is_cut() {
        let message = b"From: a@b\r\nSubject: x\r\n\r\nbody\r\n\r\nmore\r\n";
        for cut in 0..=message.len() {
            let mut intake = Intake::new();
            intake.push(&message[..cut]);
            intake.push(&message[cut..]);
            let arrived = intake.finish();
            assert_eq!(
                arrived.header, "From: a@b\r\nSubject: x\r\n\r\n",
                "cut at {cut}"
            );
            assert!(arrived.header_whole && !arrived.headless);
            assert_eq!(arrived.structure.part.body, 25);
        }
    }

    #[test]
    fn a_message_without_header_is_all_body() {
        let arrived = whole(b"hello there\r\nsecond\r\n");
        assert!(arrived.headless);
        assert_eq!(arrived.header, "");
        let part = &arrived.structure.part;
        assert_eq!(
            (part.header, part.body, part.end, part.lines),
            (0, 0, 21, 2)
        );
    }

    #[test]
    fn fields_without_an_empty_line_are_a_header() {
        let arrived = whole(b"Subject: x\r\n");
        assert!(!arrived.headless);
        assert_eq!(arrived.header, "Subject: x\r\n");
        assert!(whole(b"\r\nbody").header == "\r\n");
    }

    #[test]
    fn a_header_over_the_limit_is_cut_and_said_to_be_cut() {
        let long = format!("Subject: {}\r\n\r\nbody", "x".repeat(HEADER_KEPT_MAX));
        let arrived = whole(long.as_bytes());
        assert_eq!(arrived.header.len(), HEADER_KEPT_MAX);
        assert!(!arrived.header_whole);
    }
}
