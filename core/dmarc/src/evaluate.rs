//! The evaluation: RFC 9989 section 5.3.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use mox_dns::{Facts, Failure, Missing, Name, Question, RecordType};

use crate::record::{Alignment, Policy, Record};
use crate::report::{Author, Disposition, Report, Verdict};
use crate::walk::{Walk, questions, same_organization, walk};

/// Authors that are looked at; a message with more is not evaluated.
pub const AUTHORS_MAX: usize = 8;
/// Signatures that are looked at, the first ones.
pub const IDENTIFIERS_MAX: usize = 8;

/// What of a message is evaluated. Domains are as they came, A-labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The domain of each address in all From fields; empty when there is none that can be read.
    pub authors: &'a [&'a [u8]],
    /// The domain that SPF checked; `None` when there was none.
    pub spf: Option<Authenticated<'a>>,
    /// The signing domain of each DKIM signature.
    pub dkim: &'a [Authenticated<'a>],
}

/// A domain and what its check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated<'a> {
    /// The domain.
    pub domain: &'a [u8],
    /// The outcome.
    pub outcome: Outcome,
}

/// What a check of SPF or DKIM came to, as far as DMARC minds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The domain vouches.
    Pass,
    /// Nobody knows yet.
    TempError,
    /// Anything else.
    Fail,
}

/// Whether the author's domain vouches for a message.
///
/// With several authors each is evaluated: the message passes only if it does for all, and the strictest wish of the others
/// holds, so that one more address does not get a message past anybody's policy (RFC 9989 11.5).
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn evaluate(facts: &Facts, message: &Message<'_>) -> Result<Report, Missing> {
    let refuse = |problem| {
        Ok(Report {
            verdict: Verdict::PermError,
            disposition: Disposition::Reject,
            problem: Some(problem),
            authors: Vec::new(),
            ttl: 0,
            authentic: false,
        })
    };
    let mut domains: Vec<Name> = Vec::new();
    for author in message.authors {
        let Some(name) = name_of(author) else {
            return refuse("an address in From has no domain");
        };
        if domains.contains(&name) {
            continue;
        }
        if domains.len() == AUTHORS_MAX {
            return refuse("there are too many authors");
        }
        domains.push(name);
    }
    if domains.is_empty() {
        return refuse("there is no author");
    }
    let authors = domains.iter().map(|domain| author(facts, domain, message));
    let authors: Vec<Author> = authors.collect::<Result<_, _>>()?;
    const WORST_FIRST: [Verdict; 5] = [
        Verdict::Fail,
        Verdict::TempError,
        Verdict::PermError,
        Verdict::None,
        Verdict::Pass,
    ];
    let is_there = |verdict: &Verdict| authors.iter().any(|author| author.verdict == *verdict);
    let (ttl, authentic) = facts.basis();
    Ok(Report {
        verdict: WORST_FIRST
            .into_iter()
            .find(is_there)
            .unwrap_or(Verdict::None),
        disposition: authors
            .iter()
            .map(|author| author.disposition)
            .max()
            .unwrap_or(Disposition::None),
        problem: None,
        authors,
        ttl,
        authentic,
    })
}

/// Demands what decides which policies hold for these authors ([`Message::authors`]).
///
/// To be run before anything else that judges the same message on the same facts: their table is bounded, and whatever a
/// stranger's SPF record or signatures ask for must not leave it without room for the answers of the authors' domains. Whether
/// a domain exists is asked only where np= makes a difference, and later: without room for that the strictest policy holds.
///
/// # Errors
/// The questions whose answers `facts` lacks, all at once.
pub fn author_policies(facts: &Facts, authors: &[&[u8]]) -> Result<(), Missing> {
    let names = authors
        .iter()
        .take(AUTHORS_MAX)
        .filter_map(|author| name_of(author));
    let questions: Vec<Question> = names.flat_map(|name| questions(&name)).collect();
    facts.all(&questions).map(|_| ())
}

/// A domain; a top-level domain is one.
fn name_of(domain: &[u8]) -> Option<Name> {
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let name = Name::from_labels(domain.split(|b| *b == b'.')).ok()?;
    (!name.is_root()).then_some(name)
}

