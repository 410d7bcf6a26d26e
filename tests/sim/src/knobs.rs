//! How hard the world is.

use core::time::Duration;
use mox_machine::{Rng, Seed};
use serde::{Deserialize, Serialize};

/// Everything about a world that is drawn once, before it begins. All `one_in` are 0 for never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[serde(deny_unknown_fields)]
pub struct Knobs {
    /// How long a segment travels, at least and at most.
    pub latency: (Duration, Duration),
    /// Bytes in one read or write at most; [`UNCUT`](Self::UNCUT) for all there are.
    pub segment: usize,
    /// Bytes written and not read yet, in one direction of a stream.
    pub window: usize,
    /// How long a job on a pool takes, at least and at most.
    pub job: (Duration, Duration),
    /// A write breaks its connection.
    pub reset_one_in: u64,
    /// A connection is refused although somebody listens.
    pub refuse_one_in: u64,
    /// A datagram is lost.
    pub loss_one_in: u64,
    /// Octets a second in one direction of a stream; 0 for no limit.
    pub bandwidth: u64,
    /// A write makes its connection silent in both directions: nothing arrives any more and nobody is told.
    pub silent_one_in: u64,
    /// A write and all that follow are taken and lost; the connection breaks later.
    pub lost_one_in: u64,
    /// A connection is made, and nobody ever accepts it.
    pub mute_one_in: u64,
    /// Nobody answers to a connect, not even with a refusal.
    pub hole_one_in: u64,
    /// `accept` fails for want of a file descriptor.
    pub accept_fails_one_in: u64,
    /// A group of commits takes five seconds longer.
    pub stall_one_in: u64,
    /// An armed site of `fault!` in our own code fails once in so many times, where the program has such sites.
    pub site_one_in: u64,
    /// Polls, one of which finds the wall clock somewhere else.
    pub jump_one_in: u64,
    /// Virtual time after which the world is said to hang.
    pub end_of_time: Duration,
}

/// Nothing breaks: what a plan does not name is so, also when it was written before there was such a fault.
impl Default for Knobs {
    fn default() -> Self {
        Self::fault_free()
    }
}

impl Knobs {
    /// A [`segment`](Self::segment) that cuts nothing: what is written at once is read at once.
    pub const UNCUT: usize = usize::MAX;

    /// A fast network where nothing breaks.
    pub fn fault_free() -> Self {
        Self {
            latency: (Duration::from_micros(20), Duration::from_millis(5)),
            segment: 1_460,
            window: 64 * 1024,
            job: (Duration::from_micros(10), Duration::from_millis(2)),
            reset_one_in: 0,
            refuse_one_in: 0,
            loss_one_in: 0,
            bandwidth: 0,
            silent_one_in: 0,
            lost_one_in: 0,
            mute_one_in: 0,
            hole_one_in: 0,
            accept_fails_one_in: 0,
            stall_one_in: 0,
            site_one_in: 0,
            jump_one_in: 0,
            end_of_time: Duration::from_secs(30 * 86_400),
        }
    }

    /// Drawn from a seed: each fault is on in about half of the worlds, each size small in some.
    pub fn drawn(seed: &Seed) -> Self {
        let mut rng = seed.child("knobs", 0).rng();
        let slowest = one_of(&mut rng, &[5, 50, 500, 3_000]);
        Self {
            latency: (
                Duration::from_micros(rng.below(1_000)),
                Duration::from_millis(slowest),
            ),
            segment: one_of(&mut rng, &[1, 13, 536, 1_460, 65_536]),
            window: one_of(&mut rng, &[512, 4_096, 65_536]),
            job: (
                Duration::from_micros(10),
                Duration::from_millis(1 + rng.below(200)),
            ),
            reset_one_in: sometimes(&mut rng, 50, 5_000),
            refuse_one_in: sometimes(&mut rng, 3, 50),
            loss_one_in: sometimes(&mut rng, 3, 50),
            bandwidth: one_of(&mut rng, &[0, 0, 1_000_000, 20_000]),
            accept_fails_one_in: sometimes(&mut rng, 3, 50),
            stall_one_in: sometimes(&mut rng, 20, 500),
            ..Self::fault_free()
        }
    }

    /// As [`drawn`](Self::drawn), and with the faults of which nobody is told: who meets them must have time limits.
    pub fn hostile(seed: &Seed) -> Self {
        let mut rng = seed.child("hostile knobs", 0).rng();
        Self {
            silent_one_in: sometimes(&mut rng, 100, 10_000),
            lost_one_in: sometimes(&mut rng, 100, 10_000),
            mute_one_in: sometimes(&mut rng, 3, 30),
            hole_one_in: sometimes(&mut rng, 3, 30),
            jump_one_in: sometimes(&mut rng, 200, 5_000),
            ..Self::drawn(seed)
        }
    }
}

fn one_of<T: Copy + Default>(rng: &mut Rng, choices: &[T]) -> T {
    let chosen = rng.below(choices.len() as u64) as usize;
    choices.get(chosen).copied().unwrap_or_default()
}

/// 0 in half of the cases, else from `least` to below `least + most`.
fn sometimes(rng: &mut Rng, least: u64, most: u64) -> u64 {
    if rng.one_in(2) {
        least + rng.below(most)
    } else {
        0
    }
}

/// A time between two, both possible.
pub(crate) fn between(rng: &mut Rng, (least, most): (Duration, Duration)) -> Duration {
    let spread = most.saturating_sub(least).as_nanos();
    let extra = rng.below(u64::try_from(spread).unwrap_or(u64::MAX).saturating_add(1));
    least + Duration::from_nanos(extra)
}
