//! What a check came to, and the header field that says so.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::Query;

/// The outcome of a check (RFC 7208 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// There is no name to check, or it has no record.
    None,
    /// The domain says neither yes nor no.
    Neutral,
    /// The host may send for the domain.
    Pass,
    /// The host may not.
    Fail,
    /// The host probably may not.
    SoftFail,
    /// DNS did not tell; it may later.
    TempError,
    /// The domain's records cannot be used.
    PermError,
}

impl Verdict {
    /// As header fields spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose name was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// MAIL FROM
    MailFrom,
    /// HELO or EHLO, since the reverse-path was null.
    Helo,
}

impl Identity {
    /// As header fields spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MailFrom => "mailfrom",
            Self::Helo => "helo",
        }
    }
}

/// The outcome of a check and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The outcome.
    pub verdict: Verdict,
    /// Whose name was checked.
    pub identity: Identity,
    /// The domain that was checked, as typed; empty when there was none.
    pub domain: String,
    /// The address that was checked: `postmaster@` the HELO name for a null reverse-path.
    pub sender: String,
    /// The directive that decided, as written; `default` when none matched.
    pub mechanism: Option<String>,
    /// What is wrong, for none, temperror and permerror.
    pub problem: Option<String>,
    /// What the domain says about a fail: printable ASCII. Somebody else wrote it.
    pub explanation: Option<String>,
    /// The records that were read, in order, each with what it came to.
    pub visits: Vec<Visit>,
    /// Terms that counted against the limit of lookups.
    pub lookups: u32,
    /// Lookups among them that found nothing.
    pub voids: u32,
    /// Seconds for which the verdict holds: the smallest TTL of its facts.
    pub ttl: u32,
    /// All facts were vouched for by DNSSEC.
    pub authentic: bool,
}

/// One record that was evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Whose record.
    pub domain: String,
    /// The term that led there: `include:..` or `redirect=..`; `None` for the first.
    pub through: Option<String>,
    /// The record; `None` when there was none that could be read.
    pub record: Option<String>,
    /// The directive that matched.
    pub matched: Option<String>,
    /// What the record came to.
    pub verdict: Verdict,
}

/// Octets of a quoted value in a Received-SPF field at most.
const VALUE_MAX: usize = 300;

impl Report {
    /// The Received-SPF field of RFC 7208 9.1 with its name and without a line end, folded.
    pub fn received_spf(&self, query: &Query<'_>) -> String {
        let mut field = String::with_capacity(256);
        let written = self.write_field(query, &mut field);
        debug_assert!(written.is_ok(), "a string takes everything");
        field
    }

    fn write_field(&self, query: &Query<'_>, out: &mut String) -> fmt::Result {
        write!(out, "Received-SPF: {} (", self.verdict)?;
        let ip = query.ip.to_canonical();
        match (self.domain.as_str(), self.verdict) {
            ("", _) => out.write_str("no domain to check")?,
            (domain, Verdict::Pass) => {
                comment(out, domain)?;
                write!(out, " says that {ip} may send for it")?;
            }
            (domain, Verdict::Fail | Verdict::SoftFail) => {
                comment(out, domain)?;
                write!(out, " does not name {ip} as a sender")?;
            }
            (domain, _) => {
                write!(out, "checked ")?;
                comment(out, domain)?;
            }
        }
        if self.identity == Identity::Helo && !self.domain.is_empty() {
            out.write_str(", the name in HELO")?;
        }
        write!(out, ")\r\n\tclient-ip={ip};")?;
        key(out, "envelope-from", &self.sender)?;
        key(out, "helo", &String::from_utf8_lossy(query.helo))?;
        if let Some(problem) = &self.problem {
            key(out, "problem", problem)?;
        }
        if let Some(mechanism) = &self.mechanism {
            key(out, "mechanism", mechanism)?;
        }
        key(out, "receiver", &String::from_utf8_lossy(query.receiver))?;
        write!(out, "\r\n\tidentity={}", self.identity.name())
    }
}

/// What of a text is written: at most [`VALUE_MAX`] octets, whole characters.
fn start(text: &str) -> &str {
    text.get(..text.floor_char_boundary(VALUE_MAX))
        .unwrap_or_default()
}

/// A text inside of a comment, where nothing of it may end the comment or the line.
fn comment(out: &mut String, text: &str) -> fmt::Result {
    start(text)
        .chars()
        .filter(|c| !c.is_control() && !['(', ')', '\\'].contains(c))
        .try_for_each(|c| out.write_char(c))
}

/// A value that is no dot-atom stands in quotes (RFC 7208 9.1).
fn key(out: &mut String, name: &str, value: &str) -> fmt::Result {
    write!(out, "\r\n\t{name}=")?;
    let is_atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    if !value.is_empty()
        && value.len() <= VALUE_MAX
        && value
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(is_atom))
    {
        return write!(out, "{value};");
    }
    out.write_char('"')?;
    for c in start(value).chars().filter(|c| !c.is_control()) {
        if ['"', '\\'].contains(&c) {
            out.write_char('\\')?;
        }
        out.write_char(c)?;
    }
    out.write_str("\";")
}
