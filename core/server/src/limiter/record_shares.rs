//! How much of the room for records of decisions one network may fill.
//!
//! What stands in a record is for others to write: names, addresses, the answers of their own name servers. Who brings many large
//! ones would push out those of everybody else, and nobody could be told afterwards why mail was taken or refused. So each network
//! has a share, which it gets back steadily within the time that records are kept. Who has used it up still has a record of each
//! message: who, to whom, what was decided and what was answered, without what it was decided by.

use core::time::Duration;

use mox_machine::Mono;

use super::network::Networks;
use super::rate::{Rate, Rates};

/// Octets of a record that every message may have; larger ones count for more.
pub const RECORD_ORDINARY: usize = 4 * 1024;
/// Octets of a record of who has used up its share. These are not counted: each message has one, and messages are limited themselves.
pub const RECORD_SHORT: usize = 512;
/// Of all room, what ordinary records of one address may fill. Larger networks may fill more: a region a little over half.
const ORDINARY_PART: u64 = 16;
/// The same of large records.
const LARGE_PART: u64 = 32;

/// What the networks filled lately.
#[derive(Debug)]
pub struct RecordShares {
    ordinary: Rates,
    large: Rates,
}

impl RecordShares {
    /// Of so many octets, which are kept for so long.
    pub fn new(octets: u64, kept: Duration) -> Self {
        let rates = |part: u64| {
            Rates::new(Rate {
                events: u32::try_from(octets / part).unwrap_or(u32::MAX),
                within: kept,
            })
        };
        Self {
            ordinary: rates(ORDINARY_PART),
            large: rates(LARGE_PART),
        }
    }

    /// How many octets a record may have that would have so many.
    pub fn most(&mut self, networks: &Networks, octets: usize, now: Mono) -> usize {
        let number = |octets: usize| u32::try_from(octets).unwrap_or(u32::MAX);
        let is_large = octets > RECORD_ORDINARY;
        if is_large && (self.large.take_many(networks, number(octets), now)).is_ok() {
            return octets;
        }
        let ordinary = octets.min(RECORD_ORDINARY);
        match self.ordinary.take_many(networks, number(ordinary), now) {
            Ok(()) => ordinary,
            Err(_) => octets.min(RECORD_SHORT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const ROOM: u64 = 256 << 20;

    fn shares() -> RecordShares {
        RecordShares::new(ROOM, Duration::from_secs(30 * DAY))
    }

    fn of(ip: [u8; 4]) -> Networks {
        Networks::of(ip.into()).unwrap()
    }

    fn at(secs: u64) -> Mono {
        Mono::default() + Duration::from_secs(secs)
    }

    #[test]
    fn nobody_fills_the_room_of_all_alone() {
        let (mut shares, bad) = (shares(), of([192, 0, 2, 1]));
        // Ten thousand large ones within twenty minutes.
        let filled: usize = (0..10_000)
            .map(|n| shares.most(&bad, 32 * 1024, at(n / 8)))
            .sum();
        assert!((filled as u64) < ROOM / 8, "{filled}");
        assert_eq!(shares.most(&bad, 32 * 1024, at(1_250)), RECORD_SHORT);
        assert_eq!(shares.most(&bad, 300, at(1_250)), 300);
        // Others are as free as before.
        let other = of([198, 51, 100, 7]);
        assert_eq!(shares.most(&other, 32 * 1024, at(1_250)), 32 * 1024);
        assert_eq!(shares.most(&other, 2_100, at(1_250)), 2_100);
        // It goes on for a month, as fast as messages are taken.
        let month: usize = (0..300_000)
            .map(|n| shares.most(&bad, 32 * 1024, at(1_250 + n * 30 * DAY / 300_000)))
            .sum();
        assert!((filled + month) as u64 <= ROOM * 85 / 100, "{month}");
    }

    #[test]
    fn who_writes_as_people_do_has_whole_records() {
        let (mut shares, one) = (shares(), of([192, 0, 2, 1]));
        for n in 0..9_000 {
            let most = shares.most(&one, 2_100, at(n * 300));
            assert_eq!(most, 2_100, "the {n}th");
        }
    }

    #[test]
    fn a_region_fills_nine_tenths_at_most_with_whole_records() {
        let mut shares = shares();
        let mut filled = 0;
        for host in 0..2_048u32 {
            let one = of((0xc633_0000 | host).to_be_bytes());
            for _ in 0..100 {
                let most = shares.most(&one, 32 * 1024, at(0));
                // Short ones are not what a share is of.
                filled += if most > RECORD_SHORT { most as u64 } else { 0 };
            }
        }
        assert!(filled < ROOM * 9 / 10, "{filled}");
        assert!(filled > ROOM * 7 / 10, "{filled}");
    }
}
