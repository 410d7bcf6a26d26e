//! How a server starts, and how it stops.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use mox_e2e::crash::{Victim, Wire, command, said};
use mox_e2e::{Scratch, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose store is not open before somebody writes into the returned file.
fn waiting_for_its_store() -> (Victim, PathBuf) {
    let scratch = Scratch::new();
    let data = scratch.path().join("data");
    let schema = data.join("store/schema");
    fs::create_dir_all(data.join("store")).unwrap();
    mkfifo(&schema, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let mut server = Victim::new(scratch, data, &[], &["--accounts", "3"]);
    server.spawn();
    (server, schema)
}

/// A connection that was greeted.
fn greeted(server: &Victim, port: u16, greeting: &str) -> BufReader<TcpStream> {
    let stream = wait_for("a port that is bound", PATIENCE, || {
        TcpStream::connect(("127.0.0.1", server.port(port))).ok()
    });
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with(greeting), "{line:?}\n{}", server.log());
    stream
}

/// All that comes to the end of the connection.
fn rest(mut stream: BufReader<TcpStream>) -> String {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn a_server_greets_before_its_store_is_open_and_says_why_it_cannot_be_opened() {
    let (mut server, schema) = waiting_for_its_store();
    let mut smtp = greeted(&server, 25, "220 ");
    let imap = greeted(&server, 143, "* OK ");
    smtp.get_mut()
        .write_all(b"EHLO client.example\r\n")
        .unwrap();
    // The directory is taken all the same: another server does not even greet.
    let port = (server.port(0) + 1000).to_string();
    let data = server.data().to_str().unwrap();
    let second = command(&["localserve", "--dir", data, "--port-base", &port]);
    let text = said(&second);
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("another server has the store"), "{text}");
    // Nor does one that takes the same ports.
    let other = server.data().with_file_name("other");
    let (other, port) = (other.to_str().unwrap(), server.port(0).to_string());
    let third = command(&["localserve", "--dir", other, "--port-base", &port]);
    let text = said(&third);
    assert_eq!(third.status.code(), Some(1), "{text}");
    let refused = format!(
        "moxctl: cannot listen on 127.0.0.1:{} for smtp-v4: ",
        server.port(25)
    );
    assert!(
        text.contains(&refused) && text.contains("--port-base 2000"),
        "{text}"
    );
    // An empty file is no schema.
    drop(OpenOptions::new().write(true).open(schema).unwrap());
    let goodbye = rest(smtp);
    assert!(
        goodbye.starts_with("451 4.3.2 ") && goodbye.contains("\r\n421 4.3.2 "),
        "{goodbye:?}"
    );
    assert!(rest(imap).starts_with("* BYE "));
    assert_eq!(server.ended().code(), Some(1));
    let log = server.log();
    assert!(log.contains("cannot open the store"), "{log}");
    assert!(log.contains("`schema` holds no number"), "{log}");
    assert!(!log.contains("mox runs on"), "{log}");
}

#[test]
fn a_server_that_is_told_to_stop_before_its_store_is_open_says_goodbye_and_ends_well() {
    let (mut server, _schema) = waiting_for_its_store();
    let smtp = greeted(&server, 25, "220 ");
    let imap = greeted(&server, 143, "* OK ");
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    assert!(rest(smtp).starts_with("421 4.3.2 "));
    assert!(rest(imap).starts_with("* BYE "));
}

#[test]
fn a_handshake_that_hangs_holds_up_no_stop() {
    let mut server = Victim::start(&[]);
    let mut submission = Wire::smtp(server.port(587)).unwrap();
    let reply = submission.ask("STARTTLS").unwrap();
    assert!(reply.starts_with("220 "), "{reply}");
    let submissions = TcpStream::connect(("127.0.0.1", server.port(465))).unwrap();
    assert!(server.terminate().success(), "{}", server.log());
    let log = server.log();
    assert!(log.contains("sessions_cut_off=false"), "{log}");
    drop((submission, submissions));
}

#[test]
fn connections_beyond_the_limit_are_told_so_and_cost_nobody_a_descriptor() {
    // Of 200 descriptors, connections get a quarter.
    let few = ["prlimit", "--nofile=200:200"];
    let mut server = Victim::start_under(&few, &[]);
    let mut first = Wire::smtp(server.port(25)).unwrap();
    let mut held = Vec::new();
    let told = loop {
        let mut wire = Wire::connect(server.port(25)).unwrap();
        let line = wire.line().unwrap();
        if !line.starts_with("220 ") {
            break line;
        }
        held.push(wire);
    };
    assert_eq!(
        told,
        "421 4.7.0 localhost too many connections, try again later"
    );
    assert_eq!(held.len(), 49);
    let mut imap = Wire::connect(server.port(143)).unwrap();
    let told = imap.line().unwrap();
    assert_eq!(
        told,
        "* BYE [UNAVAILABLE] too many connections, try again later"
    );
    for command in ["MAIL FROM:<a@b.example>", "RCPT TO:<mox@localhost>", "DATA"] {
        let reply = first.ask(command).unwrap();
        assert!(reply.starts_with(['2', '3']), "{reply}");
    }
    let reply = first.ask("Subject: through\r\n\r\nthrough\r\n.").unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    let mut leaving = held.pop().unwrap();
    let goodbye = leaving.ask("QUIT").unwrap();
    assert!(goodbye.starts_with("221 "), "{goodbye}");
    drop(leaving);
    wait_for("a place", PATIENCE, || {
        let line = Wire::connect(server.port(25)).unwrap().line();
        line.ok().filter(|line| line.starts_with("220 "))
    });
    // prlimit has become the server.
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(server.ended().success());
    let log = server.log();
    assert!(log.contains("connection refused"), "{log}");
    let counted = log
        .lines()
        .find(|l| l.contains("were refused since the start"));
    assert!(counted.is_some_and(|l| !l.contains("refused=0")), "{log}");
    assert!(!log.contains("cannot accept"), "{log}");
}
