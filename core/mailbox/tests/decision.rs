//! Records of decisions: found by what they are about, and gone when their time or their room is over.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod engine;

use bytes::Bytes;
use mox_machine::Utc;
use mox_mailbox::{
    Batch, Beside, DATED_MAX, DECISION_MAX, Dated, DatedSource, DecisionBudget, MemRows, NewDated,
    NewDecision, Progress, Reads, SAME_SOURCE_MAX, SENT_OCTETS_MAX, Space, dated, decisions,
    deliver_beside, keep_dated, keep_decisions, purge_dated, purge_decisions,
};

const ROOM: DecisionBudget = DecisionBudget {
    octets: 1_000_000,
    spare: 1_000_000,
};

fn new(at: i64, keys: &[&str], record: &str) -> NewDecision {
    NewDecision {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        record: Bytes::copy_from_slice(record.as_bytes()),
        at: Utc::from_secs(at),
        is_spare: false,
        observations: Vec::new(),
    }
}

struct Store(MemRows);

impl Store {
    fn new() -> Self {
        Self(MemRows::new())
    }

    fn apply(&mut self, batch: Batch) {
        self.0.apply(&batch);
    }

    fn keep(&mut self, new: &NewDecision, budget: DecisionBudget) {
        let (batch, _) = keep_decisions(&self.0, std::slice::from_ref(new), budget).unwrap();
        self.apply(batch);
    }

    fn purge(&mut self, before: i64) {
        loop {
            let (batch, progress) = purge_decisions(&self.0, Utc::from_secs(before), ROOM).unwrap();
            self.apply(batch);
            if progress == Progress::Done {
                return;
            }
        }
    }

    fn found(&self, key: &str) -> Vec<String> {
        let found = decisions(&self.0, key, 10).unwrap().into_iter();
        found
            .map(|record| String::from_utf8(record.to_vec()).unwrap())
            .collect()
    }

    fn rows(&self) -> usize {
        self.0.iter(Space::Rows).count()
    }
}

#[test]
fn a_record_is_found_by_each_of_its_keys_the_newest_first() {
    let mut store = Store::new();
    store.keep(&new(1, &["id1", "bob@far.example"], "one"), ROOM);
    store.keep(&new(2, &["id2", "bob@far.example"], "two"), ROOM);
    assert_eq!(store.found("id1"), ["one"]);
    assert_eq!(store.found("BOB@far.example"), ["two", "one"]);
    assert!(store.found("id3").is_empty());
    assert!(store.found("").is_empty());
}

#[test]
fn old_records_go_with_all_that_leads_to_them() {
    let mut store = Store::new();
    for n in 0..100 {
        let (id, record) = (format!("id{n}"), format!("record {n}"));
        store.keep(&new(n, &[&id, "bob@far.example"], &record), ROOM);
    }
    store.purge(60);
    assert!(store.found("id59").is_empty());
    assert_eq!(store.found("id60"), ["record 60"]);
    // A record, its two keys, and the row that counts them.
    assert_eq!(store.rows(), 40 * 3 + 1);
    store.purge(1_000);
    assert_eq!(store.rows(), 1);
    store.keep(&new(2_000, &["id"], "again"), ROOM);
    assert_eq!(store.found("id"), ["again"]);
}

#[test]
fn what_is_kept_stays_within_its_budget_and_what_is_too_large_is_left_out() {
    let mut store = Store::new();
    let budget = DecisionBudget {
        octets: 1_000,
        spare: 1_000,
    };
    for n in 0..200 {
        let id = format!("id{n}");
        store.keep(&new(n, &[&id], &"x".repeat(100)), budget);
    }
    // 100 octets, a key and a record's own: 148 each.
    assert_eq!(store.rows(), 6 * 2 + 1);
    assert_eq!(store.found("id199").len(), 1);
    assert!(store.found("id193").is_empty());
    store.keep(&new(300, &["big"], &"x".repeat(DECISION_MAX + 1)), ROOM);
    assert!(store.found("big").is_empty());
}

