//! So many events within a time.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use mox_machine::Mono;

use super::network::{NetworkClass, Networks};

/// Networks of one class that are counted at a time, at most. When there are more, those that did least are forgotten.
pub const NETWORKS_MAX: usize = 20_000;

/// So many events of one address within a time. Larger networks may have more: [`NetworkClass::share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub events: u32,
    /// At most what 64 bits of nanoseconds hold.
    pub within: Duration,
}

/// What many did lately. Each has a bucket that an event fills a little and that leaks steadily: there is no boundary of
/// windows at which twice as much would pass. A number each is all that is kept.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    /// What an event fills, in nanoseconds of leaking.
    cost: u64,
    /// What a bucket holds.
    holds: u64,
    /// When each is empty again.
    empty: BTreeMap<K, Mono>,
}

impl<K: Ord> Buckets<K> {
    pub(super) fn new(rate: Rate, share: u32) -> Self {
        let holds = u64::try_from(rate.within.as_nanos()).unwrap_or(u64::MAX);
        let events = u64::from(rate.events.max(1)) * u64::from(share.max(1));
        Self {
            cost: (holds / events).max(1),
            holds,
            empty: BTreeMap::new(),
        }
    }

    /// Whether there is room for one more event, beside so many whose outcome is still open.
    pub(super) fn has_room(&self, key: &K, open: u32, now: Mono) -> bool {
        let empty = self.empty.get(key).copied().unwrap_or(now);
        let full = empty.0.saturating_sub(now.0);
        let more = self.cost.saturating_mul(u64::from(open) + 1);
        full.saturating_add(more) <= self.holds
    }

    /// One more event. A bucket never holds more than it can: who goes on too long waits no longer for it.
    pub(super) fn count(&mut self, key: K, now: Mono) {
        self.count_many(key, 1, now);
    }

    /// So many more events.
    fn count_many(&mut self, key: K, events: u32, now: Mono) {
        if self.empty.len() >= NETWORKS_MAX && !self.empty.contains_key(&key) {
            self.forget(now);
        }
        let empty = self.empty.entry(key).or_insert(now);
        let more = self.cost.saturating_mul(u64::from(events));
        let filled = empty.0.max(now.0).saturating_add(more);
        *empty = Mono(filled.min(now.0.saturating_add(self.holds)));
    }

    /// So many events less.
    fn take_back(&mut self, key: &K, events: u32, now: Mono) {
        if let Some(empty) = self.empty.get_mut(key) {
            let less = self.cost.saturating_mul(u64::from(events));
            *empty = Mono(empty.0.saturating_sub(less).max(now.0));
        }
    }

    /// Forgets buckets that are empty; when there is none, the emptier half.
    fn forget(&mut self, now: Mono) {
        self.empty.retain(|_, empty| *empty > now);
        if self.empty.len() < NETWORKS_MAX {
            return;
        }
        let mut all: Vec<Mono> = self.empty.values().copied().collect();
        let middle = all.len() / 2;
        let (_, middle, _) = all.select_nth_unstable(middle);
        let middle = *middle;
        self.empty.retain(|_, empty| *empty > middle);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.empty.len()
    }
}

/// What the networks of each class did lately.
#[derive(Debug)]
pub struct Rates {
    classes: [Buckets<IpAddr>; 3],
}

impl Rates {
    /// Nothing was done yet.
    pub fn new(rate: Rate) -> Self {
        Self::with_shares(rate, NetworkClass::share)
    }

    /// The same where networks may have so many times what one address may.
    pub(super) fn with_shares(rate: Rate, share: impl Fn(NetworkClass) -> u32) -> Self {
        Self {
            classes: NetworkClass::ALL.map(|class| Buckets::new(rate, share(class))),
        }
    }

    /// So many events that were taken did not come about.
    pub(super) fn take_back(&mut self, networks: &Networks, events: u32, now: Mono) {
        for ((_, network), buckets) in networks.iter().zip(&mut self.classes) {
            buckets.take_back(&network, events, now);
        }
    }

    /// Whether one more event is within the budgets, beside so many whose outcome is still open.
    ///
    /// # Errors
    /// The class of the network that has no room.
    pub fn has_room(&self, networks: &Networks, open: u32, now: Mono) -> Result<(), NetworkClass> {
        let full = networks
            .iter()
            .zip(&self.classes)
            .find(|((_, network), buckets)| !buckets.has_room(network, open, now));
        full.map_or(Ok(()), |((class, _), _)| Err(class))
    }

