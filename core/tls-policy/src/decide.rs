//! What is demanded of one host for one message, and whether it is fulfilled.

use alloc::vec::Vec;
use core::fmt;
use mox_dns::Name;

use crate::{Dane, FailureType, Mode, Peer, PolicyType, StsPolicy, WebPkiProblem};

/// One host that a domain's mail may go to, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop<'a> {
    /// The recipients' domain: policies are the domain's that was written, not of where CNAMEs lead.
    pub domain: &'a Name,
    /// The host, as the MX record has it.
    pub host: &'a Name,
    /// The domain's MTA-STS policy that holds.
    pub sts: Option<&'a StsPolicy>,
    /// What DANE says of the host.
    pub dane: &'a Dane,
    /// DNSSEC vouches for the MX records that lead to the host ([`mox_dns::MailHost::mx_authentic`]).
    pub vouched_for: bool,
    /// Where CNAMEs of the domain lead ([`mox_dns::MailHost::next_hop`]).
    pub expanded: &'a Name,
}

/// What the message itself demands (RFC 8689).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Demand {
    /// Nothing.
    None,
    /// REQUIRETLS: it travels through proven TLS only.
    RequireTls,
    /// `TLS-Required: No`: it should arrive, whatever policies say.
    TlsOptional,
}

/// What is demanded of a host, the mildest first but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// TLS with anybody if it can be had, clear text if not (RFC 7435).
    Opportunistic,
    /// TLS, with anybody.
    Encrypted,
    /// TLS, with a certificate that the public authorities vouch for, for the host's name.
    WebPki,
    /// TLS, with a certificate that a TLSA record is about.
    Dane,
    /// The host must not get the message.
    Never,
}

/// Why a host is treated as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nobody demands anything.
    NoPolicy,
    /// The domain's MTA-STS policy has mode enforce and covers the host.
    StsEnforced,
    /// It has mode enforce and does not cover the host.
    StsExcludes,
    /// It has mode testing: failures are reported only.
    StsTesting,
    /// It has mode testing and does not cover the host.
    StsTestingExcludes,
    /// The host has TLSA records.
    Tlsa,
    /// It has some, and none of them can be used.
    TlsaUnusable,
    /// DNS did not tell whether it has some.
    TlsaUnknown,
    /// The message demands TLS.
    RequireTls,
    /// The message demands TLS, and nothing proves that this is a host of the domain (RFC 8689 4.2.1).
    RequireTlsUnproven,
    /// The message should arrive whatever policies say.
    TlsOptional,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPolicy => "no policy demands more",
            Self::StsEnforced => "the domain's MTA-STS policy is in force",
            Self::StsExcludes => "the domain's MTA-STS policy does not name this host",
            Self::StsTesting => "the domain's MTA-STS policy is being tried out",
            Self::StsTestingExcludes => {
                "the domain's MTA-STS policy is being tried out and does not name this host"
            }
            Self::Tlsa => "the host has TLSA records",
            Self::TlsaUnusable => "the host has TLSA records, of which none can be used",
            Self::TlsaUnknown => "DNS does not tell whether the host has TLSA records",
            Self::RequireTls => "the message demands TLS",
            Self::RequireTlsUnproven => {
                "the message demands TLS, and nothing proves that this is a host of the domain"
            }
            Self::TlsOptional => "the message is to arrive whatever policies say",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opportunistic => "TLS is used where it can be had",
            Self::Encrypted => "TLS is demanded",
            Self::WebPki => "TLS with a certificate for this name is demanded",
            Self::Dane => "TLS with a certificate of a TLSA record is demanded",
            Self::Never => "this host gets no mail",
        })
    }
}

/// What is demanded of a host, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is demanded.
    pub level: Level,
    /// Why, at least one reason.
    pub reasons: Vec<Reason>,
    /// The host must offer REQUIRETLS after the handshake.
    pub extension: bool,
}

