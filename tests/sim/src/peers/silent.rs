//! A server that accepts connections and never says a word.

use super::{Act, Manner, Seen, Stage};

/// Never greets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Manner for Silent {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        (seen.stage == Stage::Greeting).then(|| vec![Act::Hang])
    }
}
