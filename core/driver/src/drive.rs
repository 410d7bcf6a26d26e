//! The one future that runs a session.
//!
//! ```text
//! poll: at most BUDGET moves, then yield
//!   1 while the write queue is not full: an answer of the host => session.answer
//!   2 what the session has not taken yet, if it wants it => session.recv
//!   3 while the write queue is not full: session.poll => host, or write queue, or the goal of this phase
//!   4 write; flush; then hand the stream over for TLS or compression, or close it
//!   5 read, unless full, handing over or closing
//!   6 the deadline: the clock decides, the timer only wakes
//! nothing moved => every source holds our waker, buffers are given back, sleep
//! ```
//!
//! All state is in the struct, so dropping the future is the only cancellation there is.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use mox_machine::{Mono, Now, Session, Step, fault, mutant};
use std::io;

use crate::incoming::{Incoming, poll_discard};
use crate::outgoing::Outgoing;
use crate::{Host, Runtime, Timer};

/// Bytes queued for the peer above which a session is neither polled nor fed.
pub const HIGH: usize = 64 * 1024;
/// Bytes a session may leave untaken while it wants to read. Sessions have smaller limits of their own (R6).
pub const UNTAKEN: usize = 1024 * 1024;
/// Moves in one poll.
const BUDGET: u32 = 64;
/// A peer that takes no byte for so long is given up.
const STALL: Duration = Duration::from_secs(300);
/// The last words before closing or handing over must be taken within this time.
const LAST_WORDS: Duration = Duration::from_secs(120);
/// After closing, how long and how much is read and forgotten, so that the kernel does not answer late bytes with a
/// reset that destroys our last reply.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// Runs a session over a stream until it closes, breaks, or is handed over.
///
/// The session and its host are borrowed: after [`End::Upgrade`] a new `Drive` goes on with both over the TLS stream.
pub struct Drive<'s, S, IO, R: Runtime, H> {
    session: &'s mut S,
    host: &'s mut H,
    /// `None` once handed over.
    io: Option<IO>,
    runtime: R,
    timer: R::Timer,
    /// What the timer is armed for.
    armed: Option<Mono>,
    incoming: Incoming,
    /// The session may take more of `incoming` than last time.
    fresh: bool,
    eof: bool,
    draining: bool,
    out: Outgoing,
    /// Written since the last flush.
    unflushed: bool,
    phase: Phase,
    /// When a peer that does not move is given up.
    give_up: Option<Mono>,
}

