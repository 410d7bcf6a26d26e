//! What can be seen of a world from outside, hashed.

use mox_machine::Mono;
use std::collections::{BTreeMap, VecDeque};

/// Facts kept in words for a message about what went wrong.
const KEPT: usize = 40;
/// Bytes of a fact kept in words.
const SHOWN: usize = 60;

/// The record of one world: a chain of hashes over all facts, of which a piece of each is kept.
#[derive(Clone, Default)]
pub struct Trace {
    /// Of the hash before and the fact, so that each costs one short hash however long the record is.
    hash: [u8; 32],
    /// The first 8 bytes of the hash after each fact, to find the first difference of two runs.
    prefixes: Vec<u64>,
    last: VecDeque<Fact>,
    counts: BTreeMap<&'static str, u64>,
    /// The first panic.
    panic: Option<String>,
    /// All facts in words are kept, not only the last.
    keeps_all: bool,
}

/// One fact as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// When.
    pub at: Mono,
    /// What kind of fact.
    pub kind: &'static str,
    /// Whose: the number of a task, connection, computer, or a figure.
    pub who: u64,
    /// Its first bytes.
    pub bytes: Vec<u8>,
}

impl Trace {
    /// The hash over all facts.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Facts recorded.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The number of the first fact in which two worlds differ; `None` if they are equal.
    pub fn first_difference(&self, other: &Self) -> Option<usize> {
        let common = self.prefixes.iter().zip(&other.prefixes);
        match common.enumerate().find(|(_, (a, b))| a != b) {
            Some((at, _)) => Some(at),
            None if self.len() == other.len() => None,
            None => Some(self.len().min(other.len())),
        }
    }

    /// How many facts of each kind there are.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Octets that it takes, which grow with the world and belong to nobody in it.
    pub fn octets(&self) -> usize {
        self.prefixes.capacity() * size_of::<u64>()
    }

    /// What the first panic in it said.
    pub fn first_panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// From now on every fact is kept in words.
    pub fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// The last facts in words.
    pub fn last(&self) -> impl Iterator<Item = &Fact> {
        self.last.iter()
    }

    pub(crate) fn record(&mut self, at: Mono, kind: &'static str, who: u64, bytes: &[u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.hash);
        hasher.update(&at.0.to_le_bytes());
        hasher.update(&who.to_le_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(kind.as_bytes());
        hasher.update(bytes);
        self.hash = *hasher.finalize().as_bytes();
        let [a, b, c, d, e, f, g, h, ..] = self.hash;
        self.prefixes
            .push(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        *self.counts.entry(kind).or_default() += 1;
        if kind == "panic" && self.panic.is_none() {
            self.panic = Some(String::from_utf8_lossy(bytes).into_owned());
        }
        if self.last.len() == KEPT && !self.keeps_all {
            self.last.pop_front();
        }
        let bytes = bytes.iter().take(SHOWN).copied().collect();
        self.last.push_back(Fact {
            at,
            kind,
            who,
            bytes,
        });
    }
}

impl core::fmt::Debug for Trace {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        writeln!(f, "{} facts, the last:", self.len())?;
        for fact in &self.last {
            writeln!(f, "{fact}")?;
        }
        Ok(())
    }
}

impl core::fmt::Display for Fact {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let at = self.at.0 / 1_000;
        let (kind, who, bytes) = (self.kind, self.who, self.bytes.escape_ascii());
        write!(f, "{at:>12} us  {kind:<12} {who:>6}  {bytes}")
    }
}
