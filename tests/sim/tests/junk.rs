//! What accounts' junk filters learn from what users do, in a server that is stopped, loses its power and its bodies.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_driver::Runtime;
use mox_mailbox::{AccountId, junk_due, junk_learned};
use mox_node::Outgoing;
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime, SimStream};
use mox_store::Disk;
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
    let due = junk_due(&*published.view, 100).unwrap();
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