/// Octets of the records there are.
fn octets(store: &Store) -> usize {
    let rows = store.0.iter(Space::Rows).map(|(_, row)| row.len());
    rows.sum()
}

#[test]
fn large_records_after_small_ones_take_no_more_room_than_there_is() {
    let mut store = Store::new();
    let budget = DecisionBudget {
        octets: 300_000,
        spare: 300_000,
    };
    for n in 0..600 {
        store.keep(&new(n, &[&format!("small{n}")], &"x".repeat(452)), budget);
    }
    assert_eq!(store.rows(), 600 * 2 + 1);
    let large = "x".repeat(DECISION_MAX);
    for n in 0..20 {
        store.keep(&new(1_000 + n, &[&format!("large{n}")], &large), budget);
        assert!(octets(&store) <= 300_000, "{}", octets(&store));
    }
    assert_eq!(store.found("large19").len(), 1);
    assert_eq!(store.found("large11").len(), 1);
}

#[test]
fn spare_records_make_room_among_their_like_only_and_are_found_like_others() {
    let mut store = Store::new();
    let budget = DecisionBudget {
        octets: 1_000,
        spare: 500,
    };
    store.keep(&new(1, &["id1", "bob"], "ordinary"), budget);
    let spare = |at: i64| NewDecision {
        is_spare: true,
        ..new(at, &[&format!("id{at}"), "bob"], &"x".repeat(28))
    };
    for at in 2..100 {
        store.keep(&spare(at), budget);
    }
    // 28 octets, two keys and a record's own: 100 each. The rows that count them are two.
    assert_eq!(store.rows(), 3 + 5 * 3 + 2);
    assert_eq!(store.found("id1"), ["ordinary"]);
    assert!(store.found("id94").is_empty());
    assert_eq!(store.found("id95").len(), 1);
    // The newest of both come first.
    store.keep(&new(100, &["id100", "bob"], "newest"), budget);
    let found = store.found("bob");
    let lengths: Vec<usize> = found.iter().map(String::len).collect();
    assert_eq!(lengths, [6, 28, 28, 28, 28, 28, 8]);
    let newest = decisions(&store.0, "bob", 2).unwrap();
    assert_eq!(newest, [&b"newest"[..], &[b'x'; 28][..]]);
    // Both go when they are old.
    store.purge(98);
    assert_eq!(store.found("bob").len(), 3);
    store.purge(1_000);
    assert_eq!(store.rows(), 2);
}

/// The keys of rows of records: the one that says which there are, then those of the records by number.
fn keys_of(store: &Store) -> (Vec<u8>, Vec<Vec<u8>>) {
    let rows = store.0.iter(Space::Rows).filter(|(_, row)| !row.is_empty());
    let mut keys: Vec<Vec<u8>> = rows.map(|(key, _)| key.to_vec()).collect();
    keys.sort_by_key(|key| (key.len(), key.clone()));
    (keys[0].clone(), keys[1..].to_vec())
}

fn damage(store: &mut Store, key: &[u8]) {
    let garbage = Bytes::from_static(&[0xff; 7]);
    let batch = Batch {
        writes: vec![(Space::Rows, key.to_vec(), Some(garbage))],
        ..Batch::default()
    };
    store.apply(batch);
}

#[test]
fn a_damaged_row_of_the_records_keeps_nothing_out() {
    let budget = DecisionBudget {
        octets: 1_000,
        spare: 1_000,
    };
    for damaged in 0..5 {
        let mut store = Store::new();
        for n in 0..4 {
            store.keep(
                &new(n, &[&format!("id{n}"), "bob"], &"x".repeat(150)),
                budget,
            );
        }
        let (which, records) = keys_of(&store);
        assert_eq!(records.len(), 4);
        let key = records.get(damaged).unwrap_or(&which).clone();
        damage(&mut store, &key);
        let others = store.found("bob").len();
        assert_eq!(others, if damaged < 4 { 3 } else { 4 }, "{damaged}");
        let mut passed_over = 0;
        for n in 4..12 {
            let one = new(n, &[&format!("id{n}"), "bob"], &"y".repeat(150));
            let kept = keep_decisions(&store.0, std::slice::from_ref(&one), budget);
            let (batch, damaged) = kept.unwrap();
            passed_over += damaged;
            store.apply(batch);
            assert_eq!(store.found(&format!("id{n}")), ["y".repeat(150)]);
        }
        assert_eq!(passed_over, 1, "{damaged}");
        assert_eq!(keys_of(&store).1.len(), 4, "{damaged}");
        assert_eq!(store.found("bob").len(), 4, "{damaged}");
        assert!(octets(&store) <= 1_000);
    }
}

