//! What becomes known of messages after they left: notifications of other servers, and addresses that fail again and again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod engine;

use bytes::Bytes;
use engine::*;
use mox_machine::Utc;
use mox_mailbox::*;
use std::slice;

const TO: &str = "Carol@far.example";

/// A message of the account to these recipients, with an id; the number of its entry.
fn queued(e: &mut Engine, account: AccountId, id: &str, to: &[&str]) -> u64 {
    let mut delivery = e.delivery(100, Vec::new());
    delivery.queue = Some(Enqueue {
        account: Some(account),
        reverse_path: "mox@localhost".into(),
        prefix: Bytes::new(),
        eight_bit: false,
        utf8: false,
        extra: Bytes::new(),
        dsn: String::new(),
        require_tls: false,
        tls_optional: false,
        ids: vec![id.into(), "x".repeat(ID_MAX + 1)],
        groups: vec![Group {
            recipients: to.iter().map(|&to| to.into()).collect(),
            next_attempt: Utc::from_secs(START),
            hold: false,
            release: None,
        }],
    });
    e.run(|reads| deliver(reads, &delivery)).unwrap().queued[0]
}

/// An attempt that ends so for all; what failed is not known there.
fn ended(e: &mut Engine, id: u64, fates: Vec<Fate>) {
    let now = e.now;
    e.run(|reads| queue_attempt(reads, id, "direct", now, now))
        .unwrap();
    let entry = queue_entry(&e.rows, id).unwrap().unwrap();
    let outcome = Outcome {
        now,
        host: "mx".into(),
        text: String::new(),
        tls: String::new(),
        fates,
        reached: Vec::new(),
        steps: Steps::default(),
        unknown: entry
            .recipients
            .iter()
            .map(|to| to.address.clone())
            .collect(),
        marked: now,
        next_attempt: now,
        delay_told: false,
        notice: None,
        success: None,
    };
    e.run(|reads| queue_outcome(reads, id, &outcome)).unwrap();
}

fn no() -> Fate {
    Fate::Failed("550 5.1.1 nobody".into())
}

fn yes() -> Fate {
    Fate::Delivered("250 ok".into())
}

fn telling(at: Utc, recipient: &str, original: Option<&str>) -> Telling {
    Telling {
        note: Notified {
            at,
            recipient: recipient.into(),
            about: String::new(),
            action: "failed".into(),
            status: "5.1.1".into(),
            from: "mx.far.example".into(),
            text: "550 gone".into(),
        },
        original: original.into_iter().map(Into::into).collect(),
        unknown: true,
    }
}

#[test]
fn a_note_says_of_which_of_our_recipients_it_is() {
    let (mut e, a) = Engine::with_account();
    let id = queued(
        &mut e,
        a,
        "<1@x>",
        &["Carol@far.example", "dave@far.example"],
    );
    ended(&mut e, id, vec![yes(), yes()]);
    let now = e.now;
    // It was forwarded there, and tells so.
    let told = [telling(
        now,
        "carl@inner.far.example",
        Some("carol@FAR.example"),
    )];
    let found = e.run(|reads| queue_notified(reads, a, &["<1@x>".into()], &told, now));
    assert_eq!(found, Ok(1));
    let left = retired(&e.rows, Utc::from_secs(0), 9).unwrap();
    let [note] = &left[0].notified[..] else {
        panic!()
    };
    assert_eq!(
        (&note.recipient[..], &note.about[..]),
        ("carl@inner.far.example", "Carol@far.example")
    );
    e.check();
}

