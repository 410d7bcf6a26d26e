//! What accounts' junk filters learn from what users do, in a server that is stopped, loses its power and its bodies.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use bytes::Bytes;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use futures_lite::future;
use mox_driver::Runtime;
use mox_machine::{Secret, Utc};
use mox_mailbox::{
    AccountId, Batch, Body, BodyId, Delivery, Flags, NewBody, Reads, Space, Stop, Table, Target,
    Touched, junk_due, junk_learned,
};
use mox_node::Outgoing;
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime, SimStream};
use mox_store::{Disk, StoreError};
use one_server::{One, PASSWORD, arrive, ours, sleep};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Ann gives these commands with INBOX selected.
async fn imap(client: &SimRuntime, commands: &[&str]) {
    let stream: SimStream = client.connect(ours(143), None).await.unwrap();
    let mut imap = Dialogue::new(stream);
    imap.line().await.unwrap();
    let login = format!("LOGIN ann@ours.example \"{PASSWORD}\"");
    for command in [&login, "SELECT INBOX"].iter().chain(commands) {
        let said = imap.command(command).await.unwrap();
        assert!(said.contains(" OK "), "{command}: {said}");
    }
}

fn ann(one: &One) -> AccountId {
    let published = one.node().store().published();
    let id = mox_mailbox::account_id(&*published.view, "ann").unwrap();
    id.unwrap()
}

/// Messages of ham and spam that Ann's filter knows, and how many are due.
fn learned(one: &One) -> (u32, u32, usize) {
    let published = one.node().store().published();
    let counts = junk_learned(&*published.view, ann(one)).unwrap();
    let due = junk_due(&*published.view, None, 100).unwrap();
    (counts.ham, counts.spam, due.len())
}

async fn three_messages(client: &SimRuntime) {
    for subject in ["one", "two", "three"] {
        let text = format!("From: <bob@far.example>\r\nSubject: {subject}\r\n\r\nHello.\r\n");
        arrive(client, &text).await.unwrap();
    }
}

