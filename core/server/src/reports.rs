//! Reports of other servers that arrive: whether one is believed, and what is kept of it.
//!
//! The message itself is delivered whatever is in it; what is kept beside it is enough for a list, and has a
//! bound whatever the report holds.

use core::cmp::Reverse;

use mox_report::{AggregateReport, Limits, Refused, TlsReport};
use serde::{Deserialize, Serialize};

use crate::decision::{Message, ReportFound};

/// Sources, or kinds of failures, of one report that are kept: those of the most messages.
pub const REPORT_ROWS_MAX: usize = 200;
/// Domains of one report that are looked at.
const DOMAINS_MAX: usize = 100;
/// Octets of a text that somebody else wrote, as far as it is kept.
const TEXT_MAX: usize = 200;
/// Seconds that a report may end after it came.
const AHEAD_MAX: i64 = 60;
/// Octets of a message in which a report is looked for, at most.
pub const MESSAGE_MAX: u64 = 15_000_000;
const NO_REPORT: &str = "there is no report in it";
/// The version of the stored form.
const VERSION: u8 = 1;

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// A DMARC aggregate report (RFC 9990).
    Dmarc,
    /// A TLS report (RFC 8460).
    Tls,
}

impl ReportKind {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dmarc => "DMARC report",
            Self::Tls => "TLS report",
        }
    }
}

/// What is kept of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReport {
    /// When it came, in seconds since 1970.
    pub received: i64,
    /// The id of the transaction in which it came, which `moxctl explain` knows.
    pub transaction: String,
    /// The author's domain.
    pub from: String,
    /// The domains of ours that it is about.
    pub domains: Vec<String>,
    /// Who made it.
    pub organization: String,
    /// What tells it from the others of the same.
    pub report_id: String,
    /// The period, in seconds since 1970.
    pub begin: i64,
    /// Its end.
    pub end: i64,
    /// What it tells.
    pub content: ReportContent,
}

/// What a report tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportContent {
    /// Of messages.
    Dmarc {
        /// How many there were, and how many had DKIM or SPF pass for an aligned domain.
        messages: u64,
        /// Of these.
        passed: u64,
        /// By source; those of the most messages, at most [`REPORT_ROWS_MAX`].
        sources: Vec<ReportSource>,
        /// How many more sources there were.
        more: u64,
    },
    /// Of sessions.
    Tls {
        /// How many fulfilled their policy.
        successful: u64,
        /// How many did not.
        failed: u64,
        /// By kind; those of the most sessions, at most [`REPORT_ROWS_MAX`].
        failures: Vec<ReportFailure>,
        /// How many more kinds there were.
        more: u64,
    },
}

/// Messages from one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSource {
    /// The address, as written.
    pub ip: String,
    /// Messages.
    pub count: u64,
    /// What was done with them.
    pub disposition: String,
    /// Whether DKIM passed for an aligned domain.
    pub dkim: String,
    /// Whether SPF did.
    pub spf: String,
    /// The domain in From.
    pub header_from: String,
}

/// Sessions that failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFailure {
    /// What went wrong.
    pub kind: String,
    /// Sessions.
    pub count: u64,
    /// The host of ours.
    pub mx: String,
    /// The policy's domain.
    pub domain: String,
}

/// Where a report comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportOrigin<'a> {
    /// The transaction.
    pub transaction: &'a str,
    /// When it came, in seconds since 1970.
    pub received: i64,
    /// What is known of the message.
    pub message: &'a Message,
    /// Domains of signatures that vouch for the whole message, with keys that may sign TLS reports (RFC 8460 3).
    pub tls_signers: &'a [String],
}

/// Reads the report in a message, and says whether it is believed; `octets` are the message, or why it cannot be read, and `is_ours`
/// knows our domains. The second is `None` when it is not believed. May take a second: on a pool.
pub fn receive(
    kind: ReportKind,
    octets: Result<&[u8], &str>,
    origin: &ReportOrigin<'_>,
    is_ours: &dyn Fn(&str) -> bool,
) -> (ReportFound, Option<StoredReport>) {
    let read = proved(kind, origin).and_then(|from| {
        let octets = octets.map_err(str::to_owned)?;
        read(kind, octets, origin, from, is_ours)
    });
    let (stored, problem) = match read {
        Ok(stored) => (Some(stored), None),
        Err(why) => (None, Some(why)),
    };
    let found = ReportFound {
        kind,
        domains: stored
            .as_ref()
            .map(|s| s.domains.join(" "))
            .unwrap_or_default(),
        report_id: stored
            .as_ref()
            .map(|s| s.report_id.clone())
            .unwrap_or_default(),
        problem,
    };
    (found, stored)
}

