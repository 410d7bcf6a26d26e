//! What a runtime gives: sockets, timers, tasks, threads. smol, tokio and the simulator implement it, nothing else.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use mox_machine::{Mono, Now, Seed};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// A boxed future that a runtime returns or runs.
pub type Fut<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// A boxed future that borrows what it works on.
pub type FutRef<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sockets, timers, tasks and threads.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A connected byte stream.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A bound listening socket.
    type Listener: Send + Sync + 'static;
    /// A connected datagram socket.
    type Datagram: Datagram + 'static;
    /// One timer.
    type Timer: Timer + Unpin + Send + 'static;

    /// Both clocks.
    fn now(&self) -> Now;
    /// A fresh seed for a named user; every call gives another one.
    fn seed(&self, label: &'static str) -> Seed;
    /// A timer that is not armed.
    fn timer(&self) -> Self::Timer;
    /// Runs a session; a panic in it ends that session only, is counted and logged.
    fn spawn_session(&self, name: &'static str, task: Fut<()>);
    /// Runs a service; a panic or an early end of it stops the process (exit code 70).
    fn spawn_service(&self, name: &'static str, task: Fut<()>);
    /// Runs work that may block or takes long, on a bounded pool of that class.
    fn blocking<T: Send + 'static>(
        &self,
        class: Pool,
        work: Box<dyn FnOnce() -> T + Send>,
    ) -> Fut<T>;
    /// Binds and listens.
    fn listen(&self, on: Bind) -> io::Result<Self::Listener>;
    /// The address a listener is bound to.
    fn local_addr(&self, on: &Self::Listener) -> io::Result<SocketAddr>;
    /// The next connection. `accept` may be called again at once, before the stream is used.
    fn accept<'a>(
        &self,
        on: &'a Self::Listener,
    ) -> FutRef<'a, io::Result<(Self::Stream, SocketAddr)>>;
    /// Connects, from a certain local address if one is given.
    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<io::Result<Self::Stream>>;
    /// A datagram socket on a fresh random port, connected to `to`.
    fn udp(&self, to: SocketAddr) -> Fut<io::Result<Self::Datagram>>;
    /// Told each ask, answer and event of every session, in order. Only a runtime that keeps a record listens.
    fn witness(&self, kind: &'static str, fact: &dyn fmt::Debug) {
        let _ = (kind, fact);
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// An address; port 0 takes a free one.
    Addr(SocketAddr),
    /// A listening socket inherited from the process before, by name.
    Inherited(String),
}

/// As one writes it: `127.0.0.1:25`.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(address) => address.fmt(f),
            Self::Inherited(name) => write!(f, "the inherited socket {name}"),
        }
    }
}

/// A class of blocking work, each with a bounded pool of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// The committer's groups: one at a time.
    Commit,
    /// Body files: written, synced, read.
    Bodies,
    /// CPU work: key derivation, signatures, search over bodies.
    Compute,
}

/// A re-armable timer. The clock decides whether a deadline passed; the timer only wakes.
pub trait Timer {
    /// Arms it for a moment, replacing what it was armed for; `None` disarms it.
    fn arm(&mut self, at: Option<Mono>);
    /// Ready when the moment it is armed for has come; registers the waker otherwise. Disarmed by being ready.
    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connected datagram socket.
pub trait Datagram: Send {
    /// Sends one datagram.
    fn send<'a>(&'a mut self, bytes: &'a [u8]) -> FutRef<'a, io::Result<()>>;
    /// Receives one datagram; what does not fit into `into` is cut off.
    fn recv<'a>(&'a mut self, into: &'a mut [u8]) -> FutRef<'a, io::Result<usize>>;
}
