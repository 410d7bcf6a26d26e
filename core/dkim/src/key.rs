//! Key records: RFC 6376 section 3.6.1, RFC 8463.

use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use mox_dns::{Answer, Failure, Name, Question, Record, RecordType};

use crate::{Verdict, tags};

/// What a selector's TXT record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// p= with its type.
    pub key: PublicKey,
    /// h=: SHA-256 may be used.
    pub sha256: bool,
    /// h=: SHA-1 may be used, as far as the record goes.
    pub sha1: bool,
    /// s=: the key is for mail.
    pub for_mail: bool,
    /// s=: the key is for TLS reports (RFC 8460 3).
    pub for_tls_reports: bool,
    /// t=y: the domain is trying DKIM out.
    pub testing: bool,
    /// t=s: i= must have the very domain of d=.
    pub strict: bool,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// p= is empty.
    Revoked,
    /// DER: a SubjectPublicKeyInfo, or a bare RSAPublicKey.
    Rsa(Vec<u8>),
    /// RFC 8463
    Ed25519([u8; 32]),
}

/// Octets of a TXT record at most; a longer one is no key.
const RECORD_MAX: usize = 8 * 1024;

impl KeyRecord {
    /// The record that a signer publishes: for mail, for SHA-256, for the very domain only, as its signatures are.
    pub const fn of_key(key: PublicKey) -> Self {
        Self {
            key,
            sha256: true,
            sha1: false,
            for_mail: true,
            for_tls_reports: true,
            testing: false,
            strict: true,
        }
    }

    /// Where a key is: selector, `_domainkey`, domain (RFC 6376 3.6.2.1). `None` when they make no name.
    pub fn question(selector: &str, domain: &str) -> Option<Question> {
        let labels = selector
            .split('.')
            .chain(["_domainkey"])
            .chain(domain.split('.'));
        let name = Name::from_labels(labels.map(str::as_bytes)).ok()?;
        Some(Question::of(name, RecordType::Txt))
    }

    /// The one key of an answer.
    ///
    /// # Errors
    /// What that makes of a signature, and why (RFC 6376 6.1.2).
    pub fn of(answer: &Answer) -> Result<Self, (Verdict, &'static str)> {
        match answer.why() {
            Some(Failure::NoDomain | Failure::NoData) => {
                return Err((Verdict::PermError, "there is no key"));
            }
            Some(_) => return Err((Verdict::TempError, "DNS did not give the key")),
            None => {}
        }
        let mut found = None;
        let mut problem = "there is no key";
        for record in answer.all() {
            let Record::Txt(text) = record else { continue };
            if text.len() > RECORD_MAX || !Self::is_key(text) {
                continue;
            }
            match Self::parse(text) {
                Ok(_) if found.is_some() => {
                    return Err((Verdict::PermError, "there is more than one key"));
                }
                Ok(key) => found = Some(key),
                Err(_) => problem = "the key record is not one",
            }
        }
        found.ok_or((Verdict::PermError, problem))
    }

    /// Whether a TXT record means to be a key: it says v=DKIM1, or has p= and no other version.
    pub fn is_key(text: &[u8]) -> bool {
        let text = alloc::string::String::from_utf8_lossy(text);
        let mut specs = text.split(';').filter_map(|spec| spec.split_once('='));
        let has = |name: &str| {
            text.split(';').any(|spec| {
                spec.split_once('=')
                    .is_some_and(|(n, _)| tags::trim(n) == name)
            })
        };
        match specs.next().map(|(name, _)| tags::trim(name)) {
            Some("v") => text.to_ascii_lowercase().contains("dkim"),
            Some("h" | "k" | "n" | "p" | "s" | "t" | "g") => has("p"),
            _ => false,
        }
    }

