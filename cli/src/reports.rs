//! `moxctl dmarc parsereportmsg` and `moxctl tlsrpt parsereportmsg`: reports of other servers.

use std::path::{Path, PathBuf};

use mox_report::{AggregateReport, Limits, Refused, TlsReport};
use serde_json::{Value, json};

use crate::args::transport::ParseReportMsg;
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::files::read_at_most;

/// Octets of a file at most: more than any report has, so that reading one says that it is too large.
const FILE_MAX: u64 = 64 << 20;

/// Reads DMARC aggregate reports.
pub(crate) fn dmarc(parse: &ParseReportMsg) -> Result<(), Failure> {
    run(parse, |octets| {
        let report = AggregateReport::read(octets, &Limits::default())?;
        let summary = json!({
            "org_name": report.metadata.org_name,
            "report_id": report.metadata.report_id,
            "begin": report.metadata.begin,
            "end": report.metadata.end,
            "domain": report.policy.domain,
            "p": report.policy.p,
            "records": report.records.len(),
            "messages": report.messages(),
        });
        Ok((summary, serde_json::to_value(&report).unwrap_or_default()))
    })
}

/// Reads TLS reports.
pub(crate) fn tlsrpt(parse: &ParseReportMsg) -> Result<(), Failure> {
    run(parse, |octets| {
        let report = TlsReport::read(octets, &Limits::default())?;
        let (ok, fail) = report.sessions();
        let summary = json!({
            "org": report.organization_name,
            "id": report.report_id,
            "policies": report.policies.len(),
            "ok": ok,
            "fail": fail,
        });
        Ok((summary, serde_json::to_value(&report).unwrap_or_default()))
    })
}

fn run(
    parse: &ParseReportMsg,
    read: impl Fn(&[u8]) -> Result<(Value, Value), Refused>,
) -> Result<(), Failure> {
    let stdin = [PathBuf::from("-")];
    let files = match parse.files.as_slice() {
        [] => &stdin[..],
        files => files,
    };
    let mut all = Vec::new();
    let mut refused = None;
    for file in files {
        let name = file.display();
        match read(&read_at_most(Path::new(file), FILE_MAX)?) {
            Ok((summary, report)) if parse.json => {
                all.push(json!({ "file": name.to_string(), "summary": summary, "report": report }));
            }
            Ok((_, report)) => print_json(&report)?,
            Err(why) => {
                all.push(json!({ "file": name.to_string(), "refused": why.to_string() }));
                refused = Some(format!("{name} is not taken as a report: {why}"));
                if !parse.json && files.len() > 1 {
                    eprintln!("moxctl: {name} is not taken as a report: {why}");
                }
            }
        }
    }
    if parse.json {
        print(format!("{:#}\n", Value::from(all)))?;
    }
    match refused {
        None => Ok(()),
        Some(why) => Err(Failure::Failed(why)),
    }
}
