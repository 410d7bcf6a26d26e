//! What all sessions together may hold of messages: of those that are coming in, and of sections that were made to be
//! fetched (R10).

use mox_machine::{fault, mutant};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Message octets that all sessions together may hold in memory, of each of these.
pub const BODIES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;

/// Octets of messages in memory, given back when dropped.
pub(crate) struct Held {
    budget: Arc<AtomicUsize>,
    octets: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        if mutant!(BudgetLeaks) {
            return;
        }
        self.budget.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

impl Held {
    /// Nothing so far.
    pub(crate) fn nothing(budget: &Arc<AtomicUsize>) -> Self {
        Self {
            budget: budget.clone(),
            octets: 0,
        }
    }

    /// Takes more; false when the node holds as much as it may.
    pub(crate) fn take(&mut self, octets: usize) -> bool {
        self.octets += octets;
        let held = self.budget.fetch_add(octets, Ordering::Relaxed) + octets;
        held <= BODIES_IN_FLIGHT_MAX && !fault!("node bodies budget full")
    }

    /// What was taken is in memory no more.
    pub(crate) fn give_back(&mut self) {
        self.budget.fetch_sub(self.octets, Ordering::Relaxed);
        self.octets = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_also_after_a_refusal() {
        let budget = Arc::default();
        let mut one = Held::nothing(&budget);
        let mut other = Held::nothing(&budget);
        assert!(one.take(BODIES_IN_FLIGHT_MAX - 10));
        assert!(other.take(10));
        assert!(!other.take(1));
        drop(other);
        assert!(one.take(10) && !one.take(1));
        one.give_back();
        assert!(one.take(BODIES_IN_FLIGHT_MAX));
        drop(one);
        assert_eq!(budget.load(Ordering::Relaxed), 0);
    }
}
