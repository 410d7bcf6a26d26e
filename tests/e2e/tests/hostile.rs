//! Clients that do what no client should: the server answers or hangs up, lives on, and takes nothing it did not
//! acknowledge.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::io;
use std::process::Command;
use std::thread;
use std::time::Duration;

use mox_e2e::crash::{Victim, Wire, command, fetch, said};
use mox_e2e::{Scratch, skip, vectors, wait_for};

const MAIL: &str = "MAIL FROM:<a@client.example>";
const RCPT: &str = "RCPT TO:<u0@localhost>";

fn inbox(server: &Victim) -> Vec<Vec<u8>> {
    let messages = fetch(server.port(143), "u0@localhost", "INBOX", 1).unwrap();
    messages.into_iter().map(|(_, content)| content).collect()
}

fn body(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content).into_owned();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A transaction up to the 354.
fn begun(server: &Victim) -> Wire {
    let mut wire = Wire::smtp(server.port(25)).unwrap();
    for (command, code) in [(MAIL, "250"), (RCPT, "250"), ("DATA", "354")] {
        let reply = wire.ask(command).unwrap();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    wire
}

fn delivered(server: &Victim, text: &str) -> String {
    let mut wire = begun(server);
    wire.send(format!("Subject: x\r\n\r\n{text}\r\n.\r\n"))
        .unwrap();
    wire.reply().unwrap()
}

fn ended_well(mut server: Victim) {
    assert!(!server.log().contains("panic"), "{}", server.log());
    assert!(server.terminate().success());
    server.verify_clean();
}

#[test]
fn commands_that_make_no_sense_get_an_error_and_the_server_lives() {
    let server = Victim::start(&["--accounts", "1"]);
    let mut wire = Wire::smtp(server.port(25)).unwrap();
    for (command, code) in [
        ("FROB", "500"),
        ("RCPT TO:<u0@localhost>", "503"),
        ("DATA", "503"),
        ("MAIL FROM:nobody", "501"),
        ("MAIL FROM:<a@client.example> SIZE=x", "501"),
        ("RSET", "250"),
    ] {
        let reply = wire.ask(command).unwrap();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    // Too long a line: told so, or cut off; never taken for a command.
    for octets in [vec![b'A'; 3_000_000], vec![0; 5000], vec![0xff; 5000]] {
        for port in [25, 143, 587] {
            let mut wire = Wire::connect(server.port(port)).unwrap();
            wire.line().unwrap();
            let _ = wire.send(&octets);
            let _ = wire.send("\r\n");
            let _ = wire.end();
            let rest = wire.rest().unwrap_or_default();
            assert!(!rest.contains(" OK ") && !rest.contains("250 "), "{rest}");
        }
    }
    // Handshakes that are none.
    for port in [465, 993] {
        let mut wire = Wire::connect(server.port(port)).unwrap();
        let _ = wire.send("EHLO client.example\r\n");
        let _ = wire.end();
        let _ = wire.rest();
    }
    assert!(delivered(&server, "still here").starts_with("250"));
    assert_eq!(inbox(&server).len(), 1);
    ended_well(server);
}

#[test]
fn a_slow_client_and_one_that_never_reads_disturb_nobody() {
    let server = Victim::start(&["--accounts", "1"]);
    let mut slow = Wire::connect(server.port(25)).unwrap();
    slow.reply().unwrap();
    // Replies pile up on the way to a client that does not read: then it is not heard any more either.
    let mut deaf = Wire::connect(server.port(25)).unwrap();
    deaf.write_patience(Duration::from_secs(2)).unwrap();
    let flood = "NOOP\r\n".repeat(10_000);
    let mut sent = 0;
    while sent < 200_000_000 && deaf.send(&flood).is_ok() {
        sent += flood.len();
    }
    assert!(sent < 200_000_000, "replies to {sent} octets are kept");
    for octet in "NOOP".chars() {
        slow.send(octet.to_string()).unwrap();
        assert!(delivered(&server, "meanwhile").starts_with("250"));
        thread::sleep(Duration::from_secs(1));
    }
    assert!(slow.ask("").unwrap().starts_with("250"));
    assert_eq!(inbox(&server).len(), 4);
    drop(deaf);
    ended_well(server);
}

/// Replies to this many RCPT commands of one message, sent a hundred at a time, up to a 421.
fn recipients(wire: &mut Wire, count: usize) -> Vec<String> {
    assert!(wire.ask(MAIL).unwrap().starts_with("250"));
    let mut replies = Vec::new();
    while replies.len() < count {
        wire.send(format!("{RCPT}\r\n").repeat(100)).unwrap();
        for _ in 0..100 {
            let reply = wire.reply().unwrap();
            let last = reply.starts_with("421");
            replies.push(reply.split(' ').take(2).collect::<Vec<_>>().join(" "));
            if last {
                return replies;
            }
        }
    }
    replies
}

#[test]
fn recipients_beyond_the_limit_are_for_another_time_and_those_within_get_the_message() {
    let server = Victim::start(&["--accounts", "1"]);
    let mut wire = Wire::smtp(server.port(25)).unwrap();
    let replies = recipients(&mut wire, 1900);
    assert!(replies[..1000].iter().all(|reply| reply == "250 2.1.5"));
    assert!(replies[1000..].iter().all(|reply| reply == "452 4.5.3"));
    assert!(wire.ask("DATA").unwrap().starts_with("354"));
    wire.send("Subject: many\r\n\r\nonce\r\n.\r\n").unwrap();
    assert!(wire.reply().unwrap().starts_with("250"));
    // All of them are the same mailbox: it has one copy.
    let bodies: Vec<String> = inbox(&server).iter().map(|m| body(m)).collect();
    assert_eq!(bodies, ["once\r\n"]);
    ended_well(server);
}

#[test]
fn a_client_that_goes_on_to_ten_thousand_recipients_has_the_surplus_put_off() {
    let server = Victim::start(&["--accounts", "1"]);
    let mut wire = Wire::smtp(server.port(25)).unwrap();
    let replies = recipients(&mut wire, 10_000);
    let taken = replies.iter().filter(|reply| *reply == "250 2.1.5").count();
    let later = replies.iter().filter(|reply| *reply == "452 4.5.3").count();
    assert_eq!((taken, later), (1_000, 9_000));
    assert_eq!(replies.len(), 10_000);
    assert_eq!(inbox(&server).len(), 0);
    assert!(delivered(&server, "of somebody else").starts_with("250"));
    ended_well(server);
}

#[test]
fn a_transaction_cut_at_any_octet_leaves_no_message_before_its_dot() {
    let server = Victim::start(&["--accounts", "1"]);
    let whole = format!(
        "EHLO client.example\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\nSubject: cut\r\n\r\nfirst\r\n..second\r\n.\r\n"
    );
    for cut in 0..whole.len() {
        let mut wire = Wire::connect(server.port(25)).unwrap();
        wire.send(&whole[..cut]).unwrap();
        wire.end().unwrap();
        let said = wire.rest().unwrap();
        assert!(!said.contains("stored"), "cut at {cut}: {said}");
    }
    assert_eq!(inbox(&server).len(), 0);
    let mut wire = Wire::connect(server.port(25)).unwrap();
    wire.send(&whole).unwrap();
    wire.end().unwrap();
    let said = wire.rest().unwrap();
    assert!(said.contains("stored"), "{said}");
    let bodies: Vec<String> = inbox(&server).iter().map(|m| body(m)).collect();
    assert_eq!(bodies, ["first\r\n.second\r\n"]);
    ended_well(server);
}

#[test]
fn no_sequence_but_the_true_one_ends_a_message() {
    let Some(vectors) = vectors("no_sequence_but_the_true_one_ends_a_message") else {
        return;
    };
    let lines = fs::read_to_string(vectors.join("smtp/smuggling-sequences.jsonl")).unwrap();
    let server = Victim::start(&["--accounts", "1"]);
    let mut count = 0;
    for line in lines.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let hex = vector["hex"].as_str().unwrap();
        let octets = (0..hex.len()).step_by(2);
        let sequence: Vec<u8> = octets
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let mut wire = begun(&server);
        let before = inbox(&server).len();
        wire.send("Subject: first\r\n\r\nbefore\r\n").unwrap();
        wire.send(&sequence).unwrap();
        wire.send(format!(
            "{MAIL}\r\n{RCPT}\r\nDATA\r\nSubject: smuggled\r\n\r\nafter\r\n"
        ))
        .unwrap();
        wire.send(".\r\nQUIT\r\n").unwrap();
        let said = wire.rest().unwrap();
        let new = inbox(&server).split_off(before);
        assert!(new.len() <= 1, "{line}: {} messages: {said}", new.len());
        assert!(
            said.matches("stored").count() == new.len(),
            "{line}: {said}"
        );
        assert!(!said.contains("354"), "{line}: DATA was obeyed: {said}");
        for message in new {
            let text = String::from_utf8_lossy(&message).into_owned();
            assert!(text.contains("Subject: first"), "{line}: {text}");
            assert!(text.contains("after"), "{line}: {text}");
        }
        count += 1;
    }
    assert_eq!(count, 15);
    ended_well(server);
}

#[test]
fn a_full_disk_refuses_mail_for_now_and_loses_none() {
    let scratch = Scratch::new();
    let place = scratch.path().join("small");
    fs::create_dir(&place).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"])
        .arg(&place)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        return skip(
            "a_full_disk_refuses_mail_for_now_and_loses_none",
            "may not mount",
        );
    }
    let _mounted = Mounted(place.clone());
    let mut server = Victim::start_in(
        Scratch::new(),
        place.join("data"),
        &[],
        &["--accounts", "1"],
    );
    // Mail that was let in while there was room, and meets a disk without any.
    let mut early = begun(&server);
    let mut small = begun(&server);
    let mut taken = vec!["the first\r\n".to_owned()];
    let mut user = Wire::imap(server.port(143), "u0@localhost").unwrap();
    assert!(delivered(&server, "the first").starts_with("250"));
    fs::write(place.join("other"), vec![1; 48 << 20]).unwrap_err();
    early
        .send(format!(
            "Subject: x\r\n\r\n{}.\r\n",
            "too much\r\n".repeat(20_000)
        ))
        .unwrap();
    let reply = early.reply().unwrap();
    println!("with no room at all: {reply}");
    assert!(reply.starts_with("45"), "{reply}");
    // Reading works, and so does the server when there is room again, if it still runs.
    assert_eq!(inbox(&server).len(), 1);
    let text = "too much\r\n".repeat(20_000);
    user.send(format!("a APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()))
        .unwrap();
    let append = user.answer("a").unwrap_err().to_string();
    println!("APPEND: {append}");
    assert!(!append.contains(" OK "), "{append}");
    // A small message would go into the journal, which must not be what meets the end of the disk.
    small.send("Subject: x\r\n\r\nthe second\r\n.\r\n").unwrap();
    let reply = small.reply().unwrap();
    println!("a small message: {reply}");
    assert!(reply.starts_with("452"), "{reply}");
    assert!(server.runs(), "it stopped: {:?}", server.ended());
    fs::remove_file(place.join("other")).unwrap();
    wait_for("mail to be taken again", Duration::from_secs(30), || {
        let reply = send(&server, "again").ok()?;
        reply.starts_with("250").then_some(())
    });
    taken.push("again\r\n".to_owned());
    let mut refused = None;
    for number in 0..400 {
        let text = format!("{number} {}", "filling the disk\r\n".repeat(12_000));
        let reply = send(&server, &text).unwrap();
        if !reply.starts_with("250") {
            refused = Some(reply);
            break;
        }
        taken.push(format!("{text}\r\n"));
    }
    let reply = refused.expect("a refusal");
    assert!(reply.starts_with("452"), "{reply}");
    // What is there can be read, and the next one is refused too.
    assert!(send(&server, "more").unwrap().starts_with("452"));
    let bodies: Vec<String> = inbox(&server).iter().map(|m| body(m)).collect();
    assert!(bodies == taken, "{} of {}", bodies.len(), taken.len());
    assert!(server.terminate().success());
    server.verify_killed();
    server.restart();
    let bodies: Vec<String> = inbox(&server).iter().map(|m| body(m)).collect();
    assert!(
        bodies.starts_with(&taken),
        "{} of {}",
        bodies.len(),
        taken.len()
    );
    println!("{} messages before the disk was full", taken.len());
    assert!(server.terminate().success());
    server.verify_killed();
}

#[test]
fn small_messages_that_fill_the_disk_are_refused_while_reading_and_deleting_go_on() {
    const CLIENTS: usize = 8;
    let scratch = Scratch::new();
    let place = scratch.path().join("small");
    fs::create_dir(&place).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
        .arg(&place)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        return skip(
            "small_messages_that_fill_the_disk_are_refused_while_reading_and_deleting_go_on",
            "may not mount",
        );
    }
    let _mounted = Mounted(place.clone());
    let mut server = Victim::start_in(
        Scratch::new(),
        place.join("data"),
        &[],
        &["--accounts", "1"],
    );
    let text = "a line of a small message\r\n".repeat(400);
    let taken: usize = thread::scope(|scope| {
        let client = || {
            let mut taken = 0;
            loop {
                let reply = send(&server, &text).unwrap();
                match &reply[..3] {
                    "250" => taken += 1,
                    "452" => return taken,
                    _ => panic!("{reply}"),
                }
                assert!(taken < 20_000, "no end of the disk");
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|c| c.join().unwrap()).sum()
    });
    println!("{taken} small messages before the disk was full");
    let mut user = Wire::imap(server.port(143), "u0@localhost").unwrap();
    let (lines, _) = user.command("SELECT INBOX").unwrap();
    assert!(lines.iter().any(|(l, _)| *l == format!("* {taken} EXISTS")));
    // Deleting writes rows, for every message, and must find room.
    user.command("STORE 1:* +FLAGS.SILENT (\\Deleted)").unwrap();
    user.command("EXPUNGE").unwrap();
    let (lines, _) = user.command("STATUS INBOX (MESSAGES)").unwrap();
    assert_eq!(lines[0].0, "* STATUS INBOX (MESSAGES 0)");
    assert!(server.runs(), "it stopped: {:?}", server.ended());
    assert!(server.terminate().success());
    server.verify_clean();
}

/// One delivery; any reply that ends it is returned.
fn send(server: &Victim, text: &str) -> io::Result<String> {
    let mut wire = Wire::smtp(server.port(25))?;
    for command in [MAIL, RCPT, "DATA"] {
        let reply = wire.ask(command)?;
        if !reply.starts_with(['2', '3']) {
            return Ok(reply);
        }
    }
    wire.send(format!("Subject: x\r\n\r\n{text}\r\n.\r\n"))?;
    wire.reply()
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_second_server_on_the_same_directory_is_told_why_it_cannot_run() {
    let server = Victim::start(&["--accounts", "1"]);
    let data = server.data().to_str().unwrap().to_owned();
    let port = (server.port(0) + 1000).to_string();
    let second = command(&["localserve", "--dir", &data, "--port-base", &port]);
    let text = said(&second);
    assert!(!second.status.success(), "{text}");
    assert!(text.contains("another server has the store"), "{text}");
    let verify = command(&["verify", "--dir", &data]);
    let text = said(&verify);
    assert_eq!(verify.status.code(), Some(1), "{text}");
    let who = format!("a server runs on {data} and answers on {data}/ctl: stop it and verify then");
    assert!(text.contains(&who), "{text}");
    assert!(delivered(&server, "undisturbed").starts_with("250"));
    ended_well(server);
}

#[test]
fn a_wrong_configuration_is_answered_with_file_line_and_column() {
    let scratch = Scratch::new();
    for (content, position) in [
        ("(\n    hostnam: \"x\",\n)\n", ":2:5: "),
        ("(\n    hostname 5,\n)\n", ":2:"),
        ("(\n    hostname: 25,\n)\n", ":2:15: "),
        ("", ":1:1: "),
    ] {
        let path = scratch.write("mox.ron", content);
        let path = path.to_str().unwrap();
        for arguments in [["--config", path, "serve"], ["--config", path, "verify"]] {
            let output = command(&arguments);
            let text = said(&output);
            assert!(!output.status.success(), "{text}");
            assert!(
                text.contains(&format!("{path}{position}")),
                "{content:?}: {text}"
            );
        }
    }
}
