//! A server that turns everybody away the first time.

use mox_machine::Mono;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Act, Manner, Seen, Stage};

/// Refuses each triple of client, sender and recipient (451) until some time after it saw it first.
#[derive(Debug)]
pub struct Greylister {
    delay: Duration,
    seen: BTreeMap<(IpAddr, String, String), Mono>,
}

impl Greylister {
    /// One that wants to see the same triple again after `delay`.
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            seen: BTreeMap::new(),
        }
    }
}

impl Manner for Greylister {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        let (Stage::Rcpt, Some(to)) = (seen.stage, seen.to.first()) else {
            return None;
        };
        let triple = (seen.peer, seen.from.to_owned(), to.clone());
        let first = *self.seen.entry(triple).or_insert(seen.now);
        (seen.now < first + self.delay)
            .then(|| vec![Act::reply("451 4.7.1 greylisted, come back later")])
    }
}
