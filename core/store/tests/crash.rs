//! What is found after a crash at every call to rows or files, and at every open.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests"
)]

mod world;

use bytes::Bytes;
use mox_mailbox::{BodyRef, Space};
use mox_store::{Committer, Disk, Kv, MemDisk, MemKv, OpenError, SHARDS, Store};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use world::{
    Fuse, FusedDisk, FusedKv, content, deliver, files, options, poll_once, put, reference, remove,
    settle, turn, whole,
};

/// What was acknowledged: must be there. And what was asked for and not acknowledged: may be there or not.
#[derive(Default)]
struct Ledger {
    stored: Vec<(BodyRef, Bytes)>,
    removed: Vec<BodyRef>,
    maybe_removed: Vec<BodyRef>,
    highest: u64,
}

/// A life of a store, as far as the fuse lets it.
fn live(kv: &MemKv, disk: &MemDisk, fuse: &Fuse, ledger: &mut Ledger) -> io::Result<()> {
    let fused = FusedKv(kv.clone(), fuse.clone());
    let place = FusedDisk(disk.clone(), fuse.clone());
    let (store, mut committer) =
        Store::open(Box::new(fused), Arc::new(place), options()).map_err(io::Error::other)?;
    let mut deliver_one = |committer: &mut Committer, size: usize| {
        let octets = content(size);
        let run = deliver(&store, octets.clone())?;
        let body = settle(committer, run).map_err(io::Error::other)?;
        ledger.stored.push((body, octets));
        ledger.highest = store.published().number;
        Ok::<_, io::Error>(body)
    };
    deliver_one(&mut committer, 100)?;
    let big = deliver_one(&mut committer, 200_000)?;
    store.upkeep()?;
    deliver_one(&mut committer, 20_000)?;
    drop(deliver(&store, content(30_000))?);
    ledger.stored.retain(|(body, _)| *body != big);
    ledger.maybe_removed.push(big);
    let run = remove(&store, big);
    settle(&mut committer, run).map_err(io::Error::other)?;
    ledger.maybe_removed.retain(|body| *body != big);
    ledger.removed.push(big);
    ledger.highest = store.published().number;
    store.upkeep()?;
    store.close();
    committer.close()
}

/// Everything acknowledged is there, nothing half is, and life goes on.
fn check(kv: MemKv, disk: MemDisk, ledger: &Ledger, what: &str) {
    let (store, mut committer) = Store::open(Box::new(kv), Arc::new(disk.clone()), options())
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let published = store.published();
    assert!(published.number >= ledger.highest, "{what}");
    for (body, octets) in &ledger.stored {
        assert_eq!(whole(&store, body).unwrap(), octets, "{what}");
    }
    let mut referenced = 0;
    published
        .view
        .scan(Space::Rows, b"\0R", b"\0S", &mut |key, _| {
            assert!(
                ledger.removed.iter().all(|body| reference(body.id) != key),
                "{what}"
            );
            referenced += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    for body in &ledger.maybe_removed {
        if world::referenced(&*published.view, body.id).unwrap() {
            assert_eq!(
                whole(&store, body).unwrap(),
                content(body.length as usize),
                "{what}"
            );
        }
    }
    for shard in 0..SHARDS {
        store.sweep(shard as u8).unwrap();
    }
    let faults = store.verify(true).findings;
    assert!(faults.is_empty(), "{what}: {faults:?}");
    // What is left are files that rows refer to, and numbers never used before.
    assert!(files(&disk).len() <= referenced, "{what}");
    let run = deliver(&store, content(40_000)).unwrap();
    let fresh = settle(&mut committer, run).unwrap();
    assert!(
        ledger.stored.iter().all(|(body, _)| body.id != fresh.id),
        "{what}"
    );
    committer.close().unwrap();
}

#[test]
fn a_crash_at_any_call_loses_nothing_acknowledged() {
    let mut points = 0;
    for calls in 0.. {
        let (kv, disk) = (MemKv::new(), MemDisk::new());
        let fuse = Fuse::new(calls);
        let mut ledger = Ledger::default();
        let ended = live(&kv, &disk, &fuse, &mut ledger).is_ok();
        // Rows that were committed and not synced may be there in part, in order.
        for kept in 0..=kv.unsynced() {
            let what = format!("crash at call {calls}, {kept} unsynced batches kept");
            check(kv.crash(kept), disk.crash(), &ledger, &what);
        }
        points += 1;
        if ended {
            break;
        }
    }
    // Making a store alone is 256 directories.
    assert!(points > 300, "{points}");
}

#[test]
fn a_crash_at_any_call_of_the_second_start_loses_nothing_either() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let mut first = Ledger::default();
    let fuse = Fuse::new(290);
    live(&kv, &disk, &fuse, &mut first).unwrap_err();
    assert!(!first.stored.is_empty());
    for calls in 0.. {
        let (kv, disk) = (kv.crash(9), disk.crash());
        let mut ledger = Ledger {
            stored: first.stored.clone(),
            highest: first.highest,
            ..Ledger::default()
        };
        let ended = live(&kv, &disk, &Fuse::new(calls), &mut ledger).is_ok();
        for kept in 0..=kv.unsynced() {
            let what = format!("second start, call {calls}, {kept} kept");
            check(kv.crash(kept), disk.crash(), &ledger, &what);
        }
        if ended {
            break;
        }
    }
}

fn started() -> (MemKv, MemDisk, Store, Committer) {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) =
        Store::open(Box::new(kv.clone()), Arc::new(disk.clone()), options()).unwrap();
    for n in 0..3_u8 {
        let run = store.run(move |_| Ok::<_, mox_mailbox::Stop>((put(&[b'k', n], b"v"), ())));
        settle(&mut committer, run).unwrap();
    }
    (kv, disk, store, committer)
}

