//! What is due now: an index of waiting messages, rebuilt from the rows at start.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::lane::Lane;

/// One waiting message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names the row.
    pub id: u64,
    /// Whose it is: owners share the slots fairly, whatever each of them has waiting. Which number is whose is up to the caller.
    pub owner: u64,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
    /// An owner takes another slot while it has less than so many times those that are then left: 4. So it holds 40 of 50 alone, two
    /// hold 22 each, and the last slot is for an owner who has none: however slow the hosts are to which others write, its message
    /// starts at once.
    pub owner_share: usize,
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
            owner_share: 4,
            longest_wait: Duration::from_secs(24 * 3_600),
            recheck: Duration::from_secs(600),
        }
    }
}

/// An index of the queue by time, owner and next hop. Every call works from the wall clock handed to it: it keeps no deadline
/// that a clock change could make wrong. Each costs the logarithm of what waits.
///
/// Fresh mail and retries take turns. Of each kind it is the turn of the owner with the fewest attempts running, and of those with
/// as few that of who waited longest; what it has waiting starts in the order in which it became due. A next hop at its bound is
/// passed over; when it has a place again, that is for the owner who waited longest for it.
#[derive(Debug, Clone, Default)]
pub struct Scheduler {
    limits: Limits,
    waiting: BTreeMap<u64, Known>,
    /// Next hops of those, each once.
    names: BTreeMap<NextHop, Arc<NextHop>>,
    running: BTreeMap<u64, Running>,
    /// How many run of an owner.
    owners: BTreeMap<u64, usize>,
    hops: Hops,
    running_retries: usize,
    fresh: Lane,
    retries: Lane,
    /// The last one started was fresh.
    retry_has_turn: bool,
    notices: BTreeSet<(Utc, u64)>,
}

/// A waiting message as it is kept: there may be very many.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) owner: u64,
    /// Shared by all that go there.
    pub(crate) hop: Arc<NextHop>,
    pub(crate) next_attempt: Utc,
    delay_notice: Option<Utc>,
    retry: bool,
}

#[derive(Debug, Clone)]
struct Running {
    owner: u64,
    hop: NextHop,
    retry: bool,
}

/// What next hops have to do.
#[derive(Debug, Clone, Default)]
struct Hops {
    /// How many attempts run to one.
    busy: BTreeMap<NextHop, usize>,
    /// How many sessions take leave of one whose attempts are over.
    leaving: BTreeMap<NextHop, usize>,
}

