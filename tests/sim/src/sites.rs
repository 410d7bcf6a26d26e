//! Sites in our own code that fail when a world wants it: which there are, which were reached, which failed.

use mox_machine::{Rng, Seed, faults};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use crate::sim::Sim;
use crate::slot::lock;

/// Every site of `fault!` in driver, store and node; a test compares this with the sources. One that is never reached in
/// many seeds is a hole in the scenarios.
pub const SITES: &[&str] = &[
    "driver small budget",
    "driver short write",
    "node accepted session refused",
    "node attempt not started",
    "node bodies budget full",
    "node handshake refused",
    "node no datagram socket",
    "node notice not written",
    "node past not read",
    "node piece not read",
    "node purge stops early",
    "node report not queued",
    "node words not read",
    "store dies before apply",
    "store dies before answer",
    "store dies before publish",
    "store dies before sync",
    "store queue full",
    "store small group",
    "store space low",
];

/// Those that no world with a plan reaches: there nobody is reported to. A test of its own does.
pub const SITES_ELSEWHERE: &[&str] = &["node report not queued"];

/// Sites that end the process are this much rarer than others.
const DEADLY: u64 = 20;

/// What became of a site so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SiteCount {
    /// The code came by.
    pub reached: u64,
    /// And failed there.
    pub struck: u64,
}

pub(crate) struct Sites {
    seed: Seed,
    /// Processes that were made to end and were not excused for it yet, by computer.
    deaths: BTreeMap<u64, u64>,
    /// Only these may fail, always; for tests of one site.
    only: Option<&'static str>,
    known: BTreeMap<&'static str, Site>,
}

struct Site {
    armed: bool,
    rng: Rng,
    count: SiteCount,
}

impl Sites {
    pub(crate) fn new(root: &Seed) -> Mutex<Self> {
        Mutex::new(Self {
            seed: root.child("sites", 0),
            deaths: BTreeMap::new(),
            only: None,
            known: BTreeMap::new(),
        })
    }
}

impl Sim {
    /// Which sites of `fault!` were reached so far, and how often. Half of all sites are armed in a world; an armed one
    /// fails once in [`site_one_in`](crate::Knobs::site_one_in) times, one that ends the process twenty times less.
    pub fn sites(&self) -> BTreeMap<&'static str, SiteCount> {
        let sites = lock(&self.world().sites);
        let known = sites.known.iter();
        known.map(|(name, site)| (*name, site.count)).collect()
    }

    /// From now on this site fails every time, and no other does; `None` for as drawn.
    pub fn strike_only(&self, site: Option<&'static str>) {
        lock(&self.world().sites).only = site;
    }

    /// Whether a process on this computer was made to end that was not excused for it yet.
    pub(crate) fn take_death(&self, computer: u64) -> bool {
        let deaths = &mut lock(&self.world().sites).deaths;
        let left = deaths.get_mut(&computer).filter(|left| **left > 0);
        left.is_some_and(|left| {
            *left -= 1;
            true
        })
    }

    /// The code comes by a site.
    pub(crate) fn strikes(&self, name: &'static str) -> bool {
        let odds = self.odds(self.world().knobs.site_one_in);
        // Sites that end a process are all in jobs of its store.
        let computer = self.world().at_work.load(Ordering::Relaxed);
        let strikes = {
            let mut sites = lock(&self.world().sites);
            let Sites {
                seed,
                deaths,
                only,
                known,
            } = &mut *sites;
            let site = known.entry(name).or_insert_with(|| {
                let mut rng = seed.child(name, 0).rng();
                Site {
                    armed: rng.one_in(2),
                    rng,
                    count: SiteCount::default(),
                }
            });
            let is_deadly = name.starts_with("store dies");
            let rarer = if is_deadly { DEADLY } else { 1 };
            let strikes = match only {
                Some(only) => *only == name,
                None => site.armed && site.rng.one_in(odds * rarer),
            };
            site.count.reached += 1;
            site.count.struck += u64::from(strikes);
            if strikes && is_deadly {
                *deaths.entry(computer).or_default() += 1;
            }
            strikes
        };
        if strikes {
            self.fact("site", computer, name.as_bytes());
        }
        strikes
    }
}

/// While it lives, sites on this thread ask a world.
pub(crate) struct Hooked(Option<faults::Hook>);

impl Hooked {
    pub(crate) fn to(sim: &Sim) -> Self {
        let sim = sim.clone();
        Self(faults::install(Some(Box::new(move |site| {
            sim.strikes(site)
        }))))
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        faults::install(self.0.take());
    }
}
