//! What a user marks as junk or not is remembered by what the message has in common with others.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod engine;

use engine::{DAY, Engine, START};
use mox_machine::Utc;
use mox_mailbox::*;
use mox_uids::{Uid, UidSet};

fn kinship(hashes: &[u64]) -> Kinship {
    Kinship {
        hashes: hashes.to_vec(),
        local_part: 7,
    }
}

struct Ann {
    engine: Engine,
    account: AccountId,
}

impl Ann {
    fn new() -> Self {
        let (engine, account) = Engine::with_account();
        Self { engine, account }
    }

    /// A message for the Inbox that came so many days after the start.
    fn message(&mut self, day: i64, kinship: &Kinship) -> (MailboxId, Uid) {
        let target = Target {
            account: self.account,
            mailbox: "INBOX".into(),
            create: true,
            prefix: bytes::Bytes::new(),
            flags: Flags::NONE,
            keywords: Vec::new(),
            date: Utc::from_secs(START + day * DAY),
            origin: kinship.encode(),
        };
        let delivery = self.engine.delivery(100, vec![target]);
        let delivered = self.engine.run(|reads| deliver(reads, &delivery)).unwrap();
        (delivered.placed[0].mailbox, delivered.placed[0].uid)
    }

    fn mark(&mut self, mailbox: MailboxId, uids: UidSet, how: MarkHow, keywords: &[&str]) {
        let mark = Mark {
            account: self.account,
            mailbox,
            uids,
            how,
            flags: Flags::NONE,
            keywords: keywords.iter().map(|k| (*k).to_owned()).collect(),
            unchanged_since: None,
        };
        let mut from = Some(Uid(1));
        while let Some(next) = from {
            from = self
                .engine
                .run(|reads| mox_mailbox::mark(reads, &mark, next))
                .unwrap()
                .next;
        }
    }

    /// Days after the start, and whether it was junk, of what is remembered.
    fn past(&self, hash: u64) -> Vec<(i64, bool)> {
        let past = past(&self.engine.rows, self.account, hash).unwrap();
        past.iter()
            .map(|p| ((p.at - START) / DAY, p.junk))
            .collect()
    }
}

impl Ann {
    /// Copies or moves messages, in as many operations as it takes; the copies.
    fn copy(&mut self, from: MailboxId, uids: UidSet, to: &str, remove: bool) -> UidSet {
        let job = Copy {
            account: self.account,
            from,
            uids,
            to: to.into(),
            remove,
            rejects: None,
            now: self.engine.now,
        };
        self.engine.copy(&job).unwrap().1
    }
}

fn one(uid: Uid) -> UidSet {
    [uid].into_iter().collect()
}

#[test]
fn a_message_counts_as_what_it_is_marked_as_last() {
    let mut ann = Ann::new();
    let (inbox, first) = ann.message(1, &kinship(&[10, 11]));
    let (_, second) = ann.message(2, &kinship(&[10]));
    assert!(ann.past(10).is_empty());
    ann.mark(inbox, one(first), MarkHow::Add, &["$Junk"]);
    ann.mark(inbox, one(second), MarkHow::Add, &["$notjunk"]);
    assert_eq!(ann.past(10), [(2, false), (1, true)]);
    assert_eq!(ann.past(11), [(1, true)]);
    assert!(ann.past(12).is_empty());
    // Both say nothing; only one of them says something again; without any there is nothing left.
    ann.mark(inbox, one(first), MarkHow::Add, &["$NotJunk"]);
    assert_eq!(ann.past(10), [(2, false)]);
    ann.mark(inbox, one(first), MarkHow::Remove, &["$Junk"]);
    assert_eq!(ann.past(10), [(2, false), (1, false)]);
    ann.mark(inbox, one(first), MarkHow::Set, &["other"]);
    assert_eq!(ann.past(10), [(2, false)]);
    assert!(ann.past(11).is_empty());
    ann.engine.check();
}

#[test]
fn moving_into_junk_and_out_of_it_counts_like_marking() {
    let mut ann = Ann::new();
    let (inbox, first) = ann.message(1, &kinship(&[10]));
    let junk = ann.engine.id(ann.account, "Junk");
    let moved = ann.copy(inbox, one(first), "Junk", true);
    assert_eq!(ann.past(10), [(1, true)]);
    // A copy of it elsewhere says something only where it says something else.
    ann.copy(junk, moved.clone(), "INBOX", false);
    assert_eq!(ann.past(10), [(1, true)]);
    let again = ann.copy(junk, moved, "Archive", true);
    assert_eq!(ann.past(10), [(1, false)]);
    let archive = ann.engine.id(ann.account, "Archive");
    let again = ann.copy(archive, again, "Junk", true);
    assert_eq!(ann.past(10), [(1, true)]);
    // It says again what it said before.
    ann.copy(junk, again, "INBOX", true);
    assert_eq!(ann.past(10), [(1, false)]);
    let (inbox, second) = ann.message(2, &kinship(&[20]));
    let there = ann.copy(inbox, one(second), "Junk", true);
    assert_eq!(ann.past(20), [(2, true)]);
    ann.copy(junk, there, "INBOX", true);
    assert!(ann.past(20).is_empty());
    ann.engine.check();
}

