//! What the queue keeps, and for how long.
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

fn group(recipients: &[&str]) -> Group {
    Group {
        recipients: recipients.iter().map(|&r| r.into()).collect(),
        next_attempt: Utc::from_secs(START),
        hold: false,
        release: None,
    }
}

fn submission(e: &mut Engine, account: AccountId, length: usize, groups: Vec<Group>) -> Delivery {
    let mut delivery = e.delivery(length, Vec::new());
    delivery.queue = Some(Enqueue {
        account: Some(account),
        reverse_path: "mox@localhost".into(),
        prefix: Bytes::from_static(b"Received: x\r\n"),
        eight_bit: true,
        utf8: false,
        extra: Bytes::from_static(b"extra"),
        dsn: " RET=HDRS".into(),
        require_tls: true,
        tls_optional: false,
        ids: Vec::new(),
        groups,
    });
    delivery
}

fn outcome(e: &Engine, fates: Vec<Fate>) -> Outcome {
    Outcome {
        now: e.now,
        host: "mx.example".into(),
        text: "250 ok".into(),
        tls: "TLSv1.3".into(),
        fates,
        reached: Vec::new(),
        steps: Steps::default(),
        unknown: Vec::new(),
        // Nobody changed the row since the attempt began.
        marked: queue(&e.rows, 0, 1)
            .unwrap()
            .first()
            .map_or(e.now, |entry| entry.next_attempt),
        next_attempt: Utc::from_secs(e.now.secs() + 450),
        delay_told: false,
        notice: None,
        success: None,
    }
}

fn delivered() -> Fate {
    Fate::Delivered("250 ok".into())
}

#[test]
fn a_submission_to_mailboxes_and_two_domains_is_one_operation() {
    let (mut e, a) = Engine::with_account();
    let groups = vec![
        group(&["x@b.example", "y@b.example"]),
        group(&["z@c.example"]),
    ];
    let mut job = submission(&mut e, a, 100, groups);
    job.targets = vec![target(a, "Sent")];
    let done = e.run(|reads| deliver(reads, &job)).unwrap();
    assert_eq!((done.placed.len(), &done.queued[..]), (1, &[1, 2][..]));
    assert!(e.last.touched.contains(&Touched::Queue));
    let entries = queue(&e.rows, 0, 10).unwrap();
    let message = queue_message(&e.rows, entries[1].message).unwrap().unwrap();
    assert_eq!(
        (entries[0].message, entries[1].message, message.entries),
        (1, 1, 2)
    );
    assert_eq!(
        (message.size(), &message.reverse_path[..]),
        (113, "mox@localhost")
    );
    assert_eq!(
        queue(&e.rows, 2, 10).unwrap()[0].recipients,
        ["z@c.example"]
    );
    assert_eq!(queue(&e.rows, 0, 1).unwrap().len(), 1);
    e.check();
}

#[test]
fn an_attempt_is_recorded_before_it_starts_and_survives_without_outcome() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let (now, retry) = (e.now, Utc::from_secs(START + 450));
    for i in 1..=40 {
        let entry = e
            .run(|reads| queue_attempt(reads, 1, "direct", retry, now))
            .unwrap()
            .unwrap();
        assert_eq!((entry.attempts_made, entry.next_attempt), (i, retry));
    }
    let entry = queue_entry(&e.rows, 1).unwrap().unwrap();
    assert_eq!(entry.attempts.len(), ATTEMPTS_KEPT);
    let first = &entry.attempts[0];
    let told = (first.ended, &first.host[..], &first.transport[..]);
    assert_eq!(told, (None, "", "direct"));
    let missing = e.run(|reads| queue_attempt(reads, 2, "h", retry, now));
    assert_eq!(missing, Err(Stop::NoSuchEntry(2)));
    e.check();
}

