//! Mail that leaves: to another server of our own kind, to one that refuses it, and never with anything smuggled in it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::time::Duration;

use mox_e2e::{Localserve, Smtp, Stub, free_base, inbox, vectors, wait_for};

/// How long a message may be under way between two processes on one machine.
const UNDER_WAY: Duration = Duration::from_secs(20);

fn message(from: &str, to: &str, subject: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\nMessage-ID: <{subject}@client.example>\r\n\
         Subject: {subject}\r\n\r\nBody of {subject}, Gr\u{fc}\u{df}e.\r\n"
    )
}

/// The messages in an Inbox as text, once there are so many.
#[track_caller]
fn arrived(server: &Localserve, address: &str, count: usize) -> Vec<String> {
    wait_for("mail", UNDER_WAY, || {
        let messages = inbox(server, address);
        assert!(
            messages.len() <= count,
            "{} messages for {address}",
            messages.len()
        );
        (messages.len() == count).then(|| {
            messages
                .iter()
                .map(|m| String::from_utf8_lossy(m).into_owned())
                .collect()
        })
    })
}

#[test]
fn two_servers_relay_to_each_other() {
    let (base_a, base_b) = (free_base(), free_base());
    let (relay_a, relay_b) = (
        format!("127.0.0.1:{}", base_a + 25),
        format!("127.0.0.1:{}", base_b + 25),
    );
    let a = Localserve::start_at(
        base_a,
        &[
            "--accounts",
            "1",
            "--domain",
            "a.example",
            "--relay",
            &relay_b,
        ],
    );
    let b = Localserve::start_at(
        base_b,
        &[
            "--accounts",
            "1",
            "--domain",
            "b.example",
            "--relay",
            &relay_a,
        ],
    );

    let there = message("mox@a.example", "u0@b.example", "there");
    Smtp::submission(&a, "mox").send("mox@a.example", "u0@b.example", &there);
    let got = arrived(&b, "u0@localhost", 1);
    assert!(
        got[0].starts_with(
            "Return-Path: <mox@a.example>\r\nDelivered-To: u0@b.example\r\nReceived: "
        ),
        "{}",
        got[0]
    );
    assert!(got[0].ends_with(&there), "{}", got[0]);
    // One Received of each server; between them with TLS.
    assert_eq!(got[0].matches("\nReceived: ").count(), 2, "{}", got[0]);
    assert!(
        got[0].replace("\r\n\t", " ").contains(" with ESMTPS id "),
        "{}",
        got[0]
    );

    let back = message("u0@b.example", "mox@a.example", "back");
    Smtp::submission(&b, "u0").send("u0@b.example", "mox@a.example", &back);
    let got = arrived(&a, "mox@localhost", 1);
    assert!(got[0].ends_with(&back), "{}", got[0]);

    // Nobody's domain: the other server does not relay it, and the sender learns that.
    let nowhere = message("u0@a.example", "x@c.example", "nowhere");
    Smtp::submission(&a, "u0").send("u0@a.example", "x@c.example", &nowhere);
    let got = arrived(&a, "u0@localhost", 1);
    assert!(
        got[0].contains("x@c.example") && got[0].contains("550 "),
        "{}",
        got[0]
    );

    // Ten at once, each way.
    std::thread::scope(|scope| {
        for number in 0..10 {
            let (a, b) = (&a, &b);
            scope.spawn(move || {
                let out = message("mox@a.example", "u0@b.example", &format!("out-{number}"));
                Smtp::submission(a, "mox").send("mox@a.example", "u0@b.example", &out);
                let home = message("u0@b.example", "mox@a.example", &format!("home-{number}"));
                Smtp::submission(b, "u0").send("u0@b.example", "mox@a.example", &home);
            });
        }
    });
    let (at_b, at_a) = (
        arrived(&b, "u0@localhost", 11),
        arrived(&a, "mox@localhost", 11),
    );
    for number in 0..10 {
        assert!(
            at_b.iter()
                .any(|m| m.contains(&format!("\r\nBody of out-{number},")))
        );
        assert!(
            at_a.iter()
                .any(|m| m.contains(&format!("\r\nBody of home-{number},")))
        );
    }
    a.stop();
    b.stop();
}

