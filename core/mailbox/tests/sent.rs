//! What becomes known of messages after they left: notifications of other servers, and addresses that fail again and again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod engine;

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
        prefix: bytes::Bytes::new(),
        eight_bit: false,
        utf8: false,
        extra: bytes::Bytes::new(),
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
        unknown: entry
            .recipients
            .iter()
            .map(|to| to.address.clone())
            .collect(),
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
            action: "failed".into(),
            status: "5.1.1".into(),
            from: "mx.far.example".into(),
            text: "550 gone".into(),
        },
        original: original.map(Into::into),
        unknown: true,
    }
}

#[test]
fn an_address_that_fails_three_times_in_a_row_is_suppressed_until_somebody_lifts_that() {
    let (mut e, a) = Engine::with_account();
    let suppressed = |e: &Engine| suppression(&e.rows, a, TO).unwrap();
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
    assert_eq!(suppressions(&e.rows, a).unwrap(), [found]);
    assert_eq!(suppressions(&e.rows, AccountId(a.0 + 1)).unwrap(), []);
    let lift = |e: &mut Engine| {
        e.run(|reads| unsuppress(reads, a, "CAROL@far.example"))
            .unwrap()
    };
    assert!(lift(&mut e) && !lift(&mut e));
    assert_eq!(suppressed(&e), None);
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
    assert_eq!(suppression(&e.rows, a, TO).unwrap(), None);
    for _ in 0..3 {
        let id = queued(&mut e, a, "<1@x>", &[TO]);
        let mut outcome = Outcome {
            now: e.now,
            host: String::new(),
            text: String::new(),
            tls: String::new(),
            fates: vec![Fate::Failed("550 5.7.1 spam".into())],
            unknown: Vec::new(),
            next_attempt: e.now,
            delay_told: false,
            notice: None,
            success: None,
        };
        outcome.now = e.now;
        e.run(|reads| queue_outcome(reads, id, &outcome)).unwrap();
    }
    assert_eq!(suppression(&e.rows, a, TO).unwrap(), None);
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
        suppression(&e.rows, a, "7@x").unwrap().unwrap().reason,
        "again"
    );
    // By itself none is added any more.
    for _ in 0..3 {
        let id = queued(&mut e, a, "<1@x>", &[TO]);
        ended(&mut e, id, vec![no()]);
    }
    assert_eq!(suppression(&e.rows, a, TO).unwrap(), None);
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
    assert_eq!(rows[0].notified, slice::from_ref(&about_carol.note));
    assert_eq!(rows[1].notified, []);
    // Whoever it was forwarded to is not whom we sent to.
    let forwarded = telling(now, "c@home.example", Some(TO));
    let unknown = telling(now, "c@home.example", None);
    assert_eq!(tell(&mut e, a, &["<1@x>"], &[forwarded, unknown]), 1);
    assert_eq!(suppression(&e.rows, a, TO).unwrap(), None);
    for _ in 0..2 {
        assert_eq!(
            tell(&mut e, a, &["<1@x>"], slice::from_ref(&about_carol)),
            1
        );
    }
    assert!(suppression(&e.rows, a, TO).unwrap().is_some());
    assert_eq!(suppression(&e.rows, a, "c@home.example").unwrap(), None);
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
