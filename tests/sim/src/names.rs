//! Who is who: the domains, addresses and accounts of a world.

use mox_address::{Domain, LocalPart};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::plan::{PEERS_MAX, To};
use crate::sim::both_families;

/// The domains of our servers, which are their host names too.
pub(crate) const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
/// The domains of other people's servers; each has its mail at `mx.` and the domain.
const PEERS: [&str; PEERS_MAX] = ["p.example", "q.example", "r.example"];
/// Their host names.
const PEER_HOSTS: [&str; PEERS_MAX] = ["mx.p.example", "mx.q.example", "mx.r.example"];
/// The domain of whoever has no account.
pub(crate) const OUTSIDE: &str = "outside.example";
/// The accounts of each.
const ACCOUNTS: [&str; 3] = ["ann", "bob", "cid"];
/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse";
/// A local part nobody has.
const NOBODY: &str = "nobody";

/// The host name and domain of a server.
pub(crate) fn domain(server: usize) -> &'static str {
    DOMAINS.get(server).copied().unwrap_or("nowhere.example")
}

/// Its address.
pub(crate) fn ip(server: usize) -> [u8; 4] {
    [
        10,
        0,
        0,
        u8::try_from(server).unwrap_or(u8::MAX).saturating_add(1),
    ]
}

/// A port of it.
pub(crate) fn socket(server: usize, port: u16) -> SocketAddr {
    (Ipv4Addr::from(ip(server)), port).into()
}

/// Which server a connection goes to, and to which port.
pub(crate) fn server_at(address: &[u8]) -> Option<(usize, u16)> {
    let address: SocketAddr = core::str::from_utf8(address).ok()?.parse().ok()?;
    let server = (0..DOMAINS.len()).find(|n| IpAddr::from(ip(*n)) == address.ip())?;
    Some((server, address.port()))
}

/// The host name of somebody else's server.
pub(crate) fn peer_host(peer: usize) -> &'static str {
    PEER_HOSTS.get(peer).copied().unwrap_or("nowhere.example")
}

/// Its address.
pub(crate) fn peer_ip(peer: usize) -> [u8; 4] {
    let [.., last] = ip(peer);
    [10, 0, 3, last]
}

/// What name servers know: our domains are their own mail servers, those of others have one beside them.
pub(crate) fn zone() -> String {
    // Where all strangers come from, who could be answered there.
    let mut zone = format!("{OUTSIDE}. MX 10 mx.{OUTSIDE}.\nmx.{OUTSIDE}. A 10.0.4.1\n");
    for (n, domain) in DOMAINS.iter().enumerate() {
        let ip = Ipv4Addr::from(ip(n));
        zone += &format!("{domain}. MX 10 {domain}.\n{domain}. A {ip}\n");
    }
    for (n, (domain, host)) in PEERS.iter().zip(PEER_HOSTS).enumerate() {
        let four = Ipv4Addr::from(peer_ip(n));
        let [_, six] = both_families(four);
        zone += &format!("{domain}. MX 10 {host}.\n{host}. A {four}\n{host}. AAAA {six}\n");
    }
    zone
}

/// The name of an account.
pub(crate) fn account(number: usize) -> &'static str {
    ACCOUNTS.get(number).copied().unwrap_or(NOBODY)
}

/// Who logs in.
pub(crate) fn user(server: usize, number: usize) -> String {
    format!("{}@{}", account(number), domain(server))
}

/// The address of a recipient.
pub(crate) fn address(to: &To) -> String {
    match *to {
        To::Account(server, number) => user(server, number),
        To::Nobody(server) => format!("{NOBODY}@{}", domain(server)),
        To::Peer(peer, number) => {
            let domain = PEERS.get(peer).copied().unwrap_or("nowhere.example");
            format!("x{number}@{domain}")
        }
    }
}

/// The recipient of an address.
pub(crate) fn recipient(address: &str) -> Option<To> {
    let (local, domain) = address.split_once('@')?;
    if let Some(peer) = PEERS.iter().position(|known| *known == domain) {
        let number = local.strip_prefix('x')?.parse().ok()?;
        return Some(To::Peer(peer, number));
    }
    let server = DOMAINS.iter().position(|known| *known == domain)?;
    match ACCOUNTS.iter().position(|known| *known == local) {
        Some(number) => Some(To::Account(server, number)),
        None => Some(To::Nobody(server)),
    }
}

impl To {
    /// The server of ours it is at.
    pub(crate) const fn server(&self) -> Option<usize> {
        match *self {
            Self::Account(server, _) | Self::Nobody(server) => Some(server),
            Self::Peer(..) => None,
        }
    }
}

/// A domain, parsed.
pub(crate) fn parsed(server: usize) -> Result<Domain, String> {
    Domain::parse(domain(server), false).map_err(|e| format!("{e:?}"))
}

/// A local part, parsed.
pub(crate) fn local(number: usize) -> Result<LocalPart, String> {
    LocalPart::parse(account(number), false).map_err(|e| format!("{e:?}"))
}
