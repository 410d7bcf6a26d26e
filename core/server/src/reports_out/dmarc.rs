//! What is kept of a message for the aggregate report of its author's domain, and the report: RFC 9990 section 3.

use std::net::IpAddr;

use mox_dmarc::{Alignment as Near, Policy as Published, Verdict as Dmarc};
use mox_mailbox::Observed;
use mox_report::AggregateReport;
use mox_report::aggregate::{
    Aligned, Alignment, Disposition, DkimResult, Metadata, Outcome, Override, Policy,
    PolicyPublished, Reason, Record, SpfResult,
};
use serde::{Deserialize, Serialize};

use super::{Issue, cut, decode, encode};
use crate::authentication::Checked;
use crate::decision::{Facts, Judgement, Reason as Rule, Verdict};

/// Signatures of a message that are reported, the first ones.
const SIGNATURES_MAX: usize = 8;

/// A message, for the report to the domain of one of its authors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMessage {
    /// The domain whose record holds, in lower case.
    pub domain: String,
    /// The record, as [`aggregate_report`] reads it.
    pub policy: Vec<u8>,
    /// The message, as [`aggregate_report`] reads it.
    pub row: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct PolicyRow {
    p: String,
    sp: Option<String>,
    np: Option<String>,
    adkim: String,
    aspf: String,
    fo: String,
    testing: bool,
    pct: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct MessageRow {
    ip: IpAddr,
    disposition: String,
    dkim: bool,
    spf: bool,
    /// Why the policy was not followed, and more about it.
    reason: Option<(String, Option<String>)>,
    header_from: String,
    envelope_from: String,
    envelope_to: String,
    /// Domain, selector, result.
    signatures: Vec<(String, Option<String>, String)>,
    /// Domain, scope, result.
    sender: (String, String, String),
}

/// Authors of one message whose domains are told of it: more are a way to have many reports made.
const AUTHORS_MAX: usize = 2;

/// What is to be reported of a message about which was decided, with an entry for each author whose domain wants reports.
///
/// Nothing is kept of a message that may come again, of one whose checks are not complete, and of reports at addresses for such: nobody
/// is told of reports (RFC 9990 3.5).
pub fn seen_of(
    facts: &Facts,
    checked: &Checked,
    recipients: &[Judgement],
    is_ours: &dyn Fn(&str) -> bool,
) -> Vec<SeenMessage> {
    let is_taken = recipients.iter().any(|r| r.decision.verdict.is_taken());
    let is_put_off = recipients
        .iter()
        .any(|r| r.decision.verdict == Verdict::Defer);
    // For whomever else it is: two servers would report to each other about reports for ever.
    let is_report = recipients.iter().any(|r| r.recipient.report.is_some());
    if recipients.is_empty() || (!is_taken && is_put_off) || is_report {
        return Vec::new();
    }
    let mut seen: Vec<SeenMessage> = Vec::new();
    for author in checked.dmarc.authors.iter().take(AUTHORS_MAX) {
        let (Some(domain), Some(record)) = (&author.policy_domain, &author.record) else {
            continue;
        };
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let is_decided = matches!(author.verdict, Dmarc::Pass | Dmarc::Fail);
        let is_known = seen.iter().any(|seen| seen.domain == domain);
        if !is_decided || record.aggregate.is_empty() || is_known || is_ours(&domain) {
            continue;
        }
        let (disposition, reason) = done(author, recipients);
        let name = |policy: Published| policy.name().to_owned();
        let near = |near: Near| match near {
            Near::Relaxed => "r".to_owned(),
            Near::Strict => "s".to_owned(),
        };
        let options = record.failure_options.iter().map(char::to_string);
        let policy = PolicyRow {
            p: record.policy.map_or_else(|| "none".into(), name),
            sp: record.subdomains.map(name),
            np: record.nonexistent.map(name),
            adkim: near(record.dkim),
            aspf: near(record.spf),
            fo: options.collect::<Vec<_>>().join(":"),
            testing: record.testing,
            pct: record.percent,
        };
        let at = |address: &str| {
            let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
            cut(&domain.to_ascii_lowercase())
        };
        let signatures = checked.dkim.iter().take(SIGNATURES_MAX).map(|report| {
            let claims = &report.claims;
            let domain = claims.domain.as_deref().unwrap_or_default();
            (
                cut(&domain.to_ascii_lowercase()),
                claims.selector.as_deref().map(cut),
                report.verdict.name().to_owned(),
            )
        });
        let scope = match checked.spf.identity {
            mox_spf::Identity::MailFrom => "mfrom",
            mox_spf::Identity::Helo => "helo",
        };
        let row = MessageRow {
            ip: facts.connection.ip,
            disposition,
            dkim: author.dkim_aligned.is_some(),
            spf: author.spf_aligned,
            reason,
            header_from: cut(&author.domain.to_ascii_lowercase()),
            envelope_from: at(&facts.sender),
            envelope_to: (recipients.first())
                .map_or_else(String::new, |r| at(&r.recipient.address)),
            signatures: signatures.collect(),
            sender: (
                cut(&checked.spf.domain.to_ascii_lowercase()),
                scope.to_owned(),
                checked.spf.verdict.name().to_owned(),
            ),
        };
        seen.push(SeenMessage {
            domain,
            policy: encode(&policy),
            row: encode(&row),
        });
    }
    seen
}

/// What was done with a message because of a policy, and why that is not what the policy says.
fn done(
    author: &mox_dmarc::Author,
    recipients: &[Judgement],
) -> (String, Option<(String, Option<String>)>) {
    if author.verdict == Dmarc::Pass {
        return ("pass".into(), None);
    }
    let decisions = || recipients.iter().map(|r| &r.decision);
    let by_policy = |reason| matches!(reason, Rule::DmarcPolicy | Rule::DmarcQuarantine);
    let strictest = decisions().filter(|d| by_policy(d.reason)).map(|d| {
        // Who would have refused it gets it as junk where somebody else takes it.
        match d.verdict {
            Verdict::Refuse if !decisions().any(|other| other.verdict.is_taken()) => 2,
            Verdict::Refuse | Verdict::Junk => 1,
            Verdict::Accept | Verdict::Defer => 0,
        }
    });
    let done = strictest.max().unwrap_or(0);
    let name = |n| match n {
        0 => "none",
        1 => "quarantine",
        _ => "reject",
    };
    let strictness = |policy: mox_dmarc::Disposition| match policy {
        mox_dmarc::Disposition::None => 0,
        mox_dmarc::Disposition::Quarantine => 1,
        mox_dmarc::Disposition::Reject => 2,
    };
    let wanted = strictness(author.disposition);
    let published = strictness(author.policy.into());
    let is_list = decisions().any(|decision| decision.reason == Rule::ListAllow);
    let reason = match () {
        () if done == wanted && wanted < published => Some(("policy_test_mode", None)),
        () if done == wanted => None,
        () if is_list => Some(("mailing_list", None)),
        () => Some((
            "local_policy",
            decisions().next().map(|decision| decision.reason.name()),
        )),
    };
    let reason = reason.map(|(kind, comment)| (kind.to_owned(), comment.map(str::to_owned)));
    (name(done).to_owned(), reason)
}

/// The report of a day. Rows that cannot be read are passed over; what there was no room for stands in it as an error.
pub fn aggregate_report(issue: &Issue<'_>, observed: &Observed) -> AggregateReport {
    let (begin, end) = issue.period();
    let policy: PolicyRow = decode(&observed.policy).unwrap_or_default();
    let rows = observed.rows.iter();
    let mut records: Vec<Record> = rows
        .filter_map(|(count, row)| Some(record(*count, decode(row)?)))
        .collect();
    records.sort_by(|a, b| {
        let by = |r: &Record| (r.source_ip.clone(), r.header_from.clone());
        (b.count, by(a)).cmp(&(a.count, by(b)))
    });
    let left_out = observed.left_out;
    let errors = (left_out > 0).then(|| {
        format!("{left_out} messages are left out: there were too many different results").into()
    });
    let word = |text: &Option<String>| text.as_deref().map(Policy::parse);
    AggregateReport {
        version: Some("1.0".into()),
        metadata: Metadata {
            org_name: issue.submitter.into(),
            email: issue.from.into(),
            extra_contact_info: None,
            report_id: issue.id.into(),
            begin,
            end,
            errors: errors.into_iter().collect(),
            generator: Some(concat!("mox ", env!("CARGO_PKG_VERSION")).into()),
        },
        policy: PolicyPublished {
            domain: issue.domain.into(),
            p: Some(Policy::parse(&policy.p)),
            sp: word(&policy.sp),
            np: word(&policy.np),
            adkim: Some(Alignment::parse(&policy.adkim)),
            aspf: Some(Alignment::parse(&policy.aspf)),
            discovery_method: Some("treewalk".into()),
            fo: Some(policy.fo).filter(|fo| !fo.is_empty()).map(Into::into),
            testing: Some(if policy.testing { "y" } else { "n" }.into()),
            pct: policy.pct.map(|pct| pct.to_string().into()),
        },
        records,
    }
}

fn record(count: u64, row: MessageRow) -> Record {
    let aligned = |passed| match passed {
        true => Aligned::Pass,
        false => Aligned::Fail,
    };
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let reasons = row.reason.into_iter().map(|(kind, comment)| Reason {
        kind: Override::parse(&kind),
        comment: comment.map(Into::into),
    });
    let signatures = row.signatures.into_iter();
    let (domain, scope, result) = row.sender;
    Record {
        source_ip: row.ip.to_string().into(),
        count: count.min(mox_report::aggregate::COUNT_MAX),
        disposition: Some(Disposition::parse(&row.disposition)),
        dkim: Some(aligned(row.dkim)),
        spf: Some(aligned(row.spf)),
        reasons: reasons.collect(),
        header_from: row.header_from.into(),
        envelope_from: some(row.envelope_from).map(Into::into),
        envelope_to: some(row.envelope_to).map(Into::into),
        dkim_results: signatures
            .map(|(domain, selector, result)| DkimResult {
                domain: domain.into(),
                selector: selector.map(Into::into),
                result: Some(Outcome::parse(&result)),
                human_result: None,
            })
            .collect(),
        spf_results: vec![SpfResult {
            domain: domain.into(),
            scope: Some(scope.into()),
            result: Some(Outcome::parse(&result)),
            human_result: None,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Recipient, ReportFound, Stage, Standing};
    use crate::reports::ReportKind;
    use crate::{Checks, Origin};
    use mox_dns::{Inquiry, MasterFile, Progress};
    use mox_machine::{Mono, Now};
    use mox_report::Limits;

    const ZONE: &str = "\
        _dmarc.far.example. TXT \"v=DMARC1; p=reject; sp=quarantine; adkim=s; rua=mailto:r@far.example\"\n\
        far.example. TXT \"v=spf1 ip4:192.0.2.1 -all\"\n\
        _dmarc.quiet.example. TXT \"v=DMARC1; p=reject\"\n";

    /// A message from an address, with From of a domain, to somebody here.
    fn message(ip: [u8; 4], author: &str) -> (Facts, Checked) {
        let zone = MasterFile::parse(ZONE).unwrap();
        let sender = format!("a@{author}");
        let authors = [author.as_bytes()];
        let checks = Checks {
            ip: ip.into(),
            helo: b"mx.far.example",
            mail_from: sender.as_bytes(),
            receiver: "mx.ours.example",
            authors: &authors,
            signatures: None,
            time: 0,
        };
        let mut inquiry = Inquiry::new(mox_dns::Facts::default(), Mono(20_000_000_000));
        let checked = loop {
            match inquiry.run(Now::default(), |facts| checks.run(facts)) {
                Progress::Done(checked) => break checked,
                Progress::Ask(questions) => {
                    for question in questions {
                        inquiry.answer(&question, zone.answer(&question));
                    }
                }
                Progress::Wait => unreachable!("every question was answered"),
            }
        };
        let mut facts = Facts::unknown(0);
        facts.connection.ip = ip.into();
        facts.sender.clone_from(&sender);
        facts.stage = Stage::Message;
        let origin = Origin {
            authors: vec![crate::Author {
                address: sender,
                domain: author.into(),
            }],
            message_id: None,
            subject: None,
            signatures: None,
        };
        facts.message = Some(crate::decision::Message::of(&origin, &checked, 100));
        (facts, checked)
    }

    fn judged(facts: &Facts) -> Judgement {
        let address = "ann@ours.example".to_owned();
        Judgement::of(facts, Recipient::new(address, Standing::Known))
    }

    fn observed(seen: &[SeenMessage], counts: &[u64], left_out: u64) -> Observed {
        let rows = seen.iter().zip(counts);
        Observed {
            policy: seen[0].policy.clone().into(),
            rows: rows
                .map(|(seen, count)| (*count, seen.row.clone().into()))
                .collect(),
            left_out,
        }
    }

    #[test]
    fn a_report_says_what_was_seen_and_is_read_as_the_same() {
        let mut seen = Vec::new();
        for ip in [[192, 0, 2, 1], [192, 0, 2, 9]] {
            let (facts, checked) = message(ip, "far.example");
            seen.extend(seen_of(&facts, &checked, &[judged(&facts)], &|_| false));
        }
        assert_eq!(seen.len(), 2);
        let issue = Issue {
            submitter: "ours.example",
            from: "postmaster@ours.example",
            domain: "far.example",
            day: 20_454,
            id: "dmarc.20454.0123456789abcdef@ours.example",
        };
        let report = aggregate_report(&issue, &observed(&seen, &[2, 5], 3));
        let read = AggregateReport::read(report.to_xml().as_bytes(), &Limits::default());
        assert_eq!(read.as_ref(), Ok(&report));
        assert_eq!(
            (report.metadata.begin, report.metadata.end),
            (1_767_225_600, 1_767_311_999)
        );
        assert_eq!(
            report.metadata.errors,
            ["3 messages are left out: there were too many different results".into()]
        );
        let policy = &report.policy;
        assert_eq!(
            (
                policy.p.as_ref().map(Policy::as_str),
                policy.sp.as_ref().map(Policy::as_str),
                policy.adkim.as_ref().map(Alignment::as_str),
            ),
            (Some("reject"), Some("quarantine"), Some("s"))
        );
        let [forged, own] = &report.records[..] else {
            panic!("two records");
        };
        assert_eq!((&*forged.source_ip, forged.count), ("192.0.2.9", 5));
        assert_eq!(forged.disposition, Some(Disposition::Reject));
        assert_eq!(
            (&forged.dkim, &forged.spf),
            (&Some(Aligned::Fail), &Some(Aligned::Fail))
        );
        assert_eq!((&*own.source_ip, own.count), ("192.0.2.1", 2));
        assert_eq!(own.disposition, Some(Disposition::Pass));
        assert_eq!(own.spf, Some(Aligned::Pass));
        assert_eq!(own.envelope_to.as_deref(), Some("ours.example"));
        assert_eq!(own.spf_results[0].scope.as_deref(), Some("mfrom"));
    }

    #[test]
    fn nothing_is_kept_of_reports_of_our_own_domains_and_of_whom_nobody_asked_for() {
        let (facts, checked) = message([192, 0, 2, 1], "far.example");
        let mut report = judged(&facts);
        report.recipient.report = Some(ReportFound {
            kind: ReportKind::Dmarc,
            domains: "ours.example".into(),
            report_id: "1".into(),
            problem: None,
        });
        let of = |recipients: &[Judgement]| {
            seen_of(&facts, &checked, recipients, &|name| name == "ours.example").len()
        };
        assert_eq!(of(&[judged(&facts)]), 1);
        assert_eq!(of(&[report.clone()]), 0);
        // For whomever else it is.
        assert_eq!(of(&[report, judged(&facts)]), 0);
        let ours = seen_of(&facts, &checked, &[judged(&facts)], &|_| true);
        assert_eq!(ours, []);
        let (facts, checked) = message([192, 0, 2, 1], "quiet.example");
        let quiet = seen_of(&facts, &checked, &[judged(&facts)], &|_| false);
        assert_eq!(quiet, []);
    }
}
