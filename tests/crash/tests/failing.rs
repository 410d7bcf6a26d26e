//! A disk that fails under a running server (S10): it stops at once, and has kept every promise when it starts again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mox_crash::load::{self, Amount};
use mox_crash::{
    Fault, KEPT, Laboratory, Ledger, Random, check_order, open_image, survey,
    use_program_under_test,
};
use mox_e2e::crash::Wire;

const OPTIONS: [&str; 4] = ["--accounts", "5", "--relay", "127.0.0.1:1"];
/// Numbers of errors.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// When a service fails the process exits so (sysexits: software error).
const SOFTWARE_ERROR: i32 = 70;
/// A server that fails ends within a second; a machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(10);

/// More work than is done before the disk fails.
const ENDLESS: Amount = Amount {
    senders: 5,
    sent: 2_000,
    appended: 2_000,
    expunged: 1_000,
    flagged: 5_000,
    submitted: 500,
};

#[test]
fn a_server_whose_disk_fails_stops_at_once_and_has_kept_every_promise() {
    use_program_under_test();
    let mut fastest = PATIENCE;
    let faults = [
        (Fault::Sync, EIO, ".jnl", 40),
        (Fault::Sync, EIO, ".jnl", 1),
        (Fault::Write, EIO, ".jnl", 60),
        (Fault::Write, ENOSPC, ".jnl", 25),
        (Fault::Sync, EIO, "mark.", 1),
        (Fault::Write, ENOSPC, "mark.", 1),
    ];
    for (number, (fault, error, path, after)) in faults.into_iter().enumerate() {
        let mut laboratory = Laboratory::start(None, &OPTIONS, false);
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        laboratory.fail(fault, after, error, path);
        let clients = load::start(&laboratory.server, &ledger, 1, ENDLESS);
        let start = Instant::now();
        while !laboratory.has_failed() {
            assert!(start.elapsed() < PATIENCE, "nothing was written to {path}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let failed = Instant::now();
        while laboratory.server.runs() {
            assert!(
                failed.elapsed() < PATIENCE,
                "it goes on with a disk that fails"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = failed.elapsed();
        fastest = fastest.min(took);
        assert_eq!(laboratory.server.ended().code(), Some(SOFTWARE_ERROR));
        for client in clients {
            assert!(
                client.join().unwrap().is_err(),
                "a client saw nothing of it"
            );
        }
        let mut ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
        let history = laboratory.history();
        let (failure, _) = history.first_failure.unwrap();
        // Whatever was promised, also in the last moment, was safe: syncs after a failed one do not count.
        let ordered = check_order(&history, &ledger, 0..0).unwrap();
        ledger.place(&history);
        let late = ledger
            .moments()
            .into_iter()
            .filter(|at| *at > failure)
            .count();
        println!(
            "{fault:?} of {path} fails with {error}: {ordered:?}, {late} promises sent after it, ended after {took:?}"
        );
        // What the failed sync should have covered may be gone for good.
        let span = history.length - failure;
        let mut random = Random::new(number as u64);
        let mut moments: Vec<usize> = (0..20)
            .map(|_| history.length - random.below(span.max(1)))
            .collect();
        moments.sort_unstable();
        let tally = survey(&history, &ledger, &moments, number as u64, KEPT);
        assert_eq!(tally.wrong, Vec::<String>::new());
        laboratory.heal();
        laboratory.server.set_environment(Vec::new());
        laboratory.server.restart();
        assert!(laboratory.server.terminate().success());
        laboratory.server.verify_killed();
        let verdict = open_image(laboratory.server.data()).unwrap();
        let wrong = ledger.check(&verdict.found, history.length);
        assert_eq!(wrong, Vec::<String>::new());
    }
    println!("fastest end: {fastest:?}");
    assert!(fastest < Duration::from_secs(1));
}

#[test]
fn a_body_that_cannot_be_written_is_refused_and_the_server_goes_on() {
    use_program_under_test();
    for fault in [Fault::Write, Fault::Sync] {
        let mut laboratory = Laboratory::start(None, &OPTIONS, false);
        let send = |large: bool| {
            let mut wire = Wire::smtp(laboratory.server.port(25)).unwrap();
            wire.ask("MAIL FROM:<a@client.example>").unwrap();
            wire.ask("RCPT TO:<u0@localhost>").unwrap();
            wire.ask("DATA").unwrap();
            let line = "all that is said here is said to fill the line\r\n";
            let body = line.repeat(if large { 2_000 } else { 2 });
            wire.ask(&format!("Subject: x\r\n\r\n{body}.")).unwrap()
        };
        assert!(send(true).starts_with("250"));
        laboratory.fail(fault, 0, EIO, "/body/");
        let refused = send(true);
        assert!(refused.starts_with('4'), "{refused}");
        assert!(send(false).starts_with("250"));
        laboratory.heal();
        assert!(send(true).starts_with("250"));
        assert!(laboratory.server.terminate().success());
        laboratory.server.verify_clean();
    }
}
