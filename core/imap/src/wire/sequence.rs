//! Sequence sets, RFC 3501 9 `sequence-set`: one evaluator for every command.

use alloc::vec::Vec;
use mox_uids::{Uid, UidSet};

use super::cursor::{Cursor, Known, Malformed, ParseLimits, Parsed};

/// A sequence set as written. Ranges have no direction: `2:4` and `4:2` are the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SequenceSet {
    /// Both ends of each range; 0 stands for `*`.
    ranges: Vec<(u32, u32)>,
    /// `$`: what was found last (RFC 5182), whatever numbers mean elsewhere.
    saved: Option<UidSet>,
}

/// A message sequence number beyond the last message (RFC 3501 9 `seq-number`: a tagged BAD).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

const STAR: u32 = 0;

impl SequenceSet {
    pub(crate) fn parse(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Self> {
        if cursor.eat(b'$') {
            return Ok(Self {
                ranges: Vec::new(),
                saved: Some(known.saved.clone()),
            });
        }
        Self::parse_numbers(cursor, limits)
    }

    /// As [`parse`](Self::parse), where `$` is not allowed.
    pub(crate) fn parse_numbers(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Self> {
        let mut ranges = Vec::new();
        loop {
            let first = number(cursor)?;
            let last = if cursor.eat(b':') {
                number(cursor)?
            } else {
                first
            };
            if ranges.len() as u64 >= u64::from(limits.ranges) {
                return Err(Malformed::Refused("LIMIT", "too many ranges in one set"));
            }
            ranges.push((first, last));
            if !cursor.eat(b',') {
                return Ok(Self {
                    ranges,
                    saved: None,
                });
            }
        }
    }

    /// The members of `known` that the set means, read as unique identifiers.
    ///
    /// Identifiers that do not exist are passed over; `*` is the largest one, nothing in an empty mailbox.
    pub fn uids(&self, known: &UidSet) -> UidSet {
        if let Some(saved) = &self.saved {
            return saved.intersection(known);
        }
        let Some(Uid(largest)) = known.last() else {
            return UidSet::new();
        };
        let end = |n| if n == STAR { largest } else { n };
        UidSet::from_runs(self.ranges.iter().map(|&(a, b)| end(a)..=end(b))).intersection(known)
    }

    /// The members of `known` that the set means, read as message sequence numbers.
    ///
    /// In an empty mailbox a range with `*` means nothing.
    pub fn numbers(&self, known: &UidSet) -> Result<UidSet, OutOfRange> {
        if let Some(saved) = &self.saved {
            return Ok(saved.intersection(known));
        }
        let count = known.len();
        let mut runs = Vec::with_capacity(self.ranges.len());
        for &(a, b) in &self.ranges {
            if count == 0 && (a == STAR || b == STAR) {
                continue;
            }
            let end = |n: u32| known.at(if n == STAR { count } else { n }.wrapping_sub(1));
            let (Some(Uid(a)), Some(Uid(b))) = (end(a), end(b)) else {
                return Err(OutOfRange);
            };
            runs.push(a..=b);
        }
        Ok(UidSet::from_runs(runs).intersection(known))
    }

    /// As [`numbers`](Self::numbers), but numbers beyond the last message are passed over: for search keys.
    pub fn numbers_within(&self, known: &UidSet) -> UidSet {
        if let Some(saved) = &self.saved {
            return saved.intersection(known);
        }
        let count = known.len();
        let runs = self.ranges.iter().filter_map(|&(a, b)| {
            let end = |n| if n == STAR { count } else { n };
            let (a, b) = (end(a).min(end(b)), end(a).max(end(b)));
            let first = known.at(a.checked_sub(1)?)?;
            let last = known.at(b.min(count).checked_sub(1)?)?;
            Some(first.0..=last.0)
        });
        UidSet::from_runs(runs).intersection(known)
    }
}

impl SequenceSet {
    /// The numbers as they are written, whether there are such messages or not; `*` has no upper end.
    pub fn written(&self) -> UidSet {
        let end = |n| if n == STAR { u32::MAX } else { n };
        let runs = self.ranges.iter().map(|&(a, b)| end(a)..=end(b));
        self.saved
            .clone()
            .unwrap_or_else(|| UidSet::from_runs(runs))
    }
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    if cursor.eat(b'*') {
        Ok(STAR)
    } else {
        cursor.nonzero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn set(text: &str) -> SequenceSet {
        SequenceSet::parse_numbers(&mut Cursor::new(text.as_bytes()), &ParseLimits::default())
            .unwrap()
    }

    #[test]
    fn a_set_means_the_same_in_either_direction_and_star_is_the_last() {
        let known = UidSet::from_runs([3..=5, 9..=9, 20..=22]);
        for (text, uids) in [
            ("1:*", "3:5,9,20:22"),
            ("*:1", "3:5,9,20:22"),
            ("*", "22"),
            ("100:*", "22"),
            ("9:4", "4:5,9"),
            ("1:2", ""),
            ("5,3,5", "3,5"),
            ("4294967295:21", "21:22"),
        ] {
            assert_eq!(set(text).uids(&known).to_string(), uids, "{text}");
        }
        for (text, uids) in [
            ("1:*", Ok("3:5,9,20:22")),
            ("2:1", Ok("3:4")),
            ("4", Ok("9")),
            ("*", Ok("22")),
            ("7", Ok("22")),
            ("8", Err(OutOfRange)),
            ("1:8", Err(OutOfRange)),
            ("8:*", Err(OutOfRange)),
        ] {
            let found = set(text).numbers(&known).map(|u| u.to_string());
            assert_eq!(found, uids.map(ToString::to_string), "{text}");
        }
        assert_eq!(set("6:100,1").numbers_within(&known).to_string(), "3,21:22");
        assert_eq!(set("8:9").numbers_within(&known).to_string(), "");
    }

    #[test]
    fn in_an_empty_mailbox_star_means_nothing_and_a_number_is_out_of_range() {
        let none = UidSet::new();
        assert_eq!(set("1:*").numbers(&none), Ok(UidSet::new()));
        assert_eq!(set("*").numbers(&none), Ok(UidSet::new()));
        assert_eq!(set("1").numbers(&none), Err(OutOfRange));
        assert_eq!(set("1:*").uids(&none), UidSet::new());
        assert_eq!(set("1:*").numbers_within(&none), UidSet::new());
    }

    #[test]
    fn zero_and_empty_parts_are_no_numbers() {
        for text in ["0", "1:0", "", "1,", ":2", "1:", "a", "4294967296"] {
            let mut cursor = Cursor::new(text.as_bytes());
            let parsed = SequenceSet::parse_numbers(&mut cursor, &ParseLimits::default());
            assert!(parsed.is_err(), "{text}");
        }
    }
}
