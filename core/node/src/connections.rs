//! How many connections are taken, and what the others are told.

use core::fmt;
use core::time::Duration;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use mox_driver::Runtime;
use mox_machine::Mono;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{ListenerConfig, Service};
use crate::tls::within;

/// Connections that are told why they are refused, at a time; others are just closed.
const TOLD_AT_ONCE: usize = 64;
/// How long telling may take, with the wait for the other side to close.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// Octets of a refused connection that are read and forgotten, so that they do not make the kernel drop our words.
const FORGOTTEN: usize = 4_096;
/// Between two log lines about refused connections.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// How many connections are open at a time, of all listeners together. More are refused: `421 4.7.0`, `* BYE`, or closed
/// at once where TLS would have to come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all. Those from this machine itself (loopback) are counted apart, with the same limit: nobody else can lock
    /// them out. Default 10,000.
    pub total: usize,
    /// From one address; of IPv6 from one network of 64 bits. `None` is no limit; loopback has none. Default 200.
    pub per_address: Option<usize>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 10_000,
            per_address: Some(200),
        }
    }
}

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: ConnectionLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    outside: usize,
    loopback: usize,
    by_network: BTreeMap<IpAddr, usize>,
    refused: u64,
    /// Refused ones that are being told.
    told: usize,
    logged: Option<Mono>,
}

/// One connection's place among all; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    peer: IpAddr,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are too many in all.
    Total,
    /// There are too many from its address.
    Address,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "too many connections, try again later",
            Self::Address => "too many connections from your address",
        })
    }
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            counts: Mutex::default(),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Full> {
        let peer = peer.to_canonical();
        let mut guard = self.counts();
        let counts = &mut *guard;
        let all = match peer.is_loopback() {
            true => &mut counts.loopback,
            false => &mut counts.outside,
        };
        if *all >= self.limits.total {
            counts.refused += 1;
            return Err(Full::Total);
        }
        if !peer.is_loopback()
            && let Some(most) = self.limits.per_address
        {
            let network = network(peer);
            let same = counts.by_network.get(&network).copied();
            let same = same.unwrap_or_default();
            if same >= most {
                counts.refused += 1;
                return Err(Full::Address);
            }
            counts.by_network.insert(network, same + 1);
        }
        *all += 1;
        drop(guard);
        Ok(Place {
            connections: self.clone(),
            peer,
        })
    }

    /// How many were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.counts().refused
    }

    /// How many were refused since the start, when it is time to log that again.
    fn due_in_log(&self, now: Mono) -> Option<u64> {
        let mut counts = self.counts();
        if counts.logged.is_some_and(|at| now < at + LOG_EVERY) {
            return None;
        }
        counts.logged = Some(now);
        Some(counts.refused)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while it is held, so poison means nothing.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        if self.peer.is_loopback() {
            counts.loopback -= 1;
            return;
        }
        counts.outside -= 1;
        let network = network(self.peer);
        if let Some(same) = counts.by_network.get_mut(&network) {
            *same -= 1;
            if *same == 0 {
                counts.by_network.remove(&network);
            }
        }
    }
}

/// What counts as one address: a customer of a provider has at least 64 bits of IPv6 for himself.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(ip) => {
            let bits = u128::from(ip) & !u128::from(u64::MAX);
            Ipv6Addr::from(bits).into()
        }
    }
}

/// Refuses a connection, and says why where that can be said in clear.
pub(crate) fn refuse<R: Runtime>(
    runtime: &R,
    connections: &Arc<Connections>,
    config: &ListenerConfig,
    stream: R::Stream,
    peer: IpAddr,
    why: Full,
) {
    if let Some(refused) = connections.due_in_log(runtime.now().mono) {
        tracing::warn!(target: "listen", listener = config.name, %peer, %why, refused, "connection refused");
    }
    let text = match config.service {
        Service::Smtp | Service::Submission => {
            format!("421 4.7.0 {} {why}\r\n", config.hostname)
        }
        Service::Imap => format!("* BYE [UNAVAILABLE] {why}\r\n"),
        Service::Submissions | Service::Imaps => return,
    };
    let Some(telling) = Telling::begin(connections) else {
        return;
    };
    let clock = runtime.clone();
    let task = async move {
        let _telling = telling;
        let _ = within(&clock, TOLD_WITHIN, tell::<R>(stream, text)).await;
    };
    runtime.spawn_session("refusal", Box::pin(task));
}

async fn tell<R: Runtime>(mut stream: R::Stream, text: String) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.close().await?;
    let (mut octets, mut read) = ([0; 512], 0);
    while read < FORGOTTEN {
        match stream.read(&mut octets).await? {
            0 => break,
            some => read += some,
        }
    }
    Ok(())
}

/// One refused connection that is told why.
struct Telling(Arc<Connections>);

impl Telling {
    fn begin(connections: &Arc<Connections>) -> Option<Self> {
        let mut counts = connections.counts();
        if counts.told >= TOLD_AT_ONCE {
            return None;
        }
        counts.told += 1;
        drop(counts);
        Some(Self(connections.clone()))
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.counts().told -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_left_may_come_again_and_loopback_is_never_locked_out() {
        let connections = Connections::new(ConnectionLimits {
            total: 3,
            per_address: Some(2),
        });
        let enter = |peer: &str| connections.enter(ip(peer));
        let one = enter("192.0.2.1").unwrap();
        // The same address, as an IPv6 socket shows it.
        let two = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), Full::Address);
        let other = enter("192.0.2.2").unwrap();
        drop(one);
        let one = enter("192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.3").unwrap_err(), Full::Total);
        let own: Vec<_> = ["127.0.0.1", "::1", "127.9.9.9"]
            .map(|peer| enter(peer).unwrap())
            .into();
        assert_eq!(enter("::1").unwrap_err(), Full::Total);
        assert_eq!(connections.refused(), 3);
        drop((one, two, other, own));
        let counts = connections.counts();
        assert_eq!((counts.outside, counts.loopback), (0, 0));
        assert!(counts.by_network.is_empty());
    }

    #[test]
    fn sixty_four_bits_of_ipv6_are_one_address() {
        let connections = Connections::new(ConnectionLimits {
            total: 9,
            per_address: Some(1),
        });
        let _one = connections.enter(ip("2001:db8:1:2::1")).unwrap();
        let same = connections.enter(ip("2001:db8:1:2:ffff::9"));
        assert_eq!(same.unwrap_err(), Full::Address);
        assert!(connections.enter(ip("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn a_flood_is_one_log_line_a_second_which_counts_it() {
        let connections = Connections::new(ConnectionLimits {
            total: 0,
            per_address: None,
        });
        let at = |millis| Mono::default() + Duration::from_millis(millis);
        let mut said = Vec::new();
        for millis in (0..2_000).step_by(250) {
            assert!(connections.enter(ip("192.0.2.1")).is_err());
            said.extend(connections.due_in_log(at(millis)));
        }
        assert_eq!(said, [1, 5]);
    }
}
