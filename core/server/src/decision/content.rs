//! What the junk filter of a recipient says of a message, as a fact of a decision.

use mox_junk::{Deciding, Judgement, probability};
use serde::{Deserialize, Serialize};

/// Words that are kept of those that decided: the ones of most weight. The others are kept as a sum.
pub const CONTENT_WORDS_MAX: usize = 15;
/// How far the probability may be from what the weights add up to, for having been added in another order.
const ROUNDING: f64 = 1e-9;

/// What the junk filter says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// From 0 (not junk) to 1.
    pub probability: f64,
    /// The filter has learned from enough mail of both kinds.
    pub is_significant: bool,
    /// Messages that it has learned as not junk, and as junk.
    pub learned: (u32, u32),
    /// The words that decided, those of most weight first, at most [`CONTENT_WORDS_MAX`].
    pub words: Vec<ContentWord>,
    /// How many more decided.
    pub others: usize,
    /// What they add up to.
    pub others_weight: f64,
    /// Why nothing can be said: then all else is nothing too.
    pub problem: Option<String>,
}

/// A word that decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentWord {
    /// The word, the field it stands in before it.
    pub word: String,
    /// What it adds to the logarithm of the odds: above 0 for junk.
    pub weight: f64,
    /// Messages it was in, of those that are not junk and of those that are.
    pub counts: (u32, u32),
}

impl Content {
    /// What can be kept of a judgement.
    pub fn of(judgement: &Judgement) -> Self {
        let deciding = &judgement.deciding;
        let word = |word: &Deciding| ContentWord {
            word: word.word.clone(),
            weight: word.weight,
            counts: (word.counts.ham, word.counts.spam),
        };
        let others = deciding.get(CONTENT_WORDS_MAX..).unwrap_or_default();
        Self {
            probability: judgement.probability,
            is_significant: judgement.is_significant,
            learned: (judgement.learned.ham, judgement.learned.spam),
            words: deciding.iter().take(CONTENT_WORDS_MAX).map(word).collect(),
            others: others.len(),
            others_weight: others.iter().map(|word| word.weight).sum(),
            problem: None,
        }
    }

    /// Where message or filter could not be read.
    pub fn failed(why: String) -> Self {
        Self {
            probability: 0.5,
            is_significant: false,
            learned: (0, 0),
            words: Vec::new(),
            others: 0,
            others_weight: 0.0,
            problem: Some(why),
        }
    }

    /// Whether the weights add up to the probability.
    pub fn adds_up(&self) -> bool {
        let kept: f64 = self.words.iter().map(|word| word.weight).sum();
        let log_odds = kept + self.others_weight;
        (probability(log_odds) - self.probability).abs() <= ROUNDING
    }

    /// The same without so many of the words that speak for junk, those of most weight first; with one more than are kept also
    /// without the others. What is gone: the words, and how many others.
    pub(super) fn without(&self, count: usize) -> (Self, Vec<String>, usize) {
        let mut rest = self.clone();
        let mut gone = Vec::new();
        rest.words.retain(|word| {
            let goes = word.weight > 0.0 && gone.len() < count;
            if goes {
                gone.push(word.word.clone());
            }
            !goes
        });
        let mut others = 0;
        if gone.len() < count && self.others_weight > 0.0 {
            others = core::mem::take(&mut rest.others);
            rest.others_weight = 0.0;
        }
        let kept: f64 = rest.words.iter().map(|word| word.weight).sum();
        rest.probability = probability(kept + rest.others_weight);
        (rest, gone, others)
    }

    /// For people.
    pub(super) fn evidence(&self) -> impl Iterator<Item = (&'static str, String)> {
        let (ham, junk) = self.learned;
        let learned = ("learned", format!("{ham} not junk, {junk} junk"));
        let words = self.words.iter().map(|w| {
            let (ham, junk) = w.counts;
            (
                "word",
                format!("{} {:+.4} ({ham}, {junk})", w.word, w.weight),
            )
        });
        let more = format!("{:+.4} of {} more", self.others_weight, self.others);
        let more = (self.others > 0).then_some(("words", more));
        core::iter::once(learned).chain(words).chain(more)
    }
}
