//! Lists of addresses that are kept in DNS: RFC 5782.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::{Answer, Facts, Failure, Missing, Name, NameError, Question, Record, RecordType};

/// Characters of an explanation that are kept.
pub const EXPLANATION_MAX: usize = 500;
/// Values of an entry that are kept.
const CODES_MAX: usize = 16;

/// What a list says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The address is on the list.
    Yes,
    /// It is not.
    No,
    /// The list's answer means nothing, and why: an address that is none of a list, or one that tells of an error.
    Meaningless(&'static str),
    /// DNS did not tell; it may later.
    Unknown(Failure),
}

/// One address on one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsblReport {
    /// What the list says.
    pub listed: Listed,
    /// The name that was asked for; `None` when the list's name leaves no room for an address.
    pub asked: Option<Name>,
    /// The values of the entry, which each list defines for itself.
    pub codes: Vec<Ipv4Addr>,
    /// What the list says about the entry: printable ASCII. Somebody else wrote it.
    pub explanation: Option<String>,
    /// Seconds for which this holds: the smallest TTL of its facts.
    pub ttl: u32,
}

/// Whether an address is on a list. An address that is IPv4 in IPv6 is looked up as IPv4.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn dnsbl(facts: &Facts, zone: &Name, ip: IpAddr) -> Result<DnsblReport, Missing> {
    entry(facts, zone, ip.to_canonical())
}

/// Whether a list can be relied on: RFC 5782 section 5 has it list one address and not another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsblHealth {
    /// For IPv4 addresses.
    pub v4: Health,
    /// For IPv6 addresses.
    pub v6: Health,
}

/// What the two test entries of a list come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As they should.
    Good,
    /// The entry that every list has is not there: the list is gone, or has no such addresses.
    ListsNothing,
    /// The entry that no list may have is there: the list would refuse everybody.
    ListsAll,
    /// The list's answers mean nothing, and why.
    Meaningless(&'static str),
    /// DNS did not tell; it may later.
    Unknown(Failure),
}

impl Health {
    /// Whether to act on what the list says.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good)
    }
}

/// Asks a list for its test entries: 127.0.0.2 is listed, 127.0.0.1 is not, and the same two as IPv4 in IPv6.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn dnsbl_health(facts: &Facts, zone: &Name) -> Result<DnsblHealth, Missing> {
    const NEVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
    const ALWAYS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let mapped = |ip: Ipv4Addr| IpAddr::V6(ip.to_ipv6_mapped());
    let tests = [NEVER.into(), ALWAYS.into(), mapped(NEVER), mapped(ALWAYS)];
    let questions: Vec<Question> = tests
        .iter()
        .filter_map(|ip| entry_name(zone, *ip).ok())
        .map(|name| Question::of(name, RecordType::A))
        .collect();
    // All at once; each is read again below.
    facts.all(&questions)?;
    let [no4, yes4, no6, yes6] = tests.map(|ip| value(facts, zone, ip));
    Ok(DnsblHealth {
        v4: health(no4?, yes4?),
        v6: health(no6?, yes6?),
    })
}

fn health(never: Listed, always: Listed) -> Health {
    match (never, always) {
        (Listed::Yes, _) => Health::ListsAll,
        (Listed::Meaningless(why), _) | (_, Listed::Meaningless(why)) => Health::Meaningless(why),
        (_, Listed::No) => Health::ListsNothing,
        (Listed::Unknown(failure), _) | (_, Listed::Unknown(failure)) => Health::Unknown(failure),
        (Listed::No, Listed::Yes) => Health::Good,
    }
}

fn value(facts: &Facts, zone: &Name, ip: IpAddr) -> Result<Listed, Missing> {
    let Ok(name) = entry_name(zone, ip) else {
        return Ok(Listed::Meaningless(ZONE_TOO_LONG));
    };
    let answer = facts.need(&Question::of(name, RecordType::A))?;
    Ok(judge(answer))
}

const ZONE_TOO_LONG: &str = "the name of the list is too long";

fn entry(facts: &Facts, zone: &Name, ip: IpAddr) -> Result<DnsblReport, Missing> {
    let Ok(name) = entry_name(zone, ip) else {
        return Ok(DnsblReport {
            listed: Listed::Meaningless(ZONE_TOO_LONG),
            asked: None,
            codes: Vec::new(),
            explanation: None,
            ttl: u32::MAX,
        });
    };
    let answer = facts.need(&Question::of(name.clone(), RecordType::A))?;
    let mut report = DnsblReport {
        listed: judge(answer),
        asked: Some(name.clone()),
        codes: codes(answer),
        explanation: None,
        ttl: answer.ttl,
    };
    if report.listed == Listed::Yes {
        let text = facts.need(&Question::of(name, RecordType::Txt))?;
        report.explanation = explanation(text);
        if report.explanation.is_some() {
            report.ttl = report.ttl.min(text.ttl);
        }
    }
    Ok(report)
}

/// Where the entry of an address is (RFC 5782 2.1, 2.4): the octets or halves of octets backwards, then the list.
fn entry_name(zone: &Name, ip: IpAddr) -> Result<Name, NameError> {
    let reverse = Name::reverse(ip);
    let digits = match ip {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 32,
    };
    Name::from_labels(reverse.labels().take(digits).chain(zone.labels()))
}

/// The values, in an order of their own, since name servers rotate records.
fn codes(answer: &Answer) -> Vec<Ipv4Addr> {
    let mut codes: Vec<Ipv4Addr> = answer
        .all()
        .iter()
        .filter_map(|record| match record {
            Record::A(ip) => Some(*ip),
            _ => None,
        })
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes.truncate(CODES_MAX);
    codes
}

/// Values are within 127.0.0.0/8 (RFC 5782 2.1): others come from who answers everything in place of a list that is gone.
/// 127.255.255.0/24 is where lists say that they do not answer us: too many questions, or through an open resolver.
fn judge(answer: &Answer) -> Listed {
    match answer.why() {
        Some(failure) if failure.is_temporary() => return Listed::Unknown(failure),
        Some(_) => return Listed::No,
        None => {}
    }
    let codes = codes(answer);
    let is_error = |ip: &Ipv4Addr| ip.octets().starts_with(&[127, 255, 255]);
    if codes.iter().any(|ip| ip.is_loopback() && !is_error(ip)) {
        Listed::Yes
    } else if codes.iter().any(is_error) {
        Listed::Meaningless("the list does not answer us")
    } else {
        Listed::Meaningless("the answer is not an address of 127.0.0.0/8")
    }
}

fn explanation(answer: &Answer) -> Option<String> {
    let mut texts: Vec<&[u8]> = answer
        .all()
        .iter()
        .filter_map(|record| match record {
            Record::Txt(text) => Some(&**text),
            _ => None,
        })
        .collect();
    texts.sort_unstable();
    let mut out = String::new();
    for text in texts {
        if out.len() + 2 > EXPLANATION_MAX {
            break;
        }
        if !out.is_empty() {
            out.push_str("; ");
        }
        let room = EXPLANATION_MAX - out.len();
        let printable = text.iter().filter(|b| matches!(b, b' '..=b'~'));
        out.extend(printable.take(room).map(|b| char::from(*b)));
    }
    (!out.is_empty()).then_some(out)
}
