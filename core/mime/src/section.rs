//! Which bytes a section of IMAP's BODY[...] names, RFC 3501 6.4.5, and walking over the parts of a structure.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{Inside, Part};

/// What of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `BODY[]`: the message; `BODY[1.2]`: the body of a part.
    All,
    /// `HEADER`: of the message, or of the message within a message/rfc822 part. HEADER.FIELDS filters this.
    Header,
    /// `TEXT`: the body of the message, or of the message within a message/rfc822 part.
    Text,
    /// `MIME`: the header of a part.
    Mime,
}

/// The bytes of a section; offsets as in `part`. `None` when there is no such part, or when `HEADER` or `TEXT` is asked of
/// a part that is no message, or `MIME` of the message itself.
pub fn locate(part: &Part, path: &[u32], section: Section) -> Option<Range<u64>> {
    let found = part_at(part, path)?;
    if path.is_empty() {
        return match section {
            Section::All => Some(found.header..found.end),
            Section::Header => Some(found.header..found.body),
            Section::Text => Some(found.body..found.end),
            Section::Mime => None,
        };
    }
    match (section, &found.inside) {
        (Section::All, _) => Some(found.body..found.end),
        (Section::Mime, _) => Some(found.header..found.body),
        (Section::Header, Inside::Message(message)) => Some(message.1.header..message.1.body),
        (Section::Text, Inside::Message(message)) => Some(message.1.body..message.1.end),
        (Section::Header | Section::Text, _) => None,
    }
}

/// The part at a path of part numbers, counted from 1; the message itself for an empty path.
///
/// A message that is no multipart has one part, 1, which is its body.
pub fn part_at<'a>(message: &'a Part, path: &[u32]) -> Option<&'a Part> {
    let mut part = message;
    // Whether `part` is a whole message, whose own part is still to be named.
    let mut is_message = true;
    for number in path {
        if let (false, Inside::Message(inner)) = (is_message, &part.inside) {
            part = &inner.1;
            is_message = true;
        }
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        part = match &part.inside {
            Inside::Multipart(children) => children.get(index)?,
            _ if is_message && index == 0 => part,
            _ => return None,
        };
        is_message = false;
    }
    Some(part)
}

/// The part and all within it, from the outside in, in the order of the bytes.
pub fn parts(part: &Part) -> Parts<'_> {
    Parts {
        next: Vec::from([part]),
    }
}

/// Iterator over a part and all within it.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    next: Vec<&'a Part>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a Part;

    fn next(&mut self) -> Option<&'a Part> {
        let part = self.next.pop()?;
        match &part.inside {
            Inside::Leaf => {}
            Inside::Multipart(children) => self.next.extend(children.iter().rev()),
            Inside::Message(message) => self.next.push(&message.1),
        }
        Some(part)
    }
}
