//! What strangers can publish and send at worst, through the built program: each comes to a clear result.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;
mod told;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scratch::Scratch;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use told::{told, with_input};

/// What a command says in JSON about this zone, with this on stdin.
#[track_caller]
fn json(test: &str, args: &[&str], zone: &str, input: &[u8]) -> Value {
    let scratch = Scratch::new(test);
    let path = scratch.path("zone");
    fs::write(&path, zone).unwrap();
    let options = ["--json", "--dns", path.to_str().unwrap()];
    let (code, out, err) = told(&with_input(
        &[&args[..2], &options, &args[2..]].concat(),
        input,
    ));
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&out).unwrap()
}

/// Result and problem of an SPF check of example.org.
#[track_caller]
fn spf(test: &str, zone: &str) -> (String, Value) {
    let args = ["spf", "check", "example.org", "192.0.2.1"];
    let report = json(test, &args, zone, b"");
    let result = report["result"].as_str().unwrap().to_owned();
    (result, report["problem"].clone())
}

fn permanent(problem: &str) -> (String, Value) {
    ("permerror".to_owned(), problem.into())
}

#[test]
fn spf_records_without_measure_are_permerrors_and_many_strings_are_one_record() {
    let long = "ip4:192.0.2.1 ".repeat(64 * 1024 / 14);
    let zone = format!("example.org. TXT \"v=spf1 {long}-all\"\n");
    assert_eq!(
        spf("spf-long", &zone),
        permanent("the SPF record is too long")
    );
    // In a thousand strings, as well as in one.
    let strings = " \"ip4:192.0.2.1 \"".repeat(1_000);
    let zone = format!("example.org. TXT \"v=spf1 \" {strings} -all\n");
    assert_eq!(
        spf("spf-strings-long", &zone),
        permanent("the SPF record is too long")
    );
    let strings = " \" x=y\"".repeat(998);
    let zone = format!("example.org. TXT \"v=spf1\" {strings} \" -all\"\n");
    assert_eq!(spf("spf-strings", &zone), ("fail".to_owned(), Value::Null));
    let mut zone = String::from("example.org. TXT \"v=spf1 +all\"\n");
    for n in 0..999 {
        writeln!(zone, "example.org. TXT \"verification={n}\"").unwrap();
    }
    assert_eq!(spf("spf-records", &zone), ("pass".to_owned(), Value::Null));
    for n in 0..2 {
        writeln!(zone, "example.org. TXT \"v=spf1 ip4:192.0.2.{n}\"").unwrap();
    }
    assert_eq!(
        spf("spf-more", &zone),
        permanent("more than one SPF record")
    );
}

#[test]
fn spf_records_that_lead_in_circles_are_permerrors() {
    let many = "too many terms that ask DNS";
    for (name, zone) in [
        (
            "self",
            "example.org. TXT \"v=spf1 include:example.org -all\"",
        ),
        (
            "redirect",
            "example.org. TXT \"v=spf1 redirect=example.org\"",
        ),
        (
            "two",
            "example.org. TXT \"v=spf1 include:b.example -all\"\nb.example. TXT \"v=spf1 include:example.org ?all\"",
        ),
        (
            "tree",
            "example.org. TXT \"v=spf1 include:b.example include:b.example include:b.example -all\"\n\
             b.example. TXT \"v=spf1 include:c.example include:c.example include:c.example -all\"\n\
             c.example. TXT \"v=spf1 a:d.example a:d.example a:d.example -all\"\nd.example. A 192.0.2.9",
        ),
        (
            "macro",
            "example.org. TXT \"v=spf1 redirect=%{d1r}%{d}.example.org\"\norg.example.org. TXT x",
        ),
    ] {
        let (result, problem) = spf(name, zone);
        assert_eq!(result, "permerror", "{name}");
        if name != "macro" {
            assert_eq!(problem, many, "{name}");
        }
    }
}

const SIGNATURE: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; h=From;\r\n\
    \tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n";

