//! Who is who: the domains, addresses and accounts of a world.

use mox_address::{Domain, LocalPart};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::plan::To;

/// The domains of our servers, which are their host names too.
pub(crate) const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
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
    }
}

/// The recipient of an address.
pub(crate) fn recipient(address: &str) -> Option<To> {
    let (local, domain) = address.split_once('@')?;
    let server = DOMAINS.iter().position(|known| *known == domain)?;
    match ACCOUNTS.iter().position(|known| *known == local) {
        Some(number) => Some(To::Account(server, number)),
        None => Some(To::Nobody(server)),
    }
}

impl To {
    /// The server it is at, if its domain is right.
    pub(crate) fn server(&self) -> usize {
        match *self {
            Self::Account(server, _) | Self::Nobody(server) => server,
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
