//! What Exim tells later of mail that it took from us is noted with that mail, and Python reads it as we do.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::time::Duration;

use mox_e2e::{Exim, Localserve, Smtp, Stub, free_base, have, inbox, read_by_python, wait_for};
use serde_json::Value;

/// How long a message and what is told of it may be under way between servers on one machine.
const UNDER_WAY: Duration = Duration::from_secs(40);

fn send(server: &Localserve, name: &str, mail: &str, rcpt: &str) {
    let mut smtp = Smtp::submission(server, "u0");
    smtp.command(&format!("MAIL FROM:<u0@mox.example>{mail}"), "250");
    smtp.command(&format!("RCPT TO:{rcpt}"), "250");
    smtp.command("DATA", "354");
    let text = format!(
        "From: u0@mox.example\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\nMessage-ID: <{name}@client.example>\r\n\
         Subject: {name}\r\n\r\nBody.\r\n."
    );
    smtp.command(&text, "250");
}

fn retired(server: &Localserve) -> Vec<Value> {
    let output = server.command(&["queue", "retired", "--json", "--since", "1h"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_exim_tells_later_is_noted_with_the_message_and_python_reads_all_of_it() {
    let test = "what_exim_tells_later_is_noted_with_the_message_and_python_reads_all_of_it";
    if !have(test, &["python3"]) {
        return;
    }
    let base = free_base();
    let far = Stub::refusing("550 5.7.1 Not from you");
    let Some(exim) = Exim::start(test, base + 25, far.port()) else {
        return;
    };
    let relay = exim.address();
    let options = [
        "--accounts",
        "1",
        "--domain",
        "mox.example",
        "--relay",
        &relay,
    ];
    let server = Localserve::start_at(base, &options);

    // Known again by its Message-ID; by its ENVID, with the address in other letters; and after another server refused it.
    send(&server, "plain", "", "<gone@peer.example>");
    send(
        &server,
        "named",
        " RET=HDRS ENVID=a+2Bb+3Dc",
        "<Left@peer.example> NOTIFY=FAILURE ORCPT=rfc822;Left+2Bby@peer.example",
    );
    send(&server, "onward", "", "<anybody@far.example>");
    // Refused at once: of this we tell.
    send(&server, "refused", "", "<refused@peer.example>");

    let told = |rows: &[Value], to: &str| -> Vec<Value> {
        let row = rows.iter().find(|row| row["to"] == to);
        row.and_then(|row| row["told"].as_array().cloned())
            .unwrap_or_default()
    };
    let taken = [
        "gone@peer.example",
        "Left@peer.example",
        "anybody@far.example",
    ];
    let rows = wait_for("what Exim tells", UNDER_WAY, || {
        let rows = retired(&server);
        let is_told = |to: &&str| !told(&rows, to).is_empty();
        taken.iter().all(is_told).then_some(rows)
    });
    // Exim's status is always that one, also where a server further on said more.
    for to in &taken {
        let told = told(&rows, to);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["recipient"], *to);
        assert_eq!(told[0]["action"], "failed");
        assert_eq!(told[0]["from"], "mail.peer.example");
        assert_eq!(told[0]["status"], "5.0.0", "{told:?}");
        let row = rows.iter().find(|row| row["to"] == *to).unwrap();
        assert_eq!(row["fate"], "delivered");
    }
    assert_eq!(told(&rows, "refused@peer.example"), Vec::<Value>::new());

    // All four notifications, Exim's and ours.
    let mut reported = Vec::new();
    for message in wait_for("all of it", UNDER_WAY, || {
        let messages = inbox(&server, "u0@localhost");
        (messages.len() == 4).then_some(messages)
    }) {
        let read = read_by_python(&message);
        assert_eq!(
            (&read["defects"], &read["parts"]),
            (&serde_json::json!([]), &serde_json::json!(3))
        );
        let [of_message, of_recipient] = &read["groups"].as_array().unwrap()[..] else {
            panic!("{read}");
        };
        let mta = of_message["reporting-mta"].as_str().unwrap().to_owned();
        let to = of_recipient["final-recipient"].as_str().unwrap();
        assert_eq!(of_recipient["action"], "failed");
        reported.push((mta, to.replace(' ', "")));
    }
    reported.sort();
    let theirs = |to: &str| ("dns; mail.peer.example".to_owned(), format!("rfc822;{to}"));
    assert_eq!(
        reported,
        [
            (
                "dns; localhost".to_owned(),
                "rfc822;refused@peer.example".to_owned()
            ),
            theirs("Left@peer.example"),
            theirs("anybody@far.example"),
            theirs("gone@peer.example"),
        ]
    );
    server.stop();
}
