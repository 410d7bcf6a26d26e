//! `outgoing` and `queue` of `mox.ron`: from where mail leaves, how much of it at once, and how long it is tried.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// Those of IPv4, and no others.
    Only4,
}

impl OutgoingAddresses {
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

    /// The addresses of a host in the order in which they are tried.
    pub fn in_order(&self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        match self.prefer {
            Family::Either => {}
            Family::Ipv4 => addresses.sort_by_key(IpAddr::is_ipv6),
            Family::Ipv6 => addresses.sort_by_key(IpAddr::is_ipv4),
            Family::Only4 => addresses.retain(IpAddr::is_ipv4),
        }
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
    prefer: Family,
}

impl FileOutgoing {
    pub(super) fn check(&self, check: &mut Check<'_>, at: &[Step<'_>]) -> OutgoingAddresses {
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
        OutgoingAddresses {
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

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            attempts: 50,
            per_domain: 4,
            per_transport: 5,
            lifetime_hours: 120,
            delay_notice_hours: 4,
            kept_days: 7,
        }
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
