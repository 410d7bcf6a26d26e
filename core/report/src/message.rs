//! Finding a report in what arrives: itself, or a message with it.

use mox_mime::{Inside, Part, TransferDecoder, Walker};

use crate::unpack::Packing;
use crate::{Limits, Refused};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Aggregate,
    Tls,
}

impl Kind {
    /// Whether octets begin like such a report, packed or not.
    fn begins(self, octets: &[u8]) -> bool {
        match Packing::of(octets) {
            Packing::Gzip => true,
            Packing::Zip | Packing::Xml => self == Self::Aggregate,
            Packing::Json => self == Self::Tls,
            Packing::Unknown => false,
        }
    }

    /// Whether a part may hold one: senders name the types of their reports in many ways, but a text for people or a picture
    /// is none.
    fn may_be_in(self, part: &Part) -> bool {
        let media = part.media.to_ascii_lowercase();
        let subtype = part.subtype.to_ascii_lowercase();
        match (&*media, &*subtype) {
            (b"application", subtype) => {
                let is_tls = subtype.starts_with(b"tlsrpt+");
                is_tls == (self == Self::Tls)
                    || (!is_tls && matches!(subtype, b"gzip" | b"json" | b"octet-stream"))
            }
            // Without a type a part counts as plain text.
            (b"text", b"xml" | b"plain") => self == Self::Aggregate,
            _ => false,
        }
    }
}

/// Reads a report with `read`: what `octets` are, or the first part of a message that is one.
pub(crate) fn read<T>(
    octets: &[u8],
    kind: Kind,
    limits: &Limits,
    mut read: impl FnMut(&[u8]) -> Result<T, Refused>,
) -> Result<T, Refused> {
    if kind.begins(octets) {
        return read(octets);
    }
    if octets.len() > limits.message {
        return Err(Refused::TooLarge("the message"));
    }
    let mut walker = Walker::new(mox_mime::Limits::default());
    walker.push(octets);
    let structure = walker.finish();
    let mut refused = Refused::NoReport;
    for part in leaves(&structure.part).into_iter().take(limits.parts) {
        if !kind.may_be_in(part) {
            continue;
        }
        let Some(content) = decoded(octets, part, limits)? else {
            continue;
        };
        let is_prose =
            part.subtype.eq_ignore_ascii_case(b"plain") && Packing::of(&content) == Packing::Xml;
        if !kind.begins(&content) || is_prose {
            continue;
        }
        match read(&content) {
            Ok(report) => return Ok(report),
            // Something else that is packed is not the report; a damaged report is told of if there is no other.
            Err(why) if refused == Refused::NoReport => refused = why,
            Err(_) => {}
        }
    }
    Err(refused)
}

/// The parts that are no multipart, in their order. What is in an attached message is somebody else's.
fn leaves(part: &Part) -> Vec<&Part> {
    let mut leaves = Vec::new();
    let mut open = vec![part];
    while let Some(part) = open.pop() {
        match &part.inside {
            Inside::Leaf => leaves.push(part),
            Inside::Multipart(children) => open.extend(children.iter().rev()),
            Inside::Message(_) => {}
        }
    }
    leaves
}

fn decoded(message: &[u8], part: &Part, limits: &Limits) -> Result<Option<Vec<u8>>, Refused> {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    let Some(body) = message.get(at(part.body)..at(part.end)) else {
        return Ok(None);
    };
    let Some(mut decoder) = TransferDecoder::new(&part.encoding) else {
        return Ok(None);
    };
    let mut content = Vec::new();
    for piece in body.chunks(64 * 1024) {
        decoder.push(piece, &mut content);
        if content.len() > limits.packed {
            return Err(Refused::TooLarge("an attachment"));
        }
    }
    decoder.finish(&mut content);
    Ok(Some(content))
}
