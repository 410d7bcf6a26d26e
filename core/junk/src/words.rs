//! The words of a message.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// How much of a message is looked at. None of them is an error: what is beyond is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Distinct words of a message. Default 900.
    pub words: usize,
    /// How many of those may be of its header fields; the others are of its parts, texts and links. Default 200.
    pub field_words: usize,
    /// Characters of a word; of a longer one only its length is noted. Default 30.
    pub word_chars: usize,
    /// Octets of all texts of a message together. Default 512 KiB.
    pub text_octets: usize,
    /// Labels of a host name that are told apart, from the right. Default 4.
    pub labels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            words: 900,
            field_words: 200,
            word_chars: 30,
            text_octets: 512 * 1024,
            labels: 4,
        }
    }
}

/// What a word is known by: a hash of its text, of [`WordId::BITS`] bits. Two words that share one are taken for the same: among
/// a million words that is to be expected of one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WordId(pub u64);

impl WordId {
    /// Bits of an id.
    pub const BITS: u32 = 40;

    /// Of a word with its field before it.
    pub fn of(text: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(text.as_bytes()) >> (u64::BITS - Self::BITS))
    }
}

/// One of the words of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it is known by.
    pub id: WordId,
    /// The word as people may read it, its field before it: `subject:pills`.
    pub text: String,
}

/// The distinct words of a message, in the order they stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    list: Vec<Word>,
    seen: BTreeSet<WordId>,
}

impl Words {
    /// The words.
    pub fn iter(&self) -> core::slice::Iter<'_, Word> {
        self.list.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What the words are known by, in ascending order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = WordId> + '_ {
        self.seen.iter().copied()
    }
}

/// The distinct words of some places. Of more than fit those are kept that come first in an order which follows from a key,
/// wherever they stand: whoever puts other words before those that tell covers as many of them as there are more, and not all.
/// Who does not know the key cannot choose words that come before all others.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    most: usize,
    key: u64,
    /// By their place in that order, with their place in the message.
    words: BTreeMap<u64, (usize, String)>,
}

impl Sample {
    pub(crate) const fn new(most: usize, key: u64) -> Self {
        Self {
            most,
            key,
            words: BTreeMap::new(),
        }
    }

    pub(crate) fn insert(&mut self, at: usize, text: &str) {
        let order = xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), self.key);
        if self.words.contains_key(&order) {
            return;
        }
        if self.words.len() >= self.most {
            match self.words.last_key_value() {
                Some((last, _)) if *last > order => self.words.pop_last(),
                _ => return,
            };
        }
        self.words.insert(order, (at, text.into()));
    }
}

impl FromIterator<Sample> for Words {
    fn from_iter<S: IntoIterator<Item = Sample>>(samples: S) -> Self {
        let all = samples.into_iter().flat_map(|s| s.words.into_values());
        let mut all: Vec<(usize, String)> = all.collect();
        all.sort_unstable_by_key(|(at, _)| *at);
        let mut words = Self::default();
        for (_, text) in all {
            let id = WordId::of(&text);
            if words.seen.insert(id) {
                words.list.push(Word { id, text });
            }
        }
        words
    }
}