#[test]
fn an_address_that_fails_three_times_in_a_row_is_suppressed_and_somebody_may_lift_that() {
    let (mut e, a) = Engine::with_account();
    let suppressed = |e: &Engine| suppression(&e.rows, a, TO, e.now).unwrap();
    for fate in [no(), no(), yes(), no(), no()] {
        let id = queued(&mut e, a, "<1@x>", &[TO]);
        ended(&mut e, id, vec![fate]);
        assert_eq!(suppressed(&e), None);
    }
    let id = queued(&mut e, a, "<1@x>", &[TO]);
    ended(&mut e, id, vec![no()]);
    let found = suppressed(&e).unwrap();
    assert_eq!(
        (&found.address[..], found.failures, found.since),
        ("carol@far.example", 3, Some(e.now))
    );
    assert_eq!(found.reason, "550 5.1.1 nobody");
    // What is suppressed stays so.
    let id = queued(&mut e, a, "<1@x>", &[TO]);
    ended(&mut e, id, vec![yes()]);
    assert_eq!(suppressions(&e.rows, a, e.now).unwrap(), [found]);
    assert_eq!(
        suppressions(&e.rows, AccountId(a.0 + 1), e.now).unwrap(),
        []
    );
    let lift = |e: &mut Engine| {
        e.run(|reads| unsuppress(reads, a, "CAROL@far.example"))
            .unwrap()
    };
    assert!(lift(&mut e) && !lift(&mut e));
    assert_eq!(suppressed(&e), None);
    e.check();
}

#[test]
fn a_suppression_that_failures_led_to_ends_after_thirty_days_and_one_of_an_administrator_does_not()
{
    let (mut e, a) = Engine::with_account();
    let fail = |e: &mut Engine| {
        let id = queued(e, a, "<1@x>", &[TO]);
        ended(e, id, vec![no()]);
    };
    (0..3).for_each(|_| fail(&mut e));
    let now = e.now;
    e.run(|reads| suppress(reads, a, "eve@far.example", "asked to", now))
        .unwrap();
    let addresses = |e: &Engine| -> Vec<String> {
        let all = suppressions(&e.rows, a, e.now).unwrap();
        all.into_iter().map(|one| one.address).collect()
    };
    let found = suppression(&e.rows, a, TO, e.now).unwrap().unwrap();
    assert_eq!(found.until(), Some(e.now + SUPPRESSED_FOR));
    e.later(30 * DAY - 1);
    assert_eq!(addresses(&e), ["carol@far.example", "eve@far.example"]);
    e.later(1);
    assert_eq!(addresses(&e), ["eve@far.example"]);
    assert_eq!(suppression(&e.rows, a, TO, e.now).unwrap(), None);
    let eve = suppression(&e.rows, a, "eve@far.example", e.now).unwrap();
    assert_eq!(eve.unwrap().until(), None);

    // What fails after that is counted anew, and a delivery begins anew too.
    fail(&mut e);
    let first = failures(&e.rows, a, TO).unwrap().unwrap();
    assert_eq!((first.failures, first.since), (1, None));
    (0..2).for_each(|_| fail(&mut e));
    assert!(suppression(&e.rows, a, TO, e.now).unwrap().is_some());
    e.later(31 * DAY);
    let id = queued(&mut e, a, "<1@x>", &[TO]);
    ended(&mut e, id, vec![yes()]);
    assert_eq!(failures(&e.rows, a, TO).unwrap(), None);
    e.check();
}

#[test]
fn failures_far_apart_and_failures_of_another_kind_do_not_count() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..4 {
        let id = queued(&mut e, a, "<1@x>", &[TO]);
        ended(&mut e, id, vec![no()]);
        e.later(31 * DAY);
    }
    assert_eq!(suppression(&e.rows, a, TO, e.now).unwrap(), None);
    for _ in 0..3 {
        let id = queued(&mut e, a, "<1@x>", &[TO]);
        let mut outcome = Outcome {
            now: e.now,
            host: String::new(),
            text: String::new(),
            tls: String::new(),
            fates: vec![Fate::Failed("550 5.7.1 spam".into())],
            reached: Vec::new(),
            steps: Steps::default(),
            unknown: Vec::new(),
            marked: e.now,
            next_attempt: e.now,
            delay_told: false,
            notice: None,
            success: None,
        };
        outcome.now = e.now;
        e.run(|reads| queue_outcome(reads, id, &outcome)).unwrap();
    }
    assert_eq!(suppression(&e.rows, a, TO, e.now).unwrap(), None);
    e.check();
}

