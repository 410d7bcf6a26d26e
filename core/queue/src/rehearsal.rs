//! What would become of a queue, under a scenario: the plan and the scheduler run in a time of their own.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;
use mox_machine::{Seed, Utc};

use crate::{Entry, Limits, Next, NextHop, Outcome, Plan, Scheduler, Times, next};

/// A message that waits, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Names the row.
    pub id: u64,
    /// Whose it is.
    pub owner: u64,
    /// What is not to be overrun.
    pub hop: NextHop,
    /// Its own time.
    pub times: Times,
    /// When it is tried next.
    pub next_attempt: Utc,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// What comes of it.
    pub outcome: Outcome,
    /// How long it takes: its slot is taken meanwhile.
    pub takes: Duration,
}

/// Something that happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Utc,
    /// To which one.
    pub id: u64,
    /// What.
    pub what: What,
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An attempt begins: its number, from 1.
    Tried(u32),
    /// It ends so.
    Ended {
        /// What came of it.
        outcome: Outcome,
        /// What follows.
        next: Next,
    },
    /// Between two attempts its sender is told that it takes longer.
    DelayTold,
}

/// What happens to these messages from a moment until another one. `ends` says how an attempt of a message that begins then ends;
/// jitter comes from `seed`. At most `most` steps; the answer says whether those are all.
pub fn rehearse(
    plan: &Plan,
    limits: &Limits,
    messages: Vec<Waiting>,
    (from, until): (Utc, Utc),
    seed: &Seed,
    most: usize,
    ends: &mut dyn FnMut(u64, Utc) -> Ending,
) -> (Vec<Step>, bool) {
    let mut rng = seed.child("rehearsal", 0).rng();
    let mut scheduler = Scheduler::new(limits.clone());
    let mut known: BTreeMap<u64, Waiting> = BTreeMap::new();
    let entry = |message: &Waiting| Entry {
        id: message.id,
        owner: message.owner,
        hop: message.hop.clone(),
        next_attempt: message.next_attempt,
        delay_notice: plan.delay_notice_at(&message.times),
        retry: message.times.attempts > 0,
    };
    for message in messages {
        scheduler.insert(entry(&message));
        known.insert(message.id, message);
    }
    let mut running: BTreeSet<(Utc, u64, Outcome)> = BTreeSet::new();
    let mut steps = Vec::new();
    let mut now = from;
    while now <= until {
        while let Some(&(at, id, outcome)) = running.first().filter(|(at, ..)| *at <= now) {
            running.pop_first();
            if let Some(message) = known.get_mut(&id) {
                let next = next(plan, &message.times, outcome, at, rng.next_u64());
                steps.push(Step {
                    at,
                    id,
                    what: What::Ended { outcome, next },
                });
                match next {
                    Next::Retry { at, delay_notice } => {
                        message.next_attempt = at;
                        message.times.delay_notified |= delay_notice;
                        scheduler.insert(entry(message));
                    }
                    Next::Done | Next::Fail(_) => scheduler.remove(id),
                }
            }
            scheduler.finished(id);
        }
        for id in scheduler.due(now) {
            let Some(message) = known.get_mut(&id) else {
                continue;
            };
            message.times.attempts = message.times.attempts.saturating_add(1);
            steps.push(Step {
                at: now,
                id,
                what: What::Tried(message.times.attempts),
            });
            let ending = ends(id, now);
            // Time goes on.
            let takes = ending.takes.max(Duration::from_micros(1));
            running.insert((now + takes, id, ending.outcome));
        }
        for id in scheduler.delay_notices(now) {
            // The end of an attempt tells of the delay itself.
            if let Some(message) = known.get_mut(&id)
                && !scheduler.is_running(id)
                && !message.times.delay_notified
            {
                message.times.delay_notified = true;
                let what = What::DelayTold;
                steps.push(Step { at: now, id, what });
            }
        }
        if steps.len() >= most {
            steps.truncate(most);
            return (steps, false);
        }
        let wait = scheduler.wait(now).map(|wait| now + wait);
        let end = running.first().map(|(at, ..)| *at);
        let Some(then) = wait.into_iter().chain(end).min() else {
            break;
        };
        now = then.max(now + Duration::from_micros(1));
    }
    (steps, true)
}
