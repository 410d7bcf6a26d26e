//! Reading a file's text, and the checks both files share. All problems are collected, not the first only.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use mox_address::Domain;
use mox_mailbox::{Stop, mailbox_name};
use ron::Options;
use ron::error::{Error, SpannedError};
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;

use super::locate::{Located, Step, written};
use super::problem::{Problem, Problems};
use super::static_file::Relay;

/// Octets of a configuration file at most.
const FILE_MAX: usize = 16 * 1024 * 1024;
/// Problems reported at most: whoever has more reads these first.
const PROBLEMS_MAX: usize = 100;
/// Characters of a value quoted in a message.
const VALUE_SHOWN: usize = 60;

/// Problems while they are collected.
#[derive(Debug)]
pub(super) struct Check<'a> {
    file: &'a str,
    located: Located<'a>,
    problems: Vec<Problem>,
}

/// RON as people write it: `Some(..)` and the parentheses around single values may be left out.
pub(super) fn options() -> Options {
    Options::default().with_default_extension(
        Extensions::IMPLICIT_SOME
            | Extensions::UNWRAP_NEWTYPES
            | Extensions::UNWRAP_VARIANT_NEWTYPES,
    )
}

/// Reads a file's text as far as types go. Keys that stand twice are the first thing to be checked.
pub(super) fn read<'a, T: DeserializeOwned>(
    file: &'a str,
    text: &'a str,
) -> Result<(T, Check<'a>), Problems> {
    if text.len() > FILE_MAX {
        return Err(Problems {
            file: file.into(),
            all: vec![Problem {
                line: 1,
                column: 1,
                setting: String::new(),
                what: format!("the file has {} bytes", text.len()),
                remedy: format!("at most {FILE_MAX} are read"),
            }],
        });
    }
    let mut check = Check::of(file, text);
    for (setting, offset) in check.located.duplicate_keys() {
        check.push(
            offset,
            setting,
            "this name stands here twice".into(),
            "remove one of them".into(),
        );
    }
    match options().from_str(text) {
        Ok(value) => Ok((value, check)),
        Err(error) => {
            check.syntax(&error);
            Err(check.problems())
        }
    }
}

/// Names become names of things on disk.
pub(crate) fn is_account_name(name: &str) -> bool {
    let start = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 64
        && name.starts_with(start)
        && name.chars().all(|c| start(c) || "._@-".contains(c))
}

impl<'a> Check<'a> {
    /// Nothing is known to be wrong.
    pub(super) fn of(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            located: Located::new(text),
            problems: Vec::new(),
        }
    }
}

