//! The waiting messages of one kind, fresh or tried before, and whose turn it is.
//!
//! Owners take turns: first who has the fewest attempts running, then who waited longest. Of its own messages an owner has the one
//! started that has been due longest. A message to a next hop that is at its bound is parked with its owner, so that nobody looks
//! at it again before a place is free there: every call costs the logarithm of what waits.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use mox_machine::Utc;

use crate::scheduler::{Known, NextHop};

#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    /// Those that are not due, or not known to be.
    later: BTreeSet<(Utc, u64)>,
    /// Those with something due.
    owners: BTreeMap<u64, Owned>,
    /// Of these, those with something that is not parked: attempts that run, then the turn.
    turns: BTreeSet<(usize, u64, u64)>,
    /// Who waits for a place at a next hop, in this order.
    parked: BTreeMap<NextHop, BTreeSet<(u64, u64)>>,
    /// Next hops that have a place, and somebody who waits for one.
    open: BTreeSet<NextHop>,
    /// The number of the next turn.
    next_turn: u64,
}

/// What is due of one owner.
#[derive(Debug, Clone, Default)]
struct Owned {
    to: BTreeMap<NextHop, Due>,
    /// The first to each next hop that is not parked.
    heads: BTreeSet<(Utc, u64, NextHop)>,
    turn: u64,
    /// Its attempts that run, of both kinds.
    running: usize,
}

/// What is due of one owner to one next hop: never empty.
#[derive(Debug, Clone, Default)]
struct Due {
    entries: BTreeSet<(Utc, u64)>,
    /// Its place among those who wait there; else its first is in `heads`.
    parked: Option<u64>,
}

impl Lane {
    /// Takes a message, due or not.
    pub(crate) fn add(&mut self, item: (Utc, u64)) {
        self.later.insert(item);
    }

    /// Forgets a message.
    pub(crate) fn remove(&mut self, item: (Utc, u64), owner: u64, hop: &NextHop) {
        if self.later.remove(&item) {
            return;
        }
        let Some(owned) = self.owners.get_mut(&owner) else {
            return;
        };
        let before = owned.place(owner);
        let Some(due) = owned.to.get_mut(hop) else {
            return;
        };
        let (first, parked) = (due.entries.first().copied(), due.parked);
        due.entries.remove(&item);
        let now_first = due.entries.first().copied();
        if parked.is_none() && first != now_first {
            let head = |(at, id)| (at, id, hop.clone());
            if let Some(first) = first {
                owned.heads.remove(&head(first));
            }
            owned.heads.extend(now_first.map(head));
        }
        let was_last = now_first.is_none();
        if was_last {
            owned.to.remove(hop);
        }
        self.moved(owner, before);
        match parked {
            Some(turn) if was_last => self.leave_parked(hop, (turn, owner)),
            // A place that was left for this one is the next one's.
            None if was_last && self.open.contains(hop) => self.unpark(hop, false),
            _ => {}
        }
    }

