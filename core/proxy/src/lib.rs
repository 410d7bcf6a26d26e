//! Who is behind a proxy: the header of the PROXY protocol, version 2, that a proxy sends before the first octet of a
//! connection it passes on.
//!
//! ```
//! use mox_proxy::{Parsed, Source, parse};
//!
//! let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x01\x9c\x40\x00\x19";
//! let client = "198.51.100.7:40000".parse().unwrap();
//! assert_eq!(parse(header), Parsed::Header(Source::Client(client)));
//! assert_eq!(parse(&header[..20]), Parsed::Incomplete { more: 8 });
//! ```
#![no_std]

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Octets before those of the addresses.
pub const START: usize = 16;
/// Octets of a header at most; a longer one is malformed. What stands behind the addresses is not looked at, and real proxies
/// add some hundred octets at most.
pub const HEADER_MAX: usize = 4_096;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const INET_STREAM: u8 = 0x11;
const INET6_STREAM: u8 = 0x21;

/// What the beginning of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header. So many octets are missing at least, and may be read: no more belong to it than will be asked for.
    Incomplete {
        /// At least one.
        more: usize,
    },
    /// A whole header, and nothing behind it.
    Header(Source),
    /// None.
    Malformed(Malformed),
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy itself, to see whether somebody is here.
    Proxy,
    /// This client of it.
    Client(SocketAddr),
}

/// Why octets are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// They do not begin like one.
    Signature,
    /// It is of another version.
    Version,
    /// It says neither LOCAL nor PROXY.
    Command,
    /// It tells of something else than a TCP connection over IPv4 or IPv6: who the client is, is not known.
    Family,
    /// It is too short for its addresses.
    Short,
    /// It has more than [`HEADER_MAX`] octets.
    Long,
    /// Octets follow it that are not part of it.
    Trailing,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "it does not begin with a header of the PROXY protocol, version 2",
            Self::Version => "the header is of another version of the PROXY protocol",
            Self::Command => "the header has an unknown command",
            Self::Family => "the header tells of no TCP connection",
            Self::Short => "the header is too short for its addresses",
            Self::Long => "the header is too long",
            Self::Trailing => "octets follow the header",
        })
    }
}

/// Reads what came so far. Whoever reads as many octets as [`Parsed::Incomplete`] says, and asks again, has read the header and
/// nothing of what the client said.
pub fn parse(octets: &[u8]) -> Parsed {
    match read(octets) {
        Ok(parsed) => parsed,
        Err(why) => Parsed::Malformed(why),
    }
}

fn read(octets: &[u8]) -> Result<Parsed, Malformed> {
    let known = octets.len().min(SIGNATURE.len());
    if octets.get(..known) != SIGNATURE.get(..known) {
        return Err(Malformed::Signature);
    }
    let Some((start, rest)) = octets.split_first_chunk::<START>() else {
        return Ok(Parsed::Incomplete {
            more: START - octets.len(),
        });
    };
    let [.., command, family, high, low] = *start;
    if command >> 4 != VERSION {
        return Err(Malformed::Version);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if START + length > HEADER_MAX {
        return Err(Malformed::Long);
    }
    let is_proxied = match command & 0x0f {
        LOCAL => false,
        PROXY => true,
        _ => return Err(Malformed::Command),
    };
    let needed = match family {
        _ if !is_proxied => 0,
        INET_STREAM => 12,
        INET6_STREAM => 36,
        _ => return Err(Malformed::Family),
    };
    if length < needed {
        return Err(Malformed::Short);
    }
    match rest.len() {
        have if have < length => {
            return Ok(Parsed::Incomplete {
                more: length - have,
            });
        }
        have if have > length => return Err(Malformed::Trailing),
        _ => {}
    }
    let source = match family {
        _ if !is_proxied => Source::Proxy,
        INET_STREAM => client(rest, 8, |octets: [u8; 4]| Ipv4Addr::from(octets).into())?,
        _ => client(rest, 32, |octets: [u8; 16]| Ipv6Addr::from(octets).into())?,
    };
    Ok(Parsed::Header(source))
}

/// The source address stands first, its port behind both addresses.
fn client<const N: usize>(
    rest: &[u8],
    port_at: usize,
    address: impl FnOnce([u8; N]) -> IpAddr,
) -> Result<Source, Malformed> {
    let octets = rest.first_chunk::<N>().ok_or(Malformed::Short)?;
    let port = rest.get(port_at..).and_then(<[u8]>::first_chunk::<2>);
    let port = u16::from_be_bytes(*port.ok_or(Malformed::Short)?);
    let ip = address(*octets).to_canonical();
    Ok(Source::Client(SocketAddr::new(ip, port)))
}
