//! The mailbox engine's own operations through the store: delivered, expunged, purged, verified, crashed.
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
use mox_machine::{Secret, Utc};
use mox_mailbox::{
    AccountId, Body, BodyRef, Copy, CopyCursor, Delivered, Delivery, Doomed, Flags, GONE_SECS,
    Progress, Stop, Target, copy, create_account, deliver, expunge, initialise, is_referenced,
    mailbox_id, purge, undo_copy, unfinished_copies,
};
use mox_store::{Committer, Disk, MemDisk, MemKv, Options, Run, Store, Topic};
use std::io;
use std::sync::Arc;
use world::{Fuse, FusedDisk, FusedKv, content, facts, files, settle, whole};

const NOW: Utc = Utc::from_secs(1_800_000_000);

fn delivery(body: Body, accounts: &[AccountId]) -> Delivery {
    let target = |account: &AccountId| Target {
        account: *account,
        mailbox: "INBOX".to_owned(),
        create: true,
        prefix: Bytes::from_static(b"Return-Path: <>\r\n"),
        flags: Flags::default(),
        keywords: Vec::new(),
        date: NOW,
        origin: Bytes::new(),
    };
    Delivery {
        body,
        structure: Bytes::from_static(b"structure"),
        header: Bytes::from_static(b"Subject: x\r\n\r\n"),
        targets: accounts.iter().map(target).collect(),
        queue: None,
        now: NOW,
    }
}

fn receive(
    store: &Store,
    octets: Bytes,
    accounts: Vec<AccountId>,
) -> io::Result<Run<(BodyRef, Delivered), Stop>> {
    let mut spool = store.spool();
    spool.push(octets);
    let spooled = spool.finish(facts())?;
    Ok(store.run(move |reads| {
        let body = Body::New(spooled.body().clone());
        let (batch, done) = deliver(reads, &delivery(body, &accounts))?;
        Ok((batch, (spooled.body().stored(), done)))
    }))
}

fn set_up(store: &Store, committer: &mut Committer) -> Result<Vec<AccountId>, io::Error> {
    let run = store.run(initialise);
    settle(committer, run).map_err(io::Error::other)?;
    let mut accounts = Vec::new();
    for name in ["ann", "bob"] {
        let run = store
            .run(move |reads| create_account(reads, name, &Secret::new(Bytes::new()), None, NOW));
        accounts.push(settle(committer, run).map_err(io::Error::other)?);
    }
    Ok(accounts)
}

#[test]
fn a_message_lives_from_its_delivery_to_its_purge_and_every_state_verifies() {
    let disk = MemDisk::new();
    let (store, mut committer) = Store::open(
        Box::new(MemKv::new()),
        Arc::new(disk.clone()),
        Options::default(),
    )
    .unwrap();
    let accounts = set_up(&store, &mut committer).unwrap();
    let mut bodies = Vec::new();
    for size in [100, 20_000] {
        let octets = content(size);
        let run = receive(&store, octets.clone(), accounts.clone()).unwrap();
        let (body, done) = settle(&mut committer, run).unwrap();
        assert_eq!(whole(&store, &body).unwrap(), octets);
        assert_eq!(store.verify(true).findings, []);
        bodies.push((body, done));
    }
    assert_eq!(files(&disk).len(), 1);
    let placed = bodies[1].1.placed[0];
    let topic = Topic::Mailbox {
        account: placed.account,
        mailbox: placed.mailbox,
    };
    let mut watch = store.watch(topic, |_| placed.modseq);
    for account in 0..2 {
        for (_, done) in &bodies {
            let placed = done.placed[account];
            let run = store.run(move |reads| {
                let uids = mox_uids::UidSet::from_iter([placed.uid]);
                expunge(
                    reads,
                    placed.account,
                    placed.mailbox,
                    &Doomed::These(uids),
                    mox_uids::Uid(1),
                    NOW,
                )
            });
            drop(settle(&mut committer, run).unwrap());
        }
        assert_eq!(store.verify(true).findings, []);
    }
    let changed = world::poll_once(&mut Box::pin(watch.changed(placed.modseq)));
    assert!(changed.is_ready());
    // A reader that was slow can still read them; after their time they go, row and file.
    assert!(is_referenced(&*store.published().view, bodies[0].0.id).unwrap());
    let later = Utc::from_secs(NOW.secs() + GONE_SECS + 1);
    loop {
        let run = store.run(move |reads| purge(reads, later));
        if settle(&mut committer, run).unwrap() == Progress::Done {
            break;
        }
    }
    assert_eq!(store.verify(true).findings, []);
    assert!(files(&disk).is_empty());
    for (body, _) in &bodies {
        assert!(whole(&store, body).is_err());
    }
}

