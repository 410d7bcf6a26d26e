//! What operations cost: rows and octets written, rows read, whatever the size of the mailbox.
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
use mox_uids::{Uid, UidSet};

/// Octets an operation writes beside body, header section and facts of the message.
fn engine_octets(batch: &Batch) -> usize {
    let own = |(space, key, value): &(Space, Vec<u8>, Option<Bytes>)| {
        let message = [Table::Meta as u8, Table::Header as u8].contains(&key[0]);
        match *space == Space::Bodies || message {
            true => 0,
            false => key.len() + value.as_ref().map_or(0, Bytes::len),
        }
    };
    batch.writes.iter().map(own).sum()
}

/// The largest cost of deliveries that fill one page, and of flag changes, in rows, octets, rows read.
fn cost(e: &mut Engine, account: AccountId) -> (usize, usize, usize) {
    let inbox = e.id(account, "INBOX");
    let mut worst = (0, 0, 0);
    let mut see = |batch: &Batch, read| {
        let cost = (batch.writes.len(), engine_octets(batch), read);
        worst = (
            worst.0.max(cost.0),
            worst.1.max(cost.1),
            worst.2.max(cost.2),
        );
    };
    for _ in 0..128 {
        let delivery = e.delivery(10_000, vec![target(account, "INBOX")]);
        let run = |reads: &dyn Reads| {
            let counted = Counted::new(reads);
            let (batch, delivered) = deliver(&counted, &delivery)?;
            Ok((batch, (delivered.placed[0].uid, counted.read.get())))
        };
        let (uid, read) = e.run(run).unwrap();
        see(&e.last, read);
        let job = Mark {
            account,
            mailbox: inbox,
            uids: UidSet::from_runs([uid.0..=uid.0]),
            how: MarkHow::Add,
            flags: Flags::SEEN,
            keywords: vec![],
            unchanged_since: None,
        };
        let run = |reads: &dyn Reads| {
            let counted = Counted::new(reads);
            let (batch, _) = mark(&counted, &job, Uid(1))?;
            Ok((batch, counted.read.get()))
        };
        let read = e.run(run).unwrap();
        see(&e.last, read);
    }
    worst
}

#[test]
fn a_delivery_and_a_flag_change_cost_the_same_with_ten_and_a_hundred_thousand_messages() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..10 {
        e.put(a, "INBOX");
    }
    let small = cost(&mut e, a);
    // All but every third message was seen: the worst for a set of UIDs that is written as runs.
    let mut left = 100_000;
    while left > 0 {
        let targets: Vec<_> = (0..90)
            .map(|i| Target {
                flags: Flags(u8::from(i % 3 != 0)),
                ..target(a, "INBOX")
            })
            .collect();
        let delivery = e.delivery(10, targets);
        e.run(|reads| deliver(reads, &delivery)).unwrap();
        left -= 90;
    }
    e.later(100_000_000);
    let large = cost(&mut e, a);
    println!("rows written, octets, rows read: {small:?} at 10 messages, {large:?} at 100,000");
    assert!(small.0 <= 12 && large.0 <= 12, "rows");
    assert!(
        small.1 <= 2_500 && large.1 <= 2_500,
        "octets: {small:?} {large:?}"
    );
    assert!(small.2 <= 16 && large.2 <= 16, "rows read");
}

#[test]
fn select_reads_a_row_for_four_thousand_messages() {
    let (mut e, a) = Engine::with_account();
    for _ in 0..1000 {
        let delivery = e.delivery(10, vec![target(a, "INBOX"); 90]);
        e.run(|reads| deliver(reads, &delivery)).unwrap();
    }
    let inbox = e.id(a, "INBOX");
    let counted = Counted::new(&e.rows);
    let selected = select(&counted, a, inbox).unwrap().unwrap();
    assert_eq!(selected.uids.len(), 90_000);
    assert_eq!(selected.first_unseen, Some(Uid(1)));
    assert!(counted.read.get() <= 25, "{}", counted.read.get());
    // Ten thousand rows are some eighty pages.
    counted.read.set(0);
    let some = rows(&counted, a, inbox, &set("1:90000"), Uid(40_001), 10_000).unwrap();
    assert_eq!((some.rows.len(), some.next), (10_000, Some(Uid(50_001))));
    assert!(counted.read.get() <= 81, "{}", counted.read.get());
}
