//! Unique identifiers of messages and run-length sets of them (RFC 3501 2.3.1.1).
//!
//! A mailbox of 100,000 messages that were never expunged is one run. The IMAP session and the mailbox engine
//! share a set behind an `Arc`; a session keeps only the difference to what its client was told.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

/// A message's unique identifier in its mailbox, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Uid(pub u32);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of UIDs as ascending runs that neither touch nor overlap. Shown as IMAP writes it, `1:3,5`.
#[derive(Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UidSet {
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Run {
    first: u32,
    last: u32,
    /// Members in the runs before this one, so that positions are found by bisection.
    before: u32,
}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl UidSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// From runs in any order, overlapping or not.
    pub fn from_runs(runs: impl IntoIterator<Item = RangeInclusive<u32>>) -> Self {
        let mut sorted: Vec<_> = runs
            .into_iter()
            .map(|r| (*r.start().min(r.end()), *r.start().max(r.end())))
            .collect();
        sorted.sort_unstable();
        let mut set = Self::new();
        for (first, last) in sorted {
            set.push_run(first, last);
        }
        set
    }

    /// How many members.
    pub fn len(&self) -> u32 {
        self.runs
            .last()
            .map_or(0, |r| r.before + (r.last - r.first + 1))
    }

    /// True when it has no member.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether `uid` is a member.
    pub fn contains(&self, uid: Uid) -> bool {
        self.run_of(uid.0).is_ok()
    }

    /// The smallest member.
    pub fn first(&self) -> Option<Uid> {
        self.runs.first().map(|r| Uid(r.first))
    }

    /// The largest member.
    pub fn last(&self) -> Option<Uid> {
        self.runs.last().map(|r| Uid(r.last))
    }

    /// The member at 0-based position `index`: message sequence number minus one.
    pub fn at(&self, index: u32) -> Option<Uid> {
        let run = self
            .runs
            .partition_point(|r| r.before <= index)
            .checked_sub(1)?;
        let run = self.runs.get(run)?;
        let uid = run.first.checked_add(index - run.before)?;
        (uid <= run.last).then_some(Uid(uid))
    }

    /// The 0-based position of a member.
    pub fn position(&self, uid: Uid) -> Option<u32> {
        let run = self.runs.get(self.run_of(uid.0).ok()?)?;
        Some(run.before + (uid.0 - run.first))
    }

    /// How many members are smaller than `uid`, member or not.
    pub fn count_below(&self, uid: Uid) -> u32 {
        let index = self.runs.partition_point(|r| r.last < uid.0);
        match self.runs.get(index) {
            Some(run) if run.first < uid.0 => run.before + (uid.0 - run.first),
            Some(run) => run.before,
            None => self.len(),
        }
    }

    /// Adds a member.
    pub fn insert(&mut self, uid: Uid) {
        if self.last().is_none_or(|last| last < uid) {
            return self.push_run(uid.0, uid.0);
        }
        let Err(index) = self.run_of(uid.0) else {
            return;
        };
        let joins_left = index > 0
            && self
                .runs
                .get(index - 1)
                .is_some_and(|r| r.last + 1 == uid.0);
        let joins_right = self.runs.get(index).is_some_and(|r| r.first == uid.0 + 1);
        match (joins_left, joins_right) {
            (true, true) => {
                let right = self.runs.remove(index);
                if let Some(left) = self.runs.get_mut(index - 1) {
                    left.last = right.last;
                }
            }
            (true, false) => {
                if let Some(left) = self.runs.get_mut(index - 1) {
                    left.last = uid.0;
                }
            }
            (false, true) => {
                if let Some(right) = self.runs.get_mut(index) {
                    right.first = uid.0;
                }
            }
            (false, false) => self.runs.insert(
                index,
                Run {
                    first: uid.0,
                    last: uid.0,
                    before: 0,
                },
            ),
        }
        self.recount(index.saturating_sub(1));
    }

    /// Takes a member out; false when it was none.
    pub fn remove(&mut self, uid: Uid) -> bool {
        let Ok(index) = self.run_of(uid.0) else {
            return false;
        };
        let Some(run) = self.runs.get_mut(index) else {
            return false;
        };
        match (run.first == uid.0, run.last == uid.0) {
            (true, true) => {
                self.runs.remove(index);
            }
            (true, false) => run.first += 1,
            (false, true) => run.last -= 1,
            (false, false) => {
                let right = Run {
                    first: uid.0 + 1,
                    last: run.last,
                    before: 0,
                };
                run.last = uid.0 - 1;
                self.runs.insert(index + 1, right);
            }
        }
        self.recount(index);
        true
    }

    /// All members, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Uid> + '_ {
        self.runs.iter().flat_map(|r| (r.first..=r.last).map(Uid))
    }

    /// The runs, ascending.
    pub fn runs(
        &self,
    ) -> impl DoubleEndedIterator<Item = RangeInclusive<u32>> + ExactSizeIterator + '_ {
        self.runs.iter().map(|r| r.first..=r.last)
    }

    /// Octets of memory its runs take.
    pub fn weight(&self) -> usize {
        self.runs.len() * size_of::<Run>()
    }

    /// The members of both.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut out, mut i, mut j) = (Self::new(), 0, 0);
        while let (Some(a), Some(b)) = (self.runs.get(i), other.runs.get(j)) {
            let (first, last) = (a.first.max(b.first), a.last.min(b.last));
            if first <= last {
                out.push_run(first, last);
            }
            if a.last < b.last { i += 1 } else { j += 1 }
        }
        out
    }

    /// The members of either.
    pub fn union(&self, other: &Self) -> Self {
        Self::from_runs(self.runs().chain(other.runs()))
    }

    /// The members of `self` that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let (mut out, mut j) = (Self::new(), 0);
        for run in &self.runs {
            let mut first = run.first;
            while other.runs.get(j).is_some_and(|o| o.last < first) {
                j += 1;
            }
            let mut k = j;
            let mut done = false;
            while let Some(o) = other.runs.get(k).filter(|o| o.first <= run.last) {
                if o.first > first {
                    out.push_run(first, o.first - 1);
                }
                if o.last >= run.last {
                    done = true;
                    break;
                }
                first = o.last + 1;
                k += 1;
            }
            if !done {
                out.push_run(first, run.last);
            }
        }
        out
    }

    /// Appends a run whose start is not below the start of the last one.
    fn push_run(&mut self, first: u32, last: u32) {
        let before = self.len();
        match self.runs.last_mut() {
            Some(run) if first <= run.last.saturating_add(1) => run.last = run.last.max(last),
            _ => self.runs.push(Run {
                first,
                last,
                before,
            }),
        }
    }

    /// The run that holds `uid`, or where one would be inserted.
    fn run_of(&self, uid: u32) -> Result<usize, usize> {
        let index = self.runs.partition_point(|r| r.last < uid);
        match self.runs.get(index) {
            Some(run) if run.first <= uid => Ok(index),
            _ => Err(index),
        }
    }

    fn recount(&mut self, from: usize) {
        let mut before = match from.checked_sub(1).and_then(|i| self.runs.get(i)) {
            Some(run) => run.before + (run.last - run.first + 1),
            None => 0,
        };
        for run in self.runs.iter_mut().skip(from) {
            run.before = before;
            before += run.last - run.first + 1;
        }
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        Self::from_runs(uids.into_iter().map(|u| u.0..=u.0))
    }
}

