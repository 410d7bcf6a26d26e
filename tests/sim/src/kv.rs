//! Rows that lose what was not synced, and more when they are told to.

use mox_machine::Rng;
use mox_mailbox::{Batch, Reads};
use mox_store::{Kv, MemKv};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use crate::sim::Sim;
use crate::slot::lock;

/// Batches that can be taken back to cut a tail off.
const REMEMBERED: usize = 256;

/// How rows err. All `one_in` are 0 for never, 1 for always; a healed world knows none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KvManner {
    /// A commit fails; nothing of it is there.
    pub commit_error_one_in: u64,
    /// A sync fails, and all that follow: as after an I/O error nobody knows what is durable.
    pub sync_error_one_in: u64,
}

/// A [`Kv`] of a world. A clone is another handle to the same rows. Reads and snapshots show what is committed, durable
/// or not, to whoever looks too early.
#[derive(Debug, Clone)]
pub struct SimKv {
    rows: MemKv,
    sim: Sim,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    /// Apart from `rng`, so that faults do not change what a crash leaves.
    luck: Rng,
    broken: bool,
    manner: KvManner,
    /// What undoes each of the last batches.
    undo: VecDeque<Batch>,
}

impl SimKv {
    /// Without any row.
    pub fn new(sim: &Sim, name: &str) -> Self {
        let seed = sim.world().root.child(name, 0);
        let state = State {
            rng: seed.rng(),
            luck: seed.child("luck", 0).rng(),
            broken: false,
            manner: KvManner::default(),
            undo: VecDeque::new(),
        };
        Self {
            rows: MemKv::new(),
            sim: sim.clone(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// What the power leaves when it fails now: everything synced, and a random number of the batches behind it.
    pub fn crash(&self) -> Self {
        let kept = lock(&self.state).rng.below(self.rows.unsynced() + 1);
        self.sim.fact("crash rows", kept, &[]);
        self.leave(kept)
    }

    /// What a process leaves that ends while its computer runs on: every batch.
    pub fn left(&self) -> Self {
        self.leave(u64::MAX)
    }

    /// A crash after which the last batches that were durable are gone too, as after damage to the end of a journal. At
    /// most 256 can be cut off.
    pub fn crash_cut(&self, lost: usize) -> Self {
        let mut left = self.leave(0);
        self.sim.fault("rows cut", lost as u64);
        let undo: Vec<Batch> = {
            let mut state = lock(&left.state);
            let keeps = state.undo.len().saturating_sub(lost);
            state.undo.split_off(keeps).into()
        };
        for batch in undo.iter().rev() {
            // Rows in memory take everything.
            let _ = left.rows.commit(batch);
        }
        let _ = left.rows.sync();
        left
    }

    /// From now on every sync fails, as after an I/O error.
    pub fn fail_syncs(&self) {
        lock(&self.state).broken = true;
    }

    /// From now on it errs like this.
    pub fn set_manner(&self, manner: KvManner) {
        lock(&self.state).manner = manner;
    }

    /// A copy that has so many of the unsynced batches, and no fault but its manner.
    fn leave(&self, kept: u64) -> Self {
        let unsynced = self.rows.unsynced();
        let gone = usize::try_from(unsynced.saturating_sub(kept)).unwrap_or(usize::MAX);
        let state = lock(&self.state);
        let mut undo = state.undo.clone();
        undo.truncate(undo.len().saturating_sub(gone));
        let state = State {
            rng: state.rng.clone(),
            luck: state.luck.clone(),
            broken: false,
            manner: state.manner,
            undo,
        };
        Self {
            rows: self.rows.crash(kept),
            sim: self.sim.clone(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn happens(&self, fault: &'static str, one_in: impl Fn(&KvManner) -> u64) -> bool {
        let happens = {
            let mut state = lock(&self.state);
            let odds = self.sim.odds(one_in(&state.manner));
            state.luck.one_in(odds)
        };
        if happens {
            self.sim.fault(fault, 0);
        }
        happens
    }

    fn remember(&self, batch: &Batch) {
        let before = |(space, key, _): &(_, Vec<u8>, _)| {
            let value = self.rows.reads().get(*space, key).ok().flatten();
            (*space, key.clone(), value)
        };
        let undo = Batch {
            writes: batch.writes.iter().map(before).collect(),
            ..Batch::default()
        };
        let mut state = lock(&self.state);
        if state.undo.len() == REMEMBERED {
            state.undo.pop_front();
        }
        state.undo.push_back(undo);
    }
}

impl Kv for SimKv {
    fn reads(&self) -> &dyn Reads {
        self.rows.reads()
    }

    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        self.sim.fact("commit", batch.writes.len() as u64, &[]);
        for (space, key, value) in &batch.writes {
            self.sim.fact("row", *space as u64, key);
            let value = value.as_deref().unwrap_or_default();
            self.sim.fact("value", value.len() as u64, value);
        }
        if self.happens("rows write error", |manner| manner.commit_error_one_in) {
            return Err(io::Error::other("the simulated disk failed to write"));
        }
        self.remember(batch);
        self.rows.commit(batch)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.happens("rows sync error", |manner| manner.sync_error_one_in) {
            self.fail_syncs();
        }
        let broken = lock(&self.state).broken;
        self.sim.fact("sync rows", u64::from(broken), &[]);
        if broken {
            return Err(io::Error::other("the simulated disk failed to sync"));
        }
        self.rows.sync()
    }

    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        self.rows.snapshot()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.sync()
    }
}