fn reopen(kv: impl Kv + 'static, disk: &MemDisk) -> Result<(Store, Committer), OpenError> {
    Store::open(Box::new(kv), Arc::new(disk.clone()), options())
}

#[test]
fn rows_that_end_before_the_high_water_mark_are_refused_with_a_remedy() {
    let (kv, disk, store, committer) = started();
    let early = kv.crash(0);
    let run = store.run(|_| Ok::<_, mox_mailbox::Stop>((put(b"k", b"v"), ())));
    let mut committer = committer;
    settle(&mut committer, run).unwrap();
    // Not marked yet: nothing tells.
    assert!(reopen(early.crash(0), &disk.crash()).is_ok());
    store.upkeep().unwrap();
    let refused = reopen(early, &disk.crash()).unwrap_err();
    assert_eq!(
        refused,
        OpenError::Shortfall {
            durable: 4,
            found: 3
        }
    );
    let text = refused.to_string();
    assert!(
        text.contains("moxctl verify") && text.contains("moxctl salvage"),
        "{text}"
    );
    // After a clean stop as well.
    drop(store);
    let early = kv.crash(0);
    let (store, mut committer) = reopen(kv.clone(), &disk).unwrap();
    let run = store.run(|_| Ok::<_, mox_mailbox::Stop>((put(b"k", b"w"), ())));
    settle(&mut committer, run).unwrap();
    committer.close().unwrap();
    assert_eq!(
        reopen(early, &disk).unwrap_err(),
        OpenError::Shortfall {
            durable: 5,
            found: 4
        }
    );
}

#[test]
fn one_keyspace_or_the_files_set_back_are_noticed() {
    let (kv, disk, store, mut committer) = started();
    let run = deliver(&store, content(10)).unwrap();
    settle(&mut committer, run).unwrap();
    store.upkeep().unwrap();
    drop(committer);
    let mut without_bodies = kv.crash(0);
    let mut batch = mox_mailbox::Batch::default();
    batch.writes.push((Space::Bodies, vec![0], None));
    without_bodies.commit(&batch).unwrap();
    let refused = reopen(without_bodies, &disk.crash()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged(_)), "{refused}");
    let refused = reopen(kv.crash(0), &MemDisk::new()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged(_)), "{refused}");
    let lost = disk.crash();
    lost.unlink("mark.a").unwrap();
    lost.unlink("mark.b").unwrap();
    let refused = reopen(kv.crash(0), &lost).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged(_)), "{refused}");
}

#[test]
fn a_later_layout_is_refused() {
    let (kv, disk, _store, committer) = started();
    committer.close().unwrap();
    disk.write_at("schema", 0, &[Bytes::from_static(b"2")])
        .unwrap();
    assert_eq!(
        reopen(kv, &disk).unwrap_err(),
        OpenError::Newer { found: 2, known: 1 }
    );
}

/// Tells how often what was recovered is written again.
struct Rotates(MemKv, Fuse);

impl Kv for Rotates {
    fn reads(&self) -> &dyn mox_mailbox::Reads {
        self.0.reads()
    }
    fn commit(&mut self, batch: &mox_mailbox::Batch) -> io::Result<()> {
        self.0.commit(batch)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
    fn snapshot(&self) -> Arc<dyn mox_mailbox::Reads + Send + Sync> {
        self.0.snapshot()
    }
    fn rotate(&mut self) -> io::Result<()> {
        self.1.burn()?;
        self.0.rotate()
    }
    fn close(self: Box<Self>) -> io::Result<()> {
        Box::new(self.0).close()
    }
}

#[test]
fn only_a_stop_out_of_order_makes_what_was_recovered_written_again() {
    let (kv, disk, store, committer) = started();
    store.close();
    committer.close().unwrap();
    let fuse = Fuse::new(1);
    let left = |fuse: &Fuse| fuse.0.load(Ordering::SeqCst);
    let (_, committer) = reopen(Rotates(kv.clone(), fuse.clone()), &disk).unwrap();
    assert_eq!(left(&fuse), 1);
    drop(committer);
    let (_, committer) = reopen(Rotates(kv.clone(), fuse.clone()), &disk).unwrap();
    assert_eq!(left(&fuse), 0);
    drop(committer);
    // And when it fails, nobody is answered.
    assert!(reopen(Rotates(kv, fuse), &disk).is_err());
}

#[test]
fn the_group_in_which_a_crash_comes_is_kept_from_its_beginning() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let fuse = Fuse::new(u64::MAX);
    let fused = FusedKv(kv.clone(), fuse.clone());
    let (store, mut committer) =
        Store::open(Box::new(fused), Arc::new(disk.clone()), options()).unwrap();
    let mut runs: Vec<_> = (0..5_u8)
        .map(|n| store.run(move |_| Ok::<_, mox_mailbox::Stop>((put(&[b'k', n], b"v"), ()))))
        .collect();
    for run in &mut runs {
        assert!(poll_once(run).is_pending());
    }
    // Five ops and the mark are committed, the sync fails.
    fuse.0.store(6, Ordering::SeqCst);
    turn(&mut committer);
    assert_eq!(kv.unsynced(), 6);
    for kept in 0..=6 {
        let (store, _committer) = reopen(kv.crash(kept), &disk.crash()).unwrap();
        let view = store.published();
        let there: Vec<bool> = (0..5_u8)
            .map(|n| view.view.get(Space::Rows, &[b'k', n]).unwrap().is_some())
            .collect();
        let expected: Vec<bool> = (0..5).map(|n| n < kept).collect();
        assert_eq!(there, expected);
        assert_eq!(view.number, u64::from(kept == 6));
    }
}
