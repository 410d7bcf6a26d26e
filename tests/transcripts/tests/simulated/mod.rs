//! A machine in the simulator: run by the driver on a simulated computer, spoken to over a simulated network.
//!
//! Virtual time decides when nothing moves any more: whatever was sent has long arrived after [`QUIET`].

use core::task::{Context, Poll, Waker};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mox_driver::{Bind, Drive, End, Host, Runtime, Timer};
use mox_machine::{AskId, Mono, Now, Session, Step, TlsFacts};
use mox_sim::{Knobs, Sim, SimListener, SimRuntime, SimStream};
use mox_transcripts::{Fact, Machine};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lo::{Answered, World};

/// Longer than anything is under way, and short against every timeout.
const QUIET: Duration = Duration::from_millis(60);

/// The side of the peer. The world runs on a thread of its own, and stands still between two calls.
pub struct Simulated {
    side: char,
    calls: Option<Sender<Call>>,
    answers: Receiver<(bool, Vec<Fact>)>,
    world: Option<JoinHandle<()>>,
}

/// What is between the session and its peer.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    /// Decides latencies and cuts.
    pub seed: u64,
    /// Octets come in pieces.
    pub is_cutting: bool,
}

enum Call {
    Feed(Vec<u8>),
    Transport(String),
    Wait(Duration),
    Answer(usize, String),
    Take,
}

impl Simulated {
    /// Connects to a session that runs in the world of a seed.
    pub fn new<W: World>(net: Net, side: char, world: W, session: W::Session) -> Self {
        let seed = net.seed;
        let knobs = Knobs {
            latency: (Duration::ZERO, Duration::from_millis(1 + seed % 9)),
            segment: match net.is_cutting {
                true => [1, 13, 536][(seed % 3) as usize],
                false => Knobs::UNCUT,
            },
            ..Knobs::fault_free()
        };
        let (calls, received) = channel();
        let (told, answers) = channel();
        let run = move || {
            let sim = Sim::new(seed, knobs);
            let main = serve_calls(sim.clone(), world, session, received, told);
            sim.run(main);
            assert_eq!(sim.panics(), 0);
        };
        Self {
            side,
            calls: Some(calls),
            answers,
            world: Some(std::thread::spawn(run)),
        }
    }

    fn call(&self, call: Call) -> (bool, Vec<Fact>) {
        let calls = self.calls.as_ref().unwrap();
        calls.send(call).unwrap();
        self.answers.recv().expect("the world lives")
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.calls = None;
        let ended = self.world.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

impl Machine for Simulated {
    fn side(&self) -> char {
        self.side
    }
    fn feed(&mut self, bytes: &[u8]) {
        self.call(Call::Feed(bytes.to_vec()));
    }
    fn transport(&mut self, what: &str) -> bool {
        self.call(Call::Transport(what.to_owned())).0
    }
    fn wait(&mut self, time: Duration) {
        self.call(Call::Wait(time));
    }
    fn answer(&mut self, place: usize, answer: &str) -> bool {
        self.call(Call::Answer(place, answer.to_owned())).0
    }
    fn take(&mut self) -> Vec<Fact> {
        self.call(Call::Take).1
    }
}

/// What the session's host and the peer both know.
struct Shared<W>(Mutex<State<W>>)
where
    W: World;

struct State<W: World> {
    world: W,
    facts: Vec<Fact>,
    answers: VecDeque<Answered<W>>,
    draining: bool,
    upgrading: bool,
    secure: bool,
    waker: Option<Waker>,
}

impl<W: World> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.0.lock().unwrap()
    }

    /// Changes something and wakes the session.
    fn change<T>(&self, change: impl FnOnce(&mut State<W>) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        result
    }
}

