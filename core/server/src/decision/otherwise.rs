//! What of a message's content would have to be otherwise for a decision to be another one.

use serde::{Deserialize, Serialize};

use super::content::CONTENT_WORDS_MAX;
use super::decide::{Verdict, Weight, decide};
use super::facts::{Facts, Recipient, Settings};
use super::rules::CONTENT;

/// How many steps there are from 0 to 1: four places behind the point. What has no more of them is read from JSON as it was written.
const PLACES: f64 = 10_000.0;

/// What would have let a message through whose content was too much like junk. Either is enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Otherwise {
    /// The words that would have to be missing, of those that decided, the ones of most weight first; none where the message
    /// would be refused without all of them.
    pub without: Vec<String>,
    /// So many of those that are not in the record would have to be missing too.
    pub and_others: usize,
    /// What the probability would be without them, to four places.
    pub probability: f64,
    /// The threshold that would do.
    pub threshold: f64,
    /// Which settings of the account would have to be that.
    pub settings: String,
}

/// One setting that is made larger.
type Raise = fn(&mut Settings, f64);

/// The settings that may be the ones, and their names.
const RAISED: [(&str, Raise); 3] = [
    ("threshold", |settings, to| {
        settings.junk_threshold = settings.junk_threshold.max(to);
    }),
    ("strict_threshold", |settings, to| {
        settings.strict_threshold = settings.strict_threshold.max(to);
    }),
    ("threshold and strict_threshold", |settings, to| {
        settings.junk_threshold = settings.junk_threshold.max(to);
        settings.strict_threshold = settings.strict_threshold.max(to);
    }),
];

/// `None` where the content did not speak against the message, or something else would too.
pub(super) fn otherwise(
    facts: &Facts,
    recipient: &Recipient,
    turned: &impl Fn(Verdict) -> bool,
) -> Option<Otherwise> {
    let content = recipient.content.as_ref()?;
    let rules = decide(facts, recipient).rules;
    let mut rules = rules.iter();
    if !rules.any(|rule| rule.name == CONTENT && rule.weight == Weight::Against) {
        return None;
    }
    let decided = |change: &dyn Fn(&mut Recipient)| {
        let mut other = recipient.clone();
        change(&mut other);
        decide(facts, &other).verdict
    };
    let threshold = at_least(content.probability);
    let raised = RAISED.into_iter().find(|(_, raise)| {
        turned(decided(&|other: &mut Recipient| {
            raise(&mut other.settings, threshold);
        }))
    });
    let (settings, _) = raised?;
    let mut lacking = (1..=CONTENT_WORDS_MAX + 1).map(|count| content.without(count));
    let lacking = lacking.find(|(rest, ..)| {
        turned(decided(&|other: &mut Recipient| {
            other.content = Some(rest.clone());
        }))
    });
    let (probability, without, and_others) = match lacking {
        Some((rest, without, others)) => (rest.probability, without, others),
        None => (content.probability, Vec::new(), 0),
    };
    Some(Otherwise {
        without,
        and_others,
        probability: (probability * PLACES).round() / PLACES,
        threshold,
        settings: settings.to_owned(),
    })
}

/// The smallest threshold of a few places that a probability is not above.
fn at_least(probability: f64) -> f64 {
    let near = (probability * PLACES).ceil() / PLACES;
    let enough = match near < probability {
        true => near + 1.0 / PLACES,
        false => near,
    };
    enough.min(1.0)
}
