//! One computer of a world: its [`Runtime`].

use core::fmt;
use mox_driver::{Bind, Fut, FutRef, Pool, Runtime};
use mox_machine::{Now, Seed};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use crate::datagram::{self, SimDatagram};
use crate::jobs;
use crate::net::{self, SimListener};
use crate::sim::{Kind, Sim, both_families};
use crate::slot::lock;
use crate::stream::SimStream;
use crate::timer::SimTimer;

/// Octets of an ask, answer or event that go into the record.
const WITNESSED: usize = 300;

/// A computer. Clones are the same one.
#[derive(Clone)]
pub struct SimRuntime(Arc<Computer>);

struct Computer {
    sim: Sim,
    number: u64,
    name: &'static str,
    addresses: [IpAddr; 2],
    seed: Seed,
    /// Seeds drawn for each label, so that one more draw here changes nothing there.
    drawn: Mutex<BTreeMap<&'static str, u64>>,
}

impl SimRuntime {
    pub(crate) fn new(sim: Sim, name: &'static str, address: Ipv4Addr) -> Self {
        let seed = sim.world().root.child(name, 0);
        Self(Arc::new(Computer {
            number: sim.number(),
            sim,
            name,
            addresses: both_families(address),
            seed,
            drawn: Mutex::default(),
        }))
    }

    /// The world.
    pub fn sim(&self) -> &Sim {
        &self.0.sim
    }

    /// Its number among what the world counts.
    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    /// Its IPv4 and its IPv6 address.
    pub fn addresses(&self) -> [IpAddr; 2] {
        self.0.addresses
    }

    /// Ends every task on this computer at once, as a kill does: connections break, nobody listens any more. What a
    /// disk loses is decided by who crashes the disk.
    pub fn kill(&self) {
        self.0
            .sim
            .fact("kill", self.0.number, self.0.name.as_bytes());
        self.0.sim.end_tasks_of(self.0.number);
    }

    /// Tells whoever runs this computer that a service of it ended or panicked, which ends a real process, instead of
    /// ending the world. Its tasks go on until it is killed.
    pub fn on_exit(&self, told: impl Fn(String) + Send + Sync + 'static) {
        self.0.sim.watch_exit(self.0.number, Arc::new(told));
    }

    /// Runs a task of the world itself here: a panic in it ends the world.
    pub(crate) fn spawn(&self, name: &'static str, task: Fut<()>) {
        self.0.sim.spawn(name, self.0.number, Kind::Main, task);
    }

    /// Names of the sessions that run on it.
    pub fn sessions(&self) -> Vec<&'static str> {
        self.0.sim.sessions_on(self.0.number)
    }

    /// From now on a service of this computer may end: it is being stopped in order.
    pub fn stopping(&self) {
        self.0.sim.stopping(self.0.number);
    }

    /// What names it where addresses of both families are one.
    pub(crate) fn host(&self) -> Ipv4Addr {
        match self.0.addresses {
            [IpAddr::V4(four), _] => four,
            [IpAddr::V6(_), _] => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// The address others see: our own instead of loopback or "any".
    fn own(&self, address: SocketAddr) -> SocketAddr {
        let [four, six] = self.0.addresses;
        match address.ip() {
            ip if !(ip.is_loopback() || ip.is_unspecified()) => address,
            IpAddr::V4(_) => (four, address.port()).into(),
            IpAddr::V6(_) => (six, address.port()).into(),
        }
    }

    /// The address a connection to `to` comes from.
    fn source(&self, to: SocketAddr, from: Option<IpAddr>) -> IpAddr {
        let [four, six] = self.0.addresses;
        match (from, to.ip()) {
            (Some(from), _) => from,
            (None, ip) if ip.is_loopback() => ip,
            (None, IpAddr::V4(_)) => four,
            (None, IpAddr::V6(_)) => six,
        }
    }
}

impl Runtime for SimRuntime {
    type Stream = SimStream;
    type Listener = SimListener;
    type Datagram = SimDatagram;
    type Timer = SimTimer;

    fn now(&self) -> Now {
        self.0.sim.now()
    }

    fn seed(&self, label: &'static str) -> Seed {
        let mut drawn = lock(&self.0.drawn);
        let count = drawn.entry(label).or_default();
        *count += 1;
        self.0.seed.child(label, *count)
    }

    fn timer(&self) -> SimTimer {
        SimTimer::new(self.0.sim.clone())
    }

    fn spawn_session(&self, name: &'static str, task: Fut<()>) {
        self.0.sim.spawn(name, self.0.number, Kind::Session, task);
    }

    fn spawn_service(&self, name: &'static str, task: Fut<()>) {
        self.0.sim.spawn(name, self.0.number, Kind::Service, task);
    }

    fn blocking<T: Send + 'static>(
        &self,
        class: Pool,
        work: Box<dyn FnOnce() -> T + Send>,
    ) -> Fut<T> {
        jobs::run(self.0.sim.clone(), self.0.number, class, work)
    }

    fn listen(&self, on: Bind) -> io::Result<SimListener> {
        match on {
            Bind::Addr(address) => net::listen(&self.0.sim, self.own(address), address),
            Bind::Inherited(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn local_addr(&self, on: &SimListener) -> io::Result<SocketAddr> {
        Ok(on.local_addr())
    }

    fn accept<'a>(&self, on: &'a SimListener) -> FutRef<'a, io::Result<(SimStream, SocketAddr)>> {
        Box::pin(core::future::poll_fn(|cx| on.poll_accept(cx)))
    }

    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<io::Result<SimStream>> {
        let source = self.source(to, from);
        Box::pin(net::connect(self.0.sim.clone(), self.own(to), source))
    }

    fn udp(&self, to: SocketAddr) -> Fut<io::Result<SimDatagram>> {
        let source = self.source(to, None);
        let socket = datagram::open(self.0.sim.clone(), self.own(to), source);
        Box::pin(core::future::ready(Ok(socket)))
    }

    fn witness(&self, kind: &'static str, fact: &dyn fmt::Debug) {
        let mut words = Words(Vec::with_capacity(64));
        // It ends with an error where there are more words than are kept: the bytes themselves are seen on the wire.
        let _ = fmt::write(&mut words, format_args!("{fact:?}"));
        self.0.sim.fact(kind, self.0.number, &words.0);
    }
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRuntime")
            .field("name", &self.0.name)
            .field("addresses", &self.0.addresses)
            .finish_non_exhaustive()
    }
}

/// The beginning of what is written to it.
struct Words(Vec<u8>);

impl fmt::Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = WITNESSED.saturating_sub(self.0.len());
        let bytes = text.as_bytes();
        self.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        match bytes.len() <= room {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}
