//! `mox.ron`: what a server reads once, at its start.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mox_address::Domain;
use serde::Deserialize;

use super::capture::Capture;
use super::check::{self, Check};
use super::decision_records::DecisionRecords;
use super::locate::Step::{Field, Item, Key};
use super::networks::{Network, trusted_proxies, unlimited};
use super::offers::{self, Offers, setting};
use super::problem::Problems;
use super::sending::{FileOutgoing, OutgoingAddresses, QueueSettings};
use super::transports::{self, FileTransport, Transport};
use crate::lookup::Postmaster;

/// Octets of a message at most, unless a listener says otherwise.
pub const MESSAGE_SIZE_DEFAULT: u64 = 100 * 1024 * 1024;
/// The largest limit a listener may set.
pub const MESSAGE_SIZE_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Listeners, name servers, addresses of a listener, certificates of a listener: at most this many of each.
const LIST_MAX: usize = 100;

/// `mox.ron`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Static {
    /// Where mail, queue and generated keys are; relative to the folder of the file.
    pub data_dir: PathBuf,
    /// A folder in which users other than root and the server's own may leave mail; relative to the folder of the file.
    pub sendmail_spool: Option<PathBuf>,
    /// The user the process becomes when it is started as root.
    pub user: String,
    /// The server's name: greetings, EHLO, Received fields, DSNs. In A-labels.
    pub hostname: Domain,
    /// What is logged.
    pub log_level: LogLevel,
    /// Another level for single parts of the program.
    pub log_levels: BTreeMap<String, LogLevel>,
    /// Who listens where.
    pub listeners: BTreeMap<String, Listener>,
    /// Where mail for postmaster goes, and for the addresses that have none of their own.
    pub postmaster: Postmaster,
    /// Name servers; empty when those of the system are asked.
    pub resolvers: Vec<SocketAddr>,
    /// All mail for other domains goes through this server, but where a route says otherwise.
    pub relay: Option<Relay>,
    /// Ways for mail to leave, beside the direct one, by name.
    pub transports: BTreeMap<String, Transport>,
    /// From which addresses mail leaves, and to which it goes first.
    pub outgoing: OutgoingAddresses,
    /// How much is sent at once, and how long it is tried.
    pub queue: QueueSettings,
    /// How many may be connected.
    pub connections: Connections,
    /// How many logins may fail.
    pub failed_logins: Logins,
    /// Whom no limiter concerns, as if they were this machine itself.
    pub unlimited_networks: Vec<Network>,
    /// How long mail of a stranger is held back that nothing speaks against.
    pub first_time_sender_delay: Duration,
    /// How long it is known why mail was taken or not.
    pub decision_records: DecisionRecords,
}

/// How many connections are open at a time; more are refused. Those from this machine itself are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename = "connections", deny_unknown_fields)]
pub struct Connections {
    /// In all.
    #[serde(default = "default_connections")]
    pub total: u32,
    /// From one address; of IPv6 from one network of 64 bits. 0 is no limit.
    #[serde(default = "default_per_address")]
    pub per_address: u32,
    /// Begun within a minute from one address; the same holds.
    #[serde(default = "default_per_minute")]
    pub per_minute: u32,
}

/// How many logins may fail from one address, of all protocols together; of IPv6 from one network of 64 bits. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename = "failed_logins", deny_unknown_fields)]
pub struct Logins {
    /// Within a minute.
    #[serde(default = "default_failed_per_minute")]
    pub per_minute: u32,
    /// Within a day.
    #[serde(default = "default_failed_per_day")]
    pub per_day: u32,
}

/// Failed logins within a minute, unless said otherwise.
pub const FAILED_PER_MINUTE_DEFAULT: u32 = 10;
/// Failed logins within a day, unless said otherwise.
pub const FAILED_PER_DAY_DEFAULT: u32 = 50;

impl Default for Logins {
    fn default() -> Self {
        Self {
            per_minute: FAILED_PER_MINUTE_DEFAULT,
            per_day: FAILED_PER_DAY_DEFAULT,
        }
    }
}

/// Connections in all, unless said otherwise.
pub const CONNECTIONS_DEFAULT: u32 = 10_000;
/// Connections from one address, unless said otherwise.
pub const CONNECTIONS_PER_ADDRESS_DEFAULT: u32 = 200;
/// Connections from one address within a minute, unless said otherwise.
pub const CONNECTIONS_PER_MINUTE_DEFAULT: u32 = 300;
/// The largest limit for connections.
pub const CONNECTIONS_MAX: u32 = 1_000_000;

