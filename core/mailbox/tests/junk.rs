//! The junk filter of an account follows the keywords of its messages, exactly, whatever becomes of them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod engine;

use engine::*;
use mox_junk::{Class, Counts, WordId};
use mox_mailbox::*;
use mox_uids::{Uid, UidSet};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NAMES: [&str; 4] = ["INBOX", "Junk", "Archive", "a"];

/// The words of a message: some that all have, some that few have. Bodies are numbered.
fn words(counter: u64) -> Vec<WordId> {
    let high = (1 << WordId::BITS) - 1;
    let mut words = vec![WordId(0), WordId(high), WordId(counter % 3 + 10)];
    words.extend((0..counter % 5).map(|n| WordId((n + 1) << 33 | counter)));
    words
}

/// Settles all that is due; how many messages.
fn settle(engine: &mut Engine) -> usize {
    for settled in 0..10_000 {
        let Some(due) = junk_due(&engine.rows, None, 1).unwrap().pop() else {
            return settled;
        };
        let words = due.needs_words.then(|| {
            let meta = meta(&engine.rows, due.account, due.mailbox, due.uid).unwrap();
            words(meta.unwrap().body.id.counter)
        });
        let told = engine
            .run(|reads| junk_settle(reads, &due, words.as_deref()))
            .unwrap();
        assert_ne!(told, JunkSettled::NeedsWords);
    }
    panic!("it does not end");
}

/// All rows of filters.
fn filter(engine: &Engine) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = engine.rows.iter(Space::Rows);
    rows.filter(|(key, _)| key[0] == Table::Junk as u8)
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

/// Those of words and totals, without the rows that say which messages were learned.
fn sums(engine: &Engine) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = filter(engine);
    rows.retain(|(key, _)| key[5] != 1);
    rows
}

fn set_keywords(
    engine: &mut Engine,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
    keywords: &[&str],
) {
    let job = Mark {
        account,
        mailbox,
        uids: [uid].into_iter().collect(),
        how: MarkHow::Set,
        flags: Flags::NONE,
        keywords: keywords.iter().map(|&k| k.to_owned()).collect(),
        unchanged_since: None,
    };
    engine.mark(&job).unwrap();
}

fn moved(engine: &mut Engine, account: AccountId, from: &str, uids: UidSet, to: &str) -> UidSet {
    let job = Copy {
        account,
        from: engine.id(account, from),
        uids,
        to: to.into(),
        remove: true,
        rejects: None,
        now: engine.now,
    };
    engine.copy(&job).unwrap().1
}

#[test]
fn keywords_decide_what_a_message_is_learned_as() {
    let (mut engine, account) = Engine::with_account();
    let inbox = engine.id(account, "INBOX");
    let uid = engine.put(account, "INBOX").uid;
    assert_eq!(
        settle(&mut engine),
        0,
        "nothing is due for a message without"
    );
    let learned = |engine: &Engine| {
        let class = junk_class(&engine.rows, account, inbox, uid).unwrap();
        let counts = junk_learned(&engine.rows, account).unwrap();
        (class, counts.ham, counts.spam)
    };
    for (keywords, expected) in [
        (&["$Junk"][..], (Some(Class::Spam), 0, 1)),
        (&["$NOTJUNK", "red"], (Some(Class::Ham), 1, 0)),
        (&["$NotJunk", "$Junk"], (None, 0, 0)),
        (&["$junk"], (Some(Class::Spam), 0, 1)),
        (&["red"], (None, 0, 0)),
    ] {
        set_keywords(&mut engine, account, inbox, uid, keywords);
        assert_eq!(settle(&mut engine), 1, "{keywords:?}");
        assert_eq!(learned(&engine), expected, "{keywords:?}");
        engine.check();
    }
    assert_eq!(filter(&engine), []);
    set_keywords(&mut engine, account, inbox, uid, &["blue"]);
    assert_eq!(
        settle(&mut engine),
        0,
        "other keywords are none of its business"
    );
}

