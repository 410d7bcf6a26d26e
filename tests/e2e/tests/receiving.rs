//! Mail that arrives is judged by what a name server says, and the server says why.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::net::Ipv4Addr;
use std::process::Command;

use mox_e2e::{Localserve, NameServer, Zone, have};

/// What swaks heard and said, for a message of this sender and author.
fn swaks(server: &Localserve, from: &str, author: &str, subject: &str) -> String {
    let port = server.port(25).to_string();
    let author = format!("From: <{author}>");
    // In swaks's own spelling: it replaces a field only so.
    let message_id = format!("Message-Id: <{subject}@far.example>");
    let subject = format!("Subject: {subject}");
    let output = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", &port])
        .args(["--helo", "mx.far.example", "--from", from])
        .args(["--to", "mox@localhost", "--body", "Hello."])
        .args(["--header", &author, "--header", &subject])
        .args(["--header", &message_id])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_swaks_sends_is_judged_and_explained() {
    if !have("receiving with swaks", &["swaks"]) {
        return;
    }
    let zone = Zone::default()
        .ptr(Ipv4Addr::LOCALHOST, "mx.far.example")
        .a("mx.far.example", Ipv4Addr::LOCALHOST)
        .mx("far.example", 10, "mx.far.example")
        .mx("else.example", 10, "mx.far.example")
        .txt("far.example", "v=spf1 ip4:127.0.0.1 -all")
        .txt("else.example", "v=spf1 -all")
        .txt("_dmarc.far.example", "v=DMARC1; p=reject")
        .txt("_dmarc.bank.example", "v=DMARC1; p=reject")
        .txt("_dmarc.aside.example", "v=DMARC1; p=quarantine");
    let names = NameServer::start(zone);
    let server = Localserve::start(&["--resolver", &names.address()]);
    let mut all = Vec::new();
    for (subject, from, author, reply, told) in [
        (
            "good",
            "bob@far.example",
            "bob@far.example",
            "250 ",
            "accept (no-bad-signals), into INBOX",
        ),
        (
            "forged",
            "bob@far.example",
            "boss@bank.example",
            "550 5.7.26 ",
            "refuse (dmarc-policy)",
        ),
        (
            "aside",
            "bob@far.example",
            "bob@aside.example",
            "250 ",
            "junk (dmarc-quarantine), into Junk",
        ),
        (
            "spf",
            "bob@else.example",
            "bob@plain.example",
            "451 4.3.0 ",
            "defer (spf-policy)",
        ),
    ] {
        let said = swaks(&server, from, author, subject);
        assert!(said.contains(reply), "{subject}: {said}");
        let message_id = format!("<{subject}@far.example>");
        let (code, text) = server.ask(&["explain", &message_id]);
        assert_eq!(code, Some(0), "{subject}");
        assert!(text.contains(told), "{text}");
        // The id is what the other side was told.
        let id = text.split_whitespace().nth(1).unwrap();
        assert!(said.contains(id), "{subject}: {said}");
        let (code, again) = server.ask(&["explain", id, "--recompute"]);
        assert_eq!((code, again), (Some(0), format!("{id}: agrees\n")));
        all.push(id.to_owned());
    }
    // From what was written alone, without a server.
    let (_, json) = server.ask(&["explain", "mox@localhost", "--json"]);
    let text = server.recomputed(&json);
    for id in all {
        assert!(text.contains(&format!("{id}: agrees\n")), "{text}");
    }
    assert_eq!(
        server.ask(&["explain", "nobody@nowhere.example"]).0,
        Some(1)
    );
    server.stop();
}
