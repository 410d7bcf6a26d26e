//! Many worlds at once, one on each thread.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::Plan;
use crate::slot::lock;
use crate::summary::Summary;
use crate::world::{Outcome, run};

/// The stack of a thread that runs worlds.
const STACK: usize = 16 * 1024 * 1024;

/// Runs the plans of these seeds on so many threads, and tells of each as it ends; the figures of all.
pub fn many(
    seeds: Range<u64>,
    threads: usize,
    plan_of: fn(u64) -> Plan,
    ended: impl Fn(u64, &Outcome) + Sync,
) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Summary::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(&plan_of(seed));
            *lock(&total) += &outcome.summary;
            ended(seed, &outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let worker = std::thread::Builder::new().stack_size(STACK);
            // Without a thread of its own the work is done here.
            if worker.spawn_scoped(scope, work).is_err() {
                work();
            }
        }
    });
    total.into_inner().unwrap_or_default()
}
