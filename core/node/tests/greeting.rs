//! Connections that come before there is a store.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod world;

use futures_lite::future::block_on;
use mox_machine::Seed;
use mox_node::Service;
use mox_sasl::{Credentials, Iterations};
use world::World;

#[test]
fn what_was_asked_before_the_store_was_open_is_answered_in_order_once_sessions_are_admitted() {
    let greeting = World::new(0).greet();
    let mut smtp = greeting.connect(Service::Smtp);
    smtp.expect("220 ");
    smtp.send("EHLO client.example\r\nMAIL FROM:<me@far.example>\r\nRCPT TO:<mox@localhost>\r\n");
    let mut imap = greeting.connect(Service::Imap);
    assert!(imap.line().starts_with("* OK "));
    imap.send("a LOGIN mox@localhost secret\r\nb STATUS INBOX (MESSAGES)\r\n");
    let mut left = greeting.connect(Service::Smtp);
    left.expect("220 ");
    left.ask("QUIT", "221 ");
    let server = greeting.open();
    let user = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
    let row = mox_server::encode_credentials(&user);
    block_on(server.node.set_credentials("mox", row)).unwrap();
    // Who comes now waits like those before.
    let mut late = server.connect(Service::Smtp);
    late.expect("220 ");
    late.send("EHLO late.example\r\n");
    server.node.admit();
    for start in ["250 ", "250 ", "250 "] {
        smtp.expect(start);
    }
    smtp.ask("DATA", "354 ");
    smtp.ask("Subject: early\r\n\r\nearly\r\n.", "250 ");
    late.expect("250 ");
    let login = imap.line();
    assert!(login.starts_with("a OK "), "{login}");
    let status = imap.line();
    assert!(status.starts_with("* STATUS "), "{status}");
    assert_eq!(server.messages("mox"), 1);
    server.stop();
}

#[test]
fn a_server_that_stops_before_its_store_was_open_owes_nobody_an_answer() {
    let greeting = World::new(0).greet();
    let mut smtp = greeting.connect(Service::Smtp);
    smtp.expect("220 ");
    // What needs no store is answered, which shows that what came with it was read.
    smtp.send("NOOP\r\nEHLO client.example\r\nMAIL FROM:<me@far.example>\r\n");
    smtp.expect("250 ");
    let mut imap = greeting.connect(Service::Imap);
    imap.line();
    imap.send("a NOOP\r\nb LOGIN mox@localhost secret\r\n");
    assert!(imap.line().starts_with("a OK "));
    greeting.stop();
    smtp.expect("451 4.3.2 ");
    smtp.expect("421 4.3.2 ");
    assert_eq!(imap.line(), "b NO [UNAVAILABLE] the server is stopping");
    assert!(imap.line().starts_with("* BYE "));
}
