//! Bodies: spooled, read, removed, swept, verified.
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
use mox_mailbox::{BodyHeader, BodyId, BodyRef, INLINE_BODY_MAX, Stop};
use mox_store::{
    BodyFault, Committer, Disk, MemDisk, MemKv, Place, Run, SHARDS, SPOOL_WRITE, Store, Swept,
    each_body,
};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use world::{
    Fuse, FusedDisk, FusedKv, content, deliver, facts, files, options, poll_once, put, referenced,
    remove, settle, turn, whole,
};

fn open() -> (Store, Committer, MemDisk) {
    let disk = MemDisk::new();
    let kv = Box::new(MemKv::new());
    let (store, committer) = Store::open(kv, Arc::new(disk.clone()), options()).unwrap();
    (store, committer, disk)
}

fn delivered(store: &Store, committer: &mut Committer, body: Bytes) -> BodyRef {
    settle(committer, deliver(store, body).unwrap()).unwrap()
}

fn nothing(store: &Store) -> Run<(), Stop> {
    store.run(|_| Ok((put(b"x", b""), ())))
}

#[test]
fn a_body_can_be_read_while_it_comes_in_wherever_it_is() {
    let (store, _committer, _) = open();
    for size in [0, 7, INLINE_BODY_MAX + 1, 3 * SPOOL_WRITE + 5] {
        let octets = content(size);
        let mut spool = store.spool();
        // Some of it in the file, the rest in several pieces in memory.
        let (written, waits) = octets.split_at(size / 3);
        spool.push(Bytes::copy_from_slice(written));
        spool.write().unwrap();
        for piece in waits.chunks(5_000) {
            spool.push(Bytes::copy_from_slice(piece));
        }
        let end = size as u64;
        for range in [
            0..end,
            0..end / 3,
            end / 3..end,
            end / 4..end / 2,
            1..end + 9,
            end..end + 9,
        ] {
            let from = (range.start as usize).min(size);
            let to = (range.end as usize).min(size).max(from);
            assert_eq!(
                spool.read(range.clone()).unwrap(),
                octets[from..to],
                "{size} {range:?}"
            );
        }
    }
}

#[test]
fn bodies_of_every_size_come_back_whole_and_in_parts() {
    let (store, mut committer, disk) = open();
    let sizes = [
        0,
        1,
        INLINE_BODY_MAX - 1,
        INLINE_BODY_MAX,
        INLINE_BODY_MAX + 1,
        SPOOL_WRITE,
        SPOOL_WRITE + 1,
        3 * SPOOL_WRITE + 5,
    ];
    for size in sizes {
        let octets = content(size);
        let body = delivered(&store, &mut committer, octets.clone());
        assert_eq!(body.length, size as u64);
        assert_eq!(&body.blake3, blake3::hash(&octets).as_bytes());
        assert_eq!(whole(&store, &body).unwrap(), octets);
        let view = store.published();
        let part = |range| store.read_body(&*view.view, &body, range).unwrap();
        let end = size as u64;
        assert_eq!(part(0..end / 2), octets[..size / 2]);
        assert_eq!(part(end / 2..end + 7), octets[size / 2..]);
        assert_eq!(part(end..end + 7), "");
        assert_eq!(part(u64::MAX - 1..u64::MAX), "");
    }
    let big = sizes.iter().filter(|size| **size > INLINE_BODY_MAX);
    assert_eq!(files(&disk).len(), big.count());
    let mut found = Vec::new();
    let view = store.published();
    each_body(&disk, &*view.view, &mut |body| found.push(body)).unwrap();
    let mut lengths: Vec<u64> = found
        .iter()
        .map(|f| f.state.as_ref().unwrap().body.length)
        .collect();
    lengths.sort_unstable();
    let mut expected = sizes.map(|size| size as u64);
    expected.sort_unstable();
    assert_eq!(lengths, expected);
}

#[test]
fn a_write_is_due_once_enough_waits_and_never_for_what_may_stay_a_row() {
    let (store, _committer, disk) = open();
    let mut spool = store.spool();
    assert!(!spool.push(content(INLINE_BODY_MAX)));
    assert!(spool.is_inline());
    spool.write().unwrap();
    assert!(files(&disk).is_empty());
    assert!(!spool.push(content(SPOOL_WRITE - INLINE_BODY_MAX - 1)));
    assert!(!spool.is_inline());
    assert!(spool.push(content(1)));
    spool.write().unwrap();
    assert_eq!(files(&disk).len(), 1);
    assert!(!spool.push(content(1)));
    assert_eq!(spool.length(), SPOOL_WRITE as u64 + 1);
}