#[test]
fn who_sends_to_a_refused_address_gets_a_report_that_says_why() {
    let stub = Stub::refusing("550 5.1.1 Nobody of that name lives here");
    let server = Localserve::start(&["--accounts", "1", "--relay", &stub.address()]);
    let content = message("u0@localhost", "nobody@far.example", "lost");
    Smtp::submission(&server, "u0").send("u0@localhost", "nobody@far.example", &content);
    let report = arrived(&server, "u0@localhost", 1).remove(0);

    assert!(
        report.starts_with("Return-Path: <>\r\nDelivered-To: u0@localhost\r\n"),
        "{report}"
    );
    for header in [
        "\r\nFrom: Mail Delivery System <postmaster@localhost>\r\n",
        "\r\nTo: <u0@localhost>\r\n",
        "\r\nSubject: Mail could not be delivered",
        "\r\nAuto-Submitted: auto-replied\r\n",
        "\r\nMIME-Version: 1.0\r\n",
        "\r\nContent-Type: multipart/report;",
    ] {
        assert!(report.contains(header), "{header:?} is missing in {report}");
    }
    let boundary = report
        .split_once("boundary=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let parts: Vec<&str> = report.split(&format!("--{boundary}")).skip(1).collect();
    assert_eq!(parts.len(), 4, "{report}");
    let [people, machines, original, end] = parts[..] else {
        panic!()
    };
    assert_eq!(end, "--\r\n");

    assert!(people.contains("nobody@far.example"), "{people}");
    let words: Vec<&str> = people.split_whitespace().collect();
    let words = words.join(" ");
    assert!(
        words.contains("550 5.1.1 Nobody of that name lives here"),
        "{people}"
    );
    assert!(
        words.contains("Your message could not be delivered"),
        "{people}"
    );
    assert!(
        machines.contains("\r\nContent-Type: message/delivery-status\r\n"),
        "{machines}"
    );
    for field in [
        "\r\nReporting-MTA: dns; localhost\r\n",
        "\r\nFinal-Recipient: rfc822; nobody@far.example\r\n",
        "\r\nAction: failed\r\n",
        "\r\nStatus: 5.1.1\r\n",
        "\r\nDiagnostic-Code: smtp; 550 5.1.1 Nobody of that name lives here\r\n",
    ] {
        let unfolded = machines.replace("\r\n ", " ").replace("\r\n\t", " ");
        assert!(
            unfolded.contains(field),
            "{field:?} is missing in {machines}"
        );
    }
    assert!(
        original.contains("\r\nSubject: lost\r\n") && !original.contains("Body of lost"),
        "{original}"
    );
    assert_eq!(stub.taken(), []);
    // The report is told of nobody else, and there is no second one.
    assert_eq!(inbox(&server, "mox@localhost").len(), 0);
    assert_eq!(inbox(&server, "u0@localhost").len(), 1);
    server.stop();
}

#[test]
fn what_is_relayed_is_the_message_and_its_dots_are_doubled() {
    let stub = Stub::taking();
    let server = Localserve::start(&["--relay", &stub.address()]);
    let body = ".\r\n..\r\n.start\r\nend.\r\n\r\n.\r\nMAIL FROM:<x@far.example>\r\n";
    let content = format!(
        "{}{body}",
        message("mox@localhost", "x@far.example", "dots")
    );
    let mut smtp = Smtp::submission(&server, "mox");
    smtp.command("MAIL FROM:<mox@localhost>", "250");
    smtp.command("RCPT TO:<x@far.example>", "250");
    // BDAT (RFC 3030) needs no dots; the server at the other end knows only DATA.
    smtp.raw(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes());
    smtp.expect("250");
    let taken = wait_for("the message", UNDER_WAY, || stub.taken().pop());
    assert!(
        taken.mail.starts_with("MAIL FROM:<mox@localhost>"),
        "{}",
        taken.mail
    );
    assert_eq!(taken.rcpt, ["RCPT TO:<x@far.example>"]);
    let relayed = String::from_utf8(taken.message()).unwrap();
    let (trace, rest) = relayed.split_at(relayed.len() - content.len());
    assert_eq!(rest, content);
    assert!(
        trace.starts_with("Received: ") && trace.matches("\r\n").count() >= 1,
        "{trace}"
    );
    assert!(
        !trace.contains("127.0.0.1") && !trace.contains("client.example"),
        "{trace}"
    );
    assert!(!taken.wire.windows(5).any(|w| w == b"\r\n.\r\n"));
    assert_eq!(stub.taken().len(), 1);
    server.stop();
}

#[test]
fn nothing_is_smuggled_out() {
    let Some(vectors) = vectors("nothing_is_smuggled_out") else {
        return;
    };
    let stub = Stub::taking();
    let server = Localserve::start(&["--relay", &stub.address()]);
    let file = fs::read_to_string(vectors.join("smtp/smuggling-sequences.jsonl")).unwrap();
    let sequences: Vec<Vec<u8>> = file
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let hex = line["hex"].as_str().unwrap();
            (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect()
        })
        .collect();
    assert_eq!(sequences.len(), 15);

    let evil = b"MAIL FROM:<evil@far.example>\r\nRCPT TO:<smuggled@far.example>\r\nDATA\r\nsmuggled\r\n.\r\n";
    for (number, sequence) in sequences.iter().enumerate() {
        let mut content =
            message("mox@localhost", "x@far.example", &format!("evil-{number}")).into_bytes();
        content.truncate(content.len() - 2);
        content.extend_from_slice(sequence);
        content.extend_from_slice(evil);
        for chunked in [false, true] {
            let mut smtp = Smtp::submission(&server, "mox");
            smtp.command("MAIL FROM:<mox@localhost>", "250");
            smtp.command("RCPT TO:<x@far.example>", "250");
            if chunked {
                smtp.raw(format!("BDAT {} LAST\r\n", content.len()).as_bytes());
                smtp.raw(&content);
            } else if sequence == b"\r\n.\r\n" {
                // No smuggling: that is the end.
                continue;
            } else {
                smtp.command("DATA", "354");
                smtp.raw(&content);
                smtp.raw(b"\r\n.\r\n");
            }
            smtp.raw(b"QUIT\r\n");
            while smtp.reply().is_some() {}
        }
        // Without the sequence the same goes out.
        let honest = message(
            "mox@localhost",
            "x@far.example",
            &format!("honest-{number}"),
        );
        Smtp::submission(&server, "mox").send("mox@localhost", "x@far.example", &honest);
    }

    wait_for("the honest messages", UNDER_WAY, || {
        let taken = stub.taken();
        let honest = taken
            .iter()
            .filter(|taken| contains(&taken.wire, b"\r\nSubject: honest-"));
        (honest.count() == sequences.len()).then_some(())
    });
    // What is still under way at the end goes out first.
    server.stop();
    let taken = stub.taken();
    for transaction in &taken {
        assert_eq!(transaction.rcpt, ["RCPT TO:<x@far.example>"]);
        let wire = &transaction.wire;
        let shown = String::from_utf8_lossy(wire);
        assert!(
            sequences.iter().all(|sequence| !contains(wire, sequence)),
            "{shown:?}"
        );
        // No CR and no LF is without the other.
        assert_eq!(
            shown.replace("\r\n", "").find(['\r', '\n']),
            None,
            "{shown:?}"
        );
    }
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}
