//! Envelope and structure of a message as they are stored beside it.

use bytes::Bytes;
use mox_mime::{Envelope, Part, Structure};
use serde::{Deserialize, Serialize};

/// Parts within each other, at most, in what is read back: twice as many as are ever written. Reading is recursive.
pub const STRUCTURE_DEPTH_MAX: usize = 100;

/// The columns of a stored message that the mailbox engine does not look into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStructure {
    /// For IMAP's ENVELOPE.
    pub envelope: Envelope,
    /// For BODYSTRUCTURE and sections; offsets count in the body.
    pub part: Part,
}

impl StoredStructure {
    /// The stored form: the envelope first, so that it can be read without the rest.
    pub fn encode(structure: &Structure) -> Bytes {
        let mut out = postcard::to_allocvec(&structure.envelope).unwrap_or_default();
        out.extend(postcard::to_allocvec(&structure.part).unwrap_or_default());
        Bytes::from(out)
    }

    /// Both; `None` when the bytes are damaged, or hold parts deeper than [`STRUCTURE_DEPTH_MAX`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (envelope, rest) = postcard::take_from_bytes(bytes).ok()?;
        Skim(rest).nests_within(STRUCTURE_DEPTH_MAX)?;
        let (part, _) = postcard::take_from_bytes(rest).ok()?;
        Some(Self { envelope, part })
    }

    /// The envelope alone.
    pub fn decode_envelope(bytes: &[u8]) -> Option<Envelope> {
        postcard::take_from_bytes(bytes)
            .ok()
            .map(|(envelope, _)| envelope)
    }
}

/// Passes over the stored form of a part, to see how deep it is before anything recurses on it. Every step is `None` at the
/// end of the bytes, or where they are none of ours.
struct Skim<'b>(&'b [u8]);

impl Skim<'_> {
    fn nests_within(mut self, most: usize) -> Option<()> {
        // Parts still to come, by level.
        let mut open = vec![1_u64];
        while let Some(left) = open.last_mut() {
            let Some(fewer) = left.checked_sub(1) else {
                open.pop();
                continue;
            };
            *left = fewer;
            if open.len() > most {
                return None;
            }
            match self.part()? {
                0 => {}
                1 => open.push(self.number()?),
                2 => {
                    self.envelope()?;
                    open.push(1);
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// A part up to what kind of inside it has.
    fn part(&mut self) -> Option<u64> {
        // Its three offsets and its lines.
        for _ in 0..4 {
            self.number()?;
        }
        self.text()?;
        self.text()?;
        self.params()?;
        self.option(Self::text)?;
        self.option(Self::text)?;
        self.text()?;
        self.option(Self::text)?;
        self.option(|skim| {
            skim.text()?;
            skim.params()
        })?;
        self.list(Self::text)?;
        self.option(Self::text)?;
        self.number()
    }

    fn envelope(&mut self) -> Option<()> {
        self.option(Self::text)?;
        self.option(Self::text)?;
        for _ in 0..6 {
            self.list(|skim| {
                for _ in 0..4 {
                    skim.option(Self::text)?;
                }
                Some(())
            })?;
        }
        self.option(Self::text)?;
        self.option(Self::text)
    }

    fn params(&mut self) -> Option<()> {
        self.list(|skim| {
            skim.text()?;
            skim.text()
        })
    }

    fn list(&mut self, item: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        for _ in 0..self.number()? {
            item(self)?;
        }
        Some(())
    }

    fn option(&mut self, item: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        match self.octet()? {
            0 => Some(()),
            1 => item(self),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<()> {
        let octets = usize::try_from(self.number()?).ok()?;
        self.0 = self.0.get(octets..)?;
        Some(())
    }

    /// Seven bits an octet, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let octet = self.octet()?;
            number |= u64::from(octet & 0x7f).checked_shl(shift)?;
            if octet & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_mime::{Inside, Limits, Walker};

    fn walk(message: &[u8]) -> Structure {
        let mut walker = Walker::new(Limits::default());
        walker.push(message);
        walker.finish()
    }

    #[test]
    fn the_stored_structure_reads_back() {
        let found =
            walk(b"From: Ann <a@b>\r\nSubject: x\r\nContent-Type: text/html\r\n\r\nbody\r\n");
        let bytes = StoredStructure::encode(&found);
        let stored = StoredStructure::decode(&bytes).unwrap();
        assert_eq!(stored.part, found.part);
        assert_eq!(
            StoredStructure::decode_envelope(&bytes).unwrap(),
            found.envelope
        );
        for cut in 0..bytes.len() {
            assert_eq!(StoredStructure::decode(&bytes[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn the_deepest_structure_that_is_made_and_every_column_read_back() {
        let mut message = b"Content-Type: message/rfc822\nTo: g: a <b@c>;\n\n".repeat(1_000);
        message.extend(
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-ID: <i@d>\n\
              Content-Description: d\nContent-MD5: m\nContent-Disposition: inline; filename=f\n\
              Content-Language: de, en\nContent-Location: l\n\nx\n--b\n\ny\n--b--\n",
        );
        for message in [&message[..], &message[message.len() - 400..]] {
            let found = walk(message);
            let stored = StoredStructure::decode(&StoredStructure::encode(&found)).unwrap();
            assert_eq!(stored.part, found.part);
            assert_eq!(stored.envelope, found.envelope);
        }
    }

    #[test]
    fn octets_that_nest_without_end_are_damaged_and_end_nobody() {
        let found = walk(b"\n");
        let stored = StoredStructure::encode(&found);
        let part = postcard::to_allocvec(&found.part).unwrap();
        let (envelope, before) = (
            stored.len() - part.len(),
            // Without its last octet, which says that nothing is inside.
            &part[..part.len() - 1],
        );
        let nested = |levels: usize, inside: &[u8]| {
            let mut octets = stored[..envelope].to_vec();
            for _ in 1..levels {
                octets.extend_from_slice(before);
                octets.extend_from_slice(inside);
            }
            octets.extend_from_slice(&part);
            octets
        };
        let mut message = vec![2];
        message.extend(postcard::to_allocvec(&found.envelope).unwrap());
        for inside in [&[1, 1][..], &message] {
            let mut part = StoredStructure::decode(&nested(STRUCTURE_DEPTH_MAX, inside))
                .unwrap()
                .part;
            let mut levels = 1;
            while let Inside::Multipart(_) | Inside::Message(_) = part.inside {
                part = match part.inside {
                    Inside::Multipart(mut children) => children.remove(0),
                    Inside::Message(message) => message.1,
                    Inside::Leaf => break,
                };
                levels += 1;
            }
            assert_eq!(levels, STRUCTURE_DEPTH_MAX);
            for levels in [STRUCTURE_DEPTH_MAX + 1, 1_000_000] {
                assert_eq!(StoredStructure::decode(&nested(levels, inside)), None);
            }
        }
    }
}