impl Check<'_> {
    /// The keys of a map.
    pub(super) fn keys(&self, map: &[Step<'_>]) -> Vec<String> {
        self.located.keys(map)
    }

    /// The value, or all problems when there are any.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems()),
        }
    }

    /// Notes what is wrong with a setting.
    pub(super) fn problem(&mut self, path: &[Step<'_>], what: &str, remedy: &str) {
        let offset = self.located.offset(path);
        self.push(offset, written(path), what.into(), remedy.into());
    }

    /// Notes what is wrong with a key of a map.
    pub(super) fn problem_at_key(&mut self, map: &[Step<'_>], key: &str, what: &str, remedy: &str) {
        let offset = self.located.key_offset(map, key);
        let mut path = map.to_vec();
        path.push(Step::Key(key));
        self.push(offset, written(&path), what.into(), remedy.into());
    }

    /// Notes a list that is too long.
    pub(super) fn at_most(&mut self, path: &[Step<'_>], count: usize, max: usize) {
        if count > max {
            self.problem(
                path,
                &format!("{count} entries are too many"),
                &format!("at most {max} fit"),
            );
        }
    }

    /// A domain name, in A-labels.
    pub(super) fn domain(&mut self, path: &[Step<'_>], text: &str) -> Option<Domain> {
        match Domain::parse(text, true).and_then(|d| d.to_ascii()) {
            Ok(domain) => Some(domain),
            Err(e) => {
                self.problem(path, &format!("{text:?} is no domain name"), &e.to_string());
                None
            }
        }
    }

    /// A domain name that is a key.
    pub(super) fn domain_key(&mut self, map: &[Step<'_>], key: &str) -> Option<Domain> {
        match Domain::parse(key, true).and_then(|d| d.to_ascii()) {
            Ok(domain) => Some(domain),
            Err(e) => {
                self.problem_at_key(
                    map,
                    key,
                    &format!("{key:?} is no domain name"),
                    &e.to_string(),
                );
                None
            }
        }
    }

    /// A host name: a domain name of two labels at least, so that other servers can look it up.
    pub(super) fn hostname(&mut self, path: &[Step<'_>], text: &str) -> Option<Domain> {
        let domain = self.domain(path, text)?;
        if !domain.as_str().contains('.') && domain.as_str() != "localhost" {
            self.problem(
                path,
                &format!("{text:?} is no full host name"),
                "write the whole name, like \"mail.example.org\"",
            );
        }
        Some(domain)
    }

    /// An address of this machine.
    pub(super) fn ip(&mut self, path: &[Step<'_>], text: &str) -> Option<IpAddr> {
        let ip = text.parse().ok();
        if ip.is_none() {
            self.problem(
                path,
                &format!("{text:?} is no IP address"),
                "write one like \"192.0.2.1\" or \"2001:db8::1\", without port or brackets",
            );
        }
        ip
    }

    /// A name server: an address, with port 53 unless one is given.
    pub(super) fn resolver(&mut self, path: &[Step<'_>], text: &str) -> Option<SocketAddr> {
        let parsed = text
            .parse::<SocketAddr>()
            .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
            .ok()
            .filter(|a| a.port() != 0 && !a.ip().is_unspecified());
        if parsed.is_none() {
            self.problem(
                path,
                &format!("{text:?} is no address of a name server"),
                "write one like \"127.0.0.1\" or \"[::1]:5353\"",
            );
        }
        parsed
    }

    /// `host`, `host:port` or `[ipv6]:port`, port 25 unless one is given.
    pub(super) fn relay(&mut self, path: &[Step<'_>], text: &str) -> Option<Relay> {
        let relay = parse_relay(text);
        if relay.is_none() {
            self.problem(
                path,
                &format!("{text:?} is no host and port"),
                "write \"smtp.example.org:25\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"",
            );
        }
        relay
    }

    /// A mailbox name.
    pub(super) fn mailbox(&mut self, path: &[Step<'_>], name: &str) {
        if let Err(Stop::BadMailboxName(why)) = mailbox_name(name) {
            self.problem(
                path,
                &format!("{name:?} cannot be the name of a mailbox: {why}"),
                "use letters, digits and spaces, with / between levels",
            );
        }
    }

    /// An account that is named as a value.
    pub(super) fn account_name(&mut self, path: &[Step<'_>], name: &str) {
        if !is_account_name(name) {
            self.problem(
                path,
                &format!("{name:?} cannot be the name of an account"),
                ACCOUNT_NAME,
            );
        }
    }

    /// An account that is named as a key.
    pub(super) fn account_key(&mut self, map: &[Step<'_>], name: &str) {
        if !is_account_name(name) {
            let what = format!("{name:?} cannot be the name of an account");
            self.problem_at_key(map, name, &what, ACCOUNT_NAME);
        }
    }

    fn push(&mut self, offset: usize, setting: String, what: String, remedy: String) {
        if self.problems.len() < PROBLEMS_MAX {
            let (line, column) = self.located.position(offset);
            self.problems.push(Problem {
                line,
                column,
                setting,
                what,
                remedy,
            });
        }
    }

    /// All that is wrong.
    pub(super) fn problems(mut self) -> Problems {
        self.problems.sort();
        Problems {
            file: self.file.into(),
            all: self.problems,
        }
    }

    /// The one thing that RON itself found wrong: of syntax, of a name, or of a type.
    fn syntax(&mut self, error: &SpannedError) {
        let start = self
            .located
            .offset_of(error.span.start.line, error.span.start.col);
        let rest = self.located.text().get(start..).unwrap_or_default();
        let reported = start + (rest.len() - rest.trim_start().len());
        // RON reports a place in or just before a bad value; the value is what people look for.
        let (setting, range) = self.located.around(reported);
        let name = match &error.code {
            Error::NoSuchStructField { found, .. } => Some(found.as_str()),
            Error::DuplicateStructField { field, .. } => Some(*field),
            _ => None,
        };
        let offset = match (name, &error.code, &range) {
            (Some(name), ..) => self.name_before(reported, name),
            (None, Error::MissingStructField { .. }, Some(range)) => range.start,
            (None, Error::InvalidValueForType { .. }, Some(range)) => range.start,
            _ => reported,
        };
        let (what, remedy) = explain(&error.code, self.shown(range).as_deref());
        self.push(offset, setting, what, remedy);
    }

    /// Where the field name stands that was read last before `offset`.
    fn name_before(&self, offset: usize, name: &str) -> usize {
        let end = (offset + name.len()).min(self.located.text().len());
        self.located
            .text()
            .get(..end)
            .and_then(|t| t.rfind(name))
            .unwrap_or(offset)
    }

    /// A value as it stands in the text, cut short.
    fn shown(&self, range: Option<Range<usize>>) -> Option<String> {
        let value = self.located.text().get(range?)?;
        let line = value.lines().next().unwrap_or_default();
        let short: String = line.chars().take(VALUE_SHOWN).collect();
        Some(if short.len() < value.len() {
            format!("{short}...")
        } else {
            short
        })
    }
}

const ACCOUNT_NAME: &str =
    "use up to 64 of a-z, 0-9 and . _ @ -, beginning with a letter or a digit";

fn explain(error: &Error, value: Option<&str>) -> (String, String) {
    match error {
        Error::NoSuchStructField {
            expected, found, ..
        } => (
            format!("there is no setting {found:?} here"),
            format!(
                "correct the spelling or remove it; known here: {}",
                expected.join(", ")
            ),
        ),
        Error::NoSuchEnumVariant {
            expected, found, ..
        } => (
            format!("{found:?} is none of the choices"),
            format!("use one of: {}", expected.join(", ")),
        ),
        Error::MissingStructField { field, .. } => {
            (format!("the setting {field:?} is missing"), "add it".into())
        }
        Error::DuplicateStructField { field, .. } => (
            format!("the setting {field:?} stands here twice"),
            "remove one of them".into(),
        ),
        Error::InvalidValueForType { expected, found } => (
            format!(
                "{} is of the wrong type: {found}",
                value.unwrap_or("the value")
            ),
            format!("write {expected}"),
        ),
        Error::ExpectedString => wrong_type(value, "text in quotes, like \"example\""),
        Error::ExpectedBoolean => wrong_type(value, "true or false"),
        Error::ExpectedInteger | Error::InvalidIntegerDigit { .. } => {
            wrong_type(value, "a whole number")
        }
        Error::IntegerOutOfBounds => wrong_type(value, "a number in range (ports end at 65535)"),
        Error::ExpectedArray => wrong_type(value, "a list, like [\"a\", \"b\"]"),
        Error::ExpectedMap => wrong_type(value, "a map, like {\"name\": (..)}"),
        Error::ExpectedStructLike | Error::ExpectedNamedStructLike(_) => {
            wrong_type(value, "settings in parentheses, like (port: 25)")
        }
        other => (
            format!("this cannot be read: {}", lower_first(&other.to_string())),
            "look here and just before for a missing comma, quote, colon or bracket".into(),
        ),
    }
}

fn wrong_type(value: Option<&str>, expected: &str) -> (String, String) {
    let value = value.filter(|v| !v.is_empty()).unwrap_or("the value");
    (
        format!("{value} is of the wrong type"),
        format!("write {expected}"),
    )
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

fn parse_relay(text: &str) -> Option<Relay> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        let host = address.ip().to_string();
        return (address.port() != 0).then_some(Relay {
            host,
            port: address.port(),
        });
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Relay {
            host: ip.to_string(),
            port: 25,
        });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|p| *p != 0)?),
        None => (text, 25),
    };
    let host = Domain::parse(host, true).and_then(|d| d.to_ascii()).ok()?;
    Some(Relay {
        host: host.as_str().to_owned(),
        port,
    })
}
