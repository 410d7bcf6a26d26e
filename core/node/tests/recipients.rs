//! Messages with as many recipients as the server says it takes, and with more.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod world;

use mox_machine::Seed;
use mox_node::{Outgoing, Service};
use mox_sasl::{Credentials, Iterations};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{Client, World, wait_for};

/// As LIMITS RCPTMAX says.
const RECIPIENTS: u32 = 1_000;

/// Gives all these recipients at once and demands one reply for each: 250 for the first so many, 452 for the others.
fn recipients(client: &mut Client, all: impl Iterator<Item = String>, taken: usize) {
    let commands: Vec<String> = all.map(|to| format!("RCPT TO:<{to}>\r\n")).collect();
    let count = commands.len();
    client.send_beside(commands.concat());
    for n in 0..count {
        let reply = client.reply();
        let wanted = if n < taken { "250 2.1.5" } else { "452 4.5.3" };
        assert!(reply.starts_with(wanted), "recipient {n}: {reply}");
    }
}

fn finish(client: &mut Client) {
    client.ask("DATA", "354 ");
    client.ask(
        "From: mox@localhost\r\nSubject: to many\r\n\r\nAll of you.\r\n.",
        "250 2.0.0 ",
    );
}

#[test]
fn a_thousand_mailboxes_get_one_message_that_was_accepted_once_also_after_a_power_failure() {
    let mut world = World::new(RECIPIENTS);
    // An attempt the power failure cut off is made again after the pause its row names (S12).
    let pause = Duration::from_secs(1);
    world.plan.pauses.fill(pause);
    let server = world.start();
    let mut client = server.smtp(Service::Smtp);
    client.ask("MAIL FROM:<me@far.example>", "250 ");
    let all = (0..RECIPIENTS).map(|n| format!("u{n}@localhost"));
    recipients(&mut client, all, 1_000);
    finish(&mut client);
    // The power fails at the moment of the 250.
    let after = world.crash();
    let everybody =
        |server: &world::Server| (0..RECIPIENTS).all(|n| server.messages(&format!("u{n}")) == 1);
    wait_for("a copy for everybody", || everybody(&server));
    assert_eq!(server.messages("mox"), 0);
    wait_for("an empty queue", || {
        server.node.queue(10).unwrap().is_empty()
    });
    assert!(everybody(&server), "some got it twice");
    // The copies of the second kind look like those of the first.
    for account in ["u0", "u999"] {
        let mut imap = server.connect(Service::Imap);
        imap.line();
        let user = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
        let row = mox_server::encode_credentials(&user);
        futures_lite::future::block_on(server.node.set_credentials(account, row)).unwrap();
        imap.imap(&format!("LOGIN {account}@localhost secret"));
        imap.imap("EXAMINE INBOX");
        let fetched = imap.imap("FETCH 1 (ENVELOPE BODY[])");
        let start = format!(
            "Return-Path: <me@far.example>\r\nDelivered-To: {account}@localhost\r\nReceived: from client.example "
        );
        assert!(fetched.contains(&start), "{fetched}");
        assert!(fetched.contains("\r\nSubject: to many\r\n\r\nAll of you.\r\n"));
        assert!(fetched.contains("\"to many\""), "{fetched}");
    }
    server.stop();

    let server = after.start();
    wait_for("a copy for everybody", || everybody(&server));
    wait_for("an empty queue", || {
        server.node.queue(10).unwrap().is_empty()
    });
    assert!(everybody(&server), "some got it twice");
    server.stop();
}

#[test]
fn recipients_beyond_the_limit_are_sent_away_and_the_others_get_the_message() {
    let server = World::new(RECIPIENTS).start();
    let mut client = server.smtp(Service::Smtp);
    client.ask("MAIL FROM:<me@far.example>", "250 ");
    let all = (0..10_000).map(|n| format!("u{}@localhost", n % RECIPIENTS));
    recipients(&mut client, all, 1_000);
    finish(&mut client);
    wait_for("a copy for everybody", || {
        (0..RECIPIENTS).all(|n| server.messages(&format!("u{n}")) == 1)
    });
    // The session goes on.
    client.ask("MAIL FROM:<me@far.example>", "250 ");
    recipients(&mut client, ["u0@localhost".to_owned()].into_iter(), 1);
    finish(&mut client);
    client.ask("QUIT", "221 ");
    server.stop();
}

#[test]
fn a_thousand_domains_are_a_thousand_entries_of_the_queue_also_after_a_power_failure() {
    let mut world = World::new(0);
    // Nobody listens there: every attempt fails for now.
    world.outgoing = Outgoing::Relay(vec!["127.0.0.1:1".parse().unwrap()]);
    let server = world.start();
    let user = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
    let mut client = server.submission(&user);
    client.ask("MAIL FROM:<mox@localhost>", "250 ");
    let wanted: BTreeSet<String> = (0..RECIPIENTS).map(|n| format!("x@d{n}.example")).collect();
    recipients(&mut client, wanted.iter().cloned(), 1_000);
    finish(&mut client);
    let after = world.crash();
    let all_tried = |server: &world::Server| {
        let queue = server.node.queue(2_000).unwrap();
        let to: Vec<&String> = queue.iter().flat_map(|entry| &entry.to).collect();
        assert_eq!(to.len(), wanted.len());
        assert!(to.into_iter().eq(&wanted));
        queue.len() == 1_000 && queue.iter().all(|entry| entry.attempts == 1)
    };
    wait_for("an attempt for everybody", || all_tried(&server));
    server.stop();
    let server = after.start();
    wait_for("an attempt for everybody", || all_tried(&server));
    server.stop();
}
