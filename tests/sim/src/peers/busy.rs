//! A server that has no time for hours.

use mox_machine::Mono;

use super::{Act, Manner, Seen, Stage};

/// Answers one stage with a temporary refusal until some time.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    at: Stage,
    until: Mono,
}

impl Busy {
    /// Busy at this stage until then: 421 at the greeting, 450 elsewhere.
    pub fn new(at: Stage, until: Mono) -> Self {
        Self { at, until }
    }
}

impl Manner for Busy {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        if seen.stage != self.at || seen.now >= self.until {
            return None;
        }
        Some(match seen.stage {
            Stage::Greeting => vec![Act::reply("421 4.3.2 too busy"), Act::Close],
            _ => vec![Act::reply("450 4.3.2 too busy, try later")],
        })
    }
}
