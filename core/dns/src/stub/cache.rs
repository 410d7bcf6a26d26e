//! Remembers answers, absences and failures for as long as they say.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use mox_machine::Mono;

use crate::{Answer, Question};

/// Bounds of a [`Cache`]. Beyond them what expires first is forgotten first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLimits {
    /// Answers: 10,000.
    pub answers: usize,
    /// Octets of all answers, roughly: 4 MiB.
    pub bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            answers: 10_000,
            bytes: 4 * 1024 * 1024,
        }
    }
}

/// Answers by question, each for its TTL.
#[derive(Debug, Default)]
pub struct Cache {
    limits: CacheLimits,
    entries: BTreeMap<Question, Entry>,
    /// In the order in which they expire.
    expiry: BTreeSet<(Mono, Question)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    expires: Mono,
    weight: usize,
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The remembered answer, its TTL being what is left of it.
    pub fn get(&self, question: &Question, now: Mono) -> Option<Answer> {
        let entry = self.entries.get(question)?;
        let left = u32::try_from(entry.expires.since(now).as_secs()).unwrap_or(u32::MAX);
        (entry.expires > now).then(|| Answer {
            ttl: left,
            ..entry.answer.clone()
        })
    }

    /// Remembers an answer in place of an older one; one without TTL only makes the older one forgotten.
    pub fn put(&mut self, question: &Question, answer: Answer, now: Mono) {
        self.remove(question);
        while let Some((expires, question)) = self.expiry.first().cloned() {
            if expires > now {
                break;
            }
            self.remove(&question);
        }
        let weight = answer.weight() + 2 * (size_of::<Question>() + question.name().wire_len());
        if answer.ttl == 0 || weight > self.limits.bytes || self.limits.answers == 0 {
            return;
        }
        while self.entries.len() >= self.limits.answers || self.bytes + weight > self.limits.bytes {
            let Some((_, first)) = self.expiry.first().cloned() else {
                return;
            };
            self.remove(&first);
        }
        let expires = now + Duration::from_secs(u64::from(answer.ttl));
        self.bytes += weight;
        self.expiry.insert((expires, question.clone()));
        self.entries.insert(
            question.clone(),
            Entry {
                answer,
                expires,
                weight,
            },
        );
    }

    /// How many answers are held, expired ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without answers.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.bytes -= entry.weight;
            self.expiry.remove(&(entry.expires, question.clone()));
        }
    }
}