    /// Parses the text of a TXT record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = core::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        let tags = tags::parse(text)?;
        let get = |name: &str| tags::get(&tags, name);
        let first = tags.first().map(|tag| tag.name);
        if get("v").is_some_and(|v| v != "DKIM1" || first != Some("v")) {
            return Err("v= is not DKIM1, or not the first tag");
        }
        let lists = |name: &str, value: &str| {
            get(name).is_none_or(|list| tags::colons(list).any(|v| v.eq_ignore_ascii_case(value)))
        };
        let flag =
            |value: &str| get("t").is_some_and(|list| tags::colons(list).any(|v| v == value));
        let p = tags::base64(get("p").ok_or("p= is missing")?).ok_or("p= is not base64")?;
        let key = match get("k").unwrap_or("rsa") {
            _ if p.is_empty() => PublicKey::Revoked,
            k if k.eq_ignore_ascii_case("rsa") => PublicKey::Rsa(p),
            k if k.eq_ignore_ascii_case("ed25519") => {
                let key = p.try_into().map_err(|_| "an Ed25519 key has 32 octets")?;
                PublicKey::Ed25519(key)
            }
            _ => return Err("k= is not a kind of key"),
        };
        Ok(Self {
            key,
            sha256: lists("h", "sha256"),
            sha1: lists("h", "sha1"),
            for_mail: get("s").is_none() || lists("s", "email") || lists("s", "*"),
            for_tls_reports: get("s").is_none() || lists("s", "tlsrpt") || lists("s", "*"),
            testing: flag("y"),
            strict: flag("s"),
        })
    }
}

/// The record to publish for a key, as one text; longer than 255 octets it is cut into several strings of one record.
impl fmt::Display for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=DKIM1")?;
        match (self.sha1, self.sha256) {
            (true, true) => {}
            (true, false) => f.write_str(";h=sha1")?,
            (false, true) => f.write_str(";h=sha256")?,
            (false, false) => f.write_str(";h=none")?,
        }
        if matches!(self.key, PublicKey::Ed25519(_)) {
            f.write_str(";k=ed25519")?;
        }
        f.write_str(match (self.for_mail, self.for_tls_reports) {
            (true, true) => "",
            (true, false) => ";s=email",
            (false, true) => ";s=tlsrpt",
            (false, false) => ";s=other",
        })?;
        match (self.testing, self.strict) {
            (true, true) => f.write_str(";t=y:s")?,
            (true, false) => f.write_str(";t=y")?,
            (false, true) => f.write_str(";t=s")?,
            (false, false) => {}
        }
        match &self.key {
            PublicKey::Revoked => f.write_str(";p="),
            PublicKey::Rsa(key) => write!(f, ";p={}", STANDARD.encode(key)),
            PublicKey::Ed25519(key) => write!(f, ";p={}", STANDARD.encode(key)),
        }
    }
}

/// The bare RSAPublicKey (RFC 8017 A.1.1) inside of either form, and the bits of its modulus.
pub(crate) fn rsa(der: &[u8]) -> Option<(&[u8], usize)> {
    /// OBJECT IDENTIFIER 1.2.840.113549.1.1.1
    const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (outer, rest) = element(0x30, der)?;
    if !rest.is_empty() {
        return None;
    }
    let key = match element(0x30, outer) {
        Some((algorithm, key)) => {
            let (id, _) = element(0x06, algorithm)?;
            let (bits, rest) = element(0x03, key)?;
            if id != RSA_ENCRYPTION || !rest.is_empty() {
                return None;
            }
            bits.strip_prefix(&[0])?
        }
        None => der,
    };
    let (numbers, rest) = element(0x30, key)?;
    let (modulus, exponent) = element(0x02, numbers)?;
    let (_, end) = element(0x02, exponent)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let zeros = modulus.iter().take_while(|b| **b == 0).count();
    let modulus = modulus.get(zeros..)?;
    let first = modulus.first()?;
    Some((
        key,
        modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?,
    ))
}

/// The content of a DER element of that tag, and what stands behind it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(length)
}
