//! The check itself: RFC 7208 section 4.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use mox_dns::{Answer, Facts, Missing, Name, Question, RecordType};

use crate::fetch::{Fetched, RECORD_MAX, fetch};
use crate::macros::{Explaining, Values};
use crate::record::{Cidr, Directive, Mechanism, Qualifier, Record};
use crate::{Identity, MacroString, Report, Verdict, Visit};

/// What is checked, as the client typed it: no type could hold the names that clients come up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The client's address. An IPv4 address mapped into IPv6 counts as IPv4.
    pub ip: IpAddr,
    /// The name in HELO or EHLO, A-labels.
    pub helo: &'a [u8],
    /// The reverse-path without angle brackets, its domain in A-labels; empty when it is null.
    pub mail_from: &'a [u8],
    /// The name of the receiving host, for explanations and header fields.
    pub receiver: &'a [u8],
    /// Seconds since 1970, for explanations.
    pub time: i64,
}

/// Bounds of one check (RFC 7208 4.6.4). Going beyond one is a permerror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Terms that ask DNS: 10.
    pub lookups: u32,
    /// Lookups that find nothing: 2.
    pub voids: u32,
    /// Mail hosts of one `mx`: 10.
    pub hosts: usize,
    /// Names of the client that `ptr` and `%{p}` look at; the others are passed over: 10.
    pub pointers: usize,
    /// Octets of an explanation; the rest is cut off: 500.
    pub explanation: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lookups: 10,
            voids: 2,
            hosts: 10,
            pointers: 10,
            explanation: 500,
        }
    }
}

/// The longest domain name in text; a longer one loses labels on its left (RFC 7208 7.3).
const NAME_MAX: usize = 253;

/// The local part of a sender who has none (RFC 7208 2.4 and 4.3).
const POSTMASTER: &[u8] = b"postmaster";

/// Whether `query.ip` may send for the domain of the reverse-path, or of HELO when that is null.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn check_host(facts: &Facts, query: &Query<'_>, limits: &Limits) -> Result<Report, Missing> {
    // RFC 7208 2.4: a null reverse-path means the HELO name.
    let domain = match query.mail_from {
        b"" => query.helo,
        mail_from => split_address(mail_from).1,
    };
    check_domain(facts, query, domain, limits)
}

/// Whether `query.ip` may send for `domain`, whatever domain the sender has: check_host() of RFC 7208 4.1 with its
/// three arguments. Without a reverse-path the sender is the domain's postmaster.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn check_domain(
    facts: &Facts,
    query: &Query<'_>,
    domain: &[u8],
    limits: &Limits,
) -> Result<Report, Missing> {
    let ip = query.ip.to_canonical();
    let (identity, local, sender_domain) = match split_address(query.mail_from) {
        _ if query.mail_from.is_empty() => match query.helo.eq_ignore_ascii_case(domain) {
            true => (Identity::Helo, POSTMASTER, domain),
            false => (Identity::MailFrom, POSTMASTER, domain),
        },
        (b"", domain) => (Identity::MailFrom, POSTMASTER, domain),
        (local, domain) => (Identity::MailFrom, local, domain),
    };
    let mut check = Check {
        facts,
        query,
        limits,
        ip,
        local,
        sender_domain,
        lookups: 0,
        voids: 0,
        visits: Vec::new(),
    };
    let outcome = match checkable(domain) {
        Some(name) => check.domain(&name, domain, None)?,
        None => Outcome::problem(Verdict::None, "not a domain name that could have a record"),
    };
    let explanation = match (&outcome.exp, outcome.verdict) {
        (Some((spec, current)), Verdict::Fail) => check.explanation(spec, current)?,
        _ => None,
    };
    let (ttl, authentic) = facts.basis();
    let mut sender = lossy(local);
    sender.push('@');
    sender.push_str(&lossy(sender_domain));
    Ok(Report {
        verdict: outcome.verdict,
        identity,
        domain: lossy(domain),
        sender,
        mechanism: outcome.mechanism,
        problem: outcome.problem.map(Cow::into_owned),
        explanation,
        visits: check.visits,
        lookups: check.lookups,
        voids: check.voids,
        ttl,
        authentic,
    })
}

