//! Who listens where, and how connections come about, or do not.

use core::fmt;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use mox_machine::{Mono, Rng};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use crate::knobs::between;
use crate::sim::Sim;
use crate::slot::{Slot, lock};
use crate::stream::{SimStream, pair};

/// The first port that is given to whoever asks for none.
pub(crate) const FIRST_PORT: u16 = 49_152;
/// How long a kernel goes on asking for a connection nobody answers to: Linux with its six repetitions.
const CONNECT_GIVES_UP: Duration = Duration::from_secs(127);
/// How long a connection that somebody's kernel took and no program ever accepted stays open.
const MUTE_FOR: Duration = Duration::from_secs(3_600);
/// "Too many open files", as Linux numbers it.
const EMFILE: i32 = 24;

/// Who listens where.
#[derive(Default)]
pub(crate) struct Net {
    listeners: BTreeMap<SocketAddr, Arc<Mutex<Backlog>>>,
    ports: u16,
}

impl Net {
    fn port(&mut self) -> u16 {
        self.ports = (self.ports + 1) % 16_384;
        FIRST_PORT + self.ports
    }
}

struct Backlog {
    rng: Rng,
    waiting: VecDeque<(SimStream, SocketAddr)>,
    acceptor: Option<Waker>,
}

/// A listening socket.
pub struct SimListener {
    sim: Sim,
    number: u64,
    /// Where others find it.
    on: SocketAddr,
    /// What it was asked to listen on, with its port.
    named: SocketAddr,
    backlog: Arc<Mutex<Backlog>>,
}

pub(crate) fn listen(sim: &Sim, on: SocketAddr, named: SocketAddr) -> io::Result<SimListener> {
    let number = sim.number();
    let mut net = lock(&sim.world().net);
    let (mut on, mut named) = (on, named);
    while on.port() == 0 {
        on.set_port(net.port());
        if net.listeners.contains_key(&on) {
            on.set_port(0);
        }
    }
    named.set_port(on.port());
    if net.listeners.contains_key(&on) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let backlog = Arc::new(Mutex::new(Backlog {
        rng: sim.world().root.child("listener", number).rng(),
        waiting: VecDeque::new(),
        acceptor: None,
    }));
    net.listeners.insert(on, Arc::clone(&backlog));
    Ok(SimListener {
        sim: sim.clone(),
        number,
        on,
        named,
        backlog,
    })
}

impl SimListener {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.named
    }

    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(SimStream, SocketAddr)>> {
        let mut backlog = lock(&self.backlog);
        if backlog.waiting.is_empty() {
            backlog.acceptor = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let odds = self.sim.odds(self.sim.world().knobs.accept_fails_one_in);
        if backlog.rng.one_in(odds) {
            drop(backlog);
            // The connection stays where it is, as it does in the kernel.
            self.sim.fault("accept failed", self.number);
            return Poll::Ready(Err(io::Error::from_raw_os_error(EMFILE)));
        }
        match backlog.waiting.pop_front() {
            Some(accepted) => Poll::Ready(Ok(accepted)),
            None => Poll::Pending,
        }
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        lock(&self.sim.world().net).listeners.remove(&self.on);
        // Whoever was not accepted sees the connection end, outside the lock.
        let waiting = core::mem::take(&mut lock(&self.backlog).waiting);
        drop(waiting);
    }
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimListener({})", self.named)
    }
}

/// One way to the listener, one way back.
pub(crate) async fn connect(sim: Sim, to: SocketAddr, source: IpAddr) -> io::Result<SimStream> {
    let knobs = &sim.world().knobs;
    let number = sim.number();
    let mut rng = sim.world().root.child("connection", number).rng();
    let there = between(&mut rng, knobs.latency);
    let attempt = Attempt {
        number,
        to,
        source,
        began: sim.now().mono,
        back: between(&mut rng, knobs.latency),
        refused: rng.one_in(sim.odds(knobs.refuse_one_in)),
        mute: rng.one_in(sim.odds(knobs.mute_one_in)),
        result: Slot::new(),
    };
    let result = attempt.result.clone();
    if rng.one_in(sim.odds(knobs.hole_one_in)) {
        sim.fault("connect black hole", number);
        attempt.give_up(&sim);
    } else {
        attempt.send(&sim, there, Duration::from_secs(1));
    }
    core::future::poll_fn(|cx| result.poll_take(cx)).await
}

/// A connection that is asked for.
struct Attempt {
    number: u64,
    to: SocketAddr,
    source: IpAddr,
    began: Mono,
    /// How long the answer travels.
    back: Duration,
    refused: bool,
    mute: bool,
    result: Slot<io::Result<SimStream>>,
}

impl Attempt {
    /// Asks; again after `pause` if that gets lost.
    fn send(self, sim: &Sim, there: Duration, pause: Duration) {
        let then = sim.clone();
        let arrive = Box::new(move || self.arrive(&then, pause));
        sim.at(sim.now().mono + there, arrive);
    }

    fn arrive(self, sim: &Sim, pause: Duration) {
        let to = self.to.ip();
        if !sim.is_cut(self.source, to) && !sim.is_cut(to, self.source) {
            return self.answer(sim);
        }
        sim.fault("connect partitioned", self.number);
        if sim.now().mono + pause >= self.began + CONNECT_GIVES_UP {
            self.give_up(sim);
        } else {
            self.send(sim, pause, pause * 2);
        }
    }

    fn give_up(self, sim: &Sim) {
        let told = self.result;
        let fail = Box::new(move || told.put(Err(io::ErrorKind::TimedOut.into())));
        sim.at(self.began + CONNECT_GIVES_UP, fail);
    }

    fn answer(self, sim: &Sim) {
        let listener = lock(&sim.world().net).listeners.get(&self.to).cloned();
        let outcome = match listener {
            Some(backlog) if !self.refused => Ok(self.connect(sim, &backlog)),
            Some(_) => {
                sim.fault("refuse", self.number);
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            None => {
                sim.fact("refuse", self.number, self.to.to_string().as_bytes());
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        };
        let told = self.result;
        let put = Box::new(move || told.put(outcome));
        sim.at(sim.now().mono + self.back, put);
    }

    fn connect(&self, sim: &Sim, backlog: &Mutex<Backlog>) -> SimStream {
        let (ours, theirs) = pair(sim, self.number, [self.source, self.to.ip()]);
        let port = lock(&sim.world().net).port();
        sim.fact("connect", self.number, self.to.to_string().as_bytes());
        if self.mute {
            sim.fault("connect mute", self.number);
            let until = sim.now().mono + MUTE_FOR;
            sim.at(until, Box::new(move || drop(theirs)));
            return ours;
        }
        let acceptor = {
            let mut backlog = lock(backlog);
            backlog
                .waiting
                .push_back((theirs, (self.source, port).into()));
            backlog.acceptor.take()
        };
        acceptor.into_iter().for_each(Waker::wake);
        ours
    }
}
