//! A server that stops speaking.

use super::{Act, Manner, Seen, Stage};

/// Never answers at one stage, though it keeps the connection.
#[derive(Debug, Clone, Copy)]
pub struct Hanger {
    at: Stage,
    keeps: bool,
}

impl Hanger {
    /// Hangs at this stage; if that is the final dot, it has kept the message or not.
    pub fn new(at: Stage, keeps: bool) -> Self {
        Self { at, keeps }
    }
}

impl Manner for Hanger {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        let fate = if self.keeps { Act::Keep } else { Act::Forget };
        (seen.stage == self.at).then(|| vec![fate, Act::Hang])
    }
}