/// Of what was found for an address: what counts comes first, then what says most.
pub fn rank(found: &ReportFound) -> u8 {
    match found.problem.as_deref() {
        None => 0,
        Some(NO_REPORT) => 2,
        Some(_) => 1,
    }
}

fn refused(why: &Refused) -> String {
    match why {
        Refused::NoReport => NO_REPORT.into(),
        why => why.to_string(),
    }
}

/// Whether reading the octets of a message could come to a report that is believed: its author has to be proved.
pub fn may_be_believed(kind: ReportKind, origin: &ReportOrigin<'_>) -> bool {
    proved(kind, origin).is_ok()
}

fn read(
    kind: ReportKind,
    octets: &[u8],
    origin: &ReportOrigin<'_>,
    from: String,
    is_ours: &dyn Fn(&str) -> bool,
) -> Result<StoredReport, String> {
    let mut stored = match kind {
        ReportKind::Dmarc => {
            let report = AggregateReport::read(octets, &Limits::default());
            of_dmarc(&report.map_err(|e| refused(&e))?, origin, from)
        }
        ReportKind::Tls => {
            let report = TlsReport::read(octets, &Limits::default());
            of_tls(&report.map_err(|e| refused(&e))?, origin, from)
        }
    };
    for domain in &mut stored.domains {
        *domain = domain.trim_end_matches('.').to_lowercase();
    }
    stored.domains.sort_unstable();
    stored.domains.dedup();
    stored.domains.retain(|domain| is_ours(domain));
    if stored.domains.is_empty() {
        return Err("it is about no domain of ours".into());
    }
    if stored.end > origin.received.saturating_add(AHEAD_MAX) {
        return Err("it is about the future".into());
    }
    Ok(stored)
}

/// Who vouches for the message: the author's domain, by DMARC; for TLS reports by a signature of this domain or one above it
/// (RFC 8460 3, A-12).
fn proved(kind: ReportKind, origin: &ReportOrigin<'_>) -> Result<String, String> {
    let message = origin.message;
    let [from] = message.author_domains.as_slice() else {
        return Err("it has not exactly one author".into());
    };
    let is_proved = match kind {
        ReportKind::Dmarc => message.dmarc.result == "pass",
        ReportKind::Tls => origin
            .tls_signers
            .iter()
            .any(|signer| is_below(from, signer)),
    };
    match (is_proved, kind) {
        (true, _) => Ok(from.clone()),
        (false, ReportKind::Dmarc) => {
            Err("its author's domain does not vouch for it (DMARC)".into())
        }
        (false, ReportKind::Tls) => Err("its author's domain did not sign it (DKIM)".into()),
    }
}

