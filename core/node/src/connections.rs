//! How many connections are taken, and what the others are told.

use core::fmt;
use core::time::Duration;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use mox_driver::Runtime;
use mox_machine::Mono;
use mox_server::limiter::{Limiter, NetworkClass, Networks, Rate, Rates};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
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
/// The time in which connections are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// How many connections are open at a time, of all listeners together. More are refused: `421 4.7.0`, `* BYE`, or closed
/// at once where TLS would have to come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all. Those from this machine itself (loopback) are counted apart, and so are those of whom no limiter concerns, each with
    /// the same limit: nobody else can lock them out, and these not each other. Default 10,000.
    pub total: usize,
    /// From one address; of IPv6 from one network of 64 bits. Larger networks may have more: [`NetworkClass::share`]. `None` is
    /// no limit; loopback has none. Default 200.
    pub per_address: Option<usize>,
    /// Begun from one address within a minute; the same holds. Default 300.
    pub per_minute: Option<u32>,
}

impl ConnectionLimits {
    /// As many as there is room for, from wherever they come.
    pub const fn of_total(total: usize) -> Self {
        Self {
            total,
            per_address: None,
            per_minute: None,
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 10_000,
            per_address: Some(200),
            per_minute: Some(300),
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
    /// Of this machine itself.
    loopback: usize,
    /// Of whom no limiter concerns.
    unlimited: usize,
    /// By the class of the network.
    by_network: [BTreeMap<IpAddr, usize>; 3],
    /// Those that began lately.
    begun: Option<Rates>,
    refused: u64,
    /// Refused ones that are being told.
    told: usize,
    logged: Option<Mono>,
}

/// Among whom a connection is counted. None of the three takes the place of another: whoever floods the server from a network
/// without limits does not lock out the administrator on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Among {
    /// This machine itself.
    Loopback,
    /// Whom no limiter concerns.
    Unlimited,
    /// Everybody else.
    Outside(Networks),
}

/// One connection's place among all; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    among: Among,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) limiter: Limiter,
    /// Of the network whose budget is used up.
    pub(crate) class: Option<NetworkClass>,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.limiter.text())
    }
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let rate = |events| Rate {
            events,
            within: MINUTE,
        };
        let counts = Counts {
            begun: limits.per_minute.map(|events| Rates::new(rate(events))),
            ..Counts::default()
        };
        Arc::new(Self {
            limits,
            counts: Mutex::new(counts),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>, among: Among, now: Mono) -> Result<Place, Full> {
        let mut guard = self.counts();
        let counts = &mut *guard;
        if let Err(full) = counts.room(self.limits, &among, now) {
            counts.refused += 1;
            return Err(full);
        }
        *counts.of(&among) += 1;
        match &among {
            Among::Loopback | Among::Unlimited => {}
            Among::Outside(networks) => {
                for ((_, network), counts) in networks.iter().zip(&mut counts.by_network) {
                    *counts.entry(network).or_insert(0) += 1;
                }
            }
        }
        drop(guard);
        Ok(Place {
            connections: self.clone(),
            among,
        })
    }

    /// One more was refused, by somebody else.
    pub(crate) fn count_refused(&self) {
        self.counts().refused += 1;
    }

    /// How many were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.counts().refused
    }

    /// How many were refused since the start, when it is time to log that again.
    pub(crate) fn due_in_log(&self, now: Mono) -> Option<u64> {
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

impl Counts {
    fn of(&mut self, among: &Among) -> &mut usize {
        match among {
            Among::Loopback => &mut self.loopback,
            Among::Unlimited => &mut self.unlimited,
            Among::Outside(_) => &mut self.outside,
        }
    }

    /// Whether there is room for one more. Beginning counts, whatever comes of it then.
    fn room(&mut self, limits: ConnectionLimits, among: &Among, now: Mono) -> Result<(), Full> {
        let networks = match among {
            Among::Loopback | Among::Unlimited => None,
            Among::Outside(networks) => Some(networks),
        };
        let full = |limiter, class| Full { limiter, class };
        if let (Some(networks), Some(begun)) = (networks, &mut self.begun) {
            let taken = begun.take(networks, now);
            taken.map_err(|class| full(Limiter::ConnectionRate, Some(class)))?;
        }
        if *self.of(among) >= limits.total {
            return Err(full(Limiter::Total, None));
        }
        let (Some(networks), Some(most)) = (networks, limits.per_address) else {
            return Ok(());
        };
        for ((class, network), counts) in networks.iter().zip(&self.by_network) {
            let share = usize::try_from(class.share()).unwrap_or(1);
            let same = counts.get(&network).copied().unwrap_or_default();
            if same >= most.saturating_mul(share) {
                return Err(full(Limiter::Connections, Some(class)));
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        *counts.of(&self.among) -= 1;
        let Among::Outside(networks) = &self.among else {
            return;
        };
        for ((_, network), counts) in networks.iter().zip(&mut counts.by_network) {
            if let Some(same) = counts.get_mut(&network) {
                *same -= 1;
                if *same == 0 {
                    counts.remove(&network);
                }
            }
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

    fn limits(
        total: usize,
        per_address: Option<usize>,
        per_minute: Option<u32>,
    ) -> ConnectionLimits {
        ConnectionLimits {
            total,
            per_address,
            per_minute,
        }
    }

    fn full(limiter: Limiter, class: Option<NetworkClass>) -> Full {
        Full { limiter, class }
    }

    fn among(peer: &str) -> Among {
        Networks::of(ip(peer)).map_or(Among::Loopback, Among::Outside)
    }

    const AT: Mono = Mono(0);

    #[test]
    fn an_address_that_left_may_come_again_and_loopback_is_never_locked_out() {
        let connections = Connections::new(limits(3, Some(2), None));
        let enter = |peer: &str| connections.enter(among(peer), AT);
        let too_many = full(Limiter::Connections, Some(NetworkClass::Address));
        let one = enter("192.0.2.1").unwrap();
        // The same address, as an IPv6 socket shows it.
        let two = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), too_many);
        let other = enter("192.0.2.2").unwrap();
        drop(one);
        let one = enter("192.0.2.1").unwrap();
        let total = full(Limiter::Total, None);
        assert_eq!(enter("192.0.2.3").unwrap_err(), total);
        let own: Vec<_> = ["127.0.0.1", "::1", "127.9.9.9"]
            .map(|peer| enter(peer).unwrap())
            .into();
        assert_eq!(enter("::1").unwrap_err(), total);
        // Nor do those whom no limiter concerns share what is kept for this machine.
        let theirs: Vec<_> = (0..3)
            .map(|_| connections.enter(Among::Unlimited, AT).unwrap())
            .collect();
        assert_eq!(connections.enter(Among::Unlimited, AT).unwrap_err(), total);
        drop(own);
        let own = enter("127.0.0.1").unwrap();
        assert_eq!(connections.refused(), 4);
        drop((one, two, other, own, theirs));
        let counts = connections.counts();
        assert_eq!(
            (counts.outside, counts.loopback, counts.unlimited),
            (0, 0, 0)
        );
        assert!(counts.by_network.iter().all(BTreeMap::is_empty));
    }

    #[test]
    fn sixty_four_bits_of_ipv6_are_one_address_and_forty_eight_have_three_times_its_budget() {
        let connections = Connections::new(limits(9, Some(1), None));
        let enter = |peer: &str| connections.enter(among(peer), AT);
        let _one = enter("2001:db8:1:2::1").unwrap();
        let same = enter("2001:db8:1:2:ffff::9").unwrap_err();
        assert_eq!(same.class, Some(NetworkClass::Address));
        let _two = enter("2001:db8:1:3::1").unwrap();
        let _three = enter("2001:db8:1:4::1").unwrap();
        let more = enter("2001:db8:1:5::1").unwrap_err();
        assert_eq!(more.class, Some(NetworkClass::Neighbourhood));
        assert!(enter("2001:db8:2:5::1").is_ok());
    }

    #[test]
    fn who_comes_too_often_waits_and_this_machine_does_not() {
        let connections = Connections::new(limits(9, None, Some(2)));
        let enter = |peer: &str, at| connections.enter(among(peer), Mono::default() + at);
        let secs = Duration::from_secs;
        for _ in 0..2 {
            assert!(enter("192.0.2.1", secs(0)).is_ok());
        }
        let too_often = full(Limiter::ConnectionRate, Some(NetworkClass::Address));
        assert_eq!(enter("192.0.2.1", secs(29)).unwrap_err(), too_often);
        assert!(enter("192.0.2.1", secs(30)).is_ok());
        for _ in 0..1_000 {
            assert!(enter("127.0.0.1", secs(30)).is_ok());
        }
    }

    proptest::proptest! {
        /// Whatever others do, this machine itself gets in, and whom no limiter concerns while they are not too many themselves.
        #[test]
        fn no_sequence_of_events_locks_out_loopback(
            steps in proptest::collection::vec((0u8..5, 0u8..40, 0u64..2_000), 0..200),
            most in 1usize..5,
        ) {
            let limiters = crate::limiters::Limiters::new(
                limits(2 * most, Some(most), Some(3)),
                mox_server::limiter::LoginLimits { per_minute: Some(2), per_day: Some(3) },
                vec![mox_server::config::Network::parse("192.0.2.0/24").unwrap()],
                &crate::config::Receiving::default(),
            );
            let (mut now, mut places) = (mox_machine::Now::default(), Vec::new());
            let mut floods = Vec::new();
            for (what, who, later) in steps {
                now.mono = now.mono + Duration::from_millis(later);
                let peer = IpAddr::from([10, 0, 0, who]);
                match what {
                    0 => places.extend(limiters.enter(peer, Service::Imap, now)),
                    1 => drop(places.pop()),
                    2 => limiters.guess_wrong(peer, now),
                    // A flood from where nothing is limited, whose connections stay.
                    3 => floods.extend(limiters.enter(ip("192.0.2.9"), Service::Smtp, now)),
                    _ => ["127.0.0.1", "192.0.2.1"]
                        .into_iter()
                        .for_each(|peer| limiters.guess_wrong(ip(peer), now)),
                }
                for service in [Service::Imap, Service::Smtp, Service::Submission] {
                    proptest::prop_assert!(limiters.enter(ip("127.0.0.1"), service, now).is_ok());
                    proptest::prop_assert!(limiters.enter(ip("::1"), service, now).is_ok());
                    // Whom no limiter concerns locks out nobody but their own.
                    let theirs = limiters.enter(ip("192.0.2.1"), service, now);
                    proptest::prop_assert_eq!(theirs.is_ok(), floods.len() < 2 * most);
                }
            }
        }
    }

    #[test]
    fn a_flood_is_one_log_line_a_second_which_counts_it() {
        let connections = Connections::new(limits(0, None, None));
        let at = |millis| Mono::default() + Duration::from_millis(millis);
        let mut said = Vec::new();
        for millis in (0..2_000).step_by(250) {
            assert!(connections.enter(among("192.0.2.1"), at(millis)).is_err());
            said.extend(connections.due_in_log(at(millis)));
        }
        assert_eq!(said, [1, 5]);
    }
}
