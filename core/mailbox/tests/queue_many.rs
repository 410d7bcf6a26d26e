//! Messages with many recipients in the queue, and recipients of the queue with a mailbox here.
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

fn submission(e: &mut Engine, account: AccountId, recipients: Vec<Vec<String>>) -> Delivery {
    let group = |recipients: Vec<String>| Group {
        recipients: recipients.into_iter().map(Into::into).collect(),
        next_attempt: Utc::from_secs(START),
        hold: false,
        release: None,
    };
    let mut delivery = e.delivery(100, Vec::new());
    delivery.queue = Some(Enqueue {
        account: Some(account),
        reverse_path: "mox@localhost".into(),
        prefix: Bytes::from_static(b"Received: x\r\n"),
        eight_bit: true,
        utf8: false,
        extra: Bytes::new(),
        dsn: String::new(),
        require_tls: false,
        tls_optional: false,
        ids: Vec::new(),
        groups: recipients.into_iter().map(group).collect(),
    });
    delivery
}

#[test]
fn a_thousand_domains_are_one_operation_and_become_a_thousand_entries() {
    let (mut e, a) = Engine::with_account();
    let groups = (0..1_000).map(|n| vec![format!("x@d{n:04}.example")]);
    let job = submission(&mut e, a, groups.collect());
    let done = e.run(|reads| deliver(reads, &job)).unwrap();
    assert_eq!(done.queued.len(), 1_000usize.div_ceil(RECIPIENTS_MAX));
    let mut all = Vec::new();
    for id in done.queued {
        let bundle = queue_entry(&e.rows, id).unwrap().unwrap();
        assert!(bundle.is_bundle());
        let now = e.now;
        let entries = e.run(|reads| queue_unbundle(reads, id, now)).unwrap();
        assert!(e.last.touched.contains(&Touched::Queue));
        for (n, entry) in entries.iter().enumerate() {
            assert_eq!((entry.id, entry.message), (id + n as u64, 1));
            assert!(!entry.is_bundle());
            all.extend(entry.recipients.iter().map(|to| to.address.clone()));
        }
    }
    assert_eq!(
        all,
        (0..1_000)
            .map(|n| format!("x@d{n:04}.example"))
            .collect::<Vec<_>>()
    );
    assert_eq!(queue(&e.rows, 0, 2_000).unwrap().len(), 1_000);
    assert!(verify(&e.rows, true, &mut |_| Ok(())).is_empty());
    // The message goes with the last of them, not before.
    let now = e.now;
    for id in 1..=1_000 {
        assert!(queue_message(&e.rows, 1).unwrap().is_some(), "{id}");
        e.run(|reads| queue_drop(reads, id, None, now)).unwrap();
    }
    assert!(queue_message(&e.rows, 1).unwrap().is_none());
}

#[test]
fn few_domains_are_entries_at_once_and_an_entry_of_one_domain_is_no_bundle() {
    let (mut e, a) = Engine::with_account();
    let one = vec!["x@b.example".to_string(), "y@b.example".to_string()];
    let job = submission(&mut e, a, vec![one.clone(), vec!["z@c.example".into()]]);
    let done = e.run(|reads| deliver(reads, &job)).unwrap();
    assert_eq!(done.queued, [1, 2]);
    let now = e.now;
    let entries = e.run(|reads| queue_unbundle(reads, 1, now)).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].recipients, ["x@b.example", "y@b.example"]);
    assert_eq!(queue(&e.rows, 0, 10).unwrap().len(), 2);
}

