//! Streams with latency, pieces of any size, half-close, reset and refusal.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use futures_io::{AsyncRead, AsyncWrite};
use mox_machine::{Mono, Rng};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use crate::knobs::between;
use crate::sim::{EventKey, Sim};
use crate::slot::{Slot, lock};

/// The first port that is given to whoever asks for none.
pub(crate) const FIRST_PORT: u16 = 49_152;

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

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<(SimStream, SocketAddr)>,
    acceptor: Option<Waker>,
}

/// A listening socket.
pub struct SimListener {
    sim: Sim,
    /// Where others find it.
    on: SocketAddr,
    /// What it was asked to listen on, with its port.
    named: SocketAddr,
    backlog: Arc<Mutex<Backlog>>,
}

pub(crate) fn listen(sim: &Sim, on: SocketAddr, named: SocketAddr) -> io::Result<SimListener> {
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
    let backlog = Arc::<Mutex<Backlog>>::default();
    net.listeners.insert(on, Arc::clone(&backlog));
    Ok(SimListener {
        sim: sim.clone(),
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
        match backlog.waiting.pop_front() {
            Some(accepted) => Poll::Ready(Ok(accepted)),
            None => {
                backlog.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
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
    let number = sim.number();
    let mut rng = sim.world().root.child("connection", number).rng();
    let (there, back) = {
        let latency = sim.world().knobs.latency;
        (between(&mut rng, latency), between(&mut rng, latency))
    };
    let refused = rng.one_in(sim.odds(sim.world().knobs.refuse_one_in));
    let result = Slot::new();
    let told = result.clone();
    let arriving = sim.clone();
    let arrive = Box::new(move || {
        let sim = arriving;
        let listener = lock(&sim.world().net).listeners.get(&to).cloned();
        let outcome = match listener {
            Some(backlog) if !refused => {
                let (ours, theirs) = pair(&sim, number);
                let port = lock(&sim.world().net).port();
                sim.fact("connect", number, to.to_string().as_bytes());
                let acceptor = {
                    let mut backlog = lock(&backlog);
                    backlog.waiting.push_back((theirs, (source, port).into()));
                    backlog.acceptor.take()
                };
                acceptor.into_iter().for_each(Waker::wake);
                Ok(ours)
            }
            _ => {
                sim.fact("refuse", number, to.to_string().as_bytes());
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        };
        sim.at(sim.now().mono + back, Box::new(move || told.put(outcome)));
    });
    sim.at(sim.now().mono + there, arrive);
    core::future::poll_fn(|cx| result.poll_take(cx)).await
}

/// Two streams that are connected, as by [`connect`] and an accept.
fn pair(sim: &Sim, number: u64) -> (SimStream, SimStream) {
    let way = |n| {
        Mutex::new(Way {
            rng: sim.world().root.child("way", number * 2 + n).rng(),
            arrived: VecDeque::new(),
            unread: 0,
            last: Mono(0),
            state: State::Open,
            finished: false,
            reader_gone: false,
            reader: None,
            writer: None,
        })
    };
    let connection = Arc::new(Connection {
        sim: sim.clone(),
        number,
        ways: [way(0), way(1)],
    });
    let end = |side| SimStream {
        connection: Arc::clone(&connection),
        side,
    };
    (end(0), end(1))
}

/// One end of a connection. Dropping it with bytes unread breaks the connection, as kernels do.
pub struct SimStream {
    connection: Arc<Connection>,
    /// The number of the way it writes to.
    side: usize,
}

struct Connection {
    sim: Sim,
    number: u64,
    ways: [Mutex<Way>; 2],
}

/// One direction.
struct Way {
    rng: Rng,
    arrived: VecDeque<u8>,
    /// Bytes written and not read yet.
    unread: usize,
    /// When the last piece arrives: pieces do not overtake.
    last: Mono,
    state: State,
    /// The writer closed it; perhaps that has not arrived.
    finished: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The end has arrived.
    Ended,
    Broken,
}

impl Way {
    /// When something sent now arrives.
    fn arrival(&mut self, sim: &Sim) -> Mono {
        let travels = between(&mut self.rng, sim.world().knobs.latency);
        self.last = self.last.max(sim.now().mono + travels);
        self.last
    }

    /// A piece of at most `most` bytes.
    fn piece(&mut self, sim: &Sim, most: usize) -> usize {
        let most = most.min(sim.world().knobs.segment);
        1 + self.rng.below(most as u64) as usize
    }
}

impl Connection {
    fn way(&self, side: usize) -> std::sync::MutexGuard<'_, Way> {
        let [first, second] = &self.ways;
        lock(if side == 0 { first } else { second })
    }

    /// Both ends learn that the connection is broken; what has arrived and was not read is lost.
    fn break_now(&self) {
        self.sim.fact("reset", self.number, &[]);
        for side in [0, 1] {
            let wakers = {
                let mut way = self.way(side);
                way.state = State::Broken;
                way.arrived.clear();
                [way.reader.take(), way.writer.take()]
            };
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    fn break_at(self: &Arc<Self>, at: Mono) -> EventKey {
        let connection = Arc::clone(self);
        self.sim.at(at, Box::new(move || connection.break_now()))
    }

    fn deliver(&self, side: usize, bytes: &[u8]) {
        let reader = {
            let mut way = self.way(side);
            match way.state {
                State::Open if way.reader_gone => None,
                State::Open => {
                    way.arrived.extend(bytes);
                    Some(way.reader.take())
                }
                State::Ended | State::Broken => return,
            }
        };
        match reader {
            Some(reader) => reader.into_iter().for_each(Waker::wake),
            // Nobody is there to read it.
            None => self.break_now(),
        }
    }

    /// The end of one direction sets off behind everything written to it.
    fn finish(self: &Arc<Self>, side: usize) {
        let at = {
            let mut way = self.way(side);
            if way.finished || way.state != State::Open {
                return;
            }
            way.finished = true;
            way.arrival(&self.sim)
        };
        self.sim.fact("close", self.number * 2 + side as u64, &[]);
        let connection = Arc::clone(self);
        let arrive = Box::new(move || {
            let reader = {
                let mut way = connection.way(side);
                if way.state == State::Open {
                    way.state = State::Ended;
                }
                way.reader.take()
            };
            reader.into_iter().for_each(Waker::wake);
        });
        self.sim.at(at, arrive);
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let connection = &self.connection;
        let side = 1 - self.side;
        let mut way = connection.way(side);
        if way.state == State::Broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let most = way.arrived.len().min(into.len());
        if most == 0 {
            if way.state == State::Ended || into.is_empty() {
                return Poll::Ready(Ok(0));
            }
            way.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let piece = way.piece(&connection.sim, most);
        for (to, from) in into.iter_mut().zip(way.arrived.drain(..piece)) {
            *to = from;
        }
        way.unread -= piece;
        let writer = way.writer.take();
        drop(way);
        let read = into.get(..piece).unwrap_or_default();
        let number = connection.number * 2 + side as u64;
        connection.sim.fact("read", number, read);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(piece))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let connection = &self.connection;
        let knobs = &connection.sim.world().knobs;
        let mut way = connection.way(self.side);
        if way.state != State::Open || way.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let most = knobs.window.saturating_sub(way.unread).min(bytes.len());
        if most == 0 {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let piece = way.piece(&connection.sim, most);
        let written = bytes.get(..piece).unwrap_or_default();
        let breaks = way.rng.one_in(connection.sim.odds(knobs.reset_one_in));
        let at = way.arrival(&connection.sim);
        way.unread += piece;
        drop(way);
        let number = connection.number * 2 + self.side as u64;
        connection.sim.fact("write", number, written);
        if breaks {
            connection.sim.fact("fault reset", number, &[]);
            connection.break_at(at);
        } else {
            let (arriving, side, piece) = (Arc::clone(connection), self.side, written.to_vec());
            let arrive = Box::new(move || arriving.deliver(side, &piece));
            connection.sim.at(at, arrive);
        }
        Poll::Ready(Ok(piece))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.finish(self.side);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let unread = {
            let mut way = self.connection.way(1 - self.side);
            way.reader_gone = true;
            way.state == State::Open && !way.arrived.is_empty()
        };
        if unread {
            let at = self.connection.way(self.side).arrival(&self.connection.sim);
            self.connection.break_at(at);
        } else {
            self.connection.finish(self.side);
        }
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStream({}.{})", self.connection.number, self.side)
    }
}
