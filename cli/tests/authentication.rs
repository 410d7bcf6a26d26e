//! `moxctl spf`, `dkim`, `dmarc` and `dns lookup`: what they print, how they fail, and that answers that were kept give the
//! same results.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;
mod told;

use scratch::Scratch;
use serde_json::Value;
use std::fs;
use std::process::Output;
use told::{told, with_input};

fn moxctl(args: &[&str]) -> Output {
    with_input(args, b"")
}

/// The JSON value that a command prints, which must not fail.
#[track_caller]
fn json(args: &[&str]) -> Value {
    let (code, out, err) = told(&moxctl(args));
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&out).unwrap()
}

const ZONE: &str = "\
    example.org.           TXT \"v=spf1 mx include:_spf.example.org exp=why.%{d} -all\"\n\
    example.org.           MX 10 mx.example.org.\n\
    mx.example.org.        A 192.0.2.1 !AD\n\
    _spf.example.org.      TXT \"v=spf1 ip4:198.51.100.0/24 ?all\"\n\
    why.example.org.       TXT \"%{i} may not send for %{o}, %{t}\"\n\
    slow.example.          * !TIMEOUT\n\
    alias.example.         CNAME example.org.\n\
    broken.example.        TXT \"v=spf1 ipv4:192.0.2.1\"\n\
    _dmarc.example.org.    TXT \"v=DMARC1; p=reject; sp=quarantine\"\n";

const MESSAGE: &str =
    "From: Ann <ann@example.org>\nTo: bob@example.net\nSubject: hello\n\nHello Bob,\n\nbye\n";

