//! What a sudden end leaves behind, and how it is told from damage.
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
use mox_mailbox::{AccountId, BodyHeader, BodyRef, Stop};
use mox_store::{
    BodyFacts, Committer, Disk, Leftovers, MemDisk, MemKv, Options, Run, SHARDS, Store, Verified,
};
use std::sync::Arc;
use world::{Fuse, FusedDisk, content, deliver, facts, files, options, put, remove, settle, turn};

fn open(kv: &MemKv, disk: &MemDisk) -> (Store, Committer) {
    Store::open(Box::new(kv.clone()), Arc::new(disk.clone()), options()).unwrap()
}

fn left(files: u64, octets: u64) -> Verified {
    Verified {
        findings: Vec::new(),
        leftovers: Leftovers { files, octets },
    }
}

fn findings(store: &Store) -> Vec<String> {
    let found = store.verify(true).findings;
    found.iter().map(ToString::to_string).collect()
}

fn sweep(store: &Store) -> u64 {
    let swept = (0..SHARDS).map(|shard| store.sweep(shard as u8).unwrap());
    swept.map(|swept| swept.removed).sum()
}

/// A life that ends suddenly with one stored body, one complete and one begun.
fn sudden_end() -> (MemKv, MemDisk) {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let run = deliver(&store, content(20_000)).unwrap();
    settle(&mut committer, run).unwrap();
    let mut spool = store.spool();
    spool.push(content(20_000));
    let complete = spool.finish(facts()).unwrap();
    let mut begun = store.spool();
    begun.push(content(30_000));
    begun.write().unwrap();
    let (kv, disk) = (kv.clone(), disk.clone());
    std::mem::forget((store, committer, complete, begun));
    (kv, disk)
}

#[test]
fn what_an_unfinished_delivery_left_is_no_finding_until_it_is_swept_and_one_afterwards() {
    let (kv, disk) = sudden_end();
    let octets = 2 * BodyHeader::LEN as u64 + 50_000;
    // Looking and closing in order does not make them a fault.
    for _ in 0..2 {
        let (store, committer) = open(&kv, &disk);
        assert_eq!(store.verify(true), left(2, octets));
        committer.close().unwrap();
    }
    let (store, committer) = open(&kv, &disk);
    assert_eq!(sweep(&store), 2);
    assert_eq!(store.verify(true), left(0, 0));
    committer.close().unwrap();
    // From here on nothing explains such a file, in this life or the next.
    disk.create("body/05/00000001-0000000000000105").unwrap();
    let (store, committer) = open(&kv, &disk);
    let expected = ["body/05/00000001-0000000000000105: nothing refers to it"];
    assert_eq!(findings(&store), expected);
    committer.close().unwrap();
}

#[test]
fn half_a_sweep_ends_nothing() {
    let (kv, disk) = sudden_end();
    let (store, committer) = open(&kv, &disk);
    for shard in 2..SHARDS {
        store.sweep(shard as u8).unwrap();
    }
    committer.close().unwrap();
    let (store, _committer) = open(&kv, &disk);
    let octets = BodyHeader::LEN as u64 + 20_000;
    assert_eq!(store.verify(true), left(1, octets));
}

#[test]
fn an_orderly_stop_removes_bodies_that_are_still_coming_in_and_lets_no_more_begin() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let run = deliver(&store, content(20_000)).unwrap();
    settle(&mut committer, run).unwrap();
    let mut begun = store.spool();
    begun.push(content(30_000));
    begun.write().unwrap();
    let mut late = store.spool();
    late.push(content(30_000));
    // Its op is queued and never run.
    let mut queued = deliver(&store, content(40_000)).unwrap();
    assert!(world::poll_once(&mut queued).is_pending());
    assert_eq!(files(&disk).len(), 3);
    store.close();
    committer.close().unwrap();
    assert_eq!(files(&disk).len(), 1);
    assert!(late.write().is_err());
    assert!(begun.finish(facts()).is_err());
    drop(late);
    assert_eq!(files(&disk).len(), 1);
    let (store, _committer) = open(&kv, &disk);
    assert_eq!(store.verify(true), left(0, 0));
}

