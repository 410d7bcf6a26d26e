//! Delivering, marking, copying, expunging, and what readers are told of it.
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
use mox_uids::{Uid, UidSet};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

#[test]
fn one_message_for_three_mailboxes_is_one_batch_and_one_body() {
    let (mut e, a) = Engine::with_account();
    let b = e.account("other", None).unwrap();
    let targets = vec![
        target(a, "inbox"),
        target(b, "INBOX"),
        target(a, "Lists/Rust"),
    ];
    let delivery = e.delivery(100, targets);
    let delivered = e.run(|reads| deliver(reads, &delivery)).unwrap();
    let places: Vec<_> = delivered
        .placed
        .iter()
        .map(|p| (p.account, p.uid.0, p.modseq))
        .collect();
    assert_eq!(places, [(a, 1, 2), (b, 1, 2), (a, 1, 2)]);
    assert_eq!(e.rows.iter(Space::Bodies).count(), 1);
    assert!(e.names(a).contains(&"Lists".into()), "parents are made");
    let mailboxes = |touched: &&Touched| matches!(touched, Touched::Mailbox { .. });
    assert_eq!(e.last.touched.iter().filter(mailboxes).count(), 3);
    e.check();

    let meta = meta(&e.rows, a, e.id(a, "INBOX"), Uid(1)).unwrap().unwrap();
    assert_eq!(meta.size, 117, "prefix and body");
    assert_eq!(meta.prefix, "Delivered-To: x\r\n");
    assert_eq!(meta.structure.unwrap(), "structure");
    assert_eq!(meta.origin, "origin");
    assert_eq!(meta.saved, e.now);
    let (_, row) = e.rows.iter(Space::Bodies).next().unwrap();
    let header = BodyHeader::decode(row).unwrap();
    assert_eq!(
        (header.account, header.uid, header.body),
        (a, Uid(1), meta.body)
    );
    assert_eq!(header.mailbox, e.id(a, "INBOX"));
    assert_eq!(
        usage(&e.rows, a).unwrap(),
        Usage {
            octets: 234,
            messages: 2
        }
    );
}

#[test]
fn append_does_not_make_mailboxes_and_refuses_what_is_wrong() {
    let (mut e, a) = Engine::with_account();
    let refused = |e: &mut Engine, change: &dyn Fn(&mut Target)| {
        let mut one = target(a, "INBOX");
        change(&mut one);
        let delivery = e.delivery(10, vec![one]);
        e.run(|reads| deliver(reads, &delivery)).unwrap_err()
    };
    let mut name = |name: &str| {
        let name = name.to_owned();
        refused(&mut e, &move |t| {
            (t.mailbox, t.create) = (name.clone(), false);
        })
    };
    assert_eq!(name("Missing"), Stop::NoSuchMailbox);
    assert!(matches!(name("a//b"), Stop::BadMailboxName(_)));
    let keyword = |k: &str| {
        let k = k.to_owned();
        move |t: &mut Target| t.keywords = vec![k.clone()]
    };
    assert_eq!(refused(&mut e, &keyword("two words")), Stop::BadKeyword);
    assert_eq!(refused(&mut e, &keyword("")), Stop::BadKeyword);
    assert_eq!(refused(&mut e, &keyword("\\Seen")), Stop::BadKeyword);
    let long = Bytes::from(vec![b'x'; PREFIX_MAX + 1]);
    let prefix = |t: &mut Target| t.prefix = long.clone();
    assert_eq!(refused(&mut e, &prefix), Stop::TooMany(Limit::Prefix));
    let nobody = |t: &mut Target| t.account = AccountId(99);
    assert_eq!(refused(&mut e, &nobody), Stop::NoSuchAccount);
    let mut lie = e.delivery(10, vec![target(a, "INBOX")]);
    if let Body::New(new) = &mut lie.body {
        new.length = 11;
    }
    assert!(matches!(
        e.run(|reads| deliver(reads, &lie)),
        Err(Stop::NoSuchBody(_))
    ));
    let nobody_has = BodyRef {
        id: BodyId {
            boot: 9,
            counter: 9,
        },
        length: 1,
        blake3: [0; 32],
    };
    lie.body = Body::Stored(nobody_has);
    assert_eq!(
        e.run(|reads| deliver(reads, &lie)),
        Err(Stop::NoSuchBody(nobody_has.id))
    );
    e.check();
    assert_eq!(e.rows.iter(Space::Bodies).count(), 0, "nothing was written");
}

