//! Sites in our own code that fail on demand: which there are, and that the server survives each.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod logged;
mod one_server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use logged::Log;
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_mailbox::Fate;
use mox_node::{Outgoing, UNTOLD};
use mox_sim::peers::{Ledger, Picky, serve};
use mox_sim::{Dialogue, Knobs, SITES, Sim, SimRuntime};
use one_server::{One, PASSWORD, arrive, inbox, ours, sleep, submit, text};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";
const MINUTE: Duration = Duration::from_secs(60);

fn found_in(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found_in(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for part in text.split("fault!(\"").skip(1) {
            let name = part.split('"').next().unwrap().to_owned();
            assert!(found.insert(name.clone()), "{name:?} stands twice");
        }
    }
}

#[test]
fn the_list_of_sites_is_that_of_the_sources() {
    let mut found = BTreeSet::new();
    for part in ["driver", "node", "store"] {
        let sources = format!("{}/../../core/{part}/src", env!("CARGO_MANIFEST_DIR"));
        found_in(Path::new(&sources), &mut found);
    }
    let listed: BTreeSet<String> = SITES.iter().map(|site| (*site).to_owned()).collect();
    assert_eq!(found, listed);
}

fn peers() -> Picky {
    Picky::new([
        ("nobody", "550 5.1.1 no such user"),
        ("later", "450 4.2.0 not now"),
    ])
}

/// One site fails every time while `during` runs, then none does; how often it did.
fn world<F: Future<Output = ()> + Send>(
    site: &'static str,
    scenario: impl FnOnce(Sim, One, SimRuntime, Ledger) -> F + Send + 'static,
) -> u64 {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, peers()).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.supervise();
        one.start().await;
        scenario(world.clone(), one, client, ledger).await;
    });
    assert_eq!(sim.panics(), 0);
    sim.sites()[site].struck
}

#[test]
fn an_attempt_that_never_ran_is_made_later_and_no_restart_is_needed() {
    for site in ["node attempt not started", "node piece not read"] {
        let struck = world(site, move |sim, one, client, ledger| async move {
            sim.strike_only(Some(site));
            submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
            sleep(&client, 20 * MINUTE).await;
            assert_eq!(one.queue().len(), 1);
            assert_eq!(ledger.copies(CAROL, MARK), 0);
            sim.strike_only(Some("none"));
            assert!(one.settle(60 * MINUTE).await, "{site}");
            assert_eq!(ledger.copies(CAROL, MARK), 1);
            one.stop().await;
        });
        // Again and again, but not in a loop without a pause.
        assert!((2..30).contains(&struck), "{site}: {struck}");
    }
}

#[test]
fn a_notice_that_cannot_be_written_is_written_later() {
    let site = "node notice not written";
    let struck = world(site, move |sim, one, client, _| async move {
        sim.strike_only(Some(site));
        submit(&client, &["nobody@peer.example"], &text(MARK, 3))
            .await
            .unwrap();
        sleep(&client, 20 * MINUTE).await;
        assert_eq!(one.queue().len(), 1);
        assert_eq!(inbox(&client).await.unwrap(), "");
        sim.strike_only(Some("none"));
        assert!(one.settle(60 * MINUTE).await);
        let read = inbox(&client).await.unwrap();
        assert_eq!(read.matches("Action: failed").count(), 1, "{read}");
        one.stop().await;
    });
    assert!((2..10).contains(&struck), "{struck}");
}

#[test]
fn a_notice_of_a_delay_that_cannot_be_written_is_written_before_the_next_attempt() {
    let site = "node notice not written";
    let struck = world(site, move |sim, one, client, ledger| async move {
        submit(&client, &["later@peer.example"], &text(MARK, 3))
            .await
            .unwrap();
        sleep(&client, 4 * 60 * MINUTE - MINUTE).await;
        let visits = ledger.visits().len();
        sim.strike_only(Some(site));
        sleep(&client, 11 * MINUTE).await;
        assert_eq!(inbox(&client).await.unwrap(), "");
        sim.strike_only(Some("none"));
        sleep(&client, 2 * MINUTE).await;
        let read = inbox(&client).await.unwrap();
        assert_eq!(read.matches("Action: delayed").count(), 1, "{read}");
        assert_eq!(ledger.visits().len(), visits);
        one.stop().await;
    });
    assert!((5..20).contains(&struck), "{struck}");
}

