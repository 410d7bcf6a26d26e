//! Records of decisions about mail that arrives: kept for a time and within a budget, found by what they are about.
//!
//! A record is opaque to the engine. It has a number; under the hash of each of its keys stands a row that leads to it.
//! Records are a memory of what was done: a damaged row among them is passed over and never keeps mail out.
//!
//! There are two series of them, each with room of its own, within which the oldest make room for the newest. In the second one are
//! records of who brings so much that they would push out those of everybody else.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::key::{self, Key, Parts, Table};
use crate::rows::Stored;
use crate::{
    AccountId, Batch, Observation, Progress, ReadError, Reads, Space, Stop, reports_out, scan,
};

/// Octets of one record at most; a larger one is not kept.
pub const DECISION_MAX: usize = 32 * 1024;
/// Keys of one record at most.
pub const DECISION_KEYS_MAX: usize = 24;
/// Records that one operation removes at most, beside what else it does: the smallest there are make room for the largest.
const REMOVED_AT_ONCE: usize = 80;
/// Rows of an operation from which on it removes no more of them: what is over then goes with the next one.
const REMOVED_BELOW: usize = 3_000;
/// Records by which the octets of all are reckoned when the row that says it is damaged.
const SAMPLE: usize = 200;
/// Rows that one operation removes at most when it does nothing else.
const ROWS: usize = 800;
/// Octets that a key takes beside those of its record.
const KEY_OCTETS: u64 = 24;

/// A record to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDecision {
    /// What it is found by, at most [`DECISION_KEYS_MAX`]: ids and addresses, in the form in which they will be asked for.
    pub keys: Vec<String>,
    /// The record, at most [`DECISION_MAX`] octets.
    pub record: Bytes,
    /// When it was made.
    pub at: Utc,
    /// Who brought what it is about has used up its share of the room: it makes room among its like only.
    pub is_spare: bool,
    /// What is to be reported of the message to other domains: kept in the same operation, whatever becomes of the record.
    pub observations: Vec<Observation>,
}

impl NewDecision {
    /// Octets that it takes of the room.
    pub fn weight(&self) -> u64 {
        weight(self.record.len(), self.keys.len().min(DECISION_KEYS_MAX))
    }
}

/// For how much there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionBudget {
    /// Octets of all records and their keys, roughly. Beyond it the oldest ones go.
    pub octets: u64,
    /// The same of the [spare](NewDecision::is_spare) ones.
    pub spare: u64,
}

impl DecisionBudget {
    /// Of so many octets in all: an eighth is for the spare ones.
    pub const fn of(octets: u64) -> Self {
        let spare = octets / 8;
        Self {
            octets: octets - spare,
            spare,
        }
    }
}

/// Which records there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The number of the oldest one, if there is any.
    first: u64,
    /// The number of the next one.
    next: u64,
    octets: u64,
}

impl Kept {
    /// So many records can have so many octets.
    fn is_possible(&self) -> bool {
        let most = weight(DECISION_MAX, DECISION_KEYS_MAX);
        let count = self.next.checked_sub(self.first);
        count.is_some_and(|count| self.octets <= count.saturating_mul(most))
    }
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecisionRow {
    #[serde(with = "crate::rows::utc")]
    at: Utc,
    /// Hashes of its keys.
    keys: Vec<u64>,
    #[serde(with = "crate::rows::octets")]
    record: Bytes,
}

impl DecisionRow {
    fn weight(&self) -> u64 {
        weight(self.record.len(), self.keys.len())
    }
}

const fn weight(record: usize, keys: usize) -> u64 {
    record as u64 + keys as u64 * KEY_OCTETS + KEY_OCTETS
}

const STORE: AccountId = AccountId(0);
const KEPT: u8 = 0;
const BY_NUMBER: u8 = 1;
const BY_KEY: u8 = 2;
// Rows by time have the bytes up to 7.
const SPARE_KEPT: u8 = 8;

/// The numbers of the spare records begin here.
const SPARE: u64 = 1 << 63;

/// Records among which the oldest make room for the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Series {
    Ordinary,
    Spare,
}

impl Series {
    const ALL: [Self; 2] = [Self::Ordinary, Self::Spare];

    const fn of(new: &NewDecision) -> Self {
        match new.is_spare {
            true => Self::Spare,
            false => Self::Ordinary,
        }
    }

    const fn room(self, budget: DecisionBudget) -> u64 {
        match self {
            Self::Ordinary => budget.octets,
            Self::Spare => budget.spare,
        }
    }

    /// The first of its numbers.
    const fn begin(self) -> u64 {
        match self {
            Self::Ordinary => 0,
            Self::Spare => SPARE,
        }
    }

    /// Whether records of so many numbers are its own.
    const fn holds(self, first: u64, next: u64) -> bool {
        match self {
            Self::Ordinary => next < SPARE,
            Self::Spare => first >= SPARE,
        }
    }

    /// The key of the row that says which there are.
    fn kept_key(self) -> Vec<u8> {
        let byte = match self {
            Self::Ordinary => KEPT,
            Self::Spare => SPARE_KEPT,
        };
        Key::of(Table::Decision, STORE).bytes(&[byte]).done()
    }