#[test]
fn who_is_in_charge_suppresses_addresses_and_there_is_an_end_to_it() {
    let (mut e, a) = Engine::with_account();
    let now = e.now;
    for n in 0..SUPPRESSIONS_MAX {
        let address = format!("{n}@x");
        e.run(|reads| suppress(reads, a, &address, "bought list", now))
            .unwrap();
    }
    let more = e.run(|reads| suppress(reads, a, "more@x", "", now));
    assert_eq!(more, Err(Stop::TooMany(Limit::Suppressions)));
    e.run(|reads| suppress(reads, a, "7@X", "again", now))
        .unwrap();
    assert_eq!(
        suppression(&e.rows, a, "7@x", e.now)
            .unwrap()
            .unwrap()
            .reason,
        "again"
    );
    // By itself none is added any more.
    for _ in 0..3 {
        let id = queued(&mut e, a, "<1@x>", &[TO]);
        ended(&mut e, id, vec![no()]);
    }
    assert_eq!(suppression(&e.rows, a, TO, e.now).unwrap(), None);
    e.check();
}

#[test]
fn a_notification_is_noted_where_the_recipient_left_the_queue_and_counts() {
    let (mut e, a) = Engine::with_account();
    let to = [TO, "dave@far.example"];
    let id = queued(&mut e, a, "<1@x>", &to);
    ended(&mut e, id, vec![yes(), Fate::Deferred("later".into())]);
    e.later(60);
    ended(&mut e, id, vec![yes()]);
    let now = e.now;
    let tell = |e: &mut Engine, account, ids: &[&str], told: &[Telling]| {
        let ids: Vec<String> = ids.iter().map(|&id| id.into()).collect();
        e.run(|reads| queue_notified(reads, account, &ids, told, now))
            .unwrap()
    };
    let about_carol = telling(now, "carol@far.example", None);
    assert_eq!(
        tell(&mut e, a, &["<2@x>"], slice::from_ref(&about_carol)),
        0
    );
    assert_eq!(
        tell(
            &mut e,
            AccountId(a.0 + 1),
            &["<1@x>"],
            slice::from_ref(&about_carol)
        ),
        0
    );
    assert_eq!(
        tell(
            &mut e,
            a,
            &["<2@x>", "<1@x>"],
            slice::from_ref(&about_carol)
        ),
        1
    );
    let rows = retired(&e.rows, Utc(0), 10).unwrap();
    let noted = Notified {
        about: "Carol@far.example".into(),
        ..about_carol.note.clone()
    };
    assert_eq!(rows[0].notified, [noted]);
    assert_eq!(rows[1].notified, []);
    assert_eq!(failures(&e.rows, a, TO).unwrap().unwrap().failures, 1);
    // Whoever it was forwarded to is not whom we sent to.
    let forwarded = telling(now, "c@home.example", Some(TO));
    let unknown = telling(now, "c@home.example", None);
    assert_eq!(tell(&mut e, a, &["<1@x>"], &[forwarded, unknown]), 1);
    // However often it is told, it is one failure of one message.
    for _ in 0..4 {
        assert_eq!(
            tell(&mut e, a, &["<1@x>"], slice::from_ref(&about_carol)),
            1
        );
    }
    assert_eq!(failures(&e.rows, a, TO).unwrap().unwrap().failures, 1);
    assert_eq!(failures(&e.rows, a, "c@home.example").unwrap(), None);
    e.check();
    // With what left the queue the ids go.
    e.later(8 * DAY);
    let before = e.now;
    let progress = e.run(|reads| purge_retired(reads, before)).unwrap();
    assert_eq!(progress, Progress::Done);
    assert_eq!(retired(&e.rows, Utc(0), 10).unwrap(), []);
    let late = telling(now, TO, None);
    assert_eq!(tell(&mut e, a, &["<1@x>"], &[late]), 0);
    e.check();
}

#[test]
fn an_entry_is_dropped_with_its_notification_or_not_at_all() {
    let (mut e, a) = Engine::with_account();
    let id = queued(&mut e, a, "<1@x>", &[TO]);
    let notice = e.delivery(60, vec![target(a, INBOX)]);
    let now = e.now;
    let others = [QueueRecipient::from("dave@far.example")];
    let drop = |e: &mut Engine, to: &[QueueRecipient]| {
        e.run(|reads| queue_drop(reads, id, Some((to, &notice)), now))
            .unwrap()
    };
    assert!(!drop(&mut e, &others));
    assert!(queue_entry(&e.rows, id).unwrap().is_some());
    assert!(drop(&mut e, &[TO.into()]));
    assert_eq!(queue_entry(&e.rows, id).unwrap(), None);
    let inbox = mailbox_id(&e.rows, a, INBOX).unwrap().unwrap();
    assert_eq!(status(&e.rows, a, inbox).unwrap().unwrap().messages, 1);
    assert_eq!(
        retired(&e.rows, Utc(0), 1).unwrap()[0].recipients,
        [(TO.into(), Fate::Dropped)]
    );
    e.check();
}

