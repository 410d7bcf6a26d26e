//! What becomes of outgoing mail when something else goes wrong meanwhile: nobody gets a message twice who need not, and
//! a stop ends.
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
use mox_mailbox::{Batch, Reads, Space};
use mox_node::Outgoing;
use mox_sim::peers::{Act, Busy, Ledger, Manner, Plain, Seen, Stage, Tarpit, serve};
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime};
use mox_store::{Capacity, Disk as _, Kv, StoreError};
use one_server::{One, inbox, ours, sleep, submit, submit_with, text};
use std::time::Duration;

const GOOD: &str = "good@peer.example";
const BAD: &str = "bad@peer.example";
const MARK: &str = "mark-1-end";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Knows nobody called bad, and thinks for a while about each message it has.
struct Thoughtful(Duration);

impl Manner for Thoughtful {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        match seen.stage {
            Stage::Rcpt if seen.to.first().is_some_and(|to| to == BAD) => {
                Some(vec![Act::reply("550 5.1.1 nobody")])
            }
            Stage::Message => {
                let mut acts = vec![Act::Keep, Act::Pause(self.0)];
                acts.extend(seen.plain());
                Some(acts)
            }
            _ => None,
        }
    }
}

/// Our server, another one with this manner, and a client.
fn world<F: Future<Output = ()> + Send + 'static>(
    manner: impl Manner,
    story: impl FnOnce(One, Ledger, SimRuntime) -> F + Send + 'static,
) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, manner).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let one = One::new(&world, relay);
        story(one, ledger, client).await;
    });
    assert_eq!(sim.panics(), 0);
}

/// Stops in order; whether nobody was cut off, and how long it took. It may take an hour.
async fn stop(one: &One, clock: &SimRuntime) -> Option<(bool, Duration)> {
    one.runtime.stopping();
    let began = clock.now().mono;
    let drained = async { Some(one.node().drain().await) };
    let late = async {
        sleep(clock, HOUR).await;
        None
    };
    let in_order = future::or(drained, late).await?;
    Some((in_order, clock.now().mono.since(began)))
}