/// The form IMAP writes: `1:5,9,12:14`; nothing for the empty set.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.runs.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if run.first == run.last {
                write!(f, "{}", run.first)?;
            } else {
                write!(f, "{}:{}", run.first, run.last)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    /// A small generator, enough to walk through many shapes of sets.
    fn numbers(mut state: u64) -> impl FnMut(u32) -> u32 {
        move |bound| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % u64::from(bound)) as u32
        }
    }

    fn check(set: &UidSet, model: &BTreeSet<u32>) {
        assert_eq!(set.iter().map(|u| u.0).collect::<BTreeSet<_>>(), *model);
        assert_eq!(set.len() as usize, model.len());
        for (i, &uid) in model.iter().enumerate() {
            assert_eq!(set.at(i as u32), Some(Uid(uid)));
            assert_eq!(set.position(Uid(uid)), Some(i as u32));
        }
        assert_eq!(set.at(set.len()), None);
        for uid in 0..70 {
            assert_eq!(set.contains(Uid(uid)), model.contains(&uid));
            assert_eq!(
                set.count_below(Uid(uid)) as usize,
                model.range(..uid).count()
            );
        }
        let runs: Vec<_> = set.runs().collect();
        assert!(
            runs.windows(2).all(|w| *w[0].end() + 1 < *w[1].start()),
            "{runs:?}"
        );
    }

    #[test]
    fn sets_agree_with_a_model_after_any_insertions_and_removals() {
        for seed in 0..50 {
            let mut number = numbers(seed);
            let (mut set, mut model) = (UidSet::new(), BTreeSet::new());
            for _ in 0..200 {
                let uid = 1 + number(64);
                if number(3) == 0 {
                    assert_eq!(set.remove(Uid(uid)), model.remove(&uid));
                } else {
                    set.insert(Uid(uid));
                    model.insert(uid);
                }
                check(&set, &model);
            }
        }
    }

    #[test]
    fn set_algebra_agrees_with_a_model() {
        for seed in 0..200 {
            let mut number = numbers(seed);
            let mut draw = || {
                (0..number(40))
                    .map(|_| 1 + number(64))
                    .collect::<BTreeSet<_>>()
            };
            let (a, b) = (draw(), draw());
            let set = |m: &BTreeSet<u32>| m.iter().map(|&u| Uid(u)).collect::<UidSet>();
            check(&set(&a).union(&set(&b)), &a.union(&b).copied().collect());
            check(
                &set(&a).intersection(&set(&b)),
                &a.intersection(&b).copied().collect(),
            );
            check(
                &set(&a).difference(&set(&b)),
                &a.difference(&b).copied().collect(),
            );
        }
    }

    #[test]
    fn the_written_form_is_that_of_imap() {
        assert_eq!(
            UidSet::from_runs([9..=9, 3..=5, 1..=2, 12..=14]).to_string(),
            "1:5,9,12:14"
        );
        assert_eq!(UidSet::new().to_string(), "");
    }
}
