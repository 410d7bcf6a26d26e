//! Copies of mail that was not taken: one of each message, limited in number and age, and gone when the message is taken.
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
use mox_mailbox::*;
use mox_uids::UidSet;

const BUDGET: DecisionBudget = DecisionBudget {
    octets: 1 << 20,
    spare: 1 << 20,
};

/// Refuses a message that is known by these.
fn refuse(engine: &mut Engine, account: AccountId, hashes: &[u64]) {
    refuse_into(engine, account, "Rejects", hashes);
}

fn refuse_into(engine: &mut Engine, account: AccountId, mailbox: &str, hashes: &[u64]) {
    let length = if hashes[0].is_multiple_of(2) {
        100
    } else {
        20_000
    };
    let target = Target {
        account,
        mailbox: mailbox.into(),
        create: true,
        prefix: Bytes::new(),
        flags: Flags::SEEN,
        keywords: Vec::new(),
        date: engine.now,
        origin: Bytes::new(),
    };
    let rejected = Rejected {
        delivery: engine.delivery(length, vec![target]),
        hashes: hashes.to_vec(),
    };
    let decision = NewDecision {
        keys: vec!["bob@far.example".into()],
        record: Bytes::from_static(b"why"),
        at: engine.now,
        is_spare: false,
        observations: Vec::new(),
    };
    engine
        .run(|reads| keep_rejected(reads, &decision, BUDGET, &rejected))
        .unwrap();
}

/// Takes a message that is known by these into INBOX.
fn take(engine: &mut Engine, account: AccountId, hashes: &[u64]) {
    take_and(engine, account, hashes, Vec::new());
}

/// The same, for these accounts copies stay.
fn take_and(engine: &mut Engine, account: AccountId, hashes: &[u64], keeping: Vec<AccountId>) {
    let target = Target {
        account,
        mailbox: "INBOX".into(),
        create: true,
        prefix: Bytes::new(),
        flags: Flags::NONE,
        keywords: Vec::new(),
        date: engine.now,
        origin: Bytes::new(),
    };
    let delivery = engine.delivery(100, vec![target]);
    let beside = Beside {
        known_by: hashes.to_vec(),
        keeping,
        ..Beside::default()
    };
    engine
        .run(|reads| deliver_beside(reads, &delivery, &beside))
        .unwrap();
}

fn uids(engine: &Engine, account: AccountId) -> Vec<u32> {
    let mailbox = engine.id(account, "Rejects");
    let selected = select(&engine.rows, account, mailbox).unwrap().unwrap();
    selected.uids.iter().map(|uid| uid.0).collect()
}

fn mark_not_junk(engine: &mut Engine, account: AccountId, uid: u32) {
    let job = Mark {
        account,
        mailbox: engine.id(account, "Rejects"),
        uids: UidSet::from_runs([uid..=uid]),
        how: MarkHow::Add,
        flags: Flags::NONE,
        keywords: vec![NOT_JUNK.into()],
        unchanged_since: None,
    };
    engine.mark(&job).unwrap();
}

#[test]
fn there_is_one_copy_of_a_message_and_none_once_it_is_taken() {
    let (mut engine, account) = Engine::with_account();
    // By identifier and content; the second has another content, the third another identifier.
    refuse(&mut engine, account, &[1, 10]);
    refuse(&mut engine, account, &[1, 11]);
    refuse(&mut engine, account, &[2, 10]);
    assert_eq!(uids(&engine, account), [1]);
    assert_eq!(has_reject(&engine.rows, account, &[10]), Ok(true));
    refuse(&mut engine, account, &[3]);
    engine.check();
    take(&mut engine, account, &[4]);
    assert_eq!(uids(&engine, account), [1, 2]);
    // Who wants that keeps it all the same.
    take_and(&mut engine, account, &[1], vec![account]);
    assert_eq!(uids(&engine, account), [1, 2]);
    take(&mut engine, account, &[1]);
    assert_eq!(uids(&engine, account), [2]);
    assert_eq!(has_reject(&engine.rows, account, &[10]), Ok(false));
    assert_eq!(
        decisions(&engine.rows, "bob@far.example", 9).unwrap().len(),
        4
    );
    engine.check();
}

#[test]
fn one_that_was_deleted_is_kept_again_and_one_that_was_marked_is_the_owners() {
    let (mut engine, account) = Engine::with_account();
    refuse(&mut engine, account, &[1]);
    let mailbox = engine.id(account, "Rejects");
    let one = UidSet::from_runs([1..=1]);
    engine
        .expunge(account, mailbox, &Doomed::These(one))
        .unwrap();
    refuse(&mut engine, account, &[1]);
    refuse(&mut engine, account, &[3]);
    assert_eq!(uids(&engine, account), [2, 3]);
    mark_not_junk(&mut engine, account, 2);
    take(&mut engine, account, &[1]);
    take(&mut engine, account, &[3]);
    assert_eq!(uids(&engine, account), [2]);
    engine.check();
}

