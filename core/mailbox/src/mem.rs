//! A store in memory, for tests.

use std::collections::BTreeMap;

use bytes::Bytes;
use core::ops::{Bound, ControlFlow};

use crate::{Batch, BodyId, ReadError, Reads, Space};

/// Rows in memory. Cloning is a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemRows {
    rows: BTreeMap<Vec<u8>, Bytes>,
    bodies: BTreeMap<Vec<u8>, Bytes>,
    unlinked: Vec<BodyId>,
}

impl MemRows {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a batch.
    pub fn apply(&mut self, batch: &Batch) {
        for (space, key, value) in &batch.writes {
            let rows = match space {
                Space::Rows => &mut self.rows,
                Space::Bodies => &mut self.bodies,
            };
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        self.unlinked.extend(&batch.unlink);
    }

    /// The body files that batches said to unlink, in order.
    pub fn unlinked(&self) -> &[BodyId] {
        &self.unlinked
    }

    /// All keys and values of a space.
    pub fn iter(&self, space: Space) -> impl Iterator<Item = (&[u8], &Bytes)> {
        self.space(space)
            .iter()
            .map(|(key, value)| (&key[..], value))
    }

    fn space(&self, space: Space) -> &BTreeMap<Vec<u8>, Bytes> {
        match space {
            Space::Rows => &self.rows,
            Space::Bodies => &self.bodies,
        }
    }

    fn range(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Bytes)> {
        let bounds = (from < to).then_some((Bound::Included(from), Bound::Excluded(to)));
        bounds
            .into_iter()
            .flat_map(move |bounds| self.space(space).range::<[u8], _>(bounds))
    }
}

impl Reads for MemRows {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.space(space).get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let _ = self
            .range(space, from, to)
            .try_for_each(|(key, value)| visit(key, value.clone()));
        Ok(())
    }

    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let _ = self
            .range(space, from, to)
            .rev()
            .try_for_each(|(key, value)| visit(key, value.clone()));
        Ok(())
    }
}
