//! The client's side of SOCKS5 (RFC 1928): one connection to an address, by way of a proxy.
//!
//! It says how many octets it wants next and never more, so that none of what comes from behind the proxy is taken.
//!
//! ```
//! use mox_socks::{Connect, Do};
//!
//! let mut connect = Connect::new("192.0.2.1:25".parse().unwrap(), None);
//! let mut proxy = [&b"\x05\x00"[..], b"\x05\x00\x00\x01", b"\x0a\x00\x00\x07\x13\x88"].into_iter();
//! let mut said = Vec::new();
//! loop {
//!     match connect.next() {
//!         Do::Write(octets) => said.extend(octets),
//!         Do::Read(count) => {
//!             let octets = proxy.next().unwrap();
//!             assert_eq!(octets.len(), count);
//!             connect.read(octets)?;
//!         }
//!         Do::Open => break, // what is written and read from here on is the other side's
//!     }
//! }
//! assert_eq!(said, b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x19");
//! # Ok::<(), mox_socks::Failure>(())
//! ```
#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use mox_machine::Secret;

/// Version of the protocol.
const VERSION: u8 = 5;
/// Methods of authentication: none, and RFC 1929.
const NOBODY: u8 = 0;
const PASSWORD: u8 = 2;
/// CONNECT.
const CONNECT: u8 = 1;
/// Octets of a user name or a password at most (RFC 1929 2).
pub const LOGIN_MAX: usize = 255;

/// As whom a proxy is used (RFC 1929).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// At most [`LOGIN_MAX`] octets; what is more is not said.
    pub user: String,
    /// The same.
    pub password: Secret<String>,
}

/// What is to be done next. Octets do not show themselves: they may be a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Do {
    /// Write this.
    Write(Vec<u8>),
    /// Read exactly so many octets, and hand them to [`Connect::read`].
    Read(usize),
    /// The connection to the address is open.
    Open,
}

impl fmt::Debug for Do {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(octets) => write!(f, "Write({} octets)", octets.len()),
            Self::Read(count) => write!(f, "Read({count})"),
            Self::Open => f.write_str("Open"),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// What answers is no SOCKS5 proxy.
    NotSocks,
    /// The proxy takes none of the methods we have.
    NoMethod,
    /// The proxy does not take our password.
    WrongCredentials,
    /// The proxy did not connect: its code (RFC 1928 6).
    Refused(u8),
}

/// One connection being made.
#[derive(Debug)]
pub struct Connect {
    to: SocketAddr,
    login: Option<Login>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Greet,
    Method,
    Login,
    LoginReply,
    Request,
    Reply,
    /// The address that the proxy uses: so many octets are left of it.
    Bound(usize),
    /// The length of its name.
    BoundName,
    Open,
}

impl Connect {
    /// A connection to this address.
    pub const fn new(to: SocketAddr, login: Option<Login>) -> Self {
        Self {
            to,
            login,
            state: State::Greet,
        }
    }

    /// What is to be done next.
    #[expect(clippy::should_implement_trait, reason = "it never ends by itself")]
    pub fn next(&mut self) -> Do {
        let (octets, then) = match self.state {
            State::Greet => match &self.login {
                None => (Vec::from([VERSION, 1, NOBODY]), State::Method),
                Some(_) => (Vec::from([VERSION, 2, NOBODY, PASSWORD]), State::Method),
            },
            State::Login => (self.password(), State::LoginReply),
            State::Request => (self.request(), State::Reply),
            State::Method | State::LoginReply => return Do::Read(2),
            State::Reply => return Do::Read(4),
            State::Bound(left) => return Do::Read(left),
            State::BoundName => return Do::Read(1),
            State::Open => return Do::Open,
        };
        self.state = then;
        Do::Write(octets)
    }

    /// Takes the octets that were wanted.
    ///
    /// # Errors
    /// When there will be no connection.
    pub fn read(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.state = match (self.state, octets) {
            (State::Method, [VERSION, NOBODY]) => State::Request,
            (State::Method, [VERSION, PASSWORD]) if self.login.is_some() => State::Login,
            (State::Method, [VERSION, _]) => return Err(Failure::NoMethod),
            // Version 1 is that of RFC 1929; some proxies say their own.
            (State::LoginReply, [1 | VERSION, 0]) => State::Request,
            (State::LoginReply, [1 | VERSION, _]) => return Err(Failure::WrongCredentials),
            (State::Reply, [VERSION, 0, _, kind]) => match kind {
                1 => State::Bound(4 + 2),
                3 => State::BoundName,
                4 => State::Bound(16 + 2),
                _ => return Err(Failure::NotSocks),
            },
            (State::Reply, [VERSION, code, ..]) => return Err(Failure::Refused(*code)),
            (State::BoundName, [length]) => State::Bound(usize::from(*length) + 2),
            (State::Bound(left), all) if all.len() == left => State::Open,
            _ => return Err(Failure::NotSocks),
        };
        Ok(())
    }

    /// RFC 1929 2.
    fn password(&self) -> Vec<u8> {
        let mut octets = Vec::from([1]);
        if let Some(login) = &self.login {
            for text in [&login.user, login.password.expose()] {
                let text = text.as_bytes();
                let text = text.get(..LOGIN_MAX).unwrap_or(text);
                octets.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                octets.extend_from_slice(text);
            }
        }
        octets
    }