#[test]
fn one_notification_is_one_failure_of_each_address_and_three_messages_suppress_it() {
    let (mut e, a) = Engine::with_account();
    let all = [TO, "team@far.example"];
    for n in 1..=3 {
        let id = queued(&mut e, a, &format!("<{n}@x>"), &all);
        ended(&mut e, id, vec![yes(), yes()]);
        let now = e.now;
        // Three members of one alias are dead, and a group of fields stands there sixty times.
        let members = (0..3).map(|m| telling(now, &format!("dead{m}@x"), Some("team@far.example")));
        let again = (0..60).map(|_| telling(now, "CAROL@far.example", None));
        let told: Vec<Telling> = members.chain(again).collect();
        let ids = [format!("<{n}@x>")];
        e.run(|reads| queue_notified(reads, a, &ids, &told, now))
            .unwrap();
        assert_eq!(failures(&e.rows, a, TO).unwrap().unwrap().failures, n);
    }
    assert!(suppression(&e.rows, a, TO, e.now).unwrap().is_some());
    assert_eq!(failures(&e.rows, a, "team@far.example").unwrap(), None);
    e.check();
}

#[test]
fn a_message_with_the_id_of_another_is_no_second_failure_of_one_notification() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..3 {
        let id = queued(&mut e, a, "<1@x>", &[TO]);
        ended(&mut e, id, vec![yes()]);
    }
    let (now, ids) = (e.now, ["<1@x>".to_owned()]);
    for _ in 0..3 {
        e.run(|reads| queue_notified(reads, a, &ids, &[telling(now, TO, None)], now))
            .unwrap();
    }
    assert_eq!(failures(&e.rows, a, TO).unwrap().unwrap().failures, 1);
}

#[test]
fn addresses_are_the_same_in_u_labels_and_in_a_labels() {
    let (mut e, a) = Engine::with_account();
    let (one, other) = ("Carol@b\u{fc}cher.example", "carol@XN--BCHER-KVA.example");
    let now = e.now;
    e.run(|reads| suppress(reads, a, one, "", now)).unwrap();
    let found = suppression(&e.rows, a, other, e.now).unwrap().unwrap();
    assert_eq!(found.address, "carol@xn--bcher-kva.example");
    assert!(e.run(|reads| unsuppress(reads, a, other)).unwrap());
    assert_eq!(suppression(&e.rows, a, one, e.now).unwrap(), None);
    for to in [one, other, one] {
        let id = queued(&mut e, a, "<1@x>", &[to]);
        ended(&mut e, id, vec![no()]);
    }
    assert!(suppression(&e.rows, a, other, e.now).unwrap().is_some());
    // A notification in one form is about a recipient in the other.
    let id = queued(&mut e, a, "<2@x>", &[one, "dave@far.example"]);
    ended(&mut e, id, vec![yes(), yes()]);
    let ids = ["<2@x>".to_owned()];
    let found = e.run(|reads| queue_notified(reads, a, &ids, &[telling(now, other, None)], now));
    assert_eq!(found.unwrap(), 1);
}

