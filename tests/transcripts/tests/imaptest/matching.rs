//! Whether a response is the expected one. Expectations may have variables, which take their value from the first
//! response they meet.

use crate::value::Value;
use std::collections::BTreeMap;

/// Variables by name, and where the messages of the beginning of a group stand now.
#[derive(Debug, Default, Clone)]
pub struct Variables {
    pub named: BTreeMap<Vec<u8>, Vec<u8>>,
    /// For each message at the beginning of the group its number now; 0 when it is gone.
    pub numbers: Vec<u32>,
}

impl Variables {
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.named.insert(name.into(), value.into());
    }

    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let number = str::from_utf8(name)
            .ok()
            .and_then(|n| n.parse::<usize>().ok());
        match number {
            Some(number) => {
                let now = self
                    .numbers
                    .get(number.wrapping_sub(1))
                    .copied()
                    .unwrap_or(0);
                Some(now.to_string().into_bytes())
            }
            None => self.named.get(name).cloned(),
        }
    }

    /// A message is expunged.
    pub fn expunged(&mut self, gone: u32) {
        for number in &mut self.numbers {
            match (*number).cmp(&gone) {
                std::cmp::Ordering::Equal => *number = 0,
                std::cmp::Ordering::Greater => *number -= 1,
                std::cmp::Ordering::Less => {}
            }
        }
    }

    /// A command with its variables put in.
    pub fn expand(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.iter().position(|b| *b == b'$') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(b"$") {
                out.push(b'$');
                rest = after;
            } else {
                let (name, after) = variable(rest);
                let shown = || String::from_utf8_lossy(name).into_owned();
                out.extend(
                    self.get(name)
                        .unwrap_or_else(|| panic!("${} has no value", shown())),
                );
                rest = after;
            }
        }
        out.extend_from_slice(rest);
        out
    }

    /// Matches a text; how much of `input` the pattern takes.
    fn text(&mut self, mut pattern: &[u8], input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some((&first, after)) = pattern.split_first() {
            let escaped = first == b'$' && after.first() == Some(&b'$');
            if first != b'$' || escaped {
                if !input.get(at)?.eq_ignore_ascii_case(&first) {
                    return None;
                }
                at += 1;
                pattern = if escaped { &after[1..] } else { after };
                continue;
            }
            let (name, after) = variable(after);
            pattern = after;
            let value = match self.get(name) {
                Some(value) => value,
                None => {
                    let stop = pattern.first();
                    let ends = |b: &u8| stop.is_some_and(|stop| b.eq_ignore_ascii_case(stop));
                    let rest = input.get(at..)?;
                    let length = rest.iter().position(ends).unwrap_or(rest.len());
                    let value = rest[..length].to_vec();
                    if !name.is_empty() {
                        self.named.insert(name.to_vec(), value.clone());
                    }
                    value
                }
            };
            if !input.get(at..)?.starts_with(&value) {
                return None;
            }
            at += value.len();
        }
        Some(at)
    }
}

/// The name behind a dollar sign, and what follows it.
fn variable(text: &[u8]) -> (&[u8], &[u8]) {
    if let Some(inside) = text.strip_prefix(b"{") {
        let end = inside
            .iter()
            .position(|b| *b == b'}')
            .expect("a closing brace");
        return (&inside[..end], &inside[end + 1..]);
    }
    let ends = |b: &u8| !b.is_ascii_alphanumeric() && *b != b'_';
    text.split_at(text.iter().position(ends).unwrap_or(text.len()))
}

/// Matches whole lines; variables keep what they got only when it matches. `prefix`: more may follow the last element.
pub fn matches(vars: &mut Variables, expected: &[Value], got: &[Value], prefix: bool) -> bool {
    let mut tried = vars.clone();
    let matched = elements(&mut tried, expected, got, prefix);
    if matched {
        *vars = tried;
    }
    matched
}

