//! The ways for mail to leave that `mox.ron` names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use mox_address::Domain;
use mox_machine::Secret;
use mox_sasl::Mechanism;
use serde::Deserialize;

use super::check::Check;
use super::locate::Step::{self, Field, Key};
use super::offers::{self, setting};
use super::sending::{FileOutgoing, OwnAddresses};
use crate::routes::{DIRECT, RELAY, ROUTES};

/// A way for mail to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// All to one server, as its user.
    Smarthost(Smarthost),
    /// To the servers that DNS names, each through a proxy.
    Socks5(Socks5),
    /// Nowhere: the sender is told so at once.
    Fail(Fail),
}

/// A server that takes our mail for everybody (RFC 6409).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smarthost {
    /// A name in A-labels or an IP address; its certificate has to be for this.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmarthostTls,
    /// As whom mail is sent; nobody in particular where it knows us otherwise.
    pub login: Option<Login>,
    /// SASL mechanisms that may be used, best first.
    pub mechanisms: Vec<Mechanism>,
    /// PEM file with the authorities that vouch for it, relative to the folder of the configuration file; the public ones where none
    /// is named.
    pub ca: Option<PathBuf>,
    /// From which addresses it is reached, and at which first, where that is not as for all others.
    pub outgoing: OwnAddresses,
}

/// How a connection to a smarthost is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "tls", rename_all = "snake_case")]
pub enum SmarthostTls {
    /// From the first byte (RFC 8314).
    Implicit,
    /// By STARTTLS, and nothing is sent where that is not offered.
    #[default]
    Starttls,
    /// Not at all: on this machine, or where `in_clear` says that it is meant.
    Off,
}

impl SmarthostTls {
    /// The port where nothing else is said.
    const fn port(self) -> u16 {
        match self {
            Self::Implicit => 465,
            Self::Starttls => 587,
            Self::Off => 25,
        }
    }
}

/// As whom one logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// Their password.
    pub password: Password,
}

/// Where a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// In the configuration itself.
    Said(Secret<String>),
    /// The first line of a file, relative to the folder of the configuration file.
    File(PathBuf),
}

/// A SOCKS5 proxy (RFC 1928).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socks5 {
    /// A name in A-labels or an IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// As whom it is used (RFC 1929).
    pub login: Option<Login>,
    /// From which addresses it is reached, and at which first, where that is not as for all others.
    pub outgoing: OwnAddresses,
}

/// What is said of mail that is not to leave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename = "fail", deny_unknown_fields)]
pub struct Fail {
    /// 500 to 599.
    #[serde(default = "default_code")]
    pub code: u16,
    /// Why.
    pub text: String,
}

/// Transports at most.
const TRANSPORTS_MAX: usize = 100;
/// Octets of the name of one at most.
const NAME_MAX: usize = 40;
/// Octets of a user name or a password at most: what fits into RFC 1929.
const LOGIN_MAX: usize = 255;
/// Octets of what is said of mail that is not to leave, at most.
const TEXT_MAX: usize = 200;

/// A transport as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(rename = "transport", rename_all = "snake_case")]
pub(super) enum FileTransport {
    Smarthost(FileSmarthost),
    Socks5(FileSocks5),
    Fail(Fail),
}

#[derive(Debug, Deserialize)]
#[serde(rename = "smarthost", deny_unknown_fields)]
pub(super) struct FileSmarthost {
    host: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    tls: SmarthostTls,
    #[serde(default)]
    in_clear: bool,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<SaidPassword>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    mechanisms: Option<Vec<String>>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default)]
    outgoing: FileOutgoing,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "socks5", deny_unknown_fields)]
pub(super) struct FileSocks5 {
    host: String,
    #[serde(default = "default_socks_port")]
    port: u16,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<SaidPassword>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    outgoing: FileOutgoing,
}

/// It does not show itself.
#[derive(Debug, Clone)]
struct SaidPassword(Secret<String>);