#[test]
fn five_hundred_messages_are_appended_in_one_operation() {
    let (mut e, account) = Engine::with_account();
    let messages: Vec<_> = (0..500)
        .map(|_| e.delivery(10 * 1024, vec![target(account, "INBOX")]))
        .collect();
    let now = messages[0].now;
    let placed = e.run(|reads| append(reads, &messages, None, now)).unwrap();
    assert_eq!(placed.len(), 500);
    assert!(placed.iter().all(|at| at.modseq == placed[0].modseq));
    e.check();
}

#[test]
fn a_hundred_targets_fit_one_operation_and_too_many_are_refused_whole() {
    let mut e = Engine::new();
    let accounts: Vec<_> = (0..600)
        .map(|i| e.account(&format!("u{i}"), None).unwrap())
        .collect();
    let targets: Vec<_> = accounts.iter().map(|&a| target(a, "INBOX")).collect();
    let all = e.delivery(20_000, targets.clone());
    assert_eq!(
        e.run(|reads| deliver(reads, &all)),
        Err(Stop::TooMany(Limit::Batch))
    );
    e.files.clear();
    let some = e.delivery(20_000, targets[..100].to_vec());
    e.run(|reads| deliver(reads, &some)).unwrap();
    e.check();
}

#[test]
fn a_message_for_nobody_leaves_nothing_behind() {
    let (mut e, _) = Engine::with_account();
    let delivery = e.delivery(50_000, Vec::new());
    assert_eq!(
        e.run(|reads| deliver(reads, &delivery)),
        Ok(Delivered::default())
    );
    assert_eq!(e.rows.unlinked().len(), 1);
    e.check();
}

#[test]
fn large_structures_are_left_out_and_long_headers_are_cut() {
    let (mut e, a) = Engine::with_account();
    let mut delivery = e.delivery(200_000, vec![target(a, "INBOX")]);
    delivery.structure = Bytes::from(vec![1; STRUCTURE_MAX + 1]);
    delivery.header = Bytes::from(vec![b'h'; HEADER_MAX + 1]);
    delivery.targets[0].prefix = Bytes::from(vec![b'p'; PREFIX_MAX]);
    delivery.targets[0].origin = Bytes::from(vec![b'o'; ORIGIN_MAX]);
    e.run(|reads| deliver(reads, &delivery)).unwrap();
    delivery.body = Body::New(e.body(200_000));
    delivery.structure = Bytes::from(vec![1; STRUCTURE_MAX]);
    delivery.header = Bytes::from(vec![b'h'; HEADER_MAX]);
    e.run(|reads| deliver(reads, &delivery)).unwrap();
    let inbox = e.id(a, "INBOX");
    let of = |uid| {
        let header = header(&e.rows, a, inbox, uid).unwrap().unwrap();
        let meta = meta(&e.rows, a, inbox, uid).unwrap().unwrap();
        (
            meta.structure.map(|s| s.len()),
            header.octets.len(),
            header.cut,
        )
    };
    assert_eq!(of(Uid(1)), (None, HEADER_MAX, true));
    assert_eq!(of(Uid(2)), (Some(STRUCTURE_MAX), HEADER_MAX, false));
    e.check();
    // Even the largest rows are copied within the limits of a batch.
    let job = Copy {
        account: a,
        from: inbox,
        uids: set("1:9"),
        to: "Archive".into(),
        remove: false,
        rejects: None,
        now: e.now,
    };
    assert_eq!(e.copy(&job).unwrap().1, set("1:2"));
    e.check();
}