fn is_below(name: &str, above: &str) -> bool {
    let (name, above) = (name.to_ascii_lowercase(), above.to_ascii_lowercase());
    // A top-level domain vouches for nobody.
    above.contains('.')
        && name
            .strip_suffix(&above)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn of_dmarc(report: &AggregateReport, origin: &ReportOrigin<'_>, from: String) -> StoredReport {
    let mut sources: Vec<_> = report
        .records
        .iter()
        .map(|record| ReportSource {
            ip: cut(&record.source_ip),
            count: record.count,
            disposition: record
                .disposition
                .as_ref()
                .map_or_else(String::new, |d| cut(d.as_str())),
            dkim: record
                .dkim
                .as_ref()
                .map_or_else(String::new, |a| cut(a.as_str())),
            spf: record
                .spf
                .as_ref()
                .map_or_else(String::new, |a| cut(a.as_str())),
            header_from: cut(&record.header_from),
        })
        .collect();
    sources.sort_by_key(|source| Reverse(source.count));
    let passed = sources
        .iter()
        .filter(|source| source.dkim == "pass" || source.spf == "pass")
        .fold(0u64, |sum, source| sum.saturating_add(source.count));
    let more = shorten(&mut sources);
    let metadata = &report.metadata;
    StoredReport {
        domains: vec![cut(&report.policy.domain)],
        organization: cut(&metadata.org_name),
        report_id: cut(&metadata.report_id),
        begin: i64::try_from(metadata.begin).unwrap_or(i64::MAX),
        end: i64::try_from(metadata.end).unwrap_or(i64::MAX),
        content: ReportContent::Dmarc {
            messages: report.messages(),
            passed,
            sources,
            more,
        },
        ..of(origin, from)
    }
}

fn of_tls(report: &TlsReport, origin: &ReportOrigin<'_>, from: String) -> StoredReport {
    let mut failures: Vec<_> = report
        .policies
        .iter()
        .flat_map(|policy| {
            policy.failure_details.iter().map(|details| ReportFailure {
                kind: cut(details.result_type.as_str()),
                count: details.failed_session_count,
                mx: cut(details.receiving_mx_hostname.as_deref().unwrap_or_default()),
                domain: cut(&policy.policy.policy_domain),
            })
        })
        .collect();
    failures.sort_by_key(|failure| Reverse(failure.count));
    let more = shorten(&mut failures);
    let mut domains: Vec<String> = Vec::new();
    for policy in report.policies.iter().take(DOMAINS_MAX) {
        let domain = cut(&policy.policy.policy_domain);
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    let (successful, failed) = report.sessions();
    StoredReport {
        domains,
        organization: cut(&report.organization_name),
        report_id: cut(&report.report_id),
        begin: report.date_range.start_datetime.secs(),
        end: report.date_range.end_datetime.secs(),
        content: ReportContent::Tls {
            successful,
            failed,
            failures,
            more,
        },
        ..of(origin, from)
    }
}

fn of(origin: &ReportOrigin<'_>, from: String) -> StoredReport {
    StoredReport {
        received: origin.received,
        transaction: origin.transaction.to_owned(),
        from,
        domains: Vec::new(),
        organization: String::new(),
        report_id: String::new(),
        begin: 0,
        end: 0,
        content: ReportContent::Tls {
            successful: 0,
            failed: 0,
            failures: Vec::new(),
            more: 0,
        },
    }
}

fn shorten<T>(rows: &mut Vec<T>) -> u64 {
    let more = rows.len().saturating_sub(REPORT_ROWS_MAX);
    rows.truncate(REPORT_ROWS_MAX);
    more as u64
}

fn cut(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_control());
    let mut octets = 0;
    kept.take_while(|c| {
        octets += c.len_utf8();
        octets <= TEXT_MAX
    })
    .collect()
}

impl StoredReport {
    /// What the reports of one source about one thing on one day have in common. Whoever registered the author's domain is one
    /// source, whatever subdomains it writes from.
    pub fn source(&self) -> String {
        let from = self.from.to_lowercase();
        let from = mox_dmarc::registrable(&from).unwrap_or(from);
        let day = self.received.div_euclid(86_400);
        format!("{:?}", (from, &self.domains, day))
    }

    /// The kind.
    pub const fn kind(&self) -> ReportKind {
        match self.content {
            ReportContent::Dmarc { .. } => ReportKind::Dmarc,
            ReportContent::Tls { .. } => ReportKind::Tls,
        }
    }

    /// Whether it is about a domain, in any case.
    pub fn is_about(&self, domain: &str) -> bool {
        let domain = domain.trim_end_matches('.');
        let mut domains = self.domains.iter();
        domains.any(|ours| ours.trim_end_matches('.').eq_ignore_ascii_case(domain))
    }

    /// The stored form, within 48 KiB: fewer rows where texts are long.
    pub fn encode(&self) -> Vec<u8> {
        let mut less = self.clone();
        loop {
            // A vector takes everything, and no part has an unknown length.
            let octets = postcard::to_extend(&less, vec![VERSION]).unwrap_or_default();
            let rows = match &mut less.content {
                ReportContent::Dmarc { sources, more, .. } => halve(sources, more),
                ReportContent::Tls { failures, more, .. } => halve(failures, more),
            };
            if octets.len() <= mox_mailbox::DATED_MAX || !rows {
                return octets;
            }
        }
    }

    /// Reads the stored form; `None` when it is damaged or of another version.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        match octets.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }
}

/// Leaves out the smaller half; false when nothing is left.
fn halve<T>(rows: &mut Vec<T>, more: &mut u64) -> bool {
    let was = rows.len();
    rows.truncate(was / 2);
    *more = more.saturating_add((was - rows.len()) as u64);
    was > 0
}
