//! Records of decisions about mail that arrives: kept for a time and within a budget, found by what they are about.
//!
//! A record is opaque to the engine. It has a number; under the hash of each of its keys stands a row that leads to it.

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
/// Records that one operation removes at most, beside what else it does.
const REMOVED_AT_ONCE: usize = 2;
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
    /// What is to be reported of the message to other domains: kept in the same operation, whatever becomes of the record.
    pub observations: Vec<Observation>,
}

/// For how much there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionBudget {
    /// Octets of all records and their keys, roughly. Beyond it the oldest ones go.
    pub octets: u64,
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
        self.record.len() as u64 + self.keys.len() as u64 * KEY_OCTETS + KEY_OCTETS
    }
}

const STORE: AccountId = AccountId(0);
const BY_NUMBER: u8 = 1;
const BY_KEY: u8 = 2;

fn kept_key() -> Vec<u8> {
    Key::of(Table::Decision, STORE).bytes(&[0]).done()
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

/// Keeps records, and removes some of the oldest ones while there is no room.
pub fn keep_decisions(
    reads: &dyn Reads,
    new: &[NewDecision],
    budget: DecisionBudget,
) -> Result<(Batch, ()), Stop> {
    let now = new.last().map_or_else(Utc::default, |new| new.at);
    let mut edit = Edit::new(reads, now);
    for new in new {
        keep(&mut edit, new, budget)?;
    }
    Ok((edit.finish()?, ()))
}

pub(crate) fn keep(
    edit: &mut Edit<'_>,
    new: &NewDecision,
    budget: DecisionBudget,
) -> Result<(), Stop> {
    reports_out::keep_all(edit, &new.observations)?;
    let mut kept: Kept = edit.row(&kept_key())?.unwrap_or_default();
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
        if kept.octets <= budget.octets || !remove_oldest(edit, &mut kept)? {
            break;
        }
    }
    edit.put(kept_key(), kept.encode());
    Ok(())
}

/// Removes the oldest record. False when there is none.
fn remove_oldest(edit: &mut Edit<'_>, kept: &mut Kept) -> Result<bool, Stop> {
    if kept.first >= kept.next {
        return Ok(false);
    }
    let key = by_number(kept.first);
    if let Some(row) = edit.row::<DecisionRow>(&key)? {
        for hash in &row.keys {
            edit.remove(leads_to(*hash, kept.first));
        }
        kept.octets = kept.octets.saturating_sub(row.weight());
        edit.remove(key);
    }
    kept.first += 1;
    Ok(true)
}

/// Removes some of the records that are older than this, or for which there is no room. Run it again until it says `Done`.
pub fn purge_decisions(
    reads: &dyn Reads,
    before: Utc,
    budget: DecisionBudget,
) -> Result<(Batch, Progress), Stop> {
    let mut edit = Edit::new(reads, before);
    let Some(mut kept) = edit.row::<Kept>(&kept_key())? else {
        return Ok((Batch::default(), Progress::Done));
    };
    let was = kept;
    let mut progress = Progress::Done;
    loop {
        let oldest: Option<DecisionRow> = edit.row(&by_number(kept.first))?;
        let is_due = oldest.is_none_or(|row| row.at < before) || kept.octets > budget.octets;
        if !is_due {
            break;
        }
        if edit.weight() + DECISION_KEYS_MAX > ROWS {
            progress = Progress::More(());
            break;
        }
        if !remove_oldest(&mut edit, &mut kept)? {
            break;
        }
    }
    if kept == was {
        return Ok((Batch::default(), Progress::Done));
    }
    edit.put(kept_key(), kept.encode());
    Ok((edit.finish()?, progress))
}

/// The newest records with this key, at most `max`. Others may be among them whose key has the same hash.
pub fn decisions(reads: &dyn Reads, wanted: &str, max: usize) -> Result<Vec<Bytes>, ReadError> {
    let from = by_key(hash(wanted));
    let mut numbers = Vec::new();
    let mut damaged = false;
    reads.scan_back(Space::Rows, &from, &key::behind(&from), &mut |key, _| {
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
    let mut found = Vec::new();
    for number in numbers {
        let bytes = reads.get(Space::Rows, &by_number(number))?;
        if let Some(bytes) = bytes {
            found.push(DecisionRow::decode(&bytes)?.record);
        }
    }
    Ok(found)
}