    /// Looks which messages have become due. An attempt that is set for later than `longest_wait` from now was set by a clock that
    /// has since been put back. `known` has the messages, `running` how many attempts of an owner run.
    pub(crate) fn look<'e>(
        &mut self,
        now: Utc,
        longest_wait: Duration,
        known: impl Fn(u64) -> Option<&'e Known>,
        running: impl Fn(u64) -> usize,
    ) {
        loop {
            let first = self.later.first().filter(|(at, _)| *at <= now);
            let stray = || self.later.last().filter(|(at, _)| *at > now + longest_wait);
            let Some(item) = first.or_else(stray).copied() else {
                return;
            };
            self.later.remove(&item);
            if let Some(known) = known(item.1) {
                self.is_due(item, known, running(known.owner));
            }
        }
    }

    fn is_due(&mut self, item: (Utc, u64), known: &Known, running: usize) {
        let turn = self.next_turn;
        let owned = self.owners.entry(known.owner).or_insert_with(|| Owned {
            turn,
            running,
            ..Owned::default()
        });
        if owned.turn == turn {
            self.next_turn += 1;
        }
        let before = owned.place(known.owner);
        let due = owned.to.entry(NextHop::clone(&known.hop)).or_default();
        let first = due.entries.first().copied();
        due.entries.insert(item);
        if due.parked.is_none() && first.is_none_or(|first| item < first) {
            let head = |(at, id)| (at, id, NextHop::clone(&known.hop));
            if let Some(first) = first {
                owned.heads.remove(&head(first));
            }
            owned.heads.insert(head(item));
        }
        self.moved(known.owner, before);
    }

    /// The message whose turn it is, of an owner that `may_start` another attempt beside so many. Whoever waits for a next hop that
    /// `is_full` is parked on the way.
    pub(crate) fn next(
        &mut self,
        is_full: impl Fn(&NextHop) -> bool,
        may_start: impl Fn(usize) -> bool,
    ) -> Option<u64> {
        loop {
            let first = self.turns.first().copied();
            let Some((_, _, owner)) = first.filter(|(running, ..)| may_start(*running)) else {
                // Who waits there may start, though whoever was let in before may not.
                let hop = self.open.first().cloned()?;
                self.unpark(&hop, false);
                continue;
            };
            let owned = self.owners.get(&owner)?;
            let (_, id, hop) = owned.heads.first()?;
            if !is_full(hop) {
                return Some(*id);
            }
            let hop = hop.clone();
            self.park(owner, &hop);
        }
    }

    /// Whether [`next`](Self::next) may find something.
    pub(crate) fn has_turn(&self, may_start: impl Fn(usize) -> bool) -> bool {
        let first = self.turns.first();
        first.is_some_and(|(running, ..)| may_start(*running)) || !self.open.is_empty()
    }

    /// When a message becomes due; at once what is so far ahead that a clock was wrong.
    pub(crate) fn next_at(&self, now: Utc, longest_wait: Duration) -> Option<Utc> {
        let last = self.later.last().filter(|(at, _)| *at > now + longest_wait);
        match last {
            Some(_) => Some(now),
            None => self.later.first().map(|(at, _)| *at),
        }
    }

    /// So many attempts of an owner run now. With `took_turn` one of this kind has begun.
    pub(crate) fn set_running(&mut self, owner: u64, running: usize, took_turn: bool) {
        let Some(owned) = self.owners.get_mut(&owner) else {
            return;
        };
        let before = owned.place(owner);
        owned.running = running;
        if took_turn {
            owned.turn = self.next_turn;
            self.next_turn += 1;
        }
        self.moved(owner, before);
    }

    /// A place has become free at a next hop, or there is none any more.
    pub(crate) fn hop_changed(&mut self, hop: &NextHop, is_full: bool, has_freed: usize) {
        for _ in 0..has_freed {
            self.unpark(hop, is_full);
        }
        self.refresh_open(hop, is_full);
    }

    fn park(&mut self, owner: u64, hop: &NextHop) {
        let Some(owned) = self.owners.get_mut(&owner) else {
            return;
        };
        let before = owned.place(owner);
        if let Some(due) = owned.to.get_mut(hop)
            && let Some((at, id)) = due.entries.first().copied()
        {
            let turn = self.next_turn;
            self.next_turn += 1;
            due.parked = Some(turn);
            owned.heads.remove(&(at, id, hop.clone()));
            let waiting = self.parked.entry(hop.clone()).or_default();
            waiting.insert((turn, owner));
        }
        self.moved(owner, before);
    }

    /// Lets in who waits longest at a next hop.
    fn unpark(&mut self, hop: &NextHop, is_full: bool) {
        let first = self.parked.get(hop).and_then(|waiting| waiting.first());
        let Some((turn, owner)) = first.copied() else {
            return self.refresh_open(hop, is_full);
        };
        self.leave_parked(hop, (turn, owner));
        self.refresh_open(hop, is_full);
        let Some(owned) = self.owners.get_mut(&owner) else {
            return;
        };
        let before = owned.place(owner);
        if let Some(due) = owned.to.get_mut(hop) {
            due.parked = None;
            let first = due.entries.first().copied();
            let head = first.map(|(at, id)| (at, id, hop.clone()));
            owned.heads.extend(head);
        }
        self.moved(owner, before);
    }

    fn leave_parked(&mut self, hop: &NextHop, place: (u64, u64)) {
        if let Some(waiting) = self.parked.get_mut(hop) {
            waiting.remove(&place);
            if waiting.is_empty() {
                self.parked.remove(hop);
                self.open.remove(hop);
            }
        }
    }

    fn refresh_open(&mut self, hop: &NextHop, is_full: bool) {
        match !is_full && self.parked.contains_key(hop) {
            true => self.open.insert(hop.clone()),
            false => self.open.remove(hop),
        };
    }

    /// Brings an owner to its place among the others; `before` is where it was.
    fn moved(&mut self, owner: u64, before: Option<(usize, u64, u64)>) {
        let owned = self.owners.get(&owner);
        let now = owned.and_then(|owned| owned.place(owner));
        if before != now {
            if let Some(before) = before {
                self.turns.remove(&before);
            }
            self.turns.extend(now);
        }
        if owned.is_some_and(|owned| owned.to.is_empty()) {
            self.owners.remove(&owner);
        }
    }
}

impl Owned {
    /// Where it is among those that may start something.
    fn place(&self, owner: u64) -> Option<(usize, u64, u64)> {
        (!self.heads.is_empty()).then_some((self.running, self.turn, owner))
    }
}