#[test]
fn what_goes_leaves_what_the_others_with_its_content_say() {
    let mut ann = Ann::new();
    let gone = |ann: &mut Ann, mailbox, uids: UidSet| {
        let (account, doomed) = (ann.account, Doomed::These(uids));
        let now = ann.engine.now;
        ann.engine
            .run(|reads| expunge(reads, account, mailbox, &doomed, Uid(1), now))
            .unwrap();
    };
    // To Junk and back as programs without MOVE do it.
    let (inbox, first) = ann.message(1, &kinship(&[10]));
    let junk = ann.engine.id(ann.account, "Junk");
    let there = ann.copy(inbox, one(first), "Junk", false);
    gone(&mut ann, inbox, one(first));
    assert_eq!(ann.past(10), [(1, true)]);
    ann.copy(junk, there.clone(), "INBOX", false);
    gone(&mut ann, junk, there);
    assert!(ann.past(10).is_empty());
    // Of what goes together, and of what was there before, nothing takes it back.
    let (_, third) = ann.message(3, &kinship(&[30]));
    let copy = ann.copy(inbox, one(third), "INBOX", false);
    ann.mark(inbox, one(third), MarkHow::Add, &["$Junk"]);
    gone(&mut ann, inbox, one(third).union(&copy));
    assert_eq!(ann.past(30), [(3, true)]);
    let (_, fourth) = ann.message(4, &kinship(&[40]));
    ann.engine.now = Utc::from_secs(START + 9 * DAY);
    let there = ann.copy(inbox, one(fourth), "Junk", false);
    gone(&mut ann, junk, there);
    assert_eq!(ann.past(40), [(4, true)]);
    // What is nowhere else is what it was.
    let (_, second) = ann.message(2, &kinship(&[20]));
    ann.mark(inbox, one(second), MarkHow::Add, &["$Junk"]);
    gone(&mut ann, inbox, one(second));
    assert_eq!(ann.past(20), [(2, true)]);
    ann.engine.check();
}

#[test]
fn moving_many_is_remembered_of_each_of_them() {
    let mut ann = Ann::new();
    let mut inbox = MailboxId(0);
    for n in 0..260 {
        let hashes: Vec<u64> = (0..KINSHIP_MAX as u64).map(|h| n * 100 + h).collect();
        inbox = ann.message(1, &kinship(&hashes)).0;
    }
    ann.copy(inbox, (1..=260).map(Uid).collect(), "Junk", true);
    for n in 0..260 {
        assert_eq!(ann.past(n * 100 + 23), [(1, true)], "{n}");
    }
    ann.engine.check();
}

#[test]
fn the_newest_messages_are_remembered_and_no_more() {
    let mut ann = Ann::new();
    let many = i64::try_from(PAST_KEPT).unwrap() + 10;
    let hashes: Vec<u64> = (0..KINSHIP_MAX as u64).collect();
    let mut inbox = MailboxId(0);
    for day in 0..many {
        inbox = ann.message(day, &kinship(&hashes)).0;
    }
    // One command for all, in several operations.
    ann.mark(
        inbox,
        (1..=1_000).map(Uid).collect(),
        MarkHow::Add,
        &["$Junk"],
    );
    for hash in hashes {
        let past = ann.past(hash);
        assert_eq!(past.len(), PAST_KEPT);
        assert_eq!(
            (past[0], past[PAST_KEPT - 1]),
            ((many - 1, true), (10, true))
        );
    }
    ann.engine.check();
}

#[test]
fn whom_an_account_wrote_to_is_remembered() {
    let mut ann = Ann::new();
    let delivery = ann.engine.delivery(100, Vec::new());
    let beside = Beside {
        wrote: Some((ann.account, vec![5, 6])),
        ..Beside::default()
    };
    ann.engine
        .run(|reads| deliver_beside(reads, &delivery, &beside))
        .unwrap();
    assert_eq!(ann.past(5), [(0, false)]);
    assert_eq!(ann.past(6), [(0, false)]);
    ann.engine.check();
}

#[test]
fn other_origin_facts_are_none() {
    assert_eq!(Kinship::decode(b""), None);
    assert_eq!(Kinship::decode(b"\x09abc"), None);
    assert_eq!(Kinship::decode(b"\x01"), None);
    let kinship = kinship(&[1, 2]);
    assert_eq!(Kinship::decode(&kinship.encode()), Some(kinship));
}
