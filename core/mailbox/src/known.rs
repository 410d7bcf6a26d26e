//! What is known of other domains and of other hosts: a row by name for each, in a table that has room for so many. Where there is
//! no more room those go that were of use longest ago.
//!
//! A second row leads from when something was of use to its name, and one counts them, so that none of this reads all rows. What
//! cannot be read keeps nothing out: it is replaced, or goes when its turn comes.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::key::{self, Key, Parts, Table};
use crate::rows::Stored;
use crate::verify::Verify;
use crate::{AccountId, ReadError, Reads, Space, scan};

/// Octets of a name at most: those of a domain name, each written in four.
const NAME_MAX: usize = 1_020;
/// Rows that make room, or are purged, in one operation.
const FORGOTTEN_AT_ONCE: usize = 64;
/// The rows, by name.
const ROWS: u8 = 0;
/// Their names, by when they were of use.
const USED: u8 = 1;
/// How many there are.
const COUNT: u8 = 2;

/// A kind of such rows.
pub(crate) trait Known: Stored {
    /// Its number in keys, which never changes its meaning.
    const KIND: u8;
    /// Rows at most.
    const ROWS_MAX: u64;
    /// Octets of all of them at most.
    const OCTETS_MAX: u64;

    /// When it was of use last.
    fn used(&self) -> Utc;
}

/// How many rows of a kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownCount {
    rows: u64,
    octets: u64,
}

impl KnownCount {
    fn add(&mut self, octets: usize) {
        self.rows += 1;
        self.octets = self.octets.saturating_add(octets as u64);
    }

    fn take(&mut self, octets: usize) {
        self.rows = self.rows.saturating_sub(1);
        self.octets = self.octets.saturating_sub(octets as u64);
    }
}

fn part<K: Known>(part: u8) -> Key {
    Key::of(Table::Policy, AccountId(0)).bytes(&[K::KIND, part])
}

fn row_key<K: Known>(name: &str) -> Vec<u8> {
    part::<K>(ROWS).bytes(name.as_bytes()).done()
}

fn secs(at: Utc) -> u64 {
    u64::try_from(at.secs()).unwrap_or(0)
}

fn used_before<K: Known>(at: Utc) -> Key {
    part::<K>(USED).bytes(&secs(at).to_be_bytes())
}

fn used_key<K: Known>(row: &K, name: &str) -> Vec<u8> {
    used_before::<K>(row.used()).bytes(name.as_bytes()).done()
}

/// What is behind table, account, kind and part.
fn rest_of(key: &[u8]) -> Parts<'_> {
    let mut parts = Parts::of(key);
    let _ = (parts.u8(), parts.u8());
    parts
}

fn name_in(parts: Parts<'_>) -> Option<String> {
    String::from_utf8(parts.rest().to_vec()).ok()
}

