//! What our users submit leaves signed: as others verify it, with the keys that are in force, for nobody else's address, and not
//! without end.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use mox_e2e::{Imap, Served, Smtp, Stub, have, moxctl, run, script, skip, wait_for};
use serde_json::Value;

/// How long a message may be under way between two processes on one machine.
const UNDER_WAY: Duration = Duration::from_secs(20);

fn submission(server: &Served) -> Smtp {
    Smtp::login(server.port(587), "ann@example.org", server.password())
}

/// Messages whose header lacks something, whose body is large, or whose white space is not the usual one.
fn messages() -> Vec<String> {
    let bare =
        "From: Ann <ann@example.org>\r\nTo: bob@far.example\r\nSubject: bare\r\n\r\nHello Bob,\r\n";
    let usual = "Message-ID: <1@example.org>\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <ann+x@example.org>\r\nTo: bob@far.example\r\n\
                 Subject: usual\r\n  folded \t\r\n\tthrice\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\n\r\n\
                 \u{fc}\u{df} \t \r\n..\r\n.x\r\n  two  blanks \r\n\r\n\r\n";
    let line = "All work and no play makes Jack a dull boy.  \r\n.and a dot\r\n";
    let large = format!(
        "From: ann@example.org\r\nTo: a@far.example\r\nTo: b@far.example\r\nSubject: large\r\n\r\n{}",
        line.repeat(20_000)
    );
    let empty = "From: ann@example.org\r\nSubject: empty\r\n\r\n".to_owned();
    vec![bare.into(), usual.into(), large, empty]
}

/// Submits a message and returns it as it left.
fn sent(server: &Served, stub: &Stub, message: &str) -> Vec<u8> {
    let before = stub.taken().len();
    let stuffed = message.replace("\r\n.", "\r\n..");
    submission(server).send("ann@example.org", "bob@far.example", &stuffed);
    wait_for("a message", UNDER_WAY, || {
        stub.taken().get(before).map(|taken| taken.message())
    })
}

/// Name and text of each key that the server says is to be published, RSA first.
fn keys(server: &Served) -> Vec<(String, String)> {
    let records = server.moxctl(&["config", "dnsrecords", "--json", "example.org"]);
    let records: Vec<Value> = serde_json::from_str(&records).unwrap();
    let text = |data: &str| data.replace("\" \"", "").trim_matches('"').to_owned();
    let mut keys: Vec<(String, String)> = (records.iter())
        .map(|r| (r["name"].as_str().unwrap(), r["data"].as_str().unwrap()))
        .filter(|(name, _)| name.contains("._domainkey."))
        .map(|(name, data)| (name.to_owned(), text(data)))
        .collect();
    keys.sort_by_key(|(_, text)| text.contains("k=ed25519"));
    keys
}