#[test]
fn quotas_hold_for_delivery_and_copy_and_are_freed_by_expunge() {
    let mut e = Engine::new();
    let a = e.account("small", Some(300)).unwrap();
    e.put(a, "INBOX");
    e.put(a, "INBOX");
    assert!(!has_room(&e.rows, a, 100).unwrap());
    assert!(has_room(&e.rows, a, 66).unwrap());
    let third = e.delivery(100, vec![target(a, "INBOX")]);
    assert_eq!(
        e.run(|reads| deliver(reads, &third)),
        Err(Stop::OverQuota(a))
    );
    let inbox = e.id(a, "INBOX");
    let mut job = Copy {
        account: a,
        from: inbox,
        uids: set("1:2"),
        to: "Archive".into(),
        remove: false,
        rejects: None,
        now: e.now,
    };
    assert_eq!(e.copy(&job), Err(Stop::OverQuota(a)));
    job.remove = true;
    assert_eq!(
        e.copy(&job),
        Ok((set("1:2"), set("1:2"), 1)),
        "a move needs no room"
    );
    let archive = e.id(a, "Archive");
    e.expunge(a, archive, &Doomed::These(set("1"))).unwrap();
    e.run(|reads| deliver(reads, &third)).unwrap();
    e.check();
}

#[test]
fn flags_and_keywords_change_as_store_says() {
    let (mut e, a) = Engine::with_account();
    let inbox = e.id(a, "INBOX");
    for _ in 0..4 {
        e.put_with(a, "INBOX", Flags::SEEN, &["$Work"]);
    }
    let mut job = Mark {
        account: a,
        mailbox: inbox,
        uids: set("2:3,9"),
        how: MarkHow::Add,
        flags: Flags::FLAGGED,
        keywords: vec!["$work".into(), "later".into()],
        unchanged_since: None,
    };
    let (rows, _) = e.mark(&job).unwrap();
    let of = |rows: &[Row]| -> Vec<_> {
        rows.iter()
            .map(|r| (r.uid.0, r.modseq, r.flags.0, r.keywords))
            .collect()
    };
    assert_eq!(of(&rows), [(2, 6, 5, 3), (3, 6, 5, 3)]);
    assert_eq!(
        mailbox_keywords(&e.rows, a, inbox).unwrap(),
        ["$Work", "later"]
    );
    // The same again changes nothing and writes nothing.
    let (rows, _) = e.mark(&job).unwrap();
    assert_eq!(of(&rows), [(2, 6, 5, 3), (3, 6, 5, 3)]);
    assert_eq!(e.last, Batch::default());
    // It has no modification sequence then: that of the mailbox may be somebody else's.
    let step = e.run(|reads| mark(reads, &job, Uid(1))).unwrap();
    assert_eq!(step.modseq, 0);
    (job.how, job.uids) = (MarkHow::Set, set("1:2"));
    (job.flags, job.keywords) = (Flags::DELETED | Flags::DRAFT, vec![]);
    assert_eq!(of(&e.mark(&job).unwrap().0), [(1, 7, 24, 0), (2, 7, 24, 0)]);
    assert_eq!(
        (e.status(a, "INBOX").unseen, e.status(a, "INBOX").deleted),
        (2, 2)
    );
    assert_eq!(unseen(&e.rows, a, inbox).unwrap(), set("1:2"));
    (job.how, job.keywords) = (MarkHow::Remove, vec!["unknown".into()]);
    assert_eq!(of(&e.mark(&job).unwrap().0), [(1, 8, 0, 0), (2, 8, 0, 0)]);
    assert_eq!(
        mailbox_keywords(&e.rows, a, inbox).unwrap().len(),
        2,
        "not added to be removed"
    );
    e.check();
}

