//! Body files that are under way: begun and not referred to yet, or about to be unlinked.

use mox_mailbox::BodyId;
use std::collections::BTreeSet;
use std::io;

use crate::lock::Lock;

/// The files that their spool, or the committer, will deal with. Sweeper and verification leave them alone.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Lock<State>);

#[derive(Debug, Default)]
struct State {
    ids: BTreeSet<BodyId>,
    closed: bool,
}

impl InFlight {
    /// Begins a file. After [`close`](Self::close) there are no new ones: the file is made under the same lock, so that
    /// an orderly stop misses none.
    pub(crate) fn begin(
        &self,
        id: BodyId,
        create: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(io::Error::other("the store has stopped"));
        }
        state.ids.insert(id);
        create()
    }

    /// Adds files that are going to be unlinked.
    pub(crate) fn add(&self, ids: &[BodyId]) {
        if !ids.is_empty() {
            self.0.lock().ids.extend(ids);
        }
    }

    /// Takes files out: they are referred to by now, or gone.
    pub(crate) fn remove<'i>(&self, ids: impl Iterator<Item = &'i BodyId>) {
        let mut state = self.0.lock();
        for id in ids {
            state.ids.remove(id);
        }
    }

    pub(crate) fn contains(&self, id: BodyId) -> bool {
        self.0.lock().ids.contains(&id)
    }

    /// Lets no more files begin; those there are.
    pub(crate) fn close(&self) -> Vec<BodyId> {
        let mut state = self.0.lock();
        state.closed = true;
        state.ids.iter().copied().collect()
    }
}