#[test]
fn a_row_that_counts_what_cannot_be_is_made_again_and_one_that_counts_too_many_holds_nobody_up() {
    for (first, next, octets) in [
        (0u64, 4u64, u64::MAX),
        (0, 1 << 60, 100),
        (1_000, 2_000, 300),
        (5, 4, 100),
    ] {
        let mut store = Store::new();
        for n in 0..4 {
            store.keep(&new(n, &[&format!("id{n}"), "bob"], "a record"), ROOM);
        }
        let (which, _) = keys_of(&store);
        let version = store.0.get(Space::Rows, &which).unwrap().unwrap()[0];
        let row = postcard::to_extend(&(first, next, octets), vec![version]);
        store.apply(Batch {
            writes: vec![(Space::Rows, which, Some(row.unwrap().into()))],
            ..Batch::default()
        });
        store.keep(&new(5, &["id5", "bob"], "a record"), ROOM);
        assert_eq!(store.found("bob").len(), 5, "{next}");
        store.purge(5);
        assert_eq!(store.found("id5").len(), 1, "{next}");
        store.purge(100);
        store.keep(&new(200, &["id6"], "again"), ROOM);
        assert_eq!(store.found("id6"), ["again"], "{next}");
    }
}

#[test]
fn a_damaged_row_that_counts_the_spare_records_keeps_nothing_out_either() {
    let mut store = Store::new();
    let spare = |at: i64| NewDecision {
        is_spare: true,
        ..new(at, &[&format!("id{at}")], "a spare record")
    };
    for at in 0..4 {
        store.keep(&spare(at), ROOM);
    }
    let (which, _) = keys_of(&store);
    damage(&mut store, &which);
    store.keep(&new(4, &["id4"], "an ordinary record"), ROOM);
    let kept = keep_decisions(&store.0, &[spare(5)], ROOM);
    let (batch, damaged) = kept.unwrap();
    assert_eq!(damaged, 1);
    store.apply(batch);
    for at in [0, 1, 2, 3, 5] {
        assert_eq!(store.found(&format!("id{at}")), ["a spare record"]);
    }
    assert_eq!(store.found("id4"), ["an ordinary record"]);
    store.purge(3);
    assert!(store.found("id2").is_empty());
    assert_eq!(store.found("id3"), ["a spare record"]);
}

#[test]
fn what_cannot_be_read_goes_when_old_records_do() {
    for damaged in 0..5 {
        let mut store = Store::new();
        for n in 0..4 {
            store.keep(&new(n, &[&format!("id{n}")], "a record"), ROOM);
        }
        let (which, records) = keys_of(&store);
        let key = records.get(damaged).unwrap_or(&which).clone();
        damage(&mut store, &key);
        store.purge(2);
        store.purge(100);
        assert!(keys_of(&store).1.is_empty(), "{damaged}");
        store.keep(&new(200, &["id"], "again"), ROOM);
        assert_eq!(store.found("id"), ["again"]);
        assert!(store.found("id3").is_empty());
    }
}

#[test]
fn a_record_that_cannot_be_read_is_told_where_there_is_no_other() {
    let mut store = Store::new();
    store.keep(&new(1, &["id1"], "one"), ROOM);
    let (_, records) = keys_of(&store);
    damage(&mut store, &records[0]);
    assert!(decisions(&store.0, "id1", 10).is_err());
}