#[test]
fn an_attempt_that_came_to_no_end_may_have_delivered_and_counts_so_once() {
    let (mut e, a) = Engine::with_account();
    let to = ["carol@b.example", "dave@b.example"];
    let job = submission(&mut e, a, 100, vec![group(&to)]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let attempt = |e: &mut Engine| {
        let now = e.now;
        let entry = e.run(|reads| queue_attempt(reads, 1, "direct", now, now));
        entry.unwrap().unwrap()
    };
    let counted = |entry: &QueueEntry| {
        let attempts = entry.attempts.iter().map(|attempt| attempt.ambiguous);
        let to = entry.recipients.iter().map(QueueRecipient::ambiguous);
        (
            attempts.collect::<Vec<_>>(),
            to.collect::<Vec<_>>(),
            entry.ambiguous,
        )
    };
    let first = attempt(&mut e);
    assert_eq!(counted(&first), (vec![false], vec![0, 0], 0));
    // The server dies, and tries again.
    let second = attempt(&mut e);
    assert_eq!(counted(&second), (vec![true, false], vec![1, 1], 1));
    assert_eq!(second.attempts[0].ended, None);
    let no_end = "the server died before it knew what came of it";
    assert_eq!(second.attempts[0].outcome, no_end);
    let said = second.recipients.iter().flat_map(|to| &to.last);
    let texts: Vec<&str> = said.map(|said| &said.text[..]).collect();
    assert_eq!(texts, [no_end; 2]);
    let later = |text: &str| Fate::Deferred(text.into());
    let busy = outcome(&e, vec![later("450 busy"), later("451 not yet")]);
    e.run(|reads| queue_outcome(reads, 1, &busy)).unwrap();
    // What ended does not count.
    let third = attempt(&mut e);
    assert_eq!(counted(&third), (vec![true, false, false], vec![1, 1], 1));
    // It dies again. Who takes it out of the queue learns of that too, and what was said before stays.
    let now = e.now;
    let kept = e.run(|reads| queue_attempt(reads, 1, "direct", now, now));
    let kept = kept.unwrap().unwrap();
    assert_eq!(kept.recipients[0].last.as_ref().unwrap().text, "450 busy");
    assert_eq!(kept.ambiguous, 2);
    e.run(|reads| queue_drop(reads, 1, None, now)).unwrap();
    let left = retired(&e.rows, Utc::from_secs(0), 9).unwrap();
    let by: Vec<u32> = left[0].reached.iter().map(|by| by.ambiguous).collect();
    assert_eq!((left[0].ambiguous, by), (3, vec![3, 3]));
    e.check();
}

#[test]
fn a_time_that_is_chosen_while_an_entry_is_tried_stays_and_no_other_is_kept() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let at = |secs| Utc::from_secs(START + secs);
    let mut tried = |chosen: &[(Option<Utc>, Option<bool>)], put_off: Option<Utc>| {
        let now = e.now;
        e.run(|reads| queue_attempt(reads, 1, "direct", at(7_200), now))
            .unwrap()
            .unwrap();
        let busy = Outcome {
            next_attempt: at(900),
            ..outcome(&e, vec![Fate::Deferred("450 busy".into())])
        };
        for &(next, hold) in chosen {
            e.run(|reads| queue_reschedule(reads, 1, next, hold, now))
                .unwrap();
        }
        if let Some(until) = put_off {
            e.run(|reads| queue_put_off(reads, 1, until, now)).unwrap();
        }
        let left = e.run(|reads| queue_outcome(reads, 1, &busy)).unwrap();
        let left = left.entry.unwrap();
        (left.next_attempt, left.hold, left.release)
    };
    assert_eq!(tried(&[], None), (at(900), false, None));
    // Later, and now: right after the attempt.
    assert_eq!(tried(&[(Some(at(20)), None)], None), (at(20), false, None));
    let kicked = (Some(at(0)), Some(false));
    assert_eq!(tried(&[kicked], None), (at(0), false, None));
    // The attempt after it has the plan's time again.
    assert_eq!(tried(&[], None), (at(900), false, None));
    let month = Some(at(30 * DAY));
    assert_eq!(tried(&[], month), (at(30 * DAY), false, month));
    // What an administrator put off is tried earlier when one says so.
    let mut change = |next, hold| {
        let now = e.now;
        let entry = e.run(|reads| queue_reschedule(reads, 1, next, hold, now));
        let entry = entry.unwrap();
        (entry.next_attempt, entry.release)
    };
    let now = at(0);
    assert_eq!(change(Some(now), None), (now, Some(now)));
    e.check();
}

