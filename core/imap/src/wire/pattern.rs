//! The patterns of LIST, RFC 3501 6.3.8 and RFC 5258 3.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::name::with_inbox;

/// Patterns with the wildcards `*` and `%`. All of them are matched in one pass over a name, in which each octet costs a few
/// instructions for 64 octets of the patterns, whatever they are: there is no pattern that is dear to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns {
    /// The states of all patterns, one behind the other. In state `i` of a pattern its first `i` octets are matched.
    words: Vec<Word>,
    /// States that an octet leads out of, into the next one.
    literals: BTreeMap<u8, Vec<u64>>,
    /// The last pattern ends in `%`.
    percent: bool,
}

/// 64 states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Word {
    start: u64,
    end: u64,
    /// The next octet of the pattern is `*`.
    star: u64,
    /// The next octet of the pattern is `%`.
    percent: u64,
}

impl Patterns {
    /// Joins a reference and each pattern: as text, with `/` between them unless there is one.
    pub fn new<'p>(reference: &str, patterns: impl IntoIterator<Item = &'p str>) -> Self {
        let patterns = patterns
            .into_iter()
            .map(|pattern| joined(reference, pattern));
        let patterns: Vec<Vec<u8>> = patterns.collect();
        let states: usize = patterns.iter().map(|octets| octets.len() + 1).sum();
        let mut words = vec![Word::default(); states.div_ceil(64)];
        let mut literals = BTreeMap::new();
        let mut state = 0;
        let mut next = || {
            state += 1;
            ((state - 1) / 64, 1u64 << ((state - 1) % 64))
        };
        for octets in &patterns {
            let mut start = true;
            for octet in octets.iter().copied().map(Some).chain([None]) {
                let (at, bit) = next();
                let Some(word) = words.get_mut(at) else {
                    break;
                };
                word.start |= if start { bit } else { 0 };
                start = false;
                match octet {
                    Some(b'*') => word.star |= bit,
                    Some(b'%') => word.percent |= bit,
                    Some(octet) => {
                        let none = || vec![0; states.div_ceil(64)];
                        let literal: &mut Vec<u64> = literals.entry(octet).or_insert_with(none);
                        literal.iter_mut().skip(at).take(1).for_each(|l| *l |= bit);
                    }
                    None => word.end |= bit,
                }
            }
        }
        Self {
            words,
            literals,
            percent: patterns.last().and_then(|octets| octets.last()) == Some(&b'%'),
        }
    }

    /// Whether one of them matches the whole canonical name.
    pub fn matches(&self, name: &str) -> bool {
        let none = vec![0; self.words.len()];
        let mut live: Vec<u64> = self.words.iter().map(|word| word.start).collect();
        self.skip_wildcards(&mut live);
        for octet in name.bytes() {
            let literal = self.literals.get(&octet).unwrap_or(&none);
            let level = if octet == b'/' { 0 } else { u64::MAX };
            let mut carry = 0;
            for ((live, word), literal) in live.iter_mut().zip(&self.words).zip(literal) {
                let stays = *live & (word.star | (word.percent & level));
                let moves = *live & literal;
                *live = stays | (moves << 1) | carry;
                carry = moves >> 63;
            }
            self.skip_wildcards(&mut live);
            if live.iter().all(|live| *live == 0) {
                return false;
            }
        }
        let mut ends = live.iter().zip(&self.words);
        ends.any(|(live, word)| live & word.end != 0)
    }

    /// A wildcard may stand for nothing. Behind it is none: see [`joined`].
    fn skip_wildcards(&self, live: &mut [u64]) {
        let mut carry = 0;
        for (live, word) in live.iter_mut().zip(&self.words) {
            let skips = *live & (word.star | word.percent);
            *live |= (skips << 1) | carry;
            carry = skips >> 63;
        }
    }

    /// Ends in `%`, which makes LSUB show the parents of deeper names (RFC 3501 6.3.9).
    pub const fn ends_in_percent(&self) -> bool {
        self.percent
    }
}

/// The octets of a pattern. Of wildcards side by side one is left: `*` if it is among them, since it says all that the
/// others do.
fn joined(reference: &str, pattern: &str) -> Vec<u8> {
    let mut whole = String::from(reference);
    if !whole.is_empty() && !whole.ends_with('/') && !pattern.starts_with('/') {
        whole.push('/');
    }
    whole.push_str(pattern);
    let mut octets = with_inbox(whole).into_bytes();
    octets.dedup_by(|next, kept| {
        let both = matches!(*next, b'*' | b'%') && matches!(*kept, b'*' | b'%');
        if both && *next == b'*' {
            *kept = b'*';
        }
        both
    });
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn one(reference: &str, pattern: &str) -> Patterns {
        Patterns::new(reference, [pattern])
    }

    #[test]
    fn percent_stops_at_a_level_and_star_does_not() {
        for (reference, pattern, name, matches) in [
            ("", "*", "a/b", true),
            ("", "%", "a", true),
            ("", "%", "a/b", false),
            ("", "%/%", "a/b", true),
            ("", "a*b", "a/x/b", true),
            ("", "a%b", "a/b", false),
            ("", "a%b", "axb", true),
            ("", "%a%/b", "aca/b", true),
            ("", "*%", "a/b/c", true),
            ("", "%*", "a/b/c", true),
            ("", "inbox", "INBOX", true),
            ("", "inbox/%", "INBOX/x", true),
            ("", "INBO*", "INBOX", true),
            ("", "a", "A", false),
            ("a", "b", "a/b", true),
            ("a/", "b", "a/b", true),
            ("inbox", "%", "INBOX/x", true),
            ("", "", "", true),
            ("", "/a", "a", false),
            ("", "a", "ab", false),
            ("", "*b", "a", false),
        ] {
            assert_eq!(
                one(reference, pattern).matches(name),
                matches,
                "{reference} {pattern} {name}"
            );
        }
    }

    /// All texts of up to so many of these characters.
    fn texts(characters: &[char], most: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..most {
            let longest = all.get(from..).unwrap_or_default().to_vec();
            from = all.len();
            for text in longest {
                all.extend(characters.iter().map(|c| text.clone() + &c.to_string()));
            }
        }
        all
    }

    /// What RFC 3501 6.3.8 says, word for word.
    fn says(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) if says(rest, name) => true,
            ([b'*', ..], [_, below @ ..]) => says(pattern, below),
            ([b'%', rest @ ..], _) if says(rest, name) => true,
            ([b'%', ..], [octet, below @ ..]) => *octet != b'/' && says(pattern, below),
            ([octet, rest @ ..], [first, below @ ..]) => octet == first && says(rest, below),
            _ => false,
        }
    }

    #[test]
    fn every_short_pattern_matches_what_the_rfc_says() {
        let names = texts(&['a', 'b', '/'], 4);
        let patterns = texts(&['a', 'b', '/', '*', '%'], 4);
        for pattern in &patterns {
            // The others beside it do not matter, and it ends in another word of states.
            let far = "x".repeat(61);
            let all = Patterns::new("", [&far[..], pattern, "y"]);
            for name in &names {
                let says = says(pattern.as_bytes(), name.as_bytes());
                assert_eq!(all.matches(name), says, "{pattern} {name}");
            }
        }
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_product_with_the_name() {
        let pattern = one("", &"*a%".repeat(300));
        assert!(!pattern.matches(&"a".repeat(299)));
        assert!(pattern.matches(&"a".repeat(900)));
        assert!(!one("", &("*".repeat(1_000) + "b")).matches(&"a".repeat(1_000)));
    }
}
