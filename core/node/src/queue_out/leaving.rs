//! Sessions that take leave behind their last message: the server at the other end counts them still.

use core::task::{Context, Poll, Waker};
use mox_queue::NextHop;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// How many sessions take leave of whom.
#[derive(Debug, Default)]
pub(crate) struct Leaving(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    known: BTreeMap<NextHop, usize>,
    /// Those of whom the queue has not looked at the number yet.
    changed: BTreeSet<NextHop>,
    waker: Option<Waker>,
}

impl Counts {
    fn change(&mut self, of: &NextHop, change: impl FnOnce(usize) -> usize) {
        match change(self.known.get(of).copied().unwrap_or(0)) {
            0 => self.known.remove(of),
            count => self.known.insert(of.clone(), count),
        };
        self.changed.insert(of.clone());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Leaving {
    /// One more does, as long as this lives.
    pub(super) fn begin(self: &Arc<Self>, of: NextHop) -> Place {
        self.lock().change(&of, |count| count.saturating_add(1));
        Place {
            leaving: self.clone(),
            of,
        }
    }

    /// Ready when a number has changed.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut counts = self.lock();
        if !counts.changed.is_empty() {
            return Poll::Ready(());
        }
        counts.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The numbers that have changed since the last time.
    pub(super) fn take(&self) -> Vec<(NextHop, usize)> {
        let mut counts = self.lock();
        let changed = core::mem::take(&mut counts.changed);
        let count = |of: NextHop| {
            let count = counts.known.get(&of).copied().unwrap_or(0);
            (of, count)
        };
        changed.into_iter().map(count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while it is held, so poison means nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that takes leave.
pub(super) struct Place {
    leaving: Arc<Leaving>,
    of: NextHop,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.leaving.lock();
        counts.change(&self.of, |count| count.saturating_sub(1));
    }
}
