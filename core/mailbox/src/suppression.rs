//! Addresses that an account sends nothing to any more: because other servers refused them again and again, or because somebody
//! said so.
//!
//! A row counts the failures of an address in a row; a delivery removes it, and so does time. From [`SUPPRESSED_AFTER`] on the
//! address is suppressed for [`SUPPRESSED_FOR`], unless somebody lifts that before; what somebody added stays until then. A row beside them counts the rows, so that nothing is counted
//! by reading them all.

use core::ops::ControlFlow;
use mox_address::Path;
use mox_machine::Utc;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::account::account_row;
use crate::edit::Edit;
use crate::key::{self, Key, Table};
use crate::queue::{ADDRESS_MAX, TEXT_MAX, clipped};
use crate::rows::{Stored, utc, utc_option};
use crate::{AccountId, Batch, Limit, Progress, ReadError, Reads, Space, Stop, scan};

/// Permanent failures in a row after which an address is suppressed.
pub const SUPPRESSED_AFTER: u32 = 3;
/// For how long an address is suppressed that failed so often: it may be given to somebody again, and then nobody would know.
pub const SUPPRESSED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// A failure so long after the one before is the first one again.
pub const FAILURES_APART: Duration = Duration::from_secs(30 * 24 * 3600);
/// Addresses of an account that are suppressed or whose failures are counted, at most. Beyond it the oldest failures that led
/// to nothing yet make room.
pub const SUPPRESSIONS_MAX: usize = 5_000;
/// Rows that make room, or are purged, at once: looking for them reads all of an account's.
const FORGOTTEN_AT_ONCE: usize = 256;

/// An address that fails, or that is suppressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// In lower case, its domain in A-labels.
    pub address: String,
    /// Failures in a row; none when somebody added it.
    pub failures: u32,
    /// When it failed last, or was added.
    #[serde(with = "utc")]
    pub last: Utc,
    /// Since when nothing is sent there; not yet when there were too few failures.
    #[serde(with = "utc_option")]
    pub since: Option<Utc>,
    /// What was said last, by another server or by who added it.
    pub reason: String,
    /// That was told after the message had been taken: that it is taken again says nothing.
    pub later: bool,
}

impl Suppression {
    /// Nothing is sent there.
    fn is_suppressed(&self, now: Utc) -> bool {
        self.since.is_some() && self.until().is_none_or(|until| now < until)
    }

    /// When that is over; `None` when somebody has to lift it, or nothing is to be lifted.
    pub fn until(&self) -> Option<Utc> {
        let since = self.since.filter(|_| self.failures > 0);
        since.map(|since| since + SUPPRESSED_FOR)
    }

    /// It counts for nothing any more: its failures led to nothing for long, or to what is over.
    fn is_over(&self, now: Utc) -> bool {
        match self.since {
            None => now > self.last + FAILURES_APART,
            Some(_) => !self.is_suppressed(now),
        }
    }
}

/// How many rows of an account there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SuppressionCount {
    rows: u64,
    /// Those of them that are suppressed.
    suppressed: u64,
}

impl SuppressionCount {
    fn add(&mut self, row: &Suppression) {
        self.rows += 1;
        self.suppressed += u64::from(row.since.is_some());
    }

    fn take(&mut self, row: &Suppression) {
        self.rows = self.rows.saturating_sub(1);
        let was = u64::from(row.since.is_some());
        self.suppressed = self.suppressed.saturating_sub(was);
    }
}

/// An address in the one form in which addresses are compared: in lower case, its domain in A-labels. What is no address is only
/// brought into lower case.
pub(crate) fn canonical(address: &str) -> String {
    let path = Path::parse(address, true).ok();
    let domain = path.as_ref().and_then(Path::domain);
    match (&path, domain.and_then(|domain| domain.to_ascii().ok())) {
        (Some(path), Some(domain)) => format!("{}@{domain}", path.local).to_lowercase(),
        _ => address.to_lowercase(),
    }
}

fn key_of(account: AccountId, address: &str) -> Vec<u8> {
    key_as_it_is(account, &canonical(address))
}