/// How many there are. A damaged count is made anew.
fn count<K: Known>(edit: &Edit<'_>) -> Result<KnownCount, ReadError> {
    let Some(row) = edit.get(&part::<K>(COUNT).done())? else {
        return Ok(KnownCount::default());
    };
    if let Ok(count) = KnownCount::decode(&row) {
        return Ok(count);
    }
    let mut count = KnownCount::default();
    scan::prefix(edit.reads(), &part::<K>(ROWS).done(), &mut |_, row| {
        count.add(row.len());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(count)
}

fn put_count<K: Known>(edit: &mut Edit<'_>, count: KnownCount) {
    edit.put(part::<K>(COUNT).done(), count.encode());
}

/// The row of a name; `None` also where it cannot be read.
pub(crate) fn find<K: Known>(edit: &Edit<'_>, name: &str) -> Result<Option<K>, ReadError> {
    let row = edit.get(&row_key::<K>(name))?;
    Ok(row.and_then(|row| K::decode(&row).ok()))
}

/// The row of a name.
pub(crate) fn get<K: Known>(reads: &dyn Reads, name: &str) -> Result<Option<K>, ReadError> {
    let row = reads.get(Space::Rows, &row_key::<K>(name))?;
    row.map(|row| K::decode(&row)).transpose()
}

/// Writes the row of a name in the place of the one before, and makes room for it.
pub(crate) fn put<K: Known>(edit: &mut Edit<'_>, name: &str, row: &K) -> Result<(), ReadError> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Ok(());
    }
    take::<K>(edit, name)?;
    let mut count = count::<K>(edit)?;
    let value = row.encode();
    count.add(value.len());
    put_count::<K>(edit, count);
    edit.put(row_key::<K>(name), value);
    edit.put(used_key(row, name), Bytes::new());
    for _ in 0..FORGOTTEN_AT_ONCE {
        let KnownCount { rows, octets } = self::count::<K>(edit)?;
        if rows <= K::ROWS_MAX && octets <= K::OCTETS_MAX {
            break;
        }
        if !take_oldest::<K>(edit, None)? {
            break;
        }
    }
    Ok(())
}

/// Removes the row of a name.
pub(crate) fn take<K: Known>(edit: &mut Edit<'_>, name: &str) -> Result<(), ReadError> {
    let key = row_key::<K>(name);
    let Some(row) = edit.get(&key)? else {
        return Ok(());
    };
    let mut count = count::<K>(edit)?;
    count.take(row.len());
    put_count::<K>(edit, count);
    // Of a row that cannot be read nobody knows what leads to it: that goes when its turn comes.
    if let Ok(row) = K::decode(&row) {
        edit.remove(used_key(&row, name));
    }
    edit.remove(key);
    Ok(())
}

/// Removes the row that was of use longest ago, if that was before this. False when there is none.
fn take_oldest<K: Known>(edit: &mut Edit<'_>, before: Option<Utc>) -> Result<bool, ReadError> {
    let all = part::<K>(USED).done();
    let end = match before {
        Some(before) => used_before::<K>(before).done(),
        None => key::behind(&all),
    };
    let Some(oldest) = edit.keys(&all, &end, 1)?.pop() else {
        return Ok(false);
    };
    let mut parts = rest_of(&oldest);
    let used = parts.u64();
    if let Some(name) = name_in(parts) {
        let row: Option<K> = find(edit, &name)?;
        // A row that was written since has another one that leads to it.
        if row.is_none_or(|row| Some(secs(row.used())) == used) {
            take::<K>(edit, &name)?;
        }
    }
    edit.remove(oldest);
    Ok(true)
}

/// Removes some rows that were of use last before this; whether there may be more.
pub(crate) fn purge<K: Known>(edit: &mut Edit<'_>, before: Utc) -> Result<bool, ReadError> {
    for _ in 0..FORGOTTEN_AT_ONCE {
        if !take_oldest::<K>(edit, Some(before))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Rows in the order of their names, those behind `after`, at most `max`. What cannot be read is passed over.
pub(crate) fn page<K: Known>(
    reads: &dyn Reads,
    after: &str,
    max: usize,
) -> Result<Vec<(String, K)>, ReadError> {
    let mut from = row_key::<K>(after);
    from.push(0);
    let to = key::behind(&part::<K>(ROWS).done());
    let mut found = Vec::new();
    scan::range(reads, Space::Rows, &from, &to, &mut |key, row| {
        if found.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        found.extend(name_in(rest_of(key)).zip(K::decode(&row).ok()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Whether rows, what leads to them and their count agree.
pub(crate) fn verify<K: Known>(v: &mut Verify<'_>) -> Result<(), ReadError> {
    let what = K::NAME;
    let damaged = || scan::bad_key(K::NAME);
    let mut count = KnownCount::default();
    let rows = v.each(&part::<K>(ROWS).done(), |key, row| {
        count.add(row.len());
        let name = name_in(rest_of(key)).ok_or_else(damaged)?;
        Ok((name, K::decode(&row)?))
    })?;
    for (name, row) in &rows {
        let is_found = v.has(&used_key(row, name))?;
        v.expect(is_found, || {
            format!("{what}: nothing leads to {name} by when it was of use")
        });
    }
    let used = v.each(&part::<K>(USED).done(), |key, _| {
        let mut parts = rest_of(key);
        parts.u64().zip(name_in(parts)).ok_or_else(damaged)
    })?;
    for (used, name) in used {
        let row = rows.binary_search_by(|(known, _)| known.cmp(&name)).ok();
        let row = row.and_then(|at| rows.get(at));
        let agrees = row.is_some_and(|(_, row)| secs(row.used()) == used);
        v.expect(agrees, || {
            format!("{what}: {name} was not of use when it is said to have been")
        });
    }
    let counted = v.each(&part::<K>(COUNT).done(), |_, row| KnownCount::decode(&row))?;
    let counted = counted.first().copied().unwrap_or_default();
    v.expect(counted == count, || {
        format!("{what}: there are {count:?}, but {counted:?} are counted")
    });
    Ok(())
}
