//! Disks that fail under our server: what was promised stays, what cannot be kept is not promised, the process ends.
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
use mox_node::Outgoing;
use mox_sim::peers::{Ledger, Plain, serve};
use mox_sim::{Dialogue, DiskManner, Knobs, KvManner, Sim, SimRuntime};
use one_server::{One, arrive, inbox, ours, sleep, submit, text};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Lines of a message that is a file, and of one that is a row.
const LARGE: usize = 2_000;
const SMALL: usize = 2;
const CAROL: &str = "carol@peer.example";

fn world<F: Future<Output = ()> + Send>(
    knobs: Knobs,
    scenario: impl FnOnce(Sim, One, SimRuntime, Ledger) -> F + Send + 'static,
) -> Sim {
    let sim = Sim::new(1, knobs);
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, Plain).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.supervise();
        one.start().await;
        scenario(world.clone(), one, client, ledger).await;
    });
    assert_eq!(sim.panics(), 0);
    sim
}

#[test]
fn a_failing_sync_of_rows_ends_the_process_within_a_second_and_nothing_is_promised() {
    for by_rate in [false, true] {
        world(
            Knobs::fault_free(),
            move |sim, mut one, client, _| async move {
                arrive(&client, &text("before", SMALL)).await.unwrap();
                if by_rate {
                    let manner = KvManner {
                        sync_error_one_in: 1,
                        ..KvManner::default()
                    };
                    one.rows.set_manner(manner);
                } else {
                    one.rows.fail_syncs();
                }
                let began = sim.now().mono;
                let refused = arrive(&client, &text("during", SMALL)).await;
                assert!(refused.is_err(), "{refused:?}");
                let (why, at) = one.exited(5 * SECOND).await.unwrap();
                assert!(why.contains("commit") && !why.contains("panic"), "{why}");
                assert!(at.since(began) < SECOND, "{:?}", at.since(began));
                assert!(client.connect(ours(25), None).await.is_err());
                // The supervisor starts it again.
                one.rows = one.rows.crash();
                one.rows.set_manner(KvManner::default());
                one.disk = one.disk.crash();
                one.start().await;
                let read = inbox(&client).await.unwrap();
                assert_eq!(read.matches("Subject: before\r\n").count(), 1);
                arrive(&client, &text("after", SMALL)).await.unwrap();
                let read = inbox(&client).await.unwrap();
                assert_eq!(read.matches("Subject: after\r\n").count(), 1);
                one.stop().await;
            },
        );
    }
}

#[test]
fn a_failing_commit_ends_the_process_too() {
    let sim = world(Knobs::fault_free(), |_, mut one, client, _| async move {
        let manner = KvManner {
            commit_error_one_in: 1,
            ..KvManner::default()
        };
        one.rows.set_manner(manner);
        assert!(arrive(&client, &text("during", SMALL)).await.is_err());
        let (why, _) = one.exited(SECOND).await.unwrap();
        assert!(why.contains("commit"), "{why}");
        one.rows.set_manner(KvManner::default());
        one.rows = one.rows.left();
        one.start().await;
        assert_eq!(inbox(&client).await.unwrap(), "");
        one.stop().await;
    });
    assert_eq!(sim.faults()["rows write error"], 1);
}

#[test]
fn a_mark_that_cannot_be_written_ends_the_process() {
    world(Knobs::fault_free(), |_, mut one, client, _| async move {
        sleep(&client, SECOND).await;
        one.disk.fail_syncs();
        arrive(&client, &text("row", SMALL)).await.unwrap();
        let (why, _) = one.exited(5 * SECOND).await.expect("it must not run on");
        assert!(!why.contains("panic"), "{why}");
        one.rows = one.rows.crash();
        one.disk = one.disk.crash();
        one.start().await;
        let read = inbox(&client).await.unwrap();
        assert_eq!(read.matches("Subject: row\r\n").count(), 1);
        one.stop().await;
    });
}

#[test]
fn a_full_disk_refuses_large_messages_with_452_and_takes_them_again_with_room() {
    let sim = world(Knobs::fault_free(), |_, one, client, _| async move {
        one.disk.set_space(Some(one.disk.used() + 20_000));
        for _ in 0..3 {
            let refused = arrive(&client, &text("full", LARGE)).await.unwrap_err();
            assert!(refused.to_string().starts_with("452 "), "{refused}");
        }
        one.disk.set_space(None);
        arrive(&client, &text("room", LARGE)).await.unwrap();
        // What was refused left nothing behind.
        sleep(&client, 600 * SECOND).await;
        let whole = text("room", LARGE).len() as u64;
        assert!(one.disk.used() < whole + 2_000, "{}", one.disk.used());
        let read = inbox(&client).await.unwrap();
        assert!(!read.contains("Subject: full") && read.contains("Subject: room"));
        one.stop().await;
    });
    assert!(sim.faults()["disk full"] >= 3);
}