#[test]
fn that_nobody_could_be_told_of_a_success_stands_beside_what_the_other_server_said() {
    let site = "node notice not written";
    let log = Log::default();
    let world = || {
        world(site, move |sim, one, client, ledger| async move {
            let mut smtp = Dialogue::new(client.connect(ours(587), None).await.unwrap());
            smtp.expect("220").await.unwrap();
            let response = STANDARD.encode(format!("\0ann@ours.example\0{PASSWORD}"));
            // Carol's success is asked for first when it cannot be told, then when it can; Dave's is not asked for.
            for is_told in [false, true] {
                sim.strike_only(Some(if is_told { "none" } else { site }));
                for line in [
                    "EHLO client.example".to_owned(),
                    format!("AUTH PLAIN {response}"),
                    "MAIL FROM:<ann@ours.example>".to_owned(),
                    format!("RCPT TO:<{CAROL}> NOTIFY=SUCCESS"),
                    "RCPT TO:<dave@peer.example>".to_owned(),
                    "DATA".to_owned(),
                ] {
                    if is_told && (line.starts_with("EHLO") || line.starts_with("AUTH")) {
                        continue;
                    }
                    smtp.say(&format!("{line}\r\n")).await.unwrap();
                    let code = smtp.reply().await.unwrap();
                    assert!(code.starts_with(['2', '3']), "{line}: {code}");
                }
                let said = format!("{}.\r\n", text(MARK, 3));
                smtp.say(&said).await.unwrap();
                smtp.expect("250").await.unwrap();
                assert!(one.settle(20 * MINUTE).await);
                assert_eq!(ledger.copies(CAROL, MARK), 1 + usize::from(is_told));
                let read = inbox(&client).await.unwrap();
                let notices = read.matches("Action: relayed").count();
                assert_eq!(notices, usize::from(is_told), "{read}");
            }
            let retired = one.node().retired(Utc(0), 10).unwrap();
            let fates = retired.iter().flat_map(|left| &left.recipients);
            let untold: Vec<_> = fates
                .filter_map(|(to, fate)| match fate {
                    Fate::Delivered(text) => Some((to.as_str(), text.starts_with(UNTOLD))),
                    _ => None,
                })
                .collect();
            assert_eq!(untold.len(), 4, "{untold:?}");
            let marked: Vec<_> = untold.iter().filter(|(_, untold)| *untold).collect();
            assert_eq!(marked, [&(CAROL, true)]);
            drop(smtp);
            one.stop().await;
        })
    };
    assert_eq!(log.of(world), 1);
    // Once, and not of the one that was told.
    let lines = log.0.lock().unwrap();
    let said = "who asked to be told so, is not";
    let told = lines.iter().filter(|line| line.contains(said));
    assert_eq!(told.count(), 1);
}

#[test]
fn what_is_refused_for_now_is_taken_later() {
    for site in [
        "node bodies budget full",
        "node accepted session refused",
        "store space low",
    ] {
        let struck = world(site, move |sim, one, client, _| async move {
            sim.strike_only(Some(site));
            // Until the disk was looked at.
            sleep(&client, MINUTE).await;
            let refused = arrive(&client, &text("early", 3))
                .await
                .unwrap_err()
                .to_string();
            assert!(
                refused.starts_with("452 ") || site.contains("session"),
                "{site}: {refused}"
            );
            sim.strike_only(Some("none"));
            sleep(&client, MINUTE).await;
            arrive(&client, &text("late", 3)).await.unwrap();
            let read = inbox(&client).await.unwrap();
            assert!(!read.contains("Subject: early") && read.contains("Subject: late"));
            one.stop().await;
        });
        assert!(struck >= 1, "{site}");
    }
}

#[test]
fn awkward_yields_change_nothing_that_anybody_sees() {
    for site in [
        "driver small budget",
        "driver short write",
        "store small group",
    ] {
        let struck = world(site, move |sim, one, client, ledger| async move {
            sim.strike_only(Some(site));
            submit(&client, &[CAROL], &text(MARK, 300)).await.unwrap();
            assert!(one.settle(10 * MINUTE).await, "{site}");
            assert_eq!(ledger.copies(CAROL, MARK), 1);
            assert!(sim.elapsed() < 2 * MINUTE, "{site}: {:?}", sim.elapsed());
            sim.strike_only(Some("none"));
            one.stop().await;
        });
        assert!(struck >= 1, "{site}");
    }
}

#[test]
fn a_store_that_dies_between_two_steps_ends_the_process_and_keeps_its_promises() {
    for site in [
        "store dies before apply",
        "store dies before sync",
        "store dies before publish",
        "store dies before answer",
    ] {
        let struck = world(site, move |sim, mut one, client, _| async move {
            arrive(&client, &text("before", 3)).await.unwrap();
            sim.strike_only(Some(site));
            assert!(arrive(&client, &text("during", 3)).await.is_err(), "{site}");
            let (why, _) = one.exited(Duration::from_secs(1)).await.unwrap();
            assert!(why.contains("commit") && !why.contains("panic"), "{why}");
            sim.strike_only(Some("none"));
            one.rows = one.rows.crash();
            one.disk = one.disk.crash();
            one.start().await;
            let read = inbox(&client).await.unwrap();
            assert_eq!(read.matches("Subject: before\r\n").count(), 1, "{site}");
            let during = read.matches("Subject: during\r\n").count();
            // What was synced is there, though nobody was told.
            match site {
                "store dies before apply" => assert_eq!(during, 0),
                "store dies before sync" => assert!(during <= 1),
                _ => assert_eq!(during, 1, "{site}"),
            }
            one.stop().await;
        });
        assert_eq!(struck, 1, "{site}");
    }
}
