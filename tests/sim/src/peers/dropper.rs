//! A server that closes after the final dot instead of answering.

use super::{Act, Manner, Seen, Stage};

/// Takes whole messages and says nothing about them, a number of times; then it is plain.
#[derive(Debug, Clone, Copy)]
pub struct Dropper {
    keeps: bool,
    resets: bool,
    times: u32,
}

impl Dropper {
    /// Closes in order behind the dots of so many messages, which it keeps or not.
    pub fn new(keeps: bool, times: u32) -> Self {
        Self {
            keeps,
            resets: false,
            times,
        }
    }

    /// As [`new`](Self::new), but breaks the connection.
    pub fn resetting(keeps: bool, times: u32) -> Self {
        Self {
            resets: true,
            ..Self::new(keeps, times)
        }
    }
}

impl Manner for Dropper {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        if seen.stage != Stage::Message || self.times == 0 {
            return None;
        }
        self.times -= 1;
        let fate = if self.keeps { Act::Keep } else { Act::Forget };
        let end = if self.resets { Act::Reset } else { Act::Close };
        Some(vec![fate, end])
    }
}