#[test]
fn a_body_that_cannot_be_written_or_synced_is_refused_and_the_server_goes_on() {
    for manner in [
        DiskManner {
            write_error_one_in: 1,
            ..DiskManner::default()
        },
        DiskManner {
            sync_error_one_in: 1,
            ..DiskManner::default()
        },
    ] {
        world(Knobs::fault_free(), move |_, one, client, _| async move {
            // Until the mark is written.
            sleep(&client, SECOND).await;
            one.disk.set_manner(manner);
            let refused = arrive(&client, &text("bad", LARGE)).await.unwrap_err();
            let reply = refused.to_string();
            assert!(
                reply.starts_with("452 ") || reply.starts_with("451 "),
                "{reply}"
            );
            one.disk.set_manner(DiskManner::default());
            arrive(&client, &text("good", LARGE)).await.unwrap();
            let read = inbox(&client).await.unwrap();
            assert!(!read.contains("Subject: bad") && read.contains("Subject: good"));
            one.stop().await;
        });
    }
}

#[test]
fn a_queued_body_that_cannot_be_read_is_tried_again_and_arrives_whole() {
    world(Knobs::fault_free(), |sim, one, client, ledger| async move {
        let manner = DiskManner {
            read_error_one_in: 1,
            ..DiskManner::default()
        };
        one.disk.set_manner(manner);
        let whole = text("mark-1-end", LARGE);
        submit(&client, &[CAROL], &whole).await.unwrap();
        sleep(&client, 300 * SECOND).await;
        assert_eq!(ledger.copies(CAROL, "mark-1-end"), 0);
        assert_eq!(one.queue().len(), 1);
        assert!(sim.faults()["disk read error"] >= 1);
        one.disk.set_manner(DiskManner::default());
        assert!(one.settle(3_600 * SECOND).await);
        let kept = ledger.deliveries();
        assert_eq!(kept.iter().filter(|d| d.kept).count(), 1);
        assert!(kept.last().unwrap().message.ends_with(whole.as_bytes()));
        one.stop().await;
    });
}

#[test]
fn while_a_commit_stalls_others_are_answered() {
    let knobs = Knobs {
        stall_one_in: 1,
        ..Knobs::fault_free()
    };
    let sim = world(knobs, |sim, one, client, _| async move {
        let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        let sender = sim.computer("sender", [10, 0, 1, 2]);
        // What a start has to commit is done, so that the message waits for its own commit.
        sleep(&sender, 60 * SECOND).await;
        let began = sim.now().mono;
        let body = text("slow", SMALL);
        let sending = arrive(&sender, &body);
        let talking = async {
            sleep(&client, SECOND).await;
            let asked = client.now().mono;
            smtp.say("NOOP\r\n").await.unwrap();
            smtp.expect("250").await.unwrap();
            client.now().mono.since(asked)
        };
        let (sent, answered) = future::zip(sending, talking).await;
        sent.unwrap();
        assert!(sim.now().mono.since(began) >= 5 * SECOND);
        assert!(answered < SECOND, "{answered:?}");
        one.stop().await;
    });
    assert!(sim.faults()["commit stalled"] >= 2);
}

#[test]
fn a_journal_that_lost_its_end_is_noticed_and_nothing_is_served() {
    for lost in [1, 5] {
        world(
            Knobs::fault_free(),
            move |_, mut one, client, _| async move {
                for n in 0..6 {
                    arrive(&client, &text(&format!("m{n}"), SMALL))
                        .await
                        .unwrap();
                }
                // Until the mark is written.
                sleep(&client, SECOND).await;
                one.runtime.kill();
                one.node = None;
                let whole = one.rows.crash();
                one.rows = one.rows.crash_cut(lost);
                one.disk = one.disk.crash();
                let refused = one.try_start().await.unwrap_err();
                assert!(refused.contains("the store lost data"), "{refused}");
                assert!(refused.contains("moxctl verify"), "{refused}");
                one.runtime.kill();
                one.rows = whole;
                one.start().await;
                let read = inbox(&client).await.unwrap();
                assert_eq!(read.matches("Subject: m").count(), 6);
                one.stop().await;
            },
        );
    }
}
