//! A server that is killed again and again while it sends: nothing that it promised to send is lost, and what arrives twice is
//! what was on its way when it was killed, and known to the server as such.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use mox_e2e::crash::{Victim, Wire, command};
use mox_e2e::{Stub, wait_for};
use mox_machine::Seed;
use serde_json::Value;

/// Messages that are promised in all.
const MESSAGES: usize = 2_000;
/// How often the server is killed.
const ROUNDS: u64 = 30;
/// Messages that are submitted in one round at most.
const BATCH: usize = 80;
/// A transaction that ended so long before a kill or less may have been known to the other side only.
const IN_THE_AIR: Duration = Duration::from_secs(1);
/// How long the rest may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Submits messages with numbers from `first` on; those that were acknowledged, to the first thing that goes wrong.
fn submit(port: u16, first: usize) -> Vec<usize> {
    let mut promised = Vec::new();
    let mut send = || -> io::Result<()> {
        let mut wire = Wire::smtp(port)?;
        // \0u0@localhost\0moxmoxmox
        wire.ask("AUTH PLAIN AHUwQGxvY2FsaG9zdABtb3htb3htb3g=")?;
        for number in first..first + BATCH {
            wire.ask("MAIL FROM:<u0@localhost>")?;
            wire.ask(&format!("RCPT TO:<to@d{}.example>", number % 7))?;
            wire.ask("DATA")?;
            wire.send(format!(
                "From: u0@localhost\r\nSubject: {number}\r\n\r\n{}\r\n.\r\n",
                "It is on its way.\r\n".repeat(number % 40)
            ))?;
            match wire.reply()? {
                reply if reply.starts_with("250 ") => promised.push(number),
                reply => return Err(io::Error::other(reply)),
            }
        }
        Ok(())
    };
    // A server that is killed breaks the connection.
    let _ = send();
    promised
}

/// The id of the transaction that brought a message, by the trace field of our server, which comes first.
fn transaction(message: &str) -> String {
    let (_, behind) = message.split_once(" id ").unwrap();
    let end = behind.find(|c: char| !c.is_ascii_alphanumeric());
    behind[..end.unwrap()].to_owned()
}

#[test]
fn a_server_that_is_killed_while_it_sends_loses_nothing_and_repeats_only_what_was_in_the_air() {
    let stub = Stub::taking();
    let relay = stub.address();
    let options = ["--accounts", "1", "--relay", &relay, "--retry-after", "1"];
    let mut server = Victim::start(&options);
    let mut rng = Seed::from_number(1).rng();
    let (mut promised, mut next, mut kills) = (Vec::new(), 0, Vec::new());
    let mut times = |server: &mut Victim, kills: &mut Vec<Instant>| {
        let port = server.port(587);
        let submitting = thread::spawn(move || submit(port, next));
        next += BATCH;
        if (kills.len() as u64) < ROUNDS {
            thread::sleep(Duration::from_millis(rng.below(400)));
            server.kill();
            kills.push(Instant::now());
            promised.extend(submitting.join().unwrap());
            server.restart();
        } else {
            promised.extend(submitting.join().unwrap());
        }
        promised.len()
    };
    while times(&mut server, &mut kills) < MESSAGES || (kills.len() as u64) < ROUNDS {}

    let copies = |stub: &Stub| {
        let mut copies: BTreeMap<usize, Vec<Instant>> = BTreeMap::new();
        for taken in stub.taken() {
            let message = String::from_utf8(taken.message()).unwrap();
            let subject = message.lines().find_map(|l| l.strip_prefix("Subject: "));
            let at = taken.at.unwrap();
            copies
                .entry(subject.unwrap().parse().unwrap())
                .or_default()
                .push(at);
        }
        copies
    };
    wait_for("every message that was promised", PATIENCE, || {
        let arrived = copies(&stub);
        promised
            .iter()
            .all(|number| arrived.contains_key(number))
            .then_some(())
    });
    wait_for("an empty queue", PATIENCE, || {
        let ctl = server.data().join("ctl");
        let listed = command(&["--ctl", ctl.to_str().unwrap(), "queue", "list", "--json"]);
        (listed.stdout == b"[]\n").then_some(())
    });
    // What is known of each message, by its transaction.
    let ctl = server.data().join("ctl");
    let retired = ["--ctl", ctl.to_str().unwrap(), "queue", "retired", "--json"];
    let retired: Vec<Value> = serde_json::from_slice(&command(&retired).stdout).unwrap();
    let ambiguous = retired.iter().map(|row| {
        let count = row["ambiguous"].as_u64().unwrap();
        (row["transaction"].as_str().unwrap().to_owned(), count)
    });
    let ambiguous: BTreeMap<String, u64> = ambiguous.collect();
    assert_eq!(server.terminate().code(), Some(0));
    server.verify_clean();

    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
    for one in stub.taken() {
        let message = String::from_utf8(one.message()).unwrap();
        *taken.entry(transaction(&message)).or_default() += 1;
    }
    for (transaction, copies) in &taken {
        let known = ambiguous.get(transaction);
        assert!(
            known.is_some_and(|known| *known >= copies - 1),
            "transaction {transaction} arrived {copies} times, of which the server knows: {known:?}"
        );
    }
    let doubted = ambiguous.values().filter(|count| **count > 0).count();

    let mut repeated = 0;
    for (number, at) in copies(&stub) {
        let (_, earlier) = at.split_last().unwrap();
        for at in earlier {
            repeated += 1;
            let since = |kill: &Instant| kill.checked_duration_since(*at);
            let next = kills.iter().filter_map(since).min();
            assert!(
                next.is_some_and(|passed| passed <= IN_THE_AIR),
                "message {number} arrived again though nothing was killed: {next:?}"
            );
        }
    }
    println!(
        "{} messages promised, {} kills, {} taken by the other side, {repeated} of them again, {doubted} in doubt",
        promised.len(),
        kills.len(),
        stub.taken().len()
    );
}