fn world<F: Future<Output = ()> + Send>(
    scenario: impl FnOnce(Sim, One, SimRuntime) -> F + Send + 'static,
) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let client = world.computer("client", [10, 0, 2, 1]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.supervise();
        one.start().await;
        scenario(world.clone(), one, client).await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn what_is_marked_and_moved_is_learned_at_once_and_unlearned_when_it_goes() {
    world(|_, one, client| async move {
        three_messages(&client).await;
        for (commands, expected) in [
            (
                &["STORE 1 +FLAGS ($Junk)", "STORE 2 +FLAGS ($NotJunk)"][..],
                (1, 1, 0),
            ),
            (&["MOVE 3 Junk"], (1, 2, 0)),
            (&["STORE 1 FLAGS ($NotJunk)"], (2, 1, 0)),
            (&["STORE 2 +FLAGS (\\Deleted)", "EXPUNGE"], (1, 1, 0)),
            (&["SELECT Junk", "MOVE 1 INBOX"], (1, 0, 0)),
        ] {
            imap(&client, commands).await;
            sleep(&client, 2 * SECOND).await;
            assert_eq!(learned(&one), expected, "{commands:?}");
        }
        one.stop().await;
    });
}

#[test]
fn who_only_moves_mail_teaches_what_is_wanted_too() {
    world(|_, one, client| async move {
        three_messages(&client).await;
        for (commands, expected) in [
            (&["CREATE Work", "MOVE 1 Work"][..], (1, 0, 0)),
            (&["MOVE 1 Junk"], (1, 1, 0)),
            // What is thrown away says nothing.
            (&["MOVE 1 Trash"], (1, 1, 0)),
        ] {
            imap(&client, commands).await;
            sleep(&client, 2 * SECOND).await;
            assert_eq!(learned(&one), expected, "{commands:?}");
        }
        one.stop().await;
    });
}

#[test]
fn what_was_due_when_the_power_failed_is_learned_after_the_start() {
    world(|sim, mut one, client| async move {
        three_messages(&client).await;
        sim.strike_only(Some("node words not read"));
        imap(&client, &["STORE 1:3 +FLAGS ($Junk)"]).await;
        assert_eq!(learned(&one), (0, 0, 3));
        one.crash();
        sim.strike_only(Some("none"));
        one.start().await;
        sleep(&client, 5 * SECOND).await;
        assert_eq!(learned(&one), (0, 3, 0));
        one.stop().await;
    });
}

#[test]
fn a_message_that_cannot_be_read_is_tried_again_and_then_passed_over() {
    world(|sim, one, client| async move {
        three_messages(&client).await;
        sim.strike_only(Some("node words not read"));
        imap(&client, &["STORE 1 +FLAGS ($Junk)"]).await;
        sleep(&client, MINUTE).await;
        assert_eq!(learned(&one), (0, 0, 1));
        sleep(&client, 3 * MINUTE).await;
        assert_eq!(learned(&one), (0, 0, 0));
        assert_eq!(sim.sites()["node words not read"].struck, 3);
        // The filter is none the worse.
        sim.strike_only(Some("none"));
        imap(&client, &["STORE 2 +FLAGS ($Junk)"]).await;
        sleep(&client, 2 * SECOND).await;
        assert_eq!(learned(&one), (0, 1, 0));
        one.stop().await;
    });
}

#[test]
fn a_message_whose_body_is_gone_is_passed_over_at_once() {
    world(|_, one, client| async move {
        let long = format!(
            "Subject: long\r\n\r\n{}",
            "All work and no play.\r\n".repeat(2_000)
        );
        arrive(&client, &long).await.unwrap();
        three_messages(&client).await;
        for shard in one.disk.list("body").unwrap() {
            for file in one.disk.list(&format!("body/{shard}")).unwrap() {
                one.disk.unlink(&format!("body/{shard}/{file}")).unwrap();
            }
        }
        imap(&client, &["STORE 1:2 +FLAGS ($NotJunk)"]).await;
        sleep(&client, 2 * SECOND).await;
        assert_eq!(learned(&one), (1, 0, 0));
        one.node().drain().await;
    });
}

#[test]
fn a_filter_that_learns_anew_goes_on_after_a_crash() {
    world(|_, mut one, client| async move {
        three_messages(&client).await;
        imap(
            &client,
            &["STORE 1:2 +FLAGS ($NotJunk)", "STORE 3 +FLAGS ($Junk)"],
        )
        .await;
        sleep(&client, 2 * SECOND).await;
        let before = learned(&one);
        assert_eq!(before, (2, 1, 0));
        assert_eq!(one.node().relearn_junk(Some("ann")).await.unwrap(), 1);
        assert!(one.node().relearn_junk(Some("nobody")).await.is_err());
        one.crash();
        one.start().await;
        sleep(&client, 5 * SECOND).await;
        assert_eq!(learned(&one), before);
        one.stop().await;
    });
}

/// Makes an account beside Ann's that only the store knows, behind hers.
async fn another_account(one: &One) -> AccountId {
    let none = Secret::new(Bytes::new());
    let op = move |reads: &dyn Reads| {
        mox_mailbox::create_account(reads, "zoe", &none, None, Utc::default())
    };
    let made: Result<_, StoreError> = one.node().store().run(op).await;
    made.unwrap()
}

fn learned_of(one: &One, account: AccountId) -> u32 {
    let published = one.node().store().published();
    junk_learned(&*published.view, account).unwrap().spam
}

#[test]
fn a_damaged_row_of_one_account_keeps_no_other_from_learning() {
    world(|_, one, client| async move {
        three_messages(&client).await;
        let zoe = another_account(&one).await;
        // Nothing can be made of what is due of hers.
        let mut key = vec![Table::JunkDue as u8];
        key.extend_from_slice(&zoe.0.to_be_bytes());
        key.extend_from_slice(&[0; 12]);
        let damage = Batch {
            writes: vec![(Space::Rows, key, Some(Bytes::from_static(b"\xff")))],
            touched: vec![Touched::Junk],
            ..Batch::default()
        };
        let op = move |_: &dyn Reads| Ok::<_, Stop>((damage, ()));
        one.node().store().run(op).await.unwrap();
        let published = one.node().store().published();
        assert!(junk_due(&*published.view, Some(zoe), 9).is_err());
        sleep(&client, SECOND).await;
        imap(&client, &["STORE 1 +FLAGS ($Junk)"]).await;
        sleep(&client, 2 * SECOND).await;
        assert_eq!(learned_of(&one, ann(&one)), 1);
        one.node().drain().await;
    });
}

#[test]
fn who_has_much_to_learn_does_not_keep_others_waiting() {
    world(|_, one, client| async move {
        let (ann, zoe) = (ann(&one), another_account(&one).await);
        let text = Bytes::from_static(b"Subject: x\r\n\r\nHello.\r\n");
        let mut intake = mox_server::Intake::new();
        intake.push(&text);
        let arrived = intake.finish();
        let structure = mox_server::StoredStructure::encode(&arrived.structure);
        let mut runs: Vec<_> = (0..300)
            .map(|n| {
                let account = if n == 20 { zoe } else { ann };
                let delivery = Delivery {
                    body: Body::New(NewBody {
                        id: BodyId {
                            boot: 9,
                            counter: n,
                        },
                        length: text.len() as u64,
                        blake3: [0; 32],
                        inline: Some(text.clone()),
                    }),
                    structure: structure.clone(),
                    header: arrived.header.clone(),
                    targets: vec![Target {
                        account,
                        mailbox: "INBOX".into(),
                        create: true,
                        prefix: Bytes::new(),
                        flags: Flags::NONE,
                        keywords: vec!["$Junk".into()],
                        date: Utc::default(),
                        origin: Bytes::new(),
                    }],
                    queue: None,
                    now: Utc::default(),
                };
                let op = move |reads: &dyn Reads| mox_mailbox::deliver(reads, &delivery);
                one.node().store().run(op)
            })
            .collect();
        let due = || {
            let published = one.node().store().published();
            !junk_due(&*published.view, Some(zoe), 1).unwrap().is_empty()
        };
        let moment = Duration::from_micros(10);
        let before_her = async {
            while !due() && learned_of(&one, zoe) == 0 {
                sleep(&client, moment).await;
            }
            let before = learned_of(&one, ann);
            while learned_of(&one, zoe) == 0 {
                sleep(&client, moment).await;
            }
            learned_of(&one, ann) - before
        };
        // One turn of hers, and one of Ann's that had begun.
        let delivered = poll_fn(|cx| {
            runs.retain_mut(|run| pin!(run).poll(cx).is_pending());
            match runs.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        let ((), turns) = future::zip(delivered, before_her).await;
        assert!(turns <= 32, "Ann had {turns} turns before her");
        sleep(&client, MINUTE).await;
        assert_eq!(learned_of(&one, ann), 299);
        one.node().drain().await;
    });
}
