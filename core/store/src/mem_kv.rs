//! Rows in memory, which know what a crash would leave of them.

use bytes::Bytes;
use mox_mailbox::{Batch, ReadError, Reads, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::Kv;
use crate::lock::Lock;

/// A [`Kv`] in memory. A clone is another handle to the same rows.
#[derive(Debug, Clone, Default)]
pub struct MemKv {
    rows: Arc<Lock<Rows>>,
}

impl MemKv {
    /// Without any row.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a crash now would leave: everything synced, and of the batches since then the first `kept`.
    pub fn crash(&self, kept: u64) -> Self {
        let rows = self.rows.lock();
        let at = rows.latest.min(rows.synced.saturating_add(kept));
        let left = rows
            .rows
            .iter()
            .filter_map(|(key, versions)| {
                let value = visible(versions, at)?;
                Some((key.clone(), vec![(0, Some(value))]))
            })
            .collect();
        Self {
            rows: Arc::new(Lock::new(Rows {
                rows: left,
                ..Rows::default()
            })),
        }
    }

    /// Batches committed and not synced.
    pub fn unsynced(&self) -> u64 {
        let rows = self.rows.lock();
        rows.latest - rows.synced
    }
}

impl Kv for MemKv {
    fn reads(&self) -> &dyn Reads {
        self
    }

    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        let rows = &mut *self.rows.lock();
        rows.latest += 1;
        for (space, key, value) in &batch.writes {
            let key = (*space, key.clone());
            let versions = rows.rows.entry(key.clone()).or_default();
            match versions.last_mut() {
                Some((number, last)) if *number == rows.latest => last.clone_from(value),
                _ => versions.push((rows.latest, value.clone())),
            }
            rows.stale.insert(key);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut rows = self.rows.lock();
        rows.synced = rows.latest;
        rows.forget();
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        let mut rows = self.rows.lock();
        let at = rows.latest;
        *rows.snapshots.entry(at).or_default() += 1;
        Arc::new(MemView {
            rows: Arc::clone(&self.rows),
            at,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.sync()
    }
}

impl Reads for MemKv {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(get(&self.rows, u64::MAX, space, key))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        scan(&self.rows, u64::MAX, space, from, to, visit);
        Ok(())
    }

    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        scan_back(&self.rows, u64::MAX, space, from, to, visit);
        Ok(())
    }
}

/// The rows as they were after one batch.
#[derive(Debug)]
struct MemView {
    rows: Arc<Lock<Rows>>,
    at: u64,
}

impl Reads for MemView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(get(&self.rows, self.at, space, key))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        scan(&self.rows, self.at, space, from, to, visit);
        Ok(())
    }

    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        scan_back(&self.rows, self.at, space, from, to, visit);
        Ok(())
    }
}

impl Drop for MemView {
    fn drop(&mut self) {
        let mut rows = self.rows.lock();
        if let Some(holders) = rows.snapshots.get_mut(&self.at) {
            *holders -= 1;
            if *holders == 0 {
                rows.snapshots.remove(&self.at);
            }
        }
    }
}

type Key = (Space, Vec<u8>);
/// Values with the number of the batch that wrote each, ascending.
type Versions = Vec<(u64, Option<Bytes>)>;

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Key, Versions>,
    /// The last batch committed, and the last one synced.
    latest: u64,
    synced: u64,
    /// Views by the batch they show, with how many there are.
    snapshots: BTreeMap<u64, usize>,
    /// Keys that may have versions nobody can see any more.
    stale: BTreeSet<Key>,
}

impl Rows {
    /// Drops versions that neither a view nor a crash can bring back.
    fn forget(&mut self) {
        let oldest = self.snapshots.keys().next().copied();
        let floor = oldest.map_or(self.synced, |oldest| oldest.min(self.synced));
        let rows = &mut self.rows;
        self.stale.retain(|key| {
            let Some(versions) = rows.get_mut(key) else {
                return false;
            };
            let seen_at_floor = versions.partition_point(|(number, _)| *number <= floor);
            versions.drain(..seen_at_floor.saturating_sub(1));
            if let [(number, None)] = versions.as_slice()
                && *number <= floor
            {
                rows.remove(key);
                return false;
            }
            versions.len() > 1 || versions.iter().any(|(_, value)| value.is_none())
        });
    }
}

fn visible(versions: &Versions, at: u64) -> Option<Bytes> {
    let newest = versions.iter().rev().find(|(number, _)| *number <= at)?;
    newest.1.clone()
}

fn get(rows: &Lock<Rows>, at: u64, space: Space, key: &[u8]) -> Option<Bytes> {
    visible(rows.lock().rows.get(&(space, key.to_vec()))?, at)
}

/// Rows copied out under the lock at once; the visitor runs without it, since it may read itself.
const CHUNK: usize = 128;

fn scan(
    rows: &Lock<Rows>,
    at: u64,
    space: Space,
    from: &[u8],
    to: &[u8],
    visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
) {
    let mut start = Bound::Included((space, from.to_vec()));
    let end = Bound::Excluded((space, to.to_vec()));
    if from >= to {
        return;
    }
    loop {
        let chunk: Vec<(Key, Bytes)> = rows
            .lock()
            .rows
            .range((start, end.clone()))
            .filter_map(|(key, versions)| Some((key.clone(), visible(versions, at)?)))
            .take(CHUNK)
            .collect();
        let Some((last, _)) = chunk.last() else {
            return;
        };
        // The key after `last` in order, so that the range never turns round.
        let mut after = last.clone();
        after.1.push(0);
        start = Bound::Included(after);
        let more = chunk.len() == CHUNK;
        for ((_, key), value) in chunk {
            if visit(&key, value).is_break() {
                return;
            }
        }
        if !more || matches!((&start, &end), (Bound::Included(s), Bound::Excluded(e)) if s >= e) {
            return;
        }
    }
}

fn scan_back(
    rows: &Lock<Rows>,
    at: u64,
    space: Space,
    from: &[u8],
    to: &[u8],
    visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
) {
    let start = (space, from.to_vec());
    let mut end = (space, to.to_vec());
    while start < end {
        let chunk: Vec<(Key, Bytes)> = rows
            .lock()
            .rows
            .range(&start..&end)
            .rev()
            .filter_map(|(key, versions)| Some((key.clone(), visible(versions, at)?)))
            .take(CHUNK)
            .collect();
        let Some((last, _)) = chunk.last() else {
            return;
        };
        end = last.clone();
        for ((_, key), value) in chunk {
            if visit(&key, value).is_break() {
                return;
            }
        }
    }
}
