//! A computer with a store that may lose its power before any call of the store to its rows or files.

use bytes::Bytes;
use core::task::{Context, Poll, Waker};
use mox_mailbox::{Batch, Reads};
use mox_store::{Capacity, Disk, Kv};
use std::io;
use std::sync::{Arc, Mutex};

use crate::slot::lock;
use crate::{SimDisk, SimKv, SimRuntime, names};

/// Moments at which the power fails.
pub(crate) const BETWEEN_STEPS: &str = "the power failed between two steps";
pub(crate) const BEFORE_A_CALL: &str = "the power failed before a call of the store";

/// A computer and what survives its crashes. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Inner>);

struct Inner {
    runtime: SimRuntime,
    which: u64,
    name: &'static str,
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
    /// Calls of the store that change something and failed in this life.
    errors: u64,
    /// Reads of files that failed in this life: they leave nobody in doubt about what is on the disk.
    unread: u64,
}

/// Why a machine is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    /// The power failed, at such a moment.
    Power(&'static str),
    /// The process ended by itself.
    Exit(String),
}

impl Machine {
    pub(crate) fn new(runtime: SimRuntime, which: usize) -> Self {
        let name = names::domain(which);
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
            errors: 0,
            unread: 0,
        };
        let machine = Self(Arc::new(Inner {
            runtime: runtime.clone(),
            which: which as u64,
            name,
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
        self.go_down(Down::Power(BETWEEN_STEPS));
    }

    /// The process ends by itself.
    pub(crate) fn exit(&self, why: String) {
        self.go_down(Down::Exit(why));
    }

    /// Calls of the store that change something and failed in this life: whoever ends because of them is right.
    pub(crate) fn errors(&self) -> u64 {
        lock(&self.0.state).errors
    }

    /// Reads of files that failed in this life: whoever does not start because of them is right; whoever runs goes on.
    pub(crate) fn unread(&self) -> u64 {
        lock(&self.0.state).unread
    }

    /// Its rows and files as they are.
    pub(crate) fn parts(&self) -> (SimKv, SimDisk) {
        let state = lock(&self.0.state);
        (state.rows.clone(), state.disk.clone())
    }

    fn failed<T>(&self, life: u64, result: io::Result<T>) -> io::Result<T> {
        // What is not there, or there already, is no failure of the disk.
        let expected = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
            )
        };
        if result.as_ref().is_err_and(|error| !expected(error)) {
            let mut state = lock(&self.0.state);
            state.errors += u64::from(state.life == life);
        }
        result
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
        state.errors = 0;
        state.unread = 0;
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
            self.go_down(Down::Power(BEFORE_A_CALL));
        }
    }

    /// What is on the disk is what was there now; nobody runs on this computer again before it is revived.
    fn go_down(&self, why: Down) {
        let loses;
        let (rows, disk, waiting) = {
            let mut state = lock(&self.0.state);
            let is_power = matches!(why, Down::Power(_));
            if state.down.is_some() || (is_power && state.is_secure) {
                return;
            }
            state.down = Some(why.clone());
            // After an I/O error nobody knows what reached the disk.
            loses = is_power || state.errors > 0;
            (state.rows.clone(), state.disk.clone(), state.waiting.take())
        };
        if loses {
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

impl Rows {
    /// Ops that wait for this will not know.
    fn tell(&self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            let machine = &self.machine.0;
            let name = machine.name.as_bytes();
            machine
                .runtime
                .sim()
                .fact("store failed", machine.which, name);
        }
        self.machine.failed(self.life, result)
    }
}

impl Kv for Rows {
    fn reads(&self) -> &dyn Reads {
        self.rows.reads()
    }

    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        self.machine.call(self.life);
        let result = self.rows.commit(batch);
        self.tell(result)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.machine.call(self.life);
        let result = self.rows.sync();
        self.tell(result)
    }

    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        self.machine.call(self.life);
        self.rows.snapshot()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.machine.call(self.life);
        let result = self.rows.rotate();
        self.tell(result)
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.machine.call(self.life);
        let result = Box::new(self.rows).close();
        self.machine.failed(self.life, result)
    }
}

/// The files of one life.
struct Files {
    disk: SimDisk,
    machine: Machine,
    life: u64,
}

impl Files {
    fn called<T>(&self, call: impl FnOnce(&SimDisk) -> io::Result<T>) -> io::Result<T> {
        self.machine.call(self.life);
        self.machine.failed(self.life, call(&self.disk))
    }
}

impl Disk for Files {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.called(|disk| disk.create_dir(name))
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.called(|disk| disk.create(name))
    }

    fn write_at(&self, name: &str, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        self.called(|disk| disk.write_at(name, offset, parts))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.called(|disk| disk.sync(name))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.called(|disk| disk.sync_dir(dir))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.called(|disk| disk.link(from, to))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.called(|disk| disk.rename(from, to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.called(|disk| disk.unlink(name))
    }

    // Reading changes nothing: a crash before it is one after the last change.
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let result = self.disk.read_at(name, offset, length);
        if result.is_err() {
            let mut state = lock(&self.machine.0.state);
            state.unread += u64::from(state.life == self.life);
        }
        result
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        self.disk.length(name)
    }

    fn capacity(&self) -> io::Result<Capacity> {
        self.disk.capacity()
    }
}
