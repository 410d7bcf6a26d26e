//! DKIM-Signature header fields: RFC 6376 section 3.5.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::tags;

/// Names in h= at most.
pub const SIGNED_MAX: usize = 512;

/// A signature as its header field states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// a=
    pub algorithm: Algorithm,
    /// b=
    pub signature: Vec<u8>,
    /// bh=
    pub body_hash: Vec<u8>,
    /// c=, first half
    pub header: Canonical,
    /// c=, second half
    pub body: Canonical,
    /// d=, lower case
    pub domain: String,
    /// s=, lower case
    pub selector: String,
    /// h=, as written
    pub signed: Vec<String>,
    /// i=, local part and domain
    pub identity: Option<(Vec<u8>, String)>,
    /// l=, octets of the body that are signed
    pub length: Option<u64>,
    /// t=, seconds since 1970
    pub time: Option<u64>,
    /// x=, seconds since 1970
    pub expiry: Option<u64>,
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// Historic: computed, and never a pass (RFC 8301).
    RsaSha1,
    /// RFC 6376
    RsaSha256,
    /// RFC 8463
    Ed25519Sha256,
}

impl Algorithm {
    /// As in a=.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSha1 => "rsa-sha1",
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// As in h= of a key record.
    pub const fn hash_name(self) -> &'static str {
        match self {
            Self::RsaSha1 => "sha1",
            Self::RsaSha256 | Self::Ed25519Sha256 => "sha256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much a message may change on its way (RFC 6376 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canonical {
    /// Not at all.
    Simple,
    /// In its white space.
    Relaxed,
}

impl Canonical {
    const fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Simple, Self::Relaxed]
            .into_iter()
            .find(|known| text.eq_ignore_ascii_case(known.name()))
    }
}

/// What can be told of a signature that cannot be used, for reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// d=
    pub domain: Option<String>,
    /// s=
    pub selector: Option<String>,
    /// a=
    pub algorithm: Option<String>,
    /// i=
    pub identity: Option<String>,
    /// The first 12 characters of b=
    pub signature: Option<String>,
}

/// Why a field is no signature that could be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It names no signer and holds no signature: nothing is claimed.
    Empty,
    /// RFC 6376 6.1.1
    Malformed(&'static str),
}

impl Claims {
    /// Reads what is there, however wrong the rest is.
    pub fn read(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let mut claims = Self::default();
        for (name, value) in text.split(';').filter_map(|spec| spec.split_once('=')) {
            let dense: String = value
                .chars()
                .filter(|c| !c.is_whitespace() && !c.is_control())
                .take(254)
                .collect();
            let slot = match tags::trim(name) {
                "d" => &mut claims.domain,
                "s" => &mut claims.selector,
                "a" => &mut claims.algorithm,
                "i" => &mut claims.identity,
                "b" => {
                    claims.signature = Some(dense.chars().take(12).collect());
                    continue;
                }
                _ => continue,
            };
            *slot = Some(dense);
        }
        claims
    }
}

