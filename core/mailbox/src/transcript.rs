//! What was done in the last attempt of an entry, step by step: a row of its own, so that the entry stays small. It stays as long as
//! what left the entry last.

use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::key::{self, Table};
use crate::queue::{QueueEntry, clipped};
use crate::rows::{Stored, utc};
use crate::{ReadError, Reads, Space, Stop};

/// Steps kept of an attempt: the last ones.
pub const STEPS_MAX: usize = 40;
/// Octets of them in all.
pub const STEPS_OCTETS_MAX: usize = 8 * 1024;
/// Octets of one step.
pub const STEP_MAX: usize = 512;

/// What was done in an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// When it ended.
    #[serde(with = "utc")]
    pub at: Utc,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Steps, in order: which host, commands with their replies. Neither content nor what proves who we are.
    pub steps: Vec<String>,
    /// Earlier steps that there was no room for.
    pub left_out: u32,
}

/// The steps of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// In order; the last [`STEPS_MAX`] are kept.
    pub lines: Vec<String>,
    /// Earlier ones that are not among them.
    pub left_out: u32,
}

/// Keeps the steps of an attempt that ended, in place of those of the one before.
pub(crate) fn keep(edit: &mut Edit<'_>, entry: &QueueEntry, steps: &Steps) -> Result<(), Stop> {
    let key = key::queue(Table::Transcript, entry.id);
    let lines = &steps.lines;
    if lines.is_empty() {
        if edit.get(&key)?.is_some() {
            edit.remove(key);
        }
        return Ok(());
    }
    let mut room = STEPS_OCTETS_MAX;
    let mut kept = Vec::new();
    for step in lines.iter().rev().take(STEPS_MAX) {
        let step = clipped(step, STEP_MAX);
        let Some(rest) = room.checked_sub(step.len()) else {
            break;
        };
        room = rest;
        kept.push(step);
    }
    kept.reverse();
    let row = Transcript {
        at: edit.now,
        attempt: entry.attempts_made,
        left_out: u32::try_from(lines.len() - kept.len())
            .unwrap_or(u32::MAX)
            .saturating_add(steps.left_out),
        steps: kept,
    };
    edit.put(key, row.encode());
    Ok(())
}

/// What left the queue there is forgotten: the steps of its entry too, unless more of that is there.
pub(crate) fn forget(edit: &mut Edit<'_>, retired: &[u8], before: Utc) -> Result<(), Stop> {
    let Some(place) = key::retired_at(retired) else {
        return Ok(());
    };
    let key = key::queue(Table::Transcript, place.entry);
    let Some(bytes) = edit.get(&key)? else {
        return Ok(());
    };
    let is_there = edit.get(&key::queue(Table::Queue, place.entry))?.is_some();
    // Whatever left later did so by a later attempt, or was dropped.
    if !is_there && Transcript::decode(&bytes)?.at < before {
        edit.remove(key);
    }
    Ok(())
}

/// What was done in the last attempt of an entry, also when that has left the queue.
pub fn queue_transcript(reads: &dyn Reads, entry: u64) -> Result<Option<Transcript>, ReadError> {
    let bytes = reads.get(Space::Rows, &key::queue(Table::Transcript, entry))?;
    bytes.map(|bytes| Transcript::decode(&bytes)).transpose()
}
