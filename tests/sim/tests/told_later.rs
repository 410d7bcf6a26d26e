//! What happens to a message when it seems to be gone: other servers tell what became of it, an administrator drops it, and
//! addresses that fail again and again are left alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_driver::Runtime;
use mox_machine::Utc;
use mox_node::{Change, Outgoing, Selection};
use mox_sim::peers::{Act, Hanger, Manner, Picky, Plain, Seen, Stage, Until, serve};
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime};
use one_server::{One, inbox, ours, sleep, submit, text, transaction};
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MINUTE: Duration = Duration::from_secs(60);

/// A message of Ann with this id.
fn letter(id: &str) -> String {
    format!("Message-ID: {id}\r\n{}", text("mark", 1))
}

/// What a server of Postfix's kind says about Carol.
fn notification(id: &str, action: &str, status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@peer.example\r\nTo: ann@ours.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\n\r\nSorry.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.peer.example\r\n\r\n\
         Final-Recipient: rfc822; {CAROL}\r\nAction: {action}\r\nStatus: {status}\r\nDiagnostic-Code: smtp; 550 gone\r\n\r\n\
         --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {id}\r\n\r\n--b--\r\n"
    )
}

async fn bounce(from: &SimRuntime, to: &str, text: &str) -> std::io::Result<String> {
    let mut smtp = Dialogue::new(from.connect(ours(25), None).await?);
    smtp.expect("220").await?;
    smtp.say("EHLO mx.peer.example\r\n").await?;
    smtp.expect("250").await?;
    transaction(&mut smtp, "", &[to], text).await
}

#[test]
fn what_another_server_tells_is_noted_with_the_message_and_three_failures_suppress_the_address() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, Plain).unwrap();
        let mut one = One::new(
            &world,
            Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]),
        );
        one.start().await;
        for n in 1..=3 {
            let id = format!("<{n}@ours.example>");
            submit(&client, &[CAROL], &letter(&id)).await.unwrap();
            assert!(one.settle(MINUTE).await);
            bounce(
                &peer,
                "ann@ours.example",
                &notification(&id, "failed", "5.1.1"),
            )
            .await
            .unwrap();
            sleep(&one.runtime, Duration::from_secs(1)).await;
        }
        // Nobody sent that, and that says nothing about the address.
        bounce(
            &peer,
            "ann@ours.example",
            &notification("<9@x>", "failed", "5.1.1"),
        )
        .await
        .unwrap();
        bounce(
            &peer,
            "ann@ours.example",
            &notification("<1@ours.example>", "delayed", "4.2.2"),
        )
        .await
        .unwrap();
        sleep(&one.runtime, Duration::from_secs(1)).await;
        let retired = one.node().retired(Utc(0), 10).unwrap();
        let told: Vec<Vec<String>> = retired
            .iter()
            .map(|row| {
                let notes = row.notified.iter();
                notes
                    .map(|n| {
                        format!(
                            "{} {} {} {}: {}",
                            n.from, n.recipient, n.action, n.status, n.text
                        )
                    })
                    .collect()
            })
            .collect();
        let failed = format!("mx.peer.example {CAROL} failed 5.1.1: 550 gone");
        let delayed = format!("mx.peer.example {CAROL} delayed 4.2.2: 550 gone");
        assert_eq!(
            told,
            [
                vec![failed.clone(), delayed],
                vec![failed.clone()],
                vec![failed]
            ]
        );
        let suppressed = one.node().suppressions(Some("ann")).unwrap();
        assert_eq!((suppressed.len(), &suppressed[0].1.address[..]), (1, CAROL));

        // What goes there now comes back at once, and says how to have it otherwise.
        let before = ledger.visits().len();
        submit(&client, &[CAROL], &letter("<4@ours.example>"))
            .await
            .unwrap();
        assert!(one.settle(MINUTE).await);
        assert_eq!(ledger.visits().len(), before);
        let told = inbox(&client).await.unwrap().replace("\r\n ", " ");
        assert!(told.contains("failed 3 times in a row: 550 gone"), "{told}");
        assert!(
            told.contains(&format!("moxctl queue suppress rm ann {CAROL}")),
            "{told}"
        );
        assert!(one.node().unsuppress("ann", CAROL).await.unwrap());
        submit(&client, &[CAROL], &letter("<5@ours.example>"))
            .await
            .unwrap();
        assert!(one.settle(MINUTE).await);
        assert_eq!(ledger.visits().len(), before + 1);

        // A bounce for somebody who is not here goes nowhere.
        let refused = bounce(
            &peer,
            "nobody@ours.example",
            &notification("<1@ours.example>", "failed", "5.1.1"),
        )
        .await;
        assert!(refused.is_err());
        assert_eq!(one.queue().len(), 0);
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn an_address_that_a_server_does_not_know_three_times_is_suppressed_for_that_account() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let refused = [
            ("carol", "550 5.1.1 nobody"),
            ("bare", "550 nobody"),
            ("spam", "550 5.7.1 spam"),
            // These are about the sender (RFC 3463 3.2).
            (
                "sender",
                "550 5.1.8 Sender address rejected: Domain not found",
            ),
            ("mailbox", "553 5.1.7 not owned by you"),
            ("blocked", "554 blocked, see the list"),
        ];
        let ledger = serve(&peer, 25, "mx.peer.example", None, Picky::new(refused)).unwrap();
        let mut one = One::new(
            &world,
            Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]),
        );
        one.start().await;
        for local in refused.map(|(local, _)| local).repeat(4) {
            let to = format!("{local}@peer.example");
            submit(&client, &[&to], &text("mark", 1)).await.unwrap();
            assert!(one.settle(MINUTE).await);
        }
        let commands = ledger.visits().into_iter().flat_map(|visit| visit.commands);
        let asked: Vec<String> = commands.filter(|c| c.starts_with("RCPT")).collect();
        let count = |local: &str| asked.iter().filter(|c| c.contains(local)).count();
        let counts = refused.map(|(local, _)| count(local));
        assert_eq!(counts, [3, 3, 4, 4, 4, 4]);
        one.stop().await;
    });
}