impl<'de> Deserialize<'de> for SaidPassword {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

const fn default_code() -> u16 {
    550
}

const fn default_socks_port() -> u16 {
    1080
}

/// Checks all transports of a file; with `relay` in it, that is one too.
pub(super) fn check_all(
    check: &mut Check<'_>,
    transports: BTreeMap<String, FileTransport>,
    has_relay: bool,
) -> BTreeMap<String, Transport> {
    check.at_most(&[Field("transports")], transports.len(), TRANSPORTS_MAX);
    let mut checked = BTreeMap::new();
    for (name, raw) in transports {
        check_name(check, &name, has_relay);
        let transport = match raw {
            FileTransport::Smarthost(raw) => raw.check(check, &name).map(Transport::Smarthost),
            FileTransport::Socks5(raw) => raw.check(check, &name).map(Transport::Socks5),
            FileTransport::Fail(fail) => {
                check_fail(check, &name, &fail);
                Some(Transport::Fail(fail))
            }
        };
        if let Some(transport) = transport {
            checked.insert(name, transport);
        }
    }
    checked
}

fn check_name(check: &mut Check<'_>, name: &str, has_relay: bool) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !(1..=NAME_MAX).contains(&name.len()) || !name.chars().all(is_plain) {
        check.problem_at_key(
            &[Field("transports")],
            name,
            &format!("{name:?} cannot be the name of a transport"),
            &format!("use up to {NAME_MAX} letters, digits and . _ -"),
        );
    }
    // A number would be taken for that of a message where both can stand.
    let is_taken = [DIRECT, ROUTES].contains(&name) || (has_relay && name == RELAY);
    if is_taken || name.bytes().all(|b| b.is_ascii_digit()) {
        check.problem_at_key(
            &[Field("transports")],
            name,
            &format!("{name:?} has a meaning of its own"),
            "choose another name",
        );
    }
}

/// The place of a setting of a transport.
const fn at<'a>(name: &'a str, field: &'a str) -> [Step<'a>; 3] {
    setting("transports", name, field)
}

fn check_fail(check: &mut Check<'_>, name: &str, fail: &Fail) {
    if !(500..=599).contains(&fail.code) {
        check.problem(
            &at(name, "code"),
            &format!("{} is no code of a permanent failure", fail.code),
            "use one from 500 to 599",
        );
    }
    let is_one_line = !fail.text.chars().any(char::is_control) && fail.text.len() <= TEXT_MAX;
    if !is_one_line || fail.text.trim().is_empty() {
        check.problem(
            &at(name, "text"),
            "senders could not read this",
            &format!("use 1 to {TEXT_MAX} bytes on one line"),
        );
    }
}

/// A host name or an IP address.
fn check_host(check: &mut Check<'_>, name: &str, host: &str) -> Option<String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(ip.to_string());
    }
    let domain = Domain::parse(host, true).and_then(|domain| domain.to_ascii());
    if domain.is_err() {
        check.problem(
            &at(name, "host"),
            &format!("{host:?} is no host"),
            "write a name like \"smtp.example.org\" or an IP address, and the port as port",
        );
    }
    Some(domain.ok()?.as_str().to_owned())
}

fn check_port(check: &mut Check<'_>, name: &str, port: u16) {
    if port == 0 {
        let path = at(name, "port");
        check.problem(&path, "port 0 is no port", "use one from 1 to 65535");
    }
}

