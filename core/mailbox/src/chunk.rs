//! Which UIDs a mailbox has, and which of them are not seen: rows of 4,096 UIDs, so that SELECT reads a few small rows
//! and a delivery rewrites one, however the mailbox was thinned out.

use bytes::Bytes;
use core::ops::RangeInclusive;
use mox_uids::{Uid, UidSet};

use crate::ReadError;
use crate::varint::{self, Input};

const VERSION: u8 = 1;
/// UIDs a chunk covers, as a power of two.
const SHIFT: u32 = 12;
const WORDS: usize = 1 << (SHIFT - 6);
const OCTETS: usize = WORDS * 8;
/// As runs: a count, then pairs of gap and length.
const RUNS: u8 = 0;
/// As bits.
const BITS: u8 = 1;

/// The chunk that holds a UID.
pub(crate) const fn chunk_of(uid: Uid) -> u32 {
    uid.0 >> SHIFT
}

/// Up to 4,096 UIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits([u64; WORDS]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Bits {
    /// Sets or clears the bit of a UID of this chunk.
    pub(crate) fn set(&mut self, uid: Uid, on: bool) {
        let at = uid.0 & ((1 << SHIFT) - 1);
        if let Some(word) = self.0.get_mut((at >> 6) as usize) {
            let bit = 1 << (at & 63);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// The offset of the first bit at or behind `from` that is `on`; 4,096 when there is none.
    fn next(&self, from: u32, on: bool) -> u32 {
        let mut at = from;
        while let Some(&word) = self.0.get((at >> 6) as usize) {
            let word = if on { word } else { !word } >> (at & 63);
            if word != 0 {
                return at + word.trailing_zeros();
            }
            at = (at | 63) + 1;
        }
        1 << SHIFT
    }

    /// Runs of offsets, ascending.
    fn offsets(&self) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let first = self.next(at, true);
            if first >= 1 << SHIFT {
                return None;
            }
            at = self.next(first, false);
            Some(first..=at - 1)
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut runs = Vec::new();
        let (mut behind, mut count) = (0, 0);
        for run in self.offsets() {
            varint::put(&mut runs, u64::from(run.start() - behind));
            varint::put(&mut runs, u64::from(run.end() - run.start()));
            behind = run.end() + 1;
            count += 1;
            if runs.len() > OCTETS {
                break;
            }
        }
        if runs.len() > OCTETS {
            out.push(BITS);
            self.0
                .iter()
                .for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        } else {
            out.push(RUNS);
            varint::put(out, count);
            out.extend_from_slice(&runs);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, ReadError> {
        let mut bits = Self::default();
        match input.byte()? {
            BITS => {
                for word in &mut bits.0 {
                    *word = u64::from_le_bytes(input.chunk()?);
                }
            }
            RUNS => {
                let mut at = 0u32;
                for _ in 0..input.number32()? {
                    let (gap, more) = (input.number32()?, input.number32()?);
                    let first = at.checked_add(gap);
                    let last = first.and_then(|first| first.checked_add(more));
                    let (Some(first), Some(last)) = (first, last) else {
                        return Err(input.damaged());
                    };
                    if last >= 1 << SHIFT {
                        return Err(input.damaged());
                    }
                    (first..=last).for_each(|offset| bits.set(Uid(offset), true));
                    at = last + 1;
                }
            }
            _ => return Err(input.damaged()),
        }
        Ok(bits)
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chunk {
    /// The messages there are.
    pub(crate) all: Bits,
    /// Those without \Seen.
    pub(crate) unseen: Bits,
}

impl Chunk {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        self.all.put(&mut out);
        self.unseen.put(&mut out);
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut input = Input::new(bytes, "UIDs");
        input.version(VERSION)?;
        let chunk = Self {
            all: Bits::take(&mut input)?,
            unseen: Bits::take(&mut input)?,
        };
        input.end()?;
        Ok(chunk)
    }
}

/// The UIDs that stand for `bits` in chunk number `chunk`.
pub(crate) fn uids(chunk: u32, bits: &Bits) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
    let base = chunk << SHIFT;
    bits.offsets()
        .map(move |run| base | run.start()..=base | run.end())
}

/// A set of any UIDs as a row: the runs, each as gap and length.
pub(crate) fn encode_set(out: &mut Vec<u8>, set: &UidSet) {
    varint::put(out, set.runs().len() as u64);
    let mut behind = 0;
    for run in set.runs() {
        varint::put(out, u64::from(run.start() - behind));
        varint::put(out, u64::from(run.end() - run.start()));
        behind = run.end().saturating_add(1);
    }
}

pub(crate) fn decode_set(input: &mut Input<'_>) -> Result<UidSet, ReadError> {
    let count = input.number32()?;
    let mut runs = Vec::new();
    let mut behind = 0u32;
    for _ in 0..count {
        let (gap, more) = (input.number32()?, input.number32()?);
        let first = behind.checked_add(gap);
        let last = first.and_then(|first| first.checked_add(more));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(input.damaged());
        };
        runs.push(first..=last);
        behind = last.saturating_add(1);
    }
    Ok(UidSet::from_runs(runs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dense_chunk_is_a_few_octets_and_the_worst_one_about_a_kilobyte() {
        let mut chunk = Chunk::default();
        (0..4096).for_each(|uid| chunk.all.set(Uid(uid), true));
        assert_eq!(chunk.encode().len(), 8);
        (0..4096).for_each(|uid| chunk.all.set(Uid(uid), uid % 2 == 0));
        chunk.unseen = chunk.all.clone();
        assert_eq!(chunk.encode().len(), 1 + 2 * (1 + OCTETS));
    }

    proptest! {
        #[test]
        fn chunks_are_read_back_as_written(
            members in proptest::collection::btree_set(0u32..4096, 0..600),
            step in 1u32..5,
        ) {
            let mut chunk = Chunk::default();
            for &uid in &members {
                chunk.all.set(Uid(uid), true);
                chunk.unseen.set(Uid(uid), uid % step == 0);
            }
            prop_assert_eq!(&Chunk::decode(&chunk.encode()).unwrap(), &chunk);
            let set = UidSet::from_runs(uids(2, &chunk.all));
            let expected: UidSet = members.iter().map(|uid| Uid(8192 + uid)).collect();
            prop_assert_eq!(&set, &expected);
            let mut out = Vec::new();
            encode_set(&mut out, &set);
            prop_assert_eq!(decode_set(&mut Input::new(&out, "set")).unwrap(), set);
        }

        #[test]
        fn any_octets_are_a_chunk_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Chunk::decode(&bytes);
            let _ = decode_set(&mut Input::new(&bytes, "set"));
        }
    }
}
