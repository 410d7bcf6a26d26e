//! A line session, an in-memory stream, a clock that stands still, and an executor that polls only what was woken.

use bytes::{Bytes, BytesMut};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use mox_driver::{Bind, Datagram, End, Fut, FutRef, Host, Pool, Runtime, Timer};
use mox_machine::{AskId, AskIds, Line, LineReader, Mono, Now, Seed, Session, Step, TlsFacts};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;

/// Answers lines: `echo X`, `ask X`, `lines N`, `big N`, `bulk N` (then N bytes), `tls`, `deflate`, `quit`.
pub struct Toy {
    ids: AskIds,
    lines: LineReader,
    steps: VecDeque<Step<String, String>>,
    asked: Option<AskId>,
    bulk: usize,
    got: usize,
    seen_bulk: Vec<u8>,
    idle: Option<Mono>,
    pub ticks: u32,
    pub draining: bool,
    /// Never moves its deadline, as R3 forbids.
    pub broken_deadline: bool,
    /// The deadline is this long after the last line.
    pub patience: Duration,
}

impl Toy {
    pub fn new() -> Self {
        Self {
            ids: AskIds::default(),
            lines: LineReader::default(),
            steps: VecDeque::new(),
            asked: None,
            bulk: 0,
            got: 0,
            seen_bulk: Vec::new(),
            idle: None,
            ticks: 0,
            draining: false,
            broken_deadline: false,
            patience: Duration::from_secs(60),
        }
    }

    fn say(&mut self, text: impl Into<Bytes>) {
        self.steps.push_back(Step::Send(text.into()));
    }

    fn line(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = rest.parse().unwrap_or(0);
        match verb {
            "ask" => {
                let id = self.ids.next_id();
                self.asked = Some(id);
                self.steps.push_back(Step::Ask(id, rest.to_owned()));
            }
            "lines" => (0..number).for_each(|i| self.say(format!("{i}\r\n"))),
            "big" => (0..number / 8192).for_each(|_| self.say(vec![b'x'; 8192])),
            "bulk" => (self.bulk, self.got) = (number, 0),
            "tls" | "deflate" => {
                self.say("go\r\n");
                self.steps.push_back(if verb == "tls" {
                    Step::StartTls
                } else {
                    Step::Compress
                });
            }
            "quit" => {
                self.say("bye\r\n");
                self.steps.push_back(Step::Close);
                self.steps.push_back(Step::Event("quit".into()));
            }
            _ => self.say(format!("{rest}\r\n")),
        }
    }
}

impl Session for Toy {
    type Ask = String;
    type Answer = String;
    type Event = String;

    fn recv(&mut self, now: Now, input: &mut BytesMut) {
        self.idle = Some(now.mono + self.patience);
        if self.bulk > 0 {
            let part = input.split_to(input.len().min(self.bulk));
            self.seen_bulk.extend_from_slice(&part);
            self.got += part.len();
            self.bulk -= part.len();
            if self.bulk == 0 {
                let sum: u64 = self
                    .seen_bulk
                    .iter()
                    .zip(1u64..)
                    .map(|(b, i)| u64::from(*b) * i)
                    .sum();
                self.say(format!("got {} {sum}\r\n", self.got));
                self.seen_bulk.clear();
            }
        } else if let Line::Complete(line) = self.lines.take(input, 1000) {
            self.line(core::str::from_utf8(&line).unwrap());
        }
    }
    fn eof(&mut self, _: Now) {
        self.say("end\r\n");
        self.steps.push_back(Step::Event("eof".into()));
        self.steps.push_back(Step::Close);
    }
    fn secured(&mut self, _: Now, _: TlsFacts) {}
    fn answer(&mut self, _: Now, id: AskId, answer: String) {
        if self.asked == Some(id) {
            self.asked = None;
            self.say(format!("{answer}\r\n"));
        }
    }
    fn tick(&mut self, now: Now) {
        self.ticks += 1;
        if self.idle.is_some_and(|at| at <= now.mono) && !self.broken_deadline {
            self.idle = None;
            self.say("too slow\r\n");
            self.steps.push_back(Step::Close);
        }
    }
    fn deadline(&self) -> Option<(Mono, &'static str)> {
        self.idle.map(|at| (at, "idle"))
    }
    fn drain(&mut self, _: Now) {
        self.draining = true;
        self.say("stopping\r\n");
        self.steps.push_back(Step::Close);
    }
    fn wants_read(&self) -> bool {
        self.asked.is_none()
    }
    fn in_bulk(&self) -> bool {
        self.bulk > 0
    }
    fn poll(&mut self) -> Option<Step<String, String>> {
        self.steps.pop_front()
    }
}

