//! The threads: one executor each, sessions pinned, services apart.

use async_executor::Executor;
use core::any::Any;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use mox_driver::Fut;
use smol::channel;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

/// The exit code when a service panicked or ended: the supervisor starts the process again (sysexits: software error).
const SOFTWARE_ERROR: i32 = 70;
/// How often a stopping runtime looks whether sessions are left.
const LOOK: Duration = Duration::from_millis(5);

/// How the threads are doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Sessions on each thread.
    pub sessions: Vec<usize>,
    /// Sessions that ended by a panic.
    pub panics: u64,
    /// The longest a session held its thread in one poll.
    pub longest_poll: Duration,
}

pub(crate) struct Threads {
    sessions: Vec<Worker>,
    services: Worker,
    counts: Arc<Counts>,
    /// Dropping it ends the loop of every thread.
    running: Mutex<Option<channel::Sender<()>>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Counts {
    panics: AtomicU64,
    longest_poll: AtomicU64,
    stopping: AtomicBool,
}

/// A thread seen from the others. The executor belongs to the thread itself: tasks hold runtime handles, so an
/// executor held by the runtime would never be dropped, nor would its tasks.
struct Worker {
    executor: Weak<Executor<'static>>,
    load: Arc<AtomicUsize>,
}

impl Threads {
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (running, stopped) = channel::bounded(1);
        let mut handles = Vec::new();
        let mut worker = |name: String| {
            let executor = Arc::new(Executor::new());
            let seen = Worker {
                executor: Arc::downgrade(&executor),
                load: Arc::default(),
            };
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new().name(name);
            handles.push(thread.spawn(move || {
                let _ = async_io::block_on(executor.run(stopped.recv()));
            })?);
            io::Result::Ok(seen)
        };
        let services = worker("services".to_owned())?;
        let sessions = (0..count)
            .map(|n| worker(format!("sessions-{n}")))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            sessions,
            services,
            counts: Arc::default(),
            running: Mutex::new(Some(running)),
            handles: Mutex::new(handles),
        })
    }

    pub(crate) fn spawn_session(&self, name: &'static str, task: Fut<()>) {
        let least = self
            .sessions
            .iter()
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let Some(worker) = least else { return };
        // A stopped runtime drops what comes late.
        if let Some(executor) = worker.executor.upgrade() {
            let session = SessionTask {
                name,
                task,
                _load: Load::one(worker.load.clone()),
                counts: self.counts.clone(),
            };
            executor.spawn(session).detach();
        }
    }

    pub(crate) fn spawn_service(&self, name: &'static str, task: Fut<()>) {
        if let Some(executor) = self.services.executor.upgrade() {
            let counts = self.counts.clone();
            executor.spawn(ServiceTask { name, task, counts }).detach();
        }
    }

    pub(crate) fn health(&self) -> Health {
        let load = |worker: &Worker| worker.load.load(Ordering::Relaxed);
        Health {
            sessions: self.sessions.iter().map(load).collect(),
            panics: self.counts.panics.load(Ordering::Relaxed),
            longest_poll: Duration::from_nanos(self.counts.longest_poll.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn stopping(&self) {
        self.counts.stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stop(&self, grace: Duration) {
        self.stopping();
        let until = Instant::now() + grace;
        while Instant::now() < until && self.health().sessions.iter().sum::<usize>() > 0 {
            std::thread::sleep(LOOK);
        }
        drop(lock(&self.running).take());
        let handles = core::mem::take(&mut *lock(&self.handles));
        for handle in handles {
            if handle.join().is_err() {
                tracing::error!("a thread ended by a panic");
            }
        }
    }
}

/// The last handle may be dropped by a task on one of the threads, so nothing is waited for here.
impl Drop for Threads {
    fn drop(&mut self) {
        self.stopping();
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Threads").field(&self.health()).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts as one session of its thread while it lives.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn one(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session whose panic ends nothing but itself.
struct SessionTask {
    name: &'static str,
    task: Fut<()>,
    _load: Load,
    counts: Arc<Counts>,
}

impl Future for SessionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let began = Instant::now();
        let polled = catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(cx)));
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if took > self.counts.longest_poll.load(Ordering::Relaxed) {
            self.counts.longest_poll.fetch_max(took, Ordering::Relaxed);
        }
        polled.unwrap_or_else(|panic| {
            self.counts.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                session = self.name,
                panic = message(&*panic),
                "a session panicked"
            );
            Poll::Ready(())
        })
    }
}

/// A service that must not end before the runtime stops.
struct ServiceTask {
    name: &'static str,
    task: Fut<()>,
    counts: Arc<Counts>,
}

impl Future for ServiceTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(cx)));
        match &polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) if self.counts.stopping.load(Ordering::SeqCst) => {
                return Poll::Ready(());
            }
            Ok(Poll::Ready(())) => tracing::error!(service = self.name, "a service ended"),
            Err(panic) => {
                let panic = message(&**panic);
                tracing::error!(service = self.name, panic, "a service panicked");
            }
        }
        // Mail would just stop: better to be started again.
        std::process::exit(SOFTWARE_ERROR)
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
