//! Our server in bad company: whatever other servers do, nothing accepted is lost, doubled without need, or hidden.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_machine::Mono;
use mox_node::{Outgoing, Queued};
use mox_sim::peers::{
    Babble, BrokenTls, Busy, Confused, Dropper, Flaw, Greylister, Hanger, Leaver, Ledger, Manner,
    Picky, Plain, Silent, Smuggler, Stage, Talker, Tarpit, serve,
};
use mox_sim::{Knobs, Sim};
use one_server::{One, inbox, submit, text};
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const DAVE: &str = "dave@peer.example";
const MARK: &str = "mark-1-end";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What came of one message.
struct Came {
    ledger: Ledger,
    left: Vec<Queued>,
    inbox: String,
    took: Duration,
}

/// Ann sends one message to Carol (and more) by way of a peer with this manner.
fn against(manner: impl Manner, at_most: Duration) -> Came {
    send_against(1, manner, &[CAROL], at_most)
}

fn send_against(
    seed: u64,
    manner: impl Manner,
    to: &'static [&'static str],
    at_most: Duration,
) -> Came {
    let sim = Sim::new(seed, Knobs::fault_free());
    let world = sim.clone();
    let came = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let ledger = serve(&peer, 25, "mx.peer.example", None, manner).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        submit(&client, to, &text(MARK, 3)).await.unwrap();
        one.settle(at_most).await;
        let came = Came {
            took: world.elapsed(),
            left: one.queue(),
            inbox: inbox(&client).await.unwrap(),
            ledger,
        };
        one.stop().await;
        came
    });
    assert_eq!(sim.panics(), 0);
    let Came {
        ledger,
        left,
        inbox,
        ..
    } = &came;
    for to in to {
        let (copies, excused) = (ledger.copies(to, MARK), ledger.excused(to, MARK));
        assert!(copies <= 1 + excused, "{copies} copies, {excused} excused");
        // Kept there, still here, or told.
        let waits = left.iter().any(|q| q.to.iter().any(|path| path == to));
        let told = inbox.contains(&format!("Final-Recipient: rfc822; {to}"))
            && inbox.contains("Action: failed");
        assert!(copies > 0 || waits || told, "{to} is lost: {inbox}");
    }
    for delivered in ledger.deliveries().iter().filter(|d| d.kept) {
        let whole = text(MARK, 3);
        assert!(delivered.message.ends_with(whole.as_bytes()));
    }
    came
}

impl Came {
    fn delivered_once(&self) {
        assert_eq!(self.ledger.copies(CAROL, MARK), 1);
        assert_eq!(self.left, []);
        assert_eq!(self.inbox, "");
    }

    /// It waits for another attempt; what is known of the last one.
    fn waits(&self) -> &str {
        let [queued] = &self.left[..] else {
            panic!("{:?}", self.left)
        };
        assert_eq!(queued.to, [CAROL]);
        assert!(queued.attempts >= 1);
        queued.last.as_deref().unwrap_or_default()
    }
}

#[test]
fn a_plain_server_gets_the_message_once_and_its_reply_is_heard() {
    let came = against(Plain, HOUR);
    came.delivered_once();
    let [delivered] = &came.ledger.deliveries()[..] else {
        panic!()
    };
    assert_eq!(delivered.reply, Some(250));
    assert!(delivered.heard_at().is_some() && !delivered.is_ambiguous());
    assert_eq!(delivered.from, "ann@ours.example");
    let [visit] = &came.ledger.visits()[..] else {
        panic!()
    };
    assert_eq!(visit.commands.last().unwrap(), "QUIT");
    assert!(visit.ended.is_some());
    assert!(came.took < MINUTE);
}

#[test]
fn a_greylister_gets_it_at_the_second_visit() {
    let came = against(Greylister::new(Duration::from_secs(300)), HOUR);
    came.delivered_once();
    assert_eq!(came.ledger.visits().len(), 2);
    let began: Vec<Mono> = came.ledger.visits().iter().map(|v| v.began).collect();
    // 7.5 minutes, 10 % more or less.
    let pause = began[1].since(began[0]);
    assert!((405..=496).contains(&pause.as_secs()), "{pause:?}");
}

#[test]
fn a_slow_server_is_waited_for_and_a_tarpit_is_not() {
    let slow = against(Tarpit::new(Duration::from_secs(1)), HOUR);
    slow.delivered_once();
    assert!(slow.took > Duration::from_secs(200));
    let tarpit = against(Tarpit::new(Duration::from_secs(30)), HOUR);
    assert!(tarpit.waits().contains("in time"), "{}", tarpit.waits());
    assert!(tarpit.ledger.deliveries().is_empty());
}

