//! Rows that lose what was not synced.

use mox_machine::Rng;
use mox_mailbox::{Batch, Reads};
use mox_store::{Kv, MemKv};
use std::io;
use std::sync::{Arc, Mutex};

use crate::sim::Sim;
use crate::slot::lock;

/// A [`Kv`] of a world. A clone is another handle to the same rows.
#[derive(Debug, Clone)]
pub struct SimKv {
    rows: MemKv,
    sim: Sim,
    rng: Arc<Mutex<Rng>>,
    broken: Arc<Mutex<bool>>,
}

impl SimKv {
    /// Without any row.
    pub fn new(sim: &Sim, name: &str) -> Self {
        Self {
            rows: MemKv::new(),
            sim: sim.clone(),
            rng: Arc::new(Mutex::new(sim.world().root.child(name, 0).rng())),
            broken: Arc::default(),
        }
    }

    /// What the power leaves when it fails now: everything synced, and a random number of the batches behind it.
    pub fn crash(&self) -> Self {
        let kept = lock(&self.rng).below(self.rows.unsynced() + 1);
        self.sim.fact("crash rows", kept, &[]);
        Self {
            rows: self.rows.crash(kept),
            sim: self.sim.clone(),
            rng: Arc::clone(&self.rng),
            broken: Arc::default(),
        }
    }

    /// From now on every sync fails, as after an I/O error.
    pub fn fail_syncs(&self) {
        *lock(&self.broken) = true;
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
        self.rows.commit(batch)
    }

    fn sync(&mut self) -> io::Result<()> {
        let broken = *lock(&self.broken);
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
