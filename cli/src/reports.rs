//! `moxctl dmarc parsereportmsg` and `moxctl tlsrpt parsereportmsg`: reports of other servers.

use std::path::PathBuf;

use mox_report::{AggregateReport, Limits, Refused, TlsReport};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::transport::ParseReportMsg;
use crate::facts::print_json;
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
