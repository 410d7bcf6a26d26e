//! What is due now: an index of waiting messages, rebuilt from the rows at start.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use mox_machine::Utc;

/// One waiting message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names the row.
    pub id: u64,
    /// What is not to be overrun.
    pub hop: NextHop,
    /// When to try.
    pub next_attempt: Utc,
    /// When to tell the sender about the delay; `None` when that was done or is not wanted.
    pub delay_notice: Option<Utc>,
    /// It was tried before. Fresh mail has slots that retries never take.
    pub retry: bool,
}

/// Who takes a message next, as far as that is known before it is tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextHop {
    /// The servers of a domain or address, in lower case.
    Domain(Arc<str>),
    /// The one server to which a transport of this name leads, for whomever a message is.
    Transport(Arc<str>),
}

impl Default for NextHop {
    fn default() -> Self {
        Self::Domain(Arc::default())
    }
}

/// Bounds of a [`Scheduler`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Attempts that run at once: 50.
    pub total: usize,
    /// Of these, at most so many retries: 35. The rest stay free for fresh mail, however many dead hosts hold the others.
    pub retries: usize,
    /// Attempts that run at once to one domain, with sessions that take leave of it: 4.
    pub per_domain: usize,
    /// Attempts that run at once by one transport that leads to one server, with sessions that take leave of it: 5. Such servers count
    /// the sessions of a customer, and refuse more than a few.
    pub per_transport: usize,
    /// An attempt set for later than this from now was set by a clock that has since been put back: it is due. 24 hours,
    /// longer than any pause of the plan.
    pub longest_wait: Duration,
    /// [`Scheduler::wait`] is at most this, so that a clock that was put forward is noticed: 10 minutes.
    pub recheck: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 50,
            retries: 35,
            per_domain: 4,
            per_transport: 5,
            longest_wait: Duration::from_secs(24 * 3_600),
            recheck: Duration::from_secs(600),
        }
    }
}

/// An index of the queue by time and next hop. Every call works from the wall clock handed to it: it keeps no deadline
/// that a clock change could make wrong.
///
/// Fresh mail and retries take turns, each in the order they became due; a next hop at its bound is passed over.
#[derive(Debug, Clone, Default)]
pub struct Scheduler {
    limits: Limits,
    waiting: BTreeMap<u64, Entry>,
    running: BTreeMap<u64, Running>,
    /// How many run to a next hop.
    busy: BTreeMap<NextHop, usize>,
    /// How many sessions take leave of a next hop whose attempts are over.
    leaving: BTreeMap<NextHop, usize>,
    running_retries: usize,
    fresh: Lane,
    retries: Lane,
    /// The last one started was fresh.
    retry_has_turn: bool,
    notices: BTreeSet<(Utc, u64)>,
}

#[derive(Debug, Clone)]
struct Running {
    hop: NextHop,
    retry: bool,
}

/// The waiting messages of one kind.
#[derive(Debug, Clone, Default)]
struct Lane {
    hops: BTreeMap<NextHop, Queue>,
    /// The earliest of every next hop that is below its bound.
    heads: BTreeSet<(Utc, NextHop)>,
}

#[derive(Debug, Clone, Default)]
struct Queue {
    entries: BTreeSet<(Utc, u64)>,
    /// This next hop's place in `heads`.
    head: Option<Utc>,
}

impl Scheduler {
    /// An empty index.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Adds a message, or replaces what is known about it. A running attempt of it goes on; the entry waits for its end.
    pub fn insert(&mut self, entry: Entry) {
        self.forget_waiting(entry.id);
        if let Some(at) = entry.delay_notice {
            self.notices.insert((at, entry.id));
        }
        if !self.running.contains_key(&entry.id) {
            self.enqueue(&entry);
        }
        self.waiting.insert(entry.id, entry);
    }

    /// Removes a message: delivered, failed, dropped or held. A running attempt of it keeps its slot until
    /// [`finished`](Self::finished).
    pub fn remove(&mut self, id: u64) {
        self.forget_waiting(id);
    }

    /// The messages whose attempt is to start now, in order. Each takes a slot until [`finished`](Self::finished).
    #[must_use]
    pub fn due(&mut self, now: Utc) -> Vec<u64> {
        let mut started = Vec::new();
        while self.running.len() < self.limits.total {
            let retry = if self.running_retries < self.limits.retries {
                self.retries.first_due(now, self.limits.longest_wait)
            } else {
                None
            };
            let fresh = self.fresh.first_due(now, self.limits.longest_wait);
            let id = match (fresh, retry) {
                (Some(fresh), Some(retry)) => {
                    if self.retry_has_turn {
                        retry
                    } else {
                        fresh
                    }
                }
                (Some(id), None) | (None, Some(id)) => id,
                (None, None) => break,
            };
            self.start(id);
            started.push(id);
        }
        started
    }

