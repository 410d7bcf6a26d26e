//! Failed logins, of all protocols together.
//!
//! A guesser's address gets few guesses. But many people stand behind one address, one of them with a phone whose password is
//! an old one: who logged in from there before can do so again, whatever others behind the address do. For each of those there
//! is a budget of its own, so that knowing the address of somebody's office does not make guessing free.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use mox_machine::Mono;

use super::network::{NetworkClass, Networks};
use super::rate::{Buckets, Rate, Rates};

/// How long it is remembered that somebody logged in from an address.
pub const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Accounts with their addresses that are remembered, at most. Of more the half that was not seen for longest is forgotten.
const KNOWN_MAX: usize = 20_000;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Failed logins of one address; `None` is no limit. Larger networks may have more: [`NetworkClass::share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// Within a minute. Default 10.
    pub per_minute: Option<u32>,
    /// Within a day. Default 50.
    pub per_day: Option<u32>,
}

impl LoginLimits {
    /// Nothing is limited.
    pub const NONE: Self = Self {
        per_minute: None,
        per_day: None,
    };

    /// Whether anything is.
    pub const fn is_none(&self) -> bool {
        self.per_minute.is_none() && self.per_day.is_none()
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            per_minute: Some(10),
            per_day: Some(50),
        }
    }
}

/// On whose budget an attempt goes: an address, and an account that is known there.
type Lane = (IpAddr, Option<String>);

/// What failed lately, and who is known where.
#[derive(Debug)]
pub struct FailedLogins {
    of_networks: Vec<Rates>,
    /// Of accounts that are known where the attempt comes from.
    of_known: Option<Buckets<(IpAddr, String)>>,
    /// Attempts that are being judged.
    open: BTreeMap<Lane, u32>,
    /// When somebody logged in from there last.
    known: BTreeMap<(IpAddr, String), Mono>,
}

/// Whether an attempt may be judged.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may. The ticket must be given back.
    Judge(Ticket),
    /// Only when one of those that are being judged turns out to be right.
    Wait,
    /// It may not.
    Refuse(NetworkClass),
}

/// An attempt that is being judged.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket {
    networks: Networks,
    lane: Lane,
}

impl FailedLogins {
    /// Nothing failed yet.
    pub fn new(limits: LoginLimits) -> Self {
        let rate = |events: Option<u32>, within| events.map(|events| Rate { events, within });
        let minute = rate(limits.per_minute, MINUTE);
        let of_networks = [minute, rate(limits.per_day, DAY)];
        Self {
            of_networks: of_networks.into_iter().flatten().map(Rates::new).collect(),
            of_known: minute.map(|rate| Buckets::new(rate, NetworkClass::Address.share())),
            open: BTreeMap::new(),
            known: BTreeMap::new(),
        }
    }

    /// Whether it makes sense to talk: somebody is known there, or more logins may fail.
    ///
    /// # Errors
    /// The class of the network that has no room.
    pub fn greets(&self, networks: &Networks, now: Mono) -> Result<(), NetworkClass> {
        let room = self.room(networks, 0, now);
        let from = (networks.address(), String::new());
        let mut here = self
            .known
            .range(from..)
            .take_while(|((ip, _), _)| *ip == networks.address())
            .map(|(_, at)| *at);
        match here.any(|at| is_recent(at, now)) {
            true => Ok(()),
            false => room,
        }
    }

    /// Whether an attempt to log in to an account may be judged; `None` is one that does not exist.
    pub fn admit(&mut self, networks: &Networks, account: Option<&str>, now: Mono) -> Admission {
        let here = networks.address();
        let known = account
            .map(|account| (here, account.to_owned()))
            .filter(|pair| self.known.get(pair).is_some_and(|at| is_recent(*at, now)));
        let lane = (here, known.as_ref().map(|(_, account)| account.clone()));
        let open = self.open.get(&lane).copied().unwrap_or(0);
        let room = |open| match (&known, &self.of_known) {
            (Some(pair), Some(buckets)) => match buckets.has_room(pair, open, now) {
                true => Ok(()),
                false => Err(NetworkClass::Address),
            },
            (Some(_), None) => Ok(()),
            (None, _) => self.room(networks, open, now),
        };
        match (room(open), room(0)) {
            (Ok(()), _) => {}
            (Err(_), Ok(())) => return Admission::Wait,
            (Err(_), Err(class)) => return Admission::Refuse(class),
        }
        *self.open.entry(lane.clone()).or_insert(0) += 1;
        Admission::Judge(Ticket {
            networks: *networks,
            lane,
        })
    }

    fn room(&self, networks: &Networks, open: u32, now: Mono) -> Result<(), NetworkClass> {
        self.of_networks
            .iter()
            .try_for_each(|rates| rates.has_room(networks, open, now))
    }

    /// It was the account's own user.
    pub fn succeeded(&mut self, ticket: Ticket, account: &str, now: Mono) {
        let pair = (ticket.networks.address(), account.to_owned());
        self.dropped(ticket);
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&pair) {
            let mut all: Vec<Mono> = self.known.values().copied().collect();
            let middle = all.len() / 2;
            let (_, middle, _) = all.select_nth_unstable(middle);
            let middle = *middle;
            self.known.retain(|_, at| *at > middle);
        }
        self.known.insert(pair, now);
    }

    /// It was a guess, and wrong.
    pub fn failed(&mut self, ticket: Ticket, now: Mono) {
        match (&ticket.lane.1, &mut self.of_known) {
            (Some(account), Some(buckets)) => {
                buckets.count((ticket.networks.address(), account.clone()), now);
            }
            (Some(_), None) => {}
            (None, _) => {
                for rates in &mut self.of_networks {
                    rates.count(&ticket.networks, now);
                }
            }
        }
        self.dropped(ticket);
    }

    /// Nothing came of it that tells a guesser anything.
    pub fn dropped(&mut self, ticket: Ticket) {
        if let Some(open) = self.open.get_mut(&ticket.lane) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&ticket.lane);
            }
        }
    }
}

fn is_recent(at: Mono, now: Mono) -> bool {
    now.since(at) <= KNOWN_FOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(ip: &str) -> Networks {
        Networks::of(ip.parse().unwrap()).unwrap()
    }

    fn at(secs: u64) -> Mono {
        Mono::default() + Duration::from_secs(secs)
    }

    /// A wrong password of somebody; whether it was judged at all.
    fn guess(logins: &mut FailedLogins, from: &Networks, account: Option<&str>, now: Mono) -> bool {
        match logins.admit(from, account, now) {
            Admission::Judge(ticket) => {
                logins.failed(ticket, now);
                true
            }
            _ => false,
        }
    }

    fn log_in(logins: &mut FailedLogins, from: &Networks, account: &str, now: Mono) -> bool {
        match logins.admit(from, Some(account), now) {
            Admission::Judge(ticket) => {
                logins.succeeded(ticket, account, now);
                true
            }
            _ => false,
        }
    }

    #[test]
    fn a_guesser_gets_ten_guesses_a_minute_and_fifty_a_day() {
        let mut logins = FailedLogins::new(LoginLimits::default());
        let from = networks("192.0.2.1");
        let minute = (0..100).filter(|_| guess(&mut logins, &from, Some("ann"), at(0)));
        assert_eq!(minute.count(), 10);
        assert_eq!(logins.greets(&from, at(0)), Err(NetworkClass::Address));
        let day = (1..24 * 60).filter(|m| guess(&mut logins, &from, None, at(60 * m)));
        // 50 at once, and as many more as come back within the day.
        assert_eq!(day.count(), 2 * 50 - 10 - 1);
        let end = at(60 * (24 * 60 - 1));
        assert!(!guess(&mut logins, &from, Some("bob"), end));
        // Others are not concerned.
        let other = networks("198.51.100.1");
        assert!(guess(&mut logins, &other, Some("ann"), end));
    }

    #[test]
    fn an_office_with_a_phone_that_knows_an_old_password_goes_on_reading() {
        let mut logins = FailedLogins::new(LoginLimits::default());
        let office = networks("192.0.2.1");
        let people = ["ann", "bob", "cid"];
        for who in people {
            assert!(log_in(&mut logins, &office, who, at(0)));
        }
        // Somebody's phone tries every ten seconds, for a week, and everybody else logs in twice an hour.
        for tick in 0..7 * 24 * 360 {
            let now = at(60 + tick * 10);
            guess(&mut logins, &office, Some("dan"), now);
            if tick % 180 == 0 {
                assert_eq!(logins.greets(&office, now), Ok(()));
                for who in people {
                    assert!(log_in(&mut logins, &office, who, now), "{who} {tick}");
                }
            }
        }
        // The phone itself was stopped, and so is who guesses from there.
        let end = at(60 + 7 * 86_400);
        let guesses = (0..20).filter(|_| guess(&mut logins, &office, None, end));
        assert!(guesses.count() <= 1);
    }

    #[test]
    fn a_wrong_phone_beside_a_right_laptop_of_the_same_user_costs_the_others_nothing() {
        let mut logins = FailedLogins::new(LoginLimits::default());
        let home = networks("192.0.2.1");
        assert!(log_in(&mut logins, &home, "ann", at(0)));
        for tick in 1..1_000 {
            guess(&mut logins, &home, Some("ann"), at(tick * 10));
            assert!(log_in(&mut logins, &home, "ann", at(tick * 10)), "{tick}");
        }
        assert!(log_in(&mut logins, &home, "new", at(10_000)));
        // A faster one is a guesser, also of an account that is known there.
        let guesses = (0..100).filter(|_| guess(&mut logins, &home, Some("ann"), at(20_000)));
        assert_eq!(guesses.count(), 10);
    }

    #[test]
    fn guesses_side_by_side_are_no_more_than_one_after_the_other() {
        let mut logins = FailedLogins::new(LoginLimits::default());
        let from = networks("192.0.2.1");
        let mut tickets = Vec::new();
        for _ in 0..10 {
            match logins.admit(&from, Some("ann"), at(0)) {
                Admission::Judge(ticket) => tickets.push(ticket),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(logins.admit(&from, Some("ann"), at(0)), Admission::Wait);
        // One that was right makes room for one more.
        logins.succeeded(tickets.pop().unwrap(), "bob", at(0));
        let again = logins.admit(&from, Some("ann"), at(0));
        assert!(matches!(again, Admission::Judge(_)), "{again:?}");
        for ticket in tickets {
            logins.failed(ticket, at(0));
        }
        assert_eq!(logins.admit(&from, Some("ann"), at(0)), Admission::Wait);
    }

    #[test]
    fn without_limits_everything_is_judged() {
        let mut logins = FailedLogins::new(LoginLimits::NONE);
        let from = networks("192.0.2.1");
        assert!((0..1_000).all(|_| guess(&mut logins, &from, None, at(0))));
        assert!(log_in(&mut logins, &from, "ann", at(0)));
        assert!((0..1_000).all(|_| guess(&mut logins, &from, Some("ann"), at(0))));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut logins = FailedLogins::new(LoginLimits::default());
        for n in 0..KNOWN_MAX as u64 + 10 {
            let from = networks("192.0.2.1");
            assert!(log_in(&mut logins, &from, &n.to_string(), at(n)));
            assert!(logins.known.len() <= KNOWN_MAX);
        }
        assert!(logins.open.is_empty());
    }

    proptest! {
        /// Whoever logged in from an address gets in there again, whatever others behind it did, in any order and at any speed.
        #[test]
        fn nobody_takes_the_place_of_who_is_known(steps in prop::collection::vec((0u8..4, 0u64..120), 0..300)) {
            let mut logins = FailedLogins::new(LoginLimits::default());
            let office = networks("192.0.2.1");
            prop_assert!(log_in(&mut logins, &office, "ann", at(0)));
            let mut now = 0;
            for (who, later) in steps {
                now += later;
                match who {
                    0 => prop_assert!(log_in(&mut logins, &office, "ann", at(now))),
                    1 => drop(log_in(&mut logins, &office, "bob", at(now))),
                    2 => drop(guess(&mut logins, &office, Some("cid"), at(now))),
                    _ => drop(guess(&mut logins, &networks("192.0.2.2"), Some("ann"), at(now))),
                }
                prop_assert_eq!(logins.greets(&office, at(now)), Ok(()));
            }
            prop_assert!(log_in(&mut logins, &office, "ann", at(now)));
        }
    }
}
