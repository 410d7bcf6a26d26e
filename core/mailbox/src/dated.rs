//! Rows that are found by when they were made, and by nothing else: what limiters refused, and reports of other servers. What
//! is in a row is opaque to the engine.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;

use crate::edit::Edit;
use crate::key::{self, Key, Parts, Table};
use crate::varint::{self, Input};
use crate::{AccountId, Batch, Progress, ReadError, Reads, Space, Stop, scan};

/// Octets of one row at most; a larger one is not kept.
pub const DATED_MAX: usize = 48 * 1024;
/// Rows of one kind and second.
const SAME_SECOND_MAX: u8 = u8::MAX;
/// Rows of one source, at most: who sends what, about what, on which day.
pub const SAME_SOURCE_MAX: u8 = 16;
/// Octets of all rows of one kind that others send, at most. Beyond it the oldest go.
pub const SENT_OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// Rows that one operation removes at most, beside what else it does.
const REMOVED_AT_ONCE: usize = 16;
/// Rows that one operation removes at most when it does nothing else; what leads to them goes too.
const ROWS: usize = 400;
/// Beside rows by time: what leads to those of a source.
const SLOTS: u8 = 6;
/// How many octets there are of a kind.
const OCTETS: u8 = 7;

/// What rows are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    /// What limiters refused within a minute.
    Refused,
    /// A DMARC aggregate report.
    DmarcReport,
    /// A TLS report.
    TlsReport,
}

impl Dated {
    const fn byte(self) -> u8 {
        // Beside the records of decisions, which have the bytes before.
        match self {
            Self::Refused => 3,
            Self::DmarcReport => 4,
            Self::TlsReport => 5,
        }
    }

    fn prefix(self) -> Key {
        Key::of(Table::Decision, AccountId(0)).bytes(&[self.byte()])
    }

    fn key(self, at: Utc, nth: u8) -> Vec<u8> {
        let at = u64::try_from(at.secs()).unwrap_or(0);
        self.prefix().bytes(&at.to_be_bytes()).bytes(&[nth]).done()
    }
}

/// A row to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDated {
    /// Of which kind.
    pub kind: Dated,
    /// When it was made.
    pub at: Utc,
    /// At most [`DATED_MAX`] octets.
    pub row: Bytes,
    /// From whom, where others decide how many there are.
    pub source: Option<DatedSource>,
}

/// What rows have in common that somebody else sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatedSource {
    /// A hash of who sends them, about what, and on which day: there are [`SAME_SOURCE_MAX`] at most.
    pub of: u64,
    /// A hash of what tells it from the others of those: another one with the same replaces it.
    pub id: u64,
}

/// Where a row of a source is found.
struct Slot {
    key: Vec<u8>,
    /// The row it leads to now.
    before: Option<Vec<u8>>,
}

fn slot_key(kind: Dated, of: u64, nth: u8) -> Vec<u8> {
    let key = Key::of(Table::Decision, AccountId(0)).bytes(&[SLOTS, kind.byte()]);
    key.bytes(&of.to_be_bytes()).bytes(&[nth]).done()
}

fn octets_key(kind: Dated) -> Vec<u8> {
    Key::of(Table::Decision, AccountId(0))
        .bytes(&[OCTETS, kind.byte()])
        .done()
}

/// Octets of the rows of a kind that others sent. Those that older versions kept are not among them. A damaged row counts anew: it
/// keeps nothing out.
fn octets(edit: &Edit<'_>, kind: Dated) -> Result<u64, ReadError> {
    let row = edit.get(&octets_key(kind))?;
    let read = row.and_then(|row| Input::new(&row, "octets of rows by time").number().ok());
    Ok(read.unwrap_or(0))
}

fn set_octets(edit: &mut Edit<'_>, kind: Dated, octets: u64) {
    let mut out = Vec::new();
    varint::put(&mut out, octets);
    edit.put(octets_key(kind), out.into());
}

/// Keeps rows that only we make.
pub fn keep_dated(
    reads: &dyn Reads,
    kind: Dated,
    new: &[(Utc, Bytes)],
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    for (at, row) in new {
        let new = NewDated {
            kind,
            at: *at,
            row: row.clone(),
            source: None,
        };
        keep(&mut edit, &new)?;
    }
    Ok((edit.finish()?, ()))
}

