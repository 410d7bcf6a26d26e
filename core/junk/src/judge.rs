//! How likely a message is junk, and which words say so.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Counts, WordId, Words};

/// How counts are weighed. The defaults were chosen by cross-validation, see `docs/junk.md`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// A message with a probability above this is spam. Default 0.7.
    pub threshold: f64,
    /// Messages added to each count, so that nothing is impossible for never having been seen. Default 0.02.
    pub smoothing: f64,
    /// Messages of doubt: a word seen in n has n/(n+doubt) of its weight. Default 0.3.
    pub doubt: f64,
    /// A word with less weight than this says nothing. Default 0.4.
    pub least: f64,
    /// Words that decide, those of most weight, at most. Default 150.
    pub words: usize,
    /// Words come in company, so n of them weigh like n^(1-damping). Default 0.8.
    pub damping: f64,
    /// Messages of either class that must have been learned before a judgement means anything. Default 50.
    pub significant: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            threshold: 0.7,
            smoothing: 0.02,
            doubt: 0.3,
            least: 0.4,
            words: 150,
            damping: 0.8,
            significant: 50,
        }
    }
}

/// What a filter says of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// How likely the message is spam, from 0 to 1; 0.5 when nothing of it is known.
    pub probability: f64,
    /// The same unbounded: the logarithm of the odds, the sum of the weights of `deciding`.
    pub log_odds: f64,
    /// The probability is above the threshold.
    pub is_spam: bool,
    /// Enough was learned, of either class, for this to mean something.
    pub is_significant: bool,
    /// Messages that were learned.
    pub learned: Counts,
    /// Words of the message.
    pub words: usize,
    /// Those that were ever learned.
    pub known: usize,
    /// The words that decided, those of most weight first.
    pub deciding: Vec<Deciding>,
}

/// A word that decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Deciding {
    /// The word as people may read it.
    pub word: String,
    /// Learned messages it was in.
    pub counts: Counts,
    /// What it added to the logarithm of the odds: above 0 for spam, below for ham.
    pub weight: f64,
}

/// The probability that the logarithm of the odds stands for.
pub fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-log_odds))
}

/// Weighs the words of a message. `counts` looks up what was learned of a word.
pub fn judge(
    words: &Words,
    learned: Counts,
    parameters: &Parameters,
    mut counts: impl FnMut(WordId) -> Counts,
) -> Judgement {
    let mut known = 0;
    let mut weighed: Vec<(&str, Counts, f64)> = Vec::new();
    // With one class alone there is nothing to compare with.
    if learned.ham > 0 && learned.spam > 0 {
        for word in words.iter() {
            let counts = counts(word.id);
            if counts.is_zero() {
                continue;
            }
            known += 1;
            let weight = weight(counts, learned, parameters);
            if weight.abs() >= parameters.least {
                weighed.push((&word.text, counts, weight));
            }
        }
    }
    weighed.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    weighed.truncate(parameters.words);
    // A count of words is far below 2^53.
    let damped = libm::pow(weighed.len().max(1) as f64, parameters.damping);
    let deciding: Vec<Deciding> = weighed
        .into_iter()
        .map(|(word, counts, weight)| Deciding {
            word: word.into(),
            counts,
            weight: weight / damped,
        })
        .collect();
    let log_odds: f64 = deciding.iter().map(|word| word.weight).sum();
    let probability = probability(log_odds);
    Judgement {
        probability,
        log_odds,
        is_spam: probability > parameters.threshold,
        is_significant: learned.ham.min(learned.spam) >= parameters.significant,
        learned,
        words: words.len(),
        known,
        deciding,
    }
}

/// The logarithm of how much more often a word is in spam than in ham, less the doubt about it.
fn weight(counts: Counts, learned: Counts, parameters: &Parameters) -> f64 {
    let share = |count: u32, of: u32| {
        let smoothing = parameters.smoothing;
        // A word is in no more messages than were learned, unless the counts are damaged.
        (f64::from(count.min(of)) + smoothing) / (f64::from(of) + 2.0 * smoothing)
    };
    let ratio = libm::log(share(counts.spam, learned.spam) / share(counts.ham, learned.ham));
    let seen = f64::from(counts.ham) + f64::from(counts.spam);
    ratio * (seen / (seen + parameters.doubt))
}
