//! A server that answers with the wrong codes.

use super::{Act, Manner, Seen, Stage};

/// Says one fixed thing at one stage, whatever would be right.
#[derive(Debug, Clone)]
pub struct Confused {
    at: Stage,
    says: Vec<u8>,
}

impl Confused {
    /// Says exactly these octets there.
    pub fn new(at: Stage, says: impl Into<Vec<u8>>) -> Self {
        Self {
            at,
            says: says.into(),
        }
    }
}

impl Manner for Confused {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        (seen.stage == self.at).then(|| vec![Act::Say(self.says.clone())])
    }

    fn is_clear(&self) -> bool {
        false
    }
}