    /// RFC 1928 4.
    fn request(&self) -> Vec<u8> {
        let mut octets = Vec::from([VERSION, CONNECT, 0]);
        match self.to.ip() {
            IpAddr::V4(ip) => {
                octets.push(1);
                octets.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                octets.push(4);
                octets.extend(ip.octets());
            }
        }
        octets.extend(self.to.port().to_be_bytes());
        octets
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSocks => "what answers is no SOCKS5 proxy",
            Self::NoMethod => "the proxy wants another way to log in",
            Self::WrongCredentials => "the proxy does not take the password",
            Self::Refused(2) => "the proxy may not connect there",
            Self::Refused(3) => "the proxy says that the network cannot be reached",
            Self::Refused(4) => "the proxy says that the host cannot be reached",
            Self::Refused(5) => "the proxy says that the host refused the connection",
            Self::Refused(6) => "the proxy says that the time was over",
            Self::Refused(8) => "the proxy does not know this kind of address",
            Self::Refused(code) => return write!(f, "the proxy failed with code {code}"),
        })
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// All that is said to a proxy that says this, and how it ends.
    fn talk(mut connect: Connect, mut proxy: &[u8]) -> (Vec<u8>, Result<usize, Failure>) {
        let mut said = Vec::new();
        loop {
            match connect.next() {
                Do::Write(octets) => said.extend(octets),
                Do::Read(count) => {
                    let (octets, rest) = proxy.split_at(count);
                    proxy = rest;
                    if let Err(failure) = connect.read(octets) {
                        return (said, Err(failure));
                    }
                }
                Do::Open => return (said, Ok(proxy.len())),
            }
        }
    }

    fn jo() -> Option<Login> {
        Some(Login {
            user: "jo".into(),
            password: Secret::new("pw".into()),
        })
    }

    #[test]
    fn a_connection_is_made_with_and_without_password_to_both_kinds_of_addresses() {
        let v6 = "[2001:db8::1]:25".parse().unwrap();
        let mut asked = Vec::from(&b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8"[..]);
        asked.extend([0; 11]);
        asked.extend([1, 0, 25]);
        // The proxy names itself; what follows is the other server's greeting.
        let proxy = b"\x05\x00\x05\x00\x00\x03\x02me\x00\x01220 hi";
        assert_eq!(talk(Connect::new(v6, None), proxy), (asked, Ok(6)));
        let v4 = "192.0.2.1:2525".parse().unwrap();
        let proxy = b"\x05\x02\x01\x00\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let asked = b"\x05\x02\x00\x02\x01\x02jo\x02pw\x05\x01\x00\x01\xc0\x00\x02\x01\x09\xdd";
        let told = talk(Connect::new(v4, jo()), proxy);
        assert_eq!(told, (Vec::from(&asked[..]), Ok(0)));
    }

    #[test]
    fn what_a_proxy_refuses_is_said() {
        let to = "192.0.2.1:25".parse().unwrap();
        for (login, proxy, failure) in [
            (None, &b"\x05\xff"[..], Failure::NoMethod),
            // Nobody offered a password.
            (None, b"\x05\x02", Failure::NoMethod),
            (None, b"\x04\x00", Failure::NotSocks),
            (None, b"HT", Failure::NotSocks),
            (jo(), b"\x05\x02\x01\x01", Failure::WrongCredentials),
            (None, b"\x05\x00\x05\x05\x00\x01", Failure::Refused(5)),
            (None, b"\x05\x00\x05\x00\x00\x09", Failure::NotSocks),
            (None, b"\x05\x00\x04\x00\x00\x01", Failure::NotSocks),
        ] {
            let (_, end) = talk(Connect::new(to, login), proxy);
            assert_eq!(end, Err(failure), "{proxy:?}");
        }
        let shown = alloc::format!("{:?} {}", jo(), Failure::Refused(9));
        assert!(
            !shown.contains("pw") && shown.ends_with("with code 9"),
            "{shown}"
        );
    }

    #[test]
    fn nothing_that_is_done_shows_the_password() {
        let mut connect = Connect::new("192.0.2.1:25".parse().unwrap(), jo());
        let mut shown = alloc::format!("{connect:?}");
        for octets in [&b"\x05\x02"[..], b"\x01\x00", b"\x05\x00\x00\x01", &[0; 6]] {
            while let done @ Do::Write(_) = connect.next() {
                shown += &alloc::format!("{done:?}");
            }
            connect.read(octets).unwrap();
        }
        assert_eq!(connect.next(), Do::Open);
        let digits = b"pw".map(|octet| alloc::format!("{octet}"));
        assert!(
            !shown.contains("pw") && !shown.contains(&digits.join(", ")),
            "{shown}"
        );
    }

    #[test]
    fn no_more_than_255_octets_of_a_password_are_said() {
        let login = Login {
            user: "u".repeat(300),
            password: Secret::new("p".repeat(300)),
        };
        let connect = Connect::new("192.0.2.1:25".parse().unwrap(), Some(login));
        let (said, end) = talk(connect, b"\x05\x02\x01\x01");
        assert_eq!(end, Err(Failure::WrongCredentials));
        assert_eq!(said.len(), 4 + 1 + 2 * (1 + LOGIN_MAX));
    }
}