#[test]
fn a_server_that_is_busy_for_hours_gets_it_afterwards_and_the_sender_hears_of_the_delay() {
    for stage in [Stage::Greeting, Stage::Mail, Stage::Rcpt, Stage::Message] {
        let until = |time| Mono(1_000_000_000) + time;
        let came = against(Busy::new(stage, until(3 * HOUR)), 24 * HOUR);
        came.delivered_once();
        assert!(came.took > 3 * HOUR && came.took < 5 * HOUR, "{stage:?}");
        let came = against(Busy::new(stage, until(6 * HOUR)), 24 * HOUR);
        assert_eq!(came.ledger.copies(CAROL, MARK), 1);
        assert_eq!(came.inbox.matches("Action: delayed").count(), 1);
        assert_eq!(came.inbox.matches("Action: failed").count(), 0);
        let said = if stage == Stage::Greeting {
            "421 4.3.2"
        } else {
            "450 4.3.2"
        };
        assert!(came.inbox.contains(said), "{}", came.inbox);
    }
}

#[test]
fn a_server_that_is_busy_for_a_week_makes_a_failure() {
    let came = against(Busy::new(Stage::Rcpt, Mono(u64::MAX)), 7 * 24 * HOUR);
    assert_eq!(came.left, []);
    assert_eq!(came.inbox.matches("Action: delayed").count(), 1);
    assert_eq!(came.inbox.matches("Action: failed").count(), 1);
    assert!(came.took > 5 * 24 * HOUR && came.took < 6 * 24 * HOUR);
}

#[test]
fn a_lost_answer_to_the_final_dot_costs_one_more_copy_each_time_and_no_more() {
    for dropper in [Dropper::new, Dropper::resetting] {
        let kept = against(dropper(true, 2), 24 * HOUR);
        assert_eq!(kept.ledger.copies(CAROL, MARK), 3);
        assert_eq!(kept.ledger.excused(CAROL, MARK), 2);
        assert_eq!(kept.left, []);
        let forgotten = against(dropper(false, 2), 24 * HOUR);
        forgotten.delivered_once();
        assert_eq!(forgotten.ledger.deliveries().len(), 3);
    }
}

#[test]
fn broken_starttls_is_passed_over_in_clear() {
    for flaw in [
        Flaw::Refuses,
        Flaw::Ignores,
        Flaw::Garbage,
        Flaw::Hangs,
        Flaw::Closes,
        Flaw::Injects,
    ] {
        let name = format!("{flaw:?}");
        let came = against(BrokenTls(flaw), HOUR);
        came.delivered_once();
        let visits = came.ledger.visits();
        assert!(visits.iter().all(|visit| !visit.secured));
        let asked = |n: usize| visits[n].commands.iter().any(|c| c == "STARTTLS");
        assert!(asked(0), "{name}");
        assert!(visits.len() == 1 || !asked(visits.len() - 1), "{name}");
    }
}

#[test]
fn a_reply_too_many_never_counts_as_a_delivery() {
    for stage in Stage::DELIVERY {
        for extra in [
            "250 2.0.0 ok",
            "354 go on",
            "220 hello",
            "550 5.0.0 no",
            "421 bye",
        ] {
            let came = against(Smuggler::new(stage, extra), 2 * HOUR);
            let gone = came.left.is_empty() && came.inbox.is_empty();
            if gone {
                let told = came.ledger.deliveries();
                assert!(told.iter().any(|d| d.kept && d.reply == Some(250)));
            }
            if matches!(stage, Stage::Message | Stage::Quit) {
                assert!(gone, "{stage:?} {extra}");
            }
        }
    }
}

#[test]
fn a_server_that_hangs_is_left_after_its_time_and_tried_again() {
    for stage in Stage::DELIVERY {
        for keeps in [true, false] {
            // No attempt is under way then.
            let came = against(Hanger::new(stage, keeps), 50 * MINUTE);
            let visits = came.ledger.visits();
            match stage {
                // Everything was said.
                Stage::Quit => came.delivered_once(),
                Stage::Message => {
                    let copies = came.ledger.copies(CAROL, MARK);
                    assert_eq!(copies, if keeps { visits.len() } else { 0 });
                    assert_eq!(copies, came.ledger.excused(CAROL, MARK));
                    assert!(visits.len() >= 2);
                    came.waits();
                }
                _ => {
                    assert!(came.ledger.deliveries().is_empty());
                    assert!(came.waits().contains("in time"), "{}", came.waits());
                    assert!((2..6).contains(&visits.len()), "{stage:?}");
                }
            }
            for visit in visits.iter().filter(|v| v.ended.is_some()) {
                let lasted = visit.ended.unwrap().since(visit.began);
                assert!(lasted <= 11 * MINUTE, "{stage:?}: {lasted:?}");
            }
        }
    }
}

