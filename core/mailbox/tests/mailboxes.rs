//! Accounts and their lists of mailboxes.
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
use mox_machine::Secret;
use mox_mailbox::*;

#[test]
fn a_new_account_has_its_mailboxes_subscribed_and_for_their_uses() {
    let (e, a) = Engine::with_account();
    let all = mailboxes(&e.rows, a).unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|m| {
            (
                m.name.as_str(),
                m.special_use.map(SpecialUse::as_str),
                m.subscribed,
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            ("Archive", Some("\\Archive"), true),
            ("Drafts", Some("\\Drafts"), true),
            ("INBOX", None, true),
            ("Junk", Some("\\Junk"), true),
            ("Sent", Some("\\Sent"), true),
            ("Trash", Some("\\Trash"), true),
        ]
    );
    let inbox = e.status(a, "inbox");
    assert_eq!((inbox.next, inbox.modseq, inbox.messages), (1, 1, 0));
    assert_eq!(i64::from(inbox.validity), START);
    let found = account(&e.rows, "mox").unwrap().unwrap();
    assert_eq!(
        (found.id, found.credentials.expose().as_ref()),
        (a, &b"keys"[..])
    );
    assert_eq!(accounts(&e.rows, "", 9).unwrap(), [("mox".into(), a)]);
    e.check();
}

#[test]
fn accounts_are_found_listed_changed_and_refused() {
    let mut e = Engine::new();
    assert_eq!(e.account("Mox", None), Err(Stop::BadAccountName));
    let a = e.account("a", None).unwrap();
    let b = e.account("b", None).unwrap();
    assert_eq!(e.account("a", None), Err(Stop::AccountExists));
    assert_eq!(accounts(&e.rows, "", 1).unwrap(), [("a".into(), a)]);
    assert_eq!(accounts(&e.rows, "aa", 5).unwrap(), [("b".into(), b)]);
    let new = Secret::new(Bytes::from_static(b"other"));
    e.run(|reads| set_credentials(reads, b, &new)).unwrap();
    let found = account_by_id(&e.rows, b).unwrap().unwrap();
    assert_eq!(found.credentials.expose().as_ref(), b"other");
    e.run(|reads| set_quota(reads, b, Some(7))).unwrap();
    assert_eq!(account(&e.rows, "b").unwrap().unwrap().quota, Some(7));
    let long = Secret::new(Bytes::from(vec![0; CREDENTIALS_MAX + 1]));
    let refused = e.run(|reads| set_credentials(reads, b, &long));
    assert_eq!(refused, Err(Stop::TooMany(Limit::Credentials)));
    e.check();
}

#[test]
fn a_store_of_a_later_schema_is_refused() {
    let mut e = Engine::new();
    let before = e.rows.clone();
    e.run(|reads| initialise(reads)).unwrap();
    assert_eq!(e.rows, before, "a second time changes nothing");
    assert_eq!(schema(&e.rows).unwrap(), Some(SCHEMA));
    let key = [&[Table::Numbers as u8][..], &[0; 5]].concat();
    let set = |e: &mut Engine, schema: u32| {
        let number = Bytes::copy_from_slice(&schema.to_be_bytes());
        e.rows.apply(&Batch {
            writes: vec![(Space::Rows, key.clone(), Some(number))],
            ..Batch::default()
        });
        e.run(|reads| initialise(reads))
    };
    for found in [SCHEMA + 1, 0] {
        let refused = set(&mut e, found);
        let known = SCHEMA;
        assert_eq!(refused, Err(Stop::Schema { found, known }));
    }
    // An earlier one becomes ours: a program of then does not open the store any more.
    set(&mut e, SCHEMA_OLDEST).unwrap();
    assert_eq!(schema(&e.rows).unwrap(), Some(SCHEMA));
    assert_eq!(e.rows, before);
    e.check();
}

