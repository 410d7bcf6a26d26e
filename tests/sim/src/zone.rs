//! Zones in files: names, records, and names for which a server fails.

use core::fmt;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Octets of one TXT string.
const STRING: usize = 255;
/// The TTL of records that name none, in seconds.
const TTL: u32 = 300;

/// What name servers know.
///
/// ```
/// let zone = mox_sim::Zone::parse(
///     "example.org.        300 MX    10 mx.example.org.
///      mx.example.org.         A     192.0.2.1          # TTL and class may be left out
///      null.example.           MX    0 .
///      broken.example.         SERVFAIL                 # also TIMEOUT and BOGUS: our own
/// ").unwrap();
/// assert_eq!(zone.names(), ["broken.example.", "example.org.", "mx.example.org.", "null.example."]);
/// assert!(mox_sim::Zone::parse("example.org A 192.0.2.1").unwrap_err().to_string().starts_with("line 1: "));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Zone {
    names: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) trouble: Option<Trouble>,
    pub(crate) records: Vec<ZoneRecord>,
}

/// What happens to every question about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    ServFail,
    /// SERVFAIL that says that validation failed (RFC 8914).
    Bogus,
    /// No answer.
    Timeout,
}

#[derive(Debug, Clone)]
pub(crate) struct ZoneRecord {
    pub(crate) kind: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
    /// Of a CNAME.
    pub(crate) target: Option<String>,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneError {
    line: usize,
    why: String,
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for ZoneError {}

/// RFC 1035 3.2.2 and later.
pub(crate) mod kinds {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const TLSA: u16 = 52;
}

impl Zone {
    /// Reads the presentation format of RFC 1035 5.1, one record a line: absolute names, TTL and class optional, `#` and
    /// `;` begin comments outside of quotes; no `$` lines, no parentheses, and the name on every line.
    ///
    /// # Errors
    /// Names the first line that is none of that.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        let mut zone = Self::default();
        for (at, line) in text.lines().enumerate() {
            let added = words(line).and_then(|words| zone.add(&words));
            added.map_err(|why| ZoneError { line: at + 1, why })?;
        }
        Ok(zone)
    }

    /// Adds what another zone has.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for (name, entry) in other.names {
            let mine = self.names.entry(name).or_default();
            mine.trouble = entry.trouble.or(mine.trouble);
            mine.records.extend(entry.records);
        }
        self
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.names.keys().map(String::as_str).collect()
    }

    /// What is known of a name, in lower case and with its final dot.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.names.get(name)
    }

    /// The name, or one below it, is there.
    pub(crate) fn exists(&self, name: &str) -> bool {
        let below = format!(".{name}");
        let mut names = self.names.keys();
        names.any(|known| known == name || known.ends_with(&below))
    }

    fn add(&mut self, words: &[String]) -> Result<(), String> {
        let Some((name, mut rest)) = words.split_first() else {
            return Ok(());
        };
        encode(name)?;
        let mut ttl = TTL;
        while let Some((word, more)) = rest.split_first() {
            if let Ok(number) = word.parse() {
                ttl = number;
            } else if word != "IN" {
                break;
            }
            rest = more;
        }
        let (kind, values) = rest.split_first().ok_or("there is no type")?;
        let entry = self.names.entry(name.to_ascii_lowercase()).or_default();
        entry.trouble = match kind.as_str() {
            "SERVFAIL" => Some(Trouble::ServFail),
            "BOGUS" => Some(Trouble::Bogus),
            "TIMEOUT" => Some(Trouble::Timeout),
            _ => {
                let (kind, data) = data(kind, values)?;
                let target = (kind == kinds::CNAME)
                    .then(|| values.first().map(|target| target.to_ascii_lowercase()));
                entry.records.push(ZoneRecord {
                    kind,
                    ttl,
                    data,
                    target: target.flatten(),
                });
                entry.trouble
            }
        };
        Ok(())
    }
}

/// The wire form of an absolute name.
pub(crate) fn encode(name: &str) -> Result<Vec<u8>, String> {
    let Some(relative) = name.strip_suffix('.') else {
        return Err(format!("{name:?} is not absolute: end it with a dot"));
    };
    let mut wire = Vec::new();
    for label in relative.split('.').filter(|_| !relative.is_empty()) {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..64).contains(n));
        wire.push(length.ok_or_else(|| format!("{name:?} has a label that is empty or too long"))?);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    Ok(wire)
}

fn data(kind: &str, values: &[String]) -> Result<(u16, Vec<u8>), String> {
    let value = |at: usize| {
        let found = values.get(at).map(String::as_str);
        found.ok_or_else(|| format!("{kind} wants more values"))
    };
    let number = |at: usize| {
        let text = value(at)?;
        text.parse::<u32>()
            .map_err(|_| format!("{text:?} is not a number"))
    };
    let octet = |at: usize| u8::try_from(number(at)?).map_err(|_| format!("{kind}: over 255"));
    Ok(match kind {
        "A" => {
            let ip: Ipv4Addr = value(0)?.parse().map_err(|_| "not an IPv4 address")?;
            (kinds::A, ip.octets().to_vec())
        }
        "AAAA" => {
            let ip: Ipv6Addr = value(0)?.parse().map_err(|_| "not an IPv6 address")?;
            (kinds::AAAA, ip.octets().to_vec())
        }
        "MX" => {
            let preference = u16::try_from(number(0)?).map_err(|_| "MX: over 65535")?;
            let mut wire = preference.to_be_bytes().to_vec();
            wire.extend(encode(value(1)?)?);
            (kinds::MX, wire)
        }
        "CNAME" => (kinds::CNAME, encode(value(0)?)?),
        "NS" => (kinds::NS, encode(value(0)?)?),
        "PTR" => (kinds::PTR, encode(value(0)?)?),
        "TXT" => {
            value(0)?;
            let mut wire = Vec::new();
            for string in values
                .iter()
                .flat_map(|value| value.as_bytes().chunks(STRING))
            {
                wire.push(u8::try_from(string.len()).map_err(|_| "TXT: over 255")?);
                wire.extend_from_slice(string);
            }
            (kinds::TXT, wire)
        }
        "TLSA" => {
            let mut wire = vec![octet(0)?, octet(1)?, octet(2)?];
            let hex = value(3)?.as_bytes().chunks(2).map(|two| {
                let two = core::str::from_utf8(two).unwrap_or_default();
                u8::from_str_radix(two, 16).map_err(|_| format!("{two:?} is not hexadecimal"))
            });
            for byte in hex {
                wire.push(byte?);
            }
            (kinds::TLSA, wire)
        }
        "SOA" => {
            let mut wire = encode(value(0)?)?;
            wire.extend(encode(value(1)?)?);
            for at in 2..7 {
                wire.extend(number(at)?.to_be_bytes());
            }
            (kinds::SOA, wire)
        }
        other => return Err(format!("{other:?} is not a type that is known here")),
    })
}

/// The words of a line, quoted ones whole; nothing of its comment.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => {
                let escaped = letters.next().ok_or("the line ends in a backslash")?;
                word.get_or_insert_default().push(escaped);
            }
            '#' | ';' if !quoted => break,
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}
