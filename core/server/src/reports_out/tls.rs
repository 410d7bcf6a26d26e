//! What is kept of a session with another server for the TLS report of a domain, and the report: RFC 8460 section 4.

use std::collections::BTreeMap;

use mox_machine::Utc;
use mox_mailbox::Observed;
use mox_report::TlsReport;
use mox_report::tls::{
    COUNT_MAX, DateRange, FailureDetails, Policy, PolicyKind, PolicyResult, ResultType, Summary,
};
use mox_tls_policy::{AppliedPolicy, Failure};
use serde::{Deserialize, Serialize};

use super::{Issue, cut, decode, encode};

/// Lines of a policy, and patterns, that are reported.
const LINES_MAX: usize = 40;
/// Octets of a policy that are reported.
const POLICY_MAX: usize = 2 * 1024;

/// How a session went under one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSession {
    /// The policy.
    pub policy: AppliedPolicy,
    /// How it went.
    pub outcome: Result<(), Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct PolicyRow {
    kind: String,
    domain: String,
    strings: Vec<String>,
    mx: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SessionRow {
    policy: PolicyRow,
    failure: Option<FailureRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FailureRow {
    kind: String,
    sending_ip: Option<String>,
    mx: Option<String>,
    helo: Option<String>,
    receiving_ip: Option<String>,
    reason: Option<String>,
}

impl SeenSession {
    /// The stored form, as [`tls_report`] reads it.
    pub fn encode(&self) -> Vec<u8> {
        let lines = |all: &[String]| {
            let mut room = POLICY_MAX;
            let mut kept = Vec::new();
            for line in all.iter().take(LINES_MAX) {
                let line = cut(line);
                let Some(left) = room.checked_sub(line.len()) else {
                    break;
                };
                room = left;
                kept.push(line);
            }
            kept
        };
        let failure = self.outcome.as_ref().err().map(|failure| FailureRow {
            kind: failure.kind.name().into(),
            sending_ip: failure.sending_ip.map(|ip| ip.to_string()),
            mx: failure.mx.as_deref().map(cut),
            helo: failure.helo.as_deref().map(cut),
            receiving_ip: failure.receiving_ip.map(|ip| ip.to_string()),
            reason: failure.reason.as_deref().map(cut),
        });
        encode(&SessionRow {
            policy: PolicyRow {
                kind: self.policy.kind.name().into(),
                domain: cut(&self.policy.domain),
                strings: lines(&self.policy.strings),
                mx: lines(&self.policy.mx),
            },
            failure,
        })
    }
}

/// The report of a day. Rows that cannot be read are passed over.
pub fn tls_report(issue: &Issue<'_>, observed: &Observed) -> TlsReport {
    let mut policies: BTreeMap<PolicyRow, (Summary, Vec<FailureDetails>)> = BTreeMap::new();
    for (count, row) in &observed.rows {
        let Some(SessionRow { policy, failure }) = decode(row) else {
            continue;
        };
        let (summary, details) = policies.entry(policy).or_default();
        let add = |sum: &mut u64| *sum = sum.saturating_add(*count).min(COUNT_MAX);
        let Some(failure) = failure else {
            add(&mut summary.total_successful_session_count);
            continue;
        };
        add(&mut summary.total_failure_session_count);
        details.push(FailureDetails {
            result_type: ResultType::parse(&failure.kind),
            sending_mta_ip: failure.sending_ip.map(Into::into),
            receiving_mx_hostname: failure.mx.map(Into::into),
            receiving_mx_helo: failure.helo.map(Into::into),
            receiving_ip: failure.receiving_ip.map(Into::into),
            failed_session_count: (*count).min(COUNT_MAX),
            additional_information: None,
            failure_reason_code: failure.reason.map(Into::into),
        });
    }
    let (begin, end) = issue.period();
    let at = |secs: u64| Utc::from_secs(i64::try_from(secs).unwrap_or(0));
    TlsReport {
        organization_name: issue.submitter.into(),
        date_range: DateRange {
            start_datetime: at(begin),
            end_datetime: at(end),
        },
        contact_info: issue.from.into(),
        report_id: issue.id.into(),
        policies: policies
            .into_iter()
            .map(|(policy, (summary, failure_details))| PolicyResult {
                policy: Policy {
                    policy_type: PolicyKind::parse(&policy.kind),
                    policy_string: policy.strings,
                    policy_domain: policy.domain,
                    mx_host: policy.mx,
                },
                summary,
                failure_details,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_report::Limits;
    use mox_tls_policy::{FailureType, PolicyType};

    #[test]
    fn sessions_are_counted_by_policy_and_failure_and_the_report_is_read_as_the_same() {
        let sts = AppliedPolicy {
            kind: PolicyType::Sts,
            domain: "far.example".into(),
            strings: vec!["version: STSv1".into(), "mode: enforce".into()],
            mx: vec!["mx.far.example".into()],
        };
        let none = AppliedPolicy {
            kind: PolicyType::NoPolicyFound,
            domain: "far.example".into(),
            strings: Vec::new(),
            mx: Vec::new(),
        };
        let failure = Failure {
            mx: Some("mx.far.example".into()),
            receiving_ip: Some([192, 0, 2, 1].into()),
            ..Failure::of(FailureType::CertificateExpired)
        };
        let rows = [
            (7, &sts, Ok(())),
            (2, &sts, Err(failure)),
            (1, &none, Ok(())),
        ];
        let observed = Observed {
            rows: rows
                .into_iter()
                .map(|(count, policy, outcome)| {
                    let policy = policy.clone();
                    (count, SeenSession { policy, outcome }.encode().into())
                })
                .chain([(1, b"\x09damaged".as_slice().into())])
                .collect(),
            ..Observed::default()
        };
        let issue = Issue {
            submitter: "ours.example",
            from: "postmaster@ours.example",
            domain: "far.example",
            day: 20_454,
            id: "1@ours.example",
        };
        let report = tls_report(&issue, &observed);
        let json = report.to_json();
        let read = TlsReport::read(json.as_bytes(), &Limits::default());
        assert_eq!(read.as_ref(), Ok(&report));
        assert_eq!(report.sessions(), (8, 2));
        assert_eq!(report.policies.len(), 2);
        let details = &report.policies[1].failure_details[0];
        assert_eq!(details.result_type, ResultType::CertificateExpired);
        assert_eq!(details.receiving_ip.as_deref(), Some("192.0.2.1"));
        assert!(json.contains("\"start-datetime\":\"2026-01-01T00:00:00Z\""));
        assert!(json.contains("\"end-datetime\":\"2026-01-01T23:59:59Z\""));
    }
}
