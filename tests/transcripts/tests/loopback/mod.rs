//! A machine behind a real socket: run by the driver on a real runtime, spoken to over the loopback interface.
//!
//! Only time is not real: the clock stands still until a transcript lets it pass, so nothing depends on how fast the
//! computer is. When nothing moves any more is known exactly: every octet that was sent was read, and the driver went
//! to sleep after that without having been woken.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use futures_lite::{AsyncRead, AsyncWrite, future};
use mox_driver::{Bind, Drive, End, Fut, FutRef, Host, Pool, Runtime, Timer};
use mox_machine::{AskId, Mono, Now, Seed, Session, Step, TlsFacts};
use mox_transcripts::{Fact, Machine};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Wake;
use std::time::Duration;

/// Whoever a session asks.
pub trait World: Send + 'static {
    type Session: Session<Ask: Send, Answer: Send, Event: Send> + Send + 'static;

    fn ask(
        &mut self,
        id: AskId,
        ask: <Self::Session as Session>::Ask,
        facts: &mut Vec<Fact>,
    ) -> Option<<Self::Session as Session>::Answer>;
    fn cancel(&mut self, id: AskId);
    /// How an event is written, if it is.
    fn told(event: &<Self::Session as Session>::Event) -> Option<Fact>;
    /// The answer of the transcript.
    fn answer(&mut self, place: usize, answer: &str) -> Option<Answered<Self>>;
    /// An answer that was left open and is known now.
    fn late(&mut self) -> Option<Answered<Self>>;
    /// What somebody else does.
    fn happens(&mut self, what: &str) -> bool;
}

pub type Answered<W> = (AskId, <<W as World>::Session as Session>::Answer);

/// The side of the peer.
pub struct Loopback<W: World> {
    shared: Arc<Shared<W>>,
    stream: TcpStream,
    sent: u64,
    eof: bool,
    received: u64,
}

struct Shared<W: World> {
    state: Mutex<State<W>>,
    changed: Condvar,
}

/// What both sides know.
struct State<W: World> {
    world: W,
    now: Now,
    facts: Vec<Fact>,
    answers: VecDeque<Answered<W>>,
    draining: bool,
    /// The peer is ready for TLS.
    secure: bool,
    /// The task sleeps, and nothing happened to it since.
    idle: bool,
    woken: bool,
    waker: Option<Waker>,
    accepted: bool,
    upgrading: bool,
    ended: bool,
    read: u64,
    read_end: bool,
    written: u64,
    wants_read: bool,
    deadline: Option<Mono>,
}

impl<W: World> Loopback<W> {
    /// Connects to a session that runs on `runtime`.
    pub fn new<R: Runtime>(runtime: R, now: Now, world: W, session: W::Session) -> Self {
        let state = State {
            world,
            now,
            facts: Vec::new(),
            answers: VecDeque::new(),
            draining: false,
            secure: false,
            idle: false,
            woken: false,
            waker: None,
            accepted: false,
            upgrading: false,
            ended: false,
            read: 0,
            read_end: false,
            written: 0,
            wants_read: true,
            deadline: None,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let listener = runtime
            .listen(Bind::Addr((Ipv4Addr::LOCALHOST, 0).into()))
            .unwrap();
        let stream = TcpStream::connect(runtime.local_addr(&listener).unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        let still = Still {
            runtime: runtime.clone(),
            shared: shared.clone(),
        };
        let task = Box::pin(serve(still, listener, session));
        let observed = Observed {
            shared: shared.clone(),
            task,
            wakers: None,
        };
        runtime.spawn_session("transcript", Box::pin(observed));
        Self {
            shared,
            stream,
            sent: 0,
            eof: false,
            received: 0,
        }
    }

    /// Waits until nothing moves any more.
    fn settle(&self) -> MutexGuard<'_, State<W>> {
        let mut state = self.shared.lock();
        loop {
            let all_read = state.read == self.sent && (!self.eof || state.read_end);
            let settled = state.accepted && state.idle && (all_read || !state.wants_read);
            if settled || state.ended {
                return state;
            }
            state = self.shared.changed.wait(state).unwrap();
        }
    }

    /// Changes something and wakes the session.
    fn change<T>(&self, change: impl FnOnce(&mut State<W>) -> T) -> T {
        let mut state = self.settle();
        let result = change(&mut state);
        (state.idle, state.woken) = (false, true);
        let waker = state.waker.clone();
        drop(state);
        waker.unwrap().wake();
        drop(self.settle());
        result
    }
}

impl<W: World> Machine for Loopback<W> {
    fn side(&self) -> char {
        'S'
    }

    fn feed(&mut self, bytes: &[u8]) {
        // Whoever closed its side takes nothing any more.
        if self.stream.write_all(bytes).is_ok() {
            self.sent += bytes.len() as u64;
        }
        drop(self.settle());
    }