/// Answers `now X` at once, everything else when the test says so.
#[derive(Default)]
pub struct Desk(pub Arc<Mutex<DeskState>>);

#[derive(Default)]
pub struct DeskState {
    pub asks: Vec<(AskId, String)>,
    pub events: Vec<String>,
    answers: VecDeque<(AskId, String)>,
    draining: bool,
    waker: Option<Waker>,
}

impl DeskState {
    pub fn answer(&mut self, id: AskId, text: &str) {
        self.answers.push_back((id, text.to_owned()));
        self.waker.take().into_iter().for_each(Waker::wake);
    }
    pub fn drain(&mut self) {
        self.draining = true;
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Host<Toy> for Desk {
    fn ask(&mut self, id: AskId, ask: String) {
        let mut state = self.0.lock().unwrap();
        match ask.strip_prefix("now ") {
            Some(rest) => state.answers.push_back((id, rest.to_owned())),
            None => state.asks.push((id, ask)),
        }
    }
    fn cancel(&mut self, _: AskId) {}
    fn event(&mut self, event: String) {
        self.0.lock().unwrap().events.push(event);
    }
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, String)> {
        let mut state = self.0.lock().unwrap();
        match state.answers.pop_front() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        state.waker = Some(cx.waker().clone());
        if state.draining {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// One end of a stream; the test holds the other.
#[derive(Clone, Default)]
pub struct Pipe(pub Arc<Mutex<PipeState>>);

impl PartialEq for Pipe {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl core::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pipe")
    }
}

#[derive(Default)]
pub struct PipeState {
    incoming: VecDeque<u8>,
    /// Bytes given by one read; 0 is no limit.
    pub segment: usize,
    /// Bytes that may still be written; `None` is no limit.
    pub window: Option<usize>,
    pub sent: Vec<u8>,
    pub writes: Vec<usize>,
    pub reads: u32,
    pub closed: bool,
    fails: Option<io::ErrorKind>,
    eof: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl PipeState {
    pub fn give(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
        self.reader.take().into_iter().for_each(Waker::wake);
    }
    pub fn half_close(&mut self) {
        self.eof = true;
        self.reader.take().into_iter().for_each(Waker::wake);
    }
    pub fn fail(&mut self, kind: io::ErrorKind) {
        self.fails = Some(kind);
        self.reader.take().into_iter().for_each(Waker::wake);
    }
    pub fn open_window(&mut self, bytes: usize) {
        self.window = Some(bytes);
        self.writer.take().into_iter().for_each(Waker::wake);
    }
    pub fn unread(&self) -> usize {
        self.incoming.len()
    }
    pub fn sent_text(&mut self) -> String {
        String::from_utf8(core::mem::take(&mut self.sent)).unwrap()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.lock().unwrap();
        pipe.reads += 1;
        if let Some(kind) = pipe.fails {
            return Poll::Ready(Err(kind.into()));
        }
        if pipe.incoming.is_empty() && !pipe.eof {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = if pipe.segment == 0 {
            into.len()
        } else {
            pipe.segment.min(into.len())
        };
        let count = most.min(pipe.incoming.len());
        for (to, from) in into.iter_mut().zip(pipe.incoming.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.lock().unwrap();
        let all: Vec<u8> = slices.iter().flat_map(|part| part.to_vec()).collect();
        let taken = pipe
            .window
            .map_or(all.len(), |window| window.min(all.len()));
        if taken == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.window = pipe.window.map(|window| window - taken);
        pipe.sent.extend_from_slice(&all[..taken]);
        pipe.writes.push(taken);
        Poll::Ready(Ok(taken))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().closed = true;
        Poll::Ready(Ok(()))
    }
}

/// A clock that moves when the test says so.
#[derive(Clone, Default)]
pub struct Stopped(Arc<Mutex<Times>>);

#[derive(Default)]
struct Times {
    now: Mono,
    armed: Vec<(Mono, Waker)>,
    arms: u32,
}

impl Stopped {
    pub fn pass(&self, time: Duration) {
        let mut times = self.0.lock().unwrap();
        times.now = times.now + time;
        let now = times.now;
        times.armed.retain(|(at, waker)| {
            if *at <= now {
                waker.wake_by_ref();
            }
            *at > now
        });
    }
    /// How often a timer was armed.
    pub fn arms(&self) -> u32 {
        self.0.lock().unwrap().arms
    }
}

pub struct Alarm(Stopped, Option<Mono>);

impl Timer for Alarm {
    fn arm(&mut self, at: Option<Mono>) {
        self.0.0.lock().unwrap().arms += 1;
        self.1 = at;
    }
    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut times = self.0.0.lock().unwrap();
        match self.1 {
            Some(at) if at <= times.now => {
                self.1 = None;
                Poll::Ready(())
            }
            Some(at) => {
                times.armed.push((at, cx.waker().clone()));
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

pub struct NoDatagram;

impl Datagram for NoDatagram {
    fn send<'a>(&'a mut self, _: &'a [u8]) -> FutRef<'a, io::Result<()>> {
        unreachable!("a driver sends no datagrams")
    }
    fn recv<'a>(&'a mut self, _: &'a mut [u8]) -> FutRef<'a, io::Result<usize>> {
        unreachable!("a driver receives no datagrams")
    }
}

/// A driver needs the clock and the timer only.
impl Runtime for Stopped {
    type Stream = Pipe;
    type Listener = ();
    type Datagram = NoDatagram;
    type Timer = Alarm;

    fn now(&self) -> Now {
        Now {
            mono: self.0.lock().unwrap().now,
            ..Now::default()
        }
    }
    fn seed(&self, _: &'static str) -> Seed {
        Seed::from_number(0)
    }
    fn timer(&self) -> Alarm {
        Alarm(self.clone(), None)
    }
    fn spawn_session(&self, _: &'static str, _: Fut<()>) {
        unreachable!()
    }
    fn spawn_service(&self, _: &'static str, _: Fut<()>) {
        unreachable!()
    }
    fn blocking<T: Send + 'static>(&self, _: Pool, _: Box<dyn FnOnce() -> T + Send>) -> Fut<T> {
        unreachable!()
    }
    fn listen(&self, _: Bind) -> io::Result<()> {
        unreachable!()
    }
    fn local_addr(&self, (): &()) -> io::Result<SocketAddr> {
        unreachable!()
    }
    fn accept<'a>(&self, (): &'a ()) -> FutRef<'a, io::Result<(Pipe, SocketAddr)>> {
        unreachable!()
    }
    fn connect(&self, _: SocketAddr, _: Option<IpAddr>) -> Fut<io::Result<Pipe>> {
        unreachable!()
    }
    fn udp(&self, _: SocketAddr) -> Fut<io::Result<NoDatagram>> {
        unreachable!()
    }
}

#[derive(Default)]
struct Woken {
    flag: AtomicBool,
    times: AtomicU32,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.flag.store(true, Ordering::SeqCst);
        self.times.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls one future, only when it was woken.
pub struct Runner<F> {
    future: F,
    woken: Arc<Woken>,
    pub polls: u32,
}

impl<F: Future<Output = End<Pipe>> + Unpin> Runner<F> {
    pub fn new(future: F) -> Self {
        let woken = Arc::new(Woken::default());
        woken.flag.store(true, Ordering::SeqCst);
        Self {
            future,
            woken,
            polls: 0,
        }
    }

    /// Bytes the driver holds for the peer, as it says itself.
    pub fn queued(&self) -> usize
    where
        F: core::fmt::Debug,
    {
        let text = format!("{:?}", self.future);
        let after = text.split("queued: ").nth(1).unwrap();
        after.split(',').next().unwrap().parse().unwrap()
    }

    /// Polls while it is woken; the end, if it came.
    pub fn run(&mut self) -> Option<End<Pipe>> {
        let waker = self.woken.clone().into();
        while self.woken.flag.swap(false, Ordering::SeqCst) {
            self.polls += 1;
            assert!(self.polls < 100_000, "it keeps waking itself");
            if let Poll::Ready(end) =
                Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
            {
                return Some(end);
            }
        }
        None
    }
}
