//! A toy session over an in-memory stream: what the driver must do, seen from the peer and from the host.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

mod world;

use core::time::Duration;
use mox_driver::{Drive, End, HIGH};
use mox_machine::AskId;
use std::io::ErrorKind;
use world::{Desk, Pipe, Runner, Stopped, Toy};

/// One session and everything around it; `$run` is a [`Runner`] of its driver.
macro_rules! start {
    ($pipe:ident, $clock:ident, $desk:ident, $run:ident) => {
        start!($pipe, $clock, $desk, $run, toy = Toy::new());
    };
    ($pipe:ident, $clock:ident, $desk:ident, $run:ident, $toy:ident = $session:expr) => {
        let ($pipe, $clock) = (Pipe::default(), Stopped::default());
        let mut host = Desk::default();
        let $desk = host.0.clone();
        let mut $toy = $session;
        let mut $run = Runner::new(Drive::new(
            $clock.clone(),
            &mut $toy,
            $pipe.clone(),
            &mut host,
        ));
    };
}

fn patient() -> Toy {
    let mut toy = Toy::new();
    toy.patience = Duration::from_secs(100_000);
    toy
}

#[test]
fn a_pipelined_batch_is_answered_in_order_and_in_one_write() {
    start!(pipe, clock, desk, run);
    pipe.0
        .lock()
        .unwrap()
        .give(b"echo a\r\nask now b\r\necho c\r\nask now d\r\nec");
    assert_eq!(run.run(), None);
    let mut pipe = pipe.0.lock().unwrap();
    assert_eq!(pipe.sent_text(), "a\r\nb\r\nc\r\nd\r\n");
    assert_eq!(pipe.writes, [12]);
    assert_eq!(run.polls, 1, "what is known at once needs no wakeup");
    assert!(size_of_val(&run) <= 512, "{}", size_of_val(&run));
    drop((clock, desk));
}

#[test]
fn one_byte_segments_both_ways_give_the_same_dialogue() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().segment = 1;
    pipe.0.lock().unwrap().window = Some(0);
    let input = b"echo a\r\nbulk 5\r\nabcdelines 3\r\nquit\r\n";
    for byte in input {
        pipe.0.lock().unwrap().give(&[*byte]);
        assert_eq!(run.run(), None);
    }
    let mut end = None;
    let sum: u64 = b"abcde"
        .iter()
        .zip(1u64..)
        .map(|(b, i)| u64::from(*b) * i)
        .sum();
    let expected = format!("a\r\ngot 5 {sum}\r\n0\r\n1\r\n2\r\nbye\r\n");
    for _ in 0..expected.len() {
        pipe.0.lock().unwrap().open_window(1);
        assert_eq!(end, None);
        end = run.run();
    }
    assert_eq!(pipe.0.lock().unwrap().sent_text(), expected);
    assert!(pipe.0.lock().unwrap().closed);
    pipe.0.lock().unwrap().half_close();
    assert_eq!(run.run(), Some(End::Closed));
    assert_eq!(
        desk.lock().unwrap().events,
        ["quit"],
        "a fact behind the close is told"
    );
    drop(clock);
}

#[test]
fn an_answer_from_elsewhere_wakes_the_session_and_nothing_is_read_before_it() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().give(b"ask later\r\n");
    assert_eq!(run.run(), None);
    pipe.0.lock().unwrap().give(b"echo next\r\n");
    assert_eq!(run.run(), None);
    assert_eq!(pipe.0.lock().unwrap().unread(), 11, "back-pressure");
    assert_eq!(desk.lock().unwrap().asks, [(AskId(1), "later".to_owned())]);
    desk.lock().unwrap().answer(AskId(1), "now");
    assert_eq!(run.run(), None);
    assert_eq!(pipe.0.lock().unwrap().sent_text(), "now\r\nnext\r\n");
    drop(clock);
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_from_and_is_given_up() {
    start!(pipe, clock, desk, run, toy = patient());
    pipe.0.lock().unwrap().window = Some(10);
    let flood = b"big 8192\r\n".repeat(1_000);
    pipe.0.lock().unwrap().give(&flood);
    assert_eq!(run.run(), None);
    let left = pipe.0.lock().unwrap().unread();
    clock.pass(Duration::from_secs(299));
    assert_eq!(run.run(), None);
    assert_eq!(pipe.0.lock().unwrap().unread(), left);
    clock.pass(Duration::from_secs(1));
    assert_eq!(run.run(), Some(End::Reset(ErrorKind::TimedOut)));
    drop(desk);
}

