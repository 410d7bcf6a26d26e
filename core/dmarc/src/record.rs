//! Policy records: RFC 9989 section 4.7 and 4.8, and what RFC 7489 had.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Octets of a record at most; a longer one is not read.
pub const RECORD_MAX: usize = 8 * 1024;
/// Tags of a record at most; those behind them are not read.
const TAGS_MAX: usize = 64;
/// Addresses for reports at most, of one kind.
const URIS_MAX: usize = 16;

/// What a domain publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// p=, for the domain itself; `None` when absent or none of the three.
    pub policy: Option<Policy>,
    /// sp=, for subdomains that exist.
    pub subdomains: Option<Policy>,
    /// np=, for subdomains that do not.
    pub nonexistent: Option<Policy>,
    /// psd=
    pub psd: Psd,
    /// t=y: the policy is to be applied one step milder.
    pub testing: bool,
    /// adkim=
    pub dkim: Alignment,
    /// aspf=
    pub spf: Alignment,
    /// rua=, where aggregate reports go.
    pub aggregate: Vec<ReportUri>,
    /// ruf=, where failure reports go.
    pub failure: Vec<ReportUri>,
    /// fo=, in lower case: which failures are reported.
    pub failure_options: Vec<char>,
    /// pct= of RFC 7489, 0 to 100. Only 0 means anything today: the same as t=y.
    pub percent: Option<u8>,
    /// What is not as it should be. None of it keeps the record from being used.
    pub defects: Vec<Defect>,
}

/// What is to be done with mail that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Nothing is said.
    None,
    /// It is suspicious.
    Quarantine,
    /// It is not from there.
    Reject,
}

/// Whether the domain is one below which others register names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Psd {
    /// It is.
    Yes,
    /// It is not, and it is its own organizational domain.
    No,
    /// Not said.
    Unknown,
}

/// How near the names have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// The same organizational domain.
    Relaxed,
    /// The same domain.
    Strict,
}

/// Where reports go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportUri {
    /// The URI, with its escapes.
    pub uri: String,
    /// Octets that a report may have at most, an obsolete wish.
    pub max: Option<u64>,
}

/// Something wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// The tag.
    pub tag: String,
    /// What is wrong.
    pub what: &'static str,
}

impl Policy {
    /// As records spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| text.eq_ignore_ascii_case(policy.name()))
    }

    /// What is done about it: with t=y (RFC 9989 4.7) one step less.
    #[must_use]
    pub const fn applied(self, testing: bool) -> Self {
        match testing {
            true => self.milder(),
            false => self,
        }
    }

    /// One step milder.
    #[must_use]
    pub const fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Record {
    /// Whether a TXT record says that it is one of this version.
    pub fn is_record(text: &[u8]) -> bool {
        let first = text.split(|octet| *octet == b';').next();
        let Ok(first) = core::str::from_utf8(first.unwrap_or_default()) else {
            return false;
        };
        first.split_once('=').is_some_and(|(name, value)| {
            trim(name).eq_ignore_ascii_case("v") && trim(value) == "DMARC1"
        })
    }

    /// Parses the text of a TXT record. What is wrong behind the version is passed over and listed (RFC 9989 4.8).
    ///
    /// # Errors
    /// When it is no record, or a tag stands twice, which spoils a whole list (RFC 6376 3.2).
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if !Self::is_record(text) {
            return Err("it does not begin with v=DMARC1");
        }
        if text.len() > RECORD_MAX {
            return Err("it is too long");
        }
        // What is not UTF-8 spoils the tag that it is in, like anything else that is wrong.
        let text = String::from_utf8_lossy(text);
        let mut record = Self {
            policy: None,
            subdomains: None,
            nonexistent: None,
            psd: Psd::Unknown,
            testing: false,
            dkim: Alignment::Relaxed,
            spf: Alignment::Relaxed,
            aggregate: Vec::new(),
            failure: Vec::new(),
            failure_options: Vec::from(['0']),
            percent: None,
            defects: Vec::new(),
        };
        let mut seen: Vec<String> = Vec::new();
        for spec in text.split(';').skip(1).take(TAGS_MAX) {
            let spec = trim(spec);
            if spec.is_empty() {
                continue;
            }
            let (name, value) = spec
                .split_once('=')
                .map_or((spec, ""), |(name, value)| (trim(name), trim(value)));
            let name = name.to_ascii_lowercase();
            if seen.contains(&name) {
                return Err("a tag stands twice");
            }
            if let Err(what) = record.tag(&name, value, seen.is_empty()) {
                record.defects.push(Defect {
                    tag: name.clone(),
                    what,
                });
            }
            seen.push(name);
        }
        if record.policy.is_none() && !seen.iter().any(|name| name == "p") {
            record.defects.push(Defect {
                tag: "p".to_string(),
                what: "is missing",
            });
        }
        if record.percent == Some(0) && !seen.iter().any(|name| name == "t") {
            record.testing = true;
        }
        Ok(record)
    }

    /// Whether DMARC is done with it at all, and the policies that hold (RFC 9989 4.10.1): a broken policy counts as none if
    /// reports are wanted, and as no record if not.
    pub fn usable(mut self) -> Option<Self> {
        let is_broken = |defect: &Defect| matches!(defect.tag.as_str(), "sp" | "np");
        if self.policy.is_some() && !self.defects.iter().any(is_broken) {
            return Some(self);
        }
        if self.aggregate.is_empty() {
            return None;
        }
        self.policy = Some(Policy::None);
        self.subdomains = None;
        self.nonexistent = None;
        Some(self)
    }

    fn tag(&mut self, name: &str, value: &str, is_first: bool) -> Result<(), &'static str> {
        const POLICY: &str = "is not none, quarantine or reject";
        let is = |known: &str| value.eq_ignore_ascii_case(known);
        let alignment = || match value {
            "r" | "R" => Ok(Alignment::Relaxed),
            "s" | "S" => Ok(Alignment::Strict),
            _ => Err("is not r or s"),
        };
        match name {
            "p" => {
                self.policy = Some(Policy::parse(value).ok_or(POLICY)?);
                // RFC 7489 6.4; nobody minds today.
                is_first.then_some(()).ok_or("is not directly behind v")?;
            }
            "sp" => self.subdomains = Some(Policy::parse(value).ok_or(POLICY)?),
            "np" => self.nonexistent = Some(Policy::parse(value).ok_or(POLICY)?),
            "psd" if is("y") => self.psd = Psd::Yes,
            "psd" if is("n") => self.psd = Psd::No,
            "psd" if is("u") => self.psd = Psd::Unknown,
            "psd" => return Err("is not y, n or u"),
            "t" if is("y") || is("n") => self.testing = is("y"),
            "t" => return Err("is not y or n"),
            "adkim" => self.dkim = alignment()?,
            "aspf" => self.spf = alignment()?,
            "rua" => self.aggregate = uris(value)?,
            "ruf" => self.failure = uris(value)?,
            "fo" => self.failure_options = options(value)?,
            "pct" => {
                let percent = number(value)
                    .filter(|n| *n <= 100)
                    .ok_or("is not a number up to 100")?;
                self.percent = u8::try_from(percent).ok();
            }
            "ri" => {
                number(value).ok_or("is not a number")?;
            }
            "rf" => {
                let is_keyword = |word: &str| {
                    (1..=32).contains(&word.len())
                        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                        && !word.ends_with('-')
                };
                value
                    .split(':')
                    .all(|word| is_keyword(trim(word)))
                    .then_some(())
                    .ok_or("is not a list of formats")?;
            }
            _ if name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
            {
                return Err("is not a tag");
            }
            _ => {}
        }
        Ok(())
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

