//! Mail that does not arrive at once, and mail that finds its way by DNS.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use mox_e2e::{Localserve, NameServer, Smtp, Stub, Transaction, Zone, inbox, moxctl, wait_for};

/// How long a message may be under way, its further attempts a second apart.
const UNDER_WAY: Duration = Duration::from_secs(40);

fn message(to: &str, subject: &str) -> String {
    format!(
        "From: u0@localhost\r\nTo: {to}\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\n\
         Message-ID: <{subject}@client.example>\r\nSubject: {subject}\r\n\r\nBody of {subject}.\r\n"
    )
}

fn submit(server: &Localserve, to: &str, subject: &str) {
    Smtp::submission(server, "u0").send("u0@localhost", to, &message(to, subject));
}

#[track_caller]
fn taken(stub: &Stub) -> Transaction {
    wait_for("a message", UNDER_WAY, || stub.taken().pop())
}

/// The only report in the sender's Inbox.
#[track_caller]
fn report(server: &Localserve) -> String {
    let report = wait_for("a report", UNDER_WAY, || {
        inbox(server, "u0@localhost").pop()
    });
    assert_eq!(inbox(server, "u0@localhost").len(), 1);
    String::from_utf8(report)
        .unwrap()
        .replace("\r\n ", " ")
        .replace("\r\n\t", " ")
}

#[test]
fn a_message_that_is_refused_for_now_is_tried_again_until_it_is_taken() {
    let stub = Stub::refusing_first(2, "451 4.2.0 Greylisted, come back later");
    let options = [
        "--accounts",
        "1",
        "--relay",
        &stub.address(),
        "--retry-after",
        "1",
    ];
    let server = Localserve::start(&options);
    submit(&server, "x@far.example", "later");
    let transaction = taken(&stub);
    assert_eq!(transaction.rcpt, ["RCPT TO:<x@far.example>"]);
    let relayed = String::from_utf8(transaction.message()).unwrap();
    assert!(
        relayed.ends_with(&message("x@far.example", "later")),
        "{relayed}"
    );
    // Twice put off, once taken, and nobody was told of a failure.
    wait_for("the log of it", UNDER_WAY, || {
        server.log().contains("outcome=delivered").then_some(())
    });
    assert_eq!(
        server.log().matches("outcome=temporary").count(),
        2,
        "{}",
        server.log()
    );
    assert_eq!(inbox(&server, "u0@localhost").len(), 0);
    server.stop();
    assert_eq!(stub.taken().len(), 1);
}

#[test]
fn mail_finds_its_way_by_mx_records() {
    let low: Ipv4Addr = [127, 0, 0, 2].into();
    let high: Ipv4Addr = [127, 0, 0, 3].into();
    let gone: Ipv4Addr = [127, 0, 0, 4].into();
    // All of them on one port, as mail servers are.
    let preferred = Stub::taking_at(SocketAddr::new(low.into(), 0));
    let port = preferred.port();
    let second = Stub::taking_at(SocketAddr::new(high.into(), port));
    let zone = Zone::default()
        // The preferred host is not the first in the answer.
        .mx("both.example", 20, "second.example")
        .mx("both.example", 10, "preferred.example")
        // Nobody listens at the preferred one.
        .mx("fallback.example", 10, "gone.example")
        .mx("fallback.example", 20, "second.example")
        .mx("null.example", 0, ".")
        // Without MX records it is the domain's own address.
        .a("plain.example", low)
        .a("preferred.example", low)
        .a("second.example", high)
        .a("gone.example", gone);
    let names = NameServer::start(zone);
    let start = || {
        Localserve::start(&[
            "--accounts",
            "1",
            "--resolver",
            &names.address(),
            "--remote-port",
            &port.to_string(),
            "--retry-after",
            "1",
        ])
    };
    let server = start();

    submit(&server, "x@both.example", "both");
    assert_eq!(taken(&preferred).rcpt, ["RCPT TO:<x@both.example>"]);
    assert_eq!(second.taken(), []);

    submit(&server, "x@fallback.example", "fallback");
    assert_eq!(taken(&second).rcpt, ["RCPT TO:<x@fallback.example>"]);

    submit(&server, "x@plain.example", "plain");
    wait_for("the third", UNDER_WAY, || {
        (preferred.taken().len() == 2).then_some(())
    });
    assert_eq!(preferred.taken()[1].rcpt, ["RCPT TO:<x@plain.example>"]);
    assert_eq!(second.taken().len(), 1);

    // A domain that takes no mail says so at once: no further attempt.
    submit(&server, "x@null.example", "null");
    let told = report(&server);
    for field in [
        "\r\nFinal-Recipient: rfc822; x@null.example\r\n",
        "\r\nAction: failed\r\n",
        "\r\nStatus: 5.1.10\r\n",
    ] {
        assert!(told.contains(field), "{field:?} is missing in {told}");
    }
    assert_eq!(names.asked("null.example"), 1);
    server.stop();

    // A domain that does not exist may have been registered just now: three attempts.
    let server = start();
    submit(&server, "x@nowhere.example", "nowhere");
    let told = report(&server);
    for field in [
        "\r\nFinal-Recipient: rfc822; x@nowhere.example\r\n",
        "\r\nAction: failed\r\n",
        "\r\nStatus: 5.1.2\r\n",
    ] {
        assert!(told.contains(field), "{field:?} is missing in {told}");
    }
    assert_eq!(
        server.log().matches("outcome=nodomain").count(),
        3,
        "{}",
        server.log()
    );
    server.stop();
    assert_eq!((preferred.taken().len(), second.taken().len()), (2, 1));
}

#[test]
fn a_queue_of_more_entries_than_one_answer_holds_is_listed_to_its_end() {
    // Nobody listens on the port of a listener that is gone.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Localserve::start(&["--accounts", "1", "--relay", &nobody.to_string()]);
    let mut smtp = Smtp::submission(&server, "u0");
    smtp.command("MAIL FROM:<u0@localhost>", "250");
    for n in 0..600 {
        smtp.command(&format!("RCPT TO:<x@d{n}.example>"), "250");
    }
    smtp.command("DATA", "354");
    let text = message("x@far.example", "many");
    smtp.command(&format!("{text}."), "250");
    let socket = server.scratch().path().join("data/ctl");
    let list = |options: &[&str]| {
        let output = Command::new(moxctl())
            .arg("--ctl")
            .arg(&socket)
            .args(["queue", "list"])
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // They come out of bundles as they are tried.
    wait_for("600 entries", UNDER_WAY, || {
        let items: serde_json::Value = serde_json::from_str(&list(&["--json"])).unwrap();
        let items = items.as_array().unwrap();
        (items.len() == 600).then_some(())
    });
    let table = list(&[]);
    assert_eq!(table.lines().count(), 601);
    assert!(table.starts_with("id "));
    let unlisted = (0..600).find(|n| !table.contains(&format!("<x@d{n}.example>")));
    assert_eq!(unlisted, None);
}