#[test]
fn old_copies_go_and_where_there_are_too_many_no_more_are_kept() {
    let (mut engine, account) = Engine::with_account();
    // What somebody put there is no copy of ours.
    engine.put(account, "Rejects");
    for n in 0..u64::from(REJECTS_MAX) + 5 {
        refuse(&mut engine, account, &[n * 2]);
        engine.later(1);
    }
    let now = uids(&engine, account);
    assert_eq!(now, (1..=REJECTS_MAX).collect::<Vec<_>>());
    mark_not_junk(&mut engine, account, 8);
    engine.check();
    engine.later(REJECT_SECS - 500);
    let before = mox_machine::Utc::from_secs(engine.now.secs() - REJECT_SECS);
    let now = engine.now;
    let mut steps = 0;
    while engine
        .run(|reads| purge_rejects(reads, account, before, now))
        .unwrap()
        != Progress::Done
    {
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
    let left = uids(&engine, account);
    assert_eq!(left[..3], [1, 8, 507], "{left:?}");
    refuse(&mut engine, account, &[1]);
    assert_eq!(uids(&engine, account).len(), left.len() + 1);
    engine.check();
}

#[test]
fn old_copies_go_although_the_mailbox_before_theirs_has_young_ones() {
    let (mut engine, account) = Engine::with_account();
    engine.create(account, "Rejects").unwrap();
    engine.create(account, "Refused").unwrap();
    refuse_into(&mut engine, account, "Refused", &[2]);
    engine.later(REJECT_SECS);
    for n in 0..150 {
        refuse(&mut engine, account, &[100 + n * 2]);
    }
    let now = engine.now;
    let purged = engine.run(|reads| purge_rejects(reads, account, now, now));
    assert_eq!(purged, Ok(Progress::Done));
    assert_eq!(engine.status(account, "Refused").messages, 0);
    assert_eq!(uids(&engine, account).len(), 150);
    engine.check();
}

#[test]
fn copies_take_a_twentieth_of_a_quota_and_no_more() {
    let (mut engine, account) = Engine::with_account();
    engine
        .run(|reads| set_quota(reads, account, Some(20 * 350)))
        .unwrap();
    for n in 0..9 {
        refuse(&mut engine, account, &[2 * n]);
    }
    assert_eq!(uids(&engine, account), [1, 2, 3]);
    engine.check();
}

#[test]
fn who_has_no_room_keeps_no_copy_and_keeps_no_other_from_one() {
    let (mut engine, ann) = Engine::with_account();
    let bob = engine.account("bob", None).unwrap();
    let target = |account| Target {
        prefix: Bytes::from_static(b"X: before\r\n"),
        ..target(account, "Rejects")
    };
    // There is room for a copy of Ann's, and not for what stands before it.
    engine.put(ann, "INBOX");
    let used = usage(&engine.rows, ann).unwrap().octets;
    let quota = Some(used + 105);
    engine.run(|reads| set_quota(reads, ann, quota)).unwrap();
    let rejected = Rejected {
        delivery: engine.delivery(100, vec![target(ann), target(bob)]),
        hashes: vec![2],
    };
    let decision = NewDecision {
        keys: vec!["bob@far.example".into()],
        record: Bytes::from_static(b"why"),
        at: engine.now,
        is_spare: false,
        observations: Vec::new(),
    };
    engine
        .run(|reads| keep_rejected(reads, &decision, BUDGET, &rejected))
        .unwrap();
    assert_eq!(uids(&engine, bob), [1]);
    assert!(!engine.names(ann).contains(&"Rejects".to_owned()));
    assert_eq!(
        decisions(&engine.rows, "bob@far.example", 9).unwrap().len(),
        1
    );
    engine.check();
}

#[test]
fn what_many_were_put_off_with_is_taken_by_all_of_them() {
    for count in [1, 40, 55, 70, 100] {
        let (mut engine, first) = Engine::with_account();
        let mut all = vec![first];
        for n in 1..count {
            all.push(engine.account(&format!("more{n}"), None).unwrap());
        }
        for account in &all {
            refuse(&mut engine, *account, &[2]);
        }
        let targets = all.iter().map(|account| Target {
            account: *account,
            mailbox: "INBOX".into(),
            create: true,
            prefix: Bytes::new(),
            flags: Flags::NONE,
            keywords: Vec::new(),
            date: engine.now,
            origin: Bytes::new(),
        });
        let delivery = engine.delivery(100, targets.collect());
        let beside = Beside {
            known_by: vec![2],
            ..Beside::default()
        };
        // Copies that are more than one operation removes go when they are old.
        let delivered = engine
            .run(|reads| deliver_beside(reads, &delivery, &beside))
            .unwrap();
        assert_eq!(delivered.placed.len(), count);
        let has_one = has_reject(&engine.rows, first, &[2]);
        assert_eq!(has_one, Ok(count >= 55), "{count}");
        engine.check();
    }
}

#[test]
fn a_copy_that_its_owner_takes_out_by_moving_is_wanted_and_nothing_else_is() {
    for (to, learned) in [("INBOX", 1), ("Archive", 1), ("Trash", 0), ("Junk", 0)] {
        let (mut engine, account) = Engine::with_account();
        for name in ["Archive", "Trash", "Junk"] {
            let _ = engine.create(account, name);
        }
        refuse(&mut engine, account, &[2]);
        engine.put(account, "Rejects");
        let wanted = |engine: &Engine| {
            let names = mailbox_keywords(&engine.rows, account, engine.id(account, to)).unwrap();
            let bit = names.iter().position(|name| name == NOT_JUNK);
            let all = engine.all(account, engine.id(account, to));
            let has = |row: &Row| bit.is_some_and(|bit| row.keywords >> bit & 1 == 1);
            all.iter().filter(|row| has(row)).count()
        };
        let job = Copy {
            account,
            from: engine.id(account, "Rejects"),
            uids: UidSet::from_runs([1..=2]),
            to: to.into(),
            remove: true,
            rejects: Some("Rejects".into()),
            now: engine.now,
        };
        engine.copy(&job).unwrap();
        // The other one was put there by its owner. Out of Rejects into a mailbox of no kind that says nothing.
        assert_eq!(wanted(&engine), learned, "{to}");
        engine.check();
        // It is the owner's now, also when the message is taken.
        take(&mut engine, account, &[2]);
        assert_eq!(wanted(&engine), learned, "{to}");
        engine.check();
    }
}