#[test]
fn ten_thousand_signatures_are_eight_and_the_others_are_counted() {
    let message = format!("From: ann@example.org\r\n{}\r\n", SIGNATURE.repeat(10_000));
    let report = json("signatures", &["dkim", "verify"], "", message.as_bytes());
    assert_eq!(report["result"], "permerror");
    let signatures = report["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 8);
    assert!(
        signatures
            .iter()
            .all(|one| one["problem"] == "the header is too large")
    );
    // Those in the first 256 KiB.
    assert_eq!(
        report["passed_over"],
        (256 * 1024 - 22) / SIGNATURE.len() - 8
    );
    let message = format!("From: ann@example.org\r\n{}\r\n", SIGNATURE.repeat(1_000));
    let report = json("fewer", &["dkim", "verify"], "", message.as_bytes());
    assert_eq!(report["passed_over"], 992);
    let signatures = report["signatures"].as_array().unwrap();
    assert!(
        signatures
            .iter()
            .all(|one| one["problem"] == "there is no key")
    );
}

#[test]
fn keys_without_measure_are_refused() {
    let der = |tag: u8, content: &[u8]| {
        let length = (content.len() as u32).to_be_bytes();
        [&[tag, 0x83][..], &length[1..], content].concat()
    };
    // 16,384 bits.
    let modulus = [&[0][..], &[0xff; 2_048]].concat();
    let key = der(0x30, &[der(2, &modulus), der(2, &[1, 0, 1])].concat());
    let key = STANDARD.encode(key);
    let message = format!("From: ann@example.org\r\n{SIGNATURE}\r\n");
    let problem = |test: &str, record: &str| {
        let strings: Vec<String> = record
            .as_bytes()
            .chunks(255)
            .map(|string| format!("\"{}\"", String::from_utf8_lossy(string)))
            .collect();
        let zone = format!("s._domainkey.example.org. TXT {}\n", strings.join(" "));
        let report = json(test, &["dkim", "verify"], &zone, message.as_bytes());
        assert_eq!(report["result"], "permerror");
        report["signatures"][0]["problem"].clone()
    };
    assert_eq!(
        problem("key-bits", &format!("v=DKIM1; p={key}")),
        "the RSA key is too long"
    );
    let long = format!("v=DKIM1; n={}; p={key}", "x".repeat(64 * 1024));
    assert_eq!(problem("key-long", &long), "there is no key");
    let tags: String = (0..100).map(|n| format!("t{n}=1;")).collect();
    assert_eq!(
        problem("key-tags", &format!("v=DKIM1; {tags} p={key}")),
        "the key record is not one"
    );
}

#[test]
fn header_lines_of_a_megabyte_come_to_nothing() {
    let zone = "_dmarc.example.org. TXT \"v=DMARC1; p=reject\"\n";
    let verify = ["dmarc", "verify", "192.0.2.1", "", "h.example"];
    let long = "x".repeat(1 << 20);
    let message = format!("Subject: {long}\r\n{SIGNATURE}From: ann@example.org\r\n\r\nhello\r\n");
    let report = json("line", &verify, zone, message.as_bytes());
    assert_eq!(
        (&report["result"], &report["disposition"]),
        (&"fail".into(), &"reject".into())
    );
    // A signature behind what is read of a header is none.
    assert_eq!(report["dkim"], Value::Array(Vec::new()));
    let message = format!("{SIGNATURE}X: {long}\r\nFrom: ann@example.org\r\n\r\nhello\r\n");
    let report = json("before", &verify, zone, message.as_bytes());
    assert_eq!(report["dkim"][0]["problem"], "the header is too large");
    for (name, from) in [
        ("words", "word ".repeat(200_000)),
        ("comments", "(".repeat(1 << 20)),
        ("quotes", "\"\\".repeat(1 << 19)),
        ("angles", "<".repeat(1 << 20)),
        ("routes", format!("<{}", "@a,".repeat(300_000))),
    ] {
        let message = format!("From: {from}\r\n\r\nhello\r\n");
        let report = json(name, &verify, zone, message.as_bytes());
        assert_eq!(
            (&report["result"], &report["disposition"]),
            (&"permerror".into(), &"reject".into()),
            "{name}"
        );
    }
    let many: Vec<String> = (0..50_000).map(|n| format!("a@a{n}.example")).collect();
    let message = format!("From: {}\r\n\r\nhello\r\n", many.join(","));
    let report = json("authors", &verify, zone, message.as_bytes());
    assert_eq!(report["problem"], "there are too many authors");
}

#[test]
fn dmarc_records_without_measure_are_none() {
    let lookup =
        |test: &str, zone: &str| json(test, &["dmarc", "lookup", "example.org"], zone, b"");
    let long = "x".repeat(64 * 1024);
    let zone = format!("_dmarc.example.org. TXT \"v=DMARC1; p=reject; x={long}\"\n");
    assert_eq!(lookup("dmarc-long", &zone)["status"], "none");
    let mut zone = String::from("_dmarc.example.org. TXT \"v=DMARC1; p=reject\"\n");
    for n in 0..999 {
        writeln!(zone, "_dmarc.example.org. TXT \"other={n}\"").unwrap();
    }
    assert_eq!(
        lookup("dmarc-records", &zone)["record"],
        "v=DMARC1; p=reject"
    );
    let name = format!("{}example.org", "a.".repeat(100));
    let zone = "_dmarc.example.org. TXT \"v=DMARC1; p=reject\"\n";
    let report = json("dmarc-labels", &["dmarc", "lookup", &name], zone, b"");
    assert_eq!(report["policy_domain"], "example.org");
}
