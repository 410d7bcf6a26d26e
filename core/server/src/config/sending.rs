//! `outgoing` and `queue` of `mox.ron`: from where mail leaves, how much of it at once, and how long it is tried.

use mox_queue::{Limits, Plan};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::check::Check;
use super::locate::Step::{self, Field};
use super::static_file::Listener;

/// From which addresses connections to other servers are made, and to which of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutgoingAddresses {
    /// The address to servers with IPv4; the system chooses where none is named.
    pub ipv4: Option<Ipv4Addr>,
    /// The same with IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Which addresses of a host come first.
    pub prefer: Family,
}

/// Which addresses of a host come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "prefer", rename_all = "snake_case")]
pub enum Family {
    /// Both by turns, beginning with either.
    #[default]
    Either,
    /// Those of IPv4.
    Ipv4,
    /// Those of IPv6.
    Ipv6,
    /// Those of IPv4, and no others: what goes to a host without any waits.
    Only4,
}

/// What a transport has of its own of these; the rest is as for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnAddresses {
    /// The address to servers with IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// The same with IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Which addresses of a host come first.
    pub prefer: Option<Family>,
}

impl OutgoingAddresses {
    /// These for a transport that has some of its own.
    #[must_use]
    pub fn with(self, own: &OwnAddresses) -> Self {
        Self {
            ipv4: own.ipv4.or(self.ipv4),
            ipv6: own.ipv6.or(self.ipv6),
            prefer: own.prefer.unwrap_or(self.prefer),
        }
    }

    /// The address from which a connection is made; the system chooses where none is named, on this machine itself, and from a public
    /// address into a private network, which is reached over another interface.
    pub const fn to(&self, host: IpAddr) -> Option<IpAddr> {
        match (host, self.ipv4, self.ipv6) {
            _ if host.is_loopback() => None,
            (IpAddr::V4(host), Some(from), _) if host.is_private() && !from.is_private() => None,
            (IpAddr::V6(host), _, Some(from))
                if host.is_unique_local() && !from.is_unique_local() =>
            {
                None
            }
            (IpAddr::V4(_), Some(from), _) => Some(IpAddr::V4(from)),
            (IpAddr::V6(_), _, Some(from)) => Some(IpAddr::V6(from)),
            _ => None,
        }
    }

    /// Whether an address may be connected to at all.
    pub const fn goes_to(&self, host: IpAddr) -> bool {
        !matches!(self.prefer, Family::Only4) || host.is_ipv4()
    }

    /// Addresses with a lower rank are tried before others.
    pub const fn rank(&self, host: IpAddr) -> u8 {
        match self.prefer {
            Family::Ipv4 if host.is_ipv6() => 1,
            Family::Ipv6 if host.is_ipv4() => 1,
            _ => 0,
        }
    }

    /// The addresses of a host in the order in which they are tried.
    pub fn in_order(&self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        addresses.retain(|ip| self.goes_to(*ip));
        addresses.sort_by_key(|ip| self.rank(*ip));
        addresses
    }

    /// Where no address is named, mail leaves from where it is taken: that of a listener for SMTP, where there is one of a family.
    pub(super) fn or_of(mut self, listeners: &BTreeMap<String, Listener>) -> Self {
        // Behind a proxy it is the proxy's address that others know.
        let with_smtp = listeners
            .values()
            .filter(|listener| listener.smtp.is_some() && listener.trusted_proxies.is_empty());
        let ips: Vec<IpAddr> = with_smtp
            .flat_map(|listener| listener.ips.clone())
            .collect();
        // One that listens everywhere, or on this machine only, says nothing.
        if ips.iter().any(IpAddr::is_unspecified) {
            return self;
        }
        let ips = ips.into_iter().filter(|ip| !ip.is_loopback());
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for ip in ips {
            match ip {
                IpAddr::V4(ip) => four.push(ip),
                IpAddr::V6(ip) => six.push(ip),
            }
        }
        if let [one] = four[..] {
            self.ipv4 = self.ipv4.or(Some(one));
        }
        if let [one] = six[..] {
            self.ipv6 = self.ipv6.or(Some(one));
        }
        self
    }
}

/// As it stands in the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename = "outgoing", deny_unknown_fields, default)]
pub(super) struct FileOutgoing {
    ipv4: Option<String>,
    ipv6: Option<String>,
    prefer: Option<Family>,
}

impl FileOutgoing {
    pub(super) fn check(&self, check: &mut Check<'_>, at: &[Step<'_>]) -> OwnAddresses {
        let mut ip = |field, text: &Option<String>, wants_six| {
            let path = [at, &[Field(field)]].concat();
            let ip = check.ip(&path, text.as_deref()?)?;
            if ip.is_ipv6() != wants_six || ip.is_unspecified() {
                check.problem(
                    &path,
                    &format!("{ip} is no address of this family that mail could leave from"),
                    "name an address of this machine, or leave it out",
                );
                return None;
            }
            Some(ip)
        };
        let (four, six) = (ip("ipv4", &self.ipv4, false), ip("ipv6", &self.ipv6, true));
        OwnAddresses {
            ipv4: match four {
                Some(IpAddr::V4(ip)) => Some(ip),
                _ => None,
            },
            ipv6: match six {
                Some(IpAddr::V6(ip)) => Some(ip),
                _ => None,
            },
            prefer: self.prefer,
        }
    }
}

/// How much is sent at once, and how long it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename = "queue", deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Attempts that run at once.
    pub attempts: u32,
    /// Of these to one domain.
    pub per_domain: u32,
    /// Of these to one smarthost or relay.
    pub per_transport: u32,
    /// Hours after which a message is given up.
    pub lifetime_hours: u32,
    /// Hours after which its sender is told that it takes longer.
    pub delay_notice_hours: u32,
    /// Days for which it is known what became of a message.
    pub kept_days: u32,
}