#[test]
fn a_slow_reader_gets_every_byte_and_the_queue_stays_bounded() {
    start!(pipe, clock, desk, run, toy = patient());
    pipe.0.lock().unwrap().window = Some(0);
    pipe.0
        .lock()
        .unwrap()
        .give(b"big 819200\r\nbig 819200\r\nquit\r\n");
    let mut end = run.run();
    let mut rounds = 0;
    while end.is_none() {
        let queued = run.queued();
        assert!(queued <= HIGH + 8_192, "{queued}");
        clock.pass(Duration::from_secs(1));
        pipe.0.lock().unwrap().open_window(10_000);
        end = run.run();
        rounds += 1;
        if pipe.0.lock().unwrap().closed {
            pipe.0.lock().unwrap().half_close();
        }
        assert!(rounds < 1_000);
    }
    assert_eq!(end, Some(End::Closed));
    assert_eq!(pipe.0.lock().unwrap().sent.len(), 2 * 819_200 + 5);
    drop(desk);
}

#[test]
fn after_a_half_close_what_was_owed_is_still_said_once() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().give(b"ask later\r\n");
    pipe.0.lock().unwrap().half_close();
    assert_eq!(run.run(), None);
    desk.lock().unwrap().answer(AskId(1), "late");
    assert_eq!(run.run(), Some(End::Closed));
    assert_eq!(pipe.0.lock().unwrap().sent_text(), "late\r\nend\r\n");
    assert_eq!(desk.lock().unwrap().events, ["eof"]);
    drop(clock);
}

#[test]
fn a_broken_stream_and_a_missing_close_notify_are_resets_never_an_end() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof] {
        start!(pipe, clock, desk, run);
        pipe.0.lock().unwrap().give(b"bulk 100\r\nabc");
        assert_eq!(run.run(), None);
        pipe.0.lock().unwrap().fail(kind);
        assert_eq!(run.run(), Some(End::Reset(kind)));
        assert!(desk.lock().unwrap().events.is_empty());
        drop(clock);
    }
}

#[test]
fn an_upgrade_waits_for_the_last_byte_and_gives_the_stream_back() {
    for (line, compress) in [(&b"tls\r\n"[..], false), (b"deflate\r\n", true)] {
        start!(pipe, clock, desk, run);
        pipe.0.lock().unwrap().window = Some(2);
        pipe.0.lock().unwrap().give(line);
        assert_eq!(run.run(), None);
        // Clear text that comes now belongs to the handshake and is not read here.
        pipe.0.lock().unwrap().give(b"\x16\x03\x01");
        assert_eq!(run.run(), None);
        pipe.0.lock().unwrap().open_window(100);
        match run.run() {
            Some(End::Upgrade(_)) => assert!(!compress),
            Some(End::Compress(_)) => assert!(compress),
            other => panic!("{}", other.is_some()),
        }
        assert_eq!(pipe.0.lock().unwrap().sent_text(), "go\r\n");
        assert_eq!(pipe.0.lock().unwrap().unread(), 3);
        assert!(!pipe.0.lock().unwrap().closed);
        drop((clock, desk));
    }
}

#[test]
fn clear_text_read_together_with_the_request_for_tls_breaks_the_session() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().give(b"tls\r\necho injected\r\n");
    assert_eq!(run.run(), Some(End::Reset(ErrorKind::InvalidData)));
    drop((clock, desk));
}

#[test]
fn a_session_and_its_host_go_on_after_an_upgrade() {
    let (pipe, clock) = (Pipe::default(), Stopped::default());
    let (mut toy, mut host) = (Toy::new(), Desk::default());
    pipe.0.lock().unwrap().give(b"tls\r\n");
    let mut first = Runner::new(Drive::new(clock.clone(), &mut toy, pipe.clone(), &mut host));
    let Some(End::Upgrade(stream)) = first.run() else {
        panic!("no upgrade")
    };
    pipe.0.lock().unwrap().give(b"ask now inside\r\n");
    let mut second = Runner::new(Drive::new(clock, &mut toy, stream, &mut host));
    assert_eq!(second.run(), None);
    assert_eq!(pipe.0.lock().unwrap().sent_text(), "go\r\ninside\r\n");
}

