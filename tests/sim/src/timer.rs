//! Timers on the virtual clock.

use core::fmt;
use core::task::{Context, Poll, Waker};
use mox_driver::Timer;
use mox_machine::Mono;
use std::collections::BTreeMap;

use crate::sim::{EventKey, Sim};
use crate::slot::lock;

/// A timer of a world.
pub struct SimTimer {
    sim: Sim,
    number: u64,
    armed: Option<(Mono, EventKey)>,
}

/// Who waits for which timer.
pub(crate) type Timers = BTreeMap<u64, Waker>;

impl SimTimer {
    pub(crate) fn new(sim: Sim) -> Self {
        let number = sim.number();
        Self {
            sim,
            number,
            armed: None,
        }
    }
}

impl Timer for SimTimer {
    fn arm(&mut self, at: Option<Mono>) {
        if let Some((_, key)) = self.armed.take() {
            self.sim.take_back(key);
        }
        if let Some(at) = at {
            let (sim, number) = (self.sim.clone(), self.number);
            let fire = Box::new(move || {
                let waiting = lock(&sim.world().timers).remove(&number);
                sim.fact("timer", number, &[]);
                waiting.into_iter().for_each(Waker::wake);
            });
            self.armed = Some((at, self.sim.at(at, fire)));
        }
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.armed {
            Some((at, key)) if at <= self.sim.now().mono => {
                self.sim.take_back(key);
                self.armed = None;
                Poll::Ready(())
            }
            _ => {
                let mut timers = lock(&self.sim.world().timers);
                timers.insert(self.number, cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        self.arm(None);
        lock(&self.sim.world().timers).remove(&self.number);
    }
}

impl fmt::Debug for SimTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimTimer").field(&self.armed).finish()
    }
}
