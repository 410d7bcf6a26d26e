//! Questions, records and answers.

use alloc::sync::Arc;
use bytes::Bytes;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Name, NameError};

/// A type of record, of those that mail asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the registered names")]
pub enum RecordType {
    A,
    Ns,
    Cname,
    Soa,
    Ptr,
    Mx,
    Txt,
    Aaaa,
    Tlsa,
}

impl RecordType {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::A,
        Self::Ns,
        Self::Cname,
        Self::Soa,
        Self::Ptr,
        Self::Mx,
        Self::Txt,
        Self::Aaaa,
        Self::Tlsa,
    ];

    /// As registered with IANA.
    pub const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Cname => 5,
            Self::Soa => 6,
            Self::Ptr => 12,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Tlsa => 52,
        }
    }

    /// As zone files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Ns => "NS",
            Self::Cname => "CNAME",
            Self::Soa => "SOA",
            Self::Ptr => "PTR",
            Self::Mx => "MX",
            Self::Txt => "TXT",
            Self::Aaaa => "AAAA",
            Self::Tlsa => "TLSA",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// A
    A(Ipv4Addr),
    /// AAAA
    Aaaa(Ipv6Addr),
    /// MX
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The host; the root is a null MX (RFC 7505).
        exchange: Name,
    },
    /// TXT, its strings joined without anything between them, as SPF and DKIM want them.
    Txt(Bytes),
    /// CNAME; answers follow it, so it is seen only when asked for.
    Cname(Name),
    /// PTR
    Ptr(Name),
    /// NS
    Ns(Name),
    /// TLSA, RFC 6698 2.1.
    Tlsa {
        /// Certificate usage.
        usage: u8,
        /// Selector.
        selector: u8,
        /// Matching type.
        matching: u8,
        /// Certificate association data.
        data: Bytes,
    },
    /// SOA, as far as it is used.
    Soa {
        /// The primary name server.
        primary: Name,
        /// The zone's version.
        serial: u32,
        /// Seconds to remember what does not exist (RFC 2308).
        minimum: u32,
    },
}

impl Record {
    /// Its type.
    pub const fn kind(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Mx { .. } => RecordType::Mx,
            Self::Txt(_) => RecordType::Txt,
            Self::Cname(_) => RecordType::Cname,
            Self::Ptr(_) => RecordType::Ptr,
            Self::Ns(_) => RecordType::Ns,
            Self::Tlsa { .. } => RecordType::Tlsa,
            Self::Soa { .. } => RecordType::Soa,
        }
    }

    /// The address of an A or AAAA record.
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::A(ip) => Some(IpAddr::V4(*ip)),
            Self::Aaaa(ip) => Some(IpAddr::V6(*ip)),
            _ => None,
        }
    }

    /// Octets it takes, roughly: for limits.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::A(_) | Self::Aaaa(_) => 0,
                Self::Txt(text) => text.len(),
                Self::Tlsa { data, .. } => data.len(),
                Self::Mx { exchange: name, .. }
                | Self::Cname(name)
                | Self::Ptr(name)
                | Self::Ns(name)
                | Self::Soa { primary: name, .. } => name.wire_len(),
            }
    }
}

/// What is asked, in class IN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    name: Name,
    kind: RecordType,
}

impl Question {
    /// From text in presentation format, with or without a final dot. What is no name is an error of the text, and never
    /// becomes a question.
    pub fn new(name: impl AsRef<[u8]>, kind: RecordType) -> Result<Self, NameError> {
        Name::parse(name).map(|name| Self { name, kind })
    }

    /// From a name.
    pub const fn of(name: Name, kind: RecordType) -> Self {
        Self { name, kind }
    }

    /// The name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The type.
    pub const fn kind(&self) -> RecordType {
        self.kind
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// Why there are no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The name does not exist (NXDOMAIN).
    NoDomain,
    /// The name exists, but has no records of this type (NODATA).
    NoData,
    /// Nobody answered in time, or a limit on questions was reached.
    Timeout,
    /// The name servers could not answer (SERVFAIL, REFUSED and the like).
    ServFail,
    /// The answer's signatures are wrong (DNSSEC bogus).
    Bogus,
}

impl Failure {
    /// Asking again later may help; the other failures are firm answers.
    pub const fn is_temporary(self) -> bool {
        match self {
            Self::NoDomain | Self::NoData => false,
            Self::Timeout | Self::ServFail | Self::Bogus => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDomain => "the name does not exist",
            Self::NoData => "the name has no such record",
            Self::Timeout => "no name server answered in time",
            Self::ServFail => "the name servers could not answer",
            Self::Bogus => "the answer failed DNSSEC validation",
        })
    }
}

/// The answer to a [`Question`]. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Records of the type that was asked for, at least one; or why there are none.
    pub result: Result<Arc<[Record]>, Failure>,
    /// Seconds for which this may be remembered.
    pub ttl: u32,
    /// A validating resolver that we trust vouches for it (AD), its absence included.
    pub authentic: bool,
    /// The name at the end of the CNAME chain, when there was a chain.
    pub canonical: Option<Name>,
}

impl Answer {
    /// An answer with records; without any it is [`Failure::NoData`].
    pub fn records(records: impl Into<Arc<[Record]>>, ttl: u32) -> Self {
        let records: Arc<[Record]> = records.into();
        Self {
            result: if records.is_empty() {
                Err(Failure::NoData)
            } else {
                Ok(records)
            },
            ttl,
            authentic: false,
            canonical: None,
        }
    }

    /// An answer without records.
    pub const fn failure(failure: Failure, ttl: u32) -> Self {
        Self {
            result: Err(failure),
            ttl,
            authentic: false,
            canonical: None,
        }
    }

    /// The same answer, vouched for.
    #[must_use]
    pub fn authentic(mut self) -> Self {
        self.authentic = true;
        self
    }

    /// The records, none when it failed.
    pub fn all(&self) -> &[Record] {
        self.result.as_deref().unwrap_or_default()
    }

    /// Why it failed.
    pub fn why(&self) -> Option<Failure> {
        self.result.as_ref().err().copied()
    }

    /// The addresses of A and AAAA records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.all().iter().filter_map(Record::address)
    }

    /// Octets it takes, roughly: for limits.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.all().iter().map(Record::weight).sum::<usize>()
            + self.canonical.as_ref().map_or(0, Name::wire_len)
    }
}