#[test]
fn after_a_crash_at_any_call_the_engines_rows_and_the_files_agree() {
    for calls in 260.. {
        let (kv, disk) = (MemKv::new(), MemDisk::new());
        let fuse = Fuse::new(calls);
        let mut stored = Vec::new();
        let mut live = || -> io::Result<()> {
            let (store, mut committer) = Store::open(
                Box::new(FusedKv(kv.clone(), fuse.clone())),
                Arc::new(FusedDisk(disk.clone(), fuse.clone())),
                Options::default(),
            )
            .map_err(io::Error::other)?;
            let accounts = set_up(&store, &mut committer)?;
            for size in [100, 20_000, 30_000] {
                let run = receive(&store, content(size), accounts.clone())?;
                let (body, done) = settle(&mut committer, run).map_err(io::Error::other)?;
                stored.push(body);
                store.upkeep()?;
                let placed = done.placed[0];
                let run = store.run(move |reads| {
                    let uids = mox_uids::UidSet::from_iter([placed.uid]);
                    expunge(
                        reads,
                        placed.account,
                        placed.mailbox,
                        &Doomed::These(uids),
                        mox_uids::Uid(1),
                        NOW,
                    )
                });
                drop(settle(&mut committer, run).map_err(io::Error::other)?);
            }
            committer.close()
        };
        let ended = live().is_ok();
        for kept in 0..=kv.unsynced() {
            let (kv, disk) = (kv.crash(kept), disk.crash());
            let (store, committer) =
                Store::open(Box::new(kv), Arc::new(disk), Options::default()).unwrap();
            for body in &stored {
                assert_eq!(whole(&store, body).unwrap(), content(body.length as usize));
            }
            for shard in 0..=255 {
                store.sweep(shard).unwrap();
            }
            assert_eq!(store.verify(true).findings, [], "call {calls}, {kept} kept");
            committer.close().unwrap();
        }
        if ended {
            break;
        }
    }
}

#[cfg(feature = "fjall")]
#[test]
fn a_directory_is_verified_as_a_whole() {
    let dir = world::TempDir::new("verified");
    let root = dir.0.join("store");
    {
        let (store, mut committer) = Store::open_directory(&root, Options::default()).unwrap();
        let accounts = set_up(&store, &mut committer).unwrap();
        for size in [100, 20_000] {
            let run = receive(&store, content(size), accounts.clone()).unwrap();
            settle(&mut committer, run).unwrap();
        }
        assert!(mox_store::verify_directory(&root, true).is_err());
    }
    assert_eq!(
        mox_store::verify_directory(&root, true).unwrap().findings,
        []
    );
    let file = root.join("body/01/00000001-0000000000000001");
    let mut octets = std::fs::read(&file).unwrap();
    octets[10_000] ^= 1;
    std::fs::write(&file, &octets).unwrap();
    assert_eq!(
        mox_store::verify_directory(&root, false).unwrap().findings,
        []
    );
    let found = mox_store::verify_directory(&root, true).unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0.contains("its content has changed"), "{found:?}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        mox_store::verify_directory(&root, false)
            .unwrap()
            .findings
            .len(),
        1
    );
    let disk = mox_store::FsDisk::open(&root).unwrap();
    assert_eq!(disk.list("body/01").unwrap(), Vec::<String>::new());
}

/// Steps of a COPY of all of ann's INBOX; `None` when it is done.
fn copy_step(
    store: &Store,
    account: AccountId,
    from: mox_mailbox::MailboxId,
    cursor: Option<CopyCursor>,
) -> Run<Option<CopyCursor>, Stop> {
    let job = Copy {
        account,
        from,
        uids: mox_uids::UidSet::from_runs([1..=u32::MAX]),
        to: "Archive".to_owned(),
        remove: false,
        rejects: None,
        now: NOW,
    };
    store.run(move |reads| {
        let (batch, copied) = copy(reads, &job, cursor)?;
        Ok((batch, copied.next))
    })
}

#[test]
fn after_a_crash_at_any_call_a_copy_is_there_whole_or_not_at_all() {
    const MESSAGES: u32 = 600;
    let (mut whole, mut none, mut undone) = (0, 0, 0);
    for calls in 0.. {
        let (kv, disk) = (MemKv::new(), MemDisk::new());
        let fuse = Fuse::new(u64::MAX);
        let (store, mut committer) = Store::open(
            Box::new(FusedKv(kv.clone(), fuse.clone())),
            Arc::new(disk.clone()),
            Options::default(),
        )
        .unwrap();
        let ann = set_up(&store, &mut committer).unwrap()[0];
        let mut inbox = None;
        for _ in 0..MESSAGES {
            let run = receive(&store, content(10), vec![ann]).unwrap();
            inbox = Some(settle(&mut committer, run).unwrap().1.placed[0].mailbox);
        }
        fuse.0.store(calls, std::sync::atomic::Ordering::SeqCst);
        let mut cursor = None;
        let acknowledged = loop {
            let run = copy_step(&store, ann, inbox.unwrap(), cursor);
            match settle(&mut committer, run) {
                Ok(None) => break true,
                Ok(next) => cursor = next,
                Err(_) => break false,
            }
        };
        for kept in 0..=kv.unsynced() {
            let (kv, disk) = (kv.crash(kept), disk.crash());
            let (store, mut committer) =
                Store::open(Box::new(kv), Arc::new(disk), Options::default()).unwrap();
            let view = store.published();
            for unfinished in unfinished_copies(&*view.view, 9).unwrap() {
                undone += 1;
                loop {
                    let run = store.run(move |reads| undo_copy(reads, unfinished, NOW));
                    if settle(&mut committer, run).unwrap() == Progress::Done {
                        break;
                    }
                }
            }
            let view = store.published();
            let archive = mailbox_id(&*view.view, ann, "Archive").unwrap().unwrap();
            let status = mox_mailbox::status(&*view.view, ann, archive).unwrap();
            match status.unwrap().messages {
                MESSAGES => whole += 1,
                0 if !acknowledged => none += 1,
                other => panic!("call {calls}, {kept} kept: {other} copies"),
            }
            assert_eq!(store.verify(true).findings, []);
        }
        if acknowledged {
            break;
        }
    }
    assert!(
        whole > 0 && none > 0 && undone > 0,
        "{whole} {none} {undone}"
    );
}