/// Seconds of an hour.
const HOUR: u64 = 3_600;

/// Those of the queue itself.
impl Default for QueueSettings {
    fn default() -> Self {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let hours = |time: Duration| u32::try_from(time.as_secs() / HOUR).unwrap_or(u32::MAX);
        let (limits, plan) = (Limits::default(), Plan::default());
        Self {
            attempts: number(limits.total),
            per_domain: number(limits.per_domain),
            per_transport: number(limits.per_transport),
            lifetime_hours: hours(plan.lifetime),
            delay_notice_hours: hours(plan.delay_notice_after),
            kept_days: 7,
        }
    }
}

impl QueueSettings {
    /// How many attempts run at once.
    pub fn limits(&self) -> Limits {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (usual, total) = (Limits::default(), count(self.attempts));
        Limits {
            total,
            // As large a part as usual, and never none.
            retries: (total.saturating_mul(usual.retries) / usual.total.max(1)).max(1),
            per_domain: count(self.per_domain),
            per_transport: count(self.per_transport),
            ..usual
        }
    }

    /// When a message is tried, and how long.
    pub fn plan(&self) -> Plan {
        let hours = |count: u32| Duration::from_secs(u64::from(count) * HOUR);
        Plan {
            lifetime: hours(self.lifetime_hours),
            delay_notice_after: hours(self.delay_notice_hours),
            ..Plan::default()
        }
    }

    /// How long it is known what became of a message.
    pub fn kept(&self) -> Duration {
        Duration::from_secs(u64::from(self.kept_days) * 24 * HOUR)
    }
}

/// Attempts at once, at most: each may hold a connection and a piece of a message.
const ATTEMPTS_MAX: u32 = 1_000;
/// Hours that a message is tried, at most: thirty days.
const HOURS_MAX: u32 = 720;
/// Days that it is known what became of it, at most: ten years.
const DAYS_MAX: u32 = 3_650;

impl QueueSettings {
    pub(super) fn check(self, check: &mut Check<'_>) {
        let usual = Self::default();
        for (field, value, max, usual) in [
            ("attempts", self.attempts, ATTEMPTS_MAX, usual.attempts),
            (
                "per_domain",
                self.per_domain,
                ATTEMPTS_MAX,
                usual.per_domain,
            ),
            (
                "per_transport",
                self.per_transport,
                ATTEMPTS_MAX,
                usual.per_transport,
            ),
            (
                "lifetime_hours",
                self.lifetime_hours,
                HOURS_MAX,
                usual.lifetime_hours,
            ),
            (
                "delay_notice_hours",
                self.delay_notice_hours,
                HOURS_MAX,
                usual.delay_notice_hours,
            ),
            ("kept_days", self.kept_days, DAYS_MAX, usual.kept_days),
        ] {
            if !(1..=max).contains(&value) {
                check.problem(
                    &[Field("queue"), Field(field)],
                    &format!("{value} is not between 1 and {max}"),
                    &format!("{usual} is usual"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_leaves_from_the_address_of_the_family_and_not_to_this_machine() {
        let own = OutgoingAddresses {
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ipv6: None,
            prefer: Family::Ipv6,
        };
        let to = |ip: &str| own.to(ip.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(to("198.51.100.7"), Some("192.0.2.1".into()));
        assert_eq!(to("2001:db8::7"), None);
        assert_eq!(to("127.0.0.1"), None);
    }

    #[test]
    fn a_transport_has_of_its_own_what_it_names_and_the_rest_in_common() {
        let all = OutgoingAddresses {
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ipv6: Some(Ipv6Addr::LOCALHOST),
            prefer: Family::Ipv6,
        };
        let own = OwnAddresses {
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 9)),
            ..OwnAddresses::default()
        };
        let four = OutgoingAddresses {
            ipv4: own.ipv4,
            ..all
        };
        assert_eq!(all.with(&own), four);
        let own = OwnAddresses {
            prefer: Some(Family::Either),
            ..OwnAddresses::default()
        };
        let either = OutgoingAddresses {
            prefer: Family::Either,
            ..all
        };
        assert_eq!(all.with(&own), either);
        assert_eq!(all.with(&OwnAddresses::default()), all);
    }

    #[test]
    fn what_is_usual_is_what_the_queue_does_without_settings() {
        let usual = QueueSettings::default();
        assert_eq!((usual.limits(), usual.plan()), Default::default());
        let expected = QueueSettings {
            attempts: 50,
            per_domain: 4,
            per_transport: 5,
            lifetime_hours: 120,
            delay_notice_hours: 4,
            kept_days: 7,
        };
        assert_eq!(usual, expected);
    }

    #[test]
    fn retries_have_their_part_of_whatever_runs_at_once() {
        for (attempts, retries) in [(1, 1), (2, 1), (10, 7), (50, 35), (1_000, 700)] {
            let settings = QueueSettings {
                attempts,
                ..QueueSettings::default()
            };
            assert_eq!(settings.limits().retries, retries, "of {attempts}");
        }
    }

    #[test]
    fn addresses_are_tried_in_the_order_that_is_preferred() {
        let of = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let all = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"];
        for (prefer, expected) in [
            (Family::Either, &all[..]),
            (
                Family::Ipv4,
                &["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"],
            ),
            (
                Family::Ipv6,
                &["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"],
            ),
            (Family::Only4, &["192.0.2.1", "192.0.2.2"]),
        ] {
            let addresses = OutgoingAddresses {
                prefer,
                ..OutgoingAddresses::default()
            };
            assert_eq!(addresses.in_order(of(&all)), of(expected), "{prefer:?}");
        }
    }
}
