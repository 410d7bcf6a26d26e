//! A server that says more than it was asked.

use super::{Act, Manner, Seen, Stage};

/// Adds one more reply to its own at one stage, in the same breath.
#[derive(Debug, Clone)]
pub struct Smuggler {
    at: Stage,
    extra: String,
}

impl Smuggler {
    /// Adds this reply line behind the plain one.
    pub fn new(at: Stage, extra: &str) -> Self {
        Self {
            at,
            extra: format!("{extra}\r\n"),
        }
    }
}

impl Manner for Smuggler {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        if seen.stage != self.at {
            return None;
        }
        let mut acts = seen.plain();
        if let Some(Act::Say(bytes)) = acts.first_mut() {
            bytes.extend_from_slice(self.extra.as_bytes());
        }
        Some(acts)
    }

    fn is_clear(&self) -> bool {
        false
    }
}
