//! Streams with latency, bandwidth, pieces of any size, half-close, resets, partitions, silence and lost buffers.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use mox_machine::{Mono, Rng};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::knobs::{Knobs, between};
use crate::plaintext;
use crate::sim::Sim;
use crate::slot::lock;

/// How long TCP sends again what nobody acknowledges, before it gives the connection up.
const GIVES_UP: Duration = Duration::from_secs(924);
/// The first and the longest pause between two such repetitions.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Writes that vanish are followed by the breaking of the connection after at most so long.
const LOST_THEN_RESET: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(30));

/// Two streams that are connected, as by a connect from the first address and an accept at the second.
pub(crate) fn pair(sim: &Sim, number: u64, addresses: [IpAddr; 2]) -> (SimStream, SimStream) {
    let way = |n| {
        Mutex::new(Way {
            rng: sim.world().root.child("way", number * 2 + n).rng(),
            arrived: VecDeque::new(),
            unread: 0,
            last: Mono(0),
            line_free: Mono(0),
            state: State::Open,
            held: VecDeque::new(),
            finished: false,
            reader_gone: false,
            fate: Fate::Arrives,
            doomed: false,
            written: 0,
            read: 0,
            receipts: VecDeque::new(),
            reader: None,
            writer: None,
        })
    };
    let connection = Arc::new(Connection {
        sim: sim.clone(),
        number,
        addresses,
        dead: Mutex::new([None; 2]),
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

/// Tells whether the peer has read everything up to some byte.
#[derive(Debug, Clone, Default)]
pub struct Receipt(Arc<Mutex<Option<Mono>>>);

impl Receipt {
    /// When the peer read the last of these bytes; `None` if it has not.
    pub fn read_at(&self) -> Option<Mono> {
        *lock(&self.0)
    }
}

impl SimStream {
    /// A receipt for everything written to this end so far. Bytes that are read by the peer's kernel only do not
    /// count: its program must have taken them.
    pub fn receipt(&self) -> Receipt {
        let now = self.connection.sim.now().mono;
        let mut way = self.connection.way(self.side);
        let receipt = Receipt::default();
        if way.read >= way.written {
            *lock(&receipt.0) = Some(now);
        } else {
            let upto = way.written;
            way.receipts.push_back((upto, receipt.clone()));
        }
        receipt
    }

    /// Breaks the connection: the peer sees a reset behind what was written.
    pub fn reset(self) {
        let at = self
            .connection
            .way(self.side)
            .arrival(&self.connection.sim, 0);
        self.connection.break_at(at, self.side);
    }
}

struct Connection {
    sim: Sim,
    number: u64,
    /// Of the two ends.
    addresses: [IpAddr; 2],
    /// Why an end can do nothing more.
    dead: Mutex<[Option<io::ErrorKind>; 2]>,
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
    /// When the line has sent what it was given.
    line_free: Mono,
    state: State,
    /// What reached a cut and waits until it gets through.
    held: VecDeque<Cargo>,
    /// The writer closed it; perhaps that has not arrived.
    finished: bool,
    reader_gone: bool,
    fate: Fate,
    /// Its writer will be told that nobody acknowledges anything.
    doomed: bool,
    /// Octets in all.
    written: u64,
    read: u64,
    /// Who wants to know when so many octets were read.
    receipts: VecDeque<(u64, Receipt)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What travels.
enum Cargo {
    Bytes(Vec<u8>),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The end has arrived.
    Ended,
}

/// What becomes of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// It goes into a buffer and no further; the connection breaks soon.
    Lost,
    /// It goes into a buffer and no further; nobody is told before TCP gives up.
    Silence,
}

impl Way {
    /// When something of this length, sent now, arrives.
    fn arrival(&mut self, sim: &Sim, length: usize) -> Mono {
        let knobs = &sim.world().knobs;
        let whole = length as u64 * 1_000_000_000;
        if let Some(nanos) = whole.checked_div(knobs.bandwidth) {
            self.line_free = self.line_free.max(sim.now().mono) + Duration::from_nanos(nanos);
        }
        let travels = between(&mut self.rng, knobs.latency);
        let sent = self.line_free.max(sim.now().mono);
        self.last = self.last.max(sent + travels);
        self.last
    }

    /// A piece of at most `most` bytes.
    fn piece(&mut self, sim: &Sim, most: usize) -> usize {
        let segment = sim.world().knobs.segment;
        if segment == Knobs::UNCUT {
            return most;
        }
        let most = most.min(segment);
        1 + self.rng.below(most as u64) as usize
    }

    fn take_read(&mut self, piece: usize, now: Mono) {
        self.unread -= piece;
        self.read += piece as u64;
        while let Some((upto, receipt)) = self.receipts.front() {
            if *upto > self.read {
                return;
            }
            *lock(&receipt.0) = Some(now);
            self.receipts.pop_front();
        }
    }
}

impl Connection {
    fn way(&self, side: usize) -> MutexGuard<'_, Way> {
        let [first, second] = &self.ways;
        lock(if side == 0 { first } else { second })
    }

    /// Why this end can do nothing more.
    fn dead(&self, end: usize) -> Option<io::ErrorKind> {
        lock(&self.dead).get(end).copied().flatten()
    }

    /// Nothing that sets off at this end arrives at the other.
    fn is_cut(&self, side: usize) -> bool {
        let [first, second] = self.addresses;
        if side == 0 {
            self.sim.is_cut(first, second)
        } else {
            self.sim.is_cut(second, first)
        }
    }

    /// An end learns that it can do nothing more; what has arrived there and was not read is lost.
    fn end_dies(&self, end: usize, why: io::ErrorKind) {
        if let Some(dead) = lock(&self.dead).get_mut(end) {
            dead.get_or_insert(why);
        }
        let reader = {
            let mut incoming = self.way(1 - end);
            incoming.arrived.clear();
            incoming.reader.take()
        };
        let writer = self.way(end).writer.take();
        let wakers = [reader, writer];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Both ends learn that the connection is broken.
    fn break_now(&self) {
        self.sim.fact("reset", self.number, &[]);
        for end in [0, 1] {
            self.end_dies(end, io::ErrorKind::ConnectionReset);
        }
    }

    /// A reset that sets off at the writer of this way and arrives then, unless it is cut off.
    fn break_at(self: &Arc<Self>, at: Mono, side: usize) {
        let connection = Arc::clone(self);
        let arrive = Box::new(move || {
            if connection.is_cut(side) {
                connection.end_dies(side, io::ErrorKind::ConnectionReset);
            } else {
                connection.break_now();
            }
        });
        self.sim.at(at, arrive);
    }

    fn send(self: &Arc<Self>, side: usize, at: Mono, cargo: Cargo) {
        let connection = Arc::clone(self);
        let arrive = Box::new(move || connection.arrive(side, cargo));
        self.sim.at(at, arrive);
    }

    /// Something comes to where the reader is, or to the cut before it.
    fn arrive(self: &Arc<Self>, side: usize, cargo: Cargo) {
        let held = !self.way(side).held.is_empty();
        if !held && !self.is_cut(side) {
            return self.deliver(side, cargo);
        }
        self.way(side).held.push_back(cargo);
        if !held {
            self.sim.fault("partition", self.number);
            self.send_again(side, self.sim.now().mono, PAUSE.0);
        }
    }

    /// Later, and later again, until it gets through or TCP gives up.
    fn send_again(self: &Arc<Self>, side: usize, began: Mono, pause: Duration) {
        let connection = Arc::clone(self);
        let again = Box::new(move || {
            let now = connection.sim.now().mono;
            if !connection.is_cut(side) {
                let held = core::mem::take(&mut connection.way(side).held);
                for cargo in held {
                    connection.deliver(side, cargo);
                }
            } else if now >= began + GIVES_UP {
                connection.way(side).held.clear();
                connection.end_dies(side, io::ErrorKind::TimedOut);
            } else {
                connection.send_again(side, began, (pause * 2).min(PAUSE.1));
            }
        });
        self.sim.at(self.sim.now().mono + pause, again);
    }

    fn deliver(&self, side: usize, cargo: Cargo) {
        let dead = self.dead(1 - side).is_some();
        if dead && self.dead(side).is_some() {
            return;
        }
        let reader = {
            let mut way = self.way(side);
            match cargo {
                Cargo::End => {
                    way.state = State::Ended;
                    Some(way.reader.take())
                }
                Cargo::Bytes(_) if way.reader_gone || dead => None,
                Cargo::Bytes(bytes) => {
                    way.arrived.extend(bytes);
                    Some(way.reader.take())
                }
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
            if way.finished || self.dead(side).is_some() {
                return;
            }
            way.finished = true;
            (way.fate == Fate::Arrives).then(|| way.arrival(&self.sim, 0))
        };
        self.sim.fact("close", self.number * 2 + side as u64, &[]);
        if let Some(at) = at {
            self.send(side, at, Cargo::End);
        }
    }

    /// From now on nothing gets through in either direction, and nobody is told before TCP gives up.
    fn fall_silent(self: &Arc<Self>, side: usize) {
        self.sim.fault("silence", self.number);
        for side in [0, 1] {
            self.way(side).fate = Fate::Silence;
        }
        self.doom(side);
    }

    /// Something was written that nobody will acknowledge.
    fn doom(self: &Arc<Self>, side: usize) {
        if core::mem::replace(&mut self.way(side).doomed, true) {
            return;
        }
        let connection = Arc::clone(self);
        let give_up = Box::new(move || connection.end_dies(side, io::ErrorKind::TimedOut));
        self.sim.at(self.sim.now().mono + GIVES_UP, give_up);
    }

    /// What is written from now on is taken and lost; later the connection breaks.
    fn lose_writes(self: &Arc<Self>, side: usize) {
        self.sim.fault("writes lost", self.number);
        let after = {
            let mut way = self.way(side);
            way.fate = Fate::Lost;
            between(&mut way.rng, LOST_THEN_RESET)
        };
        self.break_at(self.sim.now().mono + after, side);
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let connection = &self.connection;
        if let Some(why) = connection.dead(self.side) {
            return Poll::Ready(Err(why.into()));
        }
        let side = 1 - self.side;
        let mut way = connection.way(side);
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
        way.take_read(piece, connection.sim.now().mono);
        let writer = way.writer.take();
        drop(way);
        let read = into.get(..piece).unwrap_or_default();
        let number = connection.number * 2 + side as u64;
        connection.sim.fact("read", number, read);
        plaintext::reading(number);
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
        let (sim, side) = (&connection.sim, self.side);
        let knobs = &sim.world().knobs;
        if connection.dead(side).is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut way = connection.way(side);
        if way.finished {
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
        let piece = way.piece(sim, most);
        let written = bytes.get(..piece).unwrap_or_default();
        let breaks = way.rng.one_in(sim.odds(knobs.reset_one_in));
        let silent = way.rng.one_in(sim.odds(knobs.silent_one_in));
        let lost = way.rng.one_in(sim.odds(knobs.lost_one_in));
        let at = way.arrival(sim, piece);
        way.unread += piece;
        way.written += piece as u64;
        let fate = way.fate;
        drop(way);
        let number = connection.number * 2 + side as u64;
        sim.fact("write", number, written);
        match (fate, breaks, silent, lost) {
            (Fate::Lost, ..) => {}
            (Fate::Silence, ..) => connection.doom(side),
            (_, true, ..) => {
                sim.fault("reset", number);
                connection.break_at(at, side);
            }
            (_, _, true, _) => connection.fall_silent(side),
            (.., true) => connection.lose_writes(side),
            _ => connection.send(side, at, Cargo::Bytes(written.to_vec())),
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
        let dead = self.connection.dead(self.side).is_some();
        let unread = {
            let mut way = self.connection.way(1 - self.side);
            way.reader_gone = true;
            !dead && !way.arrived.is_empty()
        };
        if unread {
            let mut way = self.connection.way(self.side);
            let at = way.arrival(&self.connection.sim, 0);
            let arrives = way.fate == Fate::Arrives;
            drop(way);
            if arrives {
                self.connection.break_at(at, self.side);
            }
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