#[test]
fn replies_without_end_are_cut_short() {
    for how in [
        Babble::Line(100 * 1024),
        Babble::Lines(10_000),
        Babble::Endless,
        Babble::EndlessLine,
    ] {
        let endless = matches!(how, Babble::Endless | Babble::EndlessLine);
        let all = [Stage::Rcpt, Stage::Greeting, Stage::Message, Stage::Quit];
        // Each endless one costs a mebibyte.
        let stages = if endless { &all[..1] } else { &all[..] };
        for &stage in stages {
            let came = against(Talker::new(stage, how), 5 * MINUTE);
            match stage {
                Stage::Quit => came.delivered_once(),
                Stage::Message => assert!(came.ledger.copies(CAROL, MARK) >= 1),
                _ => assert!(
                    came.waits().contains("what the host answered to"),
                    "{}",
                    came.waits()
                ),
            }
            for visit in came.ledger.visits() {
                let lasted = visit.ended.unwrap().since(visit.began);
                assert!(lasted < MINUTE, "{stage:?} {how:?}: {lasted:?}");
            }
        }
    }
}

#[test]
fn wrong_codes_are_worth_another_try_and_never_a_delivery() {
    let nonsense: [&[u8]; 8] = [
        b"354 what\r\n",
        b"220 what\r\n",
        b"199 what\r\n",
        b"999 what\r\n",
        b"2x0 what\r\n",
        b"\r\n",
        b"\xff\xfe\x00\r\n",
        b"250-one\r\n354 two\r\n",
    ];
    for stage in &Stage::DELIVERY[..6] {
        for says in nonsense {
            let right = match stage {
                Stage::Greeting => says.starts_with(b"220"),
                Stage::Data => says.starts_with(b"354"),
                _ => says.starts_with(b"220"),
            };
            let came = against(Confused::new(*stage, says), 2 * HOUR);
            let shown = says.escape_ascii();
            if right {
                continue;
            }
            assert_eq!(came.left.len(), 1, "{stage:?} {shown}");
        }
    }
}

#[test]
fn a_server_that_leaves_in_the_middle_is_tried_again_and_believed_behind_the_dot() {
    for stage in Stage::DELIVERY {
        let came = against(Leaver::new(stage, 2), 24 * HOUR);
        assert_eq!(came.left, [], "{stage:?}");
        let copies = came.ledger.copies(CAROL, MARK);
        assert_eq!(copies, 1, "{stage:?}");
        let visits = came.ledger.visits().len();
        let expected = match stage {
            Stage::Message | Stage::Quit => 1,
            _ => 3,
        };
        assert_eq!(visits, expected, "{stage:?}");
    }
}

#[test]
fn some_recipients_are_taken_and_the_sender_hears_of_the_others_only() {
    let picky = Picky::new([("dave", "550 5.1.1 no such user")]);
    let came = send_against(1, picky, &[CAROL, DAVE], HOUR);
    assert_eq!(came.left, []);
    assert_eq!(came.ledger.copies(CAROL, MARK), 1);
    assert_eq!(came.ledger.copies(DAVE, MARK), 0);
    assert_eq!(came.inbox.matches("Action: failed").count(), 1);
    assert!(
        came.inbox
            .contains("Final-Recipient: rfc822; dave@peer.example")
    );
    assert!(came.inbox.contains("550 5.1.1 no such user"));
    assert!(!came.inbox.contains("Final-Recipient: rfc822; carol"));
    let later = Picky::new([("dave", "450 4.2.0 later")]);
    let came = send_against(1, later, &[CAROL, DAVE], HOUR);
    assert_eq!(came.ledger.copies(CAROL, MARK), 1);
    assert_eq!(came.left[0].to, [DAVE]);
    assert_eq!(came.inbox, "");
}

#[test]
fn a_server_that_never_greets_is_left_after_five_minutes() {
    let came = against(Silent, HOUR);
    assert!(came.waits().contains("in time"), "{}", came.waits());
    for visit in came.ledger.visits().iter().filter(|v| v.ended.is_some()) {
        let lasted = visit.ended.unwrap().since(visit.began).as_secs();
        assert!((300..=302).contains(&lasted), "{lasted}");
    }
}

#[test]
fn equal_seeds_make_equal_ledgers() {
    let run = || {
        let came = send_against(7, Greylister::new(MINUTE), &[CAROL], HOUR);
        format!("{:?}", (came.ledger.visits(), came.ledger.deliveries()))
    };
    assert_eq!(run(), run());
}
