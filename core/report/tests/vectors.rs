//! Reports of many senders, read from `$MAIL_VECTORS`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use mox_report::{AggregateReport, Limits, Refused, TlsReport};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;

/// A folder of the vectors; `None`, and a note, where they are not there.
fn folder(test: &str, name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(target).unwrap();
        let mut skipped = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{target}/skipped.txt"))
            .unwrap();
        writeln!(skipped, "mox-report {test}").unwrap();
        return None;
    };
    Some(PathBuf::from(folder).join(name))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_aggregate_report_has_the_expected_summary_or_is_not_well_formed() {
    let test = "every_aggregate_report_has_the_expected_summary_or_is_not_well_formed";
    let Some(folder) = folder(test, "dmarc") else {
        return;
    };
    let rows = lines(&std::fs::read_to_string(folder.join("aggregate.jsonl")).unwrap());
    let mut refused = 0;
    for row in &rows {
        let file = row["file"].as_str().unwrap();
        let octets = std::fs::read(folder.join(file)).unwrap();
        let read = AggregateReport::read(&octets, &Limits::default());
        let expected = &row["summary"];
        if expected.is_null() {
            assert!(
                row["strict_xml_error"]
                    .as_str()
                    .unwrap()
                    .contains("not well-formed")
            );
            assert!(matches!(read, Err(Refused::Syntax(_))), "{file}: {read:?}");
            refused += 1;
            continue;
        }
        let report = read.unwrap_or_else(|why| panic!("{file}: {why}"));
        // Two senders write `.0` behind their seconds, and the summary quotes them.
        let seconds = |key: &str| {
            let text = expected[key].as_str().unwrap();
            let digits = text.strip_suffix(".0").unwrap_or(text);
            digits.parse::<u64>().unwrap()
        };
        assert_eq!(expected["org_name"], *report.metadata.org_name, "{file}");
        assert_eq!(expected["report_id"], *report.metadata.report_id, "{file}");
        assert_eq!(seconds("begin"), report.metadata.begin, "{file}");
        assert_eq!(seconds("end"), report.metadata.end, "{file}");
        assert_eq!(expected["domain"], *report.policy.domain, "{file}");
        let p = report.policy.p.as_ref().unwrap();
        assert_eq!(expected["p"], p.as_str(), "{file}");
        assert_eq!(expected["records"], report.records.len(), "{file}");
        assert_eq!(expected["messages"], report.messages(), "{file}");
        for record in &report.records {
            assert!(record.ip().is_some(), "{file}: {}", record.source_ip);
        }
        let again = AggregateReport::read(report.to_xml().as_bytes(), &Limits::default());
        assert_eq!(again, Ok(report), "{file}");
    }
    assert_eq!((rows.len(), refused), (35, 2));
}

#[test]
fn aggregate_reports_say_what_another_program_reads_in_them() {
    let test = "aggregate_reports_say_what_another_program_reads_in_them";
    let Some(folder) = folder(test, "dmarc") else {
        return;
    };
    let rows = lines(&std::fs::read_to_string(folder.join("aggregate.jsonl")).unwrap());
    let lower = |value: &Value| value.as_str().unwrap_or_default().to_ascii_lowercase();
    let mut count = 0;
    for row in rows {
        let Some(expected) = row["origin_expected"].as_str() else {
            continue;
        };
        let expected = std::fs::read_to_string(folder.join(expected)).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let file = row["file"].as_str().unwrap();
        let octets = std::fs::read(folder.join(file)).unwrap();
        let report = AggregateReport::read(&octets, &Limits::default()).unwrap();
        assert_eq!(
            expected["report_metadata"]["email"], *report.metadata.email,
            "{file}"
        );
        for (theirs, ours) in expected["record"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&report.records)
        {
            let row = &theirs["row"];
            assert_eq!(row["source_ip"], *ours.source_ip, "{file}");
            assert_eq!(row["count"], ours.count, "{file}");
            let evaluated = &row["policy_evaluated"];
            let disposition = ours.disposition.as_ref().unwrap().as_str();
            assert_eq!(lower(&evaluated["disposition"]), disposition, "{file}");
            assert_eq!(
                lower(&evaluated["dkim"]),
                ours.dkim.as_ref().unwrap().as_str()
            );
            assert_eq!(
                lower(&evaluated["spf"]),
                ours.spf.as_ref().unwrap().as_str()
            );
            assert_eq!(
                theirs["identifiers"]["header_from"], *ours.header_from,
                "{file}"
            );
            for (kind, ours) in [
                (
                    "dkim",
                    ours.dkim_results
                        .iter()
                        .map(|dkim| (&dkim.domain, &dkim.result))
                        .collect::<Vec<_>>(),
                ),
                (
                    "spf",
                    ours.spf_results
                        .iter()
                        .map(|spf| (&spf.domain, &spf.result))
                        .collect(),
                ),
            ] {
                let theirs = theirs["auth_results"][kind].as_array().unwrap();
                assert_eq!(theirs.len(), ours.len(), "{file}");
                for (theirs, (domain, result)) in theirs.iter().zip(ours) {
                    assert_eq!(theirs["domain"], **domain, "{file}");
                    let result = result.as_ref().unwrap().as_str();
                    assert_eq!(lower(&theirs["result"]), result, "{file}");
                }
            }
        }
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn every_tls_report_has_the_expected_summary() {
    let Some(folder) = folder("every_tls_report_has_the_expected_summary", "tlsrpt-mtasts") else {
        return;
    };
    let rows = lines(&std::fs::read_to_string(folder.join("reports.jsonl")).unwrap());
    for row in &rows {
        let file = row["file"].as_str().unwrap();
        let octets = std::fs::read(folder.join(file)).unwrap();
        let report = TlsReport::read(&octets, &Limits::default())
            .unwrap_or_else(|why| panic!("{file}: {why}"));
        let expected = &row["summary"];
        assert_eq!(expected["org"], report.organization_name, "{file}");
        assert_eq!(expected["id"], report.report_id, "{file}");
        assert_eq!(expected["policies"], report.policies.len(), "{file}");
        let (ok, failed) = report.sessions();
        assert_eq!(expected["ok"], ok, "{file}");
        assert_eq!(expected["fail"], failed, "{file}");
        let again = TlsReport::read(report.to_json().as_bytes(), &Limits::default());
        assert_eq!(again, Ok(report), "{file}");
    }
    assert_eq!(rows.len(), 4);
}