#[test]
fn a_message_is_dropped_in_silence_or_with_a_word_to_its_sender() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let told = sim.run(async move {
        let client = world.computer("client", [10, 0, 1, 1]);
        // Nobody is there.
        let mut one = One::new(&world, Outgoing::Relay(vec![([10, 0, 0, 9], 25).into()]));
        one.start().await;
        for (to, tell) in [("silent@peer.example", false), ("told@peer.example", true)] {
            submit(&client, &[to], &text("mark", 1)).await.unwrap();
            one.settle(MINUTE).await;
            let all = Selection::default();
            let dropped = one.node().change_queue(&all, Change::Drop { tell }).await;
            assert_eq!(dropped.unwrap(), 1);
        }
        assert_eq!(one.queue().len(), 0);
        let told = inbox(&client).await.unwrap();
        one.stop().await;
        told
    });
    assert_eq!(told.matches("\r\nFinal-Recipient: ").count(), 1, "{told}");
    assert!(
        told.contains("told@peer.example") && !told.contains("silent@"),
        "{told}"
    );
    assert!(told.contains("\r\nStatus: 5.3.0\r\n"), "{told}");
}

/// Refuses everything at one stage.
struct Refuses(Stage, &'static str);

impl Manner for Refuses {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        (seen.stage == self.0).then(|| vec![Act::reply(self.1)])
    }
}

#[test]
fn refusals_of_the_sender_and_of_the_message_suppress_nobody() {
    for (stage, reply) in [
        (Stage::Mail, "550 5.1.8 Domain not found"),
        (Stage::Mail, "550 blocked"),
        (Stage::Data, "554 no"),
        (Stage::Message, "554 rejected as spam"),
        (Stage::Message, "550 5.1.1 one of them is nobody"),
    ] {
        let sim = Sim::new(1, Knobs::fault_free());
        let world = sim.clone();
        sim.run(async move {
            let peer = world.computer("peer", [10, 0, 0, 9]);
            let client = world.computer("client", [10, 0, 1, 1]);
            serve(&peer, 25, "mx.peer.example", None, Refuses(stage, reply)).unwrap();
            let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
            let mut one = One::new(&world, relay);
            one.start().await;
            for _ in 0..3 {
                submit(&client, &[CAROL], &text("mark", 1)).await.unwrap();
                assert!(one.settle(MINUTE).await);
            }
            assert_eq!(one.node().suppressions(None).unwrap(), [], "{reply}");
            one.stop().await;
        });
    }
}

