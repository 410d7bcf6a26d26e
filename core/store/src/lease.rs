//! Keeping all body files while somebody reads an older state than the last (S7).

use mox_mailbox::BodyId;
use std::fmt;
use std::sync::Arc;

use crate::Store;
use crate::lock::Lock;
use crate::store::Shared;

/// Files that wait to be unlinked at most; what is beyond is left to a sweep.
const DEFERRED_MAX: usize = 1 << 20;

/// While it lives no body file is removed: neither by the committer nor by the sweeper. A view that is taken after it
/// keeps its bodies.
pub struct Lease(Arc<Shared>);

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Leases(Lock<State>);

#[derive(Debug, Default)]
struct State {
    held: usize,
    /// What was to be unlinked since; judged again when the last lease ends.
    deferred: Vec<BodyId>,
}

impl Leases {
    /// Whether files must stay now. A lease that begins later is for views in which what is removed now is gone.
    pub(crate) fn held(&self) -> bool {
        self.0.lock().held > 0
    }

    /// Puts files aside while there is a lease; false, and nothing done, when there is none.
    fn defer(&self, ids: &[BodyId]) -> Option<usize> {
        let mut state = self.0.lock();
        if state.held == 0 {
            return None;
        }
        let room = DEFERRED_MAX.saturating_sub(state.deferred.len());
        let taken = room.min(ids.len());
        state.deferred.extend(ids.iter().take(taken));
        Some(taken)
    }
}

impl Shared {
    /// Puts files aside that are to be unlinked while there is a lease; false when there is none.
    pub(crate) fn defer_unlink(&self, ids: &[BodyId]) -> bool {
        let Some(taken) = self.leases.defer(ids) else {
            return false;
        };
        let rest = ids.get(taken..).unwrap_or_default();
        if !rest.is_empty() {
            self.tidiness.spoil(self.boot);
            self.in_flight.remove(rest.iter());
        }
        true
    }
}

impl Store {
    /// Keeps all body files there are.
    pub fn lease(&self) -> Lease {
        self.shared.leases.0.lock().held += 1;
        Lease(Arc::clone(&self.shared))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.0.leases.0.lock();
        state.held = state.held.saturating_sub(1);
        if state.held == 0 {
            let deferred = std::mem::take(&mut state.deferred);
            drop(state);
            self.0.released.lock().extend(deferred);
        }
    }
}