/// The row of the queue that names a recipient.
fn row_of(reads: &dyn Reads, to: &str) -> (Vec<u8>, bytes::Bytes) {
    let mut found = Vec::new();
    reads
        .scan(Space::Rows, &[], &[0xff; 32], &mut |key, value| {
            let has = |what: &[u8]| value.windows(what.len()).any(|some| some == what);
            // The message names it in its trace fields, an attempt in its commands.
            if has(to.as_bytes()) && !has(b"Received:") && !has(b"RCPT TO:") {
                found.push((key.to_vec(), bytes::Bytes::copy_from_slice(&value)));
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found.len(), 1, "{to}");
    found.remove(0)
}

fn writes(key: &[u8], value: &[u8]) -> Batch {
    let value = bytes::Bytes::copy_from_slice(value);
    Batch {
        writes: vec![(Space::Rows, key.to_vec(), Some(value))],
        ..Batch::default()
    }
}

async fn write(one: &One, key: &[u8], value: &[u8]) {
    let batch = writes(key, value);
    let done: Result<(), StoreError> = one.node().store().run(move |_| Ok((batch, ()))).await;
    done.unwrap();
}

#[test]
fn who_has_the_message_does_not_get_it_again_when_a_notice_about_others_finds_no_room() {
    world(Thoughtful(MINUTE), |mut one, ledger, client| async move {
        one.options.low_octets = 1 << 20;
        let space = |free| Capacity {
            free,
            total: 1 << 40,
        };
        one.disk.set_capacity(space(1 << 39));
        one.start().await;
        submit(&client, &[GOOD, BAD], &text(MARK, 3)).await.unwrap();
        // The disk becomes full while the other server thinks.
        sleep(&client, 20 * SECOND).await;
        assert_eq!(ledger.copies(GOOD, MARK), 1);
        one.disk.set_capacity(space(0));
        sleep(&client, 6 * HOUR).await;
        let queue = one.queue();
        assert_eq!(queue.len(), 1);
        assert_eq!(queue[0].to, [BAD]);
        // It waits as for any other retry.
        assert!((2..20).contains(&queue[0].attempts), "{queue:?}");
        assert_eq!(inbox(&client).await.unwrap(), "");
        one.disk.set_capacity(space(1 << 39));
        assert!(one.settle(24 * HOUR).await);
        let told = inbox(&client).await.unwrap();
        assert_eq!(told.matches("Action: failed").count(), 1, "{told}");
        assert!(told.contains(&format!("Final-Recipient: rfc822; {BAD}")));
        assert!(!told.contains(&format!("Final-Recipient: rfc822; {GOOD}")));
        assert_eq!(ledger.copies(GOOD, MARK), 1);
        one.stop().await;
    });
}

#[test]
fn a_stop_waits_for_the_reply_to_a_final_dot_so_that_the_message_is_not_sent_again() {
    world(
        Thoughtful(5 * MINUTE),
        |mut one, ledger, client| async move {
            one.start().await;
            submit(&client, &[GOOD], &text(MARK, 3)).await.unwrap();
            sleep(&client, 20 * SECOND).await;
            assert_eq!(ledger.copies(GOOD, MARK), 1);
            let (in_order, took) = stop(&one, &client).await.unwrap();
            assert!(in_order);
            assert!(took > 4 * MINUTE && took < 5 * MINUTE, "{took:?}");
            one.crash();
            one.start().await;
            sleep(&client, HOUR).await;
            assert_eq!(one.queue(), []);
            assert_eq!(ledger.visits().len(), 1);
            one.stop().await;
        },
    );
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_has_no_final_dot_yet() {
    world(
        Tarpit::new(5 * SECOND),
        |mut one, ledger, client| async move {
            one.start().await;
            submit(&client, &[GOOD], &text(MARK, 3)).await.unwrap();
            sleep(&client, 20 * SECOND).await;
            assert_eq!(ledger.visits().len(), 1);
            let (in_order, took) = stop(&one, &client).await.unwrap();
            assert!(!in_order);
            assert!(took >= 3 * SECOND && took < 4 * SECOND, "{took:?}");
        },
    );
}

#[test]
fn a_stop_waits_no_longer_for_a_reply_than_any_delivery_does() {
    world(
        Thoughtful(24 * HOUR),
        |mut one, ledger, client| async move {
            one.start().await;
            submit(&client, &[GOOD], &text(MARK, 3)).await.unwrap();
            sleep(&client, 20 * SECOND).await;
            assert_eq!(ledger.copies(GOOD, MARK), 1);
            let (in_order, took) = stop(&one, &client).await.unwrap();
            assert!(in_order, "it ended by itself");
            assert!(took > 9 * MINUTE && took < 11 * MINUTE, "{took:?}");
        },
    );
}

#[test]
fn a_stop_in_a_hurry_waits_for_no_reply() {
    world(Thoughtful(HOUR), |mut one, _, client| async move {
        one.start().await;
        submit(&client, &[GOOD], &text(MARK, 3)).await.unwrap();
        sleep(&client, 20 * SECOND).await;
        let node = one.node().clone();
        let hurry = async {
            sleep(&client, MINUTE).await;
            node.hurry();
            future::pending().await
        };
        let (in_order, took) = future::or(stop(&one, &client), hurry).await.unwrap();
        assert!(!in_order);
        assert!(took >= MINUTE && took < MINUTE + SECOND, "{took:?}");
    });
}

#[test]
fn a_stop_ends_also_when_the_store_fails_in_it() {
    world(Plain, |mut one, _, client| async move {
        one.start().await;
        let stream = client.connect(ours(25), None).await.unwrap();
        let mut smtp = Dialogue::new(stream);
        for (said, reply) in [
            ("", "220"),
            ("EHLO client.example\r\n", "250"),
            ("MAIL FROM:<bob@elsewhere.example>\r\n", "250"),
            ("RCPT TO:<ann@ours.example>\r\n", "250"),
            ("DATA\r\n", "354"),
        ] {
            smtp.say(said).await.unwrap();
            smtp.expect(reply).await.unwrap();
        }
        one.rows.fail_syncs();
        let finish = async {
            sleep(&client, SECOND).await;
            let _ = smtp.say(&format!("{}.\r\n", text(MARK, 3))).await;
            future::pending().await
        };
        let (_, took) = future::or(stop(&one, &client), finish).await.unwrap();
        assert!(took < 10 * SECOND, "{took:?}");
        assert!(one.node().store().failed().is_some());
    });
}

#[test]
fn a_delay_is_told_once_also_when_it_is_due_together_with_an_attempt() {
    let until = mox_machine::Mono(u64::MAX);
    world(
        Busy::new(Stage::Rcpt, until),
        |mut one, ledger, client| async move {
            one.start().await;
            submit(&client, &[GOOD], &text(MARK, 3)).await.unwrap();
            sleep(&client, MINUTE).await;
            // Nobody is there when the time comes.
            one.crash();
            sleep(&client, 6 * HOUR).await;
            one.start().await;
            sleep(&client, MINUTE).await;
            assert_eq!(ledger.visits().len(), 2);
            let told = inbox(&client).await.unwrap();
            assert_eq!(told.matches("Action: delayed").count(), 1, "{told}");
            one.stop().await;
        },
    );
}

#[test]
fn an_entry_that_cannot_be_read_is_looked_at_again_a_minute_later() {
    let until = mox_machine::Mono(1_000_000_000) + 5 * MINUTE;
    world(
        Busy::new(Stage::Rcpt, until),
        |mut one, ledger, client| async move {
            one.start().await;
            submit(&client, &[GOOD], &text(MARK, 3)).await.unwrap();
            sleep(&client, MINUTE).await;
            let (key, value) = row_of(&*one.node().store().published().view, GOOD);
            write(&one, &key, b"damaged").await;
            // The next attempt would be after 7 or 8 minutes.
            sleep(&client, 10 * MINUTE).await;
            write(&one, &key, &value).await;
            assert!(one.settle(3 * MINUTE).await);
            assert_eq!(ledger.copies(GOOD, MARK), 1);
            one.stop().await;
        },
    );
}

#[test]
fn entries_before_one_that_cannot_be_read_are_delivered_and_the_others_once_it_can() {
    const MAILS: usize = 9;
    const EACH: usize = 64;
    let until = mox_machine::Mono(1_000_000_000) + HOUR;
    world(
        Busy::new(Stage::Mail, until),
        |mut one, ledger, client| async move {
            one.start().await;
            let to = |mail: usize| (0..EACH).map(move |n| format!("x@d{mail}-{n}.example"));
            for mail in 0..MAILS {
                let all: Vec<String> = to(mail).collect();
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                submit(&client, &all, &text(MARK, 3)).await.unwrap();
            }
            one.crash();
            // In the second page that is read.
            let (key, value) = row_of(one.rows.reads(), "x@d8-60.example");
            one.rows.commit(&writes(&key, b"damaged")).unwrap();
            one.rows.sync().unwrap();
            one.start().await;
            sleep(&client, 4 * HOUR).await;
            let count = || {
                let all = (0..MAILS).flat_map(to);
                all.map(|to| ledger.copies(&to, MARK)).collect::<Vec<_>>()
            };
            // The whole first page.
            assert_eq!(count().iter().sum::<usize>(), 500);
            write(&one, &key, &value).await;
            assert!(one.settle(HOUR).await);
            assert_eq!(count(), [1; MAILS * EACH]);
            one.stop().await;
        },
    );
}

/// Busy at RCPT until some time, then silent there until another.
struct BusyThenSilent(mox_machine::Mono, mox_machine::Mono);

impl Manner for BusyThenSilent {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        match seen.stage {
            Stage::Rcpt if seen.now < self.0 => Some(vec![Act::reply("450 4.3.2 busy")]),
            Stage::Rcpt if seen.now < self.1 => Some(vec![Act::Hang]),
            _ => None,
        }
    }
}

/// So long after the beginning of a world.
fn after(time: Duration) -> mox_machine::Mono {
    mox_machine::Mono(1_000_000_000) + time
}

#[test]
fn a_delay_is_told_when_it_is_due_though_a_crash_ended_the_last_attempt() {
    let manner = BusyThenSilent(after(215 * MINUTE), after(100 * HOUR));
    world(manner, |mut one, ledger, client| async move {
        one.start().await;
        submit(&client, &[GOOD], &text(MARK, 3)).await.unwrap();
        sleep(&client, 216 * MINUTE).await;
        let all = mox_node::Selection::default();
        let kick = mox_node::Change::Kick;
        assert_eq!(one.node().change_queue(&all, kick).await.unwrap(), 1);
        let visits = ledger.visits().len();
        sleep(&client, MINUTE).await;
        assert_eq!(ledger.visits().len(), visits + 1);
        one.crash();
        one.start().await;
        sleep(&client, 30 * MINUTE).await;
        let told = inbox(&client).await.unwrap();
        assert_eq!(told.matches("Action: delayed").count(), 1, "{told}");
        // What is known is of the attempt before.
        assert!(told.contains("smtp; 450 4.3.2 busy"), "{told}");
        assert_eq!(ledger.visits().len(), visits + 1);
        one.stop().await;
    });
}

#[test]
fn what_a_stranger_sent_and_nobody_can_have_is_told_to_the_postmaster() {
    a_strangers_message_fails(None, ["mox"]);
}

#[test]
fn who_is_behind_an_alias_for_the_postmaster_is_told_of_what_a_stranger_sent_too() {
    a_strangers_message_fails(Some("postmaster"), ["ann", "mox"]);
}

/// A stranger's message cannot be delivered; these accounts are told of it. Ann and mox are behind the alias, where there is one.
fn a_strangers_message_fails<const N: usize>(alias: Option<&'static str>, told: [&'static str; N]) {
    world(Plain, move |mut one, _, client| async move {
        if let Some(alias) = alias {
            (one.alias, one.alias_name) = (Some(false), alias);
        }
        one.start().await;
        let to = ["ann@ours.example"];
        submit_with(&client, " HOLDFOR=600", &to, &text(MARK, 3))
            .await
            .unwrap();
        let published = one.node().store().published();
        let held = mox_mailbox::queue(&*published.view, 0, 1)
            .unwrap()
            .remove(0);
        let message = mox_mailbox::queue_message(&*published.view, held.message).unwrap();
        let now = client.now().utc;
        // As of a message with more recipients here than one operation serves: the rest waits, whoever sent it.
        let delivery = mox_mailbox::Delivery {
            body: mox_mailbox::Body::Stored(message.unwrap().body),
            structure: bytes::Bytes::new(),
            header: bytes::Bytes::new(),
            targets: Vec::new(),
            queue: Some(mox_mailbox::Enqueue {
                account: None,
                reverse_path: "stranger@far.example".into(),
                prefix: bytes::Bytes::new(),
                eight_bit: false,
                utf8: false,
                extra: bytes::Bytes::new(),
                dsn: String::new(),
                require_tls: false,
                tls_optional: false,
                ids: Vec::new(),
                groups: vec![mox_mailbox::Group {
                    recipients: vec!["nobody@ours.example".into()],
                    next_attempt: now,
                    hold: false,
                    release: None,
                }],
            }),
            now,
        };
        let op = move |reads: &dyn Reads| mox_mailbox::deliver(reads, &delivery);
        let done: Result<_, StoreError> = one.node().store().run(op).await;
        assert_eq!(done.unwrap().queued.len(), 1);
        sleep(&client, MINUTE).await;
        let published = one.node().store().published();
        let view = &*published.view;
        for account in ["ann", "mox"] {
            let id = mox_mailbox::account(view, account).unwrap().unwrap().id;
            let inbox = mox_mailbox::mailbox_id(view, id, mox_mailbox::INBOX).unwrap();
            let status = mox_mailbox::status(view, id, inbox.unwrap()).unwrap();
            let messages = status.unwrap().messages;
            assert_eq!(messages == 1, told.contains(&account), "{account}");
        }
        assert_eq!(one.queue().len(), 1);
    });
}

#[test]
fn our_own_stop_in_the_last_attempt_gives_nobody_up() {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let manner = BusyThenSilent(after(5 * DAY - MINUTE), after(5 * DAY + 5 * MINUTE));
    world(manner, |mut one, ledger, client| async move {
        one.start().await;
        submit(&client, &[GOOD, BAD], &text(MARK, 3)).await.unwrap();
        sleep(&client, 5 * DAY - MINUTE).await;
        let node = one.node();
        node.suppress("ann", BAD, "asked to be left alone")
            .await
            .unwrap();
        sleep(&client, 2 * MINUTE).await;
        // BAD is decided, GOOD is being asked for.
        let (in_order, _) = stop(&one, &client).await.unwrap();
        assert!(!in_order);
        one.crash();
        sleep(&client, 10 * MINUTE).await;
        one.start().await;
        assert!(one.settle(10 * MINUTE).await, "{:?}", one.queue());
        assert_eq!(ledger.copies(GOOD, MARK), 1);
        let told = inbox(&client).await.unwrap();
        assert_eq!(told.matches("Action: failed").count(), 1, "{told}");
        assert!(
            told.contains(&format!("rfc822; {BAD}\r\nAction: failed")),
            "{told}"
        );
        one.stop().await;
    });
}

#[test]
fn mail_that_no_mailbox_here_can_take_is_told_to_its_sender_in_the_end() {
    world(Plain, |mut one, _, client| async move {
        one.start().await;
        let to = ["ann@ours.example"];
        submit_with(&client, " HOLDFOR=60", &to, &text(MARK, 2_000))
            .await
            .unwrap();
        // Its body is lost.
        for shard in one.disk.list("body").unwrap() {
            let folder = format!("body/{shard}");
            for name in one.disk.list(&folder).unwrap() {
                one.disk.unlink(&format!("{folder}/{name}")).unwrap();
            }
        }
        sleep(&client, HOUR).await;
        let [queued] = &one.queue()[..] else {
            panic!("{:?}", one.queue())
        };
        let last = queued.last.as_deref();
        assert_eq!(last, Some("the mailbox here does not take it now"));
        assert!((2..5).contains(&queued.attempts), "{queued:?}");
        assert!(one.settle(6 * 24 * HOUR).await);
        let told = inbox(&client).await.unwrap();
        assert_eq!(told.matches("Action: failed").count(), 1, "{told}");
    });
}

#[test]
fn a_failure_that_nobody_is_there_to_be_told_of_does_not_stay_in_the_queue() {
    world(Thoughtful(SECOND), |mut one, ledger, client| async move {
        one.start().await;
        submit_with(&client, " HOLDFOR=60", &[BAD], &text(MARK, 3))
            .await
            .unwrap();
        let store = one.node().store();
        let published = store.published();
        let ann = mox_mailbox::account(&*published.view, "ann")
            .unwrap()
            .unwrap();
        drop(published);
        let now = client.now().utc;
        let removed: Result<(), StoreError> = store
            .run(move |reads| mox_mailbox::remove_account(reads, ann.id, now))
            .await;
        removed.unwrap();
        assert!(one.settle(HOUR).await, "{:?}", one.queue());
        assert_eq!(ledger.visits().len(), 1);
    });
}