/// Result and algorithm of each signature, as our own verifier tells them.
fn verified(server: &Served, message: &[u8]) -> Vec<(String, String)> {
    let zone = server.moxctl(&["config", "dnsrecords", "example.org"]);
    let zone: String = (zone.lines())
        .filter(|line| line.contains(" TXT "))
        .map(|line| format!("{line}\n"))
        .collect();
    let zone = server.scratch().write("zone", zone);
    let args = ["dkim", "verify", "--json", "--dns", zone.to_str().unwrap()];
    let report = run(moxctl().to_str().unwrap(), &args, message);
    let report: Value = serde_json::from_slice(&report).unwrap();
    let signatures = report["signatures"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    signatures
        .map(|one| (word(&one["result"]), word(&one["algorithm"])))
        .collect()
}

fn both(result: &str) -> Vec<(String, String)> {
    ["rsa-sha256", "ed25519-sha256"]
        .map(|algorithm| (result.to_owned(), algorithm.to_owned()))
        .to_vec()
}

/// What somebody on the way could do to a message.
fn spoiled(message: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(message.to_vec()).unwrap();
    vec![
        format!("{text}more\r\n").into_bytes(),
        text.replace("Subject: ", "Subject: not ").into_bytes(),
        format!("Subject: another\r\n{text}").into_bytes(),
        text.replacen(
            "Date: ",
            "Date: Sat, 1 Jan 2000 00:00:00 +0000\r\nX-Date: ",
            1,
        )
        .into_bytes(),
    ]
}

#[test]
fn what_leaves_is_signed_with_both_keys_and_whoever_verifies_sees_each_change() {
    let stub = Stub::taking();
    let server = Served::start(&stub.address());
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    let test = "what_leaves_is_signed_with_both_keys_and_whoever_verifies_sees_each_change";
    if !python.exists() {
        skip(
            test,
            "no Python with dkimpy in target/python: .ci/run makes it",
        );
    }
    let has_opendkim = have(test, &["opendkim"]);
    let keys = keys(&server);
    assert_eq!(keys.len(), 2);
    let zone = keys.iter().map(|(name, text)| format!("{name}\t{text}\n"));
    let zone = server.scratch().write("dkimpy", zone.collect::<String>());
    let opendkim = (server.scratch()).write("opendkim", format!("{} {}\n", keys[0].0, keys[0].1));
    let opendkim = format!(
        "Mode v\nTestDNSData file:{}\nSyslog no\nRequireSafeKeys no\n",
        opendkim.display()
    );
    let opendkim = server.scratch().write("opendkim.conf", opendkim);
    for message in messages() {
        let left = sent(&server, &stub, &message);
        let shown = String::from_utf8_lossy(&left[..left.len().min(3_000)]).into_owned();
        assert!(shown.starts_with("DKIM-Signature: "), "{shown}");
        assert!(left.ends_with(message.as_bytes()), "{shown}");
        assert_eq!(verified(&server, &left), both("pass"), "{shown}");
        for changed in spoiled(&left) {
            assert_eq!(verified(&server, &changed), both("fail"), "{shown}");
        }
        let mut cases = vec![(left.clone(), "pass")];
        cases.extend(spoiled(&left).into_iter().map(|changed| (changed, "")));
        for (message, outcome) in cases {
            let file = server.scratch().write("message", &message);
            let file = file.to_str().unwrap();
            if python.exists() {
                let script = script("dkimpy.py");
                let args = [
                    script.to_str().unwrap(),
                    "verify",
                    zone.to_str().unwrap(),
                    file,
                ];
                let said = run(python.to_str().unwrap(), &args, b"");
                let said = String::from_utf8(said).unwrap();
                let words: Vec<&str> = said.split_whitespace().collect();
                match outcome {
                    "pass" => assert_eq!(words, ["pass", "pass"], "{shown}"),
                    _ => assert!(!words.contains(&"pass"), "{said} {shown}"),
                }
            }
            if has_opendkim {
                let args = ["-x", opendkim.to_str().unwrap(), "-t", file];
                let said = run("opendkim", &args, b"");
                let said = String::from_utf8_lossy(&said);
                let passes = said.contains("example.org, 2048-bit key) succeeded");
                assert_eq!(passes, outcome == "pass", "{said} {shown}");
            }
        }
        // As the server of whoever gets it judges: the client's address proves nothing.
        let zone = server.scratch().path().join("zone");
        let args = [
            "dmarc",
            "verify",
            "--dns",
            zone.to_str().unwrap(),
            "192.0.2.1",
            "ann@example.org",
            "relay.example",
        ];
        let judged = run(moxctl().to_str().unwrap(), &args, &left);
        assert!(
            judged.starts_with(b"pass"),
            "{}",
            String::from_utf8_lossy(&judged)
        );
    }
    // No key is ever told.
    assert!(!server.log().contains("PRIVATE KEY"));
}

#[test]
fn a_message_in_the_name_of_somebody_else_is_refused() {
    let stub = Stub::taking();
    let server = Served::start(&stub.address());
    let rest = "Subject: x\r\n\r\nx\r\n";
    for (from, reply) in [
        ("From: postmaster@far.example\r\n", "550 5.7.1 "),
        ("From: bob@example.org\r\n", "550 5.7.1 "),
        ("From: ann@example.org, bob@example.org\r\n", "550 5.6.0 "),
        (
            "From: ann@example.org\r\nfrom: ann@example.org\r\n",
            "550 5.6.0 ",
        ),
        ("", "550 5.6.0 "),
    ] {
        let mut smtp = submission(&server);
        smtp.command("MAIL FROM:<ann@example.org>", "250");
        smtp.command("RCPT TO:<bob@far.example>", "250");
        smtp.command("DATA", "354");
        smtp.command(&format!("{from}{rest}."), reply);
    }
    let long = format!(
        "From: ann@example.org\r\nX: {}\r\n{rest}.",
        "x".repeat(140_000)
    );
    let mut smtp = submission(&server);
    smtp.command("MAIL FROM:<ann@example.org>", "250");
    smtp.command("RCPT TO:<bob@far.example>", "250");
    smtp.command("DATA", "354");
    smtp.command(&long, "552 5.3.4 ");
    assert!(stub.taken().is_empty());
}

#[test]
fn a_changed_configuration_signs_with_its_keys_and_a_wrong_one_with_those_before() {
    let stub = Stub::taking();
    let server = Served::start(&stub.address());
    let domains = server.folder().join("domains.ron");
    let good = fs::read_to_string(&domains).unwrap();
    let message = &messages()[0];
    let change = |text: &str, awaited: &str| {
        let said = server.log().matches(awaited).count();
        fs::write(&domains, text).unwrap();
        wait_for(awaited, UNDER_WAY, || {
            (server.log().matches(awaited).count() > said).then_some(())
        });
    };
    // A key that is not there.
    let (rsa, _) = good.split_once(".rsa.pem").unwrap();
    let rsa = rsa.rsplit('"').next().unwrap();
    let missing = good.replace(rsa, "dkim/gone");
    change(&missing, "domains.ron is not in force");
    assert!(
        server.log().contains("there is no file"),
        "{}",
        server.log()
    );
    let left = sent(&server, &stub, message);
    fs::write(&domains, &good).unwrap();
    assert_eq!(verified(&server, &left), both("pass"));

    // One key signs no more.
    let sign = good
        .split_once("sign: [")
        .unwrap()
        .1
        .split_once(',')
        .unwrap()
        .0;
    let only = good.replace(&format!("sign: [{sign}, "), "sign: [");
    change(&only, "domains.ron is in force");
    let left = sent(&server, &stub, message);
    let ed25519 = both("pass").remove(1);
    assert_eq!(verified(&server, &left), [ed25519]);

    // Another domain, by command.
    server.moxctl(&["config", "domain", "add", "example.net"]);
    server.moxctl(&["config", "address", "add", "ann@example.net", "ann"]);
    let other = message.replace("ann@example.org", "ann@example.net");
    let left = String::from_utf8(sent(&server, &stub, &other)).unwrap();
    assert_eq!(left.matches("d=example.net;").count(), 2, "{left}");
    assert_eq!(left.matches("d=example.org;").count(), 0, "{left}");
}

#[test]
fn an_account_is_told_when_it_may_send_more() {
    let stub = Stub::taking();
    let mut server = Served::prepare(&stub.address());
    let domains = server.folder().join("domains.ron");
    let text = fs::read_to_string(&domains).unwrap();
    let limited = text.replace(
        "// messages_per_day: 1000,",
        "messages_per_day: 3, new_recipients_per_day: 4,",
    );
    assert_ne!(text, limited);
    fs::write(&domains, limited).unwrap();
    server.give_away();
    server.resume();
    let message = "From: ann@example.org\r\nSubject: x\r\n\r\nx\r\n";
    let mut smtp = submission(&server);
    smtp.command("MAIL FROM:<ann@example.org>", "250");
    for n in 0..4 {
        smtp.command(&format!("RCPT TO:<new{n}@far.example>"), "250");
    }
    let said = smtp.command("RCPT TO:<new4@far.example>", "451 4.7.1 ");
    assert!(
        said.contains("4 recipients") && said.ends_with("send to fewer"),
        "{said}"
    );
    smtp.command("DATA", "354");
    smtp.command(&format!("{message}."), "250");
    smtp.command("MAIL FROM:<ann@example.org>", "250");
    let said = smtp.command("RCPT TO:<new4@far.example>", "451 4.7.1 ");
    assert!(
        said.contains("try again after 20") && said.ends_with(" UTC"),
        "{said}"
    );
    smtp.command("RSET", "250");
    // Known by now, and one of our own.
    smtp.send("ann@example.org", "new0@far.example", message);
    smtp.send("ann@example.org", "new1@far.example", message);
    for _ in 0..3 {
        smtp.send("ann@example.org", "ann@example.org", message);
    }
    smtp.command("MAIL FROM:<ann@example.org>", "250");
    let said = smtp.command("RCPT TO:<new0@far.example>", "451 4.7.1 ");
    assert!(
        said.contains("3 messages") && said.contains("try again after 20"),
        "{said}"
    );

    // Who runs the server hears of it, once.
    let log = wait_for("a line in the log", UNDER_WAY, || {
        let log = server.log();
        log.contains("its password may have been stolen")
            .then_some(log)
    });
    assert_eq!(log.matches("its password may have been stolen").count(), 1);
    let mut imap = Imap::login_at(server.port(143), "ann@example.org", server.password());
    let told = wait_for("a notice", UNDER_WAY, || {
        let list = imap.ok("LIST \"\" Postmaster");
        (!list.is_empty()).then(|| imap.all("Postmaster"))
    });
    assert_eq!(told.len(), 1);
    let told = String::from_utf8_lossy(&told[0]);
    for part in [
        "Subject: Account ann has reached its limit of sending\r\n",
        "\r\n4 recipients that it never wrote to before. More is refused for now",
        "came from 127.0.0.1, by somebody\r\nwho logged in as ann@example.org.",
        "moxctl setaccountpassword ann\r\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }

    // That counts on when the server dies and starts again.
    server.kill();
    server.resume();
    let mut smtp = submission(&server);
    smtp.command("MAIL FROM:<ann@example.org>", "250");
    let said = smtp.command("RCPT TO:<new0@far.example>", "451 4.7.1 ");
    assert!(
        said.contains("3 messages") && said.contains("try again after 20"),
        "{said}"
    );
}