/// It is on this machine.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn check_login(
    check: &mut Check<'_>,
    name: &str,
    user: Option<String>,
    password: Option<SaidPassword>,
    file: Option<PathBuf>,
) -> Option<Login> {
    let is_usable =
        |text: &str| (1..=LOGIN_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if let Some(user) = user.as_ref().filter(|user| !is_usable(user)) {
        check.problem(
            &at(name, "user"),
            &format!("{user:?} cannot be a user name"),
            &format!("use 1 to {LOGIN_MAX} bytes"),
        );
    }
    if password.as_ref().is_some_and(|p| !is_usable(p.0.expose())) {
        check.problem(
            &at(name, "password"),
            "this cannot be a password",
            &format!("use 1 to {LOGIN_MAX} bytes"),
        );
    }
    match (user, password, file) {
        (Some(user), Some(password), None) => Some(Login {
            user,
            password: Password::Said(password.0),
        }),
        (Some(user), None, Some(file)) => Some(Login {
            user,
            password: Password::File(file),
        }),
        (None, None, None) => None,
        (Some(_), Some(_), Some(_)) => {
            check.problem(
                &at(name, "password_file"),
                "there is a password and a file with one",
                "remove one of them",
            );
            None
        }
        (Some(_), None, None) => {
            check.problem(
                &at(name, "user"),
                "there is a user without a password",
                "add password_file: \"name.password\", a file with the password in its first line, or password: \"..\"",
            );
            None
        }
        (None, ..) => {
            check.problem(
                &[Field("transports"), Key(name)],
                "there is a password without a user",
                "add user, or remove the password",
            );
            None
        }
    }
}

impl FileSmarthost {
    fn check(self, check: &mut Check<'_>, name: &str) -> Option<Smarthost> {
        let host = check_host(check, name, &self.host);
        let port = self.port.unwrap_or_else(|| self.tls.port());
        check_port(check, name, port);
        let off = self.tls == SmarthostTls::Off;
        if off && !self.in_clear && !is_loopback(&self.host) {
            check.problem(
                &at(name, "tls"),
                &format!("all mail would cross the network to {} in clear", self.host),
                "write tls: starttls or tls: implicit, or add in_clear: true if that is meant; \
                 the password is then said by SCRAM or CRAM-MD5 only, unless mechanisms names PLAIN or LOGIN",
            );
        }
        if self.in_clear && !off {
            check.problem(
                &at(name, "in_clear"),
                "the connection is encrypted",
                "remove it, or write tls: off",
            );
        }
        if off && self.ca.is_some() {
            check.problem(
                &at(name, "ca"),
                "nothing is encrypted, so no certificate is looked at",
                "remove it, or tls: off",
            );
        }
        let list = self.mechanisms.as_deref();
        let mut mechanisms = offers::mechanisms(check, at(name, "mechanisms"), list);
        if off && list.is_none() && !is_loopback(&self.host) {
            // That mail may be read on the way says nothing of the password.
            mechanisms = vec![
                Mechanism::ScramSha256,
                Mechanism::ScramSha1,
                Mechanism::CramMd5,
            ];
        }
        if off && !mechanisms.is_empty() && mechanisms.iter().all(|m| m.is_bound()) {
            check.problem(
                &at(name, "mechanisms"),
                "these are bound to TLS, and nothing is encrypted",
                "name one without -PLUS, or remove tls: off",
            );
        }
        if list.is_some() && self.user.is_none() {
            check.problem(
                &at(name, "mechanisms"),
                "nobody logs in",
                "add user and password_file, or remove it",
            );
        }
        let login = check_login(check, name, self.user, self.password, self.password_file);
        let outgoing = self.outgoing;
        Some(Smarthost {
            host: host?,
            port,
            tls: self.tls,
            login,
            mechanisms,
            ca: self.ca,
            outgoing: outgoing.check(check, &at(name, "outgoing")),
        })
    }
}

impl FileSocks5 {
    fn check(self, check: &mut Check<'_>, name: &str) -> Option<Socks5> {
        let host = check_host(check, name, &self.host);
        check_port(check, name, self.port);
        let login = check_login(check, name, self.user, self.password, self.password_file);
        let outgoing = self.outgoing;
        Some(Socks5 {
            host: host?,
            port: self.port,
            login,
            outgoing: outgoing.check(check, &at(name, "outgoing")),
        })
    }
}
