//! The policy that is fetched over HTTPS: RFC 8461 section 3.2.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use mox_dns::Name;

use crate::fields::{self, Defect, trim};

/// Octets of a policy at most (RFC 8461 3.3 lets us choose).
pub const POLICY_MAX: usize = 64 * 1024;
/// Patterns of hosts of a policy at most.
pub const MX_MAX: usize = 256;
/// Seconds a policy may be kept at most: a year (RFC 8461 3.2).
pub const MAX_AGE_MAX: u32 = 31_557_600;
/// Fields of other kinds that are kept.
const EXTENSIONS_MAX: usize = 64;
/// Defects that are listed.
const DEFECTS_MAX: usize = 64;

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// What is to be done with a host that does not fulfil it.
    pub mode: Mode,
    /// Seconds it may be kept, at most [`MAX_AGE_MAX`].
    pub max_age: u32,
    /// The hosts that may take mail; empty only for [`Mode::None`].
    pub mx: Vec<MxPattern>,
    /// Fields nobody here knows.
    pub extensions: Vec<(String, String)>,
    /// What is not as it should be. None of it keeps the policy from being used.
    pub defects: Vec<Defect>,
}

/// What is to be done with a host that does not fulfil a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// It gets no mail.
    Enforce,
    /// It gets mail, and the failure is reported.
    Testing,
    /// There is no policy any more.
    None,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Enforce, Self::Testing, Self::None];

    /// The mode that policies spell so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// As policies spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A host, or any host directly below a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxPattern {
    is_wildcard: bool,
    name: Name,
}

impl MxPattern {
    /// Parses a host name in A-labels, or `*.` and one.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_wildcard, host) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                // Names in MX records have underscores more often than the RFCs would like.
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        host.split('.').all(is_label).then_some(())?;
        let name = Name::parse(host).ok()?;
        Some(Self { is_wildcard, name })
    }

    /// Whether it covers a host. `*` stands for exactly one label (RFC 8461 4.1).
    pub fn matches(&self, host: &Name) -> bool {
        match self.is_wildcard {
            true => host.parent().is_some_and(|parent| parent == self.name),
            false => *host == self.name,
        }
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.name)
    }
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The field; empty when it is about the whole.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            "" => write!(f, "the policy {}", self.what),
            field => write!(f, "{field} {}", self.what),
        }
    }
}

impl core::error::Error for PolicyError {}

impl StsPolicy {
    /// Parses a policy. Unknown fields that are none are passed over and listed; so is no other fault.
    ///
    /// # Errors
    /// When version, mode or max_age are missing or wrong, when a host is none, and when there is none though the mode needs
    /// some.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let wrong = |field, what| PolicyError { field, what };
        if text.len() > POLICY_MAX {
            return Err(wrong("", "is longer than 64 KiB"));
        }
        let text = core::str::from_utf8(text).map_err(|_| wrong("", "is not UTF-8"))?;
        let mut version = None;
        let mut mode = None;
        let mut max_age = None;
        let mut mx = Vec::new();
        let mut extensions = Vec::new();
        let mut defects = Vec::new();
        for line in text.lines() {
            let line = trim(line);
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = trim(value);
            // RFC 8461 3.2: of fields that stand twice, except mx, the first counts.
            match name {
                "version" if version.is_none() => {
                    version = Some(value);
                    (value == "STSv1")
                        .then_some(())
                        .ok_or_else(|| wrong("version", "is not STSv1"))?;
                }
                "mode" if mode.is_none() => {
                    mode = Some(
                        Mode::named(value)
                            .ok_or_else(|| wrong("mode", "is not enforce, testing or none"))?,
                    );
                }
                "max_age" if max_age.is_none() => {
                    let is_number = (1..=10).contains(&value.len())
                        && value.bytes().all(|b| b.is_ascii_digit());
                    let seconds: Option<u64> = is_number.then(|| value.parse().ok()).flatten();
                    let seconds =
                        seconds.ok_or_else(|| wrong("max_age", "is not a number of seconds"))?;
                    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
                    max_age = Some(seconds.min(MAX_AGE_MAX));
                }
                "mx" => {
                    if mx.len() == MX_MAX {
                        return Err(wrong("mx", "stands too often"));
                    }
                    mx.push(
                        MxPattern::parse(value).ok_or_else(|| wrong("mx", "is not a host name"))?,
                    );
                }
                "version" | "mode" | "max_age" => {}
                _ => match extension(name, value) {
                    Ok(extension) if extensions.len() < EXTENSIONS_MAX => {
                        extensions.push(extension)
                    }
                    Err(what) if defects.len() < DEFECTS_MAX => {
                        defects.push(Defect::new(name, what));
                    }
                    Ok(_) | Err(_) => {}
                },
            }
        }
        let missing = |field| wrong(field, "is missing");
        version.ok_or_else(|| missing("version"))?;
        let mode = mode.ok_or_else(|| missing("mode"))?;
        let max_age = max_age.ok_or_else(|| missing("max_age"))?;
        if mx.is_empty() && mode != Mode::None {
            return Err(missing("mx"));
        }
        Ok(Self {
            mode,
            max_age,
            mx,
            extensions,
            defects,
        })
    }

    /// Whether a host may take the domain's mail.
    pub fn covers(&self, host: &Name) -> bool {
        self.mx.iter().any(|pattern| pattern.matches(host))
    }

    /// Its lines, as TLS reports quote them (RFC 8460 4.4).
    pub fn lines(&self) -> Vec<String> {
        self.to_string().lines().map(ToString::to_string).collect()
    }

    /// Where the policy of a domain is (RFC 8461 3.3): always this path of this host, over HTTPS.
    pub fn url(domain: &Name) -> String {
        format!("https://mta-sts.{domain}/.well-known/mta-sts.txt")
    }
}

/// As it would be served.
impl fmt::Display for StsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "version: STSv1\nmode: {}\nmax_age: {}",
            self.mode, self.max_age
        )?;
        for pattern in &self.mx {
            writeln!(f, "mx: {pattern}")?;
        }
        for (name, value) in &self.extensions {
            writeln!(f, "{name}: {value}")?;
        }
        Ok(())
    }
}

fn extension(name: &str, value: &str) -> Result<(String, String), &'static str> {
    if !fields::is_extension_name(name) {
        return Err("is not the name of a field");
    }
    if value.is_empty() {
        return Err("has no value");
    }
    if value.chars().any(char::is_control) {
        return Err("has a value with characters that may not be in one");
    }
    Ok((name.to_string(), value.to_string()))
}