fn key_as_it_is(account: AccountId, address: &str) -> Vec<u8> {
    Key::of(Table::Suppression, account)
        .bytes(address.as_bytes())
        .done()
}

/// What is known of an address; `None` when it never failed lately.
fn known(edit: &Edit<'_>, key: &[u8]) -> Result<Option<Suppression>, ReadError> {
    edit.row(key)
}

fn each(
    reads: &dyn Reads,
    account: AccountId,
    take: &mut dyn FnMut(&[u8], Suppression),
) -> Result<(), ReadError> {
    let from = key::in_account(Table::Suppression, account);
    let to = key::behind(&from);
    scan::range(reads, Space::Rows, &from, &to, &mut |key, value| {
        take(key, Suppression::decode(&value)?);
        Ok(ControlFlow::Continue(()))
    })
}

/// How many there are. Where an earlier version wrote them they are counted, once.
fn count(edit: &Edit<'_>, account: AccountId) -> Result<SuppressionCount, ReadError> {
    let key = key::in_account(Table::SuppressionCount, account);
    if let Some(count) = edit.row(&key)? {
        return Ok(count);
    }
    let mut count = SuppressionCount::default();
    each(edit.reads(), account, &mut |_, row| count.add(&row))?;
    Ok(count)
}

fn put_count(edit: &mut Edit<'_>, account: AccountId, count: SuppressionCount) {
    let key = key::in_account(Table::SuppressionCount, account);
    edit.put(key, count.encode());
}

/// Writes a row in the place of the one before, if there is room; whether there was.
fn put(
    edit: &mut Edit<'_>,
    account: AccountId,
    before: Option<&Suppression>,
    row: &Suppression,
) -> Result<bool, ReadError> {
    let mut count = count(edit, account)?;
    match before {
        Some(before) => count.take(before),
        None if !make_room(edit, account, &mut count)? => return Ok(false),
        None => {}
    }
    count.add(row);
    edit.put(key_as_it_is(account, &row.address), row.encode());
    put_count(edit, account, count);
    Ok(true)
}

fn remove(edit: &mut Edit<'_>, account: AccountId, row: &Suppression) -> Result<(), ReadError> {
    let mut count = count(edit, account)?;
    count.take(row);
    edit.remove(key_as_it_is(account, &row.address));
    put_count(edit, account, count);
    Ok(())
}

/// Room for one more: where there is none, the oldest failures that led to nothing are forgotten. False when all are suppressed.
fn make_room(
    edit: &mut Edit<'_>,
    account: AccountId,
    count: &mut SuppressionCount,
) -> Result<bool, ReadError> {
    let most = u64::try_from(SUPPRESSIONS_MAX).unwrap_or(u64::MAX);
    if count.rows < most {
        return Ok(true);
    }
    if count.suppressed >= most {
        return Ok(false);
    }
    forget(edit, account, count, &|row| row.since.is_none())?;
    Ok(count.rows < most)
}

/// Forgets the oldest rows that are such; how many.
fn forget(
    edit: &mut Edit<'_>,
    account: AccountId,
    count: &mut SuppressionCount,
    is_such: &dyn Fn(&Suppression) -> bool,
) -> Result<usize, ReadError> {
    let mut oldest = Vec::new();
    each(edit.reads(), account, &mut |key, row| {
        if is_such(&row) {
            oldest.push((row.last, key.to_vec()));
        }
    })?;
    oldest.sort_unstable();
    let mut forgotten = 0;
    for (_, key) in oldest {
        // As it is in this operation.
        let Some(row) = known(edit, &key)?.filter(is_such) else {
            continue;
        };
        count.take(&row);
        edit.remove(key);
        forgotten += 1;
        if forgotten >= FORGOTTEN_AT_ONCE {
            break;
        }
    }
    Ok(forgotten)
}

