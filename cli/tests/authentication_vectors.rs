//! The suites of other projects through the built program; and for every case, that the answers it kept give the same
//! result again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;
mod told;

use mox_machine::Utc;
use mox_suites::DmarcCase;
use scratch::Scratch;
use serde_json::Value;
use std::fs;
use told::{told, with_input};

/// A command that is run twice: on a zone, and on the answers that the first run kept.
struct Replayed {
    scratch: Scratch,
}

impl Replayed {
    fn new(test: &str) -> Self {
        Self {
            scratch: Scratch::new(test),
        }
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.scratch.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What the command says in JSON. `input` is its stdin.
    #[track_caller]
    fn run(&self, args: &[&str], zone: &str, input: &[u8]) -> Value {
        let zone = self.file("zone", zone.as_bytes());
        let facts = self.scratch.path("facts").to_str().unwrap().to_owned();
        let again = self.scratch.path("again").to_str().unwrap().to_owned();
        let run = |dns: &str, facts: &str| {
            let options = ["--json", "--dns", dns, "--facts", facts];
            let args = [&args[..2], &options, &args[2..]].concat();
            let (code, out, err) = told(&with_input(&args, input));
            assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
            out
        };
        let first = run(&zone, &facts);
        let kept = fs::read_to_string(&facts).unwrap();
        assert_eq!(run(&facts, &again), first, "{args:?}: {kept}");
        assert_eq!(fs::read_to_string(again).unwrap(), kept);
        serde_json::from_str(&first).unwrap()
    }
}

#[test]
fn every_case_of_the_spf_suite_comes_to_an_accepted_result() {
    let test = "mox-cli every_case_of_the_spf_suite_comes_to_an_accepted_result";
    let Some(folder) = mox_suites::folder(test) else {
        return;
    };
    let replayed = Replayed::new("spf-suite");
    let mut wrong = Vec::new();
    for case in mox_suites::spf(&folder) {
        let ip = case.ip.to_string();
        let run = |domain: &str| {
            let args = [
                "spf",
                "check",
                "--now",
                "2023-11-14T22:13:20Z",
                "--helo",
                &case.helo,
                "--mail-from",
                &case.mail_from,
                "--",
                domain,
                &ip,
            ];
            replayed.run(&args, &case.zone, b"")
        };
        let report = run(case.domain());
        assert_eq!(run(""), report, "{}", case.id);
        let result = report["result"].as_str().unwrap();
        let is_accepted = case.accept.iter().any(|accepted| accepted == result);
        if !is_accepted || !case.is_explained(report["explanation"].as_str()) {
            wrong.push(format!("{case:?}: {report:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_undisputed_signed_message_comes_to_the_expected_result() {
    let test = "mox-cli every_undisputed_signed_message_comes_to_the_expected_result";
    let Some(folder) = mox_suites::folder(test) else {
        return;
    };
    let replayed = Replayed::new("dkim-suite");
    let mut wrong = Vec::new();
    for case in mox_suites::dkim(&folder) {
        let now = Utc::from_secs(case.now).to_string();
        let file = case.file.to_str().unwrap();
        let args = ["dkim", "verify", "--now", &now, file];
        let report = replayed.run(&args, &case.zone, b"");
        if !case.agrees(report["result"].as_str().unwrap()) {
            wrong.push(format!("{}: not {:?}: {report:#}", case.id, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

/// The message of a case and the DNS of its sender, such that SPF and DKIM really come to what the case says.
fn message(replayed: &Replayed, case: &DmarcCase) -> (String, String) {
    let mut zone = case.zone.clone();
    let mut message = format!("From: {}\nSubject: x\n\nhello\n", case.from);
    if let Some((domain, passes)) = &case.spf {
        let ip = if *passes { "192.0.2.1" } else { "192.0.2.2" };
        zone += &format!("{domain}. TXT \"v=spf1 ip4:{ip} -all\"\n");
    }
    if let Some((domain, passes)) = &case.dkim {
        let pem = told(&with_input(&["dkim", "gened25519"], b"")).1;
        let key = format!("s={}", replayed.file("key", pem.as_bytes()));
        let txt = ["dkim", "txt", "--selector", "s", "--domain", domain];
        zone += &told(&with_input(&txt, pem.as_bytes())).1;
        let now = "2026-01-02T03:04:05Z";
        let sign = [
            "dkim", "sign", "--key", &key, "--domain", domain, "--now", now,
        ];
        message = told(&with_input(&sign, message.as_bytes())).1;
        if !passes {
            message += "more\n";
        }
    }
    (zone, message)
}

#[test]
fn dmarc_evaluations_are_those_of_the_suite() {
    let Some(folder) = mox_suites::folder("mox-cli dmarc_evaluations_agree") else {
        return;
    };
    let replayed = Replayed::new("dmarc-suite");
    for case in mox_suites::dmarc(&folder) {
        let (zone, message) = message(&replayed, &case);
        let mail_from = case.spf.as_ref().map(|(domain, _)| format!("x@{domain}"));
        let args = [
            "dmarc",
            "verify",
            "--now",
            "2026-01-02T03:04:05Z",
            "192.0.2.1",
            &mail_from.unwrap_or_default(),
            "h.example",
        ];
        let report = replayed.run(&args, &zone, message.as_bytes());
        let author = &report["authors"][0];
        assert_eq!(author["policy"], *case.policy, "{case:?}");
        let spf = author["spf_aligned"] == true;
        let dkim = !author["dkim_aligned"].is_null();
        assert_eq!(spf, case.spf_aligned.unwrap_or(spf), "{case:?}");
        assert_eq!(dkim, case.dkim_aligned.unwrap_or(dkim), "{case:?}");
        let disposition = if spf || dkim { "none" } else { &case.policy };
        assert_eq!(report["disposition"], *disposition, "{case:?}");
        let word = |passes: bool| if passes { "pass" } else { "fail" };
        if let Some((_, passes)) = case.spf {
            assert_eq!(report["spf"]["result"], word(passes), "{case:?}");
        }
        if let Some((_, passes)) = case.dkim {
            assert_eq!(report["dkim"][0]["result"], word(passes), "{case:?}");
        }
    }
}
