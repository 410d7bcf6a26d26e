//! A filter that learns from mail which was junk and which was not, and says of new mail how likely it is junk, and why.
//!
//! - [`Extractor`] makes [`Words`] of the texts of a message: words with the field they stand in, pairs of words, hosts
//!   of addresses and links. A word is known by its [`WordId`]; its text is only for people.
//! - [`Counts`] are what is learned: in how many messages of each [`Class`] a word was. Learning a message adds one to each
//!   of its words and to the totals; unlearning takes exactly that away again.
//! - [`judge`] weighs the words of a message by their counts. Its [`Judgement`] is a sum: the weight of each word that
//!   decided is in it, and they add up to the verdict.
//!
//! Nothing is kept here: whoever has the counts looks them up. Logarithms are those of libm, so that a judgement is the same
//! to the bit on every machine. Nothing a message holds can make any of this fail; what is looked at is bounded by [`Limits`].
//!
//! ```
//! use std::collections::BTreeMap;
//! use mox_junk::{Class, Counts, Extractor, Limits, Parameters, Place, Words, judge};
//!
//! fn words(subject: &str) -> Words {
//!     let mut extractor = Extractor::new(Limits::default());
//!     extractor.push(Place::Field("subject"), subject);
//!     extractor.finish()
//! }
//!
//! let (mut known, mut totals) = (BTreeMap::new(), Counts::default());
//! for (class, subject) in [(Class::Ham, "lunch on Monday"), (Class::Spam, "cheap pills on sale")] {
//!     totals.add(class);
//!     for word in words(subject).iter() {
//!         known.entry(word.id).or_insert(Counts::default()).add(class);
//!     }
//! }
//! let judgement = judge(&words("pills, cheap"), totals, &Parameters::default(), |id| {
//!     known.get(&id).copied().unwrap_or_default()
//! });
//! assert!(judgement.is_spam && judgement.probability > 0.8);
//! assert_eq!(judgement.deciding[0].word, "subject:pills");
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod counts;
mod extract;
mod judge;
mod token;
mod words;

pub use counts::{Class, Counts};
pub use extract::{Extractor, FEATURES, Place};
pub use judge::{Deciding, Judgement, Parameters, judge, probability};
pub use words::{Limits, Word, WordId, Words};
