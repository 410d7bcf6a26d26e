//! The networks that an address is in.

use core::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::prefix::prefix;

/// How large a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkClass {
    /// An address; of IPv6 64 bits, which one customer of a provider has for himself.
    Address,
    /// IPv4 /26, IPv6 /48.
    Neighbourhood,
    /// IPv4 /21, IPv6 /32.
    Region,
}

impl NetworkClass {
    /// From small to large.
    pub const ALL: [Self; 3] = [Self::Address, Self::Neighbourhood, Self::Region];

    /// How many times what one address may a network of this class may.
    pub const fn share(self) -> u32 {
        match self {
            Self::Address => 1,
            Self::Neighbourhood => 3,
            Self::Region => 9,
        }
    }

    /// How many bits of an address are the network's.
    pub(crate) const fn bits(self, ip: IpAddr) -> u32 {
        match (self, ip.is_ipv4()) {
            (Self::Address, true) => 32,
            (Self::Address, false) => 64,
            (Self::Neighbourhood, true) => 26,
            (Self::Neighbourhood, false) => 48,
            (Self::Region, true) => 21,
            (Self::Region, false) => 32,
        }
    }

    /// The network of this class that an address is in.
    pub(crate) fn of(self, ip: IpAddr) -> IpAddr {
        prefix(ip, self.bits(ip))
    }

    /// A network of this class, as it is written.
    pub fn written(self, network: IpAddr) -> String {
        match self.bits(network) {
            32 if network.is_ipv4() => network.to_string(),
            bits => format!("{network}/{bits}"),
        }
    }
}

impl fmt::Display for NetworkClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "address",
            Self::Neighbourhood => "neighbourhood",
            Self::Region => "region",
        })
    }
}

/// The networks that an address is in, one of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks([IpAddr; 3]);

impl Networks {
    /// `None` for an address of this machine itself. IPv4 that comes as IPv6 is IPv4.
    pub fn of(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        (!ip.is_loopback()).then(|| Self(NetworkClass::ALL.map(|class| class.of(ip))))
    }

    /// The smallest one.
    pub const fn address(&self) -> IpAddr {
        let Self([address, ..]) = self;
        *address
    }

    /// The one of a class.
    pub const fn in_class(&self, class: NetworkClass) -> IpAddr {
        let Self([address, neighbourhood, region]) = self;
        match class {
            NetworkClass::Address => *address,
            NetworkClass::Neighbourhood => *neighbourhood,
            NetworkClass::Region => *region,
        }
    }

    /// With their classes, from small to large.
    pub fn iter(&self) -> impl Iterator<Item = (NetworkClass, IpAddr)> {
        NetworkClass::ALL.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ip: &str) -> Option<Vec<String>> {
        let networks = Networks::of(ip.parse().unwrap())?;
        Some(networks.iter().map(|(c, n)| c.written(n)).collect())
    }

    #[test]
    fn an_address_is_in_three_networks_and_loopback_is_in_none() {
        let v4 = written("203.0.113.77").unwrap();
        assert_eq!(v4, ["203.0.113.77", "203.0.113.64/26", "203.0.112.0/21"]);
        assert_eq!(written("::ffff:203.0.113.77"), Some(v4));
        assert_eq!(
            written("2001:db8:1:2:3::4").unwrap(),
            ["2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32"]
        );
        for own in ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(written(own), None, "{own}");
        }
    }
}
