//! What one session costs in memory, at its worst: the heap is counted while many of them hold still.
//!
//! Alone in its process, since everybody's heap is counted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_driver::{Runtime, Timer};
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime, SimStream, lone_server};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::future::poll_fn;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;
/// Sessions that are counted, and those that pay for what is made once.
const COUNTED: usize = 40;
const FIRST: usize = 10;
/// Bytes in flight in one direction, which are the network's and not the session's.
const WINDOW: usize = 64 * KIB;

/// What a client does until it holds still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pose {
    /// SMTP: said EHLO.
    Greeted,
    /// IMAP: logged in, a mailbox selected, in IDLE.
    Idle,
    /// SMTP: in the middle of a large message, while the disk does not answer.
    Stalled,
    /// IMAP: asked for a large message and reads nothing.
    Deaf,
}

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated)
}

async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// Comes to its pose and holds it for ever.
async fn pose(on: SimRuntime, pose: Pose) {
    let port = if matches!(pose, Pose::Idle | Pose::Deaf) {
        143
    } else {
        25
    };
    let stream = on
        .connect(([10, 0, 0, 1], port).into(), None)
        .await
        .unwrap();
    let mut client = Dialogue::new(stream);
    match pose {
        Pose::Greeted => ehlo(&mut client).await,
        Pose::Idle => {
            log_in(&mut client).await;
            client.say("t9 IDLE\r\n").await.unwrap();
            client.line().await.unwrap();
        }
        Pose::Stalled => {
            ehlo(&mut client).await;
            let envelope = "MAIL FROM:<x@y.example>\r\nRCPT TO:<ann@a.example>\r\nDATA\r\n";
            client.say(envelope).await.unwrap();
            for code in ["250", "250", "354"] {
                client.expect(code).await.unwrap();
            }
            let lines = "Never the same river twice.\r\n".repeat(100);
            while client.say(&lines).await.is_ok() {}
        }
        Pose::Deaf => {
            log_in(&mut client).await;
            client.say("t9 FETCH 1 BODY[]\r\n").await.unwrap();
        }
    }
    std::future::pending::<()>().await;
    drop(client);
}

async fn ehlo(client: &mut Dialogue<SimStream>) {
    client.expect("220").await.unwrap();
    client.say("EHLO client.example\r\n").await.unwrap();
    client.expect("250").await.unwrap();
}

async fn log_in(client: &mut Dialogue<SimStream>) {
    client.line().await.unwrap();
    let command = "LOGIN ann@a.example \"correct horse\"";
    assert!(client.command(command).await.unwrap().contains(" OK "));
    assert!(
        client
            .command("SELECT INBOX")
            .await
            .unwrap()
            .contains(" OK ")
    );
}

/// One large message and some small ones.
async fn fill(on: &SimRuntime) {
    let stream = on.connect(([10, 0, 0, 1], 143).into(), None).await.unwrap();
    let mut client = Dialogue::new(stream);
    log_in(&mut client).await;
    let text =
        "Subject: large\r\n\r\n".to_owned() + &"A line of a large message.\r\n".repeat(80_000);
    for text in [text.as_str(), "Subject: small\r\n\r\nsmall\r\n"] {
        let append = format!("APPEND INBOX {{{}+}}\r\n{text}", text.len());
        assert!(client.command(&append).await.unwrap().contains(" OK "));
    }
    client.command("LOGOUT").await.unwrap();
}

/// Heap for each session that holds this pose.
fn cost(what: Pose) -> usize {
    let mut knobs = Knobs::fault_free();
    knobs.window = WINDOW;
    if what == Pose::Stalled {
        // The disk answers after an hour.
        knobs.job = (Duration::from_secs(3_600), Duration::from_secs(3_600));
    }
    let sim = Sim::new(1, knobs);
    let world = sim.clone();
    sim.run(async move {
        let observer = world.computer("observer", [10, 0, 2, 1]);
        let (_server, _node) = lone_server(&world, 0, 1).await.unwrap();
        if what == Pose::Deaf {
            fill(&observer).await;
        }
        let mut before = 0;
        for n in 0..FIRST + COUNTED {
            if n == FIRST {
                sleep(&observer, Duration::from_secs(30)).await;
                before = live() - world.trace_octets();
            }
            let on = world.computer("client", [10, 0, 1, n as u8]);
            on.spawn_session("pose", Box::pin(pose(on.clone(), what)));
        }
        sleep(&observer, Duration::from_secs(30)).await;
        (live() - world.trace_octets() - before) / COUNTED
    })
}

#[test]
fn a_session_costs_no_more_than_its_bounds_add_up_to() {
    // The client of each and both ends of its connection are counted too.
    let bounds = [
        (Pose::Greeted, 12 * KIB),
        (Pose::Idle, 16 * KIB),
        // Unanswered pieces 256 KiB, gathered by the spool 128, being written 128, the read buffer and its chunk 128, the
        // header section 64 and, of what is judged, the header as it was sent 128.
        (Pose::Stalled, 2 * WINDOW + 832 * KIB),
        // Written and not read, queued 64 KiB, a piece 64 KiB.
        (Pose::Deaf, 2 * WINDOW + 192 * KIB),
    ];
    for (pose, most) in bounds {
        let cost = cost(pose);
        eprintln!("{pose:?}: {} KiB, bound {} KiB", cost / KIB, most / KIB);
        assert!(
            cost <= most,
            "{pose:?}: {cost} octets for each session, bound {most}"
        );
    }
}