/// Local part and domain; everything is the domain when there is no at sign.
fn split_address(address: &[u8]) -> (&[u8], &[u8]) {
    match address.iter().rposition(|b| *b == b'@') {
        Some(at) => {
            let (local, domain) = address.split_at(at);
            (local, domain.get(1..).unwrap_or_default())
        }
        None => (b"", address),
    }
}

/// A name that may have a record: at least two labels, no address literal (RFC 7208 4.3).
fn checkable(domain: &[u8]) -> Option<Name> {
    if domain.first() == Some(&b'[') {
        return None;
    }
    let name = name_of(domain)?;
    (name.labels().count() >= 2).then_some(name)
}

/// Octets as they are between dots: nothing here is an escape.
fn name_of(domain: &[u8]) -> Option<Name> {
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    Name::from_labels(domain.split(|b| *b == b'.')).ok()
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// How a record, and what it led to, came out.
struct Outcome<'a> {
    verdict: Verdict,
    mechanism: Option<String>,
    problem: Option<Cow<'static, str>>,
    /// Where the explanation is, and the domain whose record says so.
    exp: Option<(MacroString<'a>, Vec<u8>)>,
}

impl Outcome<'_> {
    fn problem(verdict: Verdict, problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            verdict,
            mechanism: None,
            problem: Some(problem.into()),
            exp: None,
        }
    }
}

/// Why the evaluation of a record stops before its end.
enum Stop {
    Missing(Missing),
    Error(Verdict, Cow<'static, str>),
}

impl From<Missing> for Stop {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

impl Stop {
    fn permanent(problem: &'static str) -> Self {
        Self::Error(Verdict::PermError, problem.into())
    }
}

/// One check under way.
struct Check<'a> {
    facts: &'a Facts,
    query: &'a Query<'a>,
    limits: &'a Limits,
    ip: IpAddr,
    local: &'a [u8],
    sender_domain: &'a [u8],
    lookups: u32,
    voids: u32,
    visits: Vec<Visit>,
}

impl<'a> Check<'a> {
    /// The check_host() of RFC 7208 section 4, for one domain.
    fn domain(
        &mut self,
        name: &Name,
        domain: &[u8],
        through: Option<String>,
    ) -> Result<Outcome<'a>, Missing> {
        let visit = self.visits.len();
        self.visits.push(Visit {
            domain: lossy(domain),
            through,
            record: None,
            matched: None,
            verdict: Verdict::None,
        });
        let outcome = match fetch(self.facts, name)? {
            Fetched::Nothing(verdict, why) => Outcome::problem(verdict, why),
            Fetched::Record(text) => {
                if let Some(visit) = self.visits.get_mut(visit) {
                    visit.record = Some(text.to_string());
                }
                match Record::parse(text) {
                    Err(error) => Outcome::problem(Verdict::PermError, error.to_string()),
                    Ok(record) => match self.record(&record, domain, visit) {
                        Ok(outcome) => outcome,
                        Err(Stop::Missing(missing)) => return Err(missing),
                        Err(Stop::Error(verdict, problem)) => Outcome::problem(verdict, problem),
                    },
                }
            }
        };
        if let Some(visit) = self.visits.get_mut(visit) {
            visit.verdict = outcome.verdict;
        }
        Ok(outcome)
    }