async fn serve_calls<W: World>(
    sim: Sim,
    world: W,
    session: W::Session,
    calls: Receiver<Call>,
    told: Sender<(bool, Vec<Fact>)>,
) {
    let computer = sim.computer("machine", [10, 0, 0, 1]);
    let on = sim.computer("peer", [10, 0, 1, 1]);
    let state = State {
        world,
        facts: Vec::new(),
        answers: VecDeque::new(),
        draining: false,
        upgrading: false,
        secure: false,
        waker: None,
    };
    let shared = Arc::new(Shared(Mutex::new(state)));
    let address = ([10, 0, 0, 1], 25).into();
    let listener = computer.listen(Bind::Addr(address)).unwrap();
    let task = serve(computer.clone(), listener, session, shared.clone());
    computer.spawn_session("transcript", Box::pin(task));
    let mut peer = Peer {
        stream: on.connect(address, None).await.unwrap(),
        on,
        heard: Vec::new(),
        ended: false,
    };
    peer.settle().await;
    while let Ok(call) = calls.recv() {
        let mut answer = (true, Vec::new());
        match call {
            // Whoever closed its side takes nothing any more.
            Call::Feed(bytes) => drop(peer.stream.write_all(&bytes).await),
            Call::Transport(what) => match what.as_str() {
                "eof" => peer.stream.close().await.unwrap(),
                "tls" => {
                    answer.0 = shared.change(|state| {
                        state.secure = state.upgrading;
                        state.upgrading
                    });
                }
                "drain" => shared.change(|state| state.draining = true),
                what => answer.0 = shared.change(|state| state.world.happens(what)),
            },
            Call::Wait(time) => sleep(&peer.on, time).await,
            Call::Answer(place, text) => {
                answer.0 = shared.change(|state| {
                    let answered = state.world.answer(place, &text);
                    let known = answered.is_some();
                    state.answers.extend(answered);
                    known
                });
            }
            Call::Take => {
                answer.1 = std::mem::take(&mut shared.lock().facts);
                answer.1.push(Fact::Sent(std::mem::take(&mut peer.heard)));
            }
        }
        peer.settle().await;
        told.send(answer).unwrap();
    }
}

struct Peer {
    on: SimRuntime,
    stream: SimStream,
    heard: Vec<u8>,
    ended: bool,
}

impl Peer {
    /// Hears everything until nothing moves any more.
    async fn settle(&mut self) {
        let mut piece = [0; 1_024];
        while !self.ended {
            let quiet = async {
                sleep(&self.on, QUIET).await;
                None
            };
            let heard = async { Some(self.stream.read(&mut piece).await) };
            match future::or(heard, quiet).await {
                Some(Ok(got)) if got > 0 => self.heard.extend_from_slice(&piece[..got]),
                Some(_) => self.ended = true,
                None => return,
            }
        }
        sleep(&self.on, QUIET).await;
    }
}

async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// Accepts one connection and serves it.
async fn serve<W: World>(
    runtime: SimRuntime,
    listener: SimListener,
    mut session: W::Session,
    shared: Arc<Shared<W>>,
) {
    let (mut io, _) = runtime.accept(&listener).await.unwrap();
    loop {
        let mut seen = Seen {
            session: &mut session,
            shared: shared.clone(),
        };
        let mut host = Answers(shared.clone());
        match Drive::new(runtime.clone(), &mut seen, io, &mut host).await {
            // The handshake itself is left out: what is played is the protocol.
            End::Upgrade(stream) => {
                shared.lock().upgrading = true;
                future::poll_fn(|cx| {
                    let state = &mut *shared.lock();
                    state.waker = Some(cx.waker().clone());
                    match state.secure {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    }
                })
                .await;
                let mut state = shared.lock();
                (state.upgrading, state.secure) = (false, false);
                drop(state);
                session.secured(runtime.now(), TlsFacts::default());
                io = stream;
            }
            End::Closed | End::Reset(_) => return,
            // So is what is compressed.
            End::Compress(stream) => io = stream,
        }
    }
}

/// The session, with what comes out of it noted in its own order.
struct Seen<'s, W: World> {
    session: &'s mut W::Session,
    shared: Arc<Shared<W>>,
}

impl<W: World> Session for Seen<'_, W> {
    type Ask = <W::Session as Session>::Ask;
    type Answer = <W::Session as Session>::Answer;
    type Event = <W::Session as Session>::Event;

    fn recv(&mut self, now: Now, input: &mut bytes::BytesMut) {
        self.session.recv(now, input);
    }
    fn eof(&mut self, now: Now) {
        self.session.eof(now);
    }
    fn secured(&mut self, now: Now, tls: TlsFacts) {
        self.session.secured(now, tls);
    }
    fn answer(&mut self, now: Now, id: AskId, answer: Self::Answer) {
        self.session.answer(now, id, answer);
    }
    fn tick(&mut self, now: Now) {
        self.session.tick(now);
    }
    fn deadline(&self) -> Option<(Mono, &'static str)> {
        self.session.deadline()
    }
    fn drain(&mut self, now: Now) {
        self.session.drain(now);
    }
    fn wants_read(&self) -> bool {
        self.session.wants_read()
    }
    fn in_bulk(&self) -> bool {
        self.session.in_bulk()
    }
    fn poll(&mut self) -> Option<Step<Self::Ask, Self::Event>> {
        let step = self.session.poll();
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
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answered<W>> {
        let mut state = self.0.lock();
        state.waker = Some(cx.waker().clone());
        let answer = state.answers.pop_front();
        let answer = answer.or_else(|| state.world.late());
        answer.map_or(Poll::Pending, Poll::Ready)
    }
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.0.lock();
        state.waker = Some(cx.waker().clone());
        match state.draining {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
