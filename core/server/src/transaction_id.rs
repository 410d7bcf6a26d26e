//! The id of a mail transaction: what Received fields, replies, the log and records call it. It tells nobody anything but
//! whoever has the key: that it was made here, and when.

/// Bits of the second it was made in, since 1970: till the year 2514.
const SECOND_BITS: u32 = 34;
/// Bits of a number that tells those of one second apart.
const NUMBER_BITS: u32 = 26;
/// Bits of a half of it.
const HALF_BITS: u32 = 30;
const HALF: u64 = (1 << HALF_BITS) - 1;
const ROUNDS: u8 = 8;
/// Characters of an id, five bits each.
const LENGTH: usize = 12;
/// Without those that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Makes ids and reads them.
#[derive(Clone)]
pub struct TransactionIds {
    key: [u8; 32],
}

impl core::fmt::Debug for TransactionIds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TransactionIds")
    }
}

impl TransactionIds {
    /// Ids under this key.
    pub const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The id of the nth transaction, at this second.
    pub fn id(&self, second: i64, n: u64) -> String {
        let second = second.cast_unsigned() & ((1 << SECOND_BITS) - 1);
        let plain = second << NUMBER_BITS | n & ((1 << NUMBER_BITS) - 1);
        let (mut left, mut right) = (plain >> HALF_BITS, plain & HALF);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.mix(round, right));
        }
        let hidden = left << HALF_BITS | right;
        let character = |at: usize| {
            let five = (hidden >> (5 * (LENGTH - 1 - at))) & 31;
            let known = usize::try_from(five).ok().and_then(|n| ALPHABET.get(n));
            known.copied().map(char::from)
        };
        (0..LENGTH).filter_map(character).collect()
    }

    /// The second in which an id was made; any second for one that was not made with this key, `None` for what is no id.
    pub fn second(&self, id: &str) -> Option<i64> {
        if id.len() != LENGTH {
            return None;
        }
        let mut hidden = 0;
        for octet in id.bytes() {
            let five = ALPHABET.iter().position(|known| *known == octet)?;
            hidden = hidden << 5 | u64::try_from(five).ok()?;
        }
        let (mut left, mut right) = (hidden >> HALF_BITS, hidden & HALF);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.mix(round, left), left);
        }
        let plain = left << HALF_BITS | right;
        i64::try_from(plain >> NUMBER_BITS).ok()
    }

    /// The function of a round of the Feistel network.
    fn mix(&self, round: u8, half: u64) -> u64 {
        let mut input = [round; 9];
        for (to, from) in input.iter_mut().zip(half.to_be_bytes()) {
            *to = from;
        }
        let hash = blake3::keyed_hash(&self.key, &input);
        let start = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(start) & HALF
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_id_tells_its_second_to_who_has_the_key_and_nothing_to_others() {
        let (ours, other) = (TransactionIds::new([1; 32]), TransactionIds::new([2; 32]));
        let now = 1_764_201_600;
        let mut ids = BTreeSet::new();
        for n in 0..1_000 {
            let second = now + i64::try_from(n / 10).unwrap();
            let id = ours.id(second, n);
            assert_eq!(id.len(), LENGTH);
            assert_eq!(ours.second(&id), Some(second));
            assert_ne!(other.second(&id), Some(second));
            ids.insert(id);
        }
        assert_eq!(ids.len(), 1_000);
        // One more than the counter holds is another second's, or the first again: never an error.
        assert_eq!(ours.second(&ours.id(now, u64::MAX)), Some(now));
        for no_id in ["", "abc", "ABCDEFGHIJKM", "abcdefghijkl", "äbcdefghijk"] {
            assert_eq!(ours.second(no_id), None, "{no_id}");
        }
    }
}
