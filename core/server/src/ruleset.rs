//! Rulesets of an account: where mail goes that is like this or that, and what holds for it beside. The first one that
//! matches a message counts.

use std::sync::Arc;

use mox_address::Domain;
use mox_mime::header::{self, Field};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::decision::Facts;

/// Octets of a pattern at most.
pub const PATTERN_MAX: usize = 1_000;
/// Rulesets of an account at most.
pub const RULESETS_MAX: usize = 100;
/// Pairs of patterns for header fields in a ruleset at most.
pub const HEADER_PATTERNS_MAX: usize = 20;
/// Octets of memory that a pattern may take when it is read.
const PATTERN_SIZE_MAX: usize = 256 * 1024;
/// Fields of a header that are looked at.
const FIELDS_MAX: usize = 200;
/// Octets of a field's value that are looked at.
const VALUE_MAX: usize = 4 * 1024;
/// Octets of names and values that are matched for one message, over all patterns and recipients: half a second of work.
pub const MATCHED_MAX: usize = 128 * 1024 * 1024;

/// What is done with mail of a kind. All conditions that are given hold for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    /// Is found in the address of MAIL FROM, its domain in A-labels.
    pub mail_from: Option<Pattern>,
    /// Vouches for the message by DKIM or SPF, itself or a domain below it; in A-labels.
    pub verified_domain: Option<Domain>,
    /// For each pair there is a field in whose name the first is found, and in its value the second.
    pub headers: Vec<(Pattern, Pattern)>,
    /// Where it goes.
    pub mailbox: String,
    /// What this domain vouches for is taken whatever else is wrong with it.
    pub list_allow_domain: Option<Domain>,
    /// Whoever vouches for it forwards it, and its addresses tell nothing about the author. Counts only with `verified_domain`: anybody
    /// can write into MAIL FROM and the header what forwarded mail has there.
    pub is_forward: bool,
    /// What would not be taken goes here.
    pub accept_rejects_to_mailbox: Option<String>,
}

/// A regular expression, matched in time that grows with the text only, whatever its letters' case.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Arc<Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_MAX {
            return Err(format!("it is longer than {PATTERN_MAX} bytes"));
        }
        let config = Regex::config()
            .nfa_size_limit(Some(PATTERN_SIZE_MAX))
            .onepass_size_limit(Some(PATTERN_SIZE_MAX))
            .hybrid_cache_capacity(PATTERN_SIZE_MAX);
        let regex = Regex::builder()
            .configure(config)
            .syntax(syntax::Config::new().case_insensitive(true))
            .build(text)
            .map_err(|error| match error.syntax_error() {
                Some(syntax) => syntax.to_string(),
                None => error.to_string(),
            })?;
        Ok(Self {
            text: text.into(),
            regex: Arc::new(regex),
        })
    }

    /// Whether it is found anywhere in a text.
    pub fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The fields of a header as patterns see them: names, and values as text.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first fields of a header, and the beginnings of their values.
    pub fn of(header: &[u8]) -> Self {
        let fields = header::split(header).take(FIELDS_MAX);
        let shown = |field: Field<'_>| {
            let value = field.value.get(..VALUE_MAX).unwrap_or(field.value);
            let name = String::from_utf8_lossy(field.name).into_owned();
            (
                name,
                mox_message::text::header_text(value).trim().to_owned(),
            )
        };
        Self(fields.map(shown).collect())
    }
}

/// How much may still be matched for a message.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    left: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { left: MATCHED_MAX }
    }
}

impl Effort {
    /// It is used up: patterns were not looked at, and nothing matches them.
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Whether a pattern is found in a text, while that may be tried.
    fn finds(&mut self, pattern: &Pattern, text: &str) -> bool {
        self.left = self.left.saturating_sub(text.len() + 1);
        !self.is_over() && pattern.is_in(text)
    }
}

/// The first ruleset that matches a message, and its place. `fields` are those that will stand before it, and its own.
pub fn matching<'r>(
    rulesets: &'r [Ruleset],
    facts: &Facts,
    fields: &[&Fields],
    effort: &mut Effort,
) -> Option<(usize, &'r Ruleset)> {
    let mut all = rulesets.iter().enumerate();
    all.find(|(_, ruleset)| ruleset.matches(facts, fields, effort))
}

impl Ruleset {
    /// The domain that forwards what it matches, if it is for such mail.
    pub fn forwarder(&self) -> Option<&Domain> {
        self.verified_domain.as_ref().filter(|_| self.is_forward)
    }

    /// Whether it matches a message with these fields.
    pub fn matches(&self, facts: &Facts, fields: &[&Fields], effort: &mut Effort) -> bool {
        let has_condition =
            self.mail_from.is_some() || self.verified_domain.is_some() || !self.headers.is_empty();
        let from = |pattern: &Pattern| pattern.is_in(&facts.sender);
        has_condition
            && self.mail_from.as_ref().is_none_or(from)
            && self
                .verified_domain
                .as_ref()
                .is_none_or(|domain| is_vouched_for(facts, domain))
            && (self.headers.iter()).all(|(name, value)| {
                let mut all = fields.iter().flat_map(|fields| &fields.0);
                all.any(|(n, v)| effort.finds(name, n) && effort.finds(value, v))
            })
    }
}

/// Whether a domain, or one below it, vouches for a message: by a signature, or by SPF for MAIL FROM or EHLO.
fn is_vouched_for(facts: &Facts, domain: &Domain) -> bool {
    let Some(message) = &facts.message else {
        return false;
    };
    let helo = (message.helo.result == "pass").then_some(message.helo.subject.as_str());
    let mut vouching = message.vouching().chain(helo);
    vouching.any(|name| is_within(name, domain.as_str()))
}

/// Whether a name is a domain, or one below it.
pub(crate) fn is_within(name: &str, domain: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    let below = name.strip_suffix(&domain.to_lowercase());
    below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_in_any_case_and_bad_ones_are_refused() {
        let pattern = Pattern::new("^Re: .*(news|letter)").unwrap();
        assert!(pattern.is_in("re: my NEWSletter"));
        assert!(!pattern.is_in("fw: re: news"));
        for bad in ["(", "a{1000}{1000}{1000}", &"a".repeat(PATTERN_MAX + 1)] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        // Backtracking would take for ever.
        let slow = Pattern::new("(a*)*$b").unwrap();
        assert!(!slow.is_in(&"a".repeat(4_000)));
    }

    #[test]
    fn what_is_matched_for_one_message_is_bounded() {
        let ruleset = Ruleset {
            mail_from: None,
            verified_domain: None,
            headers: vec![(
                Pattern::new("^x$").unwrap(),
                Pattern::new("needle").unwrap(),
            )],
            mailbox: "Found".into(),
            list_allow_domain: None,
            is_forward: false,
            accept_rejects_to_mailbox: None,
        };
        let hay = "hay ".repeat(1_000);
        let fields = Fields::of(format!("X: {hay}\r\nX: a needle\r\n\r\n").as_bytes());
        let facts = Facts::unknown(0);
        let mut effort = Effort::default();
        let (mut found, each) = (0, hay.trim_end().len() + "a needle".len() + 6);
        while ruleset.matches(&facts, &[&fields], &mut effort) {
            found += 1;
        }
        assert!(effort.is_over());
        assert_eq!(found, MATCHED_MAX / each);
        assert!(!ruleset.matches(&facts, &[&fields], &mut effort));
    }
}