/// Counts a permanent failure of an address; `later` says that the message had been taken.
pub(crate) fn failed(
    edit: &mut Edit<'_>,
    account: AccountId,
    address: &str,
    reason: &str,
    later: bool,
) -> Result<(), Stop> {
    let before = known(edit, &key_of(account, address))?;
    let now = edit.now;
    if before
        .as_ref()
        .is_some_and(|before| before.is_suppressed(now))
    {
        return Ok(());
    }
    if before.is_none() && account_row(edit.reads(), account)?.is_none() {
        return Ok(());
    }
    let lately = before.as_ref().filter(|before| !before.is_over(now));
    let failures = lately.map_or(0, |before| before.failures).saturating_add(1);
    let row = Suppression {
        address: canonical(address),
        failures,
        last: now,
        since: (failures >= SUPPRESSED_AFTER).then_some(now),
        reason: clipped(reason, TEXT_MAX),
        later,
    };
    // Where all are suppressed none is added by itself.
    put(edit, account, before.as_ref(), &row)?;
    Ok(())
}

/// A message for an address was delivered: what failed before does not count any more.
pub(crate) fn delivered(
    edit: &mut Edit<'_>,
    account: AccountId,
    address: &str,
) -> Result<(), Stop> {
    let known = known(edit, &key_of(account, address))?;
    let now = edit.now;
    if let Some(known) = known.filter(|known| !known.is_suppressed(now) && !known.later) {
        remove(edit, account, &known)?;
    }
    Ok(())
}

/// Sends nothing to an address any more, for this reason.
pub fn suppress(
    reads: &dyn Reads,
    account: AccountId,
    address: &str,
    reason: &str,
    now: Utc,
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, now);
    let row = Suppression {
        address: canonical(address),
        failures: 0,
        last: now,
        since: Some(now),
        reason: clipped(reason, TEXT_MAX),
        later: false,
    };
    if row.address.len() > ADDRESS_MAX {
        return Err(Stop::TooMany(Limit::Address));
    }
    let before = known(&edit, &key_of(account, address))?;
    if !put(&mut edit, account, before.as_ref(), &row)? {
        return Err(Stop::TooMany(Limit::Suppressions));
    }
    Ok((edit.finish()?, ()))
}

/// Sends to an address again, and forgets its failures. False when nothing was known of it.
pub fn unsuppress(
    reads: &dyn Reads,
    account: AccountId,
    address: &str,
) -> Result<(Batch, bool), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    let mut was = false;
    // Earlier versions kept domains as they were written.
    for form in [canonical(address), address.to_lowercase()] {
        if let Some(known) = known(&edit, &key_as_it_is(account, &form))? {
            remove(&mut edit, account, &known)?;
            was = true;
        }
    }
    Ok((edit.finish()?, was))
}

/// Forgets some of an account's failures that are too old to count, and suppressions that are over. Run it again until it says
/// `Done`.
pub fn purge_suppressions(
    reads: &dyn Reads,
    account: AccountId,
    now: Utc,
) -> Result<(Batch, Progress), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut count = count(&edit, account)?;
    let forgotten = forget(&mut edit, account, &mut count, &|row| row.is_over(now))?;
    if forgotten > 0 {
        put_count(&mut edit, account, count);
    }
    let progress = match forgotten >= FORGOTTEN_AT_ONCE {
        true => Progress::More(()),
        false => Progress::Done,
    };
    Ok((edit.finish()?, progress))
}

/// The suppression of an address, if it is suppressed now.
pub fn suppression(
    reads: &dyn Reads,
    account: AccountId,
    address: &str,
    now: Utc,
) -> Result<Option<Suppression>, ReadError> {
    let known = failures(reads, account, address)?;
    Ok(known.filter(|known| known.is_suppressed(now)))
}

/// What is known of an address that failed, or that is suppressed.
pub fn failures(
    reads: &dyn Reads,
    account: AccountId,
    address: &str,
) -> Result<Option<Suppression>, ReadError> {
    let bytes = reads.get(Space::Rows, &key_of(account, address))?;
    bytes.map(|bytes| Suppression::decode(&bytes)).transpose()
}

/// The addresses that an account sends nothing to now, in order.
pub fn suppressions(
    reads: &dyn Reads,
    account: AccountId,
    now: Utc,
) -> Result<Vec<Suppression>, ReadError> {
    let mut found = Vec::new();
    each(reads, account, &mut |_, row| {
        found.extend(Some(row).filter(|row| row.is_suppressed(now)));
    })?;
    Ok(found)
}
