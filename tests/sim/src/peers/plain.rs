//! A server like any other.

use super::{Act, Manner, Seen};

/// Accepts everything at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Manner for Plain {
    fn at(&mut self, _: &Seen<'_>) -> Option<Vec<Act>> {
        None
    }
}