#[test]
fn a_removed_account_is_gone_at_once_and_its_rows_in_steps() {
    let (mut e, a) = Engine::with_account();
    let b = e.account("other", None).unwrap();
    let both = e.delivery(30_000, vec![target(a, "INBOX"), target(b, "INBOX")]);
    e.run(|reads| deliver(reads, &both)).unwrap();
    for i in 0..500 {
        e.put(a, if i % 2 == 0 { "INBOX" } else { "x/y" });
    }
    let inbox = e.id(a, "INBOX");
    e.expunge(a, inbox, &Doomed::These(set("5:9"))).unwrap();
    let before = e.status(a, "INBOX").validity;
    let now = e.now;
    e.run(|reads| remove_account(reads, a, now)).unwrap();
    assert_eq!(account(&e.rows, "mox").unwrap(), None);
    assert_eq!(account_by_id(&e.rows, a).unwrap(), None);
    let more = e.delivery(10, vec![target(a, "INBOX")]);
    assert_eq!(
        e.run(|reads| deliver(reads, &more)),
        Err(Stop::NoSuchAccount)
    );
    e.check();
    let again = e.account("mox", None).unwrap();
    assert_ne!(again, a);
    assert!(
        e.status(again, "INBOX").validity > before,
        "never the same UIDVALIDITY"
    );
    let mut steps = 0;
    while e.run(|reads| purge(reads, now)).unwrap() == Progress::More(()) {
        e.check();
        steps += 1;
    }
    assert!(steps > 3);
    let left = e
        .rows
        .iter(Space::Rows)
        .filter(|(k, _)| k[1..5] == a.0.to_be_bytes());
    assert_eq!(left.count(), 0);
    assert_eq!((e.rows.iter(Space::Bodies).count(), e.files.len()), (0, 1));
    e.later(20 * DAY);
    e.purge();
    e.check();
    assert_eq!(next_purge(&e.rows).unwrap(), None);
}

#[test]
fn create_makes_parents_and_refuses_what_exists() {
    let (mut e, a) = Engine::with_account();
    assert_eq!(
        e.create(a, "inbox/a/c").unwrap().names,
        ["INBOX/a", "INBOX/a/c"]
    );
    assert_eq!(e.create(a, "INBOX/a"), Err(Stop::MailboxExists));
    assert_eq!(e.create(a, "Inbox"), Err(Stop::MailboxExists));
    assert!(matches!(e.create(a, "a*"), Err(Stop::BadMailboxName(_))));
    let now = e.now;
    let sent = Some(SpecialUse::Sent);
    let twice = e.run(|reads| create_mailbox(reads, a, "Gesendet", sent, now));
    assert_eq!(twice, Err(Stop::SpecialUseTaken));
    let all = Some(SpecialUse::All);
    e.run(|reads| create_mailbox(reads, a, "Everything", all, now))
        .unwrap();
    assert_eq!(e.create(AccountId(9), "x"), Err(Stop::NoSuchAccount));
    e.check();
}

#[test]
fn delete_follows_the_rules_and_leaves_subscriptions() {
    let (mut e, a) = Engine::with_account();
    e.create(a, "a/b").unwrap();
    assert_eq!(e.delete(a, "INBOX"), Err(Stop::Inbox));
    assert_eq!(e.delete(a, "a"), Err(Stop::HasChildren));
    assert_eq!(e.delete(a, "zzz"), Err(Stop::NoSuchMailbox));
    e.delete(a, "a/b").unwrap();
    e.delete(a, "a").unwrap();
    assert_eq!(e.delete(a, "a"), Err(Stop::NoSuchMailbox));
    let left: Vec<_> = mailboxes(&e.rows, a).unwrap();
    let left: Vec<_> = left
        .iter()
        .filter(|m| m.mailbox.is_none())
        .map(|m| &m.name[..])
        .collect();
    assert_eq!(left, ["a", "a/b"]);
    assert_eq!(e.run(|reads| subscribe(reads, a, "a", false)), Ok(true));
    assert_eq!(e.run(|reads| subscribe(reads, a, "a", false)), Ok(false));
    assert_eq!(e.run(|reads| subscribe(reads, a, "new", true)), Ok(true));
    assert_eq!(e.run(|reads| subscribe(reads, a, "inbox", false)), Ok(true));
    e.check();
}