#[test]
fn the_clock_decides_and_the_timer_is_armed_only_when_the_deadline_moves_earlier() {
    start!(pipe, clock, desk, run);
    for _ in 0..50 {
        pipe.0.lock().unwrap().give(b"echo x\r\n");
        assert_eq!(run.run(), None);
        clock.pass(Duration::from_secs(1));
    }
    assert_eq!(clock.arms(), 1);
    clock.pass(Duration::from_secs(58));
    assert_eq!(run.run(), None);
    assert_eq!(
        clock.arms(),
        2,
        "it woke for the old deadline and was armed for the new one"
    );
    clock.pass(Duration::from_secs(1));
    assert_eq!(run.run(), None);
    pipe.0.lock().unwrap().half_close();
    assert_eq!(run.run(), Some(End::Closed));
    let said = pipe.0.lock().unwrap().sent_text();
    assert_eq!(said, "x\r\n".repeat(50) + "too slow\r\n");
    drop(desk);
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "R3"))]
fn a_deadline_that_stays_in_the_past_is_a_bug_of_the_session() {
    let mut broken = Toy::new();
    broken.broken_deadline = true;
    start!(pipe, clock, desk, run, toy = broken);
    pipe.0.lock().unwrap().give(b"echo x\r\n");
    assert_eq!(run.run(), None);
    clock.pass(Duration::from_secs(60));
    #[cfg(debug_assertions)]
    run.run();
    drop(desk);
}

#[test]
fn stopping_is_told_once_and_the_goodbye_goes_out() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().give(b"echo x\r\n");
    assert_eq!(run.run(), None);
    desk.lock().unwrap().drain();
    assert_eq!(run.run(), None);
    assert!(pipe.0.lock().unwrap().closed);
    clock.pass(Duration::from_secs(1));
    assert_eq!(
        run.run(),
        Some(End::Closed),
        "a peer that does not let go is left"
    );
    assert_eq!(pipe.0.lock().unwrap().sent_text(), "x\r\nstopping\r\n");
}

#[test]
fn bytes_that_come_after_the_close_are_taken_and_forgotten() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().give(b"quit\r\n");
    assert_eq!(run.run(), None);
    pipe.0.lock().unwrap().give(&[b'x'; 100_000]);
    assert_eq!(run.run(), None);
    assert_eq!(pipe.0.lock().unwrap().unread(), 0);
    pipe.0.lock().unwrap().half_close();
    assert_eq!(run.run(), Some(End::Closed));
    assert_eq!(pipe.0.lock().unwrap().sent_text(), "bye\r\n");
    drop((clock, desk));
}

#[test]
fn last_words_that_are_not_taken_do_not_hold_the_session() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().window = Some(0);
    pipe.0.lock().unwrap().give(b"quit\r\n");
    assert_eq!(run.run(), None);
    clock.pass(Duration::from_secs(119));
    assert_eq!(run.run(), None);
    clock.pass(Duration::from_secs(1));
    assert_eq!(run.run(), Some(End::Reset(ErrorKind::TimedOut)));
    drop(desk);
}

#[test]
fn a_busy_peer_yields_between_polls_and_every_command_is_answered() {
    start!(pipe, clock, desk, run);
    pipe.0.lock().unwrap().give(&b"e x\r\n".repeat(400_000));
    pipe.0.lock().unwrap().half_close();
    assert_eq!(run.run(), Some(End::Closed));
    assert!(run.polls > 1_000, "{}", run.polls);
    assert_eq!(pipe.0.lock().unwrap().sent.len(), 400_000 * 3 + 5);
    drop((clock, desk));
}

#[test]
fn a_body_arrives_whole_in_big_and_in_mixed_reads() {
    for segment in [0, 1, 1_000, 16_384, 20_000, 65_536] {
        start!(pipe, clock, desk, run);
        pipe.0.lock().unwrap().segment = segment;
        let body: Vec<u8> = (0..300_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        let sum: u64 = body
            .iter()
            .zip(1u64..)
            .map(|(b, i)| u64::from(*b) * i)
            .sum();
        pipe.0.lock().unwrap().give(b"bulk 300000\r\n");
        for part in body.chunks(70_001) {
            pipe.0.lock().unwrap().give(part);
            assert_eq!(run.run(), None);
        }
        pipe.0.lock().unwrap().give(b"echo after\r\n");
        assert_eq!(run.run(), None);
        let text = pipe.0.lock().unwrap().sent_text();
        assert_eq!(text, format!("got 300000 {sum}\r\nafter\r\n"), "{segment}");
        let reads = pipe.0.lock().unwrap().reads;
        assert!(segment != 0 || reads < 30, "{reads} reads for 300 kB");
        drop((clock, desk));
    }
}
