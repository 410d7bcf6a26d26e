//! What limiters refused: counted by the minute, since a flood must not write a record for each of its drops.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use super::network::NetworkClass;

/// Minutes that wait to be taken, at most; of more the oldest go.
const MINUTES_MAX: usize = 60;
/// Different counts of one minute, at most: more than there are limiters, services and classes of networks.
const COUNTS_MAX: usize = 64;
/// The version of the stored form.
const VERSION: u8 = 1;

/// What refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limiter {
    /// Too many connections in all.
    Total,
    /// Too many connections from there.
    Connections,
    /// Too many connections from there within a minute.
    ConnectionRate,
    /// Too many failed logins from there.
    FailedLogins,
    // Stored rows hold the place in this list: what is new goes to its end.
    /// Too many recipients from there that nobody has.
    UnknownRecipients,
    /// Too much from there was refused before there was a message.
    EarlyRefusals,
    /// Too many messages from there.
    Messages,
    /// So many recipients whose mailboxes are full that no more are recorded one by one.
    FullMailboxes,
}

impl Limiter {
    /// In words, as the other side is told.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Total => "too many connections, try again later",
            Self::Connections => "too many connections from your address",
            Self::ConnectionRate => "too many connections from your address, try again in a minute",
            Self::FailedLogins => "too many failed logins from your address, try again later",
            Self::UnknownRecipients => "too many recipients that are not here, try again later",
            Self::EarlyRefusals => "too much from your address was refused, try again later",
            Self::Messages => "too many messages from your address, try again later",
            Self::FullMailboxes => "the mailbox is full, try again later",
        }
    }

    /// As it is written in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "connections in all",
            Self::Connections => "connections",
            Self::ConnectionRate => "connections a minute",
            Self::FailedLogins => "failed logins",
            Self::UnknownRecipients => "unknown recipients",
            Self::EarlyRefusals => "refused before a message",
            Self::Messages => "messages",
            Self::FullMailboxes => "full mailboxes",
        }
    }
}

/// Where something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedService {
    /// Mail from other servers.
    Smtp,
    /// Mail from our users.
    Submission,
    /// Reading.
    Imap,
}

impl RefusedService {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Imap => "imap",
        }
    }
}

/// How often something was refused within a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// By what.
    pub limiter: Limiter,
    /// Where.
    pub service: RefusedService,
    /// How large the network is whose budget was used up; `None` where that did not matter.
    pub class: Option<NetworkClass>,
    /// How often.
    pub count: u64,
    /// From where the last one came.
    pub last: IpAddr,
}

/// All that was refused within a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMinute {
    /// When it began, in seconds since 1970.
    pub at: i64,
    /// By limiter, service and class.
    pub refused: Vec<Refused>,
}

impl RefusedMinute {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        // A vector takes everything, and no part has an unknown length.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads the stored form; `None` when it is damaged or of another version.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        match octets.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }
}

/// What was refused and is not stored yet.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<i64, Vec<Refused>>);

impl Refusals {
    /// Something was refused.
    pub fn count(
        &mut self,
        (limiter, service): (Limiter, RefusedService),
        class: Option<NetworkClass>,
        from: IpAddr,
        now: Utc,
    ) {
        let minute = now.secs().div_euclid(60) * 60;
        let counts = self.0.entry(minute).or_default();
        let what = (limiter, service, class);
        let same = counts
            .iter()
            .position(|r| (r.limiter, r.service, r.class) == what);
        if let Some(refused) = same.and_then(|nth| counts.get_mut(nth)) {
            refused.count = refused.count.saturating_add(1);
            refused.last = from;
        } else if counts.len() < COUNTS_MAX {
            counts.push(Refused {
                limiter,
                service,
                class,
                count: 1,
                last: from,
            });
        }
        while self.0.len() > MINUTES_MAX {
            self.0.pop_first();
        }
    }

    /// Takes the minutes that are over; all of them when `now` is `None`.
    pub fn take(&mut self, now: Option<Utc>) -> Vec<RefusedMinute> {
        let open = match now {
            Some(now) => self.0.split_off(&(now.secs().div_euclid(60) * 60)),
            None => BTreeMap::new(),
        };
        let over = core::mem::replace(&mut self.0, open);
        minutes(over)
    }

    /// What is not taken yet, the newest first.
    pub fn waiting(&self) -> Vec<RefusedMinute> {
        let mut waiting = minutes(self.0.clone());
        waiting.reverse();
        waiting
    }
}

fn minutes(counts: BTreeMap<i64, Vec<Refused>>) -> Vec<RefusedMinute> {
    counts
        .into_iter()
        .map(|(at, refused)| RefusedMinute { at, refused })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Utc {
        Utc::from_secs(secs)
    }

    #[test]
    fn in_the_busiest_minute_nothing_is_counted_as_nothing() {
        let mut refusals = Refusals::default();
        let limiters = [
            Limiter::Total,
            Limiter::Connections,
            Limiter::ConnectionRate,
            Limiter::FailedLogins,
            Limiter::UnknownRecipients,
            Limiter::EarlyRefusals,
            Limiter::Messages,
        ];
        let services = [
            RefusedService::Smtp,
            RefusedService::Submission,
            RefusedService::Imap,
        ];
        let mut count = 0;
        for what in limiters.iter().flat_map(|l| services.map(|s| (*l, s))) {
            let classes = match what.0 {
                Limiter::Total => vec![None],
                _ => NetworkClass::ALL.map(Some).to_vec(),
            };
            for class in classes {
                refusals.count(what, class, [192, 0, 2, 1].into(), at(600));
                count += 1;
            }
        }
        assert_eq!(refusals.waiting()[0].refused.len(), count);
    }

    #[test]
    fn a_flood_is_a_few_numbers_a_minute() {
        let mut refusals = Refusals::default();
        let what = (Limiter::ConnectionRate, RefusedService::Smtp);
        for n in 0..100_000u32 {
            let from = IpAddr::from((0x0a00_0000 | n).to_be_bytes());
            let class = NetworkClass::ALL[n as usize % 3];
            refusals.count(what, Some(class), from, at(600 + i64::from(n) / 1_000));
        }
        let over = refusals.take(Some(at(699)));
        assert_eq!(over.len(), 1);
        assert_eq!((over[0].at, over[0].refused.len()), (600, 3));
        let counted = over[0].refused.iter().map(|r| r.count).sum::<u64>();
        assert_eq!(counted, 60_000);
        assert_eq!(over[0].refused[0].count, 20_000);
        assert_eq!(refusals.waiting()[0].at, 660);
        assert_eq!(
            RefusedMinute::decode(&over[0].encode()).as_ref(),
            Some(&over[0])
        );
        assert_eq!(RefusedMinute::decode(&[9]), None);
        assert_eq!(refusals.take(None).len(), 1);
        assert_eq!(refusals.take(None), []);
    }

    #[test]
    fn a_store_that_takes_nothing_does_not_make_them_grow() {
        let mut refusals = Refusals::default();
        let what = (Limiter::Total, RefusedService::Imap);
        for minute in 0..1_000 {
            refusals.count(what, None, [192, 0, 2, 1].into(), at(minute * 60));
        }
        assert_eq!(refusals.take(None).len(), MINUTES_MAX);
    }
}
