//! What many worlds came to, in figures.

use core::fmt;
use core::ops::AddAssign;
use mox_machine::faults;
use std::collections::BTreeMap;

use crate::oracle::Bench;
use crate::plan::Plan;
use crate::{FAULTS, SITES, Sim, SiteCount};

/// Figures of one world, or of many together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Worlds.
    pub worlds: u64,
    /// Polls and events.
    pub steps: u64,
    /// Facts recorded.
    pub facts: u64,
    /// Virtual time, in seconds.
    pub seconds: u64,
    /// Sessions of clients; those between servers are not among them.
    pub sessions: u64,
    /// Other people's servers.
    pub peers: u64,
    /// How often a process ended before its time, by how.
    pub crashes: BTreeMap<&'static str, u64>,
    /// Messages acknowledged, counted by recipient.
    pub acknowledged: u64,
    /// Those of them that are nowhere, and whose sender was not told.
    pub lost: u64,
    /// Messages in mailboxes at the end that were judged, each with its record.
    pub recorded: u64,
    /// Recipients that a queue gave up, and told the sender so.
    pub given_up: u64,
    /// Copies beyond one whose sender did not hear the reply to a final dot.
    pub unheard: u64,
    /// Copies beyond one whose sender heard the reply, and forgot it in a crash.
    pub forgotten: u64,
    /// Copies beyond one whose sender heard 4xx from a server whose store failed.
    pub unsure: u64,
    /// Copies beyond one that nothing accounts for.
    pub unexplained: u64,
    /// What broke, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Sites of `fault!` that were reached.
    pub sites: BTreeMap<&'static str, SiteCount>,
}

impl Summary {
    pub(crate) fn of(sim: &Sim, plan: &Plan, bench: &Bench) -> Self {
        Self {
            worlds: 1,
            steps: sim.steps(),
            facts: sim.trace().len() as u64,
            seconds: sim.elapsed().as_secs(),
            sessions: bench.patience.sessions,
            peers: plan.peers.len() as u64,
            crashes: bench.crashes.clone(),
            acknowledged: bench.ledger.acknowledged(),
            lost: bench.wrong.losses(),
            recorded: bench.recorded.values().sum(),
            given_up: bench.ledger.given_up(),
            unheard: bench.copies.unheard,
            forgotten: bench.copies.forgotten,
            unsure: bench.copies.unsure,
            unexplained: bench.copies.unexplained,
            faults: sim.faults(),
            sites: sim.sites(),
        }
    }

    /// Copies beyond one.
    pub const fn extra(&self) -> u64 {
        self.unheard + self.forgotten + self.unsure + self.unexplained
    }

    /// Losses of power, and processes that ended by themselves.
    pub fn ends(&self) -> u64 {
        self.crashes.values().sum()
    }

    /// Faults that never happened and sites that never failed. After many worlds each of them is a hole in the
    /// scenarios.
    pub fn missing(&self) -> Vec<&'static str> {
        let faults = FAULTS
            .iter()
            .filter(|kind| !self.faults.contains_key(*kind));
        let struck = |site: &str| self.sites.get(site).is_some_and(|count| count.struck > 0);
        let sites = SITES.iter().filter(|site| !struck(site));
        let sites = sites.filter(|_| faults::COMPILED);
        faults.chain(sites).copied().collect()
    }
}

impl AddAssign<&Self> for Summary {
    fn add_assign(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.steps += other.steps;
        self.facts += other.facts;
        self.seconds += other.seconds;
        self.sessions += other.sessions;
        self.peers += other.peers;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.recorded += other.recorded;
        self.given_up += other.given_up;
        self.unheard += other.unheard;
        self.forgotten += other.forgotten;
        self.unsure += other.unsure;
        self.unexplained += other.unexplained;
        for (kind, count) in &other.crashes {
            *self.crashes.entry(kind).or_default() += count;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (site, count) in &other.sites {
            let own = self.sites.entry(site).or_default();
            own.reached += count.reached;
            own.struck += count.struck;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            worlds,
            steps,
            facts,
            seconds,
            sessions,
            peers,
            acknowledged,
            lost,
            recorded,
            given_up,
            unheard,
            forgotten,
            unsure,
            unexplained,
            ..
        } = self;
        writeln!(f, "worlds                  {worlds}")?;
        writeln!(f, "virtual time            {} h", seconds / 3_600)?;
        writeln!(f, "steps, facts            {steps}, {facts}")?;
        writeln!(f, "sessions of clients     {sessions}")?;
        writeln!(f, "other people's servers  {peers}")?;
        writeln!(f, "messages acknowledged   {acknowledged}, lost {lost}")?;
        writeln!(f, "judged, with a record   {recorded}")?;
        writeln!(f, "given up, senders told  {given_up}")?;
        writeln!(f, "copies beyond one       {}", self.extra())?;
        writeln!(f, "  reply to the final dot not received   {unheard}")?;
        writeln!(f, "  received, and forgotten in a crash    {forgotten}")?;
        writeln!(f, "  answered 4xx while the store failed   {unsure}")?;
        writeln!(f, "  without a reason                      {unexplained}")?;
        writeln!(f, "crashes                 {}", self.ends())?;
        for (kind, count) in &self.crashes {
            writeln!(f, "  {kind:<58} {count}")?;
        }
        writeln!(
            f,
            "faults                  {}",
            self.faults.values().sum::<u64>()
        )?;
        for kind in FAULTS {
            let count = self.faults.get(kind).copied().unwrap_or(0);
            writeln!(f, "  {kind:<30} {count}")?;
        }
        if !faults::COMPILED {
            return writeln!(
                f,
                "fault sites             none in this program: build it with --features faults"
            );
        }
        writeln!(f, "fault sites             reached, failed")?;
        for site in SITES {
            let SiteCount { reached, struck } = self.sites.get(site).copied().unwrap_or_default();
            writeln!(f, "  {site:<30} {reached}, {struck}")?;
        }
        let never: Vec<_> = self
            .missing()
            .into_iter()
            .filter(|name| SITES.contains(name))
            .collect();
        let never = match never.is_empty() {
            true => "none".to_owned(),
            false => never.join(", "),
        };
        writeln!(f, "fault sites that never failed: {never}")
    }
}
