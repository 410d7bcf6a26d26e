//! [`Runtime`] for tokio.

use mox_driver::{Bind, Fut, FutRef, Inherited, Places, Pool, Runtime};
use mox_machine::{Mono, Now, Seed, Utc};
use rand::TryRngCore;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_util::compat::Compat;

use crate::sockets::{self, TokioDatagram};
use crate::tasks::{self, Tasks};
use crate::timer::TokioTimer;

/// mox's side of a running tokio runtime; clones are the same one.
#[derive(Debug, Clone)]
pub struct TokioRuntime(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tokio: Handle,
    started: Instant,
    root: Seed,
    seeds: AtomicU64,
    tasks: Arc<Tasks>,
    places: Places,
    inherited: Inherited<std::net::TcpListener>,
}

/// 32 bytes of the operating system's randomness.
pub fn os_seed() -> io::Result<Seed> {
    let mut bytes = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(io::Error::other)?;
    Ok(Seed::new(bytes))
}

impl TokioRuntime {
    /// Uses the tokio runtime this is called in, which needs its I/O and time drivers.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current(root: Seed) -> Self {
        Self::current_with(root, BTreeMap::new())
    }

    /// As [`current`](Self::current), with listening sockets for [`Bind::Inherited`], by name.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current_with(root: Seed, inherited: BTreeMap<String, std::net::TcpListener>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Shared {
            tokio: Handle::current(),
            started: Instant::now(),
            root,
            seeds: AtomicU64::new(0),
            tasks: Arc::default(),
            places: Places::new(cores),
            inherited: Inherited::new(inherited),
        }))
    }

    /// Sessions that ended by a panic.
    pub fn panics(&self) -> u64 {
        self.0.tasks.panics()
    }

    /// From now on a service may end: the server is being stopped in order.
    pub fn stopping(&self) {
        self.0.tasks.stopping();
    }
}

impl Runtime for TokioRuntime {
    type Stream = Compat<TcpStream>;
    type Listener = TcpListener;
    type Datagram = TokioDatagram;
    type Timer = TokioTimer;

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

    fn timer(&self) -> TokioTimer {
        TokioTimer::new(self.0.tokio.clone(), self.0.started)
    }

    fn spawn_session(&self, name: &'static str, task: Fut<()>) {
        self.0.tasks.spawn_session(&self.0.tokio, name, task);
    }

    fn spawn_service(&self, name: &'static str, task: Fut<()>) {
        self.0.tasks.spawn_service(&self.0.tokio, name, task);
    }

    fn blocking<T: Send + 'static>(
        &self,
        class: Pool,
        work: Box<dyn FnOnce() -> T + Send>,
    ) -> Fut<T> {
        let (tokio, place) = (self.0.tokio.clone(), self.0.places.take(class));
        Box::pin(async move { tasks::blocking(&tokio, place.await, work).await })
    }

    fn listen(&self, on: Bind) -> io::Result<TcpListener> {
        let listener = match on {
            Bind::Addr(address) => sockets::listen(address)?,
            Bind::Inherited(name) => self.0.inherited.take(&name)?,
        };
        listener.set_nonblocking(true)?;
        let _inside = self.0.tokio.enter();
        TcpListener::from_std(listener)
    }

    fn local_addr(&self, on: &TcpListener) -> io::Result<SocketAddr> {
        on.local_addr()
    }

    fn accept<'a>(
        &self,
        on: &'a TcpListener,
    ) -> FutRef<'a, io::Result<(Self::Stream, SocketAddr)>> {
        Box::pin(sockets::accept(on))
    }

    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<io::Result<Self::Stream>> {
        Box::pin(sockets::connect(to, from))
    }

    fn udp(&self, to: SocketAddr) -> Fut<io::Result<TokioDatagram>> {
        Box::pin(sockets::udp(to))
    }
}
