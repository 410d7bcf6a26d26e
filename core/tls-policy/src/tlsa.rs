//! TLSA records: RFC 6698 section 2, as RFC 7672 section 3.1 uses them for SMTP.

use bytes::Bytes;
use core::fmt;
use mox_dns::Record;
use sha2::{Digest, Sha256, Sha512};

/// A TLSA record that can be used for SMTP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tlsa {
    /// Whose certificate it is about.
    pub usage: Usage,
    /// What of it is compared.
    pub selector: Selector,
    /// How.
    pub matching: Matching,
    /// What it is compared with.
    pub data: Bytes,
}

/// Whose certificate a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// DANE-TA(2): one that the server's is signed by; the server's name is checked.
    TrustAnchor,
    /// DANE-EE(3): the server's own; neither its name nor its dates matter (RFC 7672 3.1.1).
    EndEntity,
}

/// What of a certificate is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Cert(0): all of it.
    Certificate,
    /// SPKI(1): its public key.
    PublicKey,
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matching {
    /// Full(0): as it is.
    Full,
    /// SHA2-256(1)
    Sha256,
    /// SHA2-512(2)
    Sha512,
}

/// Why a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// PKIX-TA(0) and PKIX-EE(1) are not for SMTP (RFC 7672 3.1.3).
    Pkix,
    /// A certificate usage nobody here knows.
    Usage(u8),
    /// A selector nobody here knows.
    Selector(u8),
    /// A matching type nobody here knows.
    Matching(u8),
    /// Data that is no digest of its type, or nothing at all.
    Data,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkix => f.write_str("usages 0 and 1 are not for SMTP"),
            Self::Usage(n) => write!(f, "usage {n} is not known"),
            Self::Selector(n) => write!(f, "selector {n} is not known"),
            Self::Matching(n) => write!(f, "matching type {n} is not known"),
            Self::Data => f.write_str("the data has the wrong length"),
        }
    }
}

impl Tlsa {
    /// From a record of DNS.
    ///
    /// # Errors
    /// When it cannot be used for SMTP; `None` when it is no TLSA record.
    pub fn of(record: &Record) -> Option<Result<Self, Unusable>> {
        match record {
            Record::Tlsa {
                usage,
                selector,
                matching,
                data,
            } => Some(Self::new(*usage, *selector, *matching, data.clone())),
            _ => None,
        }
    }

    /// From its fields.
    ///
    /// # Errors
    /// When it cannot be used for SMTP.
    pub fn new(usage: u8, selector: u8, matching: u8, data: Bytes) -> Result<Self, Unusable> {
        let usage = match usage {
            0 | 1 => return Err(Unusable::Pkix),
            2 => Usage::TrustAnchor,
            3 => Usage::EndEntity,
            _ => return Err(Unusable::Usage(usage)),
        };
        let selector = match selector {
            0 => Selector::Certificate,
            1 => Selector::PublicKey,
            _ => return Err(Unusable::Selector(selector)),
        };
        let (matching, fits) = match matching {
            0 => (Matching::Full, !data.is_empty()),
            1 => (Matching::Sha256, data.len() == 32),
            2 => (Matching::Sha512, data.len() == 64),
            _ => return Err(Unusable::Matching(matching)),
        };
        if !fits {
            return Err(Unusable::Data);
        }
        Ok(Self {
            usage,
            selector,
            matching,
            data,
        })
    }

    /// Whether a certificate is the one it is about.
    pub fn matches(&self, certificate: &super::Certificate<'_>) -> bool {
        let octets = match self.selector {
            Selector::Certificate => certificate.der,
            Selector::PublicKey => certificate.public_key,
        };
        // What could not be read of a certificate matches nothing.
        if octets.is_empty() {
            return false;
        }
        match self.matching {
            Matching::Full => *octets == *self.data,
            Matching::Sha256 => Sha256::digest(octets)[..] == *self.data,
            Matching::Sha512 => Sha512::digest(octets)[..] == *self.data,
        }
    }
}

/// As zone files write it, without the name.
impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = match self.usage {
            Usage::TrustAnchor => 2,
            Usage::EndEntity => 3,
        };
        let selector = match self.selector {
            Selector::Certificate => 0,
            Selector::PublicKey => 1,
        };
        let matching = match self.matching {
            Matching::Full => 0,
            Matching::Sha256 => 1,
            Matching::Sha512 => 2,
        };
        write!(f, "{usage} {selector} {matching} ")?;
        self.data
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
