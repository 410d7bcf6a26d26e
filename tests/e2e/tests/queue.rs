//! What an administrator sees of the queue, and does to it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use mox_e2e::{Localserve, Served, Smtp, Stub, wait_for};
use serde_json::Value;

/// How long an attempt may take.
const UNDER_WAY: Duration = Duration::from_secs(40);

/// `moxctl queue ...` about a running server; what it printed.
fn queue(server: &Localserve, args: &[&str]) -> String {
    let output = server.command(&[&["queue"], args].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn list(server: &Localserve, args: &[&str]) -> Vec<Value> {
    let all = [&["list", "--json"], args].concat();
    serde_json::from_str(&queue(server, &all)).unwrap()
}

#[test]
fn messages_are_held_kicked_moved_in_time_shown_and_dropped_one_by_one() {
    // Nobody listens on the port of a listener that is gone.
    let relay = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Localserve::start(&["--accounts", "1", "--relay", &relay.to_string()]);
    // Why nothing is known of mail here.
    let explain = server.command(&["explain", "u0@localhost"]);
    assert_eq!(explain.status.code(), Some(1));
    let said = String::from_utf8_lossy(&explain.stderr).into_owned();
    assert!(said.contains("it has no name servers to ask"), "{said}");

    let mut smtp = Smtp::submission(&server, "u0");
    smtp.command("MAIL FROM:<u0@localhost>", "250");
    let to = ["x@a.example", "y@b.example", "z@c.example"];
    for to in to {
        smtp.command(&format!("RCPT TO:<{to}>"), "250");
    }
    smtp.command("DATA", "354");
    smtp.command(
        "From: u0@localhost\r\nSubject: hi\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\n\r\nBody.\r\n.",
        "250",
    );
    wait_for("an attempt for each", UNDER_WAY, || {
        let items = list(&server, &["--error", "no CONNECTION"]);
        (items.len() == 3).then_some(())
    });
    let ids: Vec<String> = to
        .iter()
        .map(|to| {
            let found = list(&server, &["--recipient", to]);
            assert_eq!(found.len(), 1, "{to}");
            assert_eq!(found[0]["account"], "u0");
            assert_eq!(found[0]["to"], serde_json::json!([to]));
            found[0]["id"].to_string()
        })
        .collect();
    assert_eq!(list(&server, &["--domain", "B.example"]).len(), 1);
    assert_eq!(
        list(&server, &["--sender", "u0@localhost", "--account", "u0"]).len(),
        3
    );
    assert_eq!(list(&server, &["--older", "1h"]).len(), 0);

    assert_eq!(queue(&server, &["hold", "--sender", "u0@localhost"]), "3\n");
    assert_eq!(list(&server, &["--held"]).len(), 3);
    let next = || list(&server, &[&ids[1]])[0]["next"].clone();
    let before = next();
    let put_off = ["reschedule", &ids[1], "--in", "20h"];
    assert_eq!(queue(&server, &put_off), "1\n");
    assert!(next().as_str() > before.as_str(), "{before} {}", next());
    assert_eq!(
        queue(&server, &["drop", "--recipient", "z@c.example"]),
        "1\n"
    );

    let stub = Stub::taking_at(relay);
    // A held message that is released waits for its time; one whose time has come goes at once.
    assert_eq!(queue(&server, &["unhold", &ids[1]]), "1\n");
    assert_eq!(queue(&server, &["kick", "--domain", "a.example"]), "1\n");
    let taken = wait_for("the first", UNDER_WAY, || stub.taken().pop());
    assert_eq!(taken.rcpt, ["RCPT TO:<x@a.example>"]);
    wait_for("its leaving", UNDER_WAY, || {
        (list(&server, &[]).len() == 1).then_some(())
    });

    let shown = queue(&server, &["show", &ids[1]]);
    for piece in [
        "from <u0@localhost>, account u0, ",
        "\nto <y@b.example>\nheld back until ",
        "\nattempts made: 1\n",
        "no connection: ",
        "\n  <x@a.example> delivered ",
        "\n  <z@c.example> dropped ",
    ] {
        assert!(shown.contains(piece), "{piece:?} is missing in {shown}");
    }
    let dumped = queue(&server, &["dump", &ids[1]]);
    assert!(dumped.starts_with("Received: "), "{dumped}");
    assert!(dumped.ends_with("\r\n\r\nBody.\r\n"), "{dumped}");

    assert_eq!(
        queue(&server, &["reschedule", "--all", "--in", "0s"]),
        "1\n"
    );
    wait_for("an empty queue", UNDER_WAY, || {
        (queue(&server, &["list"]) == "(empty)\n").then_some(())
    });
    assert_eq!(stub.taken().len(), 2);
    let retired: Vec<Value> =
        serde_json::from_str(&queue(&server, &["retired", "--json", "--since", "1h"])).unwrap();
    // Those of one second are in the order of their entries.
    let fates: BTreeSet<(&str, &str)> = retired
        .iter()
        .map(|r| (r["to"].as_str().unwrap(), r["fate"].as_str().unwrap()))
        .collect();
    let expected = [
        ("x@a.example", "delivered"),
        ("y@b.example", "delivered"),
        ("z@c.example", "dropped"),
    ];
    assert_eq!(fates, BTreeSet::from(expected));
}

#[test]
fn a_rehearsal_goes_by_what_the_configuration_says_of_the_queue() {
    let mut server = Served::prepare("127.0.0.1:1");
    let settings = "(queue: (attempts: 20, per_domain: 2, per_transport: 3, lifetime_hours: 48, delay_notice_hours: 1),";
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), config.replacen('(', settings, 1)).unwrap();
    server.give_away();
    server.resume();
    let told = server.moxctl(&["queue", "simulate", "--hours", "1", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let by = serde_json::json!({
        "attempts": 20,
        "per_domain": 2,
        "per_transport": 3,
        "lifetime_hours": 48,
        "delay_notice_hours": 1,
    });
    assert_eq!(told["by"], by);
}
