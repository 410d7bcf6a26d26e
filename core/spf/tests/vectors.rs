//! The test suite of RFC 7208, read from `$MAIL_VECTORS`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

mod zone;

use bytes::Bytes;
use mox_dns::{Facts, Failure, Name, Record};
use mox_machine::{Rng, Seed};
use mox_spf::{Limits, Query, check_host};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use zone::Zone;

/// A file of the vectors; `None`, and a note, where they are not there.
fn vectors(test: &str, file: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(target).unwrap();
        let mut skipped = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{target}/skipped.txt"))
            .unwrap();
        writeln!(skipped, "mox-spf {test}").unwrap();
        return None;
    };
    Some(std::fs::read_to_string(std::path::Path::new(&folder).join(file)).unwrap())
}

/// The suite writes octets as characters up to U+00FF.
fn octets(text: &str) -> Bytes {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect::<Vec<u8>>()
        .into()
}

fn joined(value: &Value) -> Bytes {
    match value {
        Value::String(text) => octets(text),
        Value::Array(parts) => octets(
            &parts
                .iter()
                .map(|p| p.as_str().unwrap())
                .collect::<String>(),
        ),
        other => panic!("{other}"),
    }
}

fn name(text: &str) -> Name {
    match text {
        "" => Name::root(),
        text => Name::parse(octets(text)).unwrap(),
    }
}

/// A scenario's zone data. `SPF` is served as TXT unless the name has `TXT` too.
fn zone(data: &Value) -> Zone {
    let mut zone = Zone::default();
    for (owner, entries) in data.as_object().unwrap() {
        let owner = name(owner);
        let entries = entries.as_array().unwrap();
        let has_txt = entries.iter().any(|e| e.get("TXT").is_some());
        for entry in entries {
            if entry == "TIMEOUT" {
                zone.failures.insert(owner.clone(), Failure::Timeout);
                continue;
            }
            for (kind, value) in entry.as_object().unwrap() {
                let record = match kind.as_str() {
                    "TXT" if value == "NONE" => {
                        zone.records.entry(owner.clone()).or_default();
                        continue;
                    }
                    "SPF" if has_txt => continue,
                    "SPF" | "TXT" => Record::Txt(joined(value)),
                    "A" => Record::A(value.as_str().unwrap().parse().unwrap()),
                    "AAAA" => Record::Aaaa(value.as_str().unwrap().parse().unwrap()),
                    "PTR" => Record::Ptr(name(value.as_str().unwrap())),
                    "CNAME" => Record::Cname(name(value.as_str().unwrap())),
                    "MX" => Record::Mx {
                        preference: u16::try_from(value[0].as_u64().unwrap()).unwrap(),
                        exchange: name(value[1].as_str().unwrap()),
                    },
                    other => panic!("{other}"),
                };
                zone.add(owner.clone(), record);
            }
        }
    }
    zone
}

/// With any of the facts removed the check is not done, or comes to the same.
fn holds_without_facts(zone: &Zone, query: &Query<'_>, limits: &Limits, rng: &mut Rng) {
    let (report, facts) = zone.check(query, limits, 0);
    for _ in 0..50 {
        let some: Facts = facts.iter().filter(|_| rng.one_in(2)).cloned().collect();
        let complete = some.len() == facts.len();
        match check_host(&some, query, limits) {
            Ok(again) => assert!(complete && again == report, "{again:?}"),
            Err(missing) => assert!(!complete && !missing.questions().is_empty()),
        }
    }
    let replayed: Facts = facts.into_iter().collect();
    assert_eq!(check_host(&replayed, query, limits).unwrap(), report);
}

#[test]
fn every_case_of_the_suite_comes_to_an_accepted_result() {
    let test = "every_case_of_the_suite_comes_to_an_accepted_result";
    let Some(cases) = vectors(test, "spf/rfc7208-tests.cases.jsonl") else {
        return;
    };
    let zones = vectors(test, "spf/rfc7208-tests.zones.json").unwrap();
    let zones: Vec<Value> = serde_json::from_str(&zones).unwrap();
    let zones: BTreeMap<&str, Zone> = zones
        .iter()
        .map(|z| (z["section"].as_str().unwrap(), zone(&z["zonedata"])))
        .collect();
    let mut rng = Seed::from_number(7).rng();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let (helo, mail_from) = (octets(text("helo")), octets(text("mail_from")));
        let query = Query {
            ip: text("ip").parse().unwrap(),
            helo: &helo,
            mail_from: &mail_from,
            receiver: b"mx.example.org",
            time: 1_700_000_000,
        };
        let zone = &zones[text("section")];
        let limits = Limits::default();
        let (report, _) = zone.check(&query, &limits, count);
        let accepted = case["accept"].as_array().unwrap();
        if !accepted.iter().any(|a| a == report.verdict.name()) {
            wrong.push(format!(
                "{}: {} not in {accepted:?}: {report:#?}",
                case["id"], report.verdict
            ));
        }
        let explained = match text("explanation") {
            "" => true,
            "DEFAULT" => report.explanation.is_none(),
            expected => report.explanation.as_deref() == Some(expected),
        };
        if !explained {
            wrong.push(format!(
                "{}: {:?} explains {:?}",
                case["id"], report.explanation, case["explanation"]
            ));
        }
        for seed in 1..4 {
            assert_eq!(
                zone.check(&query, &limits, seed).0,
                report,
                "{}",
                case["id"]
            );
        }
        holds_without_facts(zone, &query, &limits, &mut rng);
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, 203);
}
