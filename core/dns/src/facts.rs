//! The table of answers that functions of facts read.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::{Answer, Failure, Question, Record};

/// Octets of a TXT record that are kept. No record of mail is that long: a longer one is kept as one octet more, so that
/// it shows.
const TXT_MAX: usize = 8 * 1024;

/// Answers by question, each written once. One table serves all functions that judge one message, so that they see the
/// same world; it should not live longer than a minute.
#[derive(Debug, Default)]
pub struct Facts {
    limits: FactsLimits,
    table: BTreeMap<Question, Fact>,
    bytes: usize,
}

/// Bounds of [`Facts`]. What comes beyond them is written as [`Failure::Timeout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsLimits {
    /// Answers in the table: 200.
    pub facts: usize,
    /// Octets of all answers, roughly: 256 KiB.
    pub bytes: usize,
    /// Octets of one answer, roughly: 96 KiB, so that no one answer fills the table.
    pub answer: usize,
}

impl Default for FactsLimits {
    fn default() -> Self {
        Self {
            facts: 200,
            bytes: 256 * 1024,
            answer: 96 * 1024,
        }
    }
}

#[derive(Debug)]
struct Fact {
    answer: Answer,
    /// The current run read it. Atomic only so that a table can be shared between threads; nothing synchronises on it.
    demanded: AtomicBool,
}

/// A function of facts lacks answers: pass it up with `?`, and only so. Only [`Facts`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a function that lacks a fact has no verdict"]
pub struct Missing {
    pub(crate) questions: Vec<Question>,
}

impl Missing {
    /// What to ask, at least one question, each once and none that the table answers.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }
}

impl Facts {
    /// An empty table.
    pub fn new(limits: FactsLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The answer to a question.
    pub fn need(&self, question: &Question) -> Result<&Answer, Missing> {
        match self.table.get(question) {
            Some(fact) => {
                fact.demanded.store(true, Ordering::Relaxed);
                Ok(&fact.answer)
            }
            None => Err(Missing {
                questions: Vec::from([question.clone()]),
            }),
        }
    }

    /// The answers to several questions at once, in their order; what is missing is asked at once too.
    pub fn all(&self, questions: &[Question]) -> Result<Vec<&Answer>, Missing> {
        let mut missing: Vec<Question> = Vec::new();
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            match self.need(question) {
                Ok(answer) => answers.push(answer),
                Err(_) if missing.contains(question) => {}
                Err(one) => missing.extend(one.questions),
            }
        }
        if missing.is_empty() {
            Ok(answers)
        } else {
            Err(Missing { questions: missing })
        }
    }

    /// Writes an answer; the first one stays. True when this one was written, false when another stood there or a limit
    /// made it a timeout. Of a TXT record no more is kept than shows that it is too long.
    pub fn insert(&mut self, question: &Question, answer: Answer) -> bool {
        let answer = without_long_texts(answer);
        let weight = answer.weight();
        let fits = !self.is_full()
            && weight <= self.limits.answer
            && self.bytes.saturating_add(weight) <= self.limits.bytes;
        let answer = if fits {
            answer
        } else {
            Answer::failure(Failure::Timeout, 0)
        };
        match self.table.entry(question.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                self.bytes += answer.weight() + question.name().wire_len();
                slot.insert(Fact {
                    answer,
                    demanded: AtomicBool::new(false),
                });
                fits
            }
        }
    }

    /// Whether a question has an answer; reading it this way is no demand.
    pub fn contains(&self, question: &Question) -> bool {
        self.table.contains_key(question)
    }

    /// Whether the next answer would be over a limit whatever it is.
    pub fn is_full(&self) -> bool {
        self.table.len() >= self.limits.facts || self.bytes >= self.limits.bytes
    }

    /// The facts that were read since [`forget_demands`](Self::forget_demands): the record a verdict rests on.
    pub fn demanded(&self) -> impl Iterator<Item = (&Question, &Answer)> {
        self.table
            .iter()
            .filter(|(_, fact)| fact.demanded.load(Ordering::Relaxed))
            .map(|(question, fact)| (question, &fact.answer))
    }

    /// All facts, whether anybody read them or not.
    pub fn iter(&self) -> impl Iterator<Item = (&Question, &Answer)> {
        self.table
            .iter()
            .map(|(question, fact)| (question, &fact.answer))
    }

    /// The smallest TTL of the demanded facts, and whether all of them are authentic. What rests on no fact is neither to
    /// be remembered nor vouched for: 0 and false.
    pub fn basis(&self) -> (u32, bool) {
        self.demanded()
            .map(|(_, answer)| (answer.ttl, answer.authentic))
            .reduce(|(ttl, authentic), (other, its)| (ttl.min(other), authentic && its))
            .unwrap_or((0, false))
    }

    /// A new run begins: nothing was read yet.
    pub fn forget_demands(&mut self) {
        for fact in self.table.values_mut() {
            *fact.demanded.get_mut() = false;
        }
    }

    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True without answers.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

fn without_long_texts(mut answer: Answer) -> Answer {
    let is_long = |record: &Record| matches!(record, Record::Txt(text) if text.len() > TXT_MAX + 1);
    if answer.all().iter().any(is_long) {
        let cut = |record: &Record| match record {
            // A copy: a slice would keep all of it alive.
            Record::Txt(text) if is_long(record) => Record::Txt(Bytes::copy_from_slice(
                text.get(..=TXT_MAX).unwrap_or_default(),
            )),
            record => record.clone(),
        };
        answer.result = Ok(answer.all().iter().map(cut).collect());
    }
    answer
}

/// Recorded facts, for replaying a verdict. Limits do not apply to what was within them once.
impl FromIterator<(Question, Answer)> for Facts {
    fn from_iter<I: IntoIterator<Item = (Question, Answer)>>(facts: I) -> Self {
        let mut all = Self::new(FactsLimits {
            facts: usize::MAX,
            bytes: usize::MAX,
            answer: usize::MAX,
        });
        for (question, answer) in facts {
            all.insert(&question, answer);
        }
        all
    }
}
