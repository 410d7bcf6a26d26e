//! One timer of the reactor.

use async_io::Timer as Reactor;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use mox_driver::Timer;
use mox_machine::Mono;
use std::time::Instant;

/// A timer on async-io's reactor; nothing is registered there before it is armed and polled.
#[derive(Debug)]
pub struct SmolTimer {
    /// The moment that is `Mono(0)`.
    started: Instant,
    reactor: Reactor,
    armed: bool,
}

impl SmolTimer {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            reactor: Reactor::never(),
            armed: false,
        }
    }
}

impl Timer for SmolTimer {
    fn arm(&mut self, at: Option<Mono>) {
        // A moment that the clock cannot express never comes.
        let moment = at.and_then(|at| self.started.checked_add(Duration::from_nanos(at.0)));
        self.armed = moment.is_some();
        match moment {
            Some(moment) => self.reactor.set_at(moment),
            None => self.reactor.clear(),
        }
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            return Poll::Pending;
        }
        Pin::new(&mut self.reactor).poll(cx).map(|_| {
            self.armed = false;
        })
    }
}
