//! Backups of a store in use, restoring them, and salvaging what is damaged.
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
    AccountId, Body, BodyRef, Delivery, Doomed, Enqueue, Flags, GONE_SECS, Group, Progress, Reads,
    Space, Stop, Table, Target, create_account, deliver, initialise,
};
use mox_store::{
    Committer, Disk, FsDisk, Kv, Manifest, MemDisk, MemKv, OpenError, Options, RestoreError,
    Restored, Run, SHARDS, Salvaged, Store, Verified, restore, salvage,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use world::{TempDir, content, facts, files, serve, settle, whole};

const NOW: Utc = Utc::from_secs(1_800_000_000);
const PREFIX: &str = "Return-Path: <>\r\n";

fn open(kv: &MemKv, disk: &MemDisk) -> (Store, Committer) {
    let options = Options::default();
    Store::open(Box::new(kv.clone()), Arc::new(disk.clone()), options).unwrap()
}

fn set_up(store: &Store, committer: &mut Committer) -> AccountId {
    let run: Run<(), Stop> = store.run(initialise);
    settle(committer, run).unwrap();
    let none = Secret::new(Bytes::new());
    let run = store.run(move |reads| create_account(reads, "ann", &none, None, NOW));
    settle(committer, run).unwrap()
}

/// Delivers into a mailbox, which is made when it is missing.
fn receive(store: &Store, octets: Bytes, account: AccountId, mailbox: &str) -> Run<BodyRef, Stop> {
    receive_and_send(store, octets, account, mailbox, None)
}

/// The same, and queues it.
fn receive_and_send(
    store: &Store,
    octets: Bytes,
    account: AccountId,
    mailbox: &str,
    queue: Option<Enqueue>,
) -> Run<BodyRef, Stop> {
    let mut spool = store.spool();
    spool.push(octets);
    let spooled = spool.finish(facts()).unwrap();
    let target = Target {
        account,
        mailbox: mailbox.to_owned(),
        create: true,
        prefix: Bytes::from_static(PREFIX.as_bytes()),
        flags: Flags::default(),
        keywords: Vec::new(),
        date: NOW,
        origin: Bytes::new(),
    };
    store.run(move |reads| {
        let delivery = Delivery {
            body: Body::New(spooled.body().clone()),
            structure: Bytes::new(),
            header: Bytes::from_static(b"Subject: x\r\n\r\n"),
            targets: vec![target],
            queue,
            now: NOW,
        };
        let (batch, _) = deliver(reads, &delivery)?;
        Ok((batch, spooled.body().stored()))
    })
}

fn expunge_all(store: &Store, account: AccountId, mailbox: &str) -> Run<(), Stop> {
    let mailbox = mailbox.to_owned();
    store.run(move |reads| {
        let id = mox_mailbox::mailbox_id(reads, account, &mailbox)?.unwrap();
        let all = mox_uids::UidSet::from_runs([1..=u32::MAX]);
        let doomed = Doomed::These(all);
        let (batch, done) =
            mox_mailbox::expunge(reads, account, id, &doomed, mox_uids::Uid(1), NOW)?;
        assert_eq!(done.next, None);
        Ok((batch, ()))
    })
}

fn purge_all(store: &Store, committer: &mut Committer) {
    let later = Utc::from_secs(NOW.secs() + GONE_SECS + 1);
    loop {
        let run = store.run(move |reads| mox_mailbox::purge(reads, later));
        if settle(committer, run).unwrap() == Progress::Done {
            return;
        }
    }
}

/// All rows but the store's own, and those that tell of UIDVALIDITY.
fn rows(view: &dyn Reads) -> BTreeMap<(Space, Vec<u8>), Bytes> {
    let mut all = BTreeMap::new();
    for space in [Space::Rows, Space::Bodies] {
        view.scan(space, &[1], &[0xff; 16], &mut |key, value| {
            let renewed = [Table::Numbers as u8, Table::Mailbox as u8].contains(&key[0]);
            if space == Space::Bodies || !renewed {
                all.insert((space, key.to_vec()), value);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    all
}

#[test]
fn a_backup_is_the_state_of_one_moment_whatever_is_removed_while_it_is_made() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let ann = set_up(&store, &mut committer);
    for size in [100, 20_000, 3_000_000] {
        let run = receive(&store, content(size), ann, "INBOX");
        settle(&mut committer, run).unwrap();
    }
    let at_first = store.published();
    let lease = store.lease();
    // All of it goes, and the sweeper comes by.
    let run = expunge_all(&store, ann, "INBOX");
    settle(&mut committer, run).unwrap();
    purge_all(&store, &mut committer);
    for shard in 0..SHARDS {
        store.sweep(shard as u8).unwrap();
    }
    assert_eq!(files(&disk).len(), 2);
    assert_eq!(store.verify(true), Verified::default());
    for reference in [20_000, 3_000_000] {
        assert!(files(&disk).len() == 2, "{reference}");
    }
    drop(at_first);
    drop(lease);
    // With the lease they go, at the next turn.
    store.upkeep().unwrap();
    assert!(world::turn(&mut committer));
    assert_eq!(files(&disk).len(), 0);
    assert_eq!(store.verify(true), Verified::default());
}

#[test]
fn a_restored_store_has_every_row_and_body_goes_on_with_new_numbers_and_verifies() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let ann = set_up(&store, &mut committer);
    let mut bodies = Vec::new();
    for size in [0, 100, 16_384, 16_385, 3_000_000] {
        let run = receive(&store, content(size), ann, "INBOX");
        bodies.push(settle(&mut committer, run).unwrap());
    }
    let group = |name: &str| Group {
        recipients: vec![format!("{name}@far.example").into()],
        next_attempt: NOW,
        hold: false,
        release: None,
    };
    let queue = Enqueue {
        account: Some(ann),
        reverse_path: "ann@near.example".into(),
        prefix: Bytes::new(),
        eight_bit: false,
        utf8: false,
        extra: Bytes::new(),
        dsn: String::new(),
        require_tls: false,
        tls_optional: false,
        ids: Vec::new(),
        groups: vec![group("bea"), group("cid")],
    };
    let run = receive_and_send(&store, content(7), ann, "Sent", Some(queue));
    bodies.push(settle(&mut committer, run).unwrap());
    let queued = mox_mailbox::queue(&*store.published().view, 0, 9).unwrap();
    let backup = MemDisk::new();
    let made = store.backup(&backup).unwrap();
    assert_eq!(made.faults, []);
    assert_eq!((made.manifest.bodies, made.manifest.boot), (2, 1));
    assert_eq!(Manifest::read(&backup), Ok(made.manifest));
    let expected = rows(&*store.published().view);
    let validities = |store: &Store| {
        let view = store.published();
        let all = mox_mailbox::mailboxes(&*view.view, ann).unwrap();
        let of = |mailbox| {
            mox_mailbox::status(&*view.view, ann, mailbox)
                .unwrap()
                .unwrap()
        };
        let all = all.iter().map(|m| of(m.mailbox.unwrap()).validity);
        all.collect::<Vec<u32>>()
    };
    let before = validities(&store);
    // What comes later is not in it.
    let run = receive(&store, content(50_000), ann, "INBOX");
    settle(&mut committer, run).unwrap();

    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let restored = restore(&backup, Box::new(kv.clone()), &disk, NOW).unwrap();
    assert_eq!(restored.manifest, made.manifest);
    // What was sent meanwhile will be sent again: whoever restores is to know.
    assert!(restored.queued > 0);
    assert_eq!(restored.queued, queued.len() as u64);
    let (store, mut committer) = open(&kv, &disk);
    assert_eq!(rows(&*store.published().view), expected);
    // Clients may have seen later states.
    let newest = before.iter().max().unwrap();
    assert!(validities(&store).iter().all(|v| v > newest));
    for body in &bodies {
        assert_eq!(whole(&store, body).unwrap(), content(body.length as usize));
    }
    assert_eq!(store.verify(true), Verified::default());
    let run = receive(&store, content(20_000), ann, "INBOX");
    let fresh = settle(&mut committer, run).unwrap();
    assert_eq!(fresh.id.boot, 2);
    committer.close().unwrap();
}

#[test]
fn a_backup_that_was_cut_off_at_any_file_is_recognised() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let ann = set_up(&store, &mut committer);
    for size in [100, 20_000] {
        let run = receive(&store, content(size), ann, "INBOX");
        settle(&mut committer, run).unwrap();
    }
    let mut reached = 0;
    for calls in 250.. {
        let backup = MemDisk::new();
        let fused = world::FusedDisk(backup.clone(), world::Fuse::new(calls));
        if store.backup(&fused).is_ok() {
            break;
        }
        reached += 1;
        // As a crash leaves it, and as it is now: whole only when nothing but the last sync is missing.
        let attempt = |backup: &MemDisk| {
            let to = MemDisk::new();
            restore(backup, Box::new(MemKv::new()), &to, NOW)
        };
        assert_eq!(attempt(&backup.crash()), Err(RestoreError::Incomplete));
        match attempt(&backup) {
            Ok(whole) => assert_eq!(Manifest::read(&backup), Ok(whole.manifest)),
            Err(refused) => assert_eq!(refused, RestoreError::Incomplete, "{calls}"),
        }
    }
    assert!(reached > 250, "{reached}");
    // Nothing is kept back by those that failed.
    let run = expunge_all(&store, ann, "INBOX");
    settle(&mut committer, run).unwrap();
    purge_all(&store, &mut committer);
    assert_eq!(files(&disk).len(), 0);
}

#[test]
fn damage_to_a_backup_is_told_and_what_was_made_of_it_is_no_store() {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let ann = set_up(&store, &mut committer);
    for size in [100, 20_000] {
        let run = receive(&store, content(size), ann, "INBOX");
        settle(&mut committer, run).unwrap();
    }
    let name = "body/01/00000001-0000000000000001";
    type Damage = fn(&MemDisk);
    let damages: [(Damage, &str); 6] = [
        (
            |d| {
                d.write_at("rows", 300, &[Bytes::from_static(b"!")])
                    .unwrap()
            },
            "rows: ",
        ),
        (
            |d| {
                let length = d.length("rows").unwrap();
                d.write_at("rows", length, &[Bytes::from_static(b"!")])
                    .unwrap();
            },
            "rows: its length",
        ),
        (
            |d| {
                let name = "body/01/00000001-0000000000000001";
                d.write_at(name, 9_000, &[Bytes::from_static(b"!")])
                    .unwrap();
            },
            "content has changed",
        ),
        (
            |d| d.unlink("body/01/00000001-0000000000000001").unwrap(),
            "0 body files",
        ),
        (
            |d| {
                d.write_at("manifest", 20, &[Bytes::from_static(b"9")])
                    .unwrap()
            },
            "manifest is not readable",
        ),
        (
            |d| d.create("body/01/00000001-0000000000000101").unwrap(),
            "body/01/00000001-0000000000000101",
        ),
    ];
    assert_eq!(disk.length(name).unwrap(), 20_128);
    for (damage, expected) in damages {
        let backup = MemDisk::new();
        store.backup(&backup).unwrap();
        damage(&backup);
        let (kv, to) = (MemKv::new(), MemDisk::new());
        match restore(&backup, Box::new(kv.clone()), &to, NOW) {
            Err(RestoreError::Damaged(what)) => assert!(what.contains(expected), "{what}"),
            other => panic!("{expected}: {other:?}"),
        }
        if kv.reads().get(Space::Rows, &[0]).unwrap().is_some() {
            let opened = Store::open(Box::new(kv), Arc::new(to), Options::default());
            assert!(matches!(opened, Err(OpenError::Damaged(_))), "{expected}");
        }
    }
}

#[test]
fn a_directory_is_backed_up_under_load_and_restored_to_a_state_in_between() {
    let dir = TempDir::new("backup");
    let (root, backup, again) = (
        dir.0.join("store"),
        dir.0.join("backup"),
        dir.0.join("again"),
    );
    let (store, mut committer) = Store::open_directory(&root, Options::default()).unwrap();
    let ann = set_up(&store, &mut committer);
    let committing = serve(committer);
    let sender = {
        let store = store.clone();
        std::thread::spawn(move || {
            let mut sent = 0;
            while store.failed().is_none() && sent < 3_000 {
                let size = [200, 20_000][sent % 2];
                let run = receive(&store, content(size), ann, "INBOX");
                if futures_lite::future::block_on(run).is_err() {
                    break;
                }
                sent += 1;
            }
            sent
        })
    };
    let messages = |store: &Store| {
        let view = store.published();
        mox_mailbox::usage(&*view.view, ann).unwrap().messages
    };
    while messages(&store) < 100 {
        std::thread::yield_now();
    }
    let before = messages(&store);
    let made = store.backup(&FsDisk::open(&backup).unwrap()).unwrap();
    let after = messages(&store);
    store.close();
    assert!(sender.join().unwrap() > 100);
    committing.join().unwrap().close().unwrap();
    // The store goes, the backup stays.
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(
        mox_store::restore_directory(&backup, &again, NOW),
        Ok(Restored {
            manifest: made.manifest,
            queued: 0
        })
    );
    let refused = mox_store::restore_directory(&backup, &again, NOW).unwrap_err();
    assert!(refused.to_string().contains("not empty"), "{refused}");
    let verified = mox_store::verify_directory(&again, true).unwrap();
    assert_eq!(verified, Verified::default());
    let (store, _committer) = Store::open_directory(&again, Options::default()).unwrap();
    let found = messages(&store);
    assert!(
        (before..=after).contains(&found),
        "{before} {found} {after}"
    );
}

fn salvaged(view: Option<&dyn Reads>, disk: &dyn Disk) -> (Vec<(Salvaged, Bytes)>, Vec<String>) {
    let mut found = Vec::new();
    let notes = salvage(view, disk, &mut |message, octets| {
        let mut all = Vec::new();
        loop {
            let piece = octets.next()?;
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece);
        }
        found.push((message.clone(), all.into()));
        Ok(())
    });
    (found, notes.unwrap())
}

#[test]
fn salvage_gives_messages_as_rows_list_them_then_bodies_without_rows_and_all_bodies_when_rows_are_gone()
 {
    let (kv, disk) = (MemKv::new(), MemDisk::new());
    let (store, mut committer) = open(&kv, &disk);
    let ann = set_up(&store, &mut committer);
    let sizes = [1, 100, 16_384, 16_385, 2_500_000];
    for (size, mailbox) in sizes
        .into_iter()
        .zip(["INBOX", "Lists/a", "Gone", "INBOX", "INBOX"])
    {
        let run = receive(&store, content(size), ann, mailbox);
        settle(&mut committer, run).unwrap();
    }
    let run = expunge_all(&store, ann, "Gone");
    settle(&mut committer, run).unwrap();
    let view = store.published();
    let (found, notes) = salvaged(Some(&*view.view), &disk);
    assert_eq!(notes, Vec::<String>::new());
    let told: Vec<_> = found
        .iter()
        .map(|(m, octets)| {
            let name = m.mailbox_name.clone().unwrap_or_default();
            (name, m.uid.0, m.listed, octets.len())
        })
        .collect();
    let prefix = PREFIX.len();
    let listed = |name: &str, uid, size: usize| (name.to_owned(), uid, true, size + prefix);
    assert_eq!(
        told,
        [
            listed("INBOX", 1, 1),
            listed("INBOX", 2, 16_385),
            listed("INBOX", 3, 2_500_000),
            listed("Lists/a", 1, 100),
            ("Gone".to_owned(), 1, false, 16_384),
        ]
    );
    for (message, octets) in &found {
        let size = octets.len() - if message.listed { prefix } else { 0 };
        assert!(octets.ends_with(&content(size)));
        assert_eq!(message.account_name.as_deref(), Some("ann"));
        assert_eq!((message.date, &message.fault), (NOW, &None));
    }

    // All tables are gone: every body is there, with what its header says.
    let bare = MemKv::new();
    let mut batch = mox_mailbox::Batch::default();
    view.view
        .scan(Space::Bodies, &[], &[0xff; 16], &mut |key, value| {
            batch
                .writes
                .push((Space::Bodies, key.to_vec(), Some(value)));
            ControlFlow::Continue(())
        })
        .unwrap();
    let mut committing: Box<dyn Kv> = Box::new(bare.clone());
    committing.commit(&batch).unwrap();
    let (found, _) = salvaged(Some(bare.reads()), &disk);
    let mut lengths: Vec<usize> = found.iter().map(|(_, octets)| octets.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, sizes);
    for (message, octets) in &found {
        assert_eq!(*octets, content(octets.len()));
        assert_eq!((message.account, message.listed), (ann, false));
    }
    // No rows at all: what is a file.
    let (found, _) = salvaged(None, &disk);
    assert_eq!(found.len(), 2);

    // Damage to a file is told, and what there is of it given, once.
    let name = "body/03/00000001-0000000000000003";
    disk.write_at(name, 9_000, &[Bytes::from_static(b"!")])
        .unwrap();
    let (found, notes) = salvaged(Some(&*view.view), &disk);
    assert_eq!(found.len(), 5);
    let damaged: Vec<_> = found.iter().filter(|(m, _)| m.fault.is_some()).collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].1.len(), 16_385);
    assert_eq!(
        notes,
        ["account 1 mailbox 1 message 2: its body is missing or damaged"]
    );
}

