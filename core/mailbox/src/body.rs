//! Message bodies: what the engine knows of one, and the 128 octets each begins with.

use bytes::Bytes;
use core::fmt;
use mox_machine::Utc;
use mox_uids::Uid;
use serde::{Deserialize, Serialize};

use crate::{AccountId, BodyId, INLINE_BODY_MAX, MailboxId};

/// A stored body, as rows refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyRef {
    /// Its number.
    pub id: BodyId,
    /// Octets, without the [`BodyHeader`].
    pub length: u64,
    /// Of these octets.
    pub blake3: [u8; 32],
}

impl BodyRef {
    /// Whether it is a row of [`Space::Bodies`](crate::Space::Bodies) rather than a file: its length alone decides.
    pub const fn is_inline(&self) -> bool {
        self.length <= INLINE_BODY_MAX as u64
    }
}

/// A body that no row refers to yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBody {
    /// Its number, never used before.
    pub id: BodyId,
    /// Octets, without the [`BodyHeader`].
    pub length: u64,
    /// Of these octets.
    pub blake3: [u8; 32],
    /// The octets themselves, without header, up to [`INLINE_BODY_MAX`]; `None` when a file holds them, which is
    /// synced together with its directory (S1).
    pub inline: Option<Bytes>,
}

impl NewBody {
    /// What rows will say of it.
    pub const fn stored(&self) -> BodyRef {
        BodyRef {
            id: self.id,
            length: self.length,
            blake3: self.blake3,
        }
    }
}

/// What stands before a body's octets, in its file or its row: enough to salvage it when all rows are lost (S9).
///
/// The body of a message for several recipients names the first. A file is written before its message has a UID;
/// `uid` is 0 then, and so is `mailbox` when it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHeader {
    /// Which body.
    pub body: BodyRef,
    /// Of the first recipient, or the sender of a queued message.
    pub account: AccountId,
    /// Where it was put first; 0 when unknown.
    pub mailbox: MailboxId,
    /// Its UID there; 0 when unknown.
    pub uid: Uid,
    /// Its internal date.
    pub date: Utc,
}

/// Why 128 octets are not a [`BodyHeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyHeaderError {
    /// Fewer than 128 octets.
    Short,
    /// They do not begin as one does.
    NotOne,
    /// Written by a later program; its version.
    Version(u8),
    /// Its checksum is wrong.
    Damaged,
}

impl fmt::Display for BodyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("a body is shorter than its header"),
            Self::NotOne => f.write_str("a body does not begin with a body header"),
            Self::Version(v) => write!(f, "a body header has version {v}, which is not known"),
            Self::Damaged => f.write_str("a body header is damaged"),
        }
    }
}

impl std::error::Error for BodyHeaderError {}

const MAGIC: &[u8; 8] = b"mox body";
const VERSION: u8 = 1;
const CHECKED: usize = 120;

impl BodyHeader {
    /// Octets of the written form.
    pub const LEN: usize = 128;

    /// Writes it. All numbers big-endian: magic 0..8, version 8, boot 12..16, counter 16..24, account 24..28, mailbox
    /// 28..32, uid 32..36, date 40..48, length 48..56, blake3 56..88, checksum of 0..120 120..128; the rest is zero.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let fields: [(usize, &[u8]); 10] = [
            (0, MAGIC),
            (8, &[VERSION]),
            (12, &self.body.id.boot.to_be_bytes()),
            (16, &self.body.id.counter.to_be_bytes()),
            (24, &self.account.0.to_be_bytes()),
            (28, &self.mailbox.0.to_be_bytes()),
            (32, &self.uid.0.to_be_bytes()),
            (40, &self.date.0.to_be_bytes()),
            (48, &self.body.length.to_be_bytes()),
            (56, &self.body.blake3),
        ];
        for (at, bytes) in fields {
            put(&mut out, at, bytes);
        }
        let sum = checksum(&out);
        put(&mut out, CHECKED, &sum);
        out
    }

    /// Reads it from the first 128 octets of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyHeaderError> {
        let header: &[u8; Self::LEN] = bytes.first_chunk().ok_or(BodyHeaderError::Short)?;
        if !header.starts_with(MAGIC) {
            return Err(BodyHeaderError::NotOne);
        }
        let [version] = take::<1>(header, 8);
        if version != VERSION {
            return Err(BodyHeaderError::Version(version));
        }
        if checksum(header) != take::<8>(header, CHECKED) {
            return Err(BodyHeaderError::Damaged);
        }
        let u32_at = |at| u32::from_be_bytes(take(header, at));
        Ok(Self {
            body: BodyRef {
                id: BodyId {
                    boot: u32_at(12),
                    counter: u64::from_be_bytes(take(header, 16)),
                },
                length: u64::from_be_bytes(take(header, 48)),
                blake3: take(header, 56),
            },
            account: AccountId(u32_at(24)),
            mailbox: MailboxId(u32_at(28)),
            uid: Uid(u32_at(32)),
            date: Utc(i64::from_be_bytes(take(header, 40))),
        })
    }
}

fn checksum(header: &[u8; BodyHeader::LEN]) -> [u8; 8] {
    let checked = header.first_chunk::<CHECKED>().map_or(&[][..], |c| &c[..]);
    take(blake3::hash(checked).as_bytes(), 0)
}

fn put(out: &mut [u8; BodyHeader::LEN], at: usize, bytes: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// `N` octets from `at`, zeros where there are none.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BodyHeader {
        BodyHeader {
            body: BodyRef {
                id: BodyId {
                    boot: 3,
                    counter: 0x0102_0304_0506,
                },
                length: 70_000,
                blake3: [0xab; 32],
            },
            account: AccountId(7),
            mailbox: MailboxId(2),
            uid: Uid(99),
            date: Utc(-5),
        }
    }

    #[test]
    fn a_header_is_read_back_as_written() {
        let bytes = header().encode();
        assert_eq!(BodyHeader::decode(&bytes), Ok(header()));
        assert_eq!(bytes[..12], *b"mox body\x01\0\0\0");
        assert_eq!(
            bytes[12..24],
            [0, 0, 0, 3, 0, 0, 1, 2, 3, 4, 5, 6],
            "body id"
        );
    }

    #[test]
    fn any_changed_octet_is_noticed() {
        let bytes = header().encode();
        for i in 0..BodyHeader::LEN {
            let mut damaged = bytes;
            damaged[i] ^= 0x40;
            assert!(BodyHeader::decode(&damaged).is_err(), "octet {i}");
        }
        assert_eq!(
            BodyHeader::decode(&bytes[..127]),
            Err(BodyHeaderError::Short)
        );
    }
}
