//! Records, policies and MX matches of other projects, read from `$MAIL_VECTORS`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use mox_address::Domain;
use mox_dns::{Answer, Facts, Name, Question, Record, RecordType};
use mox_tls_policy::{
    MxPattern, StsLookup, StsPolicy, StsRecord, TlsrptLookup, TlsrptRecord, sts_lookup,
    tlsrpt_lookup,
};
use serde_json::Value;
use std::io::Write as _;

/// The rows of one kind; `None`, and a note, where the vectors are not there.
fn rows(test: &str, kind: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(target).unwrap();
        let mut skipped = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{target}/skipped.txt"))
            .unwrap();
        writeln!(skipped, "mox-tls-policy {test}").unwrap();
        return None;
    };
    let file = std::path::Path::new(&folder).join("tlsrpt-mtasts/records.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap());
    Some(rows.filter(|row: &Value| row["kind"] == kind).collect())
}

/// Rows whose validity is not ours.
fn disagreeing(rows: &[Value], is_valid: impl Fn(&str) -> bool) -> Vec<String> {
    let text = |row: &Value| row["text"].as_str().unwrap().to_owned();
    rows.iter()
        .filter(|row| row["valid"] != is_valid(&text(row)))
        .map(|row| format!("{}: not {}, {}", row["text"], row["valid"], row["note"]))
        .collect()
}

/// One TXT record at a name, and everything else missing.
fn facts(name: &str, text: &str) -> Facts {
    let question = Question::new(name, RecordType::Txt).unwrap();
    let record = Record::Txt(text.as_bytes().to_vec().into());
    [(question, Answer::records(vec![record], 300))]
        .into_iter()
        .collect()
}

#[test]
fn mta_sts_records_are_valid_where_their_authors_say_so() {
    let test = "mta_sts_records_are_valid_where_their_authors_say_so";
    let Some(rows) = rows(test, "mtasts-record") else {
        return;
    };
    let wrong = disagreeing(&rows, |text| {
        StsRecord::parse(text.as_bytes()).is_ok_and(|record| record.defects.is_empty())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), 11);
    let domain = Name::parse("example.org").unwrap();
    for row in rows.iter().filter(|row| row["valid"] == true) {
        let text = row["text"].as_str().unwrap();
        let record = StsRecord::parse(text.as_bytes()).unwrap();
        assert_eq!(
            StsRecord::parse(record.to_string().as_bytes()).as_ref(),
            Ok(&record)
        );
        assert!(sts_lookup(&Facts::default(), &domain).is_err());
        let facts = facts("_mta-sts.example.org", text);
        assert_eq!(
            sts_lookup(&facts, &domain).unwrap(),
            StsLookup::Record(record)
        );
    }
}

#[test]
fn mta_sts_policies_are_valid_where_their_authors_say_so() {
    let test = "mta_sts_policies_are_valid_where_their_authors_say_so";
    let Some(rows) = rows(test, "mtasts-policy") else {
        return;
    };
    let wrong = disagreeing(&rows, |text| {
        StsPolicy::parse(text.as_bytes()).is_ok_and(|policy| policy.defects.is_empty())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), 17);
    for row in rows.iter().filter(|row| row["valid"] == true) {
        let policy = StsPolicy::parse(row["text"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(StsPolicy::parse(policy.to_string().as_bytes()), Ok(policy));
    }
}

#[test]
fn tlsrpt_records_are_valid_where_their_authors_say_so() {
    let test = "tlsrpt_records_are_valid_where_their_authors_say_so";
    let Some(rows) = rows(test, "tlsrpt-record") else {
        return;
    };
    let wrong = disagreeing(&rows, |text| {
        TlsrptRecord::parse(text.as_bytes()).is_ok_and(|record| record.defects.is_empty())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), 13);
    let domain = Name::parse("example.org").unwrap();
    for row in rows.iter().filter(|row| row["valid"] == true) {
        let text = row["text"].as_str().unwrap();
        let record = TlsrptRecord::parse(text.as_bytes()).unwrap();
        assert_eq!(
            TlsrptRecord::parse(record.to_string().as_bytes()).as_ref(),
            Ok(&record)
        );
        assert!(tlsrpt_lookup(&Facts::default(), &domain).is_err());
        let facts = facts("_smtp._tls.example.org", text);
        assert_eq!(
            tlsrpt_lookup(&facts, &domain).unwrap(),
            TlsrptLookup::Record(record)
        );
    }
}

#[test]
fn hosts_match_where_their_authors_say_so() {
    let Some(rows) = rows("hosts_match_where_their_authors_say_so", "mtasts-mx-match") else {
        return;
    };
    // The rows have names as people type them; ours are those of DNS and of policies, which are A-labels.
    let a_labels = |text: &str| {
        let text = text.strip_suffix('.').unwrap_or(text);
        let domain = Domain::parse(text, true).ok()?;
        Some(domain.to_ascii().ok()?.as_str().to_owned())
    };
    let pattern = |text: &str| match text.strip_prefix("*.") {
        Some(rest) => MxPattern::parse(&format!("*.{}", a_labels(rest)?)),
        None => MxPattern::parse(&a_labels(text)?),
    };
    let wrong = disagreeing(&rows, |text| {
        let (host, text) = text.split_once(' ').unwrap();
        let host = Name::parse(a_labels(host).unwrap()).unwrap();
        pattern(text).is_some_and(|pattern| pattern.matches(&host))
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), 15);
}
