//! How the asks of one session are answered: one after the other in the order they came, and once there is a store to
//! answer from.

use core::future::Future;
use core::task::{Context, Poll};
use mox_driver::{Fut, Host, Runtime};
use mox_machine::{AskId, Session, TlsFacts};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::ListenerConfig;
use crate::connections::Place;
use crate::front::Front;
use crate::node::Inner;
use crate::registry::Seat;

/// Who came, and where.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) config: Arc<ListenerConfig>,
    pub(crate) peer: SocketAddr,
}

type AskOf<W> = <<W as World>::Session as Session>::Ask;
type AnswerOf<W> = <<W as World>::Session as Session>::Answer;
type EventOf<W> = <<W as World>::Session as Session>::Event;

/// What the sessions of one protocol are told.
pub(crate) trait World: Sized {
    type Runtime: Runtime;
    type Session: Session;
    /// What a piece of work comes back with.
    type Done;

    fn new(node: Arc<Inner<Self::Runtime>>, visit: Visit) -> Self;

    /// Whether an ask is answered without waiting for those before it.
    fn at_once(_ask: &AskOf<Self>) -> bool {
        false
    }

    fn respond(&mut self, id: AskId, ask: AskOf<Self>) -> Response<AnswerOf<Self>, Self::Done>;

    /// The answer that a piece of work makes.
    fn done(&mut self, done: Self::Done) -> AnswerOf<Self>;

    /// The answer of a server that stops before its store was there.
    fn stopped(ask: &AskOf<Self>) -> AnswerOf<Self>;

    /// The stream is encrypted from here on.
    fn secured(&mut self, facts: &TlsFacts);

    fn cancel(&mut self, _id: AskId) {}

    /// What an event makes needless. Work that reached the store goes on; nobody waits for it any more.
    fn abandons(event: &EventOf<Self>) -> Abandoned;

    fn log(visit: &Visit, event: &EventOf<Self>);

    fn event(&mut self, event: &EventOf<Self>);

    /// The answer to an ask that was left [open](Response::Open).
    fn poll_open(&mut self, _cx: &mut Context<'_>) -> Poll<(AskId, AnswerOf<Self>)> {
        Poll::Pending
    }
}

/// How an ask is answered.
pub(crate) enum Response<A, D> {
    Now(A),
    /// When this piece of work is done.
    Later(Fut<D>),
    /// Some time, or never.
    Open,
}

impl<A, D> Response<A, D> {
    pub(crate) fn later(work: impl Future<Output = D> + Send + 'static) -> Self {
        Self::Later(Box::pin(work))
    }
}

/// What of the asks before it an event makes needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abandoned {
    Nothing,
    /// The one that is being worked on.
    Work,
    /// Those that wait too.
    All,
}

/// Answers one session: one piece of work is under way at a time, the rest waits.
pub(crate) struct InOrder<W: World> {
    visit: Visit,
    seat: Seat,
    _place: Place,
    world: Entry<W>,
    working: Option<(AskId, Fut<W::Done>)>,
    waiting: VecDeque<(AskId, AskOf<W>)>,
    ready: VecDeque<(AskId, AnswerOf<W>)>,
}

/// Whether there is anything to answer from.
enum Entry<W: World> {
    /// Not yet.
    Closed(Box<Waiting<W::Runtime>>),
    Open(W),
}

struct Waiting<R: Runtime> {
    front: Arc<Front<R>>,
    tls: Option<TlsFacts>,
}

impl<W: World> InOrder<W> {
    pub(crate) fn new(
        front: &Arc<Front<W::Runtime>>,
        visit: Visit,
        (seat, place): (Seat, Place),
    ) -> Self {
        let world = match front.node() {
            Some(node) => Entry::Open(W::new(node.clone(), visit.clone())),
            None => Entry::Closed(Box::new(Waiting {
                front: front.clone(),
                tls: None,
            })),
        };
        Self {
            visit,
            seat,
            _place: place,
            world,
            working: None,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Goes in when the store is open.
    fn enter(&mut self) {
        if let Entry::Closed(waiting) = &self.world
            && let Some(node) = waiting.front.node()
        {
            let mut world = W::new(node.clone(), self.visit.clone());
            if let Some(facts) = &waiting.tls {
                world.secured(facts);
            }
            self.world = Entry::Open(world);
        }
    }

    fn handle(&mut self, id: AskId, ask: AskOf<W>) {
        match &mut self.world {
            Entry::Closed(_) => self.waiting.push_back((id, ask)),
            Entry::Open(world) => match world.respond(id, ask) {
                Response::Now(answer) => self.ready.push_back((id, answer)),
                Response::Later(work) => self.working = Some((id, work)),
                Response::Open => {}
            },
        }
    }
}

impl<W: World> Host<W::Session> for InOrder<W> {
    fn ask(&mut self, id: AskId, ask: AskOf<W>) {
        self.enter();
        let is_busy = self.working.is_some() || !self.waiting.is_empty();
        if is_busy && !W::at_once(&ask) {
            self.waiting.push_back((id, ask));
        } else {
            self.handle(id, ask);
        }
    }

    fn cancel(&mut self, id: AskId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        if let Entry::Open(world) = &mut self.world {
            world.cancel(id);
        }
    }

    fn event(&mut self, event: EventOf<W>) {
        W::log(&self.visit, &event);
        match W::abandons(&event) {
            Abandoned::Nothing => {}
            Abandoned::Work => self.working = None,
            Abandoned::All => {
                self.working = None;
                self.waiting.clear();
            }
        }
        if let Entry::Open(world) = &mut self.world {
            world.event(&event);
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.seat.poll_stopping(cx)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, AnswerOf<W>)> {
        if matches!(self.world, Entry::Closed(_)) {
            // It registers this task to be woken, so the look at the door comes after it.
            let stopping = self.seat.poll_stopping(cx);
            self.enter();
            if matches!(self.world, Entry::Closed(_)) {
                core::task::ready!(stopping);
                return match self.waiting.pop_front() {
                    Some((id, ask)) => Poll::Ready((id, W::stopped(&ask))),
                    None => Poll::Pending,
                };
            }
        }
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Poll::Ready(ready);
            }
            if let Some((id, work)) = &mut self.working {
                let id = *id;
                if let Poll::Ready(done) = work.as_mut().poll(cx)
                    && let Entry::Open(world) = &mut self.world
                {
                    self.working = None;
                    return Poll::Ready((id, world.done(done)));
                }
            } else if let Some((id, ask)) = self.waiting.pop_front() {
                self.handle(id, ask);
                continue;
            }
            break;
        }
        if let Entry::Open(world) = &mut self.world
            && let Poll::Ready(answer) = world.poll_open(cx)
        {
            return Poll::Ready(answer);
        }
        // Sessions sleep here for hours: empty queues give their memory back.
        if self.ready.capacity() > 0 {
            self.ready = VecDeque::new();
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 0 {
            self.waiting = VecDeque::new();
        }
        Poll::Pending
    }
}

/// A host as whoever runs its connection sees it.
pub(crate) trait Visitor {
    /// The stream is encrypted from here on.
    fn secured(&mut self, facts: &TlsFacts);
}

impl<W: World> Visitor for InOrder<W> {
    fn secured(&mut self, facts: &TlsFacts) {
        match &mut self.world {
            Entry::Closed(waiting) => waiting.tls = Some(facts.clone()),
            Entry::Open(world) => world.secured(facts),
        }
    }
}