#[test]
fn rows_by_time_are_found_the_newest_first_and_go_when_they_are_old() {
    let mut store = Store::new();
    store.keep(&new(60, &["id"], "a record"), ROOM);
    let keep = |store: &mut Store, minutes: &[(i64, &'static str)]| {
        let rows: Vec<_> = minutes
            .iter()
            .map(|(at, row)| (Utc::from_secs(*at), Bytes::from_static(row.as_bytes())))
            .collect();
        let (batch, ()) = keep_dated(&store.0, Dated::Refused, &rows).unwrap();
        store.apply(batch);
    };
    keep(&mut store, &[(60, "one"), (120, "two")]);
    // A second start within the same minute.
    keep(&mut store, &[(120, "two again")]);
    let found = |store: &Store, max| {
        let rows = dated(&store.0, Dated::Refused, max, &|_| true)
            .unwrap()
            .into_iter();
        rows.map(|row| String::from_utf8(row.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&store, 10), ["two again", "two", "one"]);
    assert_eq!(found(&store, 1), ["two again"]);
    let wanted = dated(&store.0, Dated::Refused, 1, &|row| row == b"one").unwrap();
    assert_eq!(wanted, [&b"one"[..]]);
    assert!(
        dated(&store.0, Dated::TlsReport, 1, &|_| true)
            .unwrap()
            .is_empty()
    );
    loop {
        let (batch, progress) = purge_dated(&store.0, Dated::Refused, Utc::from_secs(120)).unwrap();
        store.apply(batch);
        if progress == Progress::Done {
            break;
        }
    }
    assert_eq!(found(&store, 10), ["two again", "two"]);
    assert_eq!(store.found("id"), ["a record"]);
}

#[test]
fn what_others_send_takes_so_much_room_and_no_more() {
    let mut engine = engine::Engine::new();
    let keep = |engine: &mut engine::Engine, at: i64, of: u64, id: u64, octets: usize| {
        let new = NewDated {
            kind: Dated::DmarcReport,
            at: Utc::from_secs(at),
            row: vec![u8::try_from(id % 256).unwrap(); octets].into(),
            source: Some(DatedSource { of, id }),
        };
        let delivery = engine.delivery(10, Vec::new());
        let beside = Beside {
            dated: vec![new],
            ..Beside::default()
        };
        engine
            .run(|reads| deliver_beside(reads, &delivery, &beside))
            .unwrap();
    };
    let rows = |engine: &engine::Engine| {
        let all = dated(&engine.rows, Dated::DmarcReport, usize::MAX, &|_| true).unwrap();
        all.iter()
            .map(|row| (row[0], row.len()))
            .collect::<Vec<_>>()
    };
    // The same again replaces the first one; of one source there are so many.
    keep(&mut engine, 10, 1, 7, 100);
    keep(&mut engine, 11, 1, 7, 200);
    assert_eq!(rows(&engine), [(7, 200)]);
    for id in 0..100 {
        keep(&mut engine, 12, 1, 100 + id, 10);
    }
    assert_eq!(rows(&engine).len(), usize::from(SAME_SOURCE_MAX));
    keep(&mut engine, 13, 2, 7, 300);
    assert_eq!(rows(&engine)[0], (7, 300));
    // Beyond the budget the oldest go.
    let large = SENT_OCTETS_MAX / DATED_MAX as u64;
    for n in 0..large + 20 {
        keep(&mut engine, 100 + n.cast_signed(), 1_000 + n, n, DATED_MAX);
    }
    let left = rows(&engine);
    assert_eq!(left.len() as u64, large);
    assert_eq!(left.last().map(|row| row.1), Some(DATED_MAX));
    // What is old goes with all that leads to it.
    loop {
        let before = Utc::from_secs(10_000);
        let purged = engine.run(|reads| purge_dated(reads, Dated::DmarcReport, before));
        if purged == Ok(Progress::Done) {
            break;
        }
    }
    assert!(rows(&engine).is_empty());
    let total = engine
        .rows
        .iter(Space::Rows)
        .filter(|(key, _)| key.ends_with(&[7, 4]));
    assert_eq!(
        total.map(|(_, row)| row.to_vec()).collect::<Vec<_>>(),
        [[0]]
    );
}