impl Hops {
    /// How many more may run to one.
    fn free(&self, hop: &NextHop, limits: &Limits) -> usize {
        let most = match hop {
            NextHop::Domain(_) => limits.per_domain,
            NextHop::Transport(_) => limits.per_transport,
        };
        let count = |of: &BTreeMap<NextHop, usize>| of.get(hop).copied().unwrap_or(0);
        most.saturating_sub(count(&self.busy).saturating_add(count(&self.leaving)))
    }
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
            self.lane(entry.retry).add((entry.next_attempt, entry.id));
        }
        let hop = match self.names.get(&entry.hop) {
            Some(hop) => hop.clone(),
            None => {
                let hop = Arc::new(entry.hop.clone());
                self.names.insert(entry.hop, hop.clone());
                hop
            }
        };
        let known = Known {
            owner: entry.owner,
            hop,
            next_attempt: entry.next_attempt,
            delay_notice: entry.delay_notice,
            retry: entry.retry,
        };
        self.waiting.insert(entry.id, known);
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
        while let Some(id) = self.next(now) {
            self.start(id);
            started.push(id);
        }
        started
    }

    /// The message that is to start next.
    fn next(&mut self, now: Utc) -> Option<u64> {
        let free = self.limits.total.saturating_sub(self.running.len());
        if free == 0 {
            return None;
        }
        let Self {
            limits,
            waiting,
            owners,
            hops,
            ..
        } = self;
        let find = |lane: &mut Lane| {
            lane.look(
                now,
                limits.longest_wait,
                |id| waiting.get(&id),
                |owner| owners.get(&owner).copied().unwrap_or(0),
            );
            let is_full = |hop: &NextHop| hops.free(hop, limits) == 0;
            lane.next(is_full, |running| limits.leaves_enough(running, free))
        };
        let fresh = find(&mut self.fresh);
        let retry = match self.running_retries < limits.retries {
            true => find(&mut self.retries),
            false => None,
        };
        match (fresh, retry) {
            (Some(_), Some(retry)) if self.retry_has_turn => Some(retry),
            (fresh, retry) => fresh.or(retry),
        }
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
        let Some(Running { owner, hop, retry }) = self.running.remove(&id) else {
            return;
        };
        if retry {
            self.running_retries -= 1;
        }
        let running = self.owners.get(&owner).map_or(0, |count| count - 1);
        self.set_running(owner, running, None);
        let free = self.hops.free(&hop, &self.limits);
        if let Some(count) = self.hops.busy.get_mut(&hop) {
            *count -= 1;
            if *count == 0 {
                self.hops.busy.remove(&hop);
            }
        }
        self.hop_changed(&hop, free);
        let known = self.waiting.get(&id);
        if let Some((retry, at)) = known.map(|known| (known.retry, known.next_attempt)) {
            self.lane(retry).add((at, id));
        }
    }

    /// So many sessions take leave of a next hop now, whose attempts are over: they count for its bound, and for no other.
    pub fn set_leaving(&mut self, hop: &NextHop, count: usize) {
        let free = self.hops.free(hop, &self.limits);
        match count {
            0 => self.hops.leaving.remove(hop),
            _ => self.hops.leaving.insert(hop.clone(), count),
        };
        self.hop_changed(hop, free);
    }

    /// How long to sleep before asking again: zero when something may be due now, at most `limits.recheck`; `None` when
    /// nothing can become due before the next `insert` or `finished`.
    pub fn wait(&self, now: Utc) -> Option<Duration> {
        let notice = self.notices.first().map(|&(at, _)| at);
        let free = self.limits.total.saturating_sub(self.running.len());
        let next = |lane: &Lane| {
            let has_turn = lane.has_turn(|running| self.limits.leaves_enough(running, free));
            match has_turn {
                true => Some(now),
                false => lane.next_at(now, self.limits.longest_wait),
            }
        };
        let may_retry = self.running_retries < self.limits.retries;
        let fresh = (free > 0).then(|| next(&self.fresh)).flatten();
        let retry = (free > 0 && may_retry).then(|| next(&self.retries));
        let attempts = fresh.into_iter().chain(retry.flatten());
        let at = notice.into_iter().chain(attempts).min()?;
        let micros = u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0);
        Some(Duration::from_micros(micros).min(self.limits.recheck))
    }

    /// What is known about a message; `None` when nothing is.
    pub fn entry(&self, id: u64) -> Option<Entry> {
        let known = self.waiting.get(&id)?;
        Some(Entry {
            id,
            owner: known.owner,
            hop: NextHop::clone(&known.hop),
            next_attempt: known.next_attempt,
            delay_notice: known.delay_notice,
            retry: known.retry,
        })
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
        let Some(entry) = self.entry(id) else {
            return;
        };
        let free = self.hops.free(&entry.hop, &self.limits);
        *self.hops.busy.entry(entry.hop.clone()).or_default() += 1;
        self.hop_changed(&entry.hop, free);
        let item = (entry.next_attempt, entry.id);
        self.lane(entry.retry).remove(item, entry.owner, &entry.hop);
        self.retry_has_turn = !entry.retry;
        if entry.retry {
            self.running_retries += 1;
        }
        let running = self.owners.get(&entry.owner).map_or(1, |count| count + 1);
        self.set_running(entry.owner, running, Some(entry.retry));
        let running = Running {
            owner: entry.owner,
            hop: entry.hop,
            retry: entry.retry,
        };
        self.running.insert(id, running);
    }

    fn forget_waiting(&mut self, id: u64) {
        if let Some(known) = self.waiting.remove(&id) {
            let item = (known.next_attempt, id);
            (self.lane(known.retry)).remove(item, known.owner, &known.hop);
            if let Some(at) = known.delay_notice {
                self.notices.remove(&(at, id));
            }
            // Nobody else goes there.
            const OURS: usize = 2;
            if Arc::strong_count(&known.hop) <= OURS {
                self.names.remove(&*known.hop);
            }
        }
    }

    /// So many attempts of an owner run now; one of this kind has begun.
    fn set_running(&mut self, owner: u64, count: usize, begun: Option<bool>) {
        match count {
            0 => self.owners.remove(&owner),
            _ => self.owners.insert(owner, count),
        };
        self.fresh.set_running(owner, count, begun == Some(false));
        self.retries.set_running(owner, count, begun == Some(true));
    }

    /// A next hop had so many places before.
    fn hop_changed(&mut self, hop: &NextHop, before: usize) {
        let free = self.hops.free(hop, &self.limits);
        let freed = free.saturating_sub(before);
        self.fresh.hop_changed(hop, free == 0, freed);
        self.retries.hop_changed(hop, free == 0, freed);
    }

    fn lane(&mut self, retry: bool) -> &mut Lane {
        match retry {
            true => &mut self.retries,
            false => &mut self.fresh,
        }
    }
}

impl Limits {
    /// An owner of so many attempts that run may take one of the free slots. The last one is for who has none.
    const fn leaves_enough(&self, running: usize, free: usize) -> bool {
        running == 0 || running < free.saturating_sub(1).saturating_mul(self.owner_share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_is_kept_once_and_no_longer_than_something_goes_there() {
        let mut scheduler = Scheduler::new(Limits::default());
        let entry = |id: u64, domain: &str| Entry {
            id,
            hop: NextHop::Domain(domain.into()),
            owner: 1,
            next_attempt: Utc(0),
            delay_notice: None,
            retry: false,
        };
        for id in 0..100 {
            scheduler.insert(entry(id, ["a", "b"][usize::from(id % 2 == 1)]));
        }
        assert_eq!(scheduler.names.len(), 2);
        // Led elsewhere.
        scheduler.insert(entry(1, "c"));
        assert_eq!(scheduler.names.len(), 3);
        (0..99).for_each(|id| scheduler.remove(id));
        let left: Vec<&NextHop> = scheduler.names.keys().collect();
        assert_eq!(left, [&NextHop::Domain("b".into())]);
        scheduler.remove(99);
        assert!(scheduler.names.is_empty());
    }
}
