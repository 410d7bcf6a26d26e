//! Networks that a configuration names: proxies that are believed, and whom no limiter concerns.

use std::net::IpAddr;

use super::check::Check;
use super::locate::Step::{self, Field, Item, Key};
use crate::prefix::prefix;

/// Networks in one list at most.
const NETWORKS_MAX: usize = 100;

/// A network of IP addresses: an address, and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`; `None` when it is neither, or an address has bits beyond its network.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all && prefix(address, bits.into()) == address).then_some(Self { address, bits })
    }

    /// Whether an address is in it. IPv4 that comes as IPv6 is IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.address.is_ipv4() && prefix(ip, self.bits.into()) == self.address
    }
}

/// Reads the proxies of a listener.
pub(super) fn trusted_proxies(
    check: &mut Check<'_>,
    listener: &str,
    texts: &[String],
) -> Vec<Network> {
    let here = [Field("listeners"), Key(listener), Field("trusted_proxies")];
    networks(check, &here, texts)
}

/// Reads whom no limiter concerns.
pub(super) fn unlimited(check: &mut Check<'_>, texts: &[String]) -> Vec<Network> {
    networks(check, &[Field("unlimited_networks")], texts)
}

fn networks(check: &mut Check<'_>, here: &[Step<'_>], texts: &[String]) -> Vec<Network> {
    check.at_most(here, texts.len(), NETWORKS_MAX);
    let mut networks = Vec::new();
    for (n, text) in texts.iter().enumerate().take(NETWORKS_MAX) {
        match Network::parse(text) {
            Some(network) => networks.push(network),
            None => check.problem(
                &[here, &[Item(n)]].concat(),
                &format!("{text:?} is no IP address and no network"),
                "write one like \"192.0.2.1\" or \"192.0.2.0/24\"",
            ),
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it_and_no_others() {
        for (network, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("10.0.0.0/8", "::ffff:10.9.8.7", "11.0.0.0"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("::1", "::1", "::2"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?}");
        }
        for bad in [
            "",
            "x",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "192.0.2.0/",
            "::/129",
            "mx.example",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
