//! Notifications between servers: Python's email package reads ours, and we know which message Postfix's are about.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::time::Duration;

use mox_e2e::{Localserve, Postfix, Smtp, free_base, have, inbox, read_by_python, skip, wait_for};
use serde_json::Value;

/// How long a message may be under way between two servers on one machine.
const UNDER_WAY: Duration = Duration::from_secs(30);

fn message(to: &str, subject: &str) -> String {
    format!("From: u0@mox.example\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nBody.\r\n")
}

#[test]
fn pythons_email_package_reads_what_became_of_a_message() {
    let test = "pythons_email_package_reads_what_became_of_a_message";
    if !have(test, &["python3"]) {
        return;
    }
    // The other server takes nobody.
    let stub = mox_e2e::Stub::refusing("550 5.1.1 Nobody of that name lives here");
    let options = ["--accounts", "2", "--domain", "mox.example", "--relay"];
    let server = Localserve::start(&[&options[..], &[&stub.address()]].concat());
    let mut smtp = Smtp::submission(&server, "u0");
    smtp.command("MAIL FROM:<u0@mox.example> RET=HDRS ENVID=one", "250");
    smtp.command("RCPT TO:<nobody@far.example>", "250");
    smtp.command("RCPT TO:<u1@mox.example> NOTIFY=SUCCESS", "250");
    smtp.command("DATA", "354");
    smtp.raw(format!("{}.\r\n", message("all", "both")).as_bytes());
    smtp.expect("250");
    let notices = wait_for("two notices", UNDER_WAY, || {
        let found = inbox(&server, "u0@localhost");
        (found.len() == 2).then_some(found)
    });
    let mut read: Vec<String> = notices
        .iter()
        .map(|notice| {
            let read = read_by_python(notice);
            assert_eq!(read["defects"], serde_json::json!([]));
            assert_eq!(read["parts"], 3);
            let [_, group] = &read["groups"].as_array().unwrap()[..] else {
                panic!("{read}");
            };
            ["final-recipient", "action", "status"]
                .map(|name| group[name].as_str().unwrap())
                .join(" ")
        })
        .collect();
    read.sort();
    assert_eq!(
        read,
        [
            "rfc822; nobody@far.example failed 5.1.1",
            "rfc822; u1@mox.example delivered 2.1.5"
        ]
    );
    server.stop();
}

#[test]
fn a_notification_of_postfix_is_shown_with_the_message_it_is_about() {
    let test = "a_notification_of_postfix_is_shown_with_the_message_it_is_about";
    if !have(test, &["postfix"]) {
        return;
    }
    if !nix::unistd::Uid::effective().is_root() {
        return skip(test, "Postfix starts only as root");
    }
    let base = free_base();
    // It takes mail for passed@peer.example, and finds only then that the next server does not.
    let postfix = Postfix::start(base + 25, &["peer.example"], None);
    let relay = format!("127.0.0.1:{}", postfix.port());
    let options = ["--accounts", "1", "--domain", "mox.example", "--relay"];
    let server = Localserve::start_at(base, &[&options[..], &[&relay]].concat());
    let to = "passed@peer.example";
    Smtp::submission(&server, "u0").send("u0@mox.example", to, &message(to, "passed"));
    let bounce = wait_for("Postfix's notification", UNDER_WAY, || {
        inbox(&server, "u0@localhost").pop()
    });
    let bounce = String::from_utf8_lossy(&bounce).into_owned();
    assert!(
        bounce.contains("<MAILER-DAEMON@peer.example>\r\n"),
        "{bounce}"
    );
    // What it says is noted right behind its delivery.
    let (row, told) = wait_for("a note of it", UNDER_WAY, || {
        let (code, retired) = server.ask(&["queue", "retired", "--json"]);
        assert_eq!(code, Some(0), "{retired}");
        let retired: Vec<Value> = serde_json::from_str(&retired).unwrap();
        let [row] = &retired[..] else {
            panic!("{retired:?}");
        };
        let told = row["told"].as_array().unwrap().first()?.clone();
        Some((row.clone(), told))
    });
    assert_eq!(
        (&row["to"], &row["fate"]),
        (&to.into(), &"delivered".into())
    );
    let known = ["from", "recipient", "action", "status"].map(|name| told[name].as_str().unwrap());
    assert_eq!(
        known,
        ["mail.peer.example", to, "failed", "5.7.1"],
        "{told}"
    );
    drop(postfix);
    server.stop();
}