#[test]
fn words_are_counted_once_a_message_and_looked_up_by_account() {
    let (mut engine, account) = Engine::with_account();
    let other = engine.account("other", None).unwrap();
    for keyword in ["$Junk", "$Junk", "$NotJunk"] {
        engine.put_with(account, "INBOX", Flags::NONE, &[keyword]);
    }
    assert_eq!(settle(&mut engine), 3);
    let word = |account, id| junk_word(&engine.rows, account, WordId(id)).unwrap();
    assert_eq!(word(account, 0), Counts { ham: 1, spam: 2 });
    assert_eq!(word(account, (1 << 40) - 1), Counts { ham: 1, spam: 2 });
    assert_eq!(word(account, 11), Counts { ham: 0, spam: 1 });
    assert_eq!(word(account, 10), Counts { ham: 1, spam: 0 });
    assert_eq!(word(other, 0), Counts::default());
    assert_eq!(
        junk_learned(&engine.rows, other).unwrap(),
        Counts::default()
    );
}

#[test]
fn a_message_moved_to_junk_and_back_leaves_the_filter_as_it_was() {
    let (mut engine, account) = Engine::with_account();
    for keyword in ["$Junk", "$NotJunk", "$NotJunk"] {
        engine.put_with(account, "Archive", Flags::NONE, &[keyword]);
    }
    let uid = engine.put(account, "INBOX").uid;
    settle(&mut engine);
    let before = filter(&engine);
    let there = moved(
        &mut engine,
        account,
        "INBOX",
        [uid].into_iter().collect(),
        "Junk",
    );
    settle(&mut engine);
    assert_eq!(
        junk_learned(&engine.rows, account).unwrap(),
        Counts { ham: 2, spam: 2 }
    );
    assert_ne!(sums(&engine), before);
    moved(&mut engine, account, "Junk", there, "INBOX");
    settle(&mut engine);
    assert_eq!(filter(&engine), before);
    engine.check();
}

#[test]
fn what_is_said_outright_in_junk_is_learned_though_the_message_is_moved_out() {
    let (mut engine, account) = Engine::with_account();
    let uid = engine.put(account, "INBOX").uid;
    let all = |uid: Uid| -> UidSet { [uid].into_iter().collect() };
    let there = moved(&mut engine, account, "INBOX", all(uid), "Junk");
    settle(&mut engine);
    let junk = engine.id(account, "Junk");
    let there = there.iter().next().unwrap();
    set_keywords(&mut engine, account, junk, there, &["$NotJunk"]);
    moved(&mut engine, account, "Junk", all(there), "INBOX");
    settle(&mut engine);
    let learned = junk_learned(&engine.rows, account).unwrap();
    assert_eq!(learned, Counts { ham: 1, spam: 0 });
    engine.check();
}

#[test]
fn what_is_thrown_away_as_junk_stays_junk() {
    let (mut engine, account) = Engine::with_account();
    let _ = engine.create(account, "Trash");
    let uid = engine
        .put_with(account, "INBOX", Flags::NONE, &["$NotJunk"])
        .uid;
    let there = moved(
        &mut engine,
        account,
        "INBOX",
        [uid].into_iter().collect(),
        "Junk",
    );
    let there = moved(&mut engine, account, "Junk", there, "Trash");
    settle(&mut engine);
    let learned = junk_learned(&engine.rows, account).unwrap();
    assert_eq!(learned, Counts { ham: 0, spam: 1 });
    moved(&mut engine, account, "Trash", there, "Junk");
    settle(&mut engine);
    assert_eq!(junk_learned(&engine.rows, account).unwrap(), learned);
    engine.check();
}

