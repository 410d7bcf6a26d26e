//! Records, evaluations and public suffixes of other projects, read from `$MAIL_VECTORS`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

mod zone;

use mox_dmarc::{
    Authenticated, Disposition, Message, Outcome, Record, Report, evaluate, registrable,
};
use mox_dns::{Answer, Facts, Question};
use mox_machine::{Rng, Seed};
use serde_json::Value;
use std::io::Write as _;
use zone::{Zone, check};

/// The lines of a file of the vectors; `None`, and a note, where they are not there.
fn lines(test: &str, file: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        std::fs::create_dir_all(target).unwrap();
        let mut skipped = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{target}/skipped.txt"))
            .unwrap();
        writeln!(skipped, "mox-dmarc {test}").unwrap();
        return None;
    };
    let text =
        std::fs::read_to_string(std::path::Path::new(&folder).join("dmarc").join(file)).unwrap();
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

/// A record that can be used and has nothing wrong with it.
fn is_valid(text: &str) -> bool {
    Record::parse(text.as_bytes())
        .is_ok_and(|record| record.defects.is_empty() && record.usable().is_some())
}

#[test]
fn records_are_valid_where_their_authors_say_so() {
    let Some(rows) = lines(
        "records_are_valid_where_their_authors_say_so",
        "records.jsonl",
    ) else {
        return;
    };
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows.iter().filter(|row| row["kind"] == "dmarc-record") {
        count += 1;
        let text = row["text"].as_str().unwrap();
        let ours = match text {
            // RFC 9989 4.10.1: with an address for reports, a broken sp= makes it p=none, which is a record in use.
            "v=DMARC1; p=reject; sp=invalid; rua=mailto:mjl@mox.example" => {
                Record::parse(text.as_bytes()).unwrap().usable().is_some()
            }
            // RFC 7489 6.4 and RFC 9989 4.8: no abbreviations; the row's note says the same.
            "v=DMARC1; p=n;" => !is_valid(text),
            // RFC 9989 4.7, rua: any valid URI may stand there; those of schemes nobody sends to are passed over.
            "v=DMARC1; p=none; rua=torrent://piratebay.net/dmarc" => !is_valid(text),
            text => is_valid(text),
        };
        if row["valid"] != ours {
            wrong.push(format!("{text}: {ours}, {}", row["note"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, 93);
}

#[test]
fn the_author_s_domain_is_that_of_the_first_address() {
    let Some(rows) = lines(
        "the_author_s_domain_is_that_of_the_first_address",
        "records.jsonl",
    ) else {
        return;
    };
    let mut count = 0;
    for row in rows.iter().filter(|row| row["kind"] == "from-domain") {
        count += 1;
        let from = row["text"].as_str().unwrap();
        let first = mox_mime::addresses(from.as_bytes(), 4).remove(0);
        assert_eq!(
            row["parsed"],
            String::from_utf8(first.host.unwrap().to_vec()).unwrap(),
            "{from}"
        );
    }
    assert_eq!(count, 5);
}

/// With any of the facts removed the evaluation is not done, or comes to the same.
fn holds_without_facts(
    message: &Message<'_>,
    report: &Report,
    facts: &[(Question, Answer)],
    rng: &mut Rng,
) {
    for _ in 0..50 {
        let some: Facts = facts.iter().filter(|_| rng.one_in(2)).cloned().collect();
        let complete = some.len() == facts.len();
        match evaluate(&some, message) {
            Ok(again) => assert!(complete && again == *report),
            Err(missing) => assert!(!complete && !missing.questions().is_empty()),
        }
    }
}

#[test]
fn evaluations_are_those_of_the_suite() {
    let test = "evaluations_are_those_of_the_suite";
    let (Some(rows), Some(more)) = (lines(test, "evaluate.jsonl"), lines(test, "records.jsonl"))
    else {
        return;
    };
    let outcome = |value: &Value| match value.as_str() {
        Some("pass") => Outcome::Pass,
        _ => Outcome::Fail,
    };
    let mut rng = Seed::from_number(7).rng();
    for row in &rows {
        let mut zone = Zone::default();
        for (name, text) in row["dns_txt"].as_object().unwrap() {
            zone.txt(name, text.as_str().unwrap());
        }
        let author = row["header_from"]
            .as_str()
            .unwrap()
            .split_once('@')
            .unwrap()
            .1;
        let spf = row["spf_domain"].as_str().map(|domain| Authenticated {
            domain: domain.as_bytes(),
            outcome: outcome(&row["spf"]),
        });
        let dkim: Vec<_> = row["dkim_domain"]
            .as_str()
            .map(|domain| Authenticated {
                domain: domain.as_bytes(),
                outcome: outcome(&row["dkim"]),
            })
            .into_iter()
            .collect();
        let message = Message {
            authors: &[author.as_bytes()],
            spf,
            dkim: &dkim,
        };
        let (report, facts) = check(&zone, &message, 1);
        let of = &report.authors[0];
        assert_eq!(row["expect_policy"], of.policy.name(), "{row}");
        if let Some(aligned) = row["expect_spf_aligned"].as_str() {
            assert_eq!(aligned == "pass", of.spf_aligned, "{row}");
        }
        if let Some(aligned) = row["expect_dkim_aligned"].as_str() {
            assert_eq!(aligned == "pass", of.dkim_aligned.is_some(), "{row}");
        }
        for seed in 2..5 {
            assert_eq!(check(&zone, &message, seed).0, report);
        }
        holds_without_facts(&message, &report, &facts, &mut rng);
    }
    assert_eq!(rows.len(), 5);
    for row in more.iter().filter(|row| row["kind"] == "alignment") {
        let text = row["text"].as_str().unwrap();
        let [one, other, mode] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        // Names with dots around them are an affair of one program, as its note says.
        if one.starts_with('.') {
            continue;
        }
        let mut zone = Zone::default();
        let organization = registrable(one).unwrap();
        zone.txt(
            &format!("_dmarc.{organization}"),
            &format!("v=DMARC1; p=reject; aspf={}", &mode[..1]),
        );
        let spf = Some(Authenticated {
            domain: other.as_bytes(),
            outcome: Outcome::Pass,
        });
        let message = Message {
            authors: &[one.as_bytes()],
            spf,
            dkim: &[],
        };
        let (report, facts) = check(&zone, &message, 1);
        holds_without_facts(&message, &report, &facts, &mut rng);
        assert_eq!(row["valid"], report.authors[0].spf_aligned, "{text}");
        assert_eq!(
            report.disposition == Disposition::None,
            report.authors[0].spf_aligned
        );
    }
}

#[test]
fn registered_names_are_those_of_the_public_suffix_list() {
    let Some(rows) = lines(
        "registered_names_are_those_of_the_public_suffix_list",
        "psl/cases.jsonl",
    ) else {
        return;
    };
    for row in &rows {
        let found = row["input"].as_str().and_then(registrable);
        assert_eq!(row["registrable"].as_str(), found.as_deref(), "{row}");
    }
    assert_eq!(rows.len(), 82);
}
