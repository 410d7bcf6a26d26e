//! Rulesets of an account: where mail of lists and of forwarders goes, and what is made of it (transport.md 2.3).

use mox_mime::header;

use crate::decision::{Facts, Quarantine};

/// Octets of a field's value that a pattern is compared with.
const VALUE_MAX: usize = 2_000;
/// Fields of one name that are compared.
const FIELDS_MAX: usize = 20;

/// What an account wants done with mail that arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRules {
    /// The mailbox for junk.
    pub junk_mailbox: String,
    /// Refused mail is kept here.
    pub rejects_mailbox: Option<String>,
    /// What becomes of mail that its author's domain wants quarantined.
    pub quarantine: Quarantine,
    /// The first that matches counts.
    pub rulesets: Vec<Ruleset>,
}

/// Conditions, all of which must hold, and what follows. One without conditions never matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// Of MAIL FROM.
    pub mail_from: Option<Pattern>,
    /// SPF or a signature passes for this domain or one below it.
    pub verified_domain: Option<String>,
    /// For each name some field has such a value.
    pub headers: Vec<(String, Pattern)>,
    /// Where the mail goes; `None` is where it would go anyway.
    pub mailbox: Option<String>,
    /// Mail that exactly this domain vouches for is taken, whatever else is wrong with it.
    pub list_allow: Option<String>,
    /// Somebody forwards this mail: the addresses of the forwarder tell nothing about its author.
    pub is_forward: bool,
}

/// A text in which `*` stands for anything. Case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Default for AccountRules {
    fn default() -> Self {
        Self {
            junk_mailbox: "Junk".into(),
            rejects_mailbox: Some("Rejects".into()),
            quarantine: Quarantine::Junk,
            rulesets: Vec::new(),
        }
    }
}

impl AccountRules {
    /// The first ruleset that matches, and its place.
    pub fn matching(&self, facts: &Facts, block: &[u8]) -> Option<(usize, &Ruleset)> {
        let mut all = self.rulesets.iter().enumerate();
        all.find(|(_, ruleset)| ruleset.matches(facts, block))
    }
}

impl Ruleset {
    /// Whether it says anything about which mail it is for.
    pub fn has_condition(&self) -> bool {
        self.mail_from.is_some() || self.verified_domain.is_some() || !self.headers.is_empty()
    }

    /// Whether all conditions hold for a message with this header block.
    pub fn matches(&self, facts: &Facts, block: &[u8]) -> bool {
        let from = self.mail_from.as_ref();
        let domain = self.verified_domain.as_ref();
        self.has_condition()
            && from.is_none_or(|pattern| pattern.matches(&facts.sender))
            && domain.is_none_or(|domain| is_verified(facts, domain))
            && self.headers.iter().all(|(name, pattern)| {
                header::find_all(block, name.as_bytes())
                    .take(FIELDS_MAX)
                    .any(|value| {
                        let value = header::unfold(value.get(..VALUE_MAX).unwrap_or(value));
                        pattern.matches(String::from_utf8_lossy(&value).trim())
                    })
            })
    }
}

/// SPF for EHLO or MAIL FROM, or a signature, passes for the domain or one below it.
fn is_verified(facts: &Facts, domain: &str) -> bool {
    let Some(message) = &facts.message else {
        return false;
    };
    let hello = (message.helo.result == "pass").then_some(message.helo.subject.as_str());
    let wanted = domain.to_lowercase();
    message.vouching().chain(hello).any(|found| {
        let found = found.to_lowercase();
        found
            .strip_suffix(&wanted)
            .is_some_and(|below| below.is_empty() || below.ends_with('.'))
    })
}

impl Pattern {
    /// Any text is one.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// Whether all of a text is like it.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let mut pieces = self.0.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let mut pieces: Vec<&str> = pieces.collect();
        let Some(last) = pieces.pop() else {
            return rest.is_empty();
        };
        for piece in pieces {
            let Some((_, behind)) = rest.split_once(piece) else {
                return false;
            };
            rest = behind;
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, does) in [
            ("abc", "ABC", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("*@list.example", "a@List.example", true),
            ("*@list.example", "a@list.example.org", false),
            ("a*c", "ac", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*<x.list>*", "X <x.list>", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), does, "{pattern} {text}");
        }
    }
}
