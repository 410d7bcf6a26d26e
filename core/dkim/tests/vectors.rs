//! Signed messages of other projects, read from `$MAIL_VECTORS`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use mox_dkim::{AwsLc, Hashed, Limits, Policy, Report, Verdict, Verifier, overall};
use mox_dns::{Answer, Facts, Failure, Inquiry, Name, Progress, Question, Record};
use mox_machine::{Mono, Now, Seed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of the vectors; `None`, and a note, where they are not there.
fn vectors(test: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(target).unwrap();
        let mut skipped = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{target}/skipped.txt"))
            .unwrap();
        writeln!(skipped, "mox-dkim {test}").unwrap();
        return None;
    };
    Some(Path::new(&folder).join("dkim"))
}

/// Header and body of a message, every line end made CRLF.
fn message(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let raw = std::fs::read(path).unwrap();
    let mut text = Vec::new();
    for (n, line) in raw.split(|b| *b == b'\n').enumerate() {
        if n > 0 {
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
    }
    match text.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => (text[..at + 2].to_vec(), text[at + 4..].to_vec()),
        None => (text, Vec::new()),
    }
}

/// What a name server says; what is not in it does not exist.
fn answer(zone: &BTreeMap<Name, Answer>, question: &Question) -> Answer {
    let absent = Answer::failure(Failure::NoDomain, 60);
    zone.get(question.name()).cloned().unwrap_or(absent)
}

fn zone(case: &Value) -> BTreeMap<Name, Answer> {
    let txt = |text: &Value| Record::Txt(text.as_str().unwrap().as_bytes().to_vec().into());
    let mut zone = BTreeMap::new();
    for (name, value) in case["dns_txt"].as_object().unwrap() {
        let Ok(name) = Name::parse(name) else {
            continue;
        };
        let answer = match value {
            Value::String(_) => Answer::records(vec![txt(value)], 300),
            Value::Array(all) => Answer::records(all.iter().map(txt).collect::<Vec<_>>(), 300),
            other => Answer::failure(
                match other["error"].as_str().unwrap() {
                    "nxdomain" => Failure::NoDomain,
                    "timeout" => Failure::Timeout,
                    _ => Failure::ServFail,
                },
                0,
            ),
        };
        zone.insert(name, answer);
    }
    zone
}

fn hashed(header: &[u8], body: &[u8], cut: usize) -> Hashed {
    let mut verifier = Verifier::new(header, &Limits::default());
    for piece in body.chunks(cut) {
        verifier.push(piece);
    }
    verifier.finish()
}

/// The newest t=, else the Date.
fn clock(header: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(header).replace("\r\n", "");
    let times = text
        .split([';', ' ', '\t'])
        .filter_map(|tag| tag.strip_prefix("t=")?.trim().parse().ok());
    times.max().unwrap_or_else(|| {
        let date = mox_mime::header::find(header, b"date").and_then(mox_mime::Date::parse);
        date.map_or(1_400_000_000, |date| date.unix())
    })
}

/// Reports, and the facts they rest on; with `shuffle`, answers come in a drawn order.
fn judge(
    hashed: &Hashed,
    zone: &BTreeMap<Name, Answer>,
    now: i64,
    shuffle: u64,
) -> (Vec<Report>, Vec<(Question, Answer)>) {
    let mut rng = Seed::from_number(shuffle).rng();
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    let mut open: Vec<Question> = Vec::new();
    loop {
        match inquiry.run(Now::default(), |facts| {
            hashed.judge(facts, &Policy::default(), now, &AwsLc)
        }) {
            Progress::Done(reports) => {
                let facts = inquiry.facts().demanded();
                return (
                    reports,
                    facts.map(|(q, a)| (q.clone(), a.clone())).collect(),
                );
            }
            Progress::Ask(questions) => open.extend(questions),
            Progress::Wait => {}
        }
        let question = open.swap_remove(usize::try_from(rng.below(open.len() as u64)).unwrap());
        inquiry.answer(&question, answer(zone, &question));
    }
}

/// Rows whose expectation contradicts an RFC, with what we say and where that is written.
const DISPUTED: &[(&str, Verdict, &str)] = &[
    (
        "maildkim-multiple_2",
        Verdict::Fail,
        "RFC 8301 3.1: rsa-sha1 must not pass; the row expects it to",
    ),
    (
        "maildkim-bad_ietf01_1",
        Verdict::PermError,
        "RFC 6376 3.5: v= is required; the row expects a fail",
    ),
    (
        "maildkim-bad_ietf01_2",
        Verdict::PermError,
        "RFC 6376 3.5: v= is required; the row expects a fail",
    ),
    (
        "maildkim-bad_1878954",
        Verdict::PermError,
        "RFC 6376 5.4: there is no From field to sign; the row expects a fail",
    ),
    (
        "dkimpy-ed25519test2.msg",
        Verdict::PermError,
        "RFC 6376 6.1.2: no key is a PERMFAIL; the row expects a fail",
    ),
    (
        "mimekit-no-end-boundary",
        Verdict::PermError,
        "RFC 6376 6.1.2: no key is a PERMFAIL; the row expects a fail",
    ),
];

#[test]
fn every_undisputed_message_comes_to_the_expected_verdict() {
    let Some(folder) = vectors("every_undisputed_message_comes_to_the_expected_verdict") else {
        return;
    };
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    let mut rng = Seed::from_number(7).rng();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (header, body) = message(&folder.join(case["file"].as_str().unwrap()));
        let zone = zone(&case);
        let now = clock(&header);
        let whole = hashed(&header, &body, usize::MAX);
        let (reports, facts) = judge(&whole, &zone, now, 1);
        for cut in [1, 2, 7, 64] {
            assert_eq!(
                judge(&hashed(&header, &body, cut), &zone, now, cut as u64).0,
                reports,
                "{}",
                case["id"]
            );
        }
        for _ in 0..50 {
            let some: Facts = facts.iter().filter(|_| rng.one_in(2)).cloned().collect();
            let complete = some.len() == facts.len();
            match whole.judge(&some, &Policy::default(), now, &AwsLc) {
                Ok(again) => assert!(complete && again == reports, "{again:?}"),
                Err(missing) => assert!(!complete && !missing.questions().is_empty()),
            }
        }
        if case["contested"] == true {
            continue;
        }
        count += 1;
        let expected = case["expect_modern"].as_str().unwrap();
        let came = overall(&reports);
        let agrees = match expected {
            _ if DISPUTED.iter().any(|(id, ..)| case["id"] == *id) => DISPUTED
                .iter()
                .any(|(id, ours, _)| case["id"] == *id && came == *ours),
            e if e.starts_with("not-pass") => {
                matches!(
                    came,
                    Verdict::Fail | Verdict::PermError | Verdict::Policy | Verdict::Neutral
                )
            }
            expected => came.name() == expected,
        };
        if !agrees {
            wrong.push(format!(
                "{}: {came} instead of {expected}: {reports:#?}",
                case["id"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
    assert_eq!(count, 99);
}
