//! What an administrator does to an entry of the queue while it is tried, and what is known of attempts that came to no end.
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
use mox_node::{Change, Outgoing, Queued, Selection};
use mox_sim::peers::{Act, Ledger, Manner, Seen, Stage, serve};
use mox_sim::{Knobs, Sim, SimRuntime};
use one_server::{One, inbox, sleep, submit, text};
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Does what a function says.
struct Does<F>(F);

impl<F: FnMut(&Seen<'_>) -> Option<Vec<Act>> + Send + 'static> Manner for Does<F> {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        self.0(seen)
    }
}

/// Our server, the one that takes all it sends, and a client.
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
        let mut one = One::new(&world, relay);
        one.start().await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        story(one, ledger, client).await;
    });
    assert_eq!(sim.panics(), 0);
}

/// Something is done to the only entry.
async fn change(one: &One, change: Change) {
    let changed = one.node().change_queue(&Selection::default(), change).await;
    assert_eq!(changed.unwrap(), 1);
}

/// The only entry.
fn entry(one: &One) -> Queued {
    let mut all = one.queue();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Thinks for a minute about each recipient, and does not want it now.
fn slow_and_busy() -> impl Manner {
    Does(|seen: &Seen<'_>| {
        let acts = || vec![Act::Pause(MINUTE), Act::reply("450 4.3.2 busy")];
        (seen.stage == Stage::Rcpt).then(acts)
    })
}

#[test]
fn what_an_administrator_chooses_while_an_entry_is_tried_is_what_counts_behind_the_attempt() {
    world(slow_and_busy(), |one, _, client| async move {
        sleep(&client, 30 * SECOND).await;
        assert_eq!(entry(&one).attempts, 1);
        change(&one, Change::Kick).await;
        sleep(&client, MINUTE).await;
        // Not in seven minutes: at once, when the first attempt had ended.
        assert_eq!(entry(&one).attempts, 2);
        let at = client.now().utc + 2 * HOUR;
        change(&one, Change::Reschedule(at)).await;
        sleep(&client, MINUTE).await;
        assert_eq!((entry(&one).attempts, entry(&one).next), (2, at));
        sleep(&client, 2 * HOUR - 2 * MINUTE).await;
        assert_eq!(entry(&one).attempts, 2);
        sleep(&client, MINUTE + 30 * SECOND).await;
        assert_eq!(entry(&one).attempts, 3);
        change(&one, Change::Hold).await;
        sleep(&client, DAY).await;
        assert_eq!((entry(&one).attempts, entry(&one).hold), (3, true));
        // What was chosen once is forgotten with the attempt that follows.
        change(&one, Change::Kick).await;
        sleep(&client, 2 * MINUTE).await;
        assert_eq!(entry(&one).attempts, 4);
        assert!(entry(&one).next > client.now().utc + 30 * MINUTE);
        one.stop().await;
    });
}

#[test]
fn mail_is_put_off_for_thirty_days_at_most_and_has_its_whole_time_from_then() {
    world(slow_and_busy(), |mut one, _, client| async move {
        sleep(&client, 30 * SECOND).await;
        let now = client.now().utc;
        let far = now + 30 * DAY + MINUTE;
        let refused = one
            .node()
            .change_queue(&Selection::default(), Change::Reschedule(far))
            .await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!(
                "a message can be put off by 30 days at most, and not until {far}; hold it, and release it when it is to go"
            )
        );
        // While it is being tried.
        let at = now + 10 * DAY;
        change(&one, Change::Reschedule(at)).await;
        sleep(&client, 2 * DAY).await;
        let waits = |queued: Queued| (queued.attempts, queued.next, queued.release, queued.since);
        assert_eq!(waits(entry(&one)), (1, at, Some(at), at));
        one.crash();
        one.start().await;
        sleep(&client, 8 * DAY - MINUTE).await;
        assert_eq!(waits(entry(&one)), (1, at, Some(at), at));
        sleep(&client, 2 * MINUTE).await;
        assert_eq!((entry(&one).attempts, entry(&one).release), (2, None));
        sleep(&client, 5 * DAY - HOUR).await;
        assert_eq!(one.queue().len(), 1, "it has five days from then");
        assert!(one.settle(2 * HOUR).await);
        let told = inbox(&client).await.unwrap();
        assert_eq!(told.matches("Action: failed").count(), 1, "{told}");
        one.stop().await;
    });
    // An administrator may think better of it.
    world(slow_and_busy(), |one, _, client| async move {
        sleep(&client, 2 * MINUTE).await;
        let now = client.now().utc;
        change(&one, Change::Reschedule(now + 29 * DAY)).await;
        sleep(&client, DAY).await;
        assert_eq!(entry(&one).attempts, 1);
        change(&one, Change::Reschedule(now + DAY + HOUR)).await;
        sleep(&client, HOUR - MINUTE).await;
        assert_eq!(entry(&one).attempts, 1);
        sleep(&client, 2 * MINUTE).await;
        assert_eq!(entry(&one).attempts, 2);
        one.stop().await;
    });
}