#[test]
fn unchanged_since_leaves_newer_messages_alone_and_names_them() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..3 {
        e.put(a, "INBOX");
    }
    let job = Mark {
        account: a,
        mailbox: e.id(a, "INBOX"),
        uids: set("1:3"),
        how: MarkHow::Add,
        flags: Flags::SEEN,
        keywords: vec![],
        unchanged_since: Some(3),
    };
    let (rows, modified) = e.mark(&job).unwrap();
    assert_eq!(rows.iter().map(|r| r.uid.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(modified, set("3"));
    e.check();
}

#[test]
fn a_mailbox_has_sixty_four_keywords_and_no_more() {
    let (mut e, a) = Engine::with_account();
    let keywords: Vec<_> = (0..64).map(|i| format!("k{i}")).collect();
    let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
    e.put_with(a, "INBOX", Flags::NONE, &keywords);
    assert_eq!(e.all(a, e.id(a, "INBOX"))[0].keywords, u64::MAX);
    let mut one = target(a, "INBOX");
    one.keywords = vec!["another".into()];
    let delivery = e.delivery(10, vec![one]);
    let refused = e.run(|reads| deliver(reads, &delivery));
    assert_eq!(refused, Err(Stop::TooMany(Limit::Keywords)));
    e.check();
}

#[test]
fn expunge_takes_what_is_deleted_and_holds_it_for_fourteen_days() {
    let (mut e, a) = Engine::with_account();
    let inbox = e.id(a, "INBOX");
    for i in 0..6 {
        let flags = if i % 2 == 0 {
            Flags::DELETED
        } else {
            Flags::NONE
        };
        e.put_with(a, "INBOX", flags, &[]);
    }
    let large = e.delivery(
        40_000,
        vec![Target {
            flags: Flags::DELETED,
            ..target(a, "INBOX")
        }],
    );
    e.run(|reads| deliver(reads, &large)).unwrap();
    let doomed = Doomed::DeletedOf(set("1:2,7"));
    assert_eq!(e.expunge(a, inbox, &doomed).unwrap().0, set("1,7"));
    assert_eq!(e.expunge(a, inbox, &Doomed::Deleted).unwrap().0, set("3,5"));
    assert_eq!(e.expunge(a, inbox, &Doomed::Deleted).unwrap().0, set(""));
    assert_eq!(e.last, Batch::default());
    assert_eq!(*e.select(a, "INBOX").uids, set("2,4,6"));
    e.check();
    // Sessions that were not told yet can still read them.
    assert!(meta(&e.rows, a, inbox, Uid(7)).unwrap().is_some());
    assert_eq!(
        next_purge(&e.rows).unwrap(),
        Some(Utc::from_secs(START + 14 * DAY))
    );
    e.later(14 * DAY - 1);
    assert_eq!(e.purge(), 0);
    e.later(1);
    assert_eq!(e.purge(), 2);
    assert!(meta(&e.rows, a, inbox, Uid(7)).unwrap().is_none());
    assert!(e.files.is_empty());
    assert_eq!(e.rows.iter(Space::Bodies).count(), 3);
    assert_eq!(next_purge(&e.rows).unwrap(), None);
    e.check();
    // The next message has a UID never used before.
    assert_eq!(e.put(a, "INBOX").uid, Uid(8));
}

#[test]
fn a_shared_body_goes_with_its_last_reference() {
    let (mut e, a) = Engine::with_account();
    let b = e.account("other", None).unwrap();
    let delivery = e.delivery(30_000, vec![target(a, "INBOX"), target(b, "INBOX")]);
    e.run(|reads| deliver(reads, &delivery)).unwrap();
    for (account, left) in [(a, 1), (b, 0)] {
        let inbox = e.id(account, "INBOX");
        e.expunge(account, inbox, &Doomed::These(set("1"))).unwrap();
        e.later(15 * DAY);
        e.purge();
        e.check();
        assert_eq!(e.files.len(), left);
    }
}

#[test]
fn copies_keep_flags_keywords_and_date_and_get_new_uids() {
    let (mut e, a) = Engine::with_account();
    let inbox = e.id(a, "INBOX");
    e.put_with(a, "Archive", Flags::NONE, &["b"]);
    e.put_with(a, "INBOX", Flags::SEEN, &["a"]);
    e.put_with(a, "INBOX", Flags::DRAFT, &["a", "b"]);
    e.later(1000);
    let job = Copy {
        account: a,
        from: inbox,
        uids: set("1:5"),
        to: "Archive".into(),
        remove: false,
        rejects: None,
        now: e.now,
    };
    assert_eq!(e.copy(&job), Ok((set("1:2"), set("2:3"), 1)));
    let archive = e.id(a, "Archive");
    // What is put there is wanted.
    assert_eq!(
        mailbox_keywords(&e.rows, a, archive).unwrap(),
        ["b", "a", "$NotJunk"]
    );
    let rows: Vec<_> = e
        .all(a, archive)
        .iter()
        .map(|r| (r.uid.0, r.flags, r.keywords, r.date.secs()))
        .collect();
    assert_eq!(
        rows[1..],
        [(2, Flags::SEEN, 6, START), (3, Flags::DRAFT, 7, START)]
    );
    let copied = meta(&e.rows, a, archive, Uid(2)).unwrap().unwrap();
    let original = meta(&e.rows, a, inbox, Uid(1)).unwrap().unwrap();
    assert_eq!(copied.body, original.body);
    assert_eq!(
        (original.saved, copied.saved),
        (Utc::from_secs(START), e.now)
    );
    e.check();
    let missing = Copy {
        to: "Nowhere".into(),
        ..job.clone()
    };
    assert_eq!(e.copy(&missing), Err(Stop::NoSuchMailbox));
    let gone = Copy {
        from: MailboxId(77),
        ..job
    };
    assert_eq!(e.copy(&gone), Err(Stop::MailboxGone));
}

#[test]
fn copying_into_the_same_mailbox_ends() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..400 {
        e.put(a, "INBOX");
    }
    let job = Copy {
        account: a,
        from: e.id(a, "INBOX"),
        uids: UidSet::from_runs([1..=u32::MAX]),
        to: "INBOX".into(),
        remove: false,
        rejects: None,
        now: e.now,
    };
    let (from, to, _) = e.copy(&job).unwrap();
    assert_eq!((from, to), (set("1:400"), set("401:800")));
    let job = Copy {
        remove: true,
        rejects: None,
        ..job
    };
    let (from, to, _) = e.copy(&job).unwrap();
    assert_eq!((from, to), (set("1:800"), set("801:1600")));
    e.check();
}