#[test]
fn a_file_that_could_not_be_unlinked_is_left_to_the_next_sweep() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let fuse = Fuse::new(u64::MAX);
    let fused = FusedDisk(disk.clone(), fuse.clone());
    let (store, mut committer) =
        Store::open(Box::new(kv.clone()), Arc::new(fused), options()).unwrap();
    let run = deliver(&store, content(20_000)).unwrap();
    let body: BodyRef = settle(&mut committer, run).unwrap();
    fuse.0.store(0, std::sync::atomic::Ordering::SeqCst);
    let run = remove(&store, body);
    settle(&mut committer, run).unwrap();
    fuse.0.store(u64::MAX, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(files(&disk).len(), 1);
    let octets = BodyHeader::LEN as u64 + 20_000;
    assert_eq!(store.verify(true), left(1, octets));
    committer.close().unwrap();
    let (store, _committer) = open(&kv, &disk);
    assert_eq!(store.verify(true), left(1, octets));
    assert_eq!(sweep(&store), 1);
    assert_eq!(store.verify(true), left(0, 0));
}

#[test]
fn a_file_that_no_delivery_leaves_so_is_a_finding_after_a_sudden_end_too_and_is_never_swept() {
    let (kv, disk) = sudden_end();
    let name = |counter: u64| format!("body/{counter:02x}/00000001-{counter:016x}");
    // The complete one of the dead start under another's name, a header with a changed octet, one of a later start.
    let complete = disk.read_at(&name(1), 0, 99_999).unwrap();
    let mut damaged = complete.to_vec();
    damaged[30] ^= 1;
    let later = "body/07/00000009-0000000000000007".to_owned();
    for (name, octets) in [
        (name(0x55), complete.clone()),
        (name(1), damaged.into()),
        (later, complete),
    ] {
        let _ = disk.unlink(&name);
        disk.create(&name).unwrap();
        disk.write_at(&name, 0, &[octets]).unwrap();
    }
    let (store, _committer) = open(&kv, &disk);
    let expected = [
        "body/01/00000001-0000000000000001: nothing refers to it; a body header is damaged",
        "body/07/00000009-0000000000000007: nothing refers to it; it is of a start that never was",
        "body/55/00000001-0000000000000055: nothing refers to it; it is another body",
    ];
    assert_eq!(findings(&store), expected);
    assert_eq!(store.verify(true).leftovers.files, 1);
    assert_eq!(sweep(&store), 1);
    assert_eq!(findings(&store), expected);
}

#[test]
fn a_body_for_an_account_that_was_never_made_speaks_of_lost_rows() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let open = || {
        let options = Options::default();
        Store::open(Box::new(kv.clone()), Arc::new(disk.clone()), options).unwrap()
    };
    let (store, mut committer) = open();
    let run: Run<(), Stop> = store.run(mox_mailbox::initialise);
    settle(&mut committer, run).unwrap();
    for account in [0, 1] {
        let mut spool = store.spool();
        spool.push(content(20_000));
        let facts = BodyFacts {
            account: AccountId(account),
            ..facts()
        };
        std::mem::forget(spool.finish(facts).unwrap());
    }
    std::mem::forget((store, committer));
    let (store, _committer) = open();
    let found = findings(&store);
    assert_eq!(
        found,
        [
            "body/01/00000001-0000000000000001: nothing refers to it; account 1 that it came for was never made: rows are \
             missing"
        ]
    );
    assert_eq!(store.verify(true).leftovers.files, 1);
}

#[test]
fn a_file_that_is_being_removed_is_no_finding_whenever_one_looks() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, committer) = open(&kv, &disk);
    let looking = store.clone();
    let served = world::serve(committer);
    let looker = std::thread::spawn(move || {
        while looking.published().number < 400 {
            assert_eq!(looking.verify(false), left(0, 0));
        }
    });
    for _ in 0..200 {
        let run = deliver(&store, content(20_000)).unwrap();
        let body = futures_lite::future::block_on(run).unwrap();
        futures_lite::future::block_on(remove(&store, body)).unwrap();
    }
    looker.join().unwrap();
    store.close();
    drop(served.join().unwrap());
}

#[test]
fn a_clean_stop_as_earlier_versions_wrote_it_is_clean_and_may_have_leftovers() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let run: Run<(), Stop> = store.run(|_| Ok((put(b"\0x", b""), ())));
    settle(&mut committer, run).unwrap();
    assert!(!turn(&mut committer));
    committer.close().unwrap();
    let clean = disk.read_at("clean", 0, 99).unwrap();
    assert_eq!(clean, "1 tidy\n");
    disk.unlink("clean").unwrap();
    disk.create("clean").unwrap();
    disk.write_at("clean", 0, &[Bytes::from_static(b"1\n")])
        .unwrap();
    disk.create("body/05/00000001-0000000000000105").unwrap();
    let (store, _committer) = open(&kv, &disk);
    assert_eq!(store.verify(true), left(1, 0));
}