    /// The keys that begin so and go on with one of its numbers: from the first, and behind the last.
    fn within(self, prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let numbered = |number: u64| [prefix, &number.to_be_bytes()].concat();
        let end = match self {
            Self::Ordinary => numbered(SPARE),
            Self::Spare => key::behind(prefix),
        };
        (numbered(self.begin()), end)
    }
}

fn by_number(number: u64) -> Vec<u8> {
    let key = Key::of(Table::Decision, STORE).bytes(&[BY_NUMBER]);
    key.bytes(&number.to_be_bytes()).done()
}

fn by_key(hash: u64) -> Vec<u8> {
    let key = Key::of(Table::Decision, STORE).bytes(&[BY_KEY]);
    key.bytes(&hash.to_be_bytes()).done()
}

fn leads_to(hash: u64, number: u64) -> Vec<u8> {
    let mut key = by_key(hash);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Case does not count.
fn hash(key: &str) -> u64 {
    let hash = blake3::hash(key.to_lowercase().as_bytes());
    let (start, _) = hash
        .as_bytes()
        .split_first_chunk()
        .unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*start)
}

/// Keeps records, and removes the oldest ones while there is no room. Tells how many damaged rows were passed over.
pub fn keep_decisions(
    reads: &dyn Reads,
    new: &[NewDecision],
    budget: DecisionBudget,
) -> Result<(Batch, usize), Stop> {
    let now = new.last().map_or_else(Utc::default, |new| new.at);
    let mut edit = Edit::new(reads, now);
    let mut damaged = 0;
    for new in new {
        damaged += keep(&mut edit, new, budget);
    }
    Ok((edit.finish()?, damaged))
}

/// How many damaged rows were passed over. Nothing that cannot be read here stops what else the operation does.
pub(crate) fn keep(edit: &mut Edit<'_>, new: &NewDecision, budget: DecisionBudget) -> usize {
    let mut damaged = reports_out::keep_all(edit, &new.observations);
    let series = Series::of(new);
    let Ok((mut kept, is_damaged)) = kept(edit, series) else {
        return damaged + 1;
    };
    damaged += usize::from(is_damaged);
    if new.record.len() <= DECISION_MAX {
        let mut keys: Vec<u64> = new
            .keys
            .iter()
            .take(DECISION_KEYS_MAX)
            .map(|k| hash(k))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let row = DecisionRow {
            at: new.at,
            keys,
            record: new.record.clone(),
        };
        let number = kept.next;
        for hash in &row.keys {
            edit.put(leads_to(*hash, number), Bytes::new());
        }
        edit.put(by_number(number), row.encode());
        kept.next = number.saturating_add(1);
        kept.octets = kept.octets.saturating_add(row.weight());
    }
    for _ in 0..REMOVED_AT_ONCE {
        if kept.octets <= series.room(budget) || edit.weight() + DECISION_KEYS_MAX > REMOVED_BELOW {
            break;
        }
        match remove_oldest(edit, series, &mut kept) {
            Removed::Nothing => break,
            Removed::Whole => {}
            Removed::Damaged => damaged += 1,
        }
    }
    edit.put(series.kept_key(), kept.encode());
    damaged
}