impl Default for Connections {
    fn default() -> Self {
        Self {
            total: CONNECTIONS_DEFAULT,
            per_address: CONNECTIONS_PER_ADDRESS_DEFAULT,
            per_minute: CONNECTIONS_PER_MINUTE_DEFAULT,
        }
    }
}

/// How much is logged: each level adds to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may.
    Warn,
    /// One line for each transaction.
    #[default]
    Info,
    /// Commands and decisions.
    Debug,
    /// Everything.
    Trace,
}

/// Some addresses of this machine and the services on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Addresses of this machine; `0.0.0.0` and `::` are all.
    pub ips: Vec<IpAddr>,
    /// The name in greetings.
    pub hostname: Domain,
    /// Where certificates come from.
    pub tls: Tls,
    /// Octets of a message at most, for all services here.
    pub max_message_size: u64,
    /// Proxies that say for whom they connect (PROXY protocol, version 2). Where there are any, nobody else may connect.
    pub trusted_proxies: Vec<Network>,
    /// Mail from other servers.
    pub smtp: Option<SmtpPort>,
    /// Mail from our users, with STARTTLS.
    pub submission: Option<StartTlsPort>,
    /// Mail from our users, TLS from the first byte.
    pub submissions: Option<Port>,
    /// Reading mail, with STARTTLS.
    pub imap: Option<StartTlsPort>,
    /// Reading mail, TLS from the first byte.
    pub imaps: Option<Port>,
    /// Lists of addresses in DNS that are asked about strangers who bring mail here.
    pub dnsbls: Vec<mox_dns::Name>,
    /// All sessions here are recorded.
    pub capture: Option<Capture>,
    /// What submission and IMAP offer.
    pub offers: Offers,
}

/// A service without settings of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// TCP port.
    pub port: u16,
}

/// Where mail from other servers comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmtpPort {
    /// TCP port.
    pub port: u16,
    /// Mail is taken after STARTTLS only, but for reports about TLS.
    pub require_starttls: bool,
}

/// A service that begins in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTlsPort {
    /// TCP port.
    pub port: u16,
    /// Passwords are taken without TLS.
    pub no_require_starttls: bool,
}

/// Where the certificates of a listener come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tls {
    /// One is made at the first start and kept in the data directory. Clients warn about it.
    #[default]
    SelfSigned,
    /// PEM files, relative to the folder of the configuration file. Never empty.
    Files(Vec<Certificate>),
    /// No TLS, no STARTTLS.
    Off,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file with the certificate and its intermediates.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// A server that takes all outgoing mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// A name or an IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl LogLevel {
    /// As it is written in files and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// All levels, from quiet to loud.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];
}

impl core::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| {
                format!("{text:?} is no log level; use error, warn, info, debug or trace")
            })
    }
}

impl Listener {
    /// Every service here: its name, its port, and whether TLS begins with the first byte.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, u16, bool)> {
        [
            ("smtp", self.smtp.map(|s| s.port), false),
            ("submission", self.submission.map(|s| s.port), false),
            ("submissions", self.submissions.map(|s| s.port), true),
            ("imap", self.imap.map(|s| s.port), false),
            ("imaps", self.imaps.map(|s| s.port), true),
        ]
        .into_iter()
        .filter_map(|(name, port, implicit)| Some((name, port?, implicit)))
    }
}

/// Lists of addresses of a listener at most.
const DNSBLS_MAX: usize = 10;
/// Seconds that a stranger's message may be held back at most: other servers wait ten minutes for a reply to it (RFC 5321
/// 4.5.3.2.6).
const FIRST_TIME_SENDER_DELAY_MAX: u64 = 300;

/// As it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(rename = "mox.ron", deny_unknown_fields)]
struct File {
    data_dir: PathBuf,
    #[serde(default)]
    sendmail_spool: Option<PathBuf>,
    #[serde(default = "default_user")]
    user: String,
    hostname: String,
    #[serde(default)]
    log_level: LogLevel,
    #[serde(default)]
    log_levels: BTreeMap<String, LogLevel>,
    listeners: BTreeMap<String, FileListener>,
    postmaster: FilePostmaster,
    #[serde(default)]
    resolvers: Vec<String>,
    #[serde(default)]
    relay: Option<String>,
    #[serde(default)]
    transports: BTreeMap<String, FileTransport>,
    #[serde(default)]
    outgoing: FileOutgoing,
    #[serde(default)]
    queue: QueueSettings,
    #[serde(default)]
    connections: Connections,
    #[serde(default)]
    failed_logins: Logins,
    #[serde(default)]
    unlimited_networks: Vec<String>,
    #[serde(default)]
    first_time_sender_delay: u64,
    #[serde(default)]
    decision_records: DecisionRecords,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "listener", deny_unknown_fields)]
