//! Which session is the first to be told of a message (RFC 3501 2.3.2, `\Recent`).
//!
//! What was told is kept in memory while a mailbox is open and written once it is closed, so that SELECT writes nothing.
//! After a crash some messages are new once more, which the RFC allows.

use mox_driver::Runtime;
use mox_mailbox::{AccountId, MailboxId, ReadError, Reads};
use mox_uids::{Uid, UidSet};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::node::Inner;

type Key = (AccountId, MailboxId);

/// For each mailbox the first UID that nobody was told of, where that is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<Key, Uid>>);

impl Told {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Uid>> {
        // Nothing panics while it is held, so poison means nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first UID that nobody was told of.
    pub(super) fn from(&self, view: &dyn Reads, key: Key) -> Result<Uid, ReadError> {
        let stored = mox_mailbox::recent_from(view, key.0, key.1)?;
        let told = self.lock().get(&key).copied();
        Ok(told.map_or(stored, |told| told.max(stored)))
    }

    /// The UIDs below `next` that nobody was told of; with `claim` they are the caller's from now on.
    pub(super) fn take(
        &self,
        view: &dyn Reads,
        key: Key,
        next: u32,
        claim: bool,
    ) -> Result<UidSet, ReadError> {
        let stored = mox_mailbox::recent_from(view, key.0, key.1)?;
        let mut all = self.lock();
        let from = all.get(&key).map_or(stored, |told| stored.max(*told));
        if from.0 >= next {
            return Ok(UidSet::new());
        }
        if claim {
            all.insert(key, Uid(next));
        }
        Ok(UidSet::from_runs([from.0..=next - 1]))
    }
}

/// Writes what was told of a mailbox that is closed now.
pub(super) fn write<R: Runtime>(node: &Arc<Inner<R>>, key: Key) {
    let Some(told) = node.told.lock().get(&key).copied() else {
        return;
    };
    let node = node.clone();
    let runtime = node.runtime.clone();
    let work = async move {
        let op = move |reads: &dyn Reads| mox_mailbox::told(reads, key.0, key.1, told);
        // A mailbox that is gone needs no row; of one that cannot be written, messages are new once more.
        let _ = node.store.run(op).await;
        let mut all = node.told.lock();
        if all.get(&key) == Some(&told) {
            all.remove(&key);
        }
    };
    runtime.spawn_session("told", Box::pin(work));
}