/// A file with a zone, as an argument.
fn zone(scratch: &Scratch, text: &str) -> String {
    let path = scratch.path("zone");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn path(scratch: &Scratch, name: &str) -> String {
    scratch.path(name).to_str().unwrap().to_owned()
}

#[test]
fn an_spf_check_prints_the_result_first_and_what_it_rests_on() {
    let scratch = Scratch::new("spf-check");
    let dns = zone(&scratch, ZONE);
    let check = |args: &[&str]| {
        let all = [
            &[
                "spf",
                "check",
                "--dns",
                &dns,
                "--now",
                "2026-01-02T03:04:05Z",
            ],
            args,
        ]
        .concat();
        let (code, out, err) = told(&moxctl(&all));
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        out
    };
    assert_eq!(
        check(&[
            "--mail-from",
            "ann@example.org",
            "--helo",
            "h.example",
            "example.org",
            "203.0.113.7"
        ]),
        format!(
            "fail\n\
             domain: example.org\n\
             sender: ann@example.org\n\
             identity: mailfrom\n\
             mechanism: -all\n\
             explanation: 203.0.113.7 may not send for example.org, 1767323045\n\
             visit: record of example.org: fail from v=spf1 mx include:_spf.example.org exp=why.%{{d}} -all\n\
             visit: include:_spf.example.org of _spf.example.org: neutral from v=spf1 ip4:198.51.100.0/24 ?all\n\
             lookups: 2, of which 0 found nothing\n\
             Received-SPF: fail (example.org does not name 203.0.113.7 as a sender)\r\n\
             \tclient-ip=203.0.113.7;\r\n\
             \tenvelope-from=\"ann@example.org\";\r\n\
             \thelo=h.example;\r\n\
             \tmechanism=-all;\r\n\
             \treceiver={};\r\n\
             \tidentity=mailfrom\n",
            hostname()
        )
    );
    let first = |args: &[&str]| check(args).lines().next().unwrap().to_owned();
    assert_eq!(first(&["example.org", "192.0.2.1"]), "pass");
    assert_eq!(first(&["example.org", "::ffff:198.51.100.9"]), "pass");
    assert_eq!(first(&["alias.example", "192.0.2.1"]), "pass");
    assert_eq!(first(&["slow.example", "192.0.2.1"]), "temperror");
    assert_eq!(first(&["broken.example", "192.0.2.1"]), "permerror");
    assert_eq!(first(&["gone.example", "192.0.2.1"]), "none");
    // What is not given is taken from what is.
    assert_eq!(
        first(&["", "192.0.2.1", "--mail-from", "ann@example.org"]),
        "pass"
    );
    assert_eq!(first(&["", "192.0.2.1", "--helo", "example.org"]), "pass");
    let long = "a".repeat(64);
    for impossible in [
        "",
        "a..b.example",
        &format!("{long}.example"),
        "localhost",
        "[192.0.2.1]",
        "\u{fc} \\.example",
    ] {
        assert_eq!(first(&[impossible, "192.0.2.1"]), "none", "{impossible}");
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().unwrap().into_string().unwrap()
}

#[test]
fn answers_that_were_kept_give_the_same_results() {
    let scratch = Scratch::new("kept");
    let dns = zone(&scratch, ZONE);
    let facts = path(&scratch, "facts");
    for args in [
        &["spf", "check", "example.org", "203.0.113.7"][..],
        &["spf", "check", "alias.example", "203.0.113.7"],
        &["spf", "check", "slow.example", "203.0.113.7"],
        &["spf", "lookup", "alias.example"],
        &["dmarc", "lookup", "a.b.example.org"],
        &["dkim", "lookup", "s", "example.org"],
        &["dns", "lookup", "mx", "alias.example"],
    ] {
        let run = |dns: &str, facts: &str| {
            let now = ["--now", "2026-01-02T03:04:05Z"];
            let now = if args[1] == "check" { &now[..] } else { &[] };
            let all = [args, now, &["--json", "--dns", dns, "--facts", facts]].concat();
            let (code, out, err) = told(&moxctl(&all));
            assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
            out
        };
        let before = run(&dns, &facts);
        let kept = fs::read_to_string(&facts).unwrap();
        assert_eq!(run(&facts, &path(&scratch, "again")), before, "{args:?}");
        assert_eq!(fs::read_to_string(scratch.path("again")).unwrap(), kept);
    }
    let kept = fs::read_to_string(&facts).unwrap();
    assert_eq!(
        kept,
        "alias.example. 300 CNAME example.org.\nexample.org. 300 MX 10 mx.example.org.\n"
    );
}

#[test]
fn a_master_file_that_is_none_is_named_with_its_line_and_the_remedy() {
    let scratch = Scratch::new("bad-zone");
    let dns = zone(
        &scratch,
        "example.org. TXT x\nexample.org. MX ten mx.example.org.\n",
    );
    let (code, out, err) = told(&moxctl(&[
        "spf",
        "check",
        "--dns",
        &dns,
        "example.org",
        "192.0.2.1",
    ]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        format!(
            "moxctl: {dns}:2: \"ten\" is not a number; one record a line: name, TTL if you like, type, data, as in: \
             example.org. 300 TXT \"v=spf1 -all\"\n"
        )
    );
    let (code, _, err) = told(&moxctl(&[
        "dns",
        "lookup",
        "--dns",
        "/nowhere/zone",
        "example.org",
    ]));
    assert_eq!(code, 1);
    assert_eq!(
        err,
        "moxctl: cannot read /nowhere/zone: No such file or directory (os error 2)\n"
    );
    let (code, _, err) = told(&moxctl(&[
        "dns",
        "lookup",
        "--dns",
        &zone(&scratch, ""),
        "--facts",
        "/nowhere/x",
        "a.example",
    ]));
    assert_eq!(code, 1);
    assert_eq!(
        err,
        "moxctl: cannot write /nowhere/x: No such file or directory (os error 2)\n"
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let scratch = Scratch::new("auth-usage");
    let (_, pem, _) = told(&moxctl(&["dkim", "gened25519"]));
    fs::write(scratch.path("key"), pem).unwrap();
    let key = format!("s={}", path(&scratch, "key"));
    let message = path(&scratch, "message");
    fs::write(&message, MESSAGE).unwrap();
    let dns = zone(&scratch, ZONE);
    for args in [
        &["spf"][..],
        &["spf", "check"],
        &["spf", "check", "example.org"],
        &["spf", "check", "example.org", "192.0.2.256"],
        &[
            "spf",
            "check",
            "example.org",
            "192.0.2.1",
            "--now",
            "yesterday",
        ],
        &["spf", "lookup", "a..b", "--dns", &dns],
        &["dkim", "lookup", "a..b", "example.org", "--dns", &dns],
        &["dkim", "sign"],
        &["dkim", "sign", "--key", "x"],
        &["dkim", "sign", "--key", "a b=x"],
        &[
            "dkim",
            "sign",
            "--key",
            &key,
            "--domain",
            "a;b.example",
            &message,
        ],
        &["dkim", "sign", "--key", &key, "--domain", ".", &message],
        &["dkim", "sign", "--key", &key, "--expires", "0", &message],
        &["dmarc", "verify", "192.0.2.1", "a@example.org"],
        &["dmarc", "lookup", "a..b", "--dns", &dns],
        &["dns", "lookup"],
        &["dns", "lookup", "a", "b", "c"],
        &["dns", "lookup", "srv", "example.org", "--dns", &dns],
    ] {
        let (code, out, err) = told(&moxctl(args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn spf_records_are_looked_up_and_parsed() {
    let scratch = Scratch::new("spf-lookup");
    let dns = zone(&scratch, ZONE);
    let lookup = |domain: &str| told(&moxctl(&["spf", "lookup", "--dns", &dns, domain])).1;
    assert_eq!(
        lookup("_SPF.example.org."),
        "found\nrecord: v=spf1 ip4:198.51.100.0/24 ?all\n"
    );
    assert_eq!(lookup("gone.example"), "none\nproblem: no SPF record\n");
    assert_eq!(
        lookup("slow.example"),
        "temperror\nproblem: DNS did not answer\n"
    );
    assert_eq!(
        lookup("broken.example"),
        "permerror\nrecord: v=spf1 ipv4:192.0.2.1\nproblem: no such mechanism: \"ipv4:192.0.2.1\"\n"
    );
    let parse = |record: &str| told(&moxctl(&["spf", "parse", record]));
    assert_eq!(parse("v=spf1 a mx -all"), (0, String::new(), String::new()));
    let (code, out, err) = parse("v=spf1 ip4:192.0.2.0/33 -all");
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        "moxctl: not an SPF record: not a prefix length: \"ip4:192.0.2.0/33\"; the grammar is in RFC 7208 section 12\n"
    );
    let parsed = json(&[
        "spf",
        "parse",
        "--json",
        "V=SPF1  +A:x.example/24 unknown=%{d} redirect=y.example",
    ]);
    assert_eq!(
        parsed["record"],
        "v=spf1 a:x.example/24 redirect=y.example unknown=%{d}"
    );
    assert_eq!(parsed["directives"], Value::from(vec!["a:x.example/24"]));
}

#[test]
fn dns_lookups_print_what_can_be_fed_back() {
    let scratch = Scratch::new("dns-lookup");
    let text = format!(
        "{ZONE}1.2.0.192.in-addr.arpa. PTR mx.example.org.\nodd\\032name.example. TXT \"a\\\"\\255\"\n"
    );
    let dns = zone(&scratch, &text);
    let lookup = |words: &[&str]| {
        let (code, out, err) = told(&moxctl(
            &[&["dns", "lookup", "--dns", &dns], words].concat(),
        ));
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        out
    };
    let addresses = "mx.example.org. 300 A 192.0.2.1 !AD\nmx.example.org. 300 AAAA !NODATA\n";
    assert_eq!(lookup(&["mx.example.org"]), addresses);
    assert_eq!(lookup(&["ips", "MX.example.org."]), addresses);
    let mx = "example.org. 300 MX 10 mx.example.org.\n";
    assert_eq!(lookup(&["MX", "example.org"]), mx);
    assert_eq!(lookup(&["example.org", "mx"]), mx);
    assert_eq!(
        lookup(&["ptr", "192.0.2.1"]),
        "1.2.0.192.in-addr.arpa. 300 PTR mx.example.org.\n"
    );
    assert_eq!(
        lookup(&["txt", "odd\\032name.example"]),
        "odd\\032name.example. 300 TXT \"a\\\"\\255\"\n"
    );
    assert_eq!(
        lookup(&["a", "slow.example"]),
        "slow.example. 300 A !TIMEOUT\n"
    );
    assert_eq!(
        lookup(&["a", "b\u{fc}cher.example"]),
        "xn--bcher-kva.example. 300 A !NXDOMAIN\n"
    );
    let all = json(&["dns", "lookup", "--json", "--dns", &dns, "mx.example.org"]);
    assert_eq!(all[0]["records"], Value::from(vec!["192.0.2.1"]));
    assert_eq!(
        (&all[0]["authentic"], &all[1]["failure"]),
        (&true.into(), &"the name has no such record".into())
    );
}

#[test]
fn a_message_signed_with_keys_of_ours_passes_and_a_changed_one_fails() {
    let scratch = Scratch::new("dkim-sign");
    let mut records = ZONE.to_owned();
    for (selector, make) in [("r", "genrsa"), ("e", "gened25519")] {
        let (code, pem, _) = told(&moxctl(&["dkim", make]));
        assert_eq!(code, 0);
        assert!(
            pem.starts_with("-----BEGIN PRIVATE KEY-----\n")
                && pem.lines().all(|line| line.len() <= 64),
            "{pem}"
        );
        fs::write(scratch.path(selector), &pem).unwrap();
        let txt = [
            "dkim",
            "txt",
            "--selector",
            selector,
            "--domain",
            "example.org",
        ];
        let (code, record, _) = told(&with_input(&txt, pem.as_bytes()));
        assert_eq!(code, 0);
        assert!(
            record.starts_with(&format!(
                "{selector}._domainkey.example.org. TXT \"v=DKIM1;h=sha256;"
            )),
            "{record}"
        );
        records.push_str(&record);
    }
    let dns = zone(&scratch, &records);
    let keys = [path(&scratch, "r"), path(&scratch, "e")];
    let keys = [format!("r={}", keys[0]), format!("e={}", keys[1])];
    let now = ["--now", "2026-01-02T03:04:05Z"];
    let sign = [
        &[
            "dkim",
            "sign",
            "--key",
            &keys[0],
            "--key",
            &keys[1],
            "--expires",
            "60",
        ],
        &now[..],
    ]
    .concat();
    for canonical in ["relaxed/relaxed", "simple/simple", "relaxed/simple"] {
        for message in [MESSAGE.to_owned(), MESSAGE.replace('\n', "\r\n")] {
            let all = [&sign[..], &["--canonical", canonical]].concat();
            let (code, signed, err) = told(&with_input(&all, message.as_bytes()));
            assert_eq!((code, err.as_str()), (0, ""));
            assert!(signed.ends_with(&message), "{signed}");
            assert_eq!(signed.contains("\r\n"), message.contains("\r\n"));
            assert_eq!(
                signed.replace("\r\n", "").contains('\n'),
                !message.contains("\r\n")
            );
            let verify = |signed: &str, now: &str| {
                let all = ["dkim", "verify", "--dns", &dns, "--now", now];
                told(&with_input(&all, signed.as_bytes())).1
            };
            let at = now[1];
            let good = verify(&signed, at);
            let lines: Vec<&str> = good.lines().collect();
            assert_eq!(lines.len(), 3, "{good}");
            assert_eq!(lines[0], "pass");
            assert!(
                lines[1].starts_with("signature: pass d=example.org s=r a=rsa-sha256 b="),
                "{good}"
            );
            assert!(lines[1].ends_with(" (2048 bits)"), "{good}");
            assert!(
                lines[2].starts_with("signature: pass d=example.org s=e a=ed25519-sha256 b="),
                "{good}"
            );
            assert!(verify(&signed.replace("Bob", "Eve"), at).starts_with("fail\n"));
            assert!(verify(&signed, "2026-01-02T03:06:05Z").starts_with("permerror\n"));
            // The other line ends are the same message.
            let other = match signed.contains('\r') {
                true => signed.replace("\r\n", "\n"),
                false => signed.replace('\n', "\r\n"),
            };
            assert_eq!(verify(&other, at), good);
        }
    }
    let dmarc = |ip: &str, message: &str| {
        let all = [
            "dmarc",
            "verify",
            "--dns",
            &dns,
            "--now",
            now[1],
            ip,
            "x@example.net",
            "h.example",
        ];
        let (code, out, err) = told(&with_input(&all, message.as_bytes()));
        assert_eq!((code, err.as_str()), (0, ""));
        out
    };
    let signed = told(&with_input(&sign, MESSAGE.as_bytes())).1;
    assert!(dmarc("203.0.113.7", &signed).starts_with("pass none\n"));
    assert_eq!(
        dmarc("203.0.113.7", MESSAGE),
        "fail reject\n\
         author: example.org fail reject\n  \
           record of example.org: v=DMARC1; p=reject; sp=quarantine\n  \
           SPF passed for no aligned domain, no signature did\n\
         spf: none example.net\n"
    );
    assert!(
        dmarc("203.0.113.7", "From: nobody\n\nx\n")
            .starts_with("permerror reject\nproblem: an address in From has no domain\n")
    );
    assert!(
        dmarc("203.0.113.7", "Subject: x\n\nx\n")
            .starts_with("permerror reject\nproblem: there is no author\n")
    );
    let both = format!("From: eve@none.example\n{MESSAGE}");
    assert!(dmarc("203.0.113.7", &both).starts_with("fail reject\n"));
    // Whom a message without one author is signed for must be said.
    let (code, out, err) = told(&with_input(&sign, both.as_bytes()));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        "moxctl: the message has not one author with a domain; name who signs, with --domain\n"
    );
}

#[test]
fn a_file_that_is_no_private_key_is_named_with_the_remedy() {
    let scratch = Scratch::new("dkim-key");
    fs::write(scratch.path("k"), "hello\n").unwrap();
    let file = path(&scratch, "k");
    let (code, out, err) = told(&with_input(
        &["dkim", "sign", "--key", &format!("s={file}")],
        MESSAGE.as_bytes(),
    ));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        format!(
            "moxctl: {file}: it holds no private key; it should have -----BEGIN PRIVATE KEY-----; moxctl dkim genrsa and \
             gened25519 make such keys, openssl pkcs8 -topk8 -nocrypt converts others\n"
        )
    );
    assert_eq!(told(&with_input(&["dkim", "txt"], b"")).0, 1);
}

#[test]
fn keys_and_policies_are_looked_up() {
    let scratch = Scratch::new("lookups");
    let zone_text = format!(
        "{ZONE}s._domainkey.example.org. TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n\
         old._domainkey.example.org. TXT \"v=DKIM1; p=\"\n\
         bad._domainkey.example.org. TXT \"v=DKIM1; p=!\"\n\
         late._domainkey.example.org. TXT !SERVFAIL\n\
         _dmarc.defect.example. TXT \"v=DMARC1; p=reject; fo=9\"\n\
         _dmarc.useless.example. TXT \"v=DMARC1; p=maybe\"\n\
         _dmarc.slow.example. TXT !TIMEOUT\n"
    );
    let dns = zone(&scratch, &zone_text);
    let dkim = |selector: &str| {
        told(&moxctl(&[
            "dkim",
            "lookup",
            "--dns",
            &dns,
            selector,
            "Example.ORG",
        ]))
        .1
    };
    assert_eq!(
        dkim("s"),
        "found\nname: s._domainkey.example.org\n\
         record: v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
    );
    assert!(dkim("old").starts_with("found\n"));
    assert!(dkim("bad").starts_with("permerror\n"));
    assert!(dkim("late").starts_with("temperror\n"));
    assert!(dkim("none").starts_with("none\n"));
    let key = json(&[
        "dkim",
        "lookup",
        "--json",
        "--dns",
        &dns,
        "old",
        "example.org",
    ]);
    assert_eq!(key["key"]["type"], "revoked");
    let dmarc = |domain: &str| told(&moxctl(&["dmarc", "lookup", "--dns", &dns, domain])).1;
    assert_eq!(
        dmarc("a.b.example.org"),
        "found\ndomain: example.org\nrecord: v=DMARC1; p=reject; sp=quarantine\n"
    );
    assert_eq!(dmarc("gone.example"), "none\n");
    assert_eq!(
        dmarc("a.slow.example"),
        "temperror\nproblem: DNS did not answer for slow.example\n"
    );
    assert!(dmarc("defect.example").contains("\ndefect: fo: "));
    assert!(dmarc("useless.example").starts_with("permerror\n"));
    // None, but not without a word.
    let several = "_dmarc.two.example. TXT \"v=DMARC1; p=none\"\n_dmarc.two.example. TXT \"v=DMARC1; p=reject\"\n\
                   _dmarc.twice.example. TXT \"v=DMARC1; p=none; p=reject\"\n";
    let dns = zone(&scratch, several);
    let dmarc = |domain: &str| told(&moxctl(&["dmarc", "lookup", "--dns", &dns, domain])).1;
    assert_eq!(
        dmarc("two.example"),
        "none\nproblem: there is more than one record, which counts as none\n"
    );
    assert_eq!(
        dmarc("twice.example"),
        "none\nproblem: the record counts as none: a tag stands twice\n"
    );
}