fn elements(vars: &mut Variables, expected: &[Value], got: &[Value], prefix: bool) -> bool {
    for (at, want) in expected.iter().enumerate() {
        let Some(have) = got.get(at) else {
            return false;
        };
        let is_last = at + 1 == expected.len();
        let matched = match (want, have) {
            (Value::Text(want), Value::List(_)) => want == b"$",
            (Value::List(want), Value::List(have)) => list(vars, want, have),
            (Value::Nil, have) => *have == Value::Nil,
            (Value::Text(want), have) => {
                let have = have.text().map(c_string).unwrap_or_default();
                let taken = vars.text(c_string(want), have);
                taken.is_some_and(|n| n == have.len() || (prefix && is_last))
            }
            (Value::List(_), _) => false,
        };
        if !matched {
            return false;
        }
    }
    prefix || expected.len() == got.len()
}

/// imaptest's strings end at a NUL, in expectations and in responses: what lies behind one is not compared.
fn c_string(text: &[u8]) -> &[u8] {
    text.split(|b| *b == 0).next().unwrap_or_default()
}

fn list(vars: &mut Variables, expected: &[Value], got: &[Value]) -> bool {
    let (mut unordered, mut chain, mut extra) = (false, 1, None);
    let (mut ignored, mut banned) = (Vec::new(), Vec::new());
    let mut want = expected;
    while let Some((Value::Text(word), rest)) = want.split_first() {
        let Some(word) = word.strip_prefix(b"$!") else {
            break;
        };
        let word = str::from_utf8(word).unwrap();
        match word.split_once('=').unwrap_or((word, "")) {
            ("unordered", n) => {
                (unordered, chain) = (true, n.parse().unwrap_or(1));
                extra = extra.or(Some(true));
            }
            ("ordered", _) => unordered = false,
            ("extra", _) => extra = Some(true),
            ("noextra", _) => extra = Some(false),
            ("ignore", what) => ignored.push(what.to_owned()),
            ("ban", what) => banned.push(what.to_owned()),
            other => panic!("{other:?}"),
        }
        want = rest;
    }
    if !unordered {
        return elements(vars, want, got, false);
    }
    if !got.len().is_multiple_of(chain) {
        return false;
    }
    let chains: Vec<&[Value]> = got.chunks(chain).collect();
    let mut found = vec![false; chains.len()];
    for want in want.chunks(chain) {
        let at = chains
            .iter()
            .position(|have| matches(vars, want, have, false));
        match at {
            Some(at) => found[at] = true,
            None => return false,
        }
    }
    let is = |names: &[String], have: &[Value]| {
        let text = have.first().and_then(Value::text);
        text.is_some_and(|text| {
            names
                .iter()
                .any(|n| n.as_bytes().eq_ignore_ascii_case(text))
        })
    };
    let mut others = chains.iter().zip(&found).filter(|(_, found)| !**found);
    match extra {
        Some(false) => others.all(|(have, _)| is(&ignored, have)),
        _ => !others.any(|(have, _)| is(&banned, have)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse;

    fn tried(expected: &str, got: &str) -> bool {
        let mut vars = Variables::default();
        vars.set("known", "seven");
        vars.numbers = vec![1, 0, 2];
        matches(
            &mut vars,
            &parse(expected.as_bytes()),
            &parse(got.as_bytes()),
            false,
        )
    }

    #[test]
    fn variables_take_and_keep_values_and_lists_may_be_unordered() {
        assert!(tried("a $x b $x", "A 1 b 1") && !tried("a $x b $x", "a 1 b 2"));
        assert!(tried("$3 expunge", "2 EXPUNGE") && !tried("$2 expunge", "2 EXPUNGE"));
        assert!(tried("$known", "seven") && !tried("$known", "eight"));
        assert!(tried("($!unordered a b)", "(b c a)") && !tried("(a b)", "(b a)"));
        assert!(!tried("($!unordered $!noextra a)", "(a b)"));
        assert!(tried("($!unordered $!noextra $!ignore=\\x a)", "(a \\X)"));
        assert!(tried(
            "($!unordered=2 uid $u flags (x))",
            "(flags (x) uid 3)"
        ));
        assert!(!tried("($!unordered=2 uid flags)", "(flags uid)"));
        assert!(tried("a $", "a (b c)") && !tried("a", "a b"));
    }
}
