//! What a node is told at its start. Where it comes from (files, flags, a test) is not its business.

use mox_address::Domain;
use mox_dns::Name;
use mox_driver::Bind;
use mox_server::config::{Network, Offers, OutgoingAddresses, QueueSettings};
use mox_server::limiter::LoginLimits;
use rustls::{RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::connections::ConnectionLimits;
use crate::transports::Transport;

/// A whole server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's own name: greetings, trace headers, DSNs.
    pub hostname: Domain,
    /// Where it listens.
    pub listeners: Vec<ListenerConfig>,
    /// What happens to mail for other domains, where no route says otherwise.
    pub outgoing: Outgoing,
    /// Where routes may lead, by name; `direct` is always known.
    pub transports: BTreeMap<String, Arc<Transport>>,
    /// Name servers; empty when no DNS may be asked.
    pub resolvers: Vec<SocketAddr>,
    /// Port of other people's mail servers: 25 but in tests.
    pub remote_port: u16,
    /// How MTA-STS policies of other domains are fetched.
    pub mta_sts: MtaSts,
    /// When failed deliveries are tried again.
    pub plan: mox_queue::Plan,
    /// How many may be connected.
    pub connections: ConnectionLimits,
    /// How many logins may fail, of all protocols together.
    pub failed_logins: LoginLimits,
    /// Whom no limiter concerns, as if they were this machine itself: of them only open connections are counted, with those of
    /// this machine.
    pub unlimited: Vec<Network>,
    /// How mail from elsewhere is judged.
    pub receiving: Receiving,
    /// From where mail leaves, and how much of it at once.
    pub sending: Sending,
}

/// From where mail leaves, how much of it at once, and how long it is known what became of it.
#[derive(Debug, Clone)]
pub struct Sending {
    /// From which addresses, and to which first.
    pub addresses: OutgoingAddresses,
    /// How many attempts run at once.
    pub limits: mox_queue::Limits,
    /// How long what left the queue is kept; 7 days.
    pub kept: Duration,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            addresses: OutgoingAddresses::default(),
            limits: mox_queue::Limits::default(),
            kept: QueueSettings::default().kept(),
        }
    }
}

/// How mail from elsewhere is judged, where there are name servers to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiving {
    /// How long mail waits that nothing speaks against, of somebody about whom nothing is known; not at all.
    pub first_time_delay: Duration,
    /// How long records of decisions are kept; 30 days.
    pub records_kept: Duration,
    /// Octets of these records, roughly; 256 MiB. Beyond it the oldest ones go.
    pub records_octets: u64,
}

impl Default for Receiving {
    fn default() -> Self {
        Self {
            first_time_delay: Duration::ZERO,
            records_kept: Duration::from_secs(30 * 24 * 3600),
            records_octets: 256 << 20,
        }
    }
}

/// How MTA-STS policies of other domains are fetched (RFC 8461 3.3), and whose certificates fulfil them.
#[derive(Debug, Clone)]
pub struct MtaSts {
    /// The certificate authorities that are believed; nobody without any, and then no policy can be had.
    pub authorities: Arc<RootCertStore>,
    /// Port of the servers that have policies: 443 but in tests.
    pub port: u16,
}

impl Default for MtaSts {
    fn default() -> Self {
        Self {
            authorities: Arc::new(RootCertStore::empty()),
            port: 443,
        }
    }
}

/// One listening socket.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// For logs.
    pub name: String,
    /// Where.
    pub bind: Bind,
    /// What is spoken.
    pub service: Service,
    /// The name in the greeting.
    pub hostname: Domain,
    /// Octets of a message at most.
    pub max_size: u64,
    /// AUTH and LOGIN without TLS.
    pub clear_auth: bool,
    /// Certificate and key; without one there is no STARTTLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// What submission and IMAP offer.
    pub offers: Offers,
    /// Lists of addresses that are asked about clients of whom nothing else is known (RFC 5782).
    pub lists: Vec<Name>,
    /// Proxies that say for whom they connect (PROXY protocol, version 2). Where there are any, nobody else may connect.
    pub trusted_proxies: Vec<Network>,
    /// Mail from elsewhere is taken after STARTTLS only, but for reports about TLS (RFC 8460 3). Where there is no certificate
    /// it means nothing.
    pub require_starttls: bool,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Mail from other servers, for our own addresses only.
    Smtp,
    /// Mail from our users, STARTTLS.
    Submission,
    /// Mail from our users, TLS at once.
    Submissions,
    /// Reading, STARTTLS.
    Imap,
    /// Reading, TLS at once.
    Imaps,
}

impl Service {
    /// TLS begins with the first byte.
    pub const fn is_implicit_tls(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps)
    }

    /// The protocol's name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
        }
    }
}

/// Where mail for other domains goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// To the servers that the recipient's domain names in DNS.
    Direct,
    /// All to one server, the first of these addresses that answers.
    Relay(Vec<SocketAddr>),
    /// Nowhere: into the Inbox of this account, for trying things out.
    Sink(String),
}