#[test]
fn the_mailbox_for_what_was_not_taken_says_nothing_whatever_its_name() {
    let (mut engine, account) = Engine::with_account();
    for name in ["Spam rejects", "Quarantine"] {
        engine.create(account, name).unwrap();
        let uid = engine
            .put_with(account, name, Flags::NONE, &["$NotJunk"])
            .uid;
        for (from, to) in [(name, "INBOX"), ("INBOX", name)] {
            let last = engine.id(account, from);
            let last = engine.all(account, last).last().map_or(uid, |row| row.uid);
            let job = Copy {
                account,
                from: engine.id(account, from),
                uids: [last].into_iter().collect(),
                to: to.into(),
                remove: true,
                rejects: Some(name.into()),
                now: engine.now,
            };
            engine.copy(&job).unwrap();
            settle(&mut engine);
            let learned = junk_learned(&engine.rows, account).unwrap();
            assert_eq!((learned.spam, learned.ham > 0), (0, true), "{from} {to}");
        }
    }
    engine.check();
}

#[test]
fn what_goes_is_unlearned_with_its_mailbox_too_and_nothing_is_left() {
    let (mut engine, account) = Engine::with_account();
    let uid = engine.put_with(account, "a", Flags::NONE, &["$Junk"]).uid;
    engine.put_with(account, "a", Flags::NONE, &["$NotJunk"]);
    settle(&mut engine);
    let a = engine.id(account, "a");
    let one = [uid].into_iter().collect();
    engine.expunge(account, a, &Doomed::These(one)).unwrap();
    // Its body is long gone when it is unlearned.
    engine.later(15 * DAY);
    engine.purge();
    assert_eq!(settle(&mut engine), 1);
    assert_eq!(
        junk_learned(&engine.rows, account).unwrap(),
        Counts { ham: 1, spam: 0 }
    );
    engine.delete(account, "a").unwrap();
    engine.later(15 * DAY);
    engine.purge();
    settle(&mut engine);
    assert_eq!(filter(&engine), []);
    assert_eq!(junk_due(&engine.rows, None, 9).unwrap(), []);
    engine.check();
}

#[test]
fn a_filter_is_forgotten_and_learned_again_from_the_messages_there_are() {
    let (mut engine, account) = Engine::with_account();
    for n in 0..300 {
        let keyword = ["$Junk", "$NotJunk", "red"][n % 3];
        engine.put_with(account, NAMES[n % 2], Flags::NONE, &[keyword]);
    }
    settle(&mut engine);
    let before = filter(&engine);
    assert!(!before.is_empty());
    // Begun, cut off anywhere, and begun again.
    for steps in [0, 1, 3] {
        engine.run(|reads| junk_relearn(reads, account)).unwrap();
        for _ in 0..steps {
            let _ = engine
                .run(|reads| junk_relearn_step(reads, account))
                .unwrap();
            engine.check();
        }
        assert_eq!(junk_relearning(&engine.rows, account), Ok(true));
        if steps == 0 {
            assert_eq!(junk_due(&engine.rows, None, 9), Ok(Vec::new()));
        }
    }
    let step = |engine: &mut Engine| engine.run(|reads| junk_relearn_step(reads, account));
    assert_eq!(filter(&engine), []);
    // What is marked meanwhile is not lost.
    engine.put_with(account, "INBOX", Flags::NONE, &["$Junk"]);
    while step(&mut engine).unwrap() != Progress::Done {
        engine.check();
    }
    assert_eq!(junk_relearning(&engine.rows, account), Ok(false));
    assert_eq!(settle(&mut engine), 201);
    let last = engine.id(account, "INBOX");
    let one = [Uid(151)].into_iter().collect();
    engine.expunge(account, last, &Doomed::These(one)).unwrap();
    assert_eq!(settle(&mut engine), 1);
    assert_eq!(filter(&engine), before);
}

#[test]
fn whoever_has_something_to_learn_or_to_forget_is_told_without_a_row_being_read() {
    let (mut engine, ann) = Engine::with_account();
    let bob = engine.account("bob", None).unwrap();
    assert_eq!(junk_accounts(&engine.rows), Ok(BTreeSet::new()));
    engine.put_with(bob, "INBOX", Flags::NONE, &["$Junk"]);
    engine.put_with(bob, "Other", Flags::NONE, &["$Junk"]);
    assert_eq!(junk_accounts(&engine.rows), Ok(BTreeSet::from([bob])));
    engine.run(|reads| junk_relearn(reads, ann)).unwrap();
    assert_eq!(junk_accounts(&engine.rows), Ok(BTreeSet::from([ann, bob])));
    assert_eq!(junk_due(&engine.rows, Some(ann), 9), Ok(Vec::new()));
    let due = junk_due(&engine.rows, Some(bob), 9).unwrap();
    assert_eq!(due.len(), 2);
    assert!(due.iter().all(|due| due.account == bob));
}

