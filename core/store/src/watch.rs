//! Waiting for something to change, at next to no cost while nothing does.

use mox_machine::mutant;
use mox_mailbox::{AccountId, MailboxId, Touched};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::lock::Lock;

/// What one can wait for. Each has a number that only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A mailbox; its number is its modification sequence, `u64::MAX` once it is deleted.
    Mailbox {
        /// Whose.
        account: AccountId,
        /// Which.
        mailbox: MailboxId,
    },
    /// Everything of an account; its number is that of the last published commit that touched it.
    Account(AccountId),
    /// The outgoing queue; its number is that of the last published commit that touched it.
    Queue,
    /// What junk filters are to learn or to forget; its number is that of the last published commit that added to it.
    Junk,
    /// Anything at all; its number is that of the last published commit.
    Commit,
}

/// Waits for one [`Topic`]; see [`Store::watch`](crate::Store::watch). Dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    watchers: Arc<Watchers>,
    topic: Topic,
    key: u64,
}

impl Watch {
    /// The topic's number once it is greater than `since`; however often it changed meanwhile, only the newest.
    pub fn poll_changed(&mut self, cx: &mut Context<'_>, since: u64) -> Poll<u64> {
        let mut topics = self.watchers.0.lock();
        let Some(state) = topics.get_mut(&self.topic) else {
            return Poll::Pending;
        };
        if state.newest > since {
            return Poll::Ready(state.newest);
        }
        if let Ok(at) = state
            .waiting
            .binary_search_by_key(&self.key, |(key, _)| *key)
            && let Some((_, waker)) = state.waiting.get_mut(at)
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// [`poll_changed`](Self::poll_changed) as a future.
    pub async fn changed(&mut self, since: u64) -> u64 {
        std::future::poll_fn(|cx| self.poll_changed(cx, since)).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut topics = self.watchers.0.lock();
        if let Some(state) = topics.get_mut(&self.topic) {
            state.waiting.retain(|(key, _)| *key != self.key);
            if state.waiting.is_empty() {
                topics.remove(&self.topic);
            }
        }
    }
}

/// Everybody who watches.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Lock<BTreeMap<Topic, State>>);

#[derive(Debug, Default)]
struct State {
    newest: u64,
    next_key: u64,
    /// Ascending by key.
    waiting: Vec<(u64, Option<Waker>)>,
}

impl Watchers {
    /// Registers; what is raised from now on is seen.
    pub(crate) fn watch(self: &Arc<Self>, topic: Topic) -> Watch {
        let mut topics = self.0.lock();
        let state = topics.entry(topic).or_default();
        let key = state.next_key;
        state.next_key += 1;
        state.waiting.push((key, None));
        Watch {
            watchers: Arc::clone(self),
            topic,
            key,
        }
    }

    /// Raises the numbers of topics that somebody watches, and wakes those who wait for them.
    pub(crate) fn raise(&self, topics: impl IntoIterator<Item = (Topic, u64)>) {
        let mut woken = Vec::new();
        let mut watched = self.0.lock();
        for (topic, number) in topics {
            if let Some(state) = watched.get_mut(&topic)
                && state.newest < number
            {
                state.newest = number;
                woken.extend(state.waiting.iter_mut().filter_map(|(_, w)| w.take()));
            }
        }
        drop(watched);
        if !mutant!(WatcherNotWoken) {
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

/// The topics a commit touched, each with its highest number.
#[derive(Debug, Default)]
pub(crate) struct Raised(BTreeMap<Topic, u64>);

impl Raised {
    pub(crate) fn add(&mut self, touched: &[Touched], commit: u64) {
        for touched in touched {
            let (topic, number) = match *touched {
                Touched::Mailbox {
                    account,
                    mailbox,
                    modseq,
                } => {
                    self.raise(Topic::Account(account), commit);
                    (Topic::Mailbox { account, mailbox }, modseq)
                }
                Touched::Account(account) => (Topic::Account(account), commit),
                Touched::Queue => (Topic::Queue, commit),
                Touched::Junk => (Topic::Junk, commit),
            };
            self.raise(topic, number);
        }
    }

    fn raise(&mut self, topic: Topic, number: u64) {
        let highest = self.0.entry(topic).or_default();
        *highest = number.max(*highest);
    }

    pub(crate) fn into_topics(self, commit: u64) -> impl Iterator<Item = (Topic, u64)> {
        self.0.into_iter().chain([(Topic::Commit, commit)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_watch_leaves_nothing_behind() {
        let watchers = Arc::new(Watchers::default());
        let mut watches: Vec<Watch> = (0..3).map(|_| watchers.watch(Topic::Queue)).collect();
        let cx = &mut Context::from_waker(Waker::noop());
        for watch in &mut watches {
            assert!(watch.poll_changed(cx, 0).is_pending());
        }
        drop(watches.remove(1));
        watchers.raise([(Topic::Queue, 4)]);
        assert_eq!(watches[0].poll_changed(cx, 0), Poll::Ready(4));
        assert_eq!(watches[1].poll_changed(cx, 3), Poll::Ready(4));
        assert!(watches[1].poll_changed(cx, 4).is_pending());
        drop(watches);
        assert!(watchers.0.lock().is_empty());
    }

    #[test]
    fn an_idle_watch_costs_less_than_200_octets() {
        let node = size_of::<Topic>() + size_of::<State>();
        let own = size_of::<Watch>() + size_of::<(u64, Option<Waker>)>();
        // A list may be twice, a tree node a third too large.
        assert!(2 * own + node * 4 / 3 < 200, "{own} {node}");
    }
}
