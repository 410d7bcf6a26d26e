//! What many worlds came to, in figures.

use core::fmt;
use core::ops::AddAssign;
use std::collections::BTreeMap;

use crate::Sim;
use crate::oracle::Bench;
use crate::plan::Plan;

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
    /// Losses of power that came true.
    pub crashes: u64,
    /// Messages acknowledged, counted by recipient.
    pub acknowledged: u64,
    /// Copies beyond one, each with a lost reply to a final dot that accounts for it.
    pub extra: u64,
    /// What broke, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(crate) fn of(sim: &Sim, _plan: &Plan, bench: &Bench) -> Self {
        let counts = sim.counts();
        let faults = counts.iter().filter_map(|(kind, count)| {
            let fault = kind
                .strip_prefix("fault ")
                .or_else(|| (*kind == "refuse").then_some(kind))?;
            Some((fault, *count))
        });
        Self {
            worlds: 1,
            steps: sim.steps(),
            facts: sim.trace().len() as u64,
            seconds: sim.elapsed().as_secs(),
            sessions: bench.patience.sessions,
            crashes: counts.get("crash rows").copied().unwrap_or_default(),
            acknowledged: bench.ledger.acknowledged(),
            extra: bench.extra,
            faults: faults.collect(),
        }
    }
}

impl AddAssign<&Self> for Summary {
    fn add_assign(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.steps += other.steps;
        self.facts += other.facts;
        self.seconds += other.seconds;
        self.sessions += other.sessions;
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.extra += other.extra;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
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
            crashes,
            acknowledged,
            extra,
            ..
        } = self;
        writeln!(f, "worlds                  {worlds}")?;
        writeln!(f, "virtual time            {} h", seconds / 3_600)?;
        writeln!(f, "steps, facts            {steps}, {facts}")?;
        writeln!(f, "sessions of clients     {sessions}")?;
        writeln!(f, "losses of power         {crashes}")?;
        writeln!(f, "messages acknowledged   {acknowledged}, lost 0")?;
        writeln!(
            f,
            "copies beyond one       {extra}, each with a reply to its final dot that was lost"
        )?;
        for (kind, count) in &self.faults {
            writeln!(f, "fault: {kind:<16} {count}")?;
        }
        Ok(())
    }
}
