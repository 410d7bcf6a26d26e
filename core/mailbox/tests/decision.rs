//! Records of decisions: found by what they are about, and gone when their time or their room is over.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use bytes::Bytes;
use mox_machine::Utc;
use mox_mailbox::{
    Batch, DECISION_MAX, Dated, DecisionBudget, MemRows, NewDecision, Progress, Space, dated,
    decisions, keep_dated, keep_decisions, purge_dated, purge_decisions,
};

const ROOM: DecisionBudget = DecisionBudget { octets: 1_000_000 };

fn new(at: i64, keys: &[&str], record: &str) -> NewDecision {
    NewDecision {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        record: Bytes::copy_from_slice(record.as_bytes()),
        at: Utc::from_secs(at),
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
        let (batch, ()) = keep_decisions(&self.0, std::slice::from_ref(new), budget).unwrap();
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
    let budget = DecisionBudget { octets: 1_000 };
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