struct FileListener {
    ips: Vec<String>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    tls: FileTls,
    #[serde(default = "default_message_size")]
    max_message_size: u64,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default)]
    smtp: Option<FileSmtpPort>,
    #[serde(default)]
    submission: Option<FileStartTlsPort>,
    #[serde(default)]
    submissions: Option<FilePort>,
    #[serde(default)]
    imap: Option<FileStartTlsPort>,
    #[serde(default)]
    imaps: Option<FilePort>,
    #[serde(default)]
    dnsbls: Vec<String>,
    #[serde(default)]
    capture: Option<Capture>,
    #[serde(default)]
    sasl_mechanisms: Option<Vec<String>>,
    #[serde(default)]
    imap_without: Vec<String>,
    #[serde(default)]
    imap_compress: bool,
    #[serde(default)]
    imap_message_limit: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "tls", rename_all = "snake_case")]
enum FileTls {
    #[default]
    SelfSigned,
    Files(Vec<Certificate>),
    Off,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename = "service", deny_unknown_fields)]
struct FilePort {
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename = "service", deny_unknown_fields)]
struct FileSmtpPort {
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    require_starttls: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename = "service", deny_unknown_fields)]
struct FileStartTlsPort {
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    no_require_starttls: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "postmaster", deny_unknown_fields)]
struct FilePostmaster {
    account: String,
    #[serde(default = "default_postmaster_mailbox")]
    mailbox: String,
}

fn default_user() -> String {
    "mox".into()
}

const fn default_connections() -> u32 {
    CONNECTIONS_DEFAULT
}

const fn default_per_address() -> u32 {
    CONNECTIONS_PER_ADDRESS_DEFAULT
}

const fn default_per_minute() -> u32 {
    CONNECTIONS_PER_MINUTE_DEFAULT
}

const fn default_failed_per_minute() -> u32 {
    FAILED_PER_MINUTE_DEFAULT
}

const fn default_failed_per_day() -> u32 {
    FAILED_PER_DAY_DEFAULT
}

const fn default_message_size() -> u64 {
    MESSAGE_SIZE_DEFAULT
}

fn default_postmaster_mailbox() -> String {
    "Postmaster".into()
}

impl Static {
    /// Reads and checks `mox.ron`. `file` is its name for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let (raw, mut check) = check::read::<File>(file, text)?;
        let checked = raw.check(&mut check);
        check.finish(checked)
    }
}

