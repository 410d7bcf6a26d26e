//! How much of the room for records of decisions one network may fill.
//!
//! What stands in a record is for others to write: names, addresses, the answers of their own name servers. Who brings many, or large
//! ones, would push out those of everybody else, and nobody could be told afterwards why mail was taken or refused. So each network
//! has a share, which it gets back steadily within the time that records are kept. Who has used it up has short records of each
//! message (who, to whom, what was decided and what was answered, without what it was decided by), in a share of their own. Who has
//! used up that too has them in a room apart, where they push out only each other.
//!
//! One address has 1/16 of the room for ordinary records, 1/32 for large and 1/64 for short ones; the largest network has four times
//! as much: 7/16 at once, and 7/8 within the time that records are kept. So no such network alone pushes out a record before it is old.

use core::time::Duration;

use mox_machine::Mono;

use super::network::{NetworkClass, Networks};
use super::rate::{Rate, Rates};

/// Octets of an ordinary record, with what leads to it; larger ones are counted apart.
pub const RECORD_ORDINARY: usize = 4 * 1024;
/// Octets of a record of who has used up its share of ordinary ones. What they have at least may be a little more.
pub const RECORD_SHORT: usize = 512;

/// What a record is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordShare {
    /// More than [`RECORD_ORDINARY`].
    Large,
    /// Up to [`RECORD_ORDINARY`].
    Ordinary,
    /// Only what was decided: about [`RECORD_SHORT`].
    Short,
}

impl RecordShare {
    /// How many octets a record has at most that is to be counted with this.
    pub const fn octets(self) -> usize {
        match self {
            Self::Large => usize::MAX,
            Self::Ordinary => RECORD_ORDINARY,
            Self::Short => RECORD_SHORT,
        }
    }

    /// Finds the share that a record goes with, the shorter it has to be the later, and the record: `cut` makes one of so many octets
    /// at most, where that can be, and says how much room it takes; `take` takes that of a share, if there is as much left. Without a
    /// share it is as short as it can be.
    pub fn find<T>(
        mut cut: impl FnMut(usize) -> (T, u64),
        mut take: impl FnMut(Self, u64) -> bool,
    ) -> (T, Option<(Self, u64)>) {
        let (mut record, mut octets) = cut(Self::Large.octets());
        let is_large = octets > RECORD_ORDINARY as u64;
        let shares = [Self::Large, Self::Ordinary, Self::Short];
        for share in shares.into_iter().skip(usize::from(!is_large)) {
            if octets > share.octets() as u64 {
                (record, octets) = cut(share.octets());
            }
            if take(share, octets) {
                return (record, Some((share, octets)));
            }
        }
        (record, None)
    }

    /// What one address may fill of all room.
    const fn part(self) -> u64 {
        match self {
            Self::Large => 32,
            Self::Ordinary => 16,
            Self::Short => 64,
        }
    }
}

/// How many times what one address may a network may: less than of what limiters count otherwise, or a region would fill all.
const fn times(class: NetworkClass) -> u32 {
    match class {
        NetworkClass::Address => 1,
        NetworkClass::Neighbourhood => 2,
        NetworkClass::Region => 4,
    }
}

/// What the networks filled lately.
#[derive(Debug)]
pub struct RecordShares {
    large: Rates,
    ordinary: Rates,
    short: Rates,
}

impl RecordShares {
    /// Of so many octets, which are kept for so long.
    pub fn new(octets: u64, kept: Duration) -> Self {
        let rates = |share: RecordShare| {
            let rate = Rate {
                events: u32::try_from(octets / share.part()).unwrap_or(u32::MAX),
                within: kept,
            };
            Rates::with_shares(rate, times)
        };
        Self {
            large: rates(RecordShare::Large),
            ordinary: rates(RecordShare::Ordinary),
            short: rates(RecordShare::Short),
        }
    }

    /// Takes so many octets of a share, if there are as many left.
    pub fn take(
        &mut self,
        share: RecordShare,
        networks: &Networks,
        octets: u64,
        now: Mono,
    ) -> bool {
        let taken = self.of(share).take_many(networks, clipped(octets), now);
        taken.is_ok()
    }

