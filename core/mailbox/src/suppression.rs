//! Addresses that an account sends nothing to any more: because other servers refused them again and again, or because somebody
//! said so.
//!
//! A row counts the failures of an address in a row; a delivery removes it. From [`SUPPRESSED_AFTER`] on the address is
//! suppressed, and stays so until somebody lifts that.

use mox_machine::Utc;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::account::account_row;
use crate::edit::Edit;
use crate::key::{self, Key, Table};
use crate::queue::{ADDRESS_MAX, TEXT_MAX, clipped};
use crate::rows::{Stored, utc, utc_option};
use crate::{AccountId, Batch, Limit, ReadError, Reads, Space, Stop, scan};

/// Permanent failures in a row after which an address is suppressed.
pub const SUPPRESSED_AFTER: u32 = 3;
/// A failure so long after the one before is the first one again.
pub const FAILURES_APART: Duration = Duration::from_secs(30 * 24 * 3600);
/// Addresses of an account whose failures are counted, at most. Beyond it none is added by itself.
pub const SUPPRESSIONS_MAX: usize = 5_000;

/// An address that fails, or that is suppressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// In lower case.
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

fn key_of(account: AccountId, address: &str) -> Vec<u8> {
    let address = address.to_lowercase();
    Key::of(Table::Suppression, account)
        .bytes(address.as_bytes())
        .done()
}

/// What is known of an address; `None` when it never failed lately.
fn known(edit: &Edit<'_>, key: &[u8]) -> Result<Option<Suppression>, ReadError> {
    let bytes = edit.get(key)?;
    bytes.map(|bytes| Suppression::decode(&bytes)).transpose()
}

/// Counts a permanent failure of an address; `later` says that the message had been taken.
pub(crate) fn failed(
    edit: &mut Edit<'_>,
    account: AccountId,
    address: &str,
    reason: &str,
    later: bool,
) -> Result<(), Stop> {
    let key = key_of(account, address);
    let before = known(edit, &key)?;
    if before.as_ref().is_some_and(|before| before.since.is_some()) {
        return Ok(());
    }
    if before.is_none()
        && (is_full(edit, account)? || account_row(edit.reads(), account)?.is_none())
    {
        return Ok(());
    }
    let now = edit.now;
    let lately = before.filter(|before| now <= before.last + FAILURES_APART);
    let failures = lately.map_or(0, |before| before.failures).saturating_add(1);
    let row = Suppression {
        address: address.to_lowercase(),
        failures,
        last: now,
        since: (failures >= SUPPRESSED_AFTER).then_some(now),
        reason: clipped(reason, TEXT_MAX),
        later,
    };
    edit.put(key, row.encode());
    Ok(())
}

/// A message for an address was delivered: what failed before does not count any more.
pub(crate) fn delivered(
    edit: &mut Edit<'_>,
    account: AccountId,
    address: &str,
) -> Result<(), Stop> {
    let key = key_of(account, address);
    if known(edit, &key)?.is_some_and(|known| known.since.is_none() && !known.later) {
        edit.remove(key);
    }
    Ok(())
}

fn is_full(edit: &Edit<'_>, account: AccountId) -> Result<bool, ReadError> {
    let from = key::in_account(Table::Suppression, account);
    let rows = edit.keys(&from, &key::behind(&from), SUPPRESSIONS_MAX)?;
    Ok(rows.len() >= SUPPRESSIONS_MAX)
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
    if address.len() > ADDRESS_MAX {
        return Err(Stop::TooMany(Limit::Address));
    }
    let key = key_of(account, address);
    if known(&edit, &key)?.is_none() && is_full(&edit, account)? {
        return Err(Stop::TooMany(Limit::Suppressions));
    }
    let row = Suppression {
        address: address.to_lowercase(),
        failures: 0,
        last: now,
        since: Some(now),
        reason: clipped(reason, TEXT_MAX),
        later: false,
    };
    edit.put(key, row.encode());
    Ok((edit.finish()?, ()))
}

/// Sends to an address again. False when it was not suppressed.
pub fn unsuppress(
    reads: &dyn Reads,
    account: AccountId,
    address: &str,
) -> Result<(Batch, bool), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    let key = key_of(account, address);
    let was = known(&edit, &key)?.is_some_and(|known| known.since.is_some());
    if was {
        edit.remove(key);
    }
    Ok((edit.finish()?, was))
}

/// The suppression of an address, if it is suppressed.
pub fn suppression(
    reads: &dyn Reads,
    account: AccountId,
    address: &str,
) -> Result<Option<Suppression>, ReadError> {
    let bytes = reads.get(Space::Rows, &key_of(account, address))?;
    let known = bytes.map(|bytes| Suppression::decode(&bytes)).transpose()?;
    Ok(known.filter(|known| known.since.is_some()))
}

/// The addresses that an account sends nothing to, in order.
pub fn suppressions(reads: &dyn Reads, account: AccountId) -> Result<Vec<Suppression>, ReadError> {
    let from = key::in_account(Table::Suppression, account);
    let mut found = Vec::new();
    scan::range(
        reads,
        Space::Rows,
        &from,
        &key::behind(&from),
        &mut |_, value| {
            let row = Suppression::decode(&value)?;
            found.extend(Some(row).filter(|row| row.since.is_some()));
            Ok(core::ops::ControlFlow::Continue(()))
        },
    )?;
    Ok(found)
}
