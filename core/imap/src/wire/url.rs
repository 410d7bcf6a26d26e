//! IMAP URLs that name a message or a part of it, relative to the server (RFC 5092 5, RFC 4469 4):
//! `/mailbox;UIDVALIDITY=7/;UID=20/;SECTION=1.2/;PARTIAL=0.1024`.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use mox_uids::Uid;

use super::cursor::{Cursor, ParseLimits};
use super::fetch::section_of_url;
use crate::server::{BodyPart, BodyWhat};

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageUrl {
    /// The mailbox, in UTF-8, not yet checked; `None` is the selected one.
    pub mailbox: Option<String>,
    /// UIDVALIDITY it must have.
    pub validity: Option<u32>,
    /// The message.
    pub uid: Uid,
    /// Which bytes of it.
    pub part: BodyPart,
    /// Octets of that.
    pub range: Range<u64>,
}

impl MessageUrl {
    /// Reads one; `None` for what names no message, or one on another server.
    pub fn parse(url: &[u8], limits: &ParseLimits) -> Option<Self> {
        let (path, rest) = split(url, b";UID=")?;
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let (mailbox, validity) = match split(path, b";UIDVALIDITY=") {
            Some((mailbox, validity)) => (mailbox, Some(number(validity)?)),
            None => (path, None),
        };
        let mailbox = match mailbox {
            [] => None,
            [b'/', b'/', ..] => return None,
            [b'/', name @ ..] => Some(decoded(name)?),
            _ => return None,
        };
        let (uid, rest) = segment(rest);
        let (mut part, mut range) = (None, None);
        let mut rest = rest;
        while let [_, ..] = rest {
            let (here, after) = segment(rest);
            rest = after;
            if let (Some(([], section)), None, None) = (split(here, b";SECTION="), &part, &range) {
                let section = decoded(section)?;
                let mut cursor = Cursor::new(section.as_bytes());
                let found = section_of_url(&mut cursor, limits).ok()?;
                cursor.end().ok()?;
                part = Some(found);
            } else if let (Some(([], partial)), None) = (split(here, b";PARTIAL="), &range) {
                range = Some(span(partial)?);
            } else {
                return None;
            }
        }
        Some(Self {
            mailbox,
            validity,
            uid: Uid(number(uid)?),
            part: part.unwrap_or(BodyPart {
                path: Vec::new(),
                what: BodyWhat::All,
            }),
            range: range.unwrap_or(0..u64::MAX),
        })
    }
}

/// Up to the next slash, and what is behind it.
fn segment(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
    let (here, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (here, rest.get(1..).unwrap_or_default())
}

/// What is before and behind the last place of a word, in any case.
fn split<'t>(text: &'t [u8], word: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let at = text
        .windows(word.len())
        .rposition(|w| w.eq_ignore_ascii_case(word))?;
    Some((text.get(..at)?, text.get(at + word.len()..)?))
}

fn number(text: &[u8]) -> Option<u32> {
    let mut cursor = Cursor::new(text);
    let n = cursor.nonzero().ok()?;
    cursor.end().ok()?;
    Some(n)
}

/// `first.count`, or `first` for all from there.
fn span(text: &[u8]) -> Option<Range<u64>> {
    let mut cursor = Cursor::new(text);
    let first = cursor.number64().ok()?;
    let end = match cursor.eat(b'.') {
        true => first.saturating_add(cursor.number64().ok().filter(|n| *n > 0)?),
        false => u64::MAX,
    };
    cursor.end().ok()?;
    Some(first..end)
}

/// Without percent-encoding; `None` unless it is UTF-8 then.
fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (hex, after) = rest.split_first_chunk::<2>()?;
        let digit = |b: u8| char::from(b).to_digit(16);
        let [high, low] = hex.map(digit);
        out.push(u8::try_from(high? * 16 + low?).ok()?);
        rest = after;
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn parse(url: &str) -> Option<MessageUrl> {
        MessageUrl::parse(url.as_bytes(), &ParseLimits::default())
    }

    #[test]
    fn messages_and_parts_are_named() {
        let whole = parse("/INBOX/;UID=20").unwrap();
        assert_eq!(whole.mailbox.as_deref(), Some("INBOX"));
        assert_eq!((whole.uid, whole.validity), (Uid(20), None));
        assert_eq!((whole.part.what, whole.range), (BodyWhat::All, 0..u64::MAX));
        let full = parse("/a/b%20c;uidvalidity=385759045/;uid=20/;section=1.2.MIME/;partial=3.4");
        let full = full.unwrap();
        assert_eq!(full.mailbox.as_deref(), Some("a/b c"));
        assert_eq!(full.validity, Some(385_759_045));
        assert_eq!(
            (full.part.path, full.part.what),
            (vec![1, 2], BodyWhat::Mime)
        );
        assert_eq!(full.range, 3..7);
        assert_eq!(parse(";UID=5").unwrap().mailbox, None);
        let header = parse("/x/;uid=1/;section=HEADER.FIELDS%20(Date)").unwrap();
        assert!(matches!(header.part.what, BodyWhat::Fields(names) if names.len() == 1));
    }

    #[test]
    fn what_names_no_message_here_is_refused() {
        for bad in [
            "",
            "/INBOX",
            "imap://host/INBOX/;uid=1",
            "//host/INBOX/;uid=1",
            "/INBOX/;uid=0",
            "/INBOX/;uid=x",
            "/INBOX/;uid=1/;section=FOO",
            "/INBOX/;uid=1/;partial=1.0",
            "/INBOX/;uid=1/x",
            "/IN%BOX/;uid=1",
            "/IN%ff/;uid=1",
            "/INBOX;uidvalidity=/;uid=1",
            "INBOX/;uid=1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