fn author(facts: &Facts, domain: &Name, message: &Message<'_>) -> Result<Author, Missing> {
    let mut report = Author {
        domain: domain.to_string(),
        organizational: String::new(),
        policy_domain: None,
        record: None,
        policy: Policy::None,
        verdict: Verdict::None,
        disposition: Disposition::None,
        spf_aligned: false,
        dkim_aligned: None,
    };
    let own = walk(facts, domain)?;
    let Some((policy_domain, record)) = own.policy() else {
        if own.failed.is_some() {
            report.verdict = Verdict::TempError;
            report.policy = inherited(own.above.first());
        }
        return Ok(report);
    };
    // A record above one that DNS did not give may not be the one that holds.
    if own.failed.is_some() && policy_domain != domain {
        report.verdict = Verdict::TempError;
        report.policy = inherited(own.records.first());
        return Ok(report);
    }
    let Some(record) = record.clone().usable() else {
        return Ok(report);
    };
    let organizational = own.organizational();
    report.organizational = organizational.to_string();
    report.policy_domain = Some(policy_domain.to_string());
    let (spf_mode, dkim_mode, testing) = (record.spf, record.dkim, record.testing);
    let policy = policy(facts, domain, policy_domain, &record)?;
    report.policy = policy.unwrap_or_else(|strictest| strictest);
    report.record = Some(record);

    let near = (&own, &organizational);
    let spf = match &message.spf {
        Some(spf) => aligned(facts, near, spf, spf_mode)?,
        None => Aligned::No,
    };
    report.spf_aligned = spf == Aligned::Pass;
    let mut unknown = spf == Aligned::Unknown || policy.is_err();
    for (place, dkim) in message.dkim.iter().take(IDENTIFIERS_MAX).enumerate() {
        match aligned(facts, near, dkim, dkim_mode)? {
            Aligned::Pass => {
                report.dkim_aligned = Some(place);
                break;
            }
            Aligned::Unknown => unknown = true,
            Aligned::No => {}
        }
    }
    report.verdict = match report.spf_aligned || report.dkim_aligned.is_some() {
        true => Verdict::Pass,
        false if unknown => Verdict::TempError,
        false => Verdict::Fail,
    };
    if report.verdict == Verdict::Fail {
        report.disposition = report.policy.applied(testing).into();
    }
    Ok(report)
}

/// What may hold for a domain whose own record DNS did not give, so far as names above have one.
fn inherited(above: Option<&(Name, Record)>) -> Policy {
    let record = above.and_then(|(_, record)| record.clone().usable());
    record.map_or(Policy::None, |record| {
        let own = record.policy.unwrap_or(Policy::None);
        record.subdomains.unwrap_or(own).applied(record.testing)
    })
}

/// What a record says of a domain (RFC 9989 4.10.1): p= for its own, np= or sp= for those below. Where DNS did not tell which
/// of these, the strictest that it may be is the error.
fn policy(
    facts: &Facts,
    domain: &Name,
    owner: &Name,
    record: &Record,
) -> Result<Result<Policy, Policy>, Missing> {
    let own = record.policy.unwrap_or(Policy::None);
    if domain == owner {
        return Ok(Ok(own));
    }
    let existing = record.subdomains.unwrap_or(own);
    let Some(nonexistent) = record.nonexistent.filter(|policy| *policy != existing) else {
        return Ok(Ok(existing));
    };
    // RFC 8020: a name that does not exist has nothing of any type.
    let answer = facts.need(&Question::of(domain.clone(), RecordType::A))?;
    Ok(match answer.why() {
        Some(Failure::NoDomain) => Ok(nonexistent),
        Some(failure) if failure.is_temporary() => Err(existing.max(nonexistent)),
        _ => Ok(existing),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aligned {
    /// The check passed, and the names are near enough.
    Pass,
    /// DNS did not tell.
    Unknown,
    No,
}

/// Whether a check counts for the author. One that failed for a passing reason counts as unknown only if its domain is
/// aligned: else any stranger's broken signature would keep a message from failing.
fn aligned(
    facts: &Facts,
    (own, organizational): (&Walk, &Name),
    identifier: &Authenticated<'_>,
    mode: Alignment,
) -> Result<Aligned, Missing> {
    if identifier.outcome == Outcome::Fail {
        return Ok(Aligned::No);
    }
    let Some(domain) = name_of(identifier.domain) else {
        return Ok(Aligned::No);
    };
    let reached = match identifier.outcome {
        Outcome::Pass => Aligned::Pass,
        Outcome::TempError | Outcome::Fail => Aligned::Unknown,
    };
    if domain == own.start {
        return Ok(reached);
    }
    // Only a name within the author's organizational domain can have the same one: strangers cost no question, and whatever
    // their name servers do changes nothing. Where a name above did not answer, that domain may be there.
    let is_near = domain.is_within(own.failed.as_ref().unwrap_or(organizational));
    if mode == Alignment::Strict || !is_near {
        return Ok(Aligned::No);
    }
    Ok(
        match same_organization(facts, own, organizational, &domain)? {
            None => Aligned::Unknown,
            Some(true) => reached,
            Some(false) => Aligned::No,
        },
    )
}