#[test]
fn a_finished_file_survives_a_crash_with_its_header() {
    let (store, _committer, disk) = open();
    let mut spool = store.spool();
    let octets = content(50_000);
    spool.push(octets.clone());
    let spooled = spool.finish(facts()).unwrap();
    assert_eq!(spooled.body().inline, None);
    let left = disk.crash();
    let name = files(&left).remove(0);
    let file = left.read_at(&format!("body/00/{name}"), 0, 99_999).unwrap();
    let header = BodyHeader::decode(&file).unwrap();
    assert_eq!(header.body, spooled.body().stored());
    assert_eq!(
        (header.account, header.mailbox),
        (facts().account, facts().mailbox)
    );
    assert_eq!((header.uid, header.date), (facts().uid, facts().date));
    assert_eq!(file[BodyHeader::LEN..], octets);
}

#[test]
fn an_abandoned_file_goes_with_the_next_group_and_a_stored_one_stays() {
    let (store, mut committer, disk) = open();
    let mut unfinished = store.spool();
    unfinished.push(content(20_000));
    unfinished.write().unwrap();
    let mut spool = store.spool();
    spool.push(content(20_000));
    let finished = spool.finish(facts()).unwrap();
    let stored = delivered(&store, &mut committer, content(20_000));
    assert_eq!(files(&disk).len(), 3);
    drop(unfinished);
    let run = nothing(&store);
    settle(&mut committer, run).unwrap();
    assert_eq!(files(&disk).len(), 2);
    // With no other op, upkeep has the committer look.
    drop(finished);
    assert!(!turn(&mut committer));
    store.upkeep().unwrap();
    assert!(turn(&mut committer));
    assert_eq!(files(&disk).len(), 1);
    assert_eq!(whole(&store, &stored).unwrap(), content(20_000));
    // An op that refuses gives its body up too.
    let mut spool = store.spool();
    spool.push(content(20_000));
    let spooled = spool.finish(facts()).unwrap();
    let run: Run<(), Stop> = store.run(move |_| {
        let _mine = &spooled;
        Err(Stop::NoSuchAccount)
    });
    settle(&mut committer, run).unwrap_err();
    assert_eq!(files(&disk).len(), 1);
}

#[test]
fn a_body_whose_session_left_after_its_op_was_queued_stays() {
    let (store, mut committer, disk) = open();
    let mut run = deliver(&store, content(20_000)).unwrap();
    assert!(poll_once(&mut run).is_pending());
    drop(run);
    store.upkeep().unwrap();
    turn(&mut committer);
    store.upkeep().unwrap();
    turn(&mut committer);
    assert_eq!(files(&disk).len(), 1);
    // And one whose op never was queued goes.
    drop(deliver(&store, content(20_000)).unwrap());
    store.upkeep().unwrap();
    turn(&mut committer);
    assert_eq!(files(&disk).len(), 1);
}