    fn transport(&mut self, what: &str) -> bool {
        match what {
            "tls" => {
                let upgrading = self.settle().upgrading;
                if upgrading {
                    self.change(|state| state.secure = true);
                }
                upgrading
            }
            "eof" => {
                self.stream.shutdown(Shutdown::Write).unwrap();
                self.eof = true;
                drop(self.settle());
                true
            }
            "drain" => {
                self.change(|state| state.draining = true);
                true
            }
            _ => self.change(|state| state.world.happens(what)),
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.settle().now.mono + time;
        loop {
            let state = self.settle();
            let next = state.deadline.filter(|at| *at <= until && !state.ended);
            let at = next.unwrap_or(until).max(state.now.mono);
            drop(state);
            self.change(|state| {
                let passes = at.since(state.now.mono);
                state.now.mono = at;
                state.now.utc = state.now.utc + passes;
            });
            if next.is_none() {
                return;
            }
        }
    }

    fn answer(&mut self, place: usize, answer: &str) -> bool {
        self.change(|state| {
            let answered = state.world.answer(place, answer);
            let known = answered.is_some();
            state.answers.extend(answered);
            known
        })
    }

    fn take(&mut self) -> Vec<Fact> {
        let mut state = self.settle();
        let mut facts = std::mem::take(&mut state.facts);
        let new = state.written - self.received;
        drop(state);
        let mut bytes = vec![0; new as usize];
        self.stream.read_exact(&mut bytes).unwrap();
        self.received += new;
        facts.push(Fact::Sent(bytes));
        facts
    }
}

impl<W: World> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap()
    }
}

/// Accepts one connection and serves it.
async fn serve<R: Runtime, W: World>(
    still: Still<R, W>,
    listener: R::Listener,
    mut session: W::Session,
) {
    let shared = still.shared.clone();
    let (stream, _) = still.accept(&listener).await.unwrap();
    shared.lock().accepted = true;
    let mut io = Counted {
        stream,
        shared: shared.clone(),
    };
    loop {
        let mut seen = Seen {
            session: &mut session,
            shared: shared.clone(),
        };
        let mut host = Answers(shared.clone());
        match Drive::new(still.clone(), &mut seen, io, &mut host).await {
            // The handshake itself is left out: what is played is the protocol.
            End::Upgrade(stream) => {
                shared.lock().upgrading = true;
                future::poll_fn(|_| match shared.lock().secure {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
                .await;
                let mut state = shared.lock();
                (state.upgrading, state.secure) = (false, false);
                session.secured(state.now, TlsFacts::default());
                io = stream;
            }
            End::Closed | End::Reset(_) => return,
            // So is what is compressed.
            End::Compress(stream) => io = stream,
        }
    }
}

/// The task, with every sleep noted.
struct Observed<W: World> {
    shared: Arc<Shared<W>>,
    task: Fut<()>,
    /// The waker of the task, and the one that notes it. A reactor takes another waker for another task, and wakes
    /// the one before.
    wakers: Option<(Waker, Waker)>,
}

impl<W: World> Future for Observed<W> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let noting = match &self.wakers {
            Some((waker, noting)) if waker.will_wake(cx.waker()) => noting.clone(),
            _ => Waker::from(Arc::new(Noting {
                shared: self.shared.clone(),
                waker: cx.waker().clone(),
            })),
        };
        self.wakers = Some((cx.waker().clone(), noting.clone()));
        let mut state = self.shared.lock();
        (state.idle, state.woken) = (false, false);
        state.waker = Some(cx.waker().clone());
        drop(state);
        let polled = self.task.as_mut().poll(&mut Context::from_waker(&noting));
        let mut state = self.shared.lock();
        state.idle = !state.woken;
        state.ended |= polled.is_ready();
        drop(state);
        self.shared.changed.notify_all();
        polled
    }
}

impl<W: World> Drop for Observed<W> {
    fn drop(&mut self) {
        // A panic of the session must not leave the other side waiting.
        if let Ok(mut state) = self.shared.state.lock() {
            state.ended = true;
        }
        self.shared.changed.notify_all();
    }
}

struct Noting<W: World> {
    shared: Arc<Shared<W>>,
    waker: Waker,
}

impl<W: World> Wake for Noting<W> {
    fn wake(self: Arc<Self>) {
        let mut state = self.shared.lock();
        (state.idle, state.woken) = (false, true);
        drop(state);
        self.waker.wake_by_ref();
    }
}

/// The session, with what comes out of it noted in its own order.
struct Seen<'s, W: World> {
    session: &'s mut W::Session,
    shared: Arc<Shared<W>>,
}

impl<W: World> Seen<'_, W> {
    fn note(&self) {
        let mut state = self.shared.lock();
        state.wants_read = self.session.wants_read();
        state.deadline = self.session.deadline().map(|(at, _)| at);
    }
}

