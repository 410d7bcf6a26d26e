//! Numbers, printed: of the protocol machines octets a second, allocations and octets allocated per transaction; of a
//! whole `moxctl localserve` its start, memory and rates; of the simulation what a world costs.
//!
//! `cargo run --release -p mox-bench` (with `-- sim` only the simulation, with `-- capture` only what recording sessions
//! costs, with `-- authentication` only what judging a sender costs, with `-- junk` only the junk filter, with `-- scheduler` only the
//! scheduler of the queue, with `-- transaction` only what one
//! message costs, with `-- judging` only what judging mail costs a server, with `-- explain` only questions about a million decisions, with
//! `-- mixed` many IMAP clients against any server, with `-- relay` how fast any server passes mail on), after
//! `cargo build --release`; the server is `$MOXCTL`, else the `moxctl` beside this
//! program. Nothing here passes or fails; ratios between rows hold better than rows.

mod authentication;
mod client;
mod explain;
mod instructions;
mod judging;
mod junk;
mod mixed;
mod process;
mod relay;
mod scheduler;
mod server;
mod sim;
mod transaction;

use std::alloc::System;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mox_address::Domain;
use mox_machine::{Mono, Now, Session, Step, Utc};
use mox_mime::Walker;
use mox_smtp::server::{Answer, Ask, Config, Server};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How long each row is measured, about.
const MEASURED: Duration = Duration::from_millis(500);
/// Octets of the large messages.
const LARGE: usize = 1 << 20;

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("authentication") {
        let (row, times) = (std::env::args().nth(2), std::env::args().nth(3));
        return authentication::run(row.as_deref(), times.as_deref());
    }
    if std::env::args().nth(1).as_deref() == Some("scheduler") {
        let (row, times) = (std::env::args().nth(2), std::env::args().nth(3));
        return scheduler::run(row.as_deref(), times.as_deref());
    }
    if std::env::args().nth(1).as_deref() == Some("capture") {
        return process::capture();
    }
    if std::env::args().nth(1).as_deref() == Some("mixed") {
        return mixed::run(&std::env::args().skip(2).collect::<Vec<_>>());
    }
    if std::env::args().nth(1).as_deref() == Some("relay") {
        return relay::run(&std::env::args().skip(2).collect::<Vec<_>>());
    }
    if std::env::args().nth(1).as_deref() == Some("sim") {
        return sim::print();
    }
    if std::env::args().nth(1).as_deref() == Some("transaction") {
        return transaction::print();
    }
    if std::env::args().nth(1).as_deref() == Some("judging") {
        return judging::print();
    }
    if std::env::args().nth(1).as_deref() == Some("explain") {
        return explain::print();
    }
    if std::env::args().nth(1).as_deref() == Some("junk") {
        return junk::print();
    }
    machines();
    authentication::run(None, None)?;
    junk::print()?;
    scheduler::run(None, None)?;
    sim::print()?;
    transaction::print()?;
    process::print()?;
    process::capture()?;
    judging::print()?;
    explain::print()
}

fn machines() {
    println!(
        "| SMTP server machine, message fed in pieces of | MB/s | allocations | octets allocated per octet |"
    );
    println!("|---|---|---|---|");
    let normal = lines(
        b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n",
        LARGE,
    );
    let dots = lines(b"..\r\n", LARGE);
    let dot_stuffed = lines(b"..dot in front of each line\r\n", LARGE);
    smtp("1 MB of prose, 16 KiB", &normal, 16 * 1024);
    smtp("1 MB of prose, 1,448 octets", &normal, 1_448);
    smtp("1 MB of `..` lines, 16 KiB", &dots, 16 * 1024);
    smtp("1 MB of stuffed lines, 16 KiB", &dot_stuffed, 16 * 1024);
    smtp("1 MB of prose, one octet", &normal, 1);
    smtp("1 MB of `..` lines, one octet", &dots, 1);
    let small = lines(
        b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n",
        10 * 1024,
    );
    smtp("10 KB of prose, 16 KiB", &small, 16 * 1024);

    println!("\n| MIME walker | MB/s | allocations |");
    println!("|---|---|---|");
    let header =
        b"From: a@b\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n";
    walk(
        "1 MB of prose in one part",
        &[header, normal.as_slice()].concat(),
    );
    walk(
        "1 MB of lines like boundaries",
        &[header.as_slice(), &lines(b"--b is not one\r\n", LARGE)].concat(),
    );
}

fn lines(line: &[u8], octets: usize) -> Vec<u8> {
    line.repeat(octets / line.len())
}

/// One transaction after the other until the time is over.
fn smtp(name: &str, body: &[u8], piece: usize) {
    let Ok(hostname) = Domain::parse("mx.example.org", false) else {
        return;
    };
    let (mut octets, mut allocations, mut allocated, mut runs) = (0, 0, 0, 0);
    let started = Instant::now();
    while started.elapsed() < MEASURED {
        let mut session = Server::new(Config::new(hostname.clone()), now());
        let mut input = BytesMut::new();
        let head = b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@mx.example.org>\r\nDATA\r\n";
        feed(&mut session, &mut input, head, head.len());
        let region = Region::new(ALLOCATOR);
        feed(&mut session, &mut input, body, piece);
        feed(&mut session, &mut input, b".\r\n", 3);
        let change = region.change();
        octets += body.len();
        allocations += change.allocations + change.reallocations;
        allocated += change.bytes_allocated;
        runs += 1;
    }
    let rate = octets as f64 / started.elapsed().as_secs_f64() / 1e6;
    let per_octet = allocated as f64 / octets as f64;
    println!(
        "| {name} | {rate:.0} | {} | {per_octet:.2} |",
        allocations / runs
    );
}

/// Feeds octets and answers whatever is asked with yes.
fn feed(session: &mut Server, input: &mut BytesMut, octets: &[u8], piece: usize) {
    for piece in octets.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            let before = input.len();
            session.recv(now(), input);
            let mut moved = input.len() != before;
            while let Some(step) = session.poll() {
                moved = true;
                if let Step::Ask(id, ask) = step {
                    let answer = match &ask {
                        Ask::Commit { .. } => Answer::Stored { id: "x".into() },
                        _ => Answer::Accept,
                    };
                    black_box(&ask);
                    session.answer(now(), id, answer);
                }
            }
            if !moved {
                break;
            }
        }
    }
}

fn walk(name: &str, message: &[u8]) {
    let (mut octets, mut allocations, mut runs) = (0, 0, 0);
    let started = Instant::now();
    while started.elapsed() < MEASURED {
        let region = Region::new(ALLOCATOR);
        let mut walker = Walker::new(mox_mime::Limits::default());
        for piece in message.chunks(16 * 1024) {
            walker.push(piece);
        }
        black_box(walker.finish());
        let change = region.change();
        octets += message.len();
        allocations += change.allocations + change.reallocations;
        runs += 1;
    }
    let rate = octets as f64 / started.elapsed().as_secs_f64() / 1e6;
    println!("| {name} | {rate:.0} | {} |", allocations / runs);
}

/// The machine only compares times: they need not pass.
const fn now() -> Now {
    Now {
        mono: Mono(1),
        utc: Utc(0),
    }
}