#[test]
fn an_entry_with_both_names_of_one_domain_is_no_bundle() {
    let (mut e, a) = Engine::with_account();
    let one = [
        "x@b\u{fc}cher.example",
        "y@xn--bcher-kva.example",
        "z@B\u{dc}CHER.example",
    ];
    let one: Vec<String> = one.iter().map(|&to| to.into()).collect();
    let job = submission(&mut e, a, vec![one.clone(), vec!["z@c.example".into()]]);
    let done = e.run(|reads| deliver(reads, &job)).unwrap();
    assert_eq!(done.queued, [1, 2]);
    assert!(!queue_entry(&e.rows, 1).unwrap().unwrap().is_bundle());
    let now = e.now;
    let entries = e.run(|reads| queue_unbundle(reads, 1, now)).unwrap();
    assert_eq!(entries.len(), 1);
    let to = entries[0].recipients.iter().map(|to| to.address.clone());
    assert_eq!(to.collect::<Vec<_>>(), one);
}

#[test]
fn an_attempt_goes_on_for_those_who_have_no_mailbox_here() {
    let (mut e, a) = Engine::with_account();
    let both = vec!["x@here.example".to_string(), "y@here.example".to_string()];
    let job = submission(&mut e, a, vec![both]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let now = e.now;
    e.run(|reads| queue_attempt(reads, 1, "direct", now, now))
        .unwrap();
    let message = queue_message(&e.rows, 1).unwrap().unwrap();
    let delivery = Delivery {
        body: Body::Stored(message.body),
        targets: vec![target(a, INBOX)],
        queue: None,
        ..job.clone()
    };
    let to = ["x@here.example".to_string()];
    let (left, _) = e
        .run(|reads| queue_deliver(reads, 1, &to, &delivery, None))
        .unwrap();
    assert_eq!(left.unwrap().attempts[0].ended, None);
    let left = retired(&e.rows, Utc::default(), 10).unwrap();
    assert_eq!(left[0].attempts[0].ended, Some(now));
    // So it counts, should the server die now.
    let next = e.run(|reads| queue_attempt(reads, 1, "direct", now, now));
    assert_eq!(next.unwrap().unwrap().ambiguous, 1);
}

#[test]
fn a_recipient_of_the_queue_with_a_mailbox_here_is_delivered_to_and_leaves_in_one_operation() {
    let (mut e, a) = Engine::with_account();
    let both = vec!["x@here.example".to_string(), "y@here.example".to_string()];
    let job = submission(&mut e, a, vec![both]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    // The quota was looked at when the message was accepted.
    e.run(|reads| set_quota(reads, a, Some(1))).unwrap();
    let message = queue_message(&e.rows, 1).unwrap().unwrap();
    let delivery = Delivery {
        body: Body::Stored(message.body),
        targets: vec![target(a, INBOX)],
        queue: None,
        ..job.clone()
    };
    let to = ["x@here.example".to_string()];
    let (left, delivered) = e
        .run(|reads| queue_deliver(reads, 1, &to, &delivery, None))
        .unwrap();
    assert_eq!(left.unwrap().recipients, ["y@here.example"]);
    assert_eq!(delivered.placed.len(), 1);
    assert!(verify(&e.rows, true, &mut |_| Ok(())).is_empty());
    let to = ["y@here.example".to_string()];
    let (left, _) = e
        .run(|reads| queue_deliver(reads, 1, &to, &delivery, None))
        .unwrap();
    assert_eq!(left, None);
    assert!(queue_message(&e.rows, 1).unwrap().is_none());
    assert_eq!(retired(&e.rows, Utc::default(), 10).unwrap().len(), 2);
    assert!(verify(&e.rows, true, &mut |_| Ok(())).is_empty());
}

#[test]
fn the_secret_of_a_store_is_the_first_one_it_was_given() {
    let (mut e, _) = Engine::with_account();
    let secret = |n| mox_machine::Secret::new([n; 32]);
    assert_eq!(
        e.run(|reads| store_secret(reads, &secret(1))).unwrap(),
        secret(1)
    );
    assert_eq!(
        e.run(|reads| store_secret(reads, &secret(2))).unwrap(),
        secret(1)
    );
    assert!(verify(&e.rows, true, &mut |_| Ok(())).is_empty());
}