/// `TLS is demanded: the host has ..; the message ..`
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.level)?;
        for (n, reason) in self.reasons.iter().enumerate() {
            write!(f, "{}{reason}", if n == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

/// What is demanded of a host for a message.
///
/// DANE says who the host has to be where it has usable records, and MTA-STS cannot make that milder (RFC 8461 2); a policy in
/// force still says which hosts may be used at all.
pub fn decide(hop: &NextHop<'_>, demand: Demand) -> Decision {
    let decision = |level, reasons: &[Reason]| Decision {
        level,
        reasons: reasons.to_vec(),
        extension: demand == Demand::RequireTls,
    };
    if demand == Demand::TlsOptional {
        return decision(Level::Opportunistic, &[Reason::TlsOptional]);
    }
    let mut reasons = Vec::new();
    let mut level = Level::Opportunistic;
    let mut is_proven = hop.vouched_for;
    if let Some(policy) = hop.sts {
        let covers = policy.covers(hop.host);
        match (policy.mode, covers) {
            (Mode::Enforce, false) => return decision(Level::Never, &[Reason::StsExcludes]),
            (Mode::Enforce, true) => {
                level = Level::WebPki;
                reasons.push(Reason::StsEnforced);
            }
            (Mode::Testing, true) => reasons.push(Reason::StsTesting),
            (Mode::Testing, false) => reasons.push(Reason::StsTestingExcludes),
            (Mode::None, _) => {}
        }
        is_proven |= covers;
    }
    match hop.dane {
        Dane::Unknown(_) => return decision(Level::Never, &[Reason::TlsaUnknown]),
        Dane::Records { usable, .. } if usable.is_empty() => {
            level = level.max(Level::Encrypted);
            reasons.push(Reason::TlsaUnusable);
        }
        Dane::Records { .. } => {
            level = Level::Dane;
            reasons.push(Reason::Tlsa);
        }
        Dane::NotAuthentic | Dane::None => {}
    }
    if demand == Demand::RequireTls {
        if !is_proven {
            return decision(Level::Never, &[Reason::RequireTlsUnproven]);
        }
        level = level.max(Level::WebPki);
        reasons.push(Reason::RequireTls);
    }
    if reasons.is_empty() {
        reasons.push(Reason::NoPolicy);
    }
    decision(level, &reasons)
}

/// How TLS went with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls<'a> {
    /// It did not offer STARTTLS.
    NotOffered,
    /// It offered it, and there was no handshake.
    Failed,
    /// There is TLS, with this peer.
    Established(&'a Peer<'a>),
}

/// Whether a host fulfils what is demanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The message may be sent over this connection.
    pub may_send: bool,
    /// For each policy that holds, or for none, how it went: what TLS reports count.
    pub results: Vec<(PolicyType, Result<(), FailureType>)>,
}

impl Decision {
    /// Whether a host fulfils the decision about it. REQUIRETLS in its reply to EHLO is to be looked for besides.
    pub fn judge(&self, hop: &NextHop<'_>, tls: Tls<'_>) -> Judgement {
        let established = match tls {
            Tls::NotOffered => Err(FailureType::StarttlsNotSupported),
            Tls::Failed => Err(FailureType::ValidationFailure),
            Tls::Established(peer) => Ok(peer),
        };
        let webpki = established.and_then(|peer| peer.webpki.map_err(Into::into));
        let dane = match hop.dane {
            Dane::Records { usable, .. } if usable.is_empty() => {
                Some(Err(FailureType::TlsaInvalid))
            }
            Dane::Records { base, usable, .. } => {
                // RFC 7672 3.2.2. The MX records are vouched for wherever there are records.
                let names = [base, hop.domain, hop.expanded];
                Some(established.and_then(|peer| peer.fulfils(usable, &names)))
            }
            Dane::Unknown(_) => Some(Err(FailureType::DnssecInvalid)),
            Dane::NotAuthentic | Dane::None => None,
        };
        let sts = hop.sts.filter(|policy| policy.mode != Mode::None);
        let sts = sts.map(|policy| match policy.covers(hop.host) {
            true => webpki,
            false => Err(FailureType::ValidationFailure),
        });
        let mut results = Vec::new();
        results.extend(dane.map(|result| (PolicyType::Tlsa, result)));
        results.extend(sts.map(|result| (PolicyType::Sts, result)));
        if results.is_empty() {
            results.push((PolicyType::NoPolicyFound, established.map(|_| ())));
        }
        let may_send = match self.level {
            Level::Opportunistic => true,
            Level::Encrypted => established.is_ok(),
            Level::WebPki => webpki.is_ok(),
            Level::Dane => dane.is_some_and(|result| result.is_ok()),
            Level::Never => false,
        };
        Judgement { may_send, results }
    }
}

impl From<WebPkiProblem> for FailureType {
    fn from(problem: WebPkiProblem) -> Self {
        match problem {
            WebPkiProblem::Name => Self::CertificateHostMismatch,
            WebPkiProblem::Expired => Self::CertificateExpired,
            WebPkiProblem::NotTrusted => Self::CertificateNotTrusted,
            WebPkiProblem::Other => Self::ValidationFailure,
        }
    }
}