#[test]
fn salvage_of_a_directory_changes_nothing_in_it_and_refuses_one_in_use() {
    let dir = TempDir::new("salvage");
    let (root, work) = (dir.0.join("store"), dir.0.join("work"));
    let (store, mut committer) = Store::open_directory(&root, Options::default()).unwrap();
    let ann = set_up(&store, &mut committer);
    for size in [100, 20_000] {
        let run = receive(&store, content(size), ann, "INBOX");
        settle(&mut committer, run).unwrap();
    }
    let refused = mox_store::Salvage::open(&root, &work).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    drop((store, committer));
    let before = tree(&root);
    let salvage = mox_store::Salvage::open(&root, &work).unwrap();
    assert_eq!(salvage.notes, Vec::<String>::new());
    let mut listed = 0;
    let notes = salvage.run(&mut |message, _| {
        assert!(message.listed);
        listed += 1;
        Ok(())
    });
    assert_eq!((notes.unwrap(), listed), (Vec::new(), 2));
    drop(salvage);
    assert!(tree(&root) == before, "the store was changed");
    // A file of its rows that cannot be read is left out, and noted.
    let unreadable = root.join("rows/unreadable");
    std::os::unix::fs::symlink("/no such file", &unreadable).unwrap();
    let salvage = mox_store::Salvage::open(&root, &dir.0.join("unread")).unwrap();
    assert_eq!(salvage.notes.len(), 1, "{:?}", salvage.notes);
    assert!(
        salvage.notes[0].contains("rows/unreadable: "),
        "{:?}",
        salvage.notes
    );
    let mut listed = 0;
    let notes = salvage.run(&mut |message, _| {
        listed += u32::from(message.listed);
        Ok(())
    });
    assert_eq!((notes.unwrap(), listed), (Vec::new(), 2));
    drop(salvage);
    // With its rows beyond reading, what is a file is still there.
    std::fs::remove_dir_all(root.join("rows")).unwrap();
    let salvage = mox_store::Salvage::open(&root, &dir.0.join("again")).unwrap();
    assert_eq!(salvage.notes.len(), 1);
    let mut found = 0;
    salvage
        .run(&mut |message, octets| {
            assert_eq!(octets.next()?, content(20_000));
            assert!(!message.listed);
            found += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(found, 1);
}

/// Every file with its content.
fn tree(root: &std::path::Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(tree(&path)),
            false => drop(all.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    all
}