pub(crate) fn keep(edit: &mut Edit<'_>, new: &NewDated) -> Result<(), Stop> {
    if new.row.len() > DATED_MAX {
        return Ok(());
    }
    let slot = match new.source {
        None => None,
        Some(source) => match slot(edit, new.kind, source)? {
            // Who sends so many is not listened to.
            None => return Ok(()),
            some => some,
        },
    };
    for nth in 0..SAME_SECOND_MAX {
        let mut key = new.kind.key(new.at, nth);
        if !edit.keys(&key, &key::behind(&key), 1)?.is_empty() {
            continue;
        }
        let (Some(slot), Some(source)) = (slot, new.source) else {
            edit.put(key, new.row.clone());
            break;
        };
        // The place of what leads to it is behind its time.
        let nth = slot.key.last().copied().unwrap_or_default();
        key.extend_from_slice(&source.of.to_be_bytes());
        key.push(nth);
        if let Some(before) = slot.before {
            remove(edit, new.kind, before)?;
        }
        let leads_to = [&source.id.to_be_bytes(), &key[..]].concat();
        edit.put(slot.key, leads_to.into());
        let octets = octets(edit, new.kind)?.saturating_add(new.row.len() as u64);
        set_octets(edit, new.kind, octets);
        edit.put(key, new.row.clone());
        break;
    }
    for _ in 0..REMOVED_AT_ONCE {
        let from = new.kind.prefix().done();
        let is_over = new.source.is_some() && octets(edit, new.kind)? > SENT_OCTETS_MAX;
        match edit.keys(&from, &key::behind(&from), 1)?.pop() {
            Some(oldest) if is_over => remove(edit, new.kind, oldest)?,
            _ => break,
        }
    }
    Ok(())
}

/// The slot that has this one already, or a free one; `None` when there is none.
fn slot(edit: &Edit<'_>, kind: Dated, source: DatedSource) -> Result<Option<Slot>, ReadError> {
    let mut free = None;
    for nth in 0..SAME_SOURCE_MAX {
        let key = slot_key(kind, source.of, nth);
        match edit.get(&key)? {
            None => free = free.or(Some(Slot { key, before: None })),
            Some(row) => match row.split_first_chunk() {
                Some((id, before)) if u64::from_be_bytes(*id) == source.id => {
                    let before = Some(before.to_vec());
                    return Ok(Some(Slot { key, before }));
                }
                Some(_) => {}
                // It leads nowhere.
                None => free = free.or(Some(Slot { key, before: None })),
            },
        }
    }
    Ok(free)
}

/// Removes a row, with what leads to it.
fn remove(edit: &mut Edit<'_>, kind: Dated, key: Vec<u8>) -> Result<(), ReadError> {
    let mut parts = Parts::of(&key);
    let _ = (parts.u8(), parts.u64(), parts.u8());
    if let Some((of, nth)) = parts.u64().zip(parts.u8()) {
        let row = edit.get(&key)?.map_or(0, |row| row.len() as u64);
        let left = octets(edit, kind)?.saturating_sub(row);
        set_octets(edit, kind, left);
        edit.remove(slot_key(kind, of, nth));
    }
    edit.remove(key);
    Ok(())
}

/// Rows of one kind, the newest first, as long as `wanted` takes them and at most so many.
pub fn dated(
    reads: &dyn Reads,
    kind: Dated,
    max: usize,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> Result<Vec<Bytes>, ReadError> {
    let from = kind.prefix().done();
    let mut found = Vec::new();
    reads.scan_back(Space::Rows, &from, &key::behind(&from), &mut |_, row| {
        if found.len() < max && wanted(&row) {
            found.push(row);
        }
        match found.len() < max {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    Ok(found)
}

/// Removes some of the rows of one kind that are older than this. Run it again until it says `Done`.
pub fn purge_dated(reads: &dyn Reads, kind: Dated, before: Utc) -> Result<(Batch, Progress), Stop> {
    let until = u64::try_from(before.secs()).unwrap_or(0);
    let mut due = Vec::new();
    scan::prefix(reads, &kind.prefix().done(), &mut |key, _| {
        let mut parts = Parts::of(key);
        let (_, at) = (parts.u8(), parts.u64());
        let at = at.ok_or_else(|| scan::bad_key("rows by time"))?;
        if at >= until || due.len() >= ROWS {
            return Ok(ControlFlow::Break(()));
        }
        due.push(key.to_vec());
        Ok(ControlFlow::Continue(()))
    })?;
    if due.is_empty() {
        return Ok((Batch::default(), Progress::Done));
    }
    let mut edit = Edit::new(reads, before);
    for key in due {
        remove(&mut edit, kind, key)?;
    }
    Ok((edit.finish()?, Progress::More(())))
}