#[test]
fn a_name_never_has_the_same_uidvalidity_twice_even_when_the_clock_goes_back() {
    let (mut e, a) = Engine::with_account();
    let mut last = 0;
    for i in 0..50 {
        e.now = mox_machine::Utc::from_secs(START - 1000 * i);
        e.create(a, "x").unwrap();
        let validity = e.status(a, "x").validity;
        assert!(validity > last, "{validity} after {last}");
        last = validity;
        match i % 3 {
            0 => e.delete(a, "x").map(|_| ()).unwrap(),
            1 => e.rename(a, "x", &format!("y{i}")).map(|_| ()).unwrap(),
            _ => {
                e.delete(a, "x").unwrap();
                e.rename(a, "y1", "x").unwrap();
                let moved = e.status(a, "x").validity;
                assert!(moved > last);
                last = moved;
                e.rename(a, "x", "y1").unwrap();
            }
        }
    }
    e.check();
}

#[test]
fn rename_takes_children_along_and_makes_parents() {
    let (mut e, a) = Engine::with_account();
    e.create(a, "a/b/c").unwrap();
    e.create(a, "ab").unwrap();
    e.put(a, "a/b");
    let (id, before) = (e.id(a, "a/b"), e.status(a, "a/b"));
    let renamed = e.rename(a, "a", "x/y").unwrap();
    let pairs = [("a", "x/y"), ("a/b", "x/y/b"), ("a/b/c", "x/y/b/c")];
    let pairs = pairs.map(|(old, new)| (old.to_owned(), new.to_owned()));
    assert_eq!(renamed, Renamed::Done(pairs.into()));
    let after = e.status(a, "x/y/b");
    assert_eq!(
        (after.mailbox, after.next, after.modseq),
        (id, 2, before.modseq)
    );
    assert!(after.validity > before.validity);
    let names = e.names(a);
    assert!(names.contains(&"x".into()) && names.contains(&"ab".into()));
    assert!(!names.contains(&"a".into()));
    let y = mailboxes(&e.rows, a)
        .unwrap()
        .into_iter()
        .find(|m| m.name == "x/y")
        .unwrap();
    assert!(!y.subscribed, "subscriptions stay with the old names");
    e.check();
    assert_eq!(e.rename(a, "x/y", "ab"), Err(Stop::MailboxExists));
    assert_eq!(e.rename(a, "x/y", "x/y"), Err(Stop::MailboxExists));
    assert_eq!(e.rename(a, "x/y", "inbox"), Err(Stop::Inbox));
    assert_eq!(e.rename(a, "a", "q"), Err(Stop::NoSuchMailbox));
    e.check();
}

#[test]
fn renaming_below_itself_leaves_empty_mailboxes_above() {
    let (mut e, a) = Engine::with_account();
    e.create(a, "k/l/o").unwrap();
    e.put(a, "k/l");
    e.rename(a, "k/l", "k/l/m").unwrap();
    assert_eq!(e.status(a, "k/l/m").messages, 1);
    assert_eq!(e.status(a, "k/l").messages, 0);
    assert!(e.names(a).contains(&"k/l/m/o".into()));
    e.check();
    e.rename(a, "k/l/m", "k2").unwrap();
    assert_eq!(e.status(a, "k2").messages, 1);
    e.check();
}

#[test]
fn renaming_inbox_moves_its_messages_and_keeps_it_and_its_children() {
    let (mut e, a) = Engine::with_account();
    e.create(a, "INBOX/child").unwrap();
    for _ in 0..3 {
        e.put(a, "INBOX");
    }
    let Renamed::MoveMessages { from, to } = e.rename(a, "INBOX", "old/2026").unwrap() else {
        panic!("INBOX is not renamed");
    };
    let job = Copy {
        account: a,
        from,
        uids: set("1:3"),
        to,
        remove: true,
        rejects: None,
        now: e.now,
    };
    e.copy(&job).unwrap();
    assert_eq!(e.status(a, "INBOX").messages, 0);
    assert_eq!(e.status(a, "old/2026").messages, 3);
    assert!(e.names(a).contains(&"INBOX/child".into()));
    assert_eq!(e.put(a, "old/2026").uid.0, 4);
    e.check();
}

