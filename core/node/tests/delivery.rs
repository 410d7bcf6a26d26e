//! What happens to a message between MAIL and a mailbox.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod world;

use mox_machine::Seed;
use mox_node::Service;
use mox_sasl::{Credentials, Iterations};
use world::{Client, Server, World};

fn imap(server: &Server) -> Client {
    let user = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
    let row = mox_server::encode_credentials(&user);
    futures_lite::future::block_on(server.node.set_credentials("mox", row)).unwrap();
    let mut imap = server.connect(Service::Imap);
    imap.line();
    imap.imap("LOGIN mox@localhost secret");
    imap
}

fn send(server: &Server, message: &str) {
    let mut client = server.smtp(Service::Smtp);
    client.ask("MAIL FROM:<me@far.example>", "250 ");
    client.ask("RCPT TO:<mox@localhost>", "250 ");
    client.ask("DATA", "354 ");
    client.ask(&format!("{message}\r\n."), "250 ");
}

#[test]
fn a_message_that_was_delivered_to_any_of_a_mailboxs_addresses_loops() {
    let server = World::new(0).start();
    for delivered_to in ["one@localhost", "TWO@LOCALHOST", "three@localhost"] {
        let mut client = server.smtp(Service::Smtp);
        client.ask("MAIL FROM:<me@far.example>", "250 ");
        // All of them are mox's.
        for to in ["one@localhost", "two@localhost", "three@localhost"] {
            client.ask(&format!("RCPT TO:<{to}>"), "250 ");
        }
        client.ask("DATA", "354 ");
        client.ask(
            &format!("Delivered-To: {delivered_to}\r\nSubject: again\r\n\r\nHi.\r\n."),
            "550 5.4.6 ",
        );
    }
    send(
        &server,
        "Delivered-To: four@localhost\r\nSubject: on\r\n\r\nHi.",
    );
    assert_eq!(server.messages("mox"), 1);
    server.stop();
}

#[test]
fn a_header_is_fetched_whole_however_long_it_is() {
    let server = World::new(0).start();
    let lengths = [1_000, 40_000, 49_100, 55_000, 65_500, 70_000, 200_000];
    for length in lengths {
        let line = format!("X-Long: {}\r\n", "y".repeat(88));
        let fields = line.repeat(length / line.len());
        send(
            &server,
            &format!("Subject: long\r\n{fields}X-Last: here\r\n\r\nbody"),
        );
    }
    let mut client = imap(&server);
    client.imap("EXAMINE INBOX");
    for (n, length) in (1..).zip(lengths) {
        for item in [
            "BODY.PEEK[HEADER]",
            "RFC822.HEADER",
            "BODY.PEEK[HEADER.FIELDS (X-Last)]",
        ] {
            let fetched = client.imap(&format!("FETCH {n} {item}"));
            assert!(fetched.contains("X-Last: here\r\n\r\n"), "{length}: {item}");
            assert!(!fetched.contains("body"), "{length}: {item}");
        }
        let found = client.imap("SEARCH HEADER X-Last here");
        assert!(found.contains(&format!(" {n}")), "{length}: {found}");
    }
    server.stop();
}

#[test]
fn results_that_claim_to_be_ours_are_taken_out_of_what_comes_from_elsewhere() {
    let server = World::new(0).start();
    let hostname = "localhost";
    send(
        &server,
        &format!(
            "Subject: forged\r\nAuthentication-Results: {hostname}; spf=pass\r\n smtp.mailfrom=bank.example\r\n\
             Authentication-Results: far.example; spf=fail\r\n\r\nAuthentication-Results: {hostname}; in the body"
        ),
    );
    let mut client = imap(&server);
    client.imap("EXAMINE INBOX");
    let fetched = client.imap("FETCH 1 (BODY.PEEK[] RFC822.SIZE BODYSTRUCTURE)");
    assert!(
        fetched.contains(
            "Subject: forged\r\nAuthentication-Results: far.example; spf=fail\r\n\r\nAuthentication-Results: "
        ),
        "{fetched}"
    );
    assert!(!fetched.contains("bank.example"), "{fetched}");
    server.stop();
}
