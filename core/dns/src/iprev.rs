//! Whether an address's name leads back to it: the method iprev of RFC 8601, sections 2.7.3 and 3.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::{Answer, Facts, Failure, Missing, Name, Question, Record, RecordType};

/// Names of an address that are looked at, the first ones in order of their octets.
pub const REVERSE_NAMES_MAX: usize = 10;

/// The outcome (RFC 8601 2.7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IprevVerdict {
    /// One of the address's names has the address.
    Pass,
    /// The address has names, and none of them has it.
    Fail,
    /// DNS did not tell; it may later.
    TempError,
    /// The address has no name.
    PermError,
}

impl IprevVerdict {
    /// As header fields spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for IprevVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The outcome for one address, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IprevReport {
    /// The outcome.
    pub verdict: IprevVerdict,
    /// The address that was looked up: IPv4 where it was IPv4 in IPv6.
    pub ip: IpAddr,
    /// The name that has the address, for a pass.
    pub name: Option<Name>,
    /// All names that were looked at.
    pub names: Vec<Name>,
    /// Why DNS did not tell.
    pub failure: Option<Failure>,
    /// Seconds for which the outcome holds: the smallest TTL of its facts.
    pub ttl: u32,
    /// All facts were vouched for by DNSSEC.
    pub authentic: bool,
}

/// Looks up the names of an address, and whether one of them has the address.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn iprev(facts: &Facts, ip: IpAddr) -> Result<IprevReport, Missing> {
    let ip = ip.to_canonical();
    let answer = facts.need(&Question::of(Name::reverse(ip), RecordType::Ptr))?;
    let mut report = IprevReport {
        verdict: IprevVerdict::PermError,
        ip,
        name: None,
        names: names(answer),
        failure: answer.why(),
        ttl: answer.ttl,
        authentic: answer.authentic,
    };
    if report.names.is_empty() {
        if answer.why().is_some_and(Failure::is_temporary) {
            report.verdict = IprevVerdict::TempError;
        }
        return Ok(report);
    }
    let kind = match ip {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::Aaaa,
    };
    let questions: Vec<Question> = report
        .names
        .iter()
        .map(|name| Question::of(name.clone(), kind))
        .collect();
    let answers = facts.all(&questions)?;
    for answer in &answers {
        report.ttl = report.ttl.min(answer.ttl);
        report.authentic &= answer.authentic;
    }
    let has_it = |answer: &&Answer| answer.addresses().any(|found| found == ip);
    if let Some(place) = answers.iter().position(has_it) {
        report.name = report.names.get(place).cloned();
        report.verdict = IprevVerdict::Pass;
        return Ok(report);
    }
    report.failure = answers
        .iter()
        .filter_map(|answer| answer.why())
        .find(|failure| failure.is_temporary());
    report.verdict = match report.failure {
        Some(_) => IprevVerdict::TempError,
        None => IprevVerdict::Fail,
    };
    Ok(report)
}

/// The names of an answer in an order of their own, since name servers rotate records.
fn names(answer: &Answer) -> Vec<Name> {
    let mut names: Vec<Name> = answer
        .all()
        .iter()
        .filter_map(|record| match record {
            Record::Ptr(name) if !name.is_root() => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(REVERSE_NAMES_MAX);
    names
}
