//! A server that speaks one octet at a time.

use std::time::Duration;

use super::{Act, Manner, Seen};

/// Says what any server says, with a pause before each octet.
#[derive(Debug, Clone, Copy)]
pub struct Tarpit {
    pause: Duration,
}

impl Tarpit {
    /// A reply of 20 octets takes 20 of these pauses.
    pub fn new(pause: Duration) -> Self {
        Self { pause }
    }
}

impl Manner for Tarpit {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        let slowly = |act| match act {
            Act::Say(bytes) => Act::Drip(bytes, self.pause),
            act => act,
        };
        Some(seen.plain().into_iter().map(slowly).collect())
    }
}
