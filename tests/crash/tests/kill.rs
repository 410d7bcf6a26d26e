//! Killed at any moment, a server has everything afterwards that it said it had taken, and nothing by halves.
//!
//! A kill keeps what the kernel has: what a power failure leaves is shown by `images.rs`, what a failing disk does by
//! `failing.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use mox_crash::{Random, is_whole, message, name_in};
use mox_e2e::crash::{Victim, Wire, fetch};

/// Kills, unless `MOX_KILL_ROUNDS` says how many.
const ROUNDS: u32 = 30;
/// Connections that send mail, besides one that appends and one that appends and expunges.
const SENDERS: u32 = 4;
/// Octets in the largest message.
const LARGE: usize = 150_000;

/// What a client is about, for the count of what was hit.
const PHASES: [&str; 6] = [
    "accepting",
    "in DATA",
    "dot sent",
    "between transactions",
    "APPEND",
    "expunge",
];
const ACCEPT: usize = 0;
const DATA: usize = 1;
const DOT: usize = 2;
const BETWEEN: usize = 3;
const APPEND: usize = 4;
const EXPUNGE: usize = 5;

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// Its end was sent, and no answer came.
    Unsure,
    /// It was acknowledged.
    Taken,
    /// Its removal was begun, and no answer came.
    Going,
    /// Its removal was acknowledged.
    Gone,
}

