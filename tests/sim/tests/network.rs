//! What a bad network does to our server, and what it must not do.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use futures_lite::future;
use mox_driver::Runtime;
use mox_machine::Seed;
use mox_node::Outgoing;
use mox_sim::peers::{
    Act, Busy, Foreign, Habit, Ledger, Manner, Parting, Plain, Seen, Stage, serve, visit,
};
use mox_sim::{Dialogue, FAULTS, Knobs, Sim, SimRuntime};
use one_server::{One, arrive, inbox, ours, sleep, submit, text};
use std::collections::BTreeSet;
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Our server, a peer that it relays to, and a client.
async fn three(world: &Sim, manner: impl Manner) -> (One, SimRuntime, SimRuntime, Ledger) {
    three_for(world, manner, mox_queue::Plan::default().lifetime).await
}

/// The same, with a queue that gives nothing up before it is so old.
async fn three_for(
    world: &Sim,
    manner: impl Manner,
    lifetime: Duration,
) -> (One, SimRuntime, SimRuntime, Ledger) {
    let peer = world.computer("peer", [10, 0, 0, 9]);
    let client = world.computer("client", [10, 0, 1, 1]);
    let ledger = serve(&peer, 25, "mx.peer.example", None, manner).unwrap();
    let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
    let mut one = One::new(world, relay);
    one.plan.lifetime = lifetime;
    one.start().await;
    (one, peer, client, ledger)
}

async fn within<T>(on: &SimRuntime, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    future::or(async { Some(work.await) }, async {
        sleep(on, limit).await;
        None
    })
    .await
}

#[test]
fn a_session_survives_two_minutes_without_a_network() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let (one, _, client, _) = three(&world, Plain).await;
        let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        world.partition(&client, &one.runtime);
        smtp.say("EHLO client.example\r\n").await.unwrap();
        assert!(within(&client, 2 * MINUTE, smtp.line()).await.is_none());
        world.rejoin(&client, &one.runtime);
        let heard = within(&client, 2 * MINUTE, smtp.expect("250")).await;
        assert!(heard.is_some_and(|reply| reply.is_ok()));
        one.stop().await;
    });
    assert!(sim.faults()["partition"] >= 1);
}

#[test]
fn a_connect_into_a_partition_is_given_up_and_the_message_goes_out_afterwards() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let (one, peer, client, ledger) = three(&world, Plain).await;
        world.cut(&one.runtime, &peer);
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        assert!(!one.settle(HOUR).await);
        assert!(ledger.visits().is_empty());
        let [queued] = &one.queue()[..] else { panic!() };
        assert!(queued.attempts >= 3, "{queued:?}");
        let last = queued.last.as_deref().unwrap();
        assert!(last.contains("no connection: timed out"), "{last}");
        world.mend(&one.runtime, &peer);
        assert!(one.settle(2 * HOUR).await);
        assert_eq!(ledger.copies(CAROL, MARK), 1);
        one.stop().await;
    });
}

/// Thinks about the message for ten seconds.
struct Thinker;

impl Manner for Thinker {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        let slow = seen.stage == Stage::Message;
        slow.then(|| vec![Act::Pause(10 * SECOND), Act::reply("250 2.0.0 kept")])
    }
}

#[test]
fn an_answer_that_is_lost_on_the_way_costs_one_more_copy_that_the_ledger_excuses() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let (one, peer, client, ledger) = three(&world, Thinker).await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        while ledger.deliveries().is_empty() {
            sleep(&client, SECOND).await;
        }
        world.cut(&peer, &one.runtime);
        sleep(&client, 20 * MINUTE).await;
        world.mend(&peer, &one.runtime);
        assert!(one.settle(3 * HOUR).await);
        let dots = ledger.deliveries();
        assert_eq!(dots[0].reply, Some(250));
        assert_eq!(dots[0].heard_at(), None);
        assert!(dots[0].is_ambiguous());
        assert_eq!(ledger.copies(CAROL, MARK), 2);
        assert_eq!(ledger.excused(CAROL, MARK), 1);
        one.stop().await;
    });
}

#[test]
fn running_out_of_descriptors_delays_clients_and_loses_none() {
    let knobs = Knobs {
        accept_fails_one_in: 2,
        ..Knobs::fault_free()
    };
    let sim = Sim::new(1, knobs);
    let world = sim.clone();
    sim.run(async move {
        let (one, _, client, _) = three(&world, Plain).await;
        for n in 0..20 {
            arrive(&client, &text(&format!("mark-{n}-end"), 1))
                .await
                .unwrap();
        }
        let read = inbox(&client).await.unwrap();
        assert_eq!(read.matches("Subject: mark-").count(), 20);
        one.stop().await;
    });
    assert!(sim.faults()["accept failed"] > 5);
    assert!(sim.elapsed() < MINUTE);
}