#[test]
fn old_failures_make_room_for_new_ones_and_are_purged() {
    let (mut e, a) = Engine::with_account();
    let fail = |e: &mut Engine, to: &str| {
        let id = queued(e, a, "<1@x>", &[to]);
        ended(e, id, vec![no()]);
    };
    // A bought list: each address fails once.
    let start = e.now;
    for n in 0..SUPPRESSIONS_MAX {
        e.now = Utc(start.0 + i64::try_from(n).unwrap());
        fail(&mut e, &format!("{n}@x"));
    }
    for _ in 0..3 {
        fail(&mut e, TO);
    }
    assert!(suppression(&e.rows, a, TO, e.now).unwrap().is_some());
    assert_eq!(failures(&e.rows, a, "0@x").unwrap(), None);
    let last = format!("{}@x", SUPPRESSIONS_MAX - 1);
    assert!(failures(&e.rows, a, &last).unwrap().is_some());
    e.check();
    let now = e.now;
    e.run(|reads| suppress(reads, a, "kept@x", "asked to", now))
        .unwrap();
    // What is too old to count goes, and what is suppressed for long enough; what somebody added stays.
    e.later(31 * DAY);
    let now = e.now;
    while e.run(|reads| purge_suppressions(reads, a, now)).unwrap() != Progress::Done {}
    assert_eq!(failures(&e.rows, a, &last).unwrap(), None);
    assert_eq!(failures(&e.rows, a, TO).unwrap(), None);
    assert!(suppression(&e.rows, a, "kept@x", e.now).unwrap().is_some());
    // The count is that of the rows.
    for n in 1..SUPPRESSIONS_MAX {
        e.run(|reads| suppress(reads, a, &format!("{n}@y"), "", now))
            .unwrap();
    }
    let more = e.run(|reads| suppress(reads, a, "more@x", "", now));
    assert_eq!(more, Err(Stop::TooMany(Limit::Suppressions)));
    assert!(e.run(|reads| unsuppress(reads, a, "kept@x")).unwrap());
    e.run(|reads| suppress(reads, a, "more@x", "", now))
        .unwrap();
}

#[test]
fn a_damaged_row_of_what_was_sent_keeps_nothing_from_being_sent() {
    let (mut e, a) = Engine::with_account();
    let send = |e: &mut Engine| {
        let delivery = e.delivery(10, Vec::new());
        let beside = Beside {
            counts: Some((a, 1)),
            ..Beside::default()
        };
        let sent = e.run(|reads| deliver_beside(reads, &delivery, &beside));
        sent.unwrap().damaged
    };
    assert_eq!(send(&mut e), 0);
    let rows = e.rows.iter(Space::Rows);
    let rows = rows.filter(|(key, _)| key[0] == Table::SentHours as u8);
    let writes = rows.map(|(key, _)| {
        let row = Some(Bytes::from_static(&[99]));
        (Space::Rows, key.to_vec(), row)
    });
    let batch = Batch {
        writes: writes.collect(),
        ..Batch::default()
    };
    assert_eq!(batch.writes.len(), 1);
    e.rows.apply(&batch);
    assert_eq!((send(&mut e), send(&mut e)), (1, 0));
    assert_eq!(sent_hours(&e.rows, a).unwrap()[0].messages, 2);
    e.check();
}

#[test]
fn what_an_account_sends_within_a_day_is_counted_with_each_message() {
    const HOUR: i64 = 3_600;
    let (mut e, a) = Engine::with_account();
    let sent = |e: &mut Engine, new: u32| {
        let delivery = e.delivery(10, Vec::new());
        let beside = Beside {
            counts: Some((a, new)),
            ..Beside::default()
        };
        e.run(|reads| deliver_beside(reads, &delivery, &beside))
            .unwrap();
    };
    let counted = |e: &Engine| -> Vec<(i64, u32, u32)> {
        let hours = sent_hours(&e.rows, a).unwrap().into_iter();
        let first = START.div_euclid(HOUR);
        hours
            .map(|hour| (hour.number - first, hour.messages, hour.new_recipients))
            .collect()
    };
    assert_eq!(counted(&e), []);
    sent(&mut e, 2);
    sent(&mut e, 1);
    e.later(HOUR);
    sent(&mut e, 0);
    assert_eq!(counted(&e), [(0, 2, 3), (1, 1, 0)]);
    // A day later the first hour does not count any more.
    e.later(23 * HOUR);
    sent(&mut e, 4);
    assert_eq!(counted(&e), [(1, 1, 0), (24, 1, 4)]);
    // It is bounded, whatever the clock does.
    for hour in 0..100 {
        e.later(HOUR);
        sent(&mut e, 1);
        assert!(counted(&e).len() <= 24, "{hour}");
    }
    let now = e.now;
    e.now = Utc::from_secs(START);
    sent(&mut e, 1);
    assert!(counted(&e).len() <= 24);
    assert!(counted(&e).iter().all(|(hour, ..)| *hour <= 0));
    e.now = now;
    e.check();
}
