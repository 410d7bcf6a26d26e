//! Blocking work: it takes virtual time, bounded by class, and finishes in any order.

use core::time::Duration;
use mox_driver::{Fut, Pool};
use mox_machine::{Rng, Seed};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use crate::knobs::between;
use crate::sim::{Event, Sim};
use crate::slot::{Slot, lock};

pub(crate) struct Pools {
    rng: Rng,
    /// By computer and class.
    classes: BTreeMap<Place, Class>,
}

type Place = (u64, Pool);

#[derive(Default)]
struct Class {
    running: usize,
    waiting: VecDeque<Event>,
}

impl Pools {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self {
            rng: seed.rng(),
            classes: BTreeMap::new(),
        }
    }

    /// Takes away what has not begun on the computers chosen.
    pub(crate) fn forget(&mut self, which: impl Fn(u64) -> bool) -> Vec<Event> {
        let gone = self
            .classes
            .extract_if(.., |(computer, _), _| which(*computer));
        gone.flat_map(|(_, class)| class.waiting).collect()
    }
}

/// Jobs of a class that run at once, as in production on two cores.
fn places(class: Pool) -> usize {
    match class {
        Pool::Commit => 1,
        Pool::Bodies => 16,
        Pool::Compute => 2,
    }
}

/// The future of a job. Work that has begun is finished even if it is dropped.
pub(crate) fn run<T: Send + 'static>(
    sim: Sim,
    computer: u64,
    class: Pool,
    work: Box<dyn FnOnce() -> T + Send>,
) -> Fut<T> {
    Box::pin(async move {
        let slot = Slot::new();
        let done = slot.clone();
        submit(&sim, (computer, class), Box::new(move || done.put(work())));
        core::future::poll_fn(|cx| slot.poll_take(cx)).await
    })
}

fn submit(sim: &Sim, place: Place, work: Event) {
    {
        let mut pools = lock(&sim.world().pools);
        let state = pools.classes.entry(place).or_default();
        if state.running >= places(place.1) {
            state.waiting.push_back(work);
            return;
        }
        state.running += 1;
    }
    begin(sim, place, work);
}

/// How long a commit takes when the store stalls, as fjall does when its memtables are full.
const STALL: Duration = Duration::from_secs(5);

fn begin(sim: &Sim, place: Place, work: Event) {
    let knobs = &sim.world().knobs;
    let (mut takes, stalls) = {
        let rng = &mut lock(&sim.world().pools).rng;
        let stalls = place.1 == Pool::Commit && rng.one_in(sim.odds(knobs.stall_one_in));
        (between(rng, knobs.job), stalls)
    };
    if stalls {
        sim.fault("commit stalled", place.0);
        takes += STALL;
    }
    let then = sim.clone();
    let finish = Box::new(move || {
        then.fact("job", place.0, &[place.1 as u8]);
        let at_work = &then.world().at_work;
        at_work.store(place.0, Ordering::Relaxed);
        work();
        at_work.store(0, Ordering::Relaxed);
        let next = {
            let mut pools = lock(&then.world().pools);
            let state = pools.classes.entry(place).or_default();
            let next = state.waiting.pop_front();
            // The computer may have been killed meanwhile.
            state.running = state.running.saturating_sub(usize::from(next.is_none()));
            next
        };
        if let Some(next) = next {
            begin(&then, place, next);
        }
    });
    sim.at(sim.now().mono + takes, finish);
}