#[test]
fn a_clock_that_jumps_neither_expires_a_message_nor_forgets_it() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let until = mox_machine::Mono(1_000_000_000) + 2 * HOUR;
        let (one, _, client, ledger) = three(&world, Busy::new(Stage::Rcpt, until)).await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        sleep(&client, MINUTE).await;
        world.jump_utc(6 * 24 * HOUR);
        sleep(&client, 2 * MINUTE).await;
        assert_eq!(one.queue().len(), 1, "three attempts were not made yet");
        world.jump_utc_back(12 * 24 * HOUR);
        sleep(&client, 10 * MINUTE).await;
        world.heal();
        assert!(one.settle(12 * HOUR).await);
        assert_eq!(ledger.copies(CAROL, MARK), 1);
        one.stop().await;
    });
}

#[test]
fn in_a_hostile_network_everything_accepted_arrives_and_every_fault_is_met() {
    let mut met = BTreeSet::new();
    for seed in 0..48 {
        let sim = Sim::new(seed, Knobs::hostile(&Seed::from_number(seed)));
        let world = sim.clone();
        sim.run(async move {
            // A clock that goes back and forth by days makes nothing too old.
            let lifetime = 30 * 24 * HOUR;
            let (one, peer, client, ledger) = three_for(&world, Plain, lifetime).await;
            let mut accepted = BTreeSet::new();
            for n in 0..6 {
                let mark = format!("mark-{n}-end");
                let body = text(&mark, 20);
                for _ in 0..4 {
                    let sent = submit(&client, &[CAROL], &body);
                    if let Some(Ok(_)) = within(&client, 20 * MINUTE, sent).await {
                        accepted.insert(mark.clone());
                        break;
                    }
                }
                if n == 2 {
                    world.partition(&one.runtime, &peer);
                }
            }
            sleep(&client, HOUR).await;
            world.heal();
            assert!(
                one.settle(3 * 24 * HOUR).await,
                "seed {seed}: {:?}",
                one.queue()
            );
            for mark in &accepted {
                let copies = ledger.copies(CAROL, mark);
                assert!(copies >= 1, "seed {seed}: {mark} is lost");
            }
            let read = inbox(&client).await.unwrap();
            assert!(!read.contains("Action: failed"), "seed {seed}: {read}");
            sleep(&client, HOUR).await;
            assert_eq!(one.node().sessions(), 0, "seed {seed}");
            one.stop().await;
        });
        assert_eq!(sim.panics(), 0);
        met.extend(sim.faults().into_keys());
    }
    for fault in [
        "accept failed",
        "clock back",
        "clock forward",
        "connect black hole",
        "connect mute",
        "connect partitioned",
        "commit stalled",
        "refuse",
        "reset",
        "silence",
        "writes lost",
    ] {
        assert!(met.contains(fault), "{fault} was never met: {met:?}");
        assert!(FAULTS.contains(&fault));
    }
}

/// A whole message, as an eager client says it in one breath.
fn eager(mark: &str) -> Vec<u8> {
    let text = text(mark, 2);
    format!(
        "EHLO client.example\r\nMAIL FROM:<bob@elsewhere.example>\r\nRCPT TO:<ann@ours.example>\r\nDATA\r\n{text}.\r\nQUIT\r\n"
    )
    .into_bytes()
}

/// Foreign clients come one after the other; then a good one is served. What came of them, and Ann's Inbox.
fn suffer(habits: Vec<Habit>, patience: Duration) -> (Vec<Foreign>, String, Duration) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let came = sim.run(async move {
        let (one, _, client, _) = three(&world, Plain).await;
        let foreigner = world.computer("foreigner", [10, 0, 2, 1]);
        let mut came = Vec::new();
        for habit in &habits {
            came.push(visit(&foreigner, ours(25), habit, patience).await);
        }
        let began = client.now().mono;
        arrive(&client, &text("good", 1)).await.unwrap();
        let served = client.now().mono.since(began);
        sleep(&client, 20 * MINUTE).await;
        assert_eq!(one.node().sessions(), 0);
        let read = inbox(&client).await.unwrap();
        assert_eq!(read.matches("Subject: good\r\n").count(), 1);
        one.stop().await;
        (came, read, served)
    });
    assert_eq!(sim.panics(), 0);
    came
}

