//! What senders are told of their messages, as they want it (RFC 3461).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the other side of a socket"
)]

mod world;

use mox_machine::Seed;
use mox_node::{Outgoing, Service};
use mox_sasl::{Credentials, Iterations};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use world::{Client, Server, World, wait_for};

/// The MAIL and RCPT commands that a server got.
type Said = Arc<Mutex<Vec<String>>>;

/// Another server: takes mail but for `no@`, and offers what it is told to.
fn receiver(offers: &'static str) -> (SocketAddr, Said) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let said = Said::default();
    let all = said.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let reply = |stream: &mut BufReader<std::net::TcpStream>, text: &str| {
                stream.get_mut().write_all(text.as_bytes()).unwrap();
            };
            reply(&mut stream, "220 receiver.example ESMTP\r\n");
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 0) {
                let command = line.trim_end().to_owned();
                line.clear();
                let verb = command.get(..4).unwrap_or_default();
                if matches!(verb, "MAIL" | "RCPT") {
                    all.lock().unwrap().push(command.clone());
                }
                match verb {
                    "EHLO" => {
                        let offers =
                            format!("250-receiver.example\r\n250-PIPELINING\r\n250 {offers}\r\n");
                        reply(&mut stream, &offers);
                    }
                    "RCPT" if command.contains("<no@") => {
                        reply(&mut stream, "550 5.1.1 nobody\r\n");
                    }
                    "DATA" => {
                        reply(&mut stream, "354 go on\r\n");
                        while line != ".\r\n" {
                            line.clear();
                            assert!(stream.read_line(&mut line).unwrap() > 0);
                        }
                        line.clear();
                        reply(&mut stream, "250 2.0.0 taken\r\n");
                    }
                    "QUIT" => {
                        reply(&mut stream, "221 bye\r\n");
                        break;
                    }
                    _ => reply(&mut stream, "250 2.0.0 fine\r\n"),
                }
            }
        }
    });
    (at, said)
}

fn user() -> Credentials {
    Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap()
}

fn relaying_to(at: SocketAddr) -> Server {
    let mut world = World::new(0);
    world.outgoing = Outgoing::Relay(vec![at]);
    world.start()
}

fn submit(client: &mut Client, params: &str, to: &[&str]) {
    client.ask(&format!("MAIL FROM:<mox@localhost>{params}"), "250 ");
    for to in to {
        client.ask(&format!("RCPT TO:{to}"), "250 ");
    }
    client.ask("DATA", "354 ");
    let message = "From: mox@localhost\r\nSubject: hi\r\n\r\nBody of it.\r\n.";
    client.ask(message, "250 2.0.0 ");
}

/// The messages in the sender's Inbox, each on lines without folds.
fn told(server: &Server) -> Vec<String> {
    let mut imap = server.connect(Service::Imap);
    imap.line();
    imap.imap("LOGIN mox@localhost secret");
    imap.imap("EXAMINE INBOX");
    let count = server.messages("mox");
    let messages = (1..=count).map(|n| imap.imap(&format!("FETCH {n} BODY.PEEK[]")));
    messages
        .map(|text| text.replace("\r\n ", " ").replace("\r\n", "\n"))
        .collect()
}

/// Until nothing is left of what was submitted.
fn wait(server: &Server) {
    wait_for("an empty queue", || {
        server.node.queue(1).unwrap().is_empty()
    });
}