#[test]
fn a_message_that_cannot_be_read_is_passed_over_and_too_many_words_are_cut() {
    let (mut engine, account) = Engine::with_account();
    engine.put_with(account, "INBOX", Flags::NONE, &["$Junk"]);
    let due = junk_due(&engine.rows, None, 1).unwrap().remove(0);
    let told = engine.run(|reads| junk_settle(reads, &due, None));
    assert_eq!(told, Ok(JunkSettled::NeedsWords));
    let many: Vec<WordId> = (0..5_000).map(WordId).collect();
    engine
        .run(|reads| junk_settle(reads, &due, Some(&many)))
        .unwrap();
    assert_eq!(filter(&engine).len(), JUNK_WORDS_MAX + 2);
    engine.put_with(account, "INBOX", Flags::NONE, &["$Junk"]);
    let due = junk_due(&engine.rows, None, 1).unwrap().remove(0);
    engine
        .run(|reads| Ok((junk_pass_over(reads, &due)?, ())))
        .unwrap();
    assert_eq!(junk_due(&engine.rows, None, 9).unwrap(), []);
    assert_eq!(junk_learned(&engine.rows, account).unwrap().spam, 1);
    engine.check();
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8),
    Mark(usize, u8, u32, u32),
    Move(usize, usize, u32, u32),
    Copy(usize, usize, u32, u32),
    Expunge(usize, u32, u32),
    Delete,
    Rename,
    Purge,
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0usize..4;
    let step = prop_oneof![
        4 => (name(), 0u8..5).prop_map(|(at, k)| Step::Put(at, k)),
        4 => (name(), 0u8..5, 1u32..12, 0u32..4).prop_map(|(at, k, uid, n)| Step::Mark(at, k, uid, n)),
        3 => (name(), name(), 1u32..12, 0u32..4).prop_map(|(a, b, uid, n)| Step::Move(a, b, uid, n)),
        2 => (name(), name(), 1u32..12, 0u32..4).prop_map(|(a, b, uid, n)| Step::Copy(a, b, uid, n)),
        2 => (name(), 1u32..12, 0u32..4).prop_map(|(at, uid, n)| Step::Expunge(at, uid, n)),
        1 => Just(Step::Delete),
        1 => Just(Step::Rename),
        1 => Just(Step::Purge),
        3 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..40)
}

fn chosen(k: u8) -> &'static [&'static str] {
    [
        &[][..],
        &["$Junk"],
        &["$NotJunk"],
        &["$Junk", "$NotJunk"],
        &["red"],
    ][usize::from(k)]
}

fn run(engine: &mut Engine, account: AccountId, step: &Step) {
    let uids = |first: u32, more: u32| UidSet::from_runs([first..=first + more]);
    match *step {
        Step::Put(at, k) => {
            engine.put_with(account, NAMES[at], Flags::NONE, chosen(k));
        }
        Step::Mark(at, k, uid, more) => {
            let Ok(Some(mailbox)) = mailbox_id(&engine.rows, account, NAMES[at]) else {
                return;
            };
            for uid in uid..=uid + more {
                set_keywords(engine, account, mailbox, Uid(uid), chosen(k));
            }
        }
        Step::Move(from, to, uid, more) | Step::Copy(from, to, uid, more) => {
            let Ok(Some(from)) = mailbox_id(&engine.rows, account, NAMES[from]) else {
                return;
            };
            let job = Copy {
                account,
                from,
                uids: uids(uid, more),
                to: NAMES[to].into(),
                remove: matches!(step, Step::Move(..)),
                rejects: None,
                now: engine.now,
            };
            let _ = engine.copy(&job);
        }
        Step::Expunge(at, uid, more) => {
            if let Ok(Some(mailbox)) = mailbox_id(&engine.rows, account, NAMES[at]) {
                let these = Doomed::These(uids(uid, more));
                engine.expunge(account, mailbox, &these).unwrap();
            }
        }
        Step::Delete => {
            let _ = engine.delete(account, "a");
        }
        Step::Rename => {
            let _ = engine
                .rename(account, "a", "Archive")
                .or_else(|_| engine.rename(account, "Archive", "a"));
        }
        Step::Purge => {
            engine.later(15 * DAY);
            engine.purge();
        }
        Step::Settle => {
            settle(engine);
        }
    }
}

