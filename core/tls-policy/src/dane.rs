//! DANE for SMTP: RFC 7672. Which TLSA records hold for a host, and whether a peer is the one they are about.

use alloc::vec::Vec;
use mox_dns::{Facts, Failure, MailHost, Missing, Name, Question, RecordType};

use crate::FailureType;
use crate::tlsa::{Tlsa, Unusable, Usage};

/// TLSA records of a host that are looked at, the first ones in order of their octets.
pub const TLSA_MAX: usize = 32;

/// What DANE says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// DNSSEC does not vouch for the host's addresses or the way to it, so that DANE has nothing to say (RFC 7672 2.2).
    NotAuthentic,
    /// The host has no TLSA records, or none that DNSSEC vouches for.
    None,
    /// It has.
    Records {
        /// The name whose records they are: the TLSA base domain.
        base: Name,
        /// Those that can be used; empty when none can, which still demands TLS (RFC 7672 2.2).
        usable: Vec<Tlsa>,
        /// What is wrong with each of the others.
        unusable: Vec<Unusable>,
    },
    /// DNS did not tell whether there are some: the host must not be used now (RFC 7672 2.1.2).
    Unknown(Failure),
}

/// Looks up the TLSA records of a host, on a port. The host's addresses, and the MX records that led to it, were looked up
/// before: [`MailHost::authentic`] says whether DNSSEC vouches for them, and no TLSA records are asked for where it vouches
/// for nothing, since the name servers of such domains often do not answer at all.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn dane_lookup(facts: &Facts, host: &MailHost, port: u16) -> Result<Dane, Missing> {
    // RFC 7672 2.2.2: where CNAMEs lead comes first, then the name itself.
    let bases: &[&Name] = match host.canonical == host.name {
        _ if !host.authentic => match insecure_alias(facts, host)? {
            Ok(()) => &[&host.name],
            Err(dane) => return Ok(dane),
        },
        true => &[&host.name],
        false => &[&host.canonical, &host.name],
    };
    for base in bases.iter().copied() {
        let Some(question) = question(base, port) else {
            continue;
        };
        let answer = facts.need(&question)?;
        match answer.why() {
            Some(failure) if failure.is_temporary() => return Ok(Dane::Unknown(failure)),
            Some(_) => continue,
            None if !answer.authentic => continue,
            None => {}
        }
        let mut records: Vec<&mox_dns::Record> = answer.all().iter().collect();
        records.sort_unstable();
        let mut usable = Vec::new();
        let mut unusable = Vec::new();
        for record in records.into_iter().filter_map(Tlsa::of) {
            match record {
                Ok(record) if usable.len() < TLSA_MAX => usable.push(record),
                Err(why) if unusable.len() < TLSA_MAX => unusable.push(why),
                // However many there are of one kind, they hide none of the other.
                _ => {}
            }
        }
        if usable.is_empty() && unusable.is_empty() {
            continue;
        }
        return Ok(Dane::Records {
            base: base.clone(),
            usable,
            unusable,
        });
    }
    Ok(Dane::None)
}

/// Whether a host whose addresses nothing vouches for is an alias that DNSSEC does vouch for: TLSA records may stand at the
/// alias then (RFC 7672 2.2.2, "insecure CNAME").
fn insecure_alias(facts: &Facts, host: &MailHost) -> Result<Result<(), Dane>, Missing> {
    if !host.mx_authentic || host.canonical == host.name {
        return Ok(Err(Dane::NotAuthentic));
    }
    let alias = facts.need(&Question::of(host.name.clone(), RecordType::Cname))?;
    Ok(match alias.why() {
        Some(failure) if failure.is_temporary() => Err(Dane::Unknown(failure)),
        None if alias.authentic => Ok(()),
        _ => Err(Dane::NotAuthentic),
    })
}

/// `_25._tcp.` and the name (RFC 6698 3).
fn question(base: &Name, port: u16) -> Option<Question> {
    let name = base
        .child("_tcp")
        .and_then(|tcp| tcp.child(alloc::format!("_{port}")));
    Some(Question::of(name.ok()?, RecordType::Tlsa))
}

/// A certificate that a peer presented, as it came and taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// All of it, in DER.
    pub der: &'a [u8],
    /// Its SubjectPublicKeyInfo, in DER; empty when it could not be read.
    pub public_key: &'a [u8],
}

/// What is known of a peer after the handshake. Signatures were checked and dates compared by who has the cryptography.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer<'a> {
    /// The certificates it presented, its own first.
    pub chain: &'a [Certificate<'a>],
    /// How many of them, from its own on, hang together: each is within its dates, and each but the last was signed by the
    /// next, which may sign. 1 when only its own is within its dates; 0 when not even that.
    pub linked: usize,
    /// The DNS names its own certificate is for, as they stand there.
    pub names: &'a [&'a [u8]],
    /// What the public certificate authorities say: whether its own certificate is one of theirs for the host that was
    /// connected to.
    pub webpki: Result<(), WebPkiProblem>,
}

/// Why a certificate is not one that the public authorities vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WebPkiProblem {
    /// It is for other names.
    Name,
    /// It is not valid any more, or not yet.
    Expired,
    /// Nobody known signed it.
    NotTrusted,
    /// Anything else.
    Other,
}

impl Peer<'_> {
    /// Whether one of the records is about this peer. `names` are those a certificate may be for when a record names who
    /// signed it (RFC 7672 3.2.2): the TLSA base domain first.
    ///
    /// # Errors
    /// What a TLS report says about it (RFC 8460 4.3).
    pub fn fulfils(&self, usable: &[Tlsa], names: &[&Name]) -> Result<(), FailureType> {
        let Some(own) = self.chain.first() else {
            return Err(FailureType::ValidationFailure);
        };
        let mut worst = FailureType::ValidationFailure;
        for record in usable {
            match record.usage {
                Usage::EndEntity if record.matches(own) => return Ok(()),
                Usage::EndEntity => {}
                Usage::TrustAnchor => {
                    let Some(place) = self.chain.iter().position(|c| record.matches(c)) else {
                        continue;
                    };
                    if place >= self.linked {
                        // The anchor is there, but what hangs on it is too old or not signed by it.
                        worst = FailureType::CertificateNotTrusted;
                    } else if names.iter().any(|name| self.is_for(name)) {
                        return Ok(());
                    } else {
                        worst = FailureType::CertificateHostMismatch;
                    }
                }
            }
        }
        Err(worst)
    }

    /// Whether its own certificate is for a name. `*` stands for exactly the first label (RFC 7672 3.2.3).
    fn is_for(&self, host: &Name) -> bool {
        self.names.iter().any(|presented| {
            let (is_wildcard, rest) = match presented.strip_prefix(b"*.") {
                Some(rest) => (true, rest),
                None => (false, *presented),
            };
            let Ok(name) = Name::from_labels(rest.split(|b| *b == b'.')) else {
                return false;
            };
            match is_wildcard {
                true => host.parent().is_some_and(|parent| parent == name),
                false => *host == name,
            }
        })
    }
}