#[test]
fn names_of_an_account_are_limited_and_so_is_one_rename() {
    let (mut e, a) = Engine::with_account();
    for i in 0..RENAME_MAX {
        e.create(a, &format!("tree/{i}")).unwrap();
    }
    assert_eq!(
        e.rename(a, "tree", "wood"),
        Err(Stop::TooMany(Limit::Rename))
    );
    e.delete(a, "tree/0").unwrap();
    e.rename(a, "tree", "wood").unwrap();
    e.check();
    let mut refused = None;
    for i in 0..MAILBOXES_MAX {
        if let Err(stop) = e.run(|reads| subscribe(reads, a, &format!("s{i}"), true)) {
            refused = Some((i, stop));
            break;
        }
    }
    let names = mailboxes(&e.rows, a).unwrap().len();
    assert_eq!(names, MAILBOXES_MAX as usize);
    assert_eq!(refused.unwrap().1, Stop::TooMany(Limit::Mailboxes));
    assert_eq!(
        e.create(a, "one more"),
        Err(Stop::TooMany(Limit::Mailboxes))
    );
    // Mail that would have a mailbox made is not lost for that.
    let inbox = e.id(a, INBOX);
    let missing = Target {
        create: true,
        ..target(a, "made/for it")
    };
    let job = e.delivery(10, vec![missing]);
    let delivered = e.run(|reads| deliver(reads, &job)).unwrap();
    assert_eq!(delivered.placed[0].mailbox, inbox);
    // What was not taken is kept in no other place than its own.
    let rejects = Target {
        create: true,
        ..target(a, "Rejects")
    };
    let rejected = Rejected {
        delivery: e.delivery(10, vec![rejects]),
        hashes: vec![1],
    };
    let decision = NewDecision {
        keys: vec!["bob@far.example".into()],
        record: Bytes::from_static(b"why"),
        at: e.now,
        is_spare: false,
        observations: Vec::new(),
    };
    let budget = DecisionBudget::of(1 << 20);
    e.run(|reads| keep_rejected(reads, &decision, budget, &rejected))
        .unwrap();
    assert_eq!(e.all(a, inbox).len(), 1);
    e.check();
}

#[test]
fn annotations_of_an_account_have_so_many_octets_together_and_no_more() {
    let (mut e, a) = Engine::with_account();
    let value = |octets: usize| Some(Bytes::from(vec![b'x'; octets]));
    let mut set = |mailbox: Option<&str>, name: String, value: Option<Bytes>| {
        e.run(|rows| annotate(rows, a, mailbox, &[(name, value)]))
    };
    let full = Err(Stop::TooMany(Limit::Annotations));
    // 31 of 32 KiB in one mailbox leave less than 32 KiB, whichever mailbox it is for.
    for n in 0..31 {
        set(
            Some("INBOX"),
            format!("/private/{n:02}"),
            value(ANNOTATION_MAX),
        )
        .unwrap();
    }
    let name = || "/private/last".to_owned();
    assert_eq!(set(Some("Sent"), name(), value(ANNOTATION_MAX)), full);
    assert_eq!(set(None, name(), value(ANNOTATION_MAX)), full);
    let left = ANNOTATIONS_OCTETS_MAX - 31 * (ANNOTATION_MAX + 11) - name().len();
    assert_eq!(set(None, name(), value(left + 1)), full);
    set(None, name(), value(left)).unwrap();
    // What takes no more room is taken, and what goes makes room.
    set(Some("INBOX"), "/private/00".into(), value(ANNOTATION_MAX)).unwrap();
    set(Some("INBOX"), "/private/00".into(), value(1)).unwrap();
    set(Some("INBOX"), "/private/01".into(), None).unwrap();
    set(Some("Sent"), name(), value(ANNOTATION_MAX)).unwrap();
    e.check();
}
