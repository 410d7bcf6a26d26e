//! The examples do what they say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    dead_code,
    unfulfilled_lint_expectations,
    missing_docs,
    unreachable_pub,
    reason = "tests of programs"
)]

#[path = "../examples/blocking.rs"]
mod blocking;
#[path = "../examples/send.rs"]
mod send;
#[path = "../examples/stdio.rs"]
mod stdio;

use mox_address::{Domain, Host, Path};
use mox_smtp::client::{Class, Transaction};
use mox_smtp::{client, server};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

#[test]
fn the_blocking_client_sends_to_the_blocking_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (taken, received) = mpsc::channel();
    let localhost = || Domain::parse("localhost", false).unwrap();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let take = move |message: &[u8]| {
            taken.send(message.to_vec()).unwrap();
            Ok(())
        };
        blocking::serve(stream, server::Config::new(localhost()), take).unwrap();
    });
    let message = "Subject: one\r\n\r\n.\r\nend\r\n".repeat(10_000);
    let path = |text| Path::parse(text, false).unwrap();
    let outcomes = send::send(
        TcpStream::connect(address).unwrap(),
        client::Config::new(Host::Domain(localhost())),
        Transaction {
            from: Some(path("me@localhost")),
            to: vec![path("you@elsewhere.example"), path("you@localhost")],
            size: message.len() as u64,
            eight_bit: false,
            utf8: false,
            ..Transaction::default()
        },
        message.clone().into(),
    )
    .unwrap();
    // In the order in which they were decided.
    let classes: Vec<_> = outcomes.iter().map(|outcome| outcome.class).collect();
    assert_eq!(classes, [Class::Permanent, Class::Delivered]);
    assert_eq!(received.recv().unwrap(), message.into_bytes());
    serving.join().unwrap();
}

#[test]
fn a_line_too_long_is_answered_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = server::Config::new(Domain::parse("localhost", false).unwrap());
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        blocking::serve(stream, config, |_| Ok(())).unwrap();
    });
    let mut stream = TcpStream::connect(address).unwrap();
    // As much as one read takes, so that nothing else wakes the server.
    stream.write_all(&[b'a'; 16 * 1024]).unwrap();
    let mut said = String::new();
    // That the rest is not read may end the connection with a reset.
    let _ = stream.read_to_string(&mut said);
    let replies: Vec<_> = said
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(replies, ["220", "500"], "{said}");
    serving.join().unwrap();
}

#[test]
fn a_mail_server_on_standard_input_and_output_takes_mail() {
    let said = "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@elsewhere.example>\r\nRCPT TO:<b@localhost>\r\n\
        DATA\r\nSubject: one\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@localhost>\r\nBDAT 4 LAST\r\nhi\r\nQUIT\r\n";
    let (mut heard, mut kept) = (Vec::new(), Vec::new());
    stdio::serve(said.as_bytes(), &mut heard, &mut kept).unwrap();
    let heard = String::from_utf8(heard).unwrap();
    let codes: Vec<&str> = heard
        .lines()
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .map(|line| &line[..3])
        .collect();
    assert_eq!(
        codes,
        [
            "220", "250", "250", "550", "250", "354", "250", "250", "250", "250", "221"
        ],
        "{heard}"
    );
    assert_eq!(kept, b"Subject: one\r\n\r\n.dot\r\nhi\r\n");
    // A client that goes in the middle of a message leaves nothing.
    let (mut heard, mut kept) = (Vec::new(), Vec::new());
    let half = &said[..said.find(".dot").unwrap()];
    stdio::serve(half.as_bytes(), &mut heard, &mut kept).unwrap();
    assert!(kept.is_empty() && heard.ends_with(b"\r\n"));
}
