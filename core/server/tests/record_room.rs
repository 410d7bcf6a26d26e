//! Whose records push out whose.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use core::time::Duration;

use bytes::Bytes;
use mox_machine::{Mono, Utc};
use mox_mailbox::{DecisionBudget, MemRows, NewDecision, decisions, keep_decisions};
use mox_server::limiter::{Networks, RecordShare, RecordShares};
use proptest::prelude::*;

const DAY: u64 = 86_400;
/// How long records are kept.
const KEPT: u64 = 30 * DAY;
/// Octets of all records.
const ROOM: u64 = 4 << 20;

/// A server's records.
struct Server {
    shares: RecordShares,
    rows: MemRows,
    /// Their number.
    count: u64,
}

impl Server {
    fn new() -> Self {
        let octets = DecisionBudget::of(ROOM).octets;
        Self {
            shares: RecordShares::new(octets, Duration::from_secs(KEPT)),
            rows: MemRows::new(),
            count: 0,
        }
    }

    /// Keeps a record of so many octets about something that an address brought.
    fn keep(&mut self, ip: [u8; 4], octets: usize, keys: usize, secs: u64) -> String {
        self.count += 1;
        let id = format!("id{}", self.count);
        let cut = |most: usize| {
            let is_short = most == RecordShare::Short.octets();
            let others = (1..keys).map(|nth| format!("{id} {nth}"));
            let new = NewDecision {
                keys: core::iter::once(id.clone())
                    .chain(others)
                    .take(if is_short { 3 } else { 24 })
                    .collect(),
                // A little more than it should have at most.
                record: Bytes::from(vec![
                    b'x';
                    octets.min(most.saturating_add(300)).min(32 * 1024)
                ]),
                at: Utc::from_secs(secs.cast_signed()),
                is_spare: false,
                observations: Vec::new(),
            };
            let weight = new.weight();
            (new, weight)
        };
        let (networks, now) = (
            Networks::of(ip.into()).unwrap(),
            Mono::default() + Duration::from_secs(secs),
        );
        let take = |share, octets| self.shares.take(share, &networks, octets, now);
        let (new, taken) = RecordShare::find(cut, take);
        let new = NewDecision {
            is_spare: taken.is_none(),
            ..new
        };
        let kept = keep_decisions(&self.rows, &[new], DecisionBudget::of(ROOM));
        let (batch, damaged) = kept.unwrap();
        assert_eq!(damaged, 0);
        self.rows.apply(&batch);
        id
    }

    fn has(&self, id: &str) -> bool {
        !decisions(&self.rows, id, 1).unwrap().is_empty()
    }
}

/// What a region brings: from which of its addresses, a record of how many octets and keys, and how many seconds after the one before.
fn brought() -> impl Strategy<Value = (u16, usize, usize, u64)> {
    let octets = prop_oneof![100..700usize, 700..4_000usize, 4_000..40_000usize];
    let gap = prop_oneof![9 => 0..60u64, 1 => 0..3_600u64];
    (0..2_048u16, octets, 1..24usize, gap)
}

/// How many days a stranger's record is there at least while a region brings what it can, and all others fill such a part of the
/// room with theirs within the time that records are kept: docs/receiving.md has the sum.
fn days(others: f64) -> f64 {
    (30.0 * (9.0 / 16.0) / (7.0 / 16.0 + others)).min(30.0)
}

#[test]
fn the_days_are_those_of_the_document() {
    let days = [0.125, 0.5, 1.0].map(|others| days(others).floor());
    assert_eq!(days, [30.0, 18.0, 11.0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 9, ..ProptestConfig::default() })]

    #[test]
    fn no_region_pushes_out_the_record_of_a_stranger_within_the_days(
        flood in prop::collection::vec(brought(), 2_500),
        others in prop::sample::select(vec![0.125, 0.5, 1.0]),
    ) {
        let mut server = Server::new();
        let stranger = server.keep([198, 51, 100, 7], 2_000, 3, 0);
        // As much of others as there may be, each from somewhere else.
        let room = DecisionBudget::of(ROOM).octets as f64;
        let each = 2_000.0 + 4.0 * 24.0;
        let every = KEPT as f64 * each / (room * others);
        let last = days(others) * DAY as f64;
        let mut secs = 0;
        let mut theirs = 1.0;
        // Again and again, until the time is over.
        for (host, octets, keys, gap) in flood.iter().cycle().copied() {
            secs += gap;
            while theirs * every < secs.min(last as u64) as f64 {
                let n = theirs as u32;
                let [_, a, b, c] = n.to_be_bytes();
                server.keep([10 + a, b, c, 1], 2_000, 3, (theirs * every) as u64);
                theirs += 1.0;
            }
            if secs as f64 >= last {
                break;
            }
            let [high, low] = host.to_be_bytes();
            let id = server.keep([203, 0, 112 + high, low], octets, keys, secs);
            prop_assert!(server.has(&id), "what was brought just now has a record");
            prop_assert!(server.has(&stranger), "pushed out after {} days", secs / DAY);
        }
    }
}

#[test]
fn without_shares_a_region_would_push_it_out_within_a_day() {
    let mut server = Server::new();
    let stranger = server.keep([198, 51, 100, 7], 2_000, 3, 0);
    for n in 0..3_000u32 {
        // Each from a region of its own.
        let [_, _, a, b] = n.to_be_bytes();
        server.keep([a + 11, b, 0, 1], 2_000, 3, u64::from(n));
    }
    assert!(!server.has(&stranger));
}