    /// Gives back what was taken: the record did not come about.
    pub fn give_back(&mut self, share: RecordShare, networks: &Networks, octets: u64, now: Mono) {
        self.of(share).take_back(networks, clipped(octets), now);
    }

    const fn of(&mut self, share: RecordShare) -> &mut Rates {
        match share {
            RecordShare::Large => &mut self.large,
            RecordShare::Ordinary => &mut self.ordinary,
            RecordShare::Short => &mut self.short,
        }
    }
}

fn clipped(octets: u64) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
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

    /// What a message fills whose record would have so many octets, as it is tried; nothing of whom nothing is left.
    fn fill(shares: &mut RecordShares, of: &Networks, octets: u64, now: Mono) -> u64 {
        let cut = |most: usize| ((), octets.min(most as u64));
        let take = |share, octets| shares.take(share, of, octets, now);
        let ((), taken) = RecordShare::find(cut, take);
        taken.map_or(0, |(_, octets)| octets)
    }

    #[test]
    fn nobody_fills_the_room_of_all_alone() {
        let (mut shares, bad) = (shares(), of([192, 0, 2, 1]));
        // Thirty thousand large ones within an hour.
        let filled: u64 = (0..30_000)
            .map(|n| fill(&mut shares, &bad, 32 * 1024, at(n / 8)))
            .sum();
        assert!(filled < ROOM * 7 / 64 + ROOM / 100, "{filled}");
        assert_eq!(fill(&mut shares, &bad, 32 * 1024, at(3_750)), 0);
        // Others are as free as before.
        let other = of([198, 51, 100, 7]);
        assert_eq!(fill(&mut shares, &other, 32 * 1024, at(3_750)), 32 * 1024);
        assert_eq!(fill(&mut shares, &other, 2_100, at(3_750)), 2_100);
        // It goes on for a month, as fast as messages are taken.
        let month: u64 = (0..300_000)
            .map(|n| {
                let now = at(3_750 + n * 30 * DAY / 300_000);
                fill(&mut shares, &bad, 32 * 1024, now)
            })
            .sum();
        // That is an hour more.
        assert!(filled + month <= ROOM * 7 / 32 + ROOM / 1_000, "{month}");
    }

    #[test]
    fn who_writes_as_people_do_has_whole_records() {
        let (mut shares, one) = (shares(), of([192, 0, 2, 1]));
        for n in 0..9_000 {
            let filled = fill(&mut shares, &one, 2_100, at(n * 300));
            assert_eq!(filled, 2_100, "the {n}th");
        }
    }

    #[test]
    fn a_region_fills_seven_sixteenths_at_once_and_as_much_again_within_the_time() {
        let mut shares = shares();
        let hosts = |n: u32| of((0xc633_0000 | n).to_be_bytes());
        let mut flood = |secs: u64| -> u64 {
            let one = |host| {
                let many = (0..60).map(|_| fill(&mut shares, &hosts(host), 32 * 1024, at(secs)));
                many.sum::<u64>()
            };
            (0..2_048).map(one).sum()
        };
        let at_once = flood(0);
        assert!(at_once <= ROOM * 7 / 16, "{at_once}");
        assert!(at_once > ROOM * 6 / 16, "{at_once}");
        let month: u64 = (1..=30).map(|day| flood(day * DAY)).sum();
        assert!(at_once + month <= ROOM * 7 / 8, "{month}");
        assert!(at_once + month > ROOM * 6 / 8, "{month}");
    }

    #[test]
    fn what_was_given_back_can_be_taken_again() {
        let (mut shares, one) = (shares(), of([192, 0, 2, 1]));
        let share = ROOM / RecordShare::Short.part();
        let short = RecordShare::Short;
        assert!(shares.take(short, &one, share - 10, at(0)));
        assert!(!shares.take(short, &one, 500, at(0)));
        shares.give_back(short, &one, 600, at(0));
        assert!(shares.take(short, &one, 500, at(0)));
        assert!(!shares.take(short, &one, 500, at(0)));
        // Nobody has more than a share, whatever is given back.
        shares.give_back(short, &one, 2 * share, at(0));
        assert!(!shares.take(short, &one, share + 1_000, at(0)));
        assert!(shares.take(short, &one, share - 10, at(0)));
    }
}