/// How a [`Drive`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End<IO> {
    /// The session closed the stream in order; everything it sent was handed to the stream.
    Closed,
    /// Everything is flushed and nothing of the peer is left unread here: do the TLS handshake.
    Upgrade(IO),
    /// Everything is flushed and nothing of the peer is left unread here: compress from here on.
    Compress(IO),
    /// The stream broke: an error of the stream, `TimedOut` for a peer that took nothing, `InvalidData` for a peer
    /// that sent clear text after asking for TLS. A stream that ends without close_notify is `UnexpectedEof`.
    Reset(io::ErrorKind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Write the rest, then do this.
    Flushing(Goal),
    /// Closed from our side; so many bytes were forgotten.
    Lingering(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    StartTls,
    Compress,
    Close,
}

/// What one round over all steps did.
enum Round {
    Moved,
    Still,
    Reached(Goal),
}

impl<'s, S, IO, R, H> Drive<'s, S, IO, R, H>
where
    S: Session,
    IO: AsyncRead + AsyncWrite + Unpin,
    R: Runtime,
    H: Host<S>,
{
    /// A driver for a stream of which nothing was read yet. On a TLS stream the session was told
    /// [`secured`](Session::secured) before.
    pub fn new(runtime: R, session: &'s mut S, io: IO, host: &'s mut H) -> Self {
        Self {
            session,
            host,
            io: Some(io),
            timer: runtime.timer(),
            runtime,
            armed: None,
            incoming: Incoming::default(),
            fresh: false,
            eof: false,
            draining: false,
            out: Outgoing::default(),
            unflushed: false,
            phase: Phase::Open,
            give_up: None,
        }
    }

    fn round(
        &mut self,
        now: &mut Now,
        budget: &mut u32,
        cx: &mut Context<'_>,
    ) -> Result<Round, io::ErrorKind> {
        let before = *budget;
        self.converse(*now, budget, cx);
        let mut moved = *budget < before;
        moved |= self.write(*now, cx)?;
        match self.phase {
            Phase::Open => moved |= self.read(*now, cx)?,
            Phase::Flushing(goal) if self.out.is_empty() && !self.unflushed => match goal {
                Goal::Close => moved |= self.close(*now, cx),
                // Whatever was sent in clear behind the request must not count as said inside TLS.
                _ if !self.incoming.buffer.is_empty() => return Err(io::ErrorKind::InvalidData),
                _ => return Ok(Round::Reached(goal)),
            },
            Phase::Flushing(_) => {}
            Phase::Lingering(forgotten) => match self.linger(forgotten, cx) {
                Some(more) => moved |= more,
                None => return Ok(Round::Reached(Goal::Close)),
            },
        }
        moved |= self.alarm(now, cx)?;
        *budget = budget.saturating_sub(1);
        Ok(if moved { Round::Moved } else { Round::Still })
    }

    /// Steps 1 to 3, until nothing moves between session and host.
    fn converse(&mut self, now: Now, budget: &mut u32, cx: &mut Context<'_>) {
        if self.phase == Phase::Open && !self.draining && self.host.poll_drain(cx).is_ready() {
            self.draining = true;
            self.session.drain(now);
            self.fresh = true;
            *budget -= 1;
        }
        loop {
            let before = *budget;
            while self.has_room(*budget)
                && let Poll::Ready((id, answer)) = self.host.poll_answer(cx)
            {
                self.runtime.witness("tell", &(id, &answer));
                self.session.answer(now, id, answer);
                self.fresh = true;
                *budget -= 1;
            }
            if self.has_room(*budget) && self.fresh && !self.incoming.buffer.is_empty() {
                self.feed(now, budget);
            }
            while self.has_room(*budget)
                && let Some(step) = self.session.poll()
            {
                self.take(step, now);
                self.fresh = true;
                *budget -= 1;
            }
            if *budget == before {
                return;
            }
        }
    }

    fn has_room(&self, budget: u32) -> bool {
        budget > 0 && self.phase == Phase::Open && self.out.len() < HIGH
    }

    fn feed(&mut self, now: Now, budget: &mut u32) {
        if !self.session.wants_read() {
            return;
        }
        let before = self.incoming.buffer.len();
        self.session.recv(now, &mut self.incoming.buffer);
        // What it left it will leave again, until more bytes come or something else happens to it.
        self.fresh = self.incoming.buffer.len() < before;
        *budget -= u32::from(self.fresh);
    }

    fn take(&mut self, step: Step<S::Ask, S::Event>, now: Now) {
        let goal = match step {
            Step::Ask(id, ask) => {
                self.runtime.witness("ask", &(id, &ask));
                return self.host.ask(id, ask);
            }
            Step::Cancel(id) => return self.host.cancel(id),
            Step::Event(event) => {
                self.runtime.witness("event", &event);
                return self.host.event(event);
            }
            Step::Send(bytes) => return self.out.push(bytes),
            Step::StartTls => Goal::StartTls,
            Step::Compress => Goal::Compress,
            Step::Close => Goal::Close,
        };
        self.phase = Phase::Flushing(goal);
        self.give_up = Some(now.mono + LAST_WORDS);
        if goal == Goal::Close {
            self.take_last_facts();
        }
    }

    /// Facts that became true behind the close are still told; nobody is left to hear or answer anything else.
    fn take_last_facts(&mut self) {
        while let Some(step) = self.session.poll() {
            match step {
                Step::Event(event) => {
                    self.runtime.witness("event", &event);
                    self.host.event(event);
                }
                Step::Cancel(id) => self.host.cancel(id),
                Step::Ask(..) | Step::Send(_) | Step::StartTls | Step::Compress | Step::Close => {}
            }
        }
    }

    fn write(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, io::ErrorKind> {
        let Some(io) = self.io.as_mut() else {
            return Ok(false);
        };
        let mut moved = false;
        while !self.out.is_empty() {
            match self.out.poll_write(Pin::new(&mut *io), cx) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero),
                Poll::Ready(Ok(_)) => {
                    moved = true;
                    self.unflushed = true;
                    if fault!("driver short write") {
                        cx.waker().wake_by_ref();
                        break;
                    }
                }
                Poll::Ready(Err(error)) => return Err(error.kind()),
                Poll::Pending => break,
            }
        }
        if self.unflushed && self.out.is_empty() {
            match Pin::new(io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(error.kind()),
                Poll::Pending => {}
            }
        }
        if self.phase == Phase::Open {
            let stuck = self.unflushed || !self.out.is_empty();
            if !stuck {
                self.give_up = None;
            } else if moved || self.give_up.is_none() {
                self.give_up = Some(now.mono + STALL);
            }
        }
        Ok(moved)
    }

    fn read(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, io::ErrorKind> {
        if self.eof || self.out.len() >= HIGH || !self.session.wants_read() {
            return Ok(false);
        }
        // It was not offered yet what is there.
        if self.fresh && !self.incoming.buffer.is_empty() {
            return Ok(false);
        }
        if self.incoming.buffer.len() >= UNTAKEN {
            debug_assert!(
                false,
                "R6: a session wants more than {UNTAKEN} bytes at once"
            );
            return Err(io::ErrorKind::InvalidData);
        }
        let Some(io) = self.io.as_mut() else {
            return Ok(false);
        };
        match self
            .incoming
            .poll_read(Pin::new(io), self.session.in_bulk(), cx)
        {
            Poll::Ready(Ok(got)) => {
                if got == 0 {
                    self.eof = true;
                    self.session.eof(now);
                }
                self.fresh = true;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(error.kind()),
            Poll::Pending => Ok(false),
        }
    }

    /// True when the stream is closed from our side. An error here concerns nobody: every byte was flushed before.
    fn close(&mut self, now: Now, cx: &mut Context<'_>) -> bool {
        let closed = match self.io.as_mut() {
            Some(io) => Pin::new(io).poll_close(cx),
            None => Poll::Ready(Ok(())),
        };
        if let Poll::Ready(result) = &closed {
            let gone = self.eof || result.is_err();
            self.phase = Phase::Lingering(if gone { LINGER_BYTES } else { 0 });
            self.give_up = Some(now.mono + LINGER);
        }
        closed.is_ready()
    }

    /// Whether something moved; `None` when it is over.
    fn linger(&mut self, forgotten: usize, cx: &mut Context<'_>) -> Option<bool> {
        if forgotten >= LINGER_BYTES {
            return None;
        }
        match poll_discard(Pin::new(self.io.as_mut()?), cx) {
            Poll::Ready(Ok(0) | Err(_)) => None,
            Poll::Ready(Ok(got)) => {
                self.phase = Phase::Lingering(forgotten + got);
                Some(true)
            }
            Poll::Pending => Some(false),
        }
    }

    /// Step 6.
    fn alarm(&mut self, now: &mut Now, cx: &mut Context<'_>) -> Result<bool, io::ErrorKind> {
        if self.give_up.is_some_and(|at| at <= now.mono) {
            if let Phase::Lingering(forgotten) = &mut self.phase {
                *forgotten = LINGER_BYTES;
                return Ok(true);
            }
            return Err(io::ErrorKind::TimedOut);
        }
        let wanted = if self.phase == Phase::Open {
            self.session.deadline().map(|(at, _)| at)
        } else {
            None
        };
        if wanted.is_some_and(|at| at <= now.mono) {
            self.session.tick(*now);
            self.fresh = true;
            debug_assert!(
                self.session.deadline().is_none_or(|(at, _)| at > now.mono),
                "R3: a deadline that passed stays: {:?} at {:?}",
                self.session.deadline(),
                now.mono,
            );
            return Ok(true);
        }
        let Some(next) = wanted.into_iter().chain(self.give_up).min() else {
            return Ok(false);
        };
        // A deadline that moved later costs nothing: the timer wakes once for the old one and is armed again.
        let earlier = |armed| next < armed && !mutant!(EarlierDeadlineNotArmed);
        if self.armed.is_none_or(earlier) {
            self.timer.arm(Some(next));
            self.armed = Some(next);
        }
        let fired = self.timer.poll_fired(cx).is_ready();
        if fired {
            self.armed = None;
            *now = self.runtime.now();
        }
        Ok(fired)
    }

    fn rest(&mut self) {
        self.incoming.rest();
        self.out.rest();
    }
}

impl<S, IO, R, H> Future for Drive<'_, S, IO, R, H>
where
    S: Session,
    IO: AsyncRead + AsyncWrite + Unpin,
    R: Runtime,
    H: Host<S>,
{
    type Output = End<IO>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<IO>> {
        let this = self.get_mut();
        let mut now = this.runtime.now();
        let mut budget = match fault!("driver small budget") {
            true => 1,
            false => BUDGET,
        };
        while budget > 0 {
            match this.round(&mut now, &mut budget, cx) {
                Ok(Round::Moved) => {}
                Ok(Round::Still) => {
                    this.rest();
                    return Poll::Pending;
                }
                Ok(Round::Reached(goal)) => {
                    return Poll::Ready(match (goal, this.io.take()) {
                        (Goal::StartTls, Some(io)) => End::Upgrade(io),
                        (Goal::Compress, Some(io)) => End::Compress(io),
                        (Goal::Close, _) | (_, None) => End::Closed,
                    });
                }
                Err(kind) => return Poll::Ready(End::Reset(kind)),
            }
        }
        // One busy peer does not keep the others waiting.
        if !mutant!(BusySessionNotWoken) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Nothing in it is ever pinned: the stream and the timer are `Unpin` themselves.
impl<S, IO, R: Runtime, H> Unpin for Drive<'_, S, IO, R, H> {}

impl<S, IO, R: Runtime, H> fmt::Debug for Drive<'_, S, IO, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("phase", &self.phase)
            .field("untaken", &self.incoming.buffer.len())
            .field("queued", &self.out.len())
            .field("eof", &self.eof)
            .finish_non_exhaustive()
    }
}