impl File {
    fn check(self, check: &mut Check<'_>) -> Option<Static> {
        if self.data_dir.as_os_str().is_empty() {
            check.problem(
                &[Field("data_dir")],
                "the path is empty",
                "name a directory, like \"data\"",
            );
        }
        let spool = self.sendmail_spool.as_ref();
        if spool.is_some_and(|spool| spool.as_os_str().is_empty()) {
            check.problem(
                &[Field("sendmail_spool")],
                "the path is empty",
                "name a directory, like \"/var/spool/mox\", or remove it",
            );
        }
        if self.user.is_empty() || self.user.contains(|c: char| c == ':' || c.is_whitespace()) {
            check.problem(
                &[Field("user")],
                &format!("{:?} is no user name", self.user),
                "name a user of this system, like \"mox\"",
            );
        }
        let hostname = check.hostname(&[Field("hostname")], &self.hostname);
        for target in self.log_levels.keys() {
            if target.is_empty()
                || !target
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c))
            {
                check.problem_at_key(
                    &[Field("log_levels")],
                    target,
                    &format!("{target:?} is no part of the program"),
                    "use the name that stands in the log lines, like \"mox_node::smtp\"",
                );
            }
        }
        check.account_name(
            &[Field("postmaster"), Field("account")],
            &self.postmaster.account,
        );
        check.mailbox(
            &[Field("postmaster"), Field("mailbox")],
            &self.postmaster.mailbox,
        );
        check.at_most(&[Field("resolvers")], self.resolvers.len(), LIST_MAX);
        let total = self.connections.total;
        if !(1..=CONNECTIONS_MAX).contains(&total) {
            check.problem(
                &[Field("connections"), Field("total")],
                &format!("{total} connections is not between 1 and {CONNECTIONS_MAX}"),
                &format!("{CONNECTIONS_DEFAULT} is usual"),
            );
        }
        if self.first_time_sender_delay > FIRST_TIME_SENDER_DELAY_MAX {
            check.problem(
                &[Field("first_time_sender_delay")],
                &format!("{} seconds are too long", self.first_time_sender_delay),
                &format!("at most {FIRST_TIME_SENDER_DELAY_MAX}; 0 is none"),
            );
        }
        let unlimited_networks = unlimited(check, &self.unlimited_networks);
        self.decision_records.check(check);
        self.queue.check(check);
        let own = self.outgoing.check(check, &[Field("outgoing")]);
        let resolvers = self
            .resolvers
            .iter()
            .enumerate()
            .filter_map(|(n, r)| check.resolver(&[Field("resolvers"), Item(n)], r))
            .collect();
        let relay = self
            .relay
            .as_deref()
            .map(|r| check.relay(&[Field("relay")], r));
        let transports = transports::check_all(check, self.transports, self.relay.is_some());
        check.at_most(&[Field("listeners")], self.listeners.len(), LIST_MAX);
        if self.listeners.is_empty() {
            check.problem(
                &[Field("listeners")],
                "there is no listener, so nobody could connect",
                "add one, like \"public\": (ips: [\"0.0.0.0\", \"::\"], smtp: ())",
            );
        }
        let mut listeners = BTreeMap::new();
        for (name, raw) in self.listeners {
            if let Some(listener) = raw.check(check, &name, hostname.as_ref()) {
                listeners.insert(name, listener);
            }
        }
        check_ports(check, &listeners);
        let outgoing = OutgoingAddresses::default().with(&own).or_of(&listeners);
        Some(Static {
            data_dir: self.data_dir,
            sendmail_spool: self.sendmail_spool,
            user: self.user,
            hostname: hostname?,
            log_level: self.log_level,
            log_levels: self.log_levels,
            listeners,
            postmaster: Postmaster {
                account: self.postmaster.account,
                mailbox: self.postmaster.mailbox,
            },
            resolvers,
            relay: match relay {
                Some(relay) => Some(relay?),
                None => None,
            },
            transports,
            outgoing,
            queue: self.queue,
            connections: self.connections,
            failed_logins: self.failed_logins,
            unlimited_networks,
            first_time_sender_delay: Duration::from_secs(self.first_time_sender_delay),
            decision_records: self.decision_records,
        })
    }
}

impl FileListener {
    fn check(self, check: &mut Check<'_>, name: &str, global: Option<&Domain>) -> Option<Listener> {
        let here = [Field("listeners"), Key(name)];
        let at = |field| [here[0], here[1], Field(field)];
        check.at_most(&at("ips"), self.ips.len(), LIST_MAX);
        if self.ips.is_empty() {
            check.problem(
                &at("ips"),
                "the list is empty",
                "name addresses of this machine, or \"0.0.0.0\" and \"::\" for all",
            );
        }
        let ips = self
            .ips
            .iter()
            .enumerate()
            .filter_map(|(n, ip)| check.ip(&[here[0], here[1], Field("ips"), Item(n)], ip))
            .collect();
        let hostname = match &self.hostname {
            Some(own) => check.hostname(&at("hostname"), own),
            None => global.cloned(),
        };
        if !(1024..=MESSAGE_SIZE_MAX).contains(&self.max_message_size) {
            check.problem(
                &at("max_message_size"),
                &format!(
                    "{} bytes is not between 1024 and {MESSAGE_SIZE_MAX}",
                    self.max_message_size
                ),
                &format!("{MESSAGE_SIZE_DEFAULT} is usual"),
            );
        }
        let tls = match self.tls {
            FileTls::SelfSigned => Tls::SelfSigned,
            FileTls::Off => Tls::Off,
            FileTls::Files(files) => {
                check.at_most(&at("tls"), files.len(), LIST_MAX);
                if files.is_empty() {
                    check.problem(
                        &at("tls"),
                        "the list of files is empty",
                        "write tls: files([(certificate: \"..\", key: \"..\")]), or leave tls out for a self-signed one",
                    );
                }
                Tls::Files(files)
            }
        };
        if let Some((field, problem, remedy)) = self.capture.as_ref().and_then(Capture::problem) {
            let place = [here[0], here[1], Field("capture"), Field(field)];
            check.problem(&place, &problem, &remedy);
        }
        let without = setting("listeners", name, "imap_without");
        offers::check_without(check, without, &self.imap_without);
        let limit = setting("listeners", name, "imap_message_limit");
        offers::check_message_limit(check, limit, self.imap_message_limit);
        let mechanisms = setting("listeners", name, "sasl_mechanisms");
        let mechanisms = offers::mechanisms(check, mechanisms, self.sasl_mechanisms.as_deref());
        check.at_most(&at("dnsbls"), self.dnsbls.len(), DNSBLS_MAX);
        let mut dnsbls = Vec::new();
        for (n, text) in self.dnsbls.iter().enumerate() {
            let path = [here[0], here[1], Field("dnsbls"), Item(n)];
            let zone = check.domain(&path, text);
            dnsbls.extend(zone.and_then(|zone| mox_dns::Name::from_domain(&zone).ok()));
        }
        if !self.dnsbls.is_empty() && self.smtp.is_none() {
            check.problem(
                &at("dnsbls"),
                "lists are asked about mail from other servers, which this listener does not take",
                "add smtp: (), or remove dnsbls",
            );
        }
        let trusted_proxies = trusted_proxies(check, name, &self.trusted_proxies);
        let plain = |s: FilePort, standard| Port {
            port: s.port.unwrap_or(standard),
        };
        let starttls = |s: FileStartTlsPort, standard| StartTlsPort {
            port: s.port.unwrap_or(standard),
            no_require_starttls: s.no_require_starttls,
        };
        let listener = Listener {
            ips,
            hostname: hostname?,
            tls,
            max_message_size: self.max_message_size,
            trusted_proxies,
            smtp: self.smtp.map(|s| SmtpPort {
                port: s.port.unwrap_or(25),
                require_starttls: s.require_starttls,
            }),
            submission: self.submission.map(|s| starttls(s, 587)),
            submissions: self.submissions.map(|s| plain(s, 465)),
            imap: self.imap.map(|s| starttls(s, 143)),
            imaps: self.imaps.map(|s| plain(s, 993)),
            dnsbls,
            capture: self.capture,
            offers: Offers {
                mechanisms,
                imap_without: self.imap_without,
                imap_compress: self.imap_compress,
                imap_message_limit: self.imap_message_limit,
            },
        };
        check_services(check, name, &listener);
        Some(listener)
    }
}

