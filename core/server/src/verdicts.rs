//! What the checks of a message came to, in the words of Authentication-Results (RFC 8601, 9989).

use mox_dns::{IprevReport, Name};
use mox_message::MethodResult;
use mox_spf::Identity;

/// Reports of the checks that were made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdicts<'a> {
    /// Whether the peer's name leads back to it.
    pub iprev: Option<&'a IprevReport>,
    /// Of each signature; `None` when none was looked for, empty when there is none.
    pub dkim: Option<&'a [mox_dkim::Report]>,
    /// Whether the peer may send for the domain.
    pub spf: Option<&'a mox_spf::Report>,
    /// Whether the author's domain vouches for the message.
    pub dmarc: Option<&'a mox_dmarc::Report>,
}

/// The methods and their results, in the order in which they are written.
pub fn results<'a>(verdicts: &Verdicts<'a>) -> Vec<MethodResult<'a>> {
    let mut results = Vec::new();
    results.extend(verdicts.iprev.map(iprev));
    match verdicts.dkim {
        Some([]) => results.push(MethodResult {
            method: "dkim",
            result: "none",
            ..MethodResult::default()
        }),
        Some(reports) => results.extend(reports.iter().map(dkim)),
        None => {}
    }
    results.extend(verdicts.spf.map(spf));
    if let Some(report) = verdicts.dmarc {
        dmarc(report, &mut results);
    }
    results
}

fn iprev<'a>(report: &IprevReport) -> MethodResult<'a> {
    MethodResult {
        method: "iprev",
        result: report.verdict.name(),
        comment: report.name.as_ref().map(Name::to_string),
        properties: vec![("policy.iprev", report.ip.to_string())],
        ..MethodResult::default()
    }
}

fn dkim(report: &mox_dkim::Report) -> MethodResult<'_> {
    let claims = &report.claims;
    let comment = match (report.key_bits, report.testing) {
        (Some(bits), false) => Some(format!("{bits} bit rsa")),
        (Some(bits), true) => Some(format!("{bits} bit rsa, testing")),
        (None, true) => Some("testing".into()),
        (None, false) => None,
    };
    let properties = [
        ("header.d", &claims.domain),
        ("header.s", &claims.selector),
        ("header.a", &claims.algorithm),
        ("header.b", &claims.signature),
        ("header.i", &claims.identity),
    ];
    MethodResult {
        method: "dkim",
        result: report.verdict.name(),
        comment,
        reason: report.problem,
        properties: properties
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect(),
    }
}

fn spf(report: &mox_spf::Report) -> MethodResult<'_> {
    let name = match report.identity {
        Identity::MailFrom => "smtp.mailfrom",
        Identity::Helo => "smtp.helo",
    };
    MethodResult {
        method: "spf",
        result: report.verdict.name(),
        reason: report.problem.as_deref(),
        properties: match report.domain.is_empty() {
            true => Vec::new(),
            false => vec![(name, report.domain.clone())],
        },
        ..MethodResult::default()
    }
}

/// One for each author: a message with several is judged by the strictest, and readers should see by which.
fn dmarc<'a>(report: &'a mox_dmarc::Report, results: &mut Vec<MethodResult<'a>>) {
    if report.authors.is_empty() {
        results.push(MethodResult {
            method: "dmarc",
            result: report.verdict.name(),
            reason: report.problem,
            ..MethodResult::default()
        });
    }
    for author in &report.authors {
        results.push(MethodResult {
            method: "dmarc",
            result: author.verdict.name(),
            comment: author
                .policy_domain
                .as_ref()
                .map(|_| format!("p={}", author.policy)),
            properties: vec![("header.from", author.domain.clone())],
            ..MethodResult::default()
        });
    }
}