    /// The messages whose sender is to be told about the delay now; each is named once for each `insert`.
    #[must_use]
    pub fn delay_notices(&mut self, now: Utc) -> Vec<u64> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.notices.first() {
            if at > now {
                break;
            }
            self.notices.remove(&(at, id));
            if let Some(entry) = self.waiting.get_mut(&id) {
                entry.delay_notice = None;
            }
            due.push(id);
        }
        due
    }

    /// An attempt ended: its slot is free. What is known about the message is what the last `insert` said: insert it
    /// with its next time, or remove it, before this call.
    pub fn finished(&mut self, id: u64) {
        let Some(Running { hop, retry }) = self.running.remove(&id) else {
            return;
        };
        if retry {
            self.running_retries -= 1;
        }
        if let Some(count) = self.busy.get_mut(&hop) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&hop);
            }
        }
        self.refresh(&hop);
        if let Some(entry) = self.waiting.get(&id).cloned() {
            self.enqueue(&entry);
        }
    }

    /// So many sessions take leave of a next hop now, whose attempts are over: they count for its bound, and for no other.
    pub fn set_leaving(&mut self, hop: &NextHop, count: usize) {
        match count {
            0 => self.leaving.remove(hop),
            _ => self.leaving.insert(hop.clone(), count),
        };
        self.refresh(hop);
    }

    /// How long to sleep before asking again: zero when something is due now, at most `limits.recheck`; `None` when
    /// nothing can become due before the next `insert` or `finished`.
    pub fn wait(&self, now: Utc) -> Option<Duration> {
        let notice = self.notices.first().map(|&(at, _)| at);
        let fresh = self.fresh.next_at(now, self.limits.longest_wait);
        let retry = self.retries.next_at(now, self.limits.longest_wait);
        let attempts = if self.running.len() >= self.limits.total {
            None
        } else if self.running_retries >= self.limits.retries {
            fresh
        } else {
            fresh.into_iter().chain(retry).min()
        };
        let at = notice.into_iter().chain(attempts).min()?;
        let micros = u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0);
        Some(Duration::from_micros(micros).min(self.limits.recheck))
    }

    /// What is known about a message; `None` when nothing is.
    pub fn entry(&self, id: u64) -> Option<&Entry> {
        self.waiting.get(&id)
    }

    /// Whether an attempt of a message runs.
    pub fn is_running(&self, id: u64) -> bool {
        self.running.contains_key(&id)
    }

    /// The next hop of a message whose attempt runs; `None` when none does.
    pub fn runs_to(&self, id: u64) -> Option<&NextHop> {
        self.running.get(&id).map(|running| &running.hop)
    }

    /// How many messages are known, running ones included when they were not removed.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when no message is known.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many attempts run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn start(&mut self, id: u64) {
        let Some(entry) = self.waiting.get(&id).cloned() else {
            return;
        };
        self.dequeue(&entry);
        self.retry_has_turn = !entry.retry;
        if entry.retry {
            self.running_retries += 1;
        }
        *self.busy.entry(entry.hop.clone()).or_default() += 1;
        self.running.insert(
            id,
            Running {
                hop: entry.hop.clone(),
                retry: entry.retry,
            },
        );
        self.refresh(&entry.hop);
    }

    fn forget_waiting(&mut self, id: u64) {
        if let Some(entry) = self.waiting.remove(&id) {
            self.dequeue(&entry);
            if let Some(at) = entry.delay_notice {
                self.notices.remove(&(at, id));
            }
        }
    }

    fn enqueue(&mut self, entry: &Entry) {
        let full = self.is_full(&entry.hop);
        let lane = self.lane(entry.retry);
        let queue = lane.hops.entry(entry.hop.clone()).or_default();
        queue.entries.insert((entry.next_attempt, entry.id));
        lane.refresh(&entry.hop, full);
    }

    fn dequeue(&mut self, entry: &Entry) {
        let full = self.is_full(&entry.hop);
        let lane = self.lane(entry.retry);
        if let Some(queue) = lane.hops.get_mut(&entry.hop) {
            queue.entries.remove(&(entry.next_attempt, entry.id));
        }
        lane.refresh(&entry.hop, full);
    }

    fn refresh(&mut self, hop: &NextHop) {
        let full = self.is_full(hop);
        self.fresh.refresh(hop, full);
        self.retries.refresh(hop, full);
    }

    fn is_full(&self, hop: &NextHop) -> bool {
        let most = match hop {
            NextHop::Domain(_) => self.limits.per_domain,
            NextHop::Transport(_) => self.limits.per_transport,
        };
        let count = |of: &BTreeMap<NextHop, usize>| of.get(hop).copied().unwrap_or(0);
        count(&self.busy).saturating_add(count(&self.leaving)) >= most
    }

    fn lane(&mut self, retry: bool) -> &mut Lane {
        if retry {
            &mut self.retries
        } else {
            &mut self.fresh
        }
    }
}

impl Lane {
    /// Brings `heads` up to date with one next hop's queue.
    fn refresh(&mut self, hop: &NextHop, full: bool) {
        let Some(queue) = self.hops.get_mut(hop) else {
            return;
        };
        let head = if full {
            None
        } else {
            queue.entries.first().map(|&(at, _)| at)
        };
        if queue.head != head {
            if let Some(old) = queue.head {
                self.heads.remove(&(old, hop.clone()));
            }
            if let Some(new) = head {
                self.heads.insert((new, hop.clone()));
            }
            queue.head = head;
        }
        if queue.entries.is_empty() {
            self.hops.remove(hop);
        }
    }

    fn first_due(&self, now: Utc, longest_wait: Duration) -> Option<u64> {
        let first = self.heads.first().filter(|(at, _)| *at <= now);
        // What lies too far ahead stands at the end of the order.
        let stray = || self.heads.last().filter(|(at, _)| *at > now + longest_wait);
        let (_, hop) = first.or_else(stray)?;
        self.hops
            .get(hop)
            .and_then(|queue| queue.entries.first())
            .map(|&(_, id)| id)
    }

    fn next_at(&self, now: Utc, longest_wait: Duration) -> Option<Utc> {
        if self.first_due(now, longest_wait).is_some() {
            return Some(now);
        }
        self.heads.first().map(|&(at, _)| at)
    }
}
