//! How much of a message's structure is looked at and kept.

use alloc::vec::Vec;

use crate::{Mailbox, Params, Part};

/// Limits of a [`crate::Walker`]. None of them is an error: what is beyond is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Multiparts and messages around a part; a deeper one is a leaf. Default 50.
    pub depth: usize,
    /// Parts of a message; once reached, the rest of the message belongs to the last one. Default 1,000.
    pub parts: usize,
    /// Octets of one header that are looked at. Default 256 KiB.
    pub header: usize,
    /// Fields of one header that are looked at. Default 2,000.
    pub fields: usize,
    /// Parameters of one field that are kept. Default 64.
    pub params: usize,
    /// Octets of a multipart boundary; RFC 2046 5.1.1 allows 70. One with more delimits nothing. Default 200.
    pub boundary: usize,
    /// Octets kept of one field's value; the rest is cut off. Default 8 KiB.
    pub value: usize,
    /// Addresses kept of one envelope field. Default 2,000.
    pub addresses: usize,
    /// Octets of all that is kept, about as many as it has when it is stored. Once reached, no more parts are
    /// opened and values are left out. Default 48 KiB, so that envelope and structure fit a row of 64 KiB.
    pub kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 50,
            parts: 1_000,
            header: 256 * 1024,
            fields: 2_000,
            params: 64,
            boundary: 200,
            value: 8 * 1024,
            addresses: 2_000,
            kept: 48 * 1024,
        }
    }
}

/// What may still be kept.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: usize,
    value: usize,
}

impl Budget {
    /// Stored octets of a part without its texts: offsets, lengths, tags.
    const PART: usize = 40;
    /// The same of an address, and of a parameter.
    const SMALL: usize = 10;

    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            left: limits.kept,
            value: limits.value,
        }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.left < Self::PART
    }

    pub(crate) fn part(&mut self) {
        self.left = self.left.saturating_sub(Self::PART);
    }

    /// The value, cut to its limit, while there is room for it.
    pub(crate) fn keep(&mut self, mut value: Vec<u8>) -> Option<Vec<u8>> {
        value.truncate(self.value);
        self.left = self.left.checked_sub(value.len())?;
        Some(value)
    }

    pub(crate) fn params(&mut self, params: Params) -> Params {
        params
            .into_iter()
            .map_while(|(name, value)| {
                self.left = self.left.checked_sub(Self::SMALL)?;
                Some((self.keep(name)?, self.keep(value)?))
            })
            .collect()
    }

    pub(crate) fn mailboxes(&mut self, list: Vec<Mailbox>) -> Vec<Mailbox> {
        list.into_iter()
            .map_while(|mailbox| {
                let texts = [&mailbox.name, &mailbox.route, &mailbox.local, &mailbox.host];
                let octets: usize = texts.into_iter().flatten().map(Vec::len).sum();
                self.left = self.left.checked_sub(octets + Self::SMALL)?;
                Some(mailbox)
            })
            .collect()
    }

    /// The short names every part has; they are kept in any case.
    pub(crate) fn names(&mut self, part: &mut Part) {
        const LONGEST: usize = 128;
        for name in [&mut part.media, &mut part.subtype, &mut part.encoding] {
            name.truncate(LONGEST);
            self.left = self.left.saturating_sub(name.len());
        }
    }
}
