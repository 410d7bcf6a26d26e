//! A computer with a store that may lose its power before any call of the store to its rows or files.

use bytes::Bytes;
use core::task::{Context, Poll, Waker};
use mox_mailbox::{Batch, Reads};
use mox_store::{Capacity, Disk, Kv};
use std::io;
use std::sync::{Arc, Mutex};

use crate::slot::lock;
use crate::{SimDisk, SimKv, SimRuntime};

/// A computer and what survives its crashes. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Inner>);

struct Inner {
    runtime: SimRuntime,
    state: Mutex<State>,
}

struct State {
    rows: SimKv,
    disk: SimDisk,
    /// Lives so far: what an earlier one left running cannot touch this one.
    life: u64,
    /// Calls until the power fails.
    armed: Option<u64>,
    /// It never fails again.
    is_secure: bool,
    /// What the power left.
    image: Option<(SimKv, SimDisk)>,
    down: Option<Down>,
    waiting: Option<Waker>,
}

/// Why a machine is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    /// The power failed.
    Power,
    /// The process ended by itself.
    Exit(String),
}

impl Machine {
    pub(crate) fn new(runtime: SimRuntime, name: &str) -> Self {
        let sim = runtime.sim();
        let state = State {
            rows: SimKv::new(sim, &format!("rows of {name}")),
            disk: SimDisk::new(sim, &format!("disk of {name}")),
            life: 0,
            armed: None,
            is_secure: false,
            image: None,
            down: None,
            waiting: None,
        };
        let machine = Self(Arc::new(Inner {
            runtime: runtime.clone(),
            state: Mutex::new(state),
        }));
        let weak = Arc::downgrade(&machine.0);
        runtime.on_exit(move |why| {
            if let Some(inner) = weak.upgrade() {
                Self(inner).go_down(Down::Exit(why));
            }
        });
        machine
    }

    pub(crate) fn runtime(&self) -> &SimRuntime {
        &self.0.runtime
    }

    /// The rows and files of this life, for a store that is to be opened.
    pub(crate) fn place(&self) -> (Box<dyn Kv>, Arc<dyn Disk>) {
        let state = lock(&self.0.state);
        let rows = Rows {
            rows: state.rows.clone(),
            machine: self.clone(),
            life: state.life,
        };
        let files = Files {
            disk: state.disk.clone(),
            machine: self.clone(),
            life: state.life,
        };
        (Box::new(rows), Arc::new(files))
    }

    /// The power fails before the call of the store after this many more.
    pub(crate) fn arm(&self, calls: u64) {
        lock(&self.0.state).armed = Some(calls);
    }

    /// The power does not fail any more.
    pub(crate) fn secure(&self) {
        lock(&self.0.state).is_secure = true;
    }

    /// The power fails now.
    pub(crate) fn power_off(&self) {
        self.go_down(Down::Power);
    }

    pub(crate) fn is_down(&self) -> bool {
        lock(&self.0.state).down.is_some()
    }

    /// Waits until it is down.
    pub(crate) async fn downfall(&self) -> Down {
        core::future::poll_fn(|cx| self.poll_down(cx)).await
    }

    /// The next life begins with what the power left.
    pub(crate) fn revive(&self) {
        let mut state = lock(&self.0.state);
        if let Some((rows, disk)) = state.image.take() {
            state.rows = rows;
            state.disk = disk;
        }
        state.life += 1;
        state.down = None;
    }

    /// Reads the rows as they are, down or not.
    pub(crate) fn rows(&self) -> SimKv {
        lock(&self.0.state).rows.clone()
    }

    fn poll_down(&self, cx: &mut Context<'_>) -> Poll<Down> {
        let mut state = lock(&self.0.state);
        match &state.down {
            Some(down) => Poll::Ready(down.clone()),
            None => {
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Before each call of the store to what lies under it.
    fn call(&self, life: u64) {
        let failed = {
            let mut state = lock(&self.0.state);
            match (state.life == life && state.down.is_none(), state.armed) {
                (true, Some(0)) => {
                    state.armed = None;
                    true
                }
                (true, Some(calls)) => {
                    state.armed = Some(calls - 1);
                    false
                }
                _ => false,
            }
        };
        if failed {
            self.go_down(Down::Power);
        }
    }

    /// What is on the disk is what was there now; nobody runs on this computer again before it is revived.
    fn go_down(&self, why: Down) {
        let (rows, disk, waiting) = {
            let mut state = lock(&self.0.state);
            if state.down.is_some() || (why == Down::Power && state.is_secure) {
                return;
            }
            state.down = Some(why.clone());
            (state.rows.clone(), state.disk.clone(), state.waiting.take())
        };
        if why == Down::Power {
            let image = (rows.crash(), disk.crash());
            lock(&self.0.state).image = Some(image);
        }
        let runtime = self.0.runtime.clone();
        let sim = runtime.sim().clone();
        sim.soon(Box::new(move || {
            runtime.kill();
            waiting.into_iter().for_each(Waker::wake);
        }));
    }
}

/// The rows of one life.
struct Rows {
    rows: SimKv,
    machine: Machine,
    life: u64,
}

impl Kv for Rows {
    fn reads(&self) -> &dyn Reads {
        self.rows.reads()
    }

    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        self.machine.call(self.life);
        self.rows.commit(batch)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.machine.call(self.life);
        self.rows.sync()
    }

    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        self.machine.call(self.life);
        self.rows.snapshot()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.machine.call(self.life);
        self.rows.rotate()
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.machine.call(self.life);
        Box::new(self.rows).close()
    }
}

/// The files of one life.
struct Files {
    disk: SimDisk,
    machine: Machine,
    life: u64,
}

impl Files {
    fn called(&self) -> &SimDisk {
        self.machine.call(self.life);
        &self.disk
    }
}

impl Disk for Files {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.called().create_dir(name)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.called().create(name)
    }

    fn write_at(&self, name: &str, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        self.called().write_at(name, offset, parts)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.called().sync(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.called().sync_dir(dir)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.called().link(from, to)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.called().rename(from, to)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.called().unlink(name)
    }

    // Reading changes nothing: a crash before it is one after the last change.
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        self.disk.read_at(name, offset, length)
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        self.disk.length(name)
    }

    fn capacity(&self) -> io::Result<Capacity> {
        self.disk.capacity()
    }
}