#[test]
fn a_transport_is_chosen_for_an_entry_until_the_choice_is_taken_back() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    for chosen in ["provider", ""] {
        e.run(|reads| queue_route(reads, 1, chosen)).unwrap();
        let entry = queue_entry(&e.rows, 1).unwrap().unwrap();
        assert_eq!(entry.transport, chosen);
        assert!(e.last.touched.contains(&Touched::Queue));
    }
    let missing = e.run(|reads| queue_route(reads, 2, "provider"));
    assert_eq!(missing, Err(Stop::NoSuchEntry(2)));
    e.check();
}

#[test]
fn recipients_leave_one_by_one_and_the_body_with_the_last() {
    let (mut e, a) = Engine::with_account();
    let groups = vec![
        group(&["x@b.example", "y@b.example"]),
        group(&["z@c.example"]),
    ];
    let job = submission(&mut e, a, 30_000, groups);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let now = e.now;
    e.run(|reads| queue_attempt(reads, 1, "h", now, now))
        .unwrap();
    e.later(7);
    let long = "ü".repeat(LAST_TEXT_MAX);
    let mixed = outcome(
        &e,
        vec![Fate::Deferred("450".into()), Fate::Failed(long.clone())],
    );
    let Settled {
        entry: left,
        notice,
    } = e.run(|reads| queue_outcome(reads, 1, &mixed)).unwrap();
    let left = left.unwrap();
    assert_eq!(left.recipients, ["x@b.example"]);
    assert_eq!(notice, None);
    assert_eq!(left.next_attempt.secs(), e.now.secs() + 450);
    assert_eq!(left.attempts[0].ended, Some(e.now));
    assert_eq!(left.attempts[0].outcome, "250 ok");
    e.check();
    let wrong = outcome(&e, vec![]);
    let refused = e.run(|reads| queue_outcome(reads, 1, &wrong));
    assert_eq!(refused, Err(Stop::TooMany(Limit::Recipients)));
    let fine = outcome(&e, vec![delivered()]);
    assert_eq!(
        e.run(|reads| queue_outcome(reads, 1, &fine)).unwrap().entry,
        None
    );
    assert_eq!(e.files.len(), 1, "the other entry needs it");
    e.check();
    e.run(|reads| queue_outcome(reads, 2, &fine)).unwrap();
    assert_eq!((e.files.len(), queue(&e.rows, 0, 9).unwrap().len()), (0, 0));
    assert_eq!(queue_message(&e.rows, 1).unwrap(), None);
    e.check();
    let kept = retired(&e.rows, Utc::from_secs(0), 9).unwrap();
    let fates: Vec<_> = kept.iter().flat_map(|r| &r.recipients).collect();
    assert_eq!(fates.len(), 3);
    assert_eq!(
        kept[0].recipients[0].1,
        Fate::Failed("ü".repeat(LAST_TEXT_MAX / 2))
    );
    assert_eq!((kept[0].size, kept[0].attempts_made), (30_013, 1));
    let before = Utc::from_secs(e.now.secs() + 1);
    assert_eq!(
        e.run(|reads| purge_retired(reads, before)),
        Ok(Progress::Done)
    );
    assert_eq!(retired(&e.rows, Utc::from_secs(0), 9).unwrap(), []);
    e.check();
}

#[test]
fn the_notice_of_a_failure_is_delivered_in_the_same_operation() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let mut failed = outcome(&e, vec![Fate::Failed("550 no".into())]);
    failed.notice = Some(e.delivery(200, vec![target(a, "INBOX")]));
    let Settled {
        entry: left,
        notice,
    } = e.run(|reads| queue_outcome(reads, 1, &failed)).unwrap();
    assert_eq!((left, notice.unwrap().placed[0].uid.0), (None, 1));
    assert_eq!(e.status(a, "INBOX").messages, 1);
    assert_eq!(e.rows.iter(Space::Bodies).count(), 1, "that of the notice");
    e.check();
}