impl Signature {
    /// Parses the value of a field.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(value: &[u8]) -> Result<Self, Unusable> {
        use Unusable::Malformed;
        let text = core::str::from_utf8(value).map_err(|_| Malformed("it is not UTF-8"))?;
        let tags = tags::parse(text).map_err(Malformed)?;
        let get = |name: &str| tags::get(&tags, name);
        if !tags.is_empty() && [get("b"), get("d"), get("s")].iter().all(Option::is_none) {
            return Err(Unusable::Empty);
        }
        Self::from_tags(get).map_err(Malformed)
    }

    fn from_tags<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, &'static str> {
        if get("v").ok_or("v= is missing")? != "1" {
            return Err("v= is not 1");
        }
        let algorithm = match get("a").ok_or("a= is missing")? {
            a if a.eq_ignore_ascii_case("rsa-sha1") => Algorithm::RsaSha1,
            a if a.eq_ignore_ascii_case("rsa-sha256") => Algorithm::RsaSha256,
            a if a.eq_ignore_ascii_case("ed25519-sha256") => Algorithm::Ed25519Sha256,
            _ => return Err("a= is not an algorithm"),
        };
        let signature = tags::base64(get("b").ok_or("b= is missing")?).filter(|b| !b.is_empty());
        let body_hash =
            tags::base64(get("bh").ok_or("bh= is missing")?).ok_or("bh= is not base64")?;
        let domain = get("d").ok_or("d= is missing")?;
        if !tags::is_domain(domain, 1) {
            return Err("d= is not a domain");
        }
        let selector = get("s").ok_or("s= is missing")?;
        if !tags::is_domain(selector, 1) {
            return Err("s= is not a selector");
        }
        let (header, body) = match get("c") {
            None => (Canonical::Simple, Canonical::Simple),
            Some(c) => {
                let (header, body) = c.split_once('/').unwrap_or((c, "simple"));
                let pair =
                    Canonical::parse(tags::trim(header)).zip(Canonical::parse(tags::trim(body)));
                pair.ok_or("c= is not a canonicalization")?
            }
        };
        let domain = domain.to_ascii_lowercase();
        let time = optional(get("t"), 12).ok_or("t= is not a time")?;
        let expiry = optional(get("x"), 12).ok_or("x= is not a time")?;
        if time.zip(expiry).is_some_and(|(t, x)| x <= t) {
            return Err("x= is not later than t=");
        }
        if get("q")
            .is_some_and(|q| !tags::colons(q).any(|method| method.eq_ignore_ascii_case("dns/txt")))
        {
            return Err("q= names no method we have");
        }
        Ok(Self {
            algorithm,
            signature: signature.ok_or("b= is not base64")?,
            body_hash,
            header,
            body,
            signed: signed(get("h").ok_or("h= is missing")?)?,
            identity: match get("i") {
                Some(i) => Some(identity(i, &domain)?),
                None => None,
            },
            domain,
            selector: selector.to_ascii_lowercase(),
            length: optional(get("l"), 76).ok_or("l= is not a number")?,
            time,
            expiry,
        })
    }
}

/// `None` for what is there and no number.
fn optional(text: Option<&str>, digits: usize) -> Option<Option<u64>> {
    match text {
        None => Some(None),
        Some(text) => tags::number(text, digits).map(Some),
    }
}

/// h=; the From field must be among them (RFC 6376 5.4).
fn signed(text: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<String> = tags::colons(text)
        .take(SIGNED_MAX + 1)
        .map(ToOwned::to_owned)
        .collect();
    if names.len() > SIGNED_MAX {
        return Err("h= names too many fields");
    }
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b';')
    };
    if !names.iter().all(is_name) {
        return Err("h= is not a list of fields");
    }
    if !names.iter().any(|name| name.eq_ignore_ascii_case("from")) {
        return Err("the From field is not signed");
    }
    Ok(names)
}

/// i=: its domain is d= or below it.
fn identity(text: &str, domain: &str) -> Result<(Vec<u8>, String), &'static str> {
    let (local, of) = text.rsplit_once('@').ok_or("i= is not an address")?;
    let of = tags::trim(of).to_ascii_lowercase();
    let is_below = of
        .strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !is_below || !tags::is_domain(&of, 1) {
        return Err("i= is not within d=");
    }
    let local = tags::unquote(local).ok_or("i= is not quoted-printable")?;
    Ok((local, of))
}

impl From<&Signature> for Claims {
    fn from(signature: &Signature) -> Self {
        use base64::Engine;
        let b = base64::engine::general_purpose::STANDARD.encode(&signature.signature);
        let identity = signature.identity.as_ref();
        Self {
            domain: Some(signature.domain.clone()),
            selector: Some(signature.selector.clone()),
            algorithm: Some(signature.algorithm.to_string()),
            identity: identity.map(|(local, of)| {
                let text = alloc::format!("{}@{of}", String::from_utf8_lossy(local));
                text.chars().filter(|c| !c.is_control()).collect()
            }),
            signature: Some(b.chars().take(12).collect()),
        }
    }
}