#[test]
fn what_is_held_while_it_is_tried_is_not_given_up_for_its_age() {
    for is_held in [true, false] {
        world(slow_and_busy(), move |one, _, client| async move {
            sleep(&client, 5 * DAY - 30 * SECOND).await;
            change(&one, Change::Kick).await;
            sleep(&client, 10 * SECOND).await;
            if is_held {
                change(&one, Change::Hold).await;
            }
            // The attempt ends, and with it the time of the message.
            sleep(&client, 2 * MINUTE).await;
            let told = inbox(&client).await.unwrap();
            let told = told.matches("Action: failed").count();
            assert_eq!(
                (one.queue().len(), told),
                [(0, 1), (1, 0)][usize::from(is_held)]
            );
            one.stop().await;
        });
    }
}

/// Keeps the first message and never says so; then it does `next` at RCPT, where that is something.
fn silent_once(next: Option<&'static str>) -> impl Manner {
    let mut visits = 0;
    Does(move |seen: &Seen<'_>| match (seen.stage, next) {
        (Stage::Message, _) if visits == 0 => {
            visits += 1;
            Some(vec![Act::Keep, Act::Hang])
        }
        (Stage::Rcpt, Some(reply)) if visits > 0 => Some(vec![Act::reply(reply)]),
        _ => None,
    })
}

#[test]
fn who_may_have_got_a_message_from_a_server_that_died_is_counted_and_told_of() {
    world(silent_once(None), |mut one, ledger, client| async move {
        sleep(&client, 30 * SECOND).await;
        one.crash();
        one.start().await;
        assert!(one.settle(20 * MINUTE).await);
        assert_eq!(ledger.copies(CAROL, MARK), 2);
        let retired = one.node().retired(Utc(0), 10).unwrap();
        let attempts = retired[0].attempts.iter();
        let attempts: Vec<_> = attempts
            .map(|attempt| (attempt.ended.is_some(), attempt.ambiguous))
            .collect();
        assert_eq!(attempts, [(false, true), (true, false)]);
        let reached = retired[0].reached[0].ambiguous;
        assert_eq!((retired[0].ambiguous, reached), (1, 1));
        one.stop().await;
    });
    let no = silent_once(Some("550 5.1.1 nobody"));
    world(no, |mut one, _, client| async move {
        sleep(&client, 30 * SECOND).await;
        one.crash();
        one.start().await;
        assert!(one.settle(20 * MINUTE).await);
        let told = inbox(&client).await.unwrap();
        let maybe = "It may have been delivered all the same";
        assert!(told.contains(maybe), "{told}");
        one.stop().await;
    });
}

#[test]
fn a_stop_in_order_leaves_no_attempt_in_doubt() {
    let mut times = 0;
    let hangs_once = Does(move |seen: &Seen<'_>| match seen.stage {
        Stage::Rcpt if times == 0 => {
            times += 1;
            Some(vec![Act::Hang])
        }
        _ => None,
    });
    world(hangs_once, |mut one, ledger, client| async move {
        sleep(&client, 30 * SECOND).await;
        one.runtime.stopping();
        one.node().drain().await;
        one.crash();
        one.start().await;
        // As soon as there is a server again.
        assert!(one.settle(MINUTE).await);
        assert_eq!(ledger.copies(CAROL, MARK), 1);
        let retired = one.node().retired(Utc(0), 10).unwrap();
        let attempts = retired[0].attempts.iter();
        let attempts: Vec<_> = attempts
            .map(|attempt| {
                let outcome = attempt.outcome.as_str();
                (attempt.ended.is_some(), attempt.ambiguous, outcome)
            })
            .collect();
        let stopped = "the server was stopped meanwhile";
        assert_eq!(attempts[0], (true, false, stopped));
        let reached = retired[0].reached[0].ambiguous;
        assert_eq!((retired[0].ambiguous, reached), (0, 0));
        one.stop().await;
    });
}
