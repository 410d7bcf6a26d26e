//! Rows that are found by when they were made, and by nothing else: what limiters refused, and reports of other servers. What
//! is in a row is opaque to the engine.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;

use crate::edit::Edit;
use crate::key::{self, Key, Parts, Table};
use crate::{AccountId, Batch, Progress, ReadError, Reads, Space, Stop, scan};

/// Octets of one row at most; a larger one is not kept.
pub const DATED_MAX: usize = 48 * 1024;
/// Rows of one kind and second.
const SAME_SECOND_MAX: u8 = u8::MAX;
/// Rows that one operation removes at most.
const ROWS: usize = 800;

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
    fn prefix(self) -> Key {
        // Beside the records of decisions, which have the bytes before.
        let byte = match self {
            Self::Refused => 3,
            Self::DmarcReport => 4,
            Self::TlsReport => 5,
        };
        Key::of(Table::Decision, AccountId(0)).bytes(&[byte])
    }

    fn key(self, at: Utc, nth: u8) -> Vec<u8> {
        let at = u64::try_from(at.secs()).unwrap_or(0);
        self.prefix().bytes(&at.to_be_bytes()).bytes(&[nth]).done()
    }
}

/// Keeps rows of one kind.
pub fn keep_dated(
    reads: &dyn Reads,
    kind: Dated,
    new: &[(Utc, Bytes)],
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    for (at, row) in new {
        keep(&mut edit, kind, *at, row)?;
    }
    Ok((edit.finish()?, ()))
}

pub(crate) fn keep(edit: &mut Edit<'_>, kind: Dated, at: Utc, row: &Bytes) -> Result<(), Stop> {
    if row.len() > DATED_MAX {
        return Ok(());
    }
    for nth in 0..SAME_SECOND_MAX {
        let key = kind.key(at, nth);
        if edit.get(&key)?.is_none() {
            edit.put(key, row.clone());
            break;
        }
    }
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
        edit.remove(key);
    }
    Ok((edit.finish()?, Progress::More(())))
}