    /// One more event.
    pub fn count(&mut self, networks: &Networks, now: Mono) {
        for ((_, network), buckets) in networks.iter().zip(&mut self.classes) {
            buckets.count(network, now);
        }
    }

    /// One more event, if it is within the budgets.
    ///
    /// # Errors
    /// The class of the network that has no room. Nothing is counted then.
    pub fn take(&mut self, networks: &Networks, now: Mono) -> Result<(), NetworkClass> {
        self.has_room(networks, 0, now)?;
        self.count(networks, now);
        Ok(())
    }

    /// So many more events, if they are within the budgets.
    ///
    /// # Errors
    /// The class of the network that has no room. Nothing is counted then.
    pub fn take_many(
        &mut self,
        networks: &Networks,
        events: u32,
        now: Mono,
    ) -> Result<(), NetworkClass> {
        self.has_room(networks, events.saturating_sub(1), now)?;
        for ((_, network), buckets) in networks.iter().zip(&mut self.classes) {
            buckets.count_many(network, events, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(ip: [u8; 4]) -> Networks {
        Networks::of(ip.into()).unwrap()
    }

    fn at(secs: u64) -> Mono {
        Mono::default() + Duration::from_secs(secs)
    }

    fn rates(events: u32) -> Rates {
        Rates::new(Rate {
            events,
            within: Duration::from_secs(60),
        })
    }

    #[test]
    fn an_address_has_its_budget_at_once_and_gets_it_back_steadily() {
        let mut rates = rates(6);
        let one = networks([192, 0, 2, 1]);
        for _ in 0..6 {
            assert_eq!(rates.take(&one, at(0)), Ok(()));
        }
        assert_eq!(rates.take(&one, at(0)), Err(NetworkClass::Address));
        assert_eq!(rates.take(&one, at(9)), Err(NetworkClass::Address));
        assert_eq!(rates.take(&one, at(10)), Ok(()));
        assert_eq!(rates.take(&one, at(10)), Err(NetworkClass::Address));
        // At no boundary twice as much passes.
        let passed = (11..=120).filter(|&s| rates.take(&one, at(s)).is_ok());
        assert_eq!(passed.count(), 11);
    }

    #[test]
    fn neighbours_share_a_larger_budget() {
        let mut rates = rates(2);
        let passed = (0..8).filter(|host| rates.take(&networks([192, 0, 2, *host]), at(0)).is_ok());
        assert_eq!(passed.count(), 6);
        let next_door = networks([192, 0, 2, 9]);
        let refused = rates.take(&next_door, at(0));
        assert_eq!(refused, Err(NetworkClass::Neighbourhood));
        let far = networks([192, 0, 2, 64]);
        assert_eq!(rates.take(&far, at(0)), Ok(()));
        let region = (0..99u8).map(|n| networks([198, 51, 100 + n / 64, 64 * (n % 4)]));
        let passed = region.filter(|n| rates.take(n, at(0)).is_ok());
        assert_eq!(passed.count(), 12 + 4, "of two regions");
    }

    #[test]
    fn memory_is_bounded_and_who_did_most_is_remembered() {
        let mut rates = rates(1_000_000);
        let busy = networks([192, 0, 2, 1]);
        for _ in 0..10 {
            rates.count(&busy, at(0));
        }
        for n in 0..3 * NETWORKS_MAX as u32 {
            rates.count(&networks((0x0a00_0000 | n).to_be_bytes()), at(0));
        }
        assert!(rates.classes.iter().all(|c| c.len() <= NETWORKS_MAX));
        let [addresses, ..] = &rates.classes;
        assert!(addresses.empty.contains_key(&busy.address()));
        // Those who have paid are forgotten first.
        rates.count(&networks([203, 0, 113, 1]), at(61));
        let [addresses, ..] = &rates.classes;
        assert!(addresses.len() <= NETWORKS_MAX);
    }

    #[test]
    fn who_goes_on_is_not_punished_beyond_the_time() {
        let mut rates = rates(1);
        let one = networks([192, 0, 2, 1]);
        for _ in 0..1_000 {
            rates.count(&one, at(0));
        }
        assert!(rates.has_room(&one, 0, at(59)).is_err());
        assert_eq!(rates.has_room(&one, 0, at(60)), Ok(()));
    }
}
