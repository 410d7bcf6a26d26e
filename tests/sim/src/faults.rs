//! What breaks, counted by name; and what is broken between computers until it is mended.

use core::time::Duration;
use mox_machine::{Rng, Seed};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use crate::runtime::SimRuntime;
use crate::sim::Sim;
use crate::slot::lock;

/// Every kind of fault that the network, the clocks and the disks of a world can show, by the name it is counted under.
pub const FAULTS: &[&str] = &[
    "accept failed",
    "answer lost",
    "answer other case",
    "answer servfail",
    "answer slow",
    "answer truncated",
    "answer wrong id",
    "answer junk",
    "clock back",
    "clock forward",
    "commit stalled",
    "connect black hole",
    "connect mute",
    "connect partitioned",
    "datagram lost",
    "disk full",
    "disk name error",
    "disk read error",
    "disk sync error",
    "disk write error",
    "partition",
    "refuse",
    "reset",
    "rows cut",
    "rows write error",
    "rows sync error",
    "silence",
    "writes lost",
];

/// How far the wall clock jumps when it jumps by itself.
const JUMPS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(90),
    Duration::from_secs(3_600),
    Duration::from_secs(13 * 3_600),
    Duration::from_secs(3 * 86_400),
];

/// What is broken, and what broke.
pub(crate) struct Broken {
    counts: BTreeMap<&'static str, u64>,
    /// Nothing gets from the one to the other.
    cuts: BTreeSet<(Ipv4Addr, Ipv4Addr)>,
    clock: Rng,
}

impl Broken {
    pub(crate) fn new(seed: &Seed) -> Mutex<Self> {
        Mutex::new(Self {
            counts: BTreeMap::new(),
            cuts: BTreeSet::new(),
            clock: seed.child("clock", 0).rng(),
        })
    }
}

impl Sim {
    /// How often each fault happened so far; see [`FAULTS`] for those there are.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.world().broken).counts.clone()
    }

    /// From now on nothing gets from one computer to the other: segments wait for the mending and are sent again,
    /// less and less often, as TCP does it; after a quarter of an hour their sender is told `TimedOut`.
    pub fn cut(&self, from: &SimRuntime, to: &SimRuntime) {
        let (from, to) = (from.host(), to.host());
        self.fact("cut", 0, format!("{from} {to}").as_bytes());
        lock(&self.world().broken).cuts.insert((from, to));
    }

    /// Takes a [`cut`](Self::cut) back. What waits arrives when it is sent again: within a minute.
    pub fn mend(&self, from: &SimRuntime, to: &SimRuntime) {
        let (from, to) = (from.host(), to.host());
        self.fact("mend", 0, format!("{from} {to}").as_bytes());
        lock(&self.world().broken).cuts.remove(&(from, to));
    }

    /// Cuts both directions.
    pub fn partition(&self, one: &SimRuntime, other: &SimRuntime) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Mends both directions.
    pub fn rejoin(&self, one: &SimRuntime, other: &SimRuntime) {
        self.mend(one, other);
        self.mend(other, one);
    }

    /// Whether nothing gets from one address to the other.
    pub(crate) fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        let (Some(from), Some(to)) = (host_of(from), host_of(to)) else {
            return false;
        };
        // A healed world has no cuts.
        self.odds(1) == 1 && lock(&self.world().broken).cuts.contains(&(from, to))
    }

    /// A fault happens now.
    pub(crate) fn fault(&self, kind: &'static str, who: u64) {
        debug_assert!(FAULTS.contains(&kind), "{kind:?} is not among FAULTS");
        self.fact("fault", who, kind.as_bytes());
        *lock(&self.world().broken).counts.entry(kind).or_default() += 1;
    }

    /// Before a task is polled: perhaps somebody sets the clock.
    pub(crate) fn perhaps_jump(&self) {
        let odds = self.odds(self.world().knobs.jump_one_in);
        if odds == 0 {
            return;
        }
        let (by, back) = {
            let clock = &mut lock(&self.world().broken).clock;
            if !clock.one_in(odds) {
                return;
            }
            let by = JUMPS.get(clock.below(JUMPS.len() as u64) as usize);
            (by.copied().unwrap_or_default(), clock.one_in(2))
        };
        if back {
            self.jump_utc_back(by);
        } else {
            self.jump_utc(by);
        }
    }
}

/// The computer an address belongs to, by its IPv4 address; `None` for loopback, which nothing cuts.
pub(crate) fn host_of(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        ip if ip.is_loopback() => None,
        IpAddr::V4(four) => Some(four),
        IpAddr::V6(six) => {
            let [.., high, low] = six.segments();
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
    }
}
