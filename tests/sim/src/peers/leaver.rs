//! A server that leaves without being asked.

use super::{Act, Manner, Seen, Stage};

/// Answers one stage as it should, adds `421`, and closes. At the final dot that answer was a `250`.
#[derive(Debug, Clone, Copy)]
pub struct Leaver {
    at: Stage,
    times: u32,
}

impl Leaver {
    /// Leaves behind this stage so many times; then it stays.
    pub fn new(at: Stage, times: u32) -> Self {
        Self { at, times }
    }
}

impl Manner for Leaver {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        if seen.stage != self.at || self.times == 0 {
            return None;
        }
        self.times -= 1;
        let mut acts = seen.plain();
        acts.push(Act::reply("421 4.3.2 shutting down"));
        acts.push(Act::Close);
        Some(acts)
    }
}
