//! A server that comes to its senses.

use mox_machine::Mono;
use std::collections::BTreeSet;

use super::{Act, Manner, Seen};

/// Behaves as another one until some time, then is plain.
pub struct Until {
    inner: Box<dyn Manner>,
    until: Mono,
    /// The visit that it was asked about last.
    visit: usize,
    /// Visits in which replies may not be what they seem.
    unclear: BTreeSet<usize>,
}

impl Until {
    /// Like this one until then.
    pub fn new(inner: Box<dyn Manner>, until: Mono) -> Self {
        Self {
            inner,
            until,
            visit: 0,
            unclear: BTreeSet::new(),
        }
    }
}

impl core::fmt::Debug for Until {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Until")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Manner for Until {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        self.visit = seen.visit;
        if seen.now >= self.until {
            return None;
        }
        let acts = self.inner.at(seen)?;
        if !self.inner.is_clear() {
            self.unclear.insert(seen.visit);
        }
        Some(acts)
    }

    fn is_clear(&self) -> bool {
        !self.unclear.contains(&self.visit)
    }
}
