//! `moxctl dmarc` and `moxctl tlsrpt` with `reports` and `parsereportmsg`: reports of other servers.

use core::fmt::Write;
use std::path::PathBuf;

use mox_machine::Utc;
use mox_report::{AggregateReport, Limits, Refused, TlsReport};
use mox_server::reports::{ReportContent, ReportKind, StoredReport};
use mox_server::reports_out::ReportSent;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Args;
use crate::args::transport::{ParseReportMsg, Reports};
use crate::config_files::{ascii_domain, ctl_socket};
use crate::ctl::{self, Command};
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::files::read_at_most;

/// Octets of a file at most: more than any report has, so that reading one says that it is too large.
const FILE_MAX: u64 = 64 << 20;

/// Reads DMARC aggregate reports.
pub(crate) fn dmarc(parse: &ParseReportMsg) -> Result<(), Failure> {
    let read = |octets: &[u8]| AggregateReport::read(octets, &Limits::default());
    run(parse, read, |report| {
        json!({
            "org_name": report.metadata.org_name,
            "report_id": report.metadata.report_id,
            "begin": report.metadata.begin,
            "end": report.metadata.end,
            "domain": report.policy.domain,
            "p": report.policy.p,
            "records": report.records.len(),
            "messages": report.messages(),
        })
    })
}

/// Reads TLS reports.
pub(crate) fn tlsrpt(parse: &ParseReportMsg) -> Result<(), Failure> {
    let read = |octets: &[u8]| TlsReport::read(octets, &Limits::default());
    run(parse, read, |report| {
        let (ok, fail) = report.sessions();
        json!({
            "org": report.organization_name,
            "id": report.report_id,
            "policies": report.policies.len(),
            "ok": ok,
            "fail": fail,
        })
    })
}

/// What one file came to, for `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Told<T> {
    Read {
        file: String,
        summary: Value,
        report: T,
    },
    Refused {
        file: String,
        refused: String,
    },
}

fn run<T: Serialize>(
    parse: &ParseReportMsg,
    read: impl Fn(&[u8]) -> Result<T, Refused>,
    summary: impl Fn(&T) -> Value,
) -> Result<(), Failure> {
    let stdin = [PathBuf::from("-")];
    let files = match parse.files.as_slice() {
        [] => &stdin[..],
        files => files,
    };
    let mut all = Vec::new();
    let mut refused = None;
    for path in files {
        let file = path.display().to_string();
        let read = read(&read_at_most(path, FILE_MAX)?);
        match read {
            Ok(report) if parse.json => all.push(Told::Read {
                file,
                summary: summary(&report),
                report,
            }),
            Ok(report) => print_json(&report)?,
            Err(why) => {
                let told = format!("{file} is not taken as a report: {why}");
                if !parse.json && files.len() > 1 {
                    eprintln!("moxctl: {told}");
                }
                refused = Some(told);
                all.push(Told::Refused {
                    file,
                    refused: why.to_string(),
                });
            }
        }
    }
    if parse.json {
        print_json(&all)?;
    }
    match refused {
        None => Ok(()),
        Some(why) => Err(Failure::Failed(why)),
    }
}

/// Rows of a report that are shown to people.
const SHOWN: usize = 10;

/// Lists reports that came.
pub(crate) fn list(args: &Args, kind: ReportKind, list: &Reports) -> Result<(), Failure> {
    let domain = match &list.domain {
        Some(name) => Some(ascii_domain(name)?.to_string()),
        None => None,
    };
    let socket = ctl_socket(args)?;
    let max = list.max;
    if list.sent {
        let reports: Vec<ReportSent> =
            ctl::ask(&socket, &Command::ReportsSent { kind, domain, max })?;
        return match (list.json, reports.is_empty()) {
            (true, _) => print_json(&reports),
            (false, true) => print(format!("no {} was sent\n", kind.name())),
            (false, false) => print(reports.iter().map(sent).collect::<String>()),
        };
    }
    let reports: Vec<StoredReport> = ctl::ask(&socket, &Command::Reports { kind, domain, max })?;
    if list.json {
        return print_json(&reports);
    }
    match reports.is_empty() {
        true => print(format!("no {} came\n", kind.name())),
        false => print(reports.iter().map(text).collect::<Vec<_>>().join("\n")),
    }
}

/// One line of a report that was sent, or not.
fn sent(report: &ReportSent) -> String {
    let day = Utc::from_secs(report.day).to_string();
    let day = day.split('T').next().unwrap_or_default();
    let what = match report.to.is_empty() {
        true => format!("not sent: {}", report.text),
        false => {
            let but = match report.text.as_str() {
                "" => String::new(),
                text => format!(" (but: {text})"),
            };
            let to = report.to.join(", ");
            format!("sent to {to}{but}, report {}", report.report_id)
        }
    };
    let at = Utc::from_secs(report.at);
    format!(
        "{at}  {}  of {day}, {}: {what}\n",
        report.domain, report.count
    )
}

fn text(report: &StoredReport) -> String {
    let mut out = format!(
        "{}  {}  {} ({}), report {}\n  from {} to {}\n",
        Utc::from_secs(report.received),
        report.domains.join(", "),
        report.organization,
        report.from,
        report.report_id,
        Utc::from_secs(report.begin),
        Utc::from_secs(report.end),
    );
    let more = match &report.content {
        ReportContent::Dmarc {
            messages,
            passed,
            sources,
            more,
        } => {
            let _ = writeln!(out, "  {messages} messages, {passed} passed");
            for source in sources.iter().take(SHOWN) {
                let _ = writeln!(
                    out,
                    "  {:>8}  {}  From {}: dkim {}, spf {}, {}",
                    source.count,
                    source.ip,
                    source.header_from,
                    source.dkim,
                    source.spf,
                    source.disposition,
                );
            }
            u64::try_from(sources.len().saturating_sub(SHOWN)).unwrap_or(u64::MAX) + more
        }
        ReportContent::Tls {
            successful,
            failed,
            failures,
            more,
        } => {
            let _ = writeln!(out, "  {successful} sessions went well, {failed} failed");
            for failure in failures.iter().take(SHOWN) {
                let _ = writeln!(
                    out,
                    "  {:>8}  {}  {} {}",
                    failure.count, failure.kind, failure.domain, failure.mx,
                );
            }
            u64::try_from(failures.len().saturating_sub(SHOWN)).unwrap_or(u64::MAX) + more
        }
    };
    if more > 0 {
        let _ = writeln!(out, "            and {more} more");
    }
    out
}
