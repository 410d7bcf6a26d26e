//! Who is connected, and how they are told that the server stops.

use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;

use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// All live sessions of a node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    stopping: AtomicBool,
    next: AtomicU64,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    sessions: BTreeMap<u64, Option<Waker>>,
    /// Those of them that are attempts to hand a message to another server.
    attempts: BTreeMap<u64, Attempt>,
    /// Attempts that did not send the final dot yet are to end.
    cut: bool,
    /// Whoever waits for the last session to go.
    waiting: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Attempt {
    /// The other server may have the message: only its reply tells.
    behind_dot: bool,
    waker: Option<Waker>,
}

impl Registry {
    /// Enters a session; it leaves when the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Seat {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().sessions.insert(id, None);
        Seat {
            registry: self.clone(),
            id,
            waker: None,
        }
    }

    /// Enters a session that is an attempt to hand a message to another server.
    pub(crate) fn enter_attempt(self: &Arc<Self>) -> Seat {
        let seat = self.enter();
        self.lock().attempts.insert(seat.id, Attempt::default());
        seat
    }

    /// Tells all attempts to end that did not send the final dot yet. False when any other session than those behind it
    /// still lives.
    pub(crate) fn cut(&self) -> bool {
        let mut live = self.lock();
        live.cut = true;
        let attempts = live.attempts.values_mut();
        attempts
            .filter_map(|attempt| attempt.waker.take())
            .for_each(Waker::wake);
        let behind_dot = live.attempts.values().filter(|a| a.behind_dot).count();
        live.sessions.len() == behind_dot
    }

    /// Tells all sessions to finish what they do and end. New ones hear it at once.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let mut live = self.lock();
        for waker in live.sessions.values_mut().filter_map(Option::take) {
            waker.wake();
        }
        live.waiting.drain(..).for_each(Waker::wake);
    }

    /// Has every session look again at what it waits for.
    pub(crate) fn wake_sessions(&self) {
        for waker in self.lock().sessions.values().flatten() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// How many sessions live.
    pub(crate) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Ready once the server stops; for services.
    pub(crate) fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut live = self.lock();
        if self.is_stopping() {
            return Poll::Ready(());
        }
        if !live.waiting.iter().any(|w| w.will_wake(cx.waker())) {
            live.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready once no session lives.
    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut live = self.lock();
        if live.sessions.is_empty() {
            return Poll::Ready(());
        }
        live.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Ready once no attempt to hand over a message lives.
    pub(crate) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut live = self.lock();
        if live.attempts.is_empty() {
            return Poll::Ready(());
        }
        live.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        // Nothing panics while it is held, so poison means nothing.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that happens once.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<(bool, Vec<Waker>)>);

impl Gate {
    pub(crate) fn open(&self) {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gate.0 = true;
        gate.1.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.0 {
            return Poll::Ready(());
        }
        if !gate.1.iter().any(|w| w.will_wake(cx.waker())) {
            gate.1.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// One session's place in the registry.
#[derive(Debug)]
pub(crate) struct Seat {
    registry: Arc<Registry>,
    id: u64,
    waker: Option<Waker>,
}

impl Seat {
    /// Ready once the server stops. A task that got `Pending` is also woken by [`Registry::wake_sessions`]: what that told
    /// of before is seen by whoever looks after this call.
    pub(crate) fn poll_stopping(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.registry.is_stopping() {
            return Poll::Ready(());
        }
        // A task is nearly always polled with the same waker: the lock is taken once in a session.
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.registry
                .lock()
                .sessions
                .insert(self.id, self.waker.clone());
            if self.registry.is_stopping() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// An attempt's final dot is about to be sent: from here on it is not cut any more.
    pub(crate) fn pass_dot(&self) {
        if let Some(attempt) = self.registry.lock().attempts.get_mut(&self.id) {
            attempt.behind_dot = true;
        }
    }

    /// What became of the final dot is known, and another host is tried.
    pub(crate) fn before_dot(&self) {
        if let Some(attempt) = self.registry.lock().attempts.get_mut(&self.id) {
            attempt.behind_dot = false;
        }
    }

    /// The other server may have the message.
    pub(crate) fn is_behind_dot(&self) -> bool {
        let live = self.registry.lock();
        live.attempts
            .get(&self.id)
            .is_some_and(|attempt| attempt.behind_dot)
    }

    /// Ready when an attempt is to end, having sent no final dot.
    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut live = self.registry.lock();
        let cut = live.cut;
        match live.attempts.get_mut(&self.id) {
            Some(attempt) if !attempt.behind_dot => {
                if cut {
                    return Poll::Ready(());
                }
                attempt.waker = Some(cx.waker().clone());
            }
            _ => {}
        }
        Poll::Pending
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut live = self.registry.lock();
        live.sessions.remove(&self.id);
        let settled = live.attempts.remove(&self.id).is_some() && live.attempts.is_empty();
        if settled || live.sessions.is_empty() {
            live.waiting.drain(..).for_each(Waker::wake);
        }
    }
}
