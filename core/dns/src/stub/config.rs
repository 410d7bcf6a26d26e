//! Which name servers to ask, and how.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

/// Name servers that are used at most, as in the C library.
pub const SERVERS_MAX: usize = 3;

/// Which name servers to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Recursive name servers, in order, at most [`SERVERS_MAX`] of which are used.
    pub servers: Vec<SocketAddr>,
    /// How long to wait for one server's answer: 5 seconds.
    pub timeout: Duration,
    /// How often each server is asked: 2 times.
    pub attempts: u32,
    /// Believe every server that says an answer is authentic (AD). Otherwise only those on a loopback address: between
    /// others and us anybody may set the bit.
    pub trust_ad: bool,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self {
            servers: Vec::from([SocketAddr::from((Ipv4Addr::LOCALHOST, 53))]),
            timeout: Duration::from_secs(5),
            attempts: 2,
            trust_ad: false,
        }
    }
}

impl ResolverConfig {
    /// Asks these servers, in the default manner.
    pub fn of(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().take(SERVERS_MAX).collect(),
            ..Self::default()
        }
    }

    /// Reads `/etc/resolv.conf`: `nameserver` lines, and of `options` `timeout:` (at most 30), `attempts:` (at most 5)
    /// and `trust-ad`. Search lists do not apply to absolute names. What it does not know it passes over, as all
    /// readers of this file do; without a name server it is the one on this host.
    pub fn parse_resolv_conf(text: &str) -> Self {
        let mut config = Self::of([]);
        for line in text.lines() {
            // A comment begins in the first column.
            if line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(server);
                    if config.servers.len() < SERVERS_MAX {
                        config.servers.extend(server);
                    }
                }
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config.servers = Self::default().servers;
        }
        config
    }

    fn option(&mut self, word: &str) {
        let number = |name| word.strip_prefix(name).and_then(|n| n.parse::<u32>().ok());
        if word == "trust-ad" {
            self.trust_ad = true;
        } else if let Some(secs) = number("timeout:") {
            self.timeout = Duration::from_secs(u64::from(secs.clamp(1, 30)));
        } else if let Some(attempts) = number("attempts:") {
            self.attempts = attempts.clamp(1, 5);
        }
    }

    /// Whether an authentic answer of this server is one.
    pub(super) fn trusts(&self, server: SocketAddr) -> bool {
        self.trust_ad || server.ip().is_loopback()
    }
}

/// An address; a link-local one may carry its interface by number (`fe80::1%2`). Names of interfaces are not known here.
fn server(text: &str) -> Option<SocketAddr> {
    match text.split_once('%') {
        None => text
            .parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, 53)),
        Some((ip, scope)) => {
            let ip = ip.parse().ok()?;
            let scope = scope.parse().ok()?;
            Some(core::net::SocketAddrV6::new(ip, 53, 0, scope).into())
        }
    }
}
