//! Pages: the changing facts of up to 128 messages with neighbouring UIDs in one row, about 9 octets a message.
//!
//! A page covers a fixed range of UIDs, so that no page is ever split, and one delivery or flag change rewrites
//! about one kilobyte whatever the size of the mailbox.

use bytes::Bytes;
use mox_machine::Utc;
use mox_uids::Uid;

use crate::varint::{self, Input};
use crate::{Flags, ReadError};

/// What may change about a message, and what listings show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its identifier.
    pub uid: Uid,
    /// When it last changed.
    pub modseq: u64,
    /// Octets, prefix included: RFC822.SIZE.
    pub size: u64,
    /// Internal date, in whole seconds.
    pub date: Utc,
    /// System flags.
    pub flags: Flags,
    /// Indexes into the mailbox's keywords, as bits.
    pub keywords: u64,
}

const VERSION: u8 = 1;
/// UIDs a page covers, as a power of two.
const SHIFT: u32 = 7;
/// Beside the flags: keywords follow.
const HAS_KEYWORDS: u8 = 0x80;

/// The page that holds a UID.
pub(crate) const fn page_of(uid: Uid) -> u32 {
    uid.0 >> SHIFT
}

/// Each row as differences from the one before it: UID, modification sequence and date, then size, flags, keywords.
pub(crate) fn encode(rows: &[Row]) -> Bytes {
    let mut out = Vec::with_capacity(8 + rows.len() * 12);
    out.push(VERSION);
    let (mut uid, mut modseq, mut date) = (0, 0, 0);
    for row in rows {
        let in_page = row.uid.0 & ((1 << SHIFT) - 1);
        varint::put(&mut out, u64::from(in_page - uid));
        varint::put_signed(&mut out, row.modseq.wrapping_sub(modseq) as i64);
        varint::put_signed(&mut out, row.date.secs().wrapping_sub(date));
        varint::put(&mut out, row.size);
        let mark = if row.keywords == 0 { 0 } else { HAS_KEYWORDS };
        out.push(row.flags.0 | mark);
        if row.keywords != 0 {
            varint::put(&mut out, row.keywords);
        }
        (uid, modseq, date) = (in_page, row.modseq, row.date.secs());
    }
    out.into()
}

/// The rows of page number `page`, ascending.
pub(crate) fn decode(page: u32, bytes: &[u8]) -> Result<Vec<Row>, ReadError> {
    let mut input = Input::new(bytes, "page");
    input.version(VERSION)?;
    let mut rows: Vec<Row> = Vec::with_capacity(bytes.len() / 6);
    let (mut uid, mut modseq, mut date) = (0u32, 0u64, 0i64);
    while !input.is_empty() {
        let step = input.number32()?;
        if step == 0 && !rows.is_empty() {
            return Err(input.damaged());
        }
        uid = uid
            .checked_add(step)
            .filter(|&uid| uid < 1 << SHIFT)
            .ok_or_else(|| input.damaged())?;
        modseq = modseq.wrapping_add(input.signed()? as u64);
        date = date.wrapping_add(input.signed()?);
        let size = input.number()?;
        let flags = input.byte()?;
        let keywords = if flags & HAS_KEYWORDS == 0 {
            0
        } else {
            input.number()?
        };
        rows.push(Row {
            uid: Uid(page << SHIFT | uid),
            modseq,
            size,
            date: Utc::from_secs(date),
            flags: Flags(flags) & Flags::ALL,
            keywords,
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(uid: u32, modseq: u64, size: u64, secs: i64, flags: u8, keywords: u64) -> Row {
        Row {
            uid: Uid(uid),
            modseq,
            size,
            date: Utc::from_secs(secs),
            flags: Flags(flags),
            keywords,
        }
    }

    #[test]
    fn a_full_page_of_usual_messages_is_small() {
        let rows: Vec<_> = (0..128)
            .map(|i| {
                row(
                    1024 + i,
                    5_000 + u64::from(i),
                    10_240,
                    1_700_000_000 + 97 * i64::from(i),
                    1,
                    0,
                )
            })
            .collect();
        assert_eq!(page_of(Uid(1024)), page_of(Uid(1151)));
        assert_eq!(encode(&rows).len(), 901);
    }

    #[test]
    fn damaged_pages_are_refused() {
        let bytes = encode(&[row(1, 1, 1, 1, 0, 0), row(2, 1, 1, 1, 0, 7)]);
        for cut in 0..bytes.len() {
            // A cut between two rows leaves a shorter page, which the mailbox's other rows contradict.
            let _ = decode(0, &bytes[..cut]);
        }
        assert!(decode(0, &[]).is_err());
        assert!(decode(0, &[9]).is_err(), "version");
        assert!(
            decode(0, &[1, 0x80, 0x01, 0, 0, 0, 0]).is_err(),
            "beyond the page"
        );
        assert!(
            decode(0, &[1, 1, 2, 2, 1, 0, 0, 2, 2, 1, 0]).is_err(),
            "twice the same"
        );
    }

    proptest! {
        #[test]
        fn pages_are_read_back_as_written(
            page in 0u32..1 << 25,
            rows in proptest::collection::btree_map(
                0u32..128,
                (any::<u64>(), any::<u64>(), -9_000_000_000_000i64..9_000_000_000_000, 0u8..32, any::<u64>()),
                0..128,
            ),
        ) {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(uid, (modseq, size, secs, flags, keywords))| {
                    row(page << 7 | uid, modseq, size, secs, flags, keywords)
                })
                .collect();
            prop_assert_eq!(decode(page, &encode(&rows)), Ok(rows));
        }

        #[test]
        fn any_octets_are_a_page_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(3, &bytes);
        }
    }
}