#[test]
fn what_is_wanted_is_passed_on_to_who_takes_it_and_only_told_where_not() {
    let to = [
        "<yes@far.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Yes@Far.Example",
        "<quiet@far.example> NOTIFY=NEVER",
        "<usual@far.example>",
    ];
    let (knows, said) = receiver("DSN");
    let server = relaying_to(knows);
    submit(
        &mut server.submission(&user()),
        " RET=HDRS ENVID=id+2B1",
        &to,
    );
    wait(&server);
    let mut commands = said.lock().unwrap().clone();
    commands.sort();
    assert_eq!(
        commands,
        [
            "MAIL FROM:<mox@localhost> RET=HDRS ENVID=id+2B1",
            "RCPT TO:<quiet@far.example> NOTIFY=NEVER",
            "RCPT TO:<usual@far.example>",
            "RCPT TO:<yes@far.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Yes@Far.Example",
        ]
    );
    assert_eq!(server.messages("mox"), 0);
    server.stop();

    let (does_not, said) = receiver("8BITMIME");
    let server = relaying_to(does_not);
    submit(
        &mut server.submission(&user()),
        " RET=HDRS ENVID=id+2B1",
        &to,
    );
    wait(&server);
    let commands = said.lock().unwrap().join("\n");
    assert!(!commands.contains('='), "{commands}");
    let told = told(&server);
    assert_eq!(told.len(), 1, "{told:?}");
    for line in [
        "Subject: Mail was handed on to yes@far.example\n",
        "Original-Envelope-Id: id+1\n",
        "Original-Recipient: rfc822;Yes@Far.Example\nFinal-Recipient: rfc822; yes@far.example\nAction: relayed\nStatus: 2.0.0\n",
        "Diagnostic-Code: smtp; 250 2.0.0 taken\n",
        "Content-Type: text/rfc822-headers\n",
    ] {
        assert!(told[0].contains(line), "{line}: {}", told[0]);
    }
    assert!(!told[0].contains("Body of it.") && !told[0].contains("quiet@"));
    server.stop();
}

#[test]
fn a_failure_is_told_with_as_much_of_the_message_as_is_wanted_and_never_where_not() {
    let (at, _) = receiver("DSN");
    let server = relaying_to(at);
    let mut client = server.submission(&user());
    submit(&mut client, "", &["<no@never.example> NOTIFY=NEVER"]);
    submit(
        &mut client,
        "",
        &["<no@delay.example> NOTIFY=DELAY,SUCCESS"],
    );
    submit(
        &mut client,
        " RET=FULL ENVID=f",
        &["<no@full.example> NOTIFY=FAILURE"],
    );
    submit(&mut client, " RET=HDRS", &["<no@hdrs.example>"]);
    wait(&server);
    let mut told = told(&server);
    told.sort_by_key(|text| !text.contains("full.example"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("Action: failed\nStatus: 5.1.1\n"),
        "{}",
        told[0]
    );
    assert!(told[0].contains("Original-Envelope-Id: f\n"));
    assert!(told[0].contains("Content-Type: message/rfc822\n"));
    assert!(
        told[0].contains("\nSubject: hi\n\nBody of it.\n"),
        "{}",
        told[0]
    );
    assert!(told[1].contains("hdrs.example") && !told[1].contains("Body of it."));
    server.stop();
}

#[test]
fn a_delivery_to_a_mailbox_here_is_told_when_it_is_wanted() {
    let (at, _) = receiver("DSN");
    let mut world = World::new(2);
    world.outgoing = Outgoing::Relay(vec![at]);
    let server = world.start();
    let to = ["<u0@localhost> NOTIFY=SUCCESS", "<u1@localhost>"];
    submit(&mut server.submission(&user()), "", &to);
    wait(&server);
    assert_eq!((server.messages("u0"), server.messages("u1")), (1, 1));
    let told = told(&server);
    assert_eq!(told.len(), 1);
    assert!(
        told[0]
            .contains("Final-Recipient: rfc822; u0@localhost\nAction: delivered\nStatus: 2.1.5\n")
    );
    server.stop();
}

#[test]
fn a_message_that_is_held_back_leaves_when_its_sender_said() {
    let (at, said) = receiver("DSN");
    let server = relaying_to(at);
    let mut client = server.submission(&user());
    submit(&mut client, " HOLDFOR=2000000", &["<late@far.example>"]);
    submit(
        &mut client,
        " HOLDFOR=2",
        &["<soon@far.example>", "<mox@localhost>"],
    );
    assert_eq!(server.node.queue(9).unwrap().len(), 3);
    assert_eq!(server.messages("mox"), 0);
    assert_eq!(said.lock().unwrap().len(), 0);
    wait_for("the other ones", || {
        server.node.queue(9).unwrap().len() == 1
    });
    assert_eq!(server.messages("mox"), 1);
    assert_eq!(
        *said.lock().unwrap(),
        ["MAIL FROM:<mox@localhost>", "RCPT TO:<soon@far.example>"]
    );
    let left = server.node.queue(9).unwrap();
    assert_eq!(
        (&left[0].to[..], left[0].attempts),
        (&["late@far.example".to_owned()][..], 0)
    );
    server.stop();
}
