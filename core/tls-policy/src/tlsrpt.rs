//! The TXT record that says where TLS reports go: RFC 8460 section 3.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use mox_dns::{Facts, Missing, Name, Question, RecordType};

use crate::fields::{self, Defect, trim};
use crate::txt::TxtLookup;

const VERSION: &str = "v=TLSRPTv1";
/// Addresses at most; those behind them are not read.
const RUA_MAX: usize = 16;

/// What a domain publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsrptRecord {
    /// rua=, where reports go; at least one.
    pub rua: Vec<Rua>,
    /// Fields nobody here knows.
    pub extensions: Vec<(String, String)>,
    /// What is not as it should be. None of it keeps the record from being used.
    pub defects: Vec<Defect>,
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rua {
    /// By mail: the address of a `mailto:` URI, with its escapes.
    Mail(String),
    /// With POST: an `https:` URI.
    Https(String),
}

impl fmt::Display for Rua {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mail(address) => write!(f, "mailto:{address}"),
            Self::Https(uri) => f.write_str(uri),
        }
    }
}

impl TlsrptRecord {
    /// Whether a TXT record says that it is one.
    pub fn is_record(text: &[u8]) -> bool {
        fields::has_version(text, VERSION)
    }

    /// Parses the text of a TXT record. What is wrong beside the addresses is passed over and listed, and so are addresses
    /// that are none as long as there is another.
    ///
    /// # Errors
    /// When it is no record, or has no address.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let mut record = Self {
            rua: Vec::new(),
            extensions: Vec::new(),
            defects: Vec::new(),
        };
        let mut has_rua = false;
        for (name, value) in fields::fields(text, VERSION)? {
            if name != "rua" {
                match fields::extension(name, value) {
                    Ok(extension) => record.extensions.push(extension),
                    Err(what) => record.defects.push(Defect::new(name, what)),
                }
                continue;
            }
            has_rua = true;
            for uri in value.unwrap_or_default().split(',').map(trim).take(RUA_MAX) {
                match rua(uri) {
                    Ok(rua) if record.rua.len() < RUA_MAX => record.rua.push(rua),
                    Ok(_) => {}
                    Err(what) => record.defects.push(Defect::new(uri, what)),
                }
            }
        }
        match (has_rua, record.rua.is_empty()) {
            (false, _) => Err("it has no rua"),
            (true, true) => Err("its rua has no address that reports can go to"),
            (true, false) => Ok(record),
        }
    }
}

/// As it would be published.
impl fmt::Display for TlsrptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}; rua=")?;
        for (n, rua) in self.rua.iter().enumerate() {
            write!(f, "{}{rua}", if n > 0 { "," } else { "" })?;
        }
        for (name, value) in &self.extensions {
            write!(f, "; {name}={value}")?;
        }
        Ok(())
    }
}

/// RFC 8460 3: mailto or https. `,`, `!` and `;` are escaped in it.
fn rua(uri: &str) -> Result<Rua, &'static str> {
    let (scheme, rest) = uri.split_once(':').ok_or("is not a URI")?;
    if rest.is_empty() || !is_escaped_well(rest) {
        return Err("is not a URI");
    }
    if scheme.eq_ignore_ascii_case("mailto") {
        let address = rest.split('?').next().unwrap_or_default();
        let (local, domain) = address.rsplit_once('@').ok_or("is not an address")?;
        if local.is_empty() || domain.is_empty() {
            return Err("is not an address");
        }
        return Ok(Rua::Mail(address.to_string()));
    }
    if scheme.eq_ignore_ascii_case("https") {
        let authority = rest.strip_prefix("//").ok_or("is not a URI")?;
        if authority.starts_with(['/', '?', '#']) || authority.is_empty() {
            return Err("is not a URI");
        }
        return Ok(Rua::Https(uri.to_string()));
    }
    Err("is neither mailto nor https")
}

/// Characters of a URI (RFC 3986), and behind each `%` two digits of hexadecimal.
fn is_escaped_well(text: &str) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let is_fine = match octet {
            b'%' => [octets.next(), octets.next()]
                .iter()
                .all(|digit| digit.is_some_and(|d| d.is_ascii_hexdigit())),
            b'!' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            _ => octet.is_ascii_graphic(),
        };
        if !is_fine {
            return false;
        }
    }
    true
}

/// What a lookup came to; with a record, reports are wanted.
pub type TlsrptLookup = TxtLookup<TlsrptRecord>;

/// Looks up where a domain wants TLS reports.
///
/// # Errors
/// When the TXT records are not known yet.
pub fn tlsrpt_lookup(facts: &Facts, domain: &Name) -> Result<TlsrptLookup, Missing> {
    let Ok(name) = domain.child("_tls").and_then(|tls| tls.child("_smtp")) else {
        return Ok(TlsrptLookup::None);
    };
    let answer = facts.need(&Question::of(name, RecordType::Txt))?;
    Ok(TlsrptLookup::of(
        answer,
        TlsrptRecord::is_record,
        TlsrptRecord::parse,
    ))
}