fn number(text: &str) -> Option<u64> {
    let is_number =
        !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// fo=: each of the four at most once, not both 0 and 1.
fn options(value: &str) -> Result<Vec<char>, &'static str> {
    const WRONG: &str = "is not of 0, 1, d and s";
    let mut options = Vec::new();
    for option in value.split(':').map(trim) {
        let mut letters = option.chars();
        let letter = letters.next().ok_or(WRONG)?.to_ascii_lowercase();
        if letters.next().is_some() || !"01ds".contains(letter) || options.contains(&letter) {
            return Err(WRONG);
        }
        options.push(letter);
    }
    Ok(options)
}

/// The URIs of a list that are some; an error when none is.
fn uris(value: &str) -> Result<Vec<ReportUri>, &'static str> {
    let uris: Vec<ReportUri> = value
        .split(',')
        .map(trim)
        .filter_map(uri)
        .take(URIS_MAX)
        .collect();
    if uris.is_empty() {
        Err("has no URI")
    } else {
        Ok(uris)
    }
}

/// One URI with its obsolete size limit: a scheme, a colon, and something behind it.
fn uri(text: &str) -> Option<ReportUri> {
    let (uri, max) = match text.split_once('!') {
        None => (text, None),
        Some((uri, limit)) => (uri, Some(size(limit)?)),
    };
    let (scheme, rest) = uri.split_once(':')?;
    let is_scheme = scheme.bytes().enumerate().all(|(n, b)| {
        b.is_ascii_alphabetic() || (n > 0 && (b.is_ascii_digit() || b"+-.".contains(&b)))
    });
    let is_plain = rest.bytes().all(|b| b.is_ascii_graphic());
    if scheme.is_empty() || rest.is_empty() || !is_scheme || !is_plain {
        return None;
    }
    Some(ReportUri {
        uri: uri.to_string(),
        max,
    })
}

fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (text.get(..text.len() - 1)?, 10),
        b'm' => (text.get(..text.len() - 1)?, 20),
        b'g' => (text.get(..text.len() - 1)?, 30),
        b't' => (text.get(..text.len() - 1)?, 40),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

/// As it would be published: defaults left out.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=DMARC1")?;
        for (tag, policy) in [
            ("p", self.policy),
            ("sp", self.subdomains),
            ("np", self.nonexistent),
        ] {
            if let Some(policy) = policy {
                write!(f, "; {tag}={policy}")?;
            }
        }
        match self.psd {
            Psd::Yes => f.write_str("; psd=y")?,
            Psd::No => f.write_str("; psd=n")?,
            Psd::Unknown => {}
        }
        // What pct=0 says without t=.
        match (self.testing, self.percent == Some(0)) {
            (true, false) => f.write_str("; t=y")?,
            (false, true) => f.write_str("; t=n")?,
            (true, true) | (false, false) => {}
        }
        if let Some(percent) = self.percent {
            write!(f, "; pct={percent}")?;
        }
        for (tag, alignment) in [("adkim", self.dkim), ("aspf", self.spf)] {
            if alignment == Alignment::Strict {
                write!(f, "; {tag}=s")?;
            }
        }
        for (tag, uris) in [("rua", &self.aggregate), ("ruf", &self.failure)] {
            for (n, uri) in uris.iter().enumerate() {
                match n {
                    0 => write!(f, "; {tag}={}", uri.uri)?,
                    _ => write!(f, ",{}", uri.uri)?,
                }
                if let Some(max) = uri.max {
                    write!(f, "!{max}")?;
                }
            }
        }
        if self.failure_options != ['0'] {
            f.write_str("; fo=")?;
            for (n, option) in self.failure_options.iter().enumerate() {
                write!(f, "{}{option}", if n > 0 { ":" } else { "" })?;
            }
        }
        Ok(())
    }
}