#[test]
fn three_thousand_messages_are_copied_moved_and_expunged_in_steps() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..3000 {
        e.put(a, "INBOX");
    }
    let inbox = e.id(a, "INBOX");
    let mut job = Copy {
        account: a,
        from: inbox,
        uids: set("1:3000"),
        to: "Archive".into(),
        remove: false,
        rejects: None,
        now: e.now,
    };
    let (from, to, steps) = e.copy(&job).unwrap();
    assert_eq!((from, to), (set("1:3000"), set("1:3000")));
    assert!((10..=15).contains(&steps), "{steps}");
    e.check();
    job.remove = true;
    let (from, to, _) = e.copy(&job).unwrap();
    assert_eq!((from, to), (set("1:3000"), set("3001:6000")));
    assert_eq!(e.status(a, "INBOX").messages, 0);
    let archive = e.id(a, "Archive");
    let (gone, steps) = e
        .expunge(a, archive, &Doomed::These(set("1:6000")))
        .unwrap();
    assert_eq!((gone.len(), steps), (6000, 2));
    e.check();
    e.later(14 * DAY);
    e.purge();
    assert_eq!(e.rows.iter(Space::Bodies).count(), 0);
    e.check();
}

#[test]
fn pages_of_rows_join_to_all_rows_whatever_is_asked_for() {
    let (mut e, a) = Engine::with_account();
    let inbox = e.id(a, "INBOX");
    for _ in 0..700 {
        e.put(a, "INBOX");
    }
    e.expunge(a, inbox, &Doomed::These(set("5,100:300,640")))
        .unwrap();
    for wanted in [
        "1:700",
        "1,3,5,7,128,129,301,639:641",
        "99:301",
        "690:4000000000",
        "800:900",
        "",
    ] {
        let wanted = set(wanted);
        for max in [1, 7, 1000] {
            let (mut got, mut from) = (Vec::new(), Some(Uid(1)));
            while let Some(at) = from {
                let some = rows(&e.rows, a, inbox, &wanted, at, max).unwrap();
                assert!(some.rows.len() <= max);
                got.extend(some.rows.iter().map(|r| r.uid));
                from = some.next;
            }
            let expected = wanted.intersection(&e.select(a, "INBOX").uids);
            assert_eq!(
                got,
                expected.iter().collect::<Vec<_>>(),
                "each once, in order"
            );
            let mut with_meta = UidSet::new();
            metas(&e.rows, a, inbox, &expected, &mut |uid, _| {
                with_meta.insert(uid);
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(with_meta, expected);
        }
    }
    let mut first = None;
    headers(&e.rows, a, inbox, &set("1:700"), &mut |uid, header| {
        first = Some((uid, header.octets));
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(
        first,
        Some((Uid(1), Bytes::from_static(b"Subject: x\r\n\r\n")))
    );
}

#[test]
fn the_first_unseen_message_is_known_without_looking_at_messages() {
    let (mut e, a) = Engine::with_account();
    for i in 0..5000 {
        let flags = if i == 4500 { Flags::NONE } else { Flags::SEEN };
        e.put_with(a, "INBOX", flags, &[]);
    }
    assert_eq!(e.select(a, "INBOX").first_unseen, Some(Uid(4501)));
    let inbox = e.id(a, "INBOX");
    e.expunge(a, inbox, &Doomed::These(set("4501"))).unwrap();
    assert_eq!(e.select(a, "INBOX").first_unseen, None);
}

#[test]
fn changes_are_told_in_order_and_in_pieces_from_any_point() {
    let (mut e, a) = Engine::with_account();
    let inbox = e.id(a, "INBOX");
    // A point in history: its modification sequence, and the flags of each message by UID.
    let mut known: Vec<(u64, BTreeMap<u32, u8>)> = vec![(1, BTreeMap::new())];
    let state = |e: &Engine| {
        e.all(a, inbox)
            .iter()
            .map(|r| (r.uid.0, r.flags.0))
            .collect()
    };
    // More operations than the log keeps.
    for i in 0..1500u32 {
        e.put(a, "INBOX");
        if i % 7 == 3 {
            let job = Mark {
                account: a,
                mailbox: inbox,
                uids: UidSet::from_runs([i / 2..=i / 2 + 3]),
                how: MarkHow::Add,
                flags: Flags((i % 31) as u8 & !Flags::DELETED.0),
                keywords: vec![],
                unchanged_since: None,
            };
            e.mark(&job).unwrap();
        }
        if i % 11 == 5 {
            let doomed = Doomed::These(UidSet::from_runs([i / 3..=i / 3 + 1]));
            e.expunge(a, inbox, &doomed).unwrap();
        }
        if i % 100 == 0 {
            known.push((e.status(a, "INBOX").modseq, state(&e)));
        }
    }
    let log = e
        .rows
        .iter(Space::Rows)
        .filter(|(k, _)| k[0] == Table::Change as u8);
    assert!(log.count() as u64 <= CHANGES_KEPT);
    e.check();
    let now = state(&e);
    for purged in [false, true] {
        if purged {
            e.later(20 * DAY);
            e.purge();
            e.check();
        }
        for (since, then) in &known {
            for max in [1, 100, 10_000] {
                let mut told = then.clone();
                let upto = catch_up(&e.rows, a, inbox, *since, max, &mut told, |r| r.flags.0);
                assert_eq!(told, now, "since {since}");
                assert_eq!(upto, e.status(a, "INBOX").modseq);
            }
        }
    }
    let none = changes(&e.rows, a, inbox, u64::MAX, 10).unwrap().unwrap();
    assert_eq!((none.rows, none.more), (vec![], false));
}

#[test]
fn nothing_is_missed_where_the_log_begins() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..1200 {
        e.put(a, "INBOX");
    }
    let inbox = e.id(a, "INBOX");
    // The n-th message came with modification sequence n + 1.
    for since in 1201 - CHANGES_KEPT - 4..1201 - CHANGES_KEPT + 4 {
        let told = changes(&e.rows, a, inbox, since, 9_999).unwrap().unwrap();
        let uids: Vec<_> = told.rows.iter().map(|row| u64::from(row.uid.0)).collect();
        assert_eq!(uids, (since..=1200).collect::<Vec<_>>(), "since {since}");
    }
}

#[test]
fn a_large_flag_change_comes_in_steps_that_share_no_modification_sequence() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..5000 {
        e.put(a, "INBOX");
    }
    let inbox = e.id(a, "INBOX");
    let job = Mark {
        account: a,
        mailbox: inbox,
        uids: set("1:5000"),
        how: MarkHow::Add,
        flags: Flags::SEEN,
        keywords: vec![],
        unchanged_since: None,
    };
    let (rows, _) = e.mark(&job).unwrap();
    assert_eq!(rows.len(), 5000);
    assert_eq!((rows[0].modseq, rows[4999].modseq), (5002, 5003));
    let all = changes(&e.rows, a, inbox, 5001, 1).unwrap().unwrap();
    assert_eq!(
        (all.rows.len(), all.upto, all.more),
        (MARK_MESSAGES_MAX, 5002, true)
    );
    assert_eq!(e.status(a, "INBOX").unseen, 0);
    e.check();
}

#[test]
fn a_deleted_mailbox_answers_gone() {
    let (mut e, a) = Engine::with_account();
    let id = e.create(a, "x").unwrap().mailbox;
    e.put(a, "x");
    e.delete(a, "x").unwrap();
    let gone = Touched::Mailbox {
        account: a,
        mailbox: id,
        modseq: u64::MAX,
    };
    assert!(e.last.touched.contains(&gone));
    assert_eq!(changes(&e.rows, a, id, 1, 10).unwrap(), None);
    assert_eq!(select(&e.rows, a, id).unwrap(), None);
    let doomed = Doomed::Deleted;
    assert_eq!(e.expunge(a, id, &doomed), Err(Stop::MailboxGone));
    e.check();
    e.later(14 * DAY);
    assert!(e.purge() > 0);
    e.check();
    assert_eq!(e.rows.iter(Space::Bodies).count(), 0);
}

#[test]
fn a_copy_that_stops_between_two_steps_is_undone_whole_and_one_that_ends_leaves_no_trace() {
    for stop_after in 1..6 {
        let (mut e, a) = Engine::with_account();
        for _ in 0..1200 {
            e.put(a, "INBOX");
        }
        e.put(a, "Archive");
        let job = Copy {
            account: a,
            from: e.id(a, "INBOX"),
            uids: set("1:1200"),
            to: "Archive".into(),
            remove: false,
            rejects: None,
            now: e.now,
        };
        let mut cursor = None;
        for step in 0..stop_after {
            cursor = e.run(|reads| copy(reads, &job, cursor)).unwrap().next;
            let unfinished = unfinished_copies(&e.rows, 9).unwrap();
            let named = cursor.and_then(|c| c.unfinished());
            assert_eq!(unfinished, named.into_iter().collect::<Vec<_>>(), "{step}");
            // Others deliver into the same mailbox meanwhile, and expunge.
            e.put(a, "Archive");
            e.check();
        }
        let archive = e.id(a, "Archive");
        e.expunge(a, archive, &Doomed::These(set("2:3"))).unwrap();
        let Some(unfinished) = cursor.and_then(|c| c.unfinished()) else {
            assert_eq!(stop_after, 5);
            assert_eq!(e.status(a, "Archive").messages, 1 + 1200 + 5 - 2);
            continue;
        };
        assert!(stop_after < 5);
        let now = e.now;
        while e.run(|reads| undo_copy(reads, unfinished, now)) != Ok(Progress::Done) {
            e.check();
        }
        e.check();
        assert_eq!(unfinished_copies(&e.rows, 9), Ok(Vec::new()));
        assert_eq!(e.status(a, "Archive").messages, 1 + stop_after);
        assert_eq!(e.status(a, "INBOX").messages, 1200);
        // Nobody can go on with it.
        assert!(e.run(|reads| copy(reads, &job, cursor)).is_err());
        // What is undone is purged like what was expunged; the originals keep their bodies.
        e.later(14 * DAY);
        e.purge();
        e.check();
    }
}

#[test]
fn undoing_a_copy_into_a_mailbox_or_account_that_is_gone_takes_only_the_record_of_it() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..600 {
        e.put(a, "INBOX");
    }
    for name in ["One", "Two"] {
        e.create(a, name).unwrap();
    }
    let begin = |e: &mut Engine, to: &str| {
        let job = Copy {
            account: a,
            from: e.id(a, "INBOX"),
            uids: set("1:600"),
            to: to.into(),
            remove: false,
            rejects: None,
            now: e.now,
        };
        let cursor = e.run(|reads| copy(reads, &job, None)).unwrap().next;
        cursor.and_then(|c| c.unfinished()).unwrap()
    };
    let (one, two) = (begin(&mut e, "One"), begin(&mut e, "Two"));
    assert_eq!(unfinished_copies(&e.rows, 9), Ok(vec![one, two]));
    assert_eq!(unfinished_copies(&e.rows, 1), Ok(vec![one]));
    e.delete(a, "One").unwrap();
    let now = e.now;
    assert_eq!(
        e.run(|reads| undo_copy(reads, one, now)),
        Ok(Progress::Done)
    );
    e.check();
    e.run(|reads| remove_account(reads, a, now)).unwrap();
    assert_eq!(
        e.run(|reads| undo_copy(reads, two, now)),
        Ok(Progress::Done)
    );
    assert_eq!(unfinished_copies(&e.rows, 9), Ok(Vec::new()));
    e.later(14 * DAY);
    e.purge();
    e.check();
}

#[test]
fn a_message_that_was_handed_over_in_a_file_is_taken_once_until_the_file_is_forgotten() {
    let (mut e, a) = Engine::with_account();
    let take = |e: &mut Engine, file: u8| {
        let delivery = e.delivery(100, vec![target(a, "INBOX")]);
        let beside = Beside {
            file: Some([file; 16]),
            ..Beside::default()
        };
        e.run(|reads| deliver_beside(reads, &delivery, &beside))
            .map(|delivered| delivered.placed.len())
    };
    assert_eq!(take(&mut e, 7), Ok(1));
    assert_eq!(take(&mut e, 7), Err(Stop::Taken));
    assert_eq!(take(&mut e, 8), Ok(1));
    assert_eq!(taken(&e.rows, 10), Ok(vec![[7; 16], [8; 16]]));
    assert_eq!(taken(&e.rows, 1), Ok(vec![[7; 16]]));
    e.run(|reads| forget_taken(reads, &[7; 16])).unwrap();
    assert_eq!(taken(&e.rows, 10), Ok(vec![[8; 16]]));
    e.check();
}