    fn record(
        &mut self,
        record: &Record<'a>,
        current: &[u8],
        visit: usize,
    ) -> Result<Outcome<'a>, Stop> {
        for directive in &record.directives {
            if !self.matches(directive, current)? {
                continue;
            }
            let matched = Some(directive.text.to_string());
            if let Some(visit) = self.visits.get_mut(visit) {
                visit.matched.clone_from(&matched);
            }
            return Ok(Outcome {
                verdict: match directive.qualifier {
                    Qualifier::Pass => Verdict::Pass,
                    Qualifier::Fail => Verdict::Fail,
                    Qualifier::SoftFail => Verdict::SoftFail,
                    Qualifier::Neutral => Verdict::Neutral,
                },
                mechanism: matched,
                problem: None,
                exp: record.exp.map(|spec| (spec, current.to_vec())),
            });
        }
        let Some(spec) = record.redirect else {
            return Ok(Outcome {
                verdict: Verdict::Neutral,
                mechanism: Some("default".to_string()),
                problem: None,
                exp: None,
            });
        };
        // RFC 7208 6.1: what the target says, with the target's explanation.
        self.count()?;
        let target = self.target(Some(&spec), current)?;
        let name = name_of(&target)
            .ok_or_else(|| Stop::permanent("a redirect leads to what is no domain name"))?;
        let outcome = self.domain(&name, &target, Some(alloc::format!("redirect={spec}")))?;
        match outcome.verdict {
            Verdict::None => Err(Stop::permanent(
                "a redirect leads to a domain without an SPF record",
            )),
            _ => Ok(outcome),
        }
    }

    fn matches(&mut self, directive: &Directive<'a>, current: &[u8]) -> Result<bool, Stop> {
        if directive.mechanism.asks_dns() {
            self.count()?;
        }
        match &directive.mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => Ok(match self.ip {
                IpAddr::V4(ip) => within4(ip, *network, *length),
                IpAddr::V6(_) => false,
            }),
            Mechanism::Ip6(network, length) => Ok(match self.ip {
                IpAddr::V4(_) => false,
                IpAddr::V6(ip) => within6(ip, *network, *length),
            }),
            Mechanism::Include(spec) => self.include(spec, directive.text, current),
            Mechanism::A(spec, cidr) => {
                let target = self.target(spec.as_ref(), current)?;
                match name_of(&target) {
                    Some(name) => self.has_client(&name, *cidr),
                    None => Ok(false),
                }
            }
            Mechanism::Mx(spec, cidr) => self.mx(spec.as_ref(), *cidr, current),
            Mechanism::Ptr(spec) => self.ptr(spec.as_ref(), current),
            Mechanism::Exists(spec) => {
                let target = self.target(Some(spec), current)?;
                // Always A, whatever the client's family (RFC 7208 5.7).
                match name_of(&target) {
                    Some(name) => self
                        .lookup(name, RecordType::A)
                        .map(|answer| !answer.all().is_empty()),
                    None => Ok(false),
                }
            }
        }
    }

    /// RFC 7208 5.2.
    fn include(
        &mut self,
        spec: &MacroString<'a>,
        text: &str,
        current: &[u8],
    ) -> Result<bool, Stop> {
        let target = self.target(Some(spec), current)?;
        let name = name_of(&target)
            .ok_or_else(|| Stop::permanent("an include leads to what is no domain name"))?;
        let outcome = self.domain(&name, &target, Some(text.to_string()))?;
        match outcome.verdict {
            Verdict::Pass => Ok(true),
            Verdict::Fail | Verdict::SoftFail | Verdict::Neutral => Ok(false),
            Verdict::None => Err(Stop::permanent(
                "an include leads to a domain without an SPF record",
            )),
            error @ (Verdict::TempError | Verdict::PermError) => Err(Stop::Error(
                error,
                outcome
                    .problem
                    .unwrap_or(Cow::Borrowed("an included record cannot be used")),
            )),
        }
    }

    /// RFC 7208 5.4.
    fn mx(
        &mut self,
        spec: Option<&MacroString<'a>>,
        cidr: Cidr,
        current: &[u8],
    ) -> Result<bool, Stop> {
        let target = self.target(spec, current)?;
        let Some(name) = name_of(&target) else {
            return Ok(false);
        };
        let answer = self.lookup(name, RecordType::Mx)?;
        let hosts = answer.all().iter().filter_map(|record| match record {
            mox_dns::Record::Mx { exchange, .. } if !exchange.is_root() => Some(exchange),
            _ => None,
        });
        let hosts: Vec<&Name> = hosts.take(self.limits.hosts + 1).collect();
        let known = hosts.iter().take(self.limits.hosts);
        let questions: Vec<Question> = known
            .map(|name| self.address_question((*name).clone()))
            .collect();
        self.facts.all(&questions)?;
        for (n, host) in hosts.into_iter().enumerate() {
            if n == self.limits.hosts {
                return Err(Stop::permanent("an mx has too many hosts"));
            }
            if self.has_client(host, cidr)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// RFC 7208 5.5. Failures of DNS are no match here.
    fn ptr(&mut self, spec: Option<&MacroString<'a>>, current: &[u8]) -> Result<bool, Stop> {
        let target = self.target(spec, current)?;
        let Some(domain) = name_of(&target) else {
            return Ok(false);
        };
        let pointers = self
            .facts
            .need(&Question::of(Name::reverse(self.ip), RecordType::Ptr))?;
        self.count_void(pointers)?;
        Ok(self
            .validated(pointers)?
            .iter()
            .any(|name| name.is_within(&domain)))
    }

    /// The client's names that lead back to it, of the first few it claims.
    fn validated<'f>(&self, pointers: &'f Answer) -> Result<Vec<&'f Name>, Missing> {
        let names = pointers.all().iter().filter_map(|record| match record {
            mox_dns::Record::Ptr(name) => Some(name),
            _ => None,
        });
        let names: Vec<&Name> = names.take(self.limits.pointers).collect();
        let questions: Vec<Question> = names
            .iter()
            .map(|name| self.address_question((*name).clone()))
            .collect();
        let answers = self.facts.all(&questions)?;
        let leads_back = |answer: &Answer| answer.addresses().any(|ip| ip == self.ip);
        Ok(names
            .into_iter()
            .zip(answers)
            .filter_map(|(name, answer)| leads_back(answer).then_some(name))
            .collect())
    }

    /// The value of `%{p}` (RFC 7208 7.3): the current domain if the client has that name, else a name below it, else any.
    fn validated_name(&self, current: &[u8]) -> Result<String, Missing> {
        let pointers = self
            .facts
            .need(&Question::of(Name::reverse(self.ip), RecordType::Ptr))?;
        let names = self.validated(pointers)?;
        let current = name_of(current);
        let rank = |name: &&&Name| match &current {
            Some(current) if **name == current => 0,
            Some(current) if name.is_within(current) => 1,
            _ => 2,
        };
        // The first of the best.
        let best = names.iter().min_by_key(rank);
        Ok(best.map_or_else(|| "unknown".to_string(), |name| name.to_string()))
    }

    /// Whether the name has an address in whose network the client is.
    fn has_client(&mut self, name: &Name, cidr: Cidr) -> Result<bool, Stop> {
        let kind = self.family();
        let answer = self.lookup(name.clone(), kind)?;
        Ok(answer.addresses().any(|address| match (self.ip, address) {
            (IpAddr::V4(ip), IpAddr::V4(network)) => within4(ip, network, cidr.v4),
            (IpAddr::V6(ip), IpAddr::V6(network)) => within6(ip, network, cidr.v6),
            _ => false,
        }))
    }

    /// The answer of a lookup in a mechanism: a passing failure of DNS ends everything (RFC 7208 5).
    fn lookup(&mut self, name: Name, kind: RecordType) -> Result<&'a Answer, Stop> {
        let answer = self.facts.need(&Question::of(name, kind))?;
        if answer.why().is_some_and(mox_dns::Failure::is_temporary) {
            return Err(Stop::Error(Verdict::TempError, "DNS did not answer".into()));
        }
        self.count_void(answer)?;
        Ok(answer)
    }

    /// One more term that asks DNS.
    fn count(&mut self) -> Result<(), Stop> {
        if self.lookups >= self.limits.lookups {
            return Err(Stop::permanent("too many terms that ask DNS"));
        }
        self.lookups += 1;
        Ok(())
    }

    fn count_void(&mut self, answer: &Answer) -> Result<(), Stop> {
        if answer.why().is_some_and(|why| !why.is_temporary()) {
            self.voids += 1;
            if self.voids > self.limits.voids {
                return Err(Stop::permanent("too many lookups that find nothing"));
            }
        }
        Ok(())
    }

    fn family(&self) -> RecordType {
        match self.ip {
            IpAddr::V4(_) => RecordType::A,
            IpAddr::V6(_) => RecordType::Aaaa,
        }
    }

    fn address_question(&self, name: Name) -> Question {
        Question::of(name, self.family())
    }

    /// The domain a term means: its spec expanded, or the current one.
    fn target(&mut self, spec: Option<&MacroString<'_>>, current: &[u8]) -> Result<Vec<u8>, Stop> {
        let Some(spec) = spec else {
            return Ok(current.to_vec());
        };
        if spec.has_p() {
            self.count()?;
        }
        // What expands to too much makes no name, as what expands to nonsense.
        let mut name = self.expand(spec, current, None)?.unwrap_or_default();
        if name.last() == Some(&b'.') {
            name.pop();
        }
        shorten(&mut name);
        Ok(name)
    }

    fn expand(
        &self,
        text: &MacroString<'_>,
        current: &[u8],
        explaining: Option<Explaining<'_>>,
    ) -> Result<Option<Vec<u8>>, Missing> {
        let validated = match text.has_p() {
            true => self.validated_name(current)?,
            false => String::new(),
        };
        Ok(text.expand(&Values {
            ip: self.ip,
            local: self.local,
            sender_domain: self.sender_domain,
            helo: self.query.helo,
            current,
            validated: validated.as_bytes(),
            explaining,
        }))
    }

    /// RFC 7208 6.2: any problem means that there is none.
    fn explanation(
        &self,
        spec: &MacroString<'a>,
        current: &[u8],
    ) -> Result<Option<String>, Missing> {
        let Some(mut target) = self.expand(spec, current, None)? else {
            return Ok(None);
        };
        shorten(&mut target);
        let Some(name) = name_of(&target) else {
            return Ok(None);
        };
        let answer = self.facts.need(&Question::of(name, RecordType::Txt))?;
        let [mox_dns::Record::Txt(text)] = answer.all() else {
            return Ok(None);
        };
        if text.len() > RECORD_MAX {
            return Ok(None);
        }
        let Ok(text) = core::str::from_utf8(text) else {
            return Ok(None);
        };
        let Ok(text) = MacroString::explanation(text) else {
            return Ok(None);
        };
        let explaining = Explaining {
            receiver: self.query.receiver,
            time: self.query.time,
        };
        let Some(mut text) = self.expand(&text, current, Some(explaining))? else {
            return Ok(None);
        };
        text.truncate(self.limits.explanation);
        // What macros stand for may be anything the client said.
        let is_safe = text.iter().all(|b| matches!(b, b' '..=b'~'));
        Ok(is_safe.then(|| lossy(&text)))
    }
}

/// Takes labels off the left of a name in text that is too long (RFC 7208 7.3).
fn shorten(name: &mut Vec<u8>) {
    let Some(over) = name.len().checked_sub(NAME_MAX).filter(|over| *over > 0) else {
        return;
    };
    // The first dot behind which the rest is short enough.
    let dot = name.iter().skip(over - 1).position(|b| *b == b'.');
    if let Some(dot) = dot {
        name.drain(..over + dot);
    }
}

fn within4(ip: Ipv4Addr, network: Ipv4Addr, length: u8) -> bool {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(length.min(32)))
        .unwrap_or(0);
    (ip.to_bits() ^ network.to_bits()) & mask == 0
}

fn within6(ip: Ipv6Addr, network: Ipv6Addr, length: u8) -> bool {
    let mask = u128::MAX
        .checked_shl(128 - u32::from(length.min(128)))
        .unwrap_or(0);
    (ip.to_bits() ^ network.to_bits()) & mask == 0
}