#[test]
fn one_notification_with_many_groups_is_one_failure() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        serve(&peer, 25, "mx.peer.example", None, Plain).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        let id = "<1@ours.example>";
        submit(&client, &[CAROL], &letter(id)).await.unwrap();
        assert!(one.settle(MINUTE).await);
        let group =
            format!("Final-Recipient: rfc822; {CAROL}\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n");
        let told = notification(id, "failed", "5.1.1");
        let forged = told.replacen(
            "Final-Recipient",
            &format!("{}Final-Recipient", group.repeat(9)),
            1,
        );
        for text in [&forged, &told, &told] {
            bounce(&peer, "ann@ours.example", text).await.unwrap();
            sleep(&one.runtime, Duration::from_secs(1)).await;
        }
        assert_eq!(one.node().retired(Utc(0), 1).unwrap()[0].notified.len(), 12);
        assert_eq!(one.node().suppressions(None).unwrap(), []);
        one.stop().await;
    });
}

#[test]
fn what_is_being_tried_is_not_dropped() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let slow = Hanger::new(Stage::Mail, false);
        let until = world.now().mono + 20 * MINUTE;
        let manner = Until::new(Box::new(slow), until);
        let ledger = serve(&peer, 25, "mx.peer.example", None, manner).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        submit(&client, &[CAROL], &text("mark", 1)).await.unwrap();
        sleep(&one.runtime, MINUTE).await;
        let all = Selection::default();
        for tell in [false, true] {
            let dropped = one.node().change_queue(&all, Change::Drop { tell }).await;
            let why = dropped.unwrap_err().to_string();
            assert_eq!(
                why,
                "1 being tried now and not dropped, 0 dropped; hold what is being tried, or try again"
            );
        }
        assert_eq!(one.queue().len(), 1);
        // The host does not answer to MAIL within five minutes; then nobody tries it.
        sleep(&one.runtime, 5 * MINUTE).await;
        let drop = Change::Drop { tell: true };
        assert_eq!(one.node().change_queue(&all, drop).await.unwrap(), 1);
        assert_eq!(one.queue().len(), 0);
        sleep(&one.runtime, 30 * MINUTE).await;
        assert_eq!((ledger.visits().len(), ledger.deliveries().len()), (1, 0));
        let told = inbox(&client).await.unwrap();
        assert_eq!(told.matches("\r\nStatus: 5.3.0\r\n").count(), 1, "{told}");
        one.stop().await;
    });
}

#[test]
fn a_notification_that_comes_while_the_message_is_tried_is_noted_behind_that() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let other = world.computer("other", [10, 0, 0, 8]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let picky = Picky::new([("dave", "451 4.2.0 later")]);
        serve(&peer, 25, "mx.peer.example", None, picky).unwrap();
        serve(
            &other,
            25,
            "mx2.peer.example",
            None,
            Hanger::new(Stage::Greeting, false),
        )
        .unwrap();
        let hosts = [peer.addresses()[0], other.addresses()[0]];
        let relay = Outgoing::Relay(hosts.map(|host| (host, 25).into()).to_vec());
        let mut one = One::new(&world, relay);
        one.start().await;
        let id = "<1@ours.example>";
        submit(&client, &[CAROL, "dave@peer.example"], &letter(id))
            .await
            .unwrap();
        sleep(&one.runtime, Duration::from_secs(10)).await;
        let told = notification(id, "failed", "5.1.1");
        bounce(&peer, "ann@ours.example", &told).await.unwrap();
        sleep(&one.runtime, Duration::from_secs(10)).await;
        // Carol has it, which nobody has written down: the second host is being tried for Dave.
        assert_eq!(one.node().retired(Utc(0), 1).unwrap(), []);
        sleep(&one.runtime, 6 * MINUTE).await;
        let retired = one.node().retired(Utc(0), 1).unwrap();
        assert_eq!(retired[0].recipients[0].0, CAROL);
        assert_eq!(retired[0].notified.len(), 1);
        one.stop().await;
    });
}

#[test]
fn only_addresses_of_others_are_suppressed_by_hand() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let mut one = One::new(&world, Outgoing::Relay(vec![([10, 0, 0, 9], 25).into()]));
        one.start().await;
        let node = one.node();
        for (address, why) in [
            ("carol", "\"carol\" is no address; write local-part@domain"),
            (
                "ann@ours.example",
                "ann@ours.example is at a domain of this server",
            ),
        ] {
            let refused = node
                .suppress("ann", address, "")
                .await
                .unwrap_err()
                .to_string();
            assert!(refused.starts_with(why), "{refused}");
        }
        node.suppress("ann", "Carol@b\u{fc}cher.example", "")
            .await
            .unwrap();
        let rows = node.suppressions(None).unwrap();
        assert_eq!(rows[0].1.address, "carol@xn--bcher-kva.example");
        one.stop().await;
    });
}