#[test]
fn a_flood_of_commands_is_ended_and_others_are_served() {
    let flood = Habit::Flood(b"NOOP\r\n".repeat(100), 1_000);
    let (came, _, served) = suffer(vec![flood], HOUR);
    assert!(
        came[0].ended || came[0].broken.is_some(),
        "{:?}",
        came[0].sent
    );
    assert!(came[0].sent < 300_000, "{}", came[0].sent);
    assert!(served < 5 * SECOND);
}

#[test]
fn one_octet_a_second_is_slow_and_not_wrong() {
    let drip = Habit::Drip(eager("slow"), SECOND);
    let (came, read, _) = suffer(vec![drip], HOUR);
    assert!(came[0].ended);
    assert!(
        came[0].codes().ends_with(&[354, 250, 221]),
        "{:?}",
        came[0].codes()
    );
    assert_eq!(read.matches("Subject: slow\r\n").count(), 1);
}

#[test]
fn one_octet_a_minute_is_too_slow() {
    let drip = Habit::Drip(eager("slow"), 6 * MINUTE);
    let (came, read, _) = suffer(vec![drip], 24 * HOUR);
    assert!(
        came[0].ended && came[0].lasted < HOUR,
        "{:?}",
        came[0].lasted
    );
    assert!(came[0].codes().contains(&421), "{:?}", came[0].codes());
    assert!(!read.contains("Subject: slow"));
}

#[test]
fn who_never_reads_is_left() {
    let deaf = Habit::Deaf(b"HELP\r\n".repeat(500), 1_000, 2 * HOUR);
    let (came, _, served) = suffer(vec![deaf], 3 * HOUR);
    // Behind its goodbye the server forgets a mebibyte before it closes.
    assert!(came[0].sent < 1_500_000, "{}", came[0].sent);
    assert!(served < 5 * SECOND);
}

#[test]
fn a_client_that_cuts_at_any_octet_leaves_a_message_only_behind_its_final_dot() {
    for parting in [Parting::HalfClose, Parting::Drop, Parting::Reset] {
        let whole = eager("cut");
        let dot = whole.len() - "QUIT\r\n".len();
        // Every octet around the dot, every ninth elsewhere.
        let cuts: Vec<usize> = (0..whole.len())
            .filter(|at| at % 9 == 0 || at.abs_diff(dot) < 6)
            .collect();
        let habits = cuts.iter().map(|at| {
            let mut bytes = eager(&format!("cut-{at:03}"));
            let at = at + bytes.len() - whole.len();
            bytes.truncate(at);
            Habit::Cut(bytes, at, parting)
        });
        let (_, read, _) = suffer(habits.collect(), 30 * MINUTE);
        for at in cuts {
            let copies = read.matches(&format!("Subject: cut-{at:03}\r\n")).count();
            if at < dot {
                assert_eq!(copies, 0, "{parting:?} at {at}, the dot ends at {dot}");
            } else if parting == Parting::HalfClose {
                assert_eq!(copies, 1, "{parting:?} at {at}, the dot ends at {dot}");
            } else {
                assert!(copies <= 1);
            }
        }
    }
}

#[test]
fn nothing_is_smuggled_behind_a_dot_that_is_none() {
    let endings = [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r\n.\n",
        "\r\n.\r",
        "\r.\r\n",
        "\r\n.\0\r\n",
    ];
    let second = "MAIL FROM:<evil@elsewhere.example>\r\nRCPT TO:<ann@ours.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n";
    let habits = endings.map(|ending| {
        let mut bytes = eager("cover");
        bytes.truncate(bytes.len() - "\r\n.\r\nQUIT\r\n".len());
        bytes.extend_from_slice(ending.as_bytes());
        bytes.extend_from_slice(second.as_bytes());
        bytes.extend_from_slice(b"QUIT\r\n");
        Habit::Say(bytes)
    });
    let (came, read, _) = suffer(habits.into(), HOUR);
    for (ending, came) in endings.iter().zip(&came) {
        let accepted = came.codes().iter().filter(|c| **c == 354).count();
        assert_eq!(accepted, 1, "{ending:?}: {:?}", came.codes());
    }
    // As a header field of its own message it would begin the header.
    for message in read.split("Return-Path:").skip(1) {
        let (header, _) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
        assert!(!header.contains("Subject: smuggled"), "{message}");
    }
}