#[test]
fn a_queued_message_is_delivered_here_by_sharing_its_body() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 50_000, vec![group(&["x@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let message = queue_message(&e.rows, 1).unwrap().unwrap();
    let mut done = outcome(&e, vec![delivered()]);
    done.notice = Some(Delivery {
        body: Body::Stored(message.body),
        targets: vec![target(a, "INBOX")],
        ..e.delivery(10, vec![])
    });
    e.run(|reads| queue_outcome(reads, 1, &done)).unwrap();
    assert_eq!(e.files.len(), 1);
    e.check();
}

#[test]
fn entries_are_held_released_rescheduled_and_dropped() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let (now, later) = (e.now, Utc::from_secs(START + 9));
    let entry = e
        .run(|reads| queue_reschedule(reads, 1, None, Some(true), now))
        .unwrap();
    assert!(entry.hold);
    let entry = e
        .run(|reads| queue_reschedule(reads, 1, Some(later), None, now))
        .unwrap();
    assert_eq!((entry.hold, entry.next_attempt), (true, later));
    e.run(|reads| queue_drop(reads, 1, None, later)).unwrap();
    assert_eq!(
        e.run(|reads| queue_drop(reads, 1, None, later)),
        Err(Stop::NoSuchEntry(1))
    );
    let kept = retired(&e.rows, Utc::from_secs(0), 9).unwrap();
    assert_eq!(
        kept[0].recipients,
        [("x@b.example".to_owned(), Fate::Dropped)]
    );
    assert_eq!(e.rows.iter(Space::Bodies).count(), 0);
    e.check();
    // Numbers are never given again.
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    assert_eq!(e.run(|reads| deliver(reads, &job)).unwrap().queued, [2]);
}

#[test]
fn what_is_held_back_is_not_tried_and_its_time_begins_when_it_is_released() {
    let (mut e, a) = Engine::with_account();
    let at = |secs: i64| Utc::from_secs(START + secs);
    let by_sender = Group {
        release: Some(at(1_000)),
        ..group(&["x@b.example"])
    };
    let job = submission(&mut e, a, 100, vec![by_sender, group(&["y@c.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let attempt = |e: &mut Engine, id, now: Utc| {
        let tried = e.run(|reads| queue_attempt(reads, id, "", at(9_999), now));
        tried.unwrap().is_some()
    };
    let change = |e: &mut Engine, id, next, hold, now: Utc| {
        let entry = e.run(|reads| queue_reschedule(reads, id, next, hold, now));
        entry.unwrap().release
    };
    assert!(!attempt(&mut e, 1, at(999)));
    let unchanged = queue_entry(&e.rows, 1).unwrap().unwrap();
    assert_eq!(
        (unchanged.attempts_made, unchanged.release),
        (0, Some(at(1_000)))
    );
    // Tried earlier after all.
    assert_eq!(
        change(&mut e, 1, Some(at(500)), None, at(400)),
        Some(at(500))
    );
    assert!(attempt(&mut e, 1, at(500)));
    // What was tried in vain is not younger for being tried again.
    assert_eq!(
        change(&mut e, 1, Some(at(600)), Some(false), at(600)),
        Some(at(500))
    );
    assert_eq!(change(&mut e, 2, None, Some(true), at(10)), None);
    assert!(!attempt(&mut e, 2, at(20)));
    assert_eq!(change(&mut e, 2, None, Some(false), at(700)), Some(at(700)));
    assert!(attempt(&mut e, 2, at(700)));
    e.check();
}

#[test]
fn what_left_the_queue_in_one_second_is_told_page_by_page() {
    let (mut e, a) = Engine::with_account();
    let groups = (0..7).map(|n| group(&[&format!("x@d{n}.example")]));
    let job = submission(&mut e, a, 100, groups.collect());
    let ids = e.run(|reads| deliver(reads, &job)).unwrap().queued;
    let now = e.now;
    for id in &ids {
        e.run(|reads| queue_drop(reads, *id, None, now)).unwrap();
    }
    let (mut told, mut from) = (Vec::new(), Some(RetiredAt::default()));
    let mut pages = 0;
    while let Some(first) = from {
        let (page, next) = retired_page(&e.rows, first, 3).unwrap();
        told.extend(page.into_iter().map(|retired| retired.entry));
        (from, pages) = (next, pages + 1);
    }
    assert_eq!((told, pages), (ids, 3));
}

#[test]
fn what_left_the_queue_is_found_by_its_number_without_reading_the_rest() {
    let (mut e, a) = Engine::with_account();
    let drop_all = |e: &mut Engine, ids: &[u64]| {
        for id in ids {
            e.now = e.now + std::time::Duration::from_secs(1);
            let now = e.now;
            let dropped = e.run(|reads| queue_drop(reads, *id, None, now));
            assert_eq!(dropped, Ok(true));
        }
    };
    for _ in 0..100 {
        let groups = vec![group(&["x@b.example"]), group(&["y@c.example"])];
        let job = submission(&mut e, a, 5, groups);
        let ids = e.run(|reads| deliver(reads, &job)).unwrap().queued;
        drop_all(&mut e, &[ids[1], ids[0]]);
    }
    let entries = |found: &[Retired]| -> Vec<u64> { found.iter().map(|r| r.entry).collect() };
    let by_number = |rows: &MemRows, id| {
        let counting = Counted::new(rows);
        let found = retired_beside(&counting, id, 9).unwrap();
        (entries(&found), counting.read.get())
    };
    // The oldest first, by whichever number.
    for id in [101, 102] {
        let (found, reads) = by_number(&e.rows, id);
        assert_eq!(found, [102, 101]);
        assert!(reads < 12, "{reads}");
    }
    let (found, reads) = by_number(&e.rows, 999);
    assert_eq!(found, [0; 0]);
    assert!(reads < 12, "{reads}");
    assert_eq!(entries(&retired_of_message(&e.rows, 1, 9).unwrap()), [2, 1]);
    assert_eq!(entries(&retired_of_message(&e.rows, 1, 1).unwrap()), [2]);

    // As earlier programs left it: without an index, which begins with what leaves next.
    let mut before = Batch::default();
    let is_index = |key: &[u8]| key[0] == Table::RetiredIndex as u8 || key == [1, 0, 0, 0, 0, 3];
    let keys = e.rows.iter(Space::Rows).map(|(key, _)| key.to_vec());
    for key in keys.filter(|key| is_index(key)) {
        before.writes.push((Space::Rows, key, None));
    }
    assert_eq!(before.writes.len(), 201);
    e.rows.apply(&before);
    assert_eq!(by_number(&e.rows, 101).0, [102, 101]);
    let groups = vec![group(&["x@b.example"]), group(&["y@c.example"])];
    let job = submission(&mut e, a, 5, groups);
    e.run(|reads| deliver(reads, &job)).unwrap();
    drop_all(&mut e, &[201]);
    assert_eq!(by_number(&e.rows, 101).0, [102, 101]);
    assert_eq!(by_number(&e.rows, 201).0, [201]);
    assert_eq!(by_number(&e.rows, 202).0, [0; 0]);

    // What is forgotten leaves nothing behind.
    let later = e.now + std::time::Duration::from_secs(1);
    while e.run(|reads| purge_retired(reads, later)).unwrap() != Progress::Done {}
    assert_eq!(by_number(&e.rows, 201).0, [0; 0]);
    let rows = e.rows.iter(Space::Rows);
    assert_eq!(
        rows.filter(|(key, _)| key[0] == Table::RetiredIndex as u8)
            .count(),
        0
    );
}

#[test]
fn many_groups_fit_one_operation_and_limits_hold() {
    let (mut e, a) = Engine::with_account();
    let groups = |n| {
        (0..n)
            .map(|i| group(&[&format!("x@d{i}.example")]))
            .collect::<Vec<_>>()
    };
    // 64 groups are entries of their own; more are written in bundles.
    for (count, entries) in [(64, 64), (65, 2), (1_000, 16)] {
        let job = submission(&mut e, a, 100, groups(count));
        let done = e.run(|reads| deliver(reads, &job)).unwrap();
        assert_eq!(done.queued.len(), entries);
    }
    e.check();
    let refused = |e: &mut Engine, groups| {
        let job = submission(e, a, 100, groups);
        e.run(|reads| deliver(reads, &job)).unwrap_err()
    };
    let many = vec!["a@b"; RECIPIENTS_MAX + 1];
    let long = format!("{}@b", "a".repeat(ADDRESS_MAX));
    assert_eq!(
        refused(&mut e, groups(300_000)),
        Stop::TooMany(Limit::Batch)
    );
    assert_eq!(refused(&mut e, vec![]), Stop::TooMany(Limit::Recipients));
    assert_eq!(
        refused(&mut e, vec![group(&[])]),
        Stop::TooMany(Limit::Recipients)
    );
    assert_eq!(
        refused(&mut e, vec![group(&many)]),
        Stop::TooMany(Limit::Recipients)
    );
    assert_eq!(
        refused(&mut e, vec![group(&[&long])]),
        Stop::TooMany(Limit::Address)
    );
    e.check();
    // The largest entry there can be is within the limit of a value.
    let address = "a".repeat(ADDRESS_MAX);
    let mut largest = group(&vec![&address[..]; RECIPIENTS_MAX]);
    for to in &mut largest.recipients {
        to.filed = Some(Filed {
            account: AccountId(u32::MAX),
            mailbox: "m".repeat(20),
            fields: "f".repeat(60),
            origin: Bytes::from(vec![7; 60]),
            seen: true,
        });
        let left = RECIPIENTS_OCTETS_MAX / RECIPIENTS_MAX - to.octets();
        to.dsn = "d".repeat(left);
    }
    let job = submission(&mut e, a, 100, vec![largest]);
    let id = e.run(|reads| deliver(reads, &job)).unwrap().queued[0];
    let text = "t".repeat(3_000);
    let long_by = || Reached {
        host: text.clone(),
        tls: text.clone(),
        status: text.clone(),
        from_peer: true,
        ambiguous: 1,
    };
    for _ in 0..ATTEMPTS_KEPT {
        let now = e.now;
        e.run(|reads| queue_attempt(reads, id, &text, now, now))
            .unwrap();
        let mut all = outcome(&e, vec![Fate::Deferred(text.clone()); RECIPIENTS_MAX]);
        (all.text, all.host, all.tls) = (text.clone(), text.clone(), text.clone());
        all.reached = vec![long_by(); RECIPIENTS_MAX];
        all.steps.lines = vec![text.clone(); 1_000];
        e.run(|reads| queue_outcome(reads, id, &all)).unwrap();
    }
    let mut all = outcome(&e, vec![Fate::Failed(text.clone()); RECIPIENTS_MAX]);
    all.reached = vec![long_by(); RECIPIENTS_MAX];
    e.run(|reads| queue_outcome(reads, id, &all)).unwrap();
    e.check();
}

#[test]
fn telling_of_a_delay_is_noted_with_the_notice_in_one_operation() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let (now, notice) = (e.now, e.delivery(60, vec![target(a, "INBOX")]));
    let entry = e
        .run(|reads| queue_delay_told(reads, 1, Some(&notice), now))
        .unwrap();
    assert!(entry.delay_told);
    assert_eq!(queue_entry(&e.rows, 1).unwrap(), Some(entry));
    assert_eq!(e.status(a, "INBOX").messages, 1);
    e.check();
}

#[test]
fn notices_are_delivered_also_to_who_is_over_quota() {
    let (mut e, a) = Engine::with_account();
    let groups = vec![group(&["x@b.example"]), group(&["y@c.example"])];
    let job = submission(&mut e, a, 100, groups);
    e.run(|reads| deliver(reads, &job)).unwrap();
    e.run(|reads| set_quota(reads, a, Some(1))).unwrap();
    let ordinary = e.delivery(60, vec![target(a, "INBOX")]);
    assert_eq!(
        e.run(|reads| deliver(reads, &ordinary)),
        Err(Stop::OverQuota(a))
    );
    let mut failed = outcome(&e, vec![Fate::Failed("550 no".into())]);
    failed.notice = Some(e.delivery(60, vec![target(a, "INBOX")]));
    let settled = e.run(|reads| queue_outcome(reads, 1, &failed)).unwrap();
    assert_eq!(settled.entry, None);
    let (now, notice) = (e.now, e.delivery(60, vec![target(a, "INBOX")]));
    e.run(|reads| queue_delay_told(reads, 2, Some(&notice), now))
        .unwrap();
    assert_eq!(e.status(a, "INBOX").messages, 2);
    e.check();
}

#[test]
fn a_delay_that_was_told_while_the_attempt_ran_is_not_told_again_by_its_outcome() {
    let (mut e, a) = Engine::with_account();
    // The notices are files: whose is not wanted is removed.
    let notice = |e: &mut Engine| e.delivery(30_000, vec![target(a, "INBOX")]);
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example", "y@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let (now, told) = (e.now, notice(&mut e));
    e.run(|reads| queue_delay_told(reads, 1, Some(&told), now))
        .unwrap();
    let deferred = Fate::Deferred("450 later".into());
    let mut again = outcome(&e, vec![deferred.clone(), deferred.clone()]);
    again.delay_told = true;
    again.notice = Some(notice(&mut e));
    let settled = e.run(|reads| queue_outcome(reads, 1, &again)).unwrap();
    assert_eq!(settled.notice, None);
    assert_eq!((e.status(a, "INBOX").messages, e.files.len()), (1, 1));
    e.check();
    // A failure is told, whatever was told before.
    let mut failed = outcome(&e, vec![Fate::Failed("550 no".into()), deferred]);
    failed.notice = Some(notice(&mut e));
    let settled = e.run(|reads| queue_outcome(reads, 1, &failed)).unwrap();
    assert!(settled.notice.is_some());
    assert_eq!(e.status(a, "INBOX").messages, 2);
    e.check();
}

fn by(host: &str, tls: &str, status: &str, ambiguous: u32) -> Reached {
    Reached {
        host: host.into(),
        tls: tls.into(),
        status: status.into(),
        from_peer: true,
        ambiguous,
    }
}

#[test]
fn what_was_said_of_each_recipient_is_kept_by_itself() {
    let (mut e, a) = Engine::with_account();
    let to = ["carol@b.example", "dave@b.example", "eve@b.example"];
    let job = submission(&mut e, a, 100, vec![group(&to)]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let now = e.now;
    e.run(|reads| queue_attempt(reads, 1, "direct", now, now))
        .unwrap();
    let mut first = outcome(
        &e,
        vec![
            Fate::Deferred("452 4.2.2 mailbox full".into()),
            Fate::Deferred("451 4.7.1 greylisted".into()),
            delivered(),
        ],
    );
    first.reached = vec![
        by("mx1", "TLSv1.3", "4.2.2", 0),
        by("mx2", "in clear", "4.7.1", 1),
        by("mx1", "TLSv1.3", "2.0.0", 0),
    ];
    let entry = e.run(|reads| queue_outcome(reads, 1, &first)).unwrap();
    let entry = entry.entry.unwrap();
    let said: Vec<Said> = (entry.recipients.iter())
        .filter_map(|to| to.last.clone())
        .collect();
    assert_eq!(
        said,
        [
            Said {
                text: "452 4.2.2 mailbox full".into(),
                by: by("mx1", "TLSv1.3", "4.2.2", 0)
            },
            Said {
                text: "451 4.7.1 greylisted".into(),
                by: by("mx2", "in clear", "4.7.1", 1)
            },
        ]
    );
    let [attempt] = &entry.attempts[..] else {
        panic!()
    };
    assert_eq!((attempt.ambiguous, entry.ambiguous), (true, 1));
    e.later(450);
    let now = e.now;
    e.run(|reads| queue_attempt(reads, 1, "direct", now, now))
        .unwrap();
    let mut second = outcome(&e, vec![delivered(), delivered()]);
    second.reached = vec![
        by("mx1", "in clear", "2.0.0", 0),
        by("mx2", "TLSv1.2", "2.0.0", 0),
    ];
    e.run(|reads| queue_outcome(reads, 1, &second)).unwrap();
    let left = retired(&e.rows, Utc::from_secs(0), 9).unwrap();
    let [eve, both] = &left[..] else { panic!() };
    assert_eq!(eve.reached, [by("mx1", "TLSv1.3", "2.0.0", 0)]);
    assert_eq!(
        both.reached,
        [
            by("mx1", "in clear", "2.0.0", 0),
            // How often its answer was lost is not forgotten.
            by("mx2", "TLSv1.2", "2.0.0", 1),
        ]
    );
    assert_eq!((eve.attempts.len(), both.attempts.len()), (1, 2));
    assert_eq!((eve.ambiguous, both.ambiguous), (1, 1));
    e.check();
}

#[test]
fn the_steps_of_the_last_attempt_stay_as_long_as_what_left_by_it() {
    let (mut e, a) = Engine::with_account();
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example", "y@b.example"])]);
    e.run(|reads| deliver(reads, &job)).unwrap();
    let attempt = |e: &mut Engine, fates, lines: &[&str]| {
        let now = e.now;
        e.run(|reads| queue_attempt(reads, 1, "direct", now, now))
            .unwrap();
        let mut outcome = outcome(e, fates);
        outcome.steps.lines = lines.iter().map(|&line| line.into()).collect();
        e.run(|reads| queue_outcome(reads, 1, &outcome)).unwrap();
    };
    let kept = |e: &Engine| queue_transcript(&e.rows, 1).unwrap();
    let steps = |e: &Engine| kept(e).map(|kept| (kept.attempt, kept.steps.join(" ")));
    let later = || Fate::Deferred("450 later".into());
    attempt(&mut e, vec![later(), delivered()], &["EHLO", "MAIL"]);
    assert_eq!(steps(&e), Some((1, "EHLO MAIL".into())));
    e.later(DAY);
    attempt(&mut e, vec![later()], &[]);
    assert_eq!(steps(&e), None);
    e.later(DAY);
    attempt(&mut e, vec![delivered()], &["EHLO", "RCPT"]);
    assert_eq!(steps(&e), Some((3, "EHLO RCPT".into())));
    // What left first is forgotten first.
    let purge = |e: &mut Engine, secs| {
        let before = Utc::from_secs(secs);
        let _ = e.run(|reads| purge_retired(reads, before)).unwrap();
    };
    purge(&mut e, START + DAY);
    assert_eq!(retired(&e.rows, Utc::from_secs(0), 9).unwrap().len(), 1);
    assert_eq!(steps(&e), Some((3, "EHLO RCPT".into())));
    let now = e.now.secs();
    purge(&mut e, now + 1);
    assert_eq!(kept(&e), None);
    e.check();
    // There is an end to what is kept.
    let job = submission(&mut e, a, 100, vec![group(&["x@b.example"])]);
    let id = e.run(|reads| deliver(reads, &job)).unwrap().queued[0];
    let mut many = outcome(&e, vec![later()]);
    many.steps.lines = (0..30)
        .map(|n| format!("{n:02}{}", "x".repeat(1_000)))
        .collect();
    many.steps.left_out = 7;
    e.run(|reads| queue_outcome(reads, id, &many)).unwrap();
    let kept = queue_transcript(&e.rows, id).unwrap().unwrap();
    assert_eq!((kept.steps.len(), kept.left_out), (16, 21));
    assert!(kept.steps.iter().all(|step| step.len() == STEP_MAX));
    assert!(kept.steps[15].starts_with("29"));
}
