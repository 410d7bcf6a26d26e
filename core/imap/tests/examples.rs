//! The example does what it says.
#![allow(
    clippy::unwrap_used,
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

use blocking::Message;
use mox_machine::Utc;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

#[test]
fn a_folder_of_messages_is_read_over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let serving = std::thread::spawn(move || {
        let message = |n: u32| {
            let text = format!("Subject: m{n}\r\nFrom: a@b.example\r\n\r\nbody {n}\r\n");
            Message::new(text, Utc::from_secs(1_767_323_045))
        };
        let messages: Vec<Message> = (1..=250).map(message).collect();
        blocking::serve(listener.accept().unwrap().0, &messages).unwrap();
    });
    let said = "a LOGIN me secret\r\nb SELECT inbox\r\nc FETCH 1:* (UID ENVELOPE)\r\n\
        d UID FETCH 7 (BODY[HEADER.FIELDS (SUBJECT)] BODY[TEXT] BODYSTRUCTURE INTERNALDATE)\r\n\
        e UID SEARCH UID 3:5 SEEN\r\nf STORE 1 FLAGS ()\r\ng LOGOUT\r\n";
    client.write_all(said.as_bytes()).unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    serving.join().unwrap();
    for expected in [
        "* 250 EXISTS\r\n",
        "b OK [READ-ONLY] SELECT completed\r\n",
        "\r\n* 250 FETCH (UID 250 ENVELOPE (NIL \"m250\" ",
        "BODY[HEADER.FIELDS (SUBJECT)] {15}\r\nSubject: m7\r\n\r\n BODY[TEXT] {8}\r\nbody 7\r\n",
        "INTERNALDATE \" 2-Jan-2026 03:04:05 +0000\"",
        "* SEARCH 3 4 5\r\n",
        "\r\nf NO ",
        "g OK LOGOUT completed\r\n",
    ] {
        assert!(heard.contains(expected), "{expected:?} in {heard}");
    }
    assert_eq!(heard.matches(" FETCH (UID ").count(), 250 + 1);
}
