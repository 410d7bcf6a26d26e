//! Postfix, the server most of the world's mail passes through, delivers to ours and takes mail from it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::time::Duration;

use mox_e2e::{Localserve, Postfix, Smtp, free_base, have, inbox, skip, wait_for};

/// How long a message may be under way between two servers on one machine.
const UNDER_WAY: Duration = Duration::from_secs(30);
/// With lines that start with dots, a long line, and letters beyond ASCII.
fn message(from: &str, to: &str, subject: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\nMessage-ID: <{subject}@client.example>\r\n\
         Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e.\r\n.\r\n..\r\n.x\r\n{}\r\n",
        "long ".repeat(150)
    )
}

fn send(smtp: &mut Smtp, from: &str, to: &str, content: &str) {
    smtp.command(&format!("MAIL FROM:<{from}> BODY=8BITMIME"), "250");
    smtp.command(&format!("RCPT TO:<{to}>"), "250");
    smtp.raw(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes());
    smtp.expect("250");
}

#[test]
fn postfix_delivers_to_us_and_takes_our_mail() {
    let test = "postfix_delivers_to_us_and_takes_our_mail";
    if !have(test, &["postfix"]) {
        return;
    }
    if !nix::unistd::Uid::effective().is_root() {
        return skip(test, "Postfix starts only as root");
    }
    let base = free_base();
    let postfix = Postfix::start(base + 25, &["peer.example"], None);
    let relay = format!("127.0.0.1:{}", postfix.port());
    let server = Localserve::start_at(
        base,
        &[
            "--accounts",
            "1",
            "--domain",
            "mox.example",
            "--relay",
            &relay,
        ],
    );

    // From there to us.
    let hither = message("x@peer.example", "u0@mox.example", "hither");
    send(
        &mut Smtp::connect(postfix.port()),
        "x@peer.example",
        "u0@mox.example",
        &hither,
    );
    let got = wait_for("mail from Postfix", UNDER_WAY, || {
        inbox(&server, "u0@localhost").pop()
    });
    let got = String::from_utf8(got).unwrap();
    assert!(got.starts_with("Return-Path: <x@peer.example>\r\nDelivered-To: u0@mox.example\r\nReceived: from mail.peer.example "), "{got}");
    assert!(
        got.replace("\r\n\t", " ").contains(" with ESMTPS id "),
        "{got}"
    );
    assert!(got.ends_with(&hither), "{got}");

    // From us to there.
    let thither = message("u0@mox.example", "x@peer.example", "thither");
    send(
        &mut Smtp::submission(&server, "u0"),
        "u0@mox.example",
        "x@peer.example",
        &thither,
    );
    let got = wait_for("mail for Postfix", UNDER_WAY, || {
        postfix.mail("peer.example", "x").pop()
    });
    assert!(got.starts_with("Return-Path: <u0@mox.example>\n"), "{got}");
    assert!(got.ends_with(&thither.replace("\r\n", "\n")), "{got}");

    // What Postfix refuses comes back with its reason, once.
    let refused = message("u0@mox.example", "nobody@peer.example", "refused");
    send(
        &mut Smtp::submission(&server, "u0"),
        "u0@mox.example",
        "nobody@peer.example",
        &refused,
    );
    let reports = wait_for("the report", UNDER_WAY, || {
        let messages = inbox(&server, "u0@localhost");
        (messages.len() > 1).then_some(messages)
    });
    assert_eq!(reports.len(), 2);
    let report = String::from_utf8_lossy(&reports[1]).replace("\r\n ", " ");
    assert!(report.contains("\r\nStatus: 5.1.1\r\n"), "{report}");
    assert!(
        report.contains("User unknown in virtual mailbox table"),
        "{report}"
    );

    // Twenty over and back at once.
    std::thread::scope(|scope| {
        for number in 0..10 {
            let (server, port) = (&server, postfix.port());
            scope.spawn(move || {
                let hither = message(
                    "x@peer.example",
                    "mox@mox.example",
                    &format!("hither-{number}"),
                );
                send(
                    &mut Smtp::connect(port),
                    "x@peer.example",
                    "mox@mox.example",
                    &hither,
                );
                let thither = message(
                    "mox@mox.example",
                    "x@peer.example",
                    &format!("thither-{number}"),
                );
                send(
                    &mut Smtp::submission(server, "mox"),
                    "mox@mox.example",
                    "x@peer.example",
                    &thither,
                );
            });
        }
    });
    wait_for("all at once", UNDER_WAY, || {
        let (here, there) = (
            inbox(&server, "mox@localhost").len(),
            postfix.mail("peer.example", "x").len(),
        );
        assert!(here <= 10 && there <= 11, "{here} {there}");
        (here == 10 && there == 11).then_some(())
    });
    server.stop();
}