/// Which records of a series there are, and whether the row that says so is damaged. Then it is made again from those there are.
fn kept(edit: &Edit<'_>, series: Series) -> Result<(Kept, bool), ReadError> {
    let row = edit.get(&series.kept_key())?;
    let read = row.as_ref().map(|row| Kept::decode(row));
    match read {
        Some(Ok(kept)) if series.holds(kept.first, kept.next) && kept.is_possible() => {
            return Ok((kept, false));
        }
        _ => {}
    }
    let mut kept = Kept {
        first: series.begin(),
        next: series.begin(),
        octets: 0,
    };
    let (mut seen, mut octets) = (0, 0);
    let all = Key::of(Table::Decision, STORE).bytes(&[BY_NUMBER]).done();
    let (from, to) = series.within(&all);
    let number = |key: &[u8]| {
        let mut parts = Parts::of(key);
        parts.u8().and_then(|_| parts.u64())
    };
    let mut newest = |key: &[u8], row: Bytes| {
        seen += 1;
        octets += DecisionRow::decode(&row).map_or(row.len() as u64, |row| row.weight());
        if let Some(number) = number(key) {
            kept.next = kept.next.max(number.saturating_add(1));
        }
        match seen < SAMPLE {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    edit.reads()
        .scan_back(Space::Rows, &from, &to, &mut newest)?;
    kept.first = kept.next;
    let mut oldest = |key: &[u8], _| {
        kept.first = number(key).unwrap_or(kept.first).min(kept.next);
        ControlFlow::Break(())
    };
    edit.reads().scan(Space::Rows, &from, &to, &mut oldest)?;
    let count = kept.next - kept.first;
    // Roughly; it is right again when the last of them has gone.
    kept.octets = (octets / (seen as u64).max(1)).saturating_mul(count);
    Ok((kept, row.is_some()))
}

/// What became of the oldest record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    /// There is none.
    Nothing,
    Whole,
    /// It could not be read: what led to it leads nowhere now.
    Damaged,
}

/// Removes the oldest record.
fn remove_oldest(edit: &mut Edit<'_>, series: Series, kept: &mut Kept) -> Removed {
    if kept.first >= kept.next {
        // However it was counted.
        kept.octets = 0;
        return Removed::Nothing;
    }
    let number = kept.first;
    kept.first += 1;
    let key = by_number(number);
    let removed = match edit.row::<DecisionRow>(&key) {
        // The row that says which there are is wrong: there may be none for ever.
        Ok(None) => {
            kept.first = first_from(edit, series, *kept);
            return Removed::Whole;
        }
        Ok(Some(row)) => {
            for hash in &row.keys {
                edit.remove(leads_to(*hash, number));
            }
            kept.octets = kept.octets.saturating_sub(row.weight());
            Removed::Whole
        }
        Err(_) => {
            // Nobody knows how much it was: as much as the others.
            let count = kept.next.saturating_sub(number).max(1);
            kept.octets -= kept.octets / count;
            Removed::Damaged
        }
    };
    edit.remove(key);
    removed
}

/// The number of the first record that there is from where it should be; of the last there can be, when there is none.
fn first_from(edit: &Edit<'_>, series: Series, kept: Kept) -> u64 {
    let all = Key::of(Table::Decision, STORE).bytes(&[BY_NUMBER]).done();
    let (_, to) = series.within(&all);
    let mut found = None;
    let mut first = |key: &[u8], _| {
        let mut parts = Parts::of(key);
        found = parts.u8().and_then(|_| parts.u64());
        ControlFlow::Break(())
    };
    let from = by_number(kept.first);
    // What cannot be read is passed over like what is not there. The newest may be written by this very operation.
    let _ = (edit.reads()).scan(Space::Rows, &from, &to, &mut first);
    let last = kept.next.saturating_sub(1);
    found.unwrap_or(last).max(kept.first).min(kept.next)
}

/// Removes some of the records that are older than this, or for which there is no room. Run it again until it says `Done`.
pub fn purge_decisions(
    reads: &dyn Reads,
    before: Utc,
    budget: DecisionBudget,
) -> Result<(Batch, Progress), Stop> {
    let mut edit = Edit::new(reads, before);
    let mut progress = Progress::Done;
    for series in Series::ALL {
        if purge(&mut edit, series, before, budget)? == Progress::More(()) {
            progress = Progress::More(());
        }
    }
    Ok((edit.finish()?, progress))
}

fn purge(
    edit: &mut Edit<'_>,
    series: Series,
    before: Utc,
    budget: DecisionBudget,
) -> Result<Progress, ReadError> {
    if edit.get(&series.kept_key())?.is_none() {
        return Ok(Progress::Done);
    }
    let (mut kept, is_damaged) = kept(edit, series)?;
    let was = kept;
    let mut progress = Progress::Done;
    loop {
        // One that is missing or cannot be read is of no use to anybody.
        let oldest: Option<DecisionRow> = edit.row(&by_number(kept.first)).unwrap_or(None);
        let is_over = kept.octets > series.room(budget);
        if oldest.is_some_and(|row| row.at >= before) && !is_over {
            break;
        }
        if edit.weight() + DECISION_KEYS_MAX > ROWS {
            progress = Progress::More(());
            break;
        }
        if remove_oldest(edit, series, &mut kept) == Removed::Nothing {
            break;
        }
    }
    if kept != was || is_damaged {
        edit.put(series.kept_key(), kept.encode());
    }
    Ok(progress)
}

/// The newest records with this key, at most `max`. Others may be among them whose key has the same hash. Damaged ones are passed
/// over, unless there is nothing else.
pub fn decisions(reads: &dyn Reads, wanted: &str, max: usize) -> Result<Vec<Bytes>, ReadError> {
    let key = by_key(hash(wanted));
    let (mut found, mut unread) = (Vec::new(), None);
    for series in Series::ALL {
        let (from, to) = series.within(&key);
        let (mut numbers, mut damaged) = (Vec::new(), false);
        reads.scan_back(Space::Rows, &from, &to, &mut |key, _| {
            let mut parts = Parts::of(key);
            match (parts.u8(), parts.u64(), parts.u64()) {
                (Some(_), Some(_), Some(number)) => numbers.push(number),
                _ => damaged = true,
            }
            match numbers.len() < max && !damaged {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        if damaged {
            return Err(scan::bad_key("decisions"));
        }
        for number in numbers {
            let bytes = reads.get(Space::Rows, &by_number(number))?;
            match bytes.map(|bytes| DecisionRow::decode(&bytes)) {
                None => {}
                Some(Ok(row)) => found.push(row),
                Some(Err(error)) => unread = Some(error),
            }
        }
    }
    match unread {
        Some(error) if found.is_empty() => return Err(error),
        _ => {}
    }
    found.sort_by_key(|row| core::cmp::Reverse(row.at));
    found.truncate(max);
    Ok(found.into_iter().map(|row| row.record).collect())
}
