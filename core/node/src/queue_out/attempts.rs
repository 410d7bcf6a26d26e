//! Which entries of the queue are being tried.

use std::collections::BTreeSet;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// The entries of the queue that are being tried: from before the attempt is in its row until after its outcome is.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<BTreeSet<u64>>);

impl Attempts {
    /// An attempt of an entry begins.
    pub(super) fn begin(&self, id: u64) {
        self.lock().insert(id);
    }

    /// It is over, and its outcome in the store.
    pub(super) fn end(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// An entry is being tried.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.lock().contains(&id)
    }

    /// All that are being tried.
    pub(crate) fn all(&self) -> BTreeSet<u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        // Nothing panics while it is held, so poison means nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