/// What became of each message in each account.
#[derive(Debug, Default)]
struct Ledger {
    known: BTreeMap<(&'static str, String), Known>,
    uids: BTreeMap<(&'static str, u32), String>,
    /// Messages that went to two accounts.
    pairs: BTreeSet<String>,
}

struct Client {
    server: (u16, u16),
    number: u32,
    round: u32,
    random: Random,
    ledger: Arc<Mutex<Ledger>>,
    phase: Arc<Vec<AtomicUsize>>,
}

impl Client {
    fn phase(&self, phase: usize) {
        self.phase[self.number as usize].store(phase, Ordering::SeqCst);
    }

    fn name(&mut self, serial: u32) -> String {
        let size = match self.random.below(4) {
            0 => 20_000 + self.random.below(LARGE - 20_000),
            _ => 100 + self.random.below(3000),
        };
        format!("r{}-c{}-{serial}-{size}", self.round, self.number)
    }

    fn note(&self, accounts: &[&'static str], name: &str, known: Known) {
        let mut ledger = self.ledger.lock().unwrap();
        for account in accounts {
            ledger.known.insert((account, name.to_owned()), known);
        }
    }

    /// Sends mail until the connection breaks.
    fn send(mut self) -> io::Result<()> {
        let mut serial = 0;
        loop {
            self.phase(ACCEPT);
            let mut wire = Wire::smtp(self.server.0)?;
            for _ in 0..5 {
                self.phase(BETWEEN);
                serial += 1;
                let name = self.name(serial);
                let accounts: &[&'static str] = match self.random.below(3) {
                    0 => &["u0", "u1"],
                    1 => &["u0"],
                    _ => &["u1"],
                };
                wire.ask("MAIL FROM:<a@client.example>")?;
                for account in accounts {
                    let reply = wire.ask(&format!("RCPT TO:<{account}@localhost>"))?;
                    assert!(reply.starts_with("250"), "{reply}");
                }
                let reply = wire.ask("DATA")?;
                assert!(reply.starts_with("354"), "{reply}");
                self.phase(DATA);
                let text = message(&name);
                let (first, second) = text.split_at(text.len() / 2);
                wire.send(first)?;
                if serial.is_multiple_of(3) {
                    thread::sleep(Duration::from_millis(5));
                }
                wire.send(second)?;
                if accounts.len() == 2 {
                    self.ledger.lock().unwrap().pairs.insert(name.clone());
                }
                self.note(accounts, &name, Known::Unsure);
                self.phase(DOT);
                wire.send(".\r\n")?;
                let reply = wire.reply()?;
                assert!(reply.starts_with("250"), "{reply}");
                self.note(accounts, &name, Known::Taken);
            }
        }
    }

    /// Appends until the connection breaks.
    fn append(mut self) -> io::Result<()> {
        self.phase(ACCEPT);
        let mut wire = Wire::imap(self.server.1, "u2@localhost")?;
        for serial in 1.. {
            let name = self.name(serial);
            self.append_one(&mut wire, "u2", &name)?;
        }
        Ok(())
    }

    fn append_one(&self, wire: &mut Wire, account: &'static str, name: &str) -> io::Result<u32> {
        let text = message(name);
        self.phase(APPEND);
        wire.send(format!("a APPEND INBOX {{{}}}\r\n", text.len()))?;
        let go = wire.line()?;
        assert!(go.starts_with('+'), "{go}");
        self.note(&[account], name, Known::Unsure);
        wire.send(&text)?;
        wire.send("\r\n")?;
        let (_, ok) = wire.answer("a")?;
        self.note(&[account], name, Known::Taken);
        let uid = ok.split_once("APPENDUID ").expect("UIDPLUS").1;
        let uid = uid.split([' ', ']']).nth(1).unwrap().parse().unwrap();
        let mut ledger = self.ledger.lock().unwrap();
        let before = ledger.uids.insert((account, uid), name.to_owned());
        assert_eq!(before, None, "UID {uid} of {account} was given twice");
        Ok(uid)
    }

    /// Appends a few and expunges some of them until the connection breaks.
    fn expunge(mut self) -> io::Result<()> {
        self.phase(ACCEPT);
        let mut wire = Wire::imap(self.server.1, "u3@localhost")?;
        wire.command("SELECT INBOX")?;
        let mut serial = 0;
        loop {
            let mut names = Vec::new();
            let mut uids = Vec::new();
            for n in 0..3 {
                serial += 1;
                let name = self.name(serial);
                let uid = self.append_one(&mut wire, "u3", &name)?;
                if n != 1 {
                    names.push(name);
                    uids.push(uid.to_string());
                }
            }
            let set = uids.join(",");
            wire.command(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"))?;
            self.phase(EXPUNGE);
            for name in &names {
                self.note(&["u3"], name, Known::Going);
            }
            wire.command(&format!("UID EXPUNGE {set}"))?;
            for name in &names {
                self.note(&["u3"], name, Known::Gone);
            }
        }
    }
}

const ACCOUNTS: [&str; 4] = ["u0", "u1", "u2", "u3"];

/// Compares what the server has with what it said. What was not certain is certain afterwards.
fn check(
    server: &Victim,
    ledger: &mut Ledger,
    from: &BTreeMap<&'static str, u32>,
) -> BTreeMap<&'static str, u32> {
    let mut next = BTreeMap::new();
    let mut found: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for account in ACCOUNTS {
        let first = from.get(account).copied().unwrap_or(1);
        let user = format!("{account}@localhost");
        let messages = fetch(server.port(143), &user, "INBOX", first).unwrap();
        let names = found.entry(account).or_default();
        for (uid, content) in &messages {
            let name = name_in(content).unwrap();
            assert!(
                is_whole(content, &name),
                "{account}: {name} is not what was sent"
            );
            assert!(
                names.insert(name.clone()),
                "{account}: {name} is there twice"
            );
            if let Some(said) = ledger.uids.get(&(account, *uid)) {
                assert_eq!(*said, name, "{account}: another message at UID {uid}");
            }
            ledger.uids.insert((account, *uid), name);
        }
        let last = messages.iter().map(|(uid, _)| uid + 1).max();
        next.insert(account, last.unwrap_or(first).max(first));
        // Only a check from the start sees all, the others what is new.
        let uids: BTreeMap<&String, u32> = ledger
            .uids
            .iter()
            .filter(|((of, _), _)| *of == account)
            .map(|((_, uid), name)| (name, *uid))
            .collect();
        let mut decided = Vec::new();
        for ((_, name), known) in ledger.known.iter().filter(|((of, _), _)| *of == account) {
            if uids.get(name).is_some_and(|uid| *uid < first) {
                continue;
            }
            let there = names.remove(name);
            match known {
                Known::Taken => assert!(there, "{account}: {name} was acknowledged and is lost"),
                Known::Gone => assert!(!there, "{account}: {name} was expunged and is back"),
                Known::Unsure | Known::Going if there => decided.push((name.clone(), Known::Taken)),
                Known::Unsure | Known::Going => decided.push((name.clone(), Known::Gone)),
            }
        }
        assert!(
            names.is_empty(),
            "{account}: never sent to the end: {names:?}"
        );
        for (name, known) in decided {
            ledger.known.insert((account, name), known);
        }
    }
    for name in &ledger.pairs {
        let of = |account| ledger.known[&(account, name.clone())];
        assert_eq!(of("u0"), of("u1"), "{name} reached one recipient of two");
    }
    next
}

#[test]
fn a_server_killed_at_any_moment_has_all_it_acknowledged_and_nothing_by_halves() {
    mox_crash::use_program_under_test();
    let rounds = std::env::var("MOX_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut server = Victim::start(&["--accounts", "4"]);
    let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let mut random = Random::new(seed);
    println!("seed {seed}");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut from = BTreeMap::new();
    let mut hit = [0; PHASES.len()];
    for round in 0..rounds {
        let clients = SENDERS + 2;
        let phases = (0..clients).map(|_| AtomicUsize::new(ACCEPT)).collect();
        let phases: Arc<Vec<AtomicUsize>> = Arc::new(phases);
        let mut threads = Vec::new();
        for number in 0..clients {
            let client = Client {
                server: (server.port(25), server.port(143)),
                number,
                round,
                random: Random::new(random.below(1 << 40) as u64),
                ledger: ledger.clone(),
                phase: phases.clone(),
            };
            threads.push(thread::spawn(move || match number {
                0 => client.append(),
                1 => client.expunge(),
                _ => client.send(),
            }));
        }
        // Now and then so early that the first connections are still being made, and aimed at each phase in turn.
        let pause = match round % 10 {
            0 => random.below(8),
            _ => 100 + random.below(500),
        };
        thread::sleep(Duration::from_millis(pause as u64));
        if !round.is_multiple_of(10) {
            let aim = (round % 6) as usize;
            for _ in 0..20_000 {
                if phases
                    .iter()
                    .any(|phase| phase.load(Ordering::SeqCst) == aim)
                {
                    break;
                }
                thread::sleep(Duration::from_micros(50));
            }
        }
        for phase in phases.iter() {
            hit[phase.load(Ordering::SeqCst)] += 1;
        }
        server.kill();
        for thread in threads {
            let broken = thread.join().unwrap().unwrap_err();
            assert_ne!(broken.kind(), io::ErrorKind::Other, "{broken}");
        }
        // Either the verifying command recovers the store, or the server itself.
        if round % 2 == 0 {
            server.verify_killed();
        }
        server.restart();
        from = check(&server, &mut ledger.lock().unwrap(), &from);
    }
    let mut ledger = ledger.lock().unwrap();
    check(&server, &mut ledger, &BTreeMap::new());
    assert!(server.terminate().success());
    server.verify_killed();
    let taken = ledger
        .known
        .values()
        .filter(|k| **k == Known::Taken)
        .count();
    let counts: Vec<String> = PHASES
        .iter()
        .zip(hit)
        .map(|(phase, count)| format!("{phase} {count}"))
        .collect();
    println!(
        "{rounds} kills, {taken} messages kept; clients hit: {}",
        counts.join(", ")
    );
    for phase in [DATA, DOT, APPEND, EXPUNGE] {
        assert!(hit[phase] > 0, "no kill hit a client at: {}", PHASES[phase]);
    }
}