impl<W: World> Session for Seen<'_, W> {
    type Ask = <W::Session as Session>::Ask;
    type Answer = <W::Session as Session>::Answer;
    type Event = <W::Session as Session>::Event;

    fn recv(&mut self, now: Now, input: &mut bytes::BytesMut) {
        self.session.recv(now, input);
        self.note();
    }
    fn eof(&mut self, now: Now) {
        self.session.eof(now);
        self.note();
    }
    fn secured(&mut self, now: Now, tls: TlsFacts) {
        self.session.secured(now, tls);
        self.note();
    }
    fn answer(&mut self, now: Now, id: AskId, answer: Self::Answer) {
        self.session.answer(now, id, answer);
        self.note();
    }
    fn tick(&mut self, now: Now) {
        self.session.tick(now);
        self.note();
    }
    fn deadline(&self) -> Option<(Mono, &'static str)> {
        self.session.deadline()
    }
    fn drain(&mut self, now: Now) {
        self.session.drain(now);
        self.note();
    }
    fn wants_read(&self) -> bool {
        self.session.wants_read()
    }
    fn in_bulk(&self) -> bool {
        self.session.in_bulk()
    }
    fn poll(&mut self) -> Option<Step<Self::Ask, Self::Event>> {
        let step = self.session.poll();
        self.note();
        let fact = match &step {
            Some(Step::StartTls) => Some(Fact::Event("starttls".into())),
            Some(Step::Compress) => Some(Fact::Event("compress".into())),
            Some(Step::Close) => Some(Fact::Event("close".into())),
            Some(Step::Event(event)) => W::told(event),
            _ => None,
        };
        self.shared.lock().facts.extend(fact);
        step
    }
}

/// The world as the driver sees it.
struct Answers<W: World>(Arc<Shared<W>>);

impl<'s, W: World> Host<Seen<'s, W>> for Answers<W> {
    fn ask(&mut self, id: AskId, ask: <W::Session as Session>::Ask) {
        let state = &mut *self.0.lock();
        let answer = state.world.ask(id, ask, &mut state.facts);
        state.answers.extend(answer.map(|answer| (id, answer)));
    }
    fn cancel(&mut self, id: AskId) {
        self.0.lock().world.cancel(id);
    }
    fn event(&mut self, _: <W::Session as Session>::Event) {}
    fn poll_answer(&mut self, _: &mut Context<'_>) -> Poll<Answered<W>> {
        let mut state = self.0.lock();
        let answer = state.answers.pop_front();
        let answer = answer.or_else(|| state.world.late());
        answer.map_or(Poll::Pending, Poll::Ready)
    }
    fn poll_drain(&mut self, _: &mut Context<'_>) -> Poll<()> {
        match self.0.lock().draining {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// A stream whose octets are counted.
struct Counted<S, W: World> {
    stream: S,
    shared: Arc<Shared<W>>,
}

impl<S: AsyncRead + Unpin, W: World> AsyncRead for Counted<S, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        if let Poll::Ready(Ok(got)) = &polled {
            let mut state = self.shared.lock();
            state.read += *got as u64;
            state.read_end |= *got == 0;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin, W: World> AsyncWrite for Counted<S, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, from);
        if let Poll::Ready(Ok(put)) = &polled {
            self.shared.lock().written += *put as u64;
        }
        polled
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// A real runtime whose clock only a transcript moves.
struct Still<R, W: World> {
    runtime: R,
    shared: Arc<Shared<W>>,
}

impl<R: Runtime, W: World> Clone for Still<R, W> {
    fn clone(&self) -> Self {
        Self {
            runtime: self.runtime.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<R: Runtime, W: World> Runtime for Still<R, W> {
    type Stream = R::Stream;
    type Listener = R::Listener;
    type Datagram = R::Datagram;
    type Timer = StillTimer<W>;

    fn now(&self) -> Now {
        self.shared.lock().now
    }
    fn seed(&self, label: &'static str) -> Seed {
        self.runtime.seed(label)
    }
    fn timer(&self) -> StillTimer<W> {
        StillTimer {
            shared: self.shared.clone(),
            at: None,
        }
    }
    fn spawn_session(&self, name: &'static str, task: Fut<()>) {
        self.runtime.spawn_session(name, task);
    }
    fn spawn_service(&self, name: &'static str, task: Fut<()>) {
        self.runtime.spawn_service(name, task);
    }
    fn blocking<T: Send + 'static>(
        &self,
        class: Pool,
        work: Box<dyn FnOnce() -> T + Send>,
    ) -> Fut<T> {
        self.runtime.blocking(class, work)
    }
    fn listen(&self, on: Bind) -> io::Result<R::Listener> {
        self.runtime.listen(on)
    }
    fn local_addr(&self, on: &R::Listener) -> io::Result<SocketAddr> {
        self.runtime.local_addr(on)
    }
    fn accept<'a>(&self, on: &'a R::Listener) -> FutRef<'a, io::Result<(R::Stream, SocketAddr)>> {
        self.runtime.accept(on)
    }
    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<io::Result<R::Stream>> {
        self.runtime.connect(to, from)
    }
    fn udp(&self, to: SocketAddr) -> Fut<io::Result<R::Datagram>> {
        self.runtime.udp(to)
    }
}

/// Whoever moves the clock wakes the task, so nothing is registered here.
struct StillTimer<W: World> {
    shared: Arc<Shared<W>>,
    at: Option<Mono>,
}

impl<W: World> Timer for StillTimer<W> {
    fn arm(&mut self, at: Option<Mono>) {
        self.at = at;
    }
    fn poll_fired(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.lock().now.mono;
        match self.at.take_if(|at| *at <= now) {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    }
}
