//! One timer of tokio.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use mox_driver::Timer;
use mox_machine::Mono;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep_until};

/// A timer of tokio's wheel; nothing is registered there before it is armed and polled.
#[derive(Debug)]
pub struct TokioTimer {
    tokio: Handle,
    /// The moment that is `Mono(0)`.
    started: Instant,
    at: Option<tokio::time::Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl TokioTimer {
    pub(crate) fn new(tokio: Handle, started: Instant) -> Self {
        Self {
            tokio,
            started,
            at: None,
            sleep: None,
        }
    }
}

impl Timer for TokioTimer {
    fn arm(&mut self, at: Option<Mono>) {
        // A moment that the clock cannot express never comes.
        let moment = at.and_then(|at| self.started.checked_add(Duration::from_nanos(at.0)));
        self.at = moment.map(tokio::time::Instant::from_std);
        if let (Some(sleep), Some(at)) = (&mut self.sleep, self.at) {
            sleep.as_mut().reset(at);
        }
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| {
            let _inside = self.tokio.enter();
            Box::pin(sleep_until(at))
        });
        sleep.as_mut().poll(cx).map(|()| self.at = None)
    }
}