/// What a filter would be that learned every message there is, as it is now.
fn from_scratch(engine: &Engine, account: AccountId) -> (Counts, Vec<(WordId, Counts)>) {
    let mut totals = Counts::default();
    let mut sum: BTreeMap<WordId, Counts> = BTreeMap::new();
    for entry in mailboxes(&engine.rows, account).unwrap() {
        let Some(mailbox) = entry.mailbox else {
            continue;
        };
        let names = mailbox_keywords(&engine.rows, account, mailbox).unwrap();
        for row in engine.all(account, mailbox) {
            let has = |wanted: &str| {
                let at = names
                    .iter()
                    .position(|name| name.eq_ignore_ascii_case(wanted));
                at.is_some_and(|at| row.keywords >> at & 1 == 1)
            };
            let class = match (has("$Junk"), has("$NotJunk")) {
                (true, false) => Class::Spam,
                (false, true) => Class::Ham,
                _ => continue,
            };
            totals.add(class);
            let meta = meta(&engine.rows, account, mailbox, row.uid).unwrap();
            for word in words(meta.unwrap().body.id.counter) {
                sum.entry(word).or_default().add(class);
            }
        }
    }
    (totals, sum.into_iter().collect())
}

proptest! {
    #[test]
    fn after_any_history_the_filter_is_that_of_the_messages_there_are(history in steps()) {
        let (mut engine, account) = Engine::with_account();
        for step in &history {
            run(&mut engine, account, step);
            engine.check();
        }
        settle(&mut engine);
        engine.check();
        let (totals, words) = from_scratch(&engine, account);
        prop_assert_eq!(junk_learned(&engine.rows, account).unwrap(), totals);
        let learned = usize::from(!totals.is_zero());
        prop_assert_eq!(sums(&engine).len(), words.len() + learned);
        for (word, counts) in words {
            prop_assert_eq!(junk_word(&engine.rows, account, word).unwrap(), counts);
        }
    }

    #[test]
    fn after_any_history_junk_and_back_changes_no_row_of_the_filter(history in steps(), nth in 0usize..12, of in 0u8..5, settles: bool) {
        let (mut engine, account) = Engine::with_account();
        for step in &history {
            run(&mut engine, account, step);
        }
        // Any message of the history, or a new one, whatever it is called.
        let inbox = engine.id(account, "INBOX");
        let new = engine.put_with(account, "INBOX", Flags::NONE, chosen(of)).uid;
        let all = engine.all(account, inbox);
        let uid = all.get(nth).map_or(new, |row| row.uid);
        settle(&mut engine);
        let called = |engine: &Engine, uid: Uid| {
            let row = engine.all(account, inbox).into_iter().find(|row| row.uid == uid);
            row.unwrap().keywords
        };
        let (before, keywords) = (sums(&engine), called(&engine, uid));
        let there = moved(&mut engine, account, "INBOX", [uid].into_iter().collect(), "Junk");
        if settles {
            settle(&mut engine);
        }
        let back = moved(&mut engine, account, "Junk", there, "INBOX");
        settle(&mut engine);
        engine.check();
        prop_assert_eq!(sums(&engine), before);
        prop_assert_eq!(called(&engine, back.iter().next().unwrap()), keywords);
    }
}