#[test]
fn a_file_is_unlinked_only_after_the_commit_that_removed_its_last_reference() {
    let disk = MemDisk::new();
    let kv = MemKv::new();
    let fuse = Fuse::new(u64::MAX);
    let fused = FusedKv(kv.clone(), fuse.clone());
    let (store, mut committer) =
        Store::open(Box::new(fused), Arc::new(disk.clone()), options()).unwrap();
    let kept = delivered(&store, &mut committer, content(20_000));
    let gone = delivered(&store, &mut committer, content(20_000));
    let run = remove(&store, gone);
    settle(&mut committer, run).unwrap();
    assert_eq!(files(&disk).len(), 1);
    assert_eq!(
        whole(&store, &gone).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    // An op that asks to unlink what another row still needs is not obeyed.
    let run: Run<(), Stop> = store.run(move |_| {
        let mut batch = put(b"x", b"");
        batch.unlink.push(kept.id);
        Ok((batch, ()))
    });
    settle(&mut committer, run).unwrap();
    assert_eq!(files(&disk).len(), 1);
    // The sync fails: the commit may be lost, so the file stays.
    fuse.0.store(2, Ordering::SeqCst);
    let run = remove(&store, kept);
    settle(&mut committer, run).unwrap_err();
    assert!(store.failed().is_some());
    assert_eq!(files(&disk).len(), 1);
}

#[test]
fn a_failing_disk_is_reported_and_the_store_lives_on() {
    for calls in 0..5 {
        let disk = MemDisk::new();
        let fuse = Fuse::new(u64::MAX);
        let fused = FusedDisk(disk.clone(), fuse.clone());
        let (store, mut committer) =
            Store::open(Box::new(MemKv::new()), Arc::new(fused), options()).unwrap();
        fuse.0.store(calls, Ordering::SeqCst);
        assert!(deliver(&store, content(20_000)).is_err(), "{calls}");
        fuse.0.store(u64::MAX, Ordering::SeqCst);
        let run = nothing(&store);
        settle(&mut committer, run).unwrap();
        assert!(files(&disk).is_empty(), "{calls}");
        delivered(&store, &mut committer, content(20_000));
    }
}

#[test]
fn a_sweep_removes_what_is_unreferenced_of_earlier_starts_and_what_is_not_in_flight_of_this_one() {
    let (store, mut committer, disk) = open();
    let kept = delivered(&store, &mut committer, content(20_000));
    let place = |name: &str| {
        let shard = &name[name.len() - 2..];
        format!("body/{shard}/{name}")
    };
    let make = |name: &str| disk.create(&place(name)).unwrap();
    make("00000000-0000000000000009");
    make("00000001-0000000000000077");
    make("00000009-0000000000000077");
    disk.create("body/00/notes.txt").unwrap();
    let mut spool = store.spool();
    spool.push(content(20_000));
    spool.write().unwrap();
    let mut all = Swept::default();
    for shard in 0..SHARDS {
        let swept = store.sweep(shard as u8).unwrap();
        all.kept += swept.kept;
        all.removed += swept.removed;
    }
    // Kept: the one referred to, the one in flight, one of a start that was not yet, and what is no body.
    assert_eq!(
        all,
        Swept {
            kept: 4,
            removed: 2
        }
    );
    assert!(disk.length(&place("00000000-0000000000000009")).is_err());
    assert_eq!(whole(&store, &kept).unwrap(), content(20_000));
    spool.finish(facts()).unwrap();
}

#[test]
fn damage_to_a_body_is_noticed() {
    let (store, mut committer, disk) = open();
    let file = |body: BodyRef| {
        format!(
            "body/{:02x}/{:08x}-{:016x}",
            body.id.counter, body.id.boot, body.id.counter
        )
    };
    let mut faults = Vec::new();
    let names: Vec<String> = (0..4)
        .map(|_| file(delivered(&store, &mut committer, content(20_000))))
        .collect();
    let octets = |s: &'static str| [Bytes::from_static(s.as_bytes())];
    disk.write_at(&names[0], 200, &octets("!")).unwrap();
    disk.write_at(&names[1], 20_128, &octets("more")).unwrap();
    disk.write_at(&names[2], 3, &octets("!")).unwrap();
    disk.unlink(&names[3]).unwrap();
    disk.link(&names[0], &names[3]).unwrap();
    let view = store.published();
    each_body(&disk, &*view.view, &mut |found| {
        assert!(matches!(found.place, Place::File(_)));
        faults.push(found.state.unwrap_err());
    })
    .unwrap();
    assert_eq!(faults[0], BodyFault::Hash);
    let length = BodyFault::Length {
        expected: 20_000,
        found: 20_004,
    };
    assert_eq!(faults[1], length);
    assert!(matches!(faults[2], BodyFault::Header(_)));
    assert_eq!(
        faults[3],
        BodyFault::Header("it is another body".to_owned())
    );
}

#[test]
fn a_short_file_and_another_bodys_row_are_errors_when_read() {
    let (store, mut committer, _disk) = open();
    let big = delivered(&store, &mut committer, content(20_000));
    let small = delivered(&store, &mut committer, content(100));
    let longer = BodyRef {
        length: 30_000,
        ..big
    };
    assert_eq!(
        whole(&store, &longer).unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
    let other = BodyRef {
        blake3: [0; 32],
        ..small
    };
    assert_eq!(
        whole(&store, &other).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    let none = BodyRef {
        id: BodyId {
            boot: 9,
            counter: 9,
        },
        ..small
    };
    assert_eq!(
        whole(&store, &none).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn verify_tells_of_files_nobody_refers_to() {
    let (store, mut committer, disk) = open();
    delivered(&store, &mut committer, content(20_000));
    assert_eq!(store.verify(true).findings, []);
    disk.create("body/05/00000001-0000000000000105").unwrap();
    disk.create("body/05/what").unwrap();
    let mut spool = store.spool();
    spool.push(content(20_000));
    spool.write().unwrap();
    let found: Vec<String> = store
        .verify(false)
        .findings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "body/05/00000001-0000000000000105: nothing refers to it",
            "body/05/what: its name is not that of a body"
        ]
    );
    let view = store.published();
    assert_eq!(
        referenced(
            &*view.view,
            BodyId {
                boot: 1,
                counter: 0
            }
        ),
        Ok(true)
    );
}