/// Services must exist, have ports, and be able to take passwords.
fn check_services(check: &mut Check<'_>, name: &str, listener: &Listener) {
    let at = |field| [Field("listeners"), Key(name), Field(field)];
    if listener.services().next().is_none() {
        check.problem(
            &[Field("listeners"), Key(name)],
            "it has no service",
            "add one of smtp, submission, submissions, imap, imaps, like smtp: ()",
        );
    }
    for (service, port, implicit) in listener.services() {
        if port == 0 {
            check.problem(&at(service), "port 0 is no port", "use one from 1 to 65535");
        }
        if implicit && listener.tls == Tls::Off {
            check.problem(
                &at(service),
                "it begins with TLS, which is off here",
                "remove tls: off, or this service",
            );
        }
    }
    if listener.tls == Tls::Off && listener.smtp.is_some_and(|s| s.require_starttls) {
        check.problem(
            &at("smtp"),
            "it takes mail after STARTTLS only, and TLS is off here",
            "remove tls: off, or require_starttls",
        );
    }
    for (service, settings) in [("submission", listener.submission), ("imap", listener.imap)] {
        if listener.tls == Tls::Off && settings.is_some_and(|s| !s.no_require_starttls) {
            check.problem(
                &at(service),
                "it takes passwords after STARTTLS only, and TLS is off here",
                "remove tls: off, or add no_require_starttls: true",
            );
        }
    }
}

/// No address and port may be claimed twice.
fn check_ports(check: &mut Check<'_>, listeners: &BTreeMap<String, Listener>) {
    let mut claimed: BTreeMap<(u16, IpAddr), (String, &'static str)> = BTreeMap::new();
    for (name, listener) in listeners {
        for (service, port, _) in listener.services() {
            for ip in &listener.ips {
                let clash = claimed.iter().find(|((p, i), _)| {
                    let same_family = i.is_ipv4() == ip.is_ipv4();
                    let overlaps = i == ip || i.is_unspecified() || ip.is_unspecified();
                    *p == port && same_family && overlaps
                });
                if let Some((_, (other, other_service))) = clash {
                    let what = format!(
                        "{} is taken already by listeners.{other:?}.{other_service}",
                        SocketAddr::new(*ip, port)
                    );
                    check.problem(
                        &[Field("listeners"), Key(name), Field(service)],
                        &what,
                        "give one of them another port or address",
                    );
                } else {
                    claimed.insert((port, *ip), (name.clone(), service));
                }
            }
        }
    }
}
