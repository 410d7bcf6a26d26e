//! What the simulated disks lose when the power fails, and what they must not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use bytes::Bytes;
use mox_mailbox::{Batch, Space};
use mox_sim::{DiskManner, Knobs, Sim, SimDisk, SimKv};
use mox_store::{Disk, Kv};
use std::collections::BTreeSet;
use std::io::ErrorKind;

fn world(seed: u64) -> Sim {
    Sim::new(seed, Knobs::fault_free())
}

fn put(key: u8) -> Batch {
    Batch {
        writes: vec![(Space::Rows, vec![key], Some(Bytes::from(vec![key; 3])))],
        ..Batch::default()
    }
}

#[test]
fn a_crash_keeps_synced_batches_and_any_prefix_of_the_others() {
    let mut kept = BTreeSet::new();
    for seed in 0..60 {
        let mut rows = SimKv::new(&world(seed), "rows");
        for key in 0..8 {
            rows.commit(&put(key)).unwrap();
            if key == 3 {
                rows.sync().unwrap();
            }
        }
        let left = rows.crash();
        let there: Vec<u8> = (0..8)
            .filter(|key| left.reads().get(Space::Rows, &[*key]).unwrap().is_some())
            .collect();
        assert!(there.len() >= 4, "{there:?}");
        assert_eq!(there, (0..there.len() as u8).collect::<Vec<_>>());
        kept.insert(there.len());
    }
    assert_eq!(kept, (4..=8).collect());
}

#[test]
fn content_not_synced_is_torn_at_sectors_and_synced_content_stays() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let disk = SimDisk::new(&world(seed), "disk");
        disk.create("file").unwrap();
        disk.sync_dir("").unwrap();
        disk.write_at("file", 0, &[Bytes::from(vec![b'a'; 1_000])])
            .unwrap();
        disk.sync("file").unwrap();
        disk.write_at("file", 0, &[Bytes::from(vec![b'b'; 2_048])])
            .unwrap();
        let left = disk.crash();
        let content = left.read_at("file", 0, 4_096).unwrap();
        assert!((1_000..=2_048).contains(&content.len()));
        for (n, sector) in content.chunks(512).enumerate() {
            let written = sector.iter().all(|b| *b == b'b');
            let old = sector
                .iter()
                .enumerate()
                .all(|(i, b)| *b == if n * 512 + i < 1_000 { b'a' } else { 0 });
            assert!(written || old, "sector {n}");
        }
        seen.insert(content);
    }
    assert!(seen.len() > 10, "{}", seen.len());
}

#[test]
fn names_are_lost_or_kept_until_their_directory_is_synced() {
    let (mut made, mut removed, mut both) = (0, 0, 0);
    for seed in 0..60 {
        let disk = SimDisk::new(&world(seed), "disk");
        disk.create_dir("body").unwrap();
        disk.create("body/old").unwrap();
        disk.create("body/stays").unwrap();
        disk.sync_dir("").unwrap();
        disk.sync_dir("body").unwrap();
        disk.create("body/new").unwrap();
        disk.write_at("body/new", 0, &[Bytes::from_static(b"new")])
            .unwrap();
        disk.sync("body/new").unwrap();
        disk.link("body/new", "body/other").unwrap();
        disk.unlink("body/old").unwrap();
        let left = disk.crash();
        let names = left.list("body").unwrap();
        let has = |name: &str| names.iter().any(|n| n == name);
        assert!(has("stays"));
        for name in ["body/new", "body/other"] {
            match left.read_at(name, 0, 10) {
                Ok(content) => assert_eq!(content, "new"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
        }
        made += u32::from(has("new"));
        removed += u32::from(!has("old"));
        both += u32::from(has("new") && has("other"));
        // What is left is durable.
        assert_eq!(left.crash().list("body").unwrap(), names);
    }
    for count in [made, removed, both] {
        assert!((1..60).contains(&count), "{made} {removed} {both}");
    }
    let disk = SimDisk::new(&world(1), "disk");
    disk.create("a").unwrap();
    disk.sync_dir("").unwrap();
    disk.rename("a", "b").unwrap();
    disk.sync_dir("").unwrap();
    assert_eq!(disk.crash().list("").unwrap(), ["b"]);
}

#[test]
fn a_failing_sync_says_so_and_the_trace_tells_what_was_done() {
    let sim = world(2);
    let (disk, mut rows) = (SimDisk::new(&sim, "disk"), SimKv::new(&sim, "rows"));
    disk.create("file").unwrap();
    rows.commit(&put(1)).unwrap();
    let before = sim.trace_hash();
    disk.fail_syncs();
    rows.fail_syncs();
    assert!(disk.sync("file").is_err());
    assert!(disk.sync_dir("").is_err());
    assert!(rows.sync().is_err());
    assert_ne!(sim.trace_hash(), before);
}

#[test]
fn what_a_failed_sync_gave_up_is_durable_only_when_written_again() {
    for (again, durable) in [(false, b'a'), (true, b'b')] {
        for seed in 0..20 {
            let sim = world(seed);
            let disk = SimDisk::new(&sim, "disk");
            disk.create("file").unwrap();
            disk.sync_dir("").unwrap();
            let write = |octet| {
                let content = Bytes::from(vec![octet; 1_000]);
                disk.write_at("file", 0, &[content]).unwrap();
            };
            write(b'a');
            disk.sync("file").unwrap();
            write(b'b');
            disk.fail_syncs();
            disk.sync("file").unwrap_err();
            disk.repair();
            if again {
                write(b'b');
            }
            disk.sync("file").unwrap();
            // Nothing is left of what only memory had.
            write(b'a');
            write(b'c');
            let left = disk.crash().read_at("file", 0, 1_000).unwrap();
            let kept = |octet| left.iter().filter(|b| **b == octet).count();
            assert_eq!(kept(durable) + kept(b'c'), 1_000, "{again} {seed}");
        }
    }
}

#[test]
fn a_disk_whose_names_fail_changes_none() {
    let disk = SimDisk::new(&world(1), "disk");
    disk.create("file").unwrap();
    let broken = DiskManner {
        name_error_one_in: 1,
        ..DiskManner::default()
    };
    disk.set_manner(broken);
    disk.create_dir("dir").unwrap_err();
    disk.create("other").unwrap_err();
    disk.link("file", "other").unwrap_err();
    disk.rename("file", "other").unwrap_err();
    disk.unlink("file").unwrap_err();
    disk.list("").unwrap_err();
    disk.set_manner(DiskManner::default());
    assert_eq!(disk.list("").unwrap(), ["file"]);
}
