//! [`Runtime`] for smol.

use async_io::Async;
use core::time::Duration;
use mox_driver::{Bind, Fut, FutRef, Inherited, Places, Pool, Runtime};
use mox_machine::{Mono, Now, Seed, Utc};
use rand::TryRngCore;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::sockets;
use crate::stream::{SmolDatagram, SmolStream};
use crate::threads::{Health, Threads};
use crate::timer::SmolTimer;

/// A handle to the running threads; clones are the same runtime.
#[derive(Debug, Clone)]
pub struct SmolRuntime(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    root: Seed,
    seeds: AtomicU64,
    threads: Threads,
    places: Places,
    inherited: Inherited<TcpListener>,
}

/// 32 bytes of the operating system's randomness.
pub fn os_seed() -> io::Result<Seed> {
    let mut bytes = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(io::Error::other)?;
    Ok(Seed::new(bytes))
}

impl SmolRuntime {
    /// Starts `threads` session threads (0: one per core) and one for services.
    pub fn start(threads: usize, root: Seed) -> io::Result<Self> {
        Self::start_with(threads, root, BTreeMap::new())
    }

    /// As [`start`](Self::start), with listening sockets the process before left us, by name.
    pub fn start_with(
        threads: usize,
        root: Seed,
        inherited: BTreeMap<String, TcpListener>,
    ) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        Ok(Self(Arc::new(Shared {
            started: Instant::now(),
            root,
            seeds: AtomicU64::new(0),
            threads: Threads::start(threads)?,
            places: Places::new(cores),
            inherited: Inherited::new(inherited),
        })))
    }

    /// Runs a future on the calling thread until it is done.
    pub fn run_until<T>(&self, future: impl Future<Output = T>) -> T {
        async_io::block_on(future)
    }

    /// Sessions per thread, panics, the longest poll.
    pub fn health(&self) -> Health {
        self.0.threads.health()
    }

    /// From now on a service may end: the process is being stopped in order.
    pub fn stopping(&self) {
        self.0.threads.stopping();
    }

    /// Waits until no session runs, at most `grace`, then stops the threads and drops what is left. Not to be called from a session or a service: it waits for their threads.
    pub fn stop(&self, grace: Duration) {
        self.0.threads.stop(grace);
    }
}

impl Runtime for SmolRuntime {
    type Stream = SmolStream;
    type Listener = Async<TcpListener>;
    type Datagram = SmolDatagram;
    type Timer = SmolTimer;

    fn now(&self) -> Now {
        let utc = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => Utc::default() + after,
            Err(before) => Utc::default() - before.duration(),
        };
        let mono = Mono::default() + self.0.started.elapsed();
        Now { mono, utc }
    }

    fn seed(&self, label: &'static str) -> Seed {
        let n = self.0.seeds.fetch_add(1, Ordering::Relaxed);
        self.0.root.child(label, n)
    }

    fn timer(&self) -> SmolTimer {
        SmolTimer::new(self.0.started)
    }

    fn spawn_session(&self, name: &'static str, task: Fut<()>) {
        self.0.threads.spawn_session(name, task);
    }

    fn spawn_service(&self, name: &'static str, task: Fut<()>) {
        self.0.threads.spawn_service(name, task);
    }

    fn blocking<T: Send + 'static>(
        &self,
        class: Pool,
        work: Box<dyn FnOnce() -> T + Send>,
    ) -> Fut<T> {
        let place = self.0.places.take(class);
        Box::pin(async move {
            let place = place.await;
            // Work that has not begun is dropped with this future; work that has begun is finished.
            blocking::unblock(move || {
                let _place = place;
                work()
            })
            .await
        })
    }

    fn listen(&self, on: Bind) -> io::Result<Async<TcpListener>> {
        let listener = match on {
            Bind::Addr(address) => sockets::listen(address)?,
            Bind::Inherited(name) => self.0.inherited.take(&name)?,
        };
        Async::new(listener)
    }

    fn local_addr(&self, on: &Async<TcpListener>) -> io::Result<SocketAddr> {
        on.get_ref().local_addr()
    }

    fn accept<'a>(
        &self,
        on: &'a Async<TcpListener>,
    ) -> FutRef<'a, io::Result<(SmolStream, SocketAddr)>> {
        Box::pin(sockets::accept(on))
    }

    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<io::Result<SmolStream>> {
        Box::pin(sockets::connect(to, from))
    }

    fn udp(&self, to: SocketAddr) -> Fut<io::Result<SmolDatagram>> {
        Box::pin(async move { sockets::udp(to) })
    }
}
