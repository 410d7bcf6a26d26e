//! What every `Kv` and every `Disk` does, in memory and for real.
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
use mox_mailbox::{Batch, Reads, Space};
use mox_store::{Disk, FjallKv, FsDisk, Kv, MemDisk, MemKv, OpenError};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use world::TempDir;

fn each_kv(name: &str, test: impl Fn(&mut dyn Kv)) {
    test(&mut MemKv::new());
    let dir = TempDir::new(name);
    test(&mut FjallKv::open(&dir.0).unwrap());
}

fn each_disk(name: &str, test: impl Fn(&dyn Disk)) {
    test(&MemDisk::new());
    let dir = TempDir::new(name);
    test(&FsDisk::open(&dir.0.join("store")).unwrap());
}

fn write(space: Space, key: &str, value: Option<&str>) -> (Space, Vec<u8>, Option<Bytes>) {
    let value = value.map(|v| Bytes::copy_from_slice(v.as_bytes()));
    (space, key.as_bytes().to_vec(), value)
}

fn batch(writes: &[(&str, Option<&str>)]) -> Batch {
    let writes = writes.iter().map(|(k, v)| write(Space::Rows, k, *v));
    Batch {
        writes: writes.collect(),
        ..Batch::default()
    }
}

fn value(reads: &dyn Reads, key: &str) -> Option<String> {
    let found = reads.get(Space::Rows, key.as_bytes()).unwrap();
    found.map(|v| String::from_utf8(v.to_vec()).unwrap())
}

fn keys(reads: &dyn Reads, from: &str, to: &str, back: bool, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: Bytes| {
        found.push(format!(
            "{}={}",
            str::from_utf8(key).unwrap(),
            str::from_utf8(&value).unwrap()
        ));
        if found.len() == most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if back {
        reads.scan_back(Space::Rows, from, to, &mut visit).unwrap();
    } else {
        reads.scan(Space::Rows, from, to, &mut visit).unwrap();
    }
    found
}

#[test]
fn a_batch_is_visible_at_once_and_the_last_write_of_a_key_wins() {
    each_kv("last-wins", |kv| {
        kv.commit(&batch(&[
            ("a", Some("1")),
            ("b", Some("2")),
            ("a", Some("3")),
        ]))
        .unwrap();
        kv.commit(&batch(&[
            ("c", Some("4")),
            ("c", None),
            ("b", None),
            ("b", Some("5")),
        ]))
        .unwrap();
        kv.commit(&Batch::default()).unwrap();
        assert_eq!(value(kv.reads(), "a").as_deref(), Some("3"));
        assert_eq!(value(kv.reads(), "b").as_deref(), Some("5"));
        assert_eq!(value(kv.reads(), "c"), None);
        kv.sync().unwrap();
    });
}

#[test]
fn a_snapshot_does_not_change() {
    each_kv("snapshot", |kv| {
        kv.commit(&batch(&[("a", Some("1")), ("b", Some("2"))]))
            .unwrap();
        let before = kv.snapshot();
        kv.commit(&batch(&[("a", Some("9")), ("b", None), ("c", Some("3"))]))
            .unwrap();
        kv.sync().unwrap();
        kv.rotate().unwrap();
        let after = kv.snapshot();
        kv.commit(&batch(&[("a", None)])).unwrap();
        kv.sync().unwrap();
        kv.rotate().unwrap();
        assert_eq!(keys(&*before, "", "~", false, 9), ["a=1", "b=2"]);
        assert_eq!(keys(&*after, "", "~", true, 9), ["c=3", "a=9"]);
        assert_eq!(value(&*before, "b").as_deref(), Some("2"));
        drop(before);
        kv.sync().unwrap();
        assert_eq!(value(&*after, "b"), None);
        assert_eq!(keys(kv.reads(), "", "~", false, 9), ["c=3"]);
    });
}

#[test]
fn scans_are_half_open_ordered_and_stop_when_told() {
    each_kv("scan", |kv| {
        // More than any implementation reads at a time.
        let names: Vec<String> = (0..300).map(|n| format!("k{n:03}")).collect();
        let rows: Vec<(&str, Option<&str>)> =
            names.iter().map(|n| (n.as_str(), Some("v"))).collect();
        kv.commit(&batch(&rows)).unwrap();
        let view = kv.snapshot();
        for reads in [kv.reads(), &*view] {
            let forth = keys(reads, "k010", "k290", false, usize::MAX);
            assert_eq!(forth.len(), 280);
            assert_eq!((&*forth[0], &*forth[279]), ("k010=v", "k289=v"));
            assert!(forth.is_sorted());
            let mut back = keys(reads, "k010", "k290", true, usize::MAX);
            back.reverse();
            assert_eq!(back, forth);
            assert_eq!(keys(reads, "k0", "k1", false, 2), ["k000=v", "k001=v"]);
            assert_eq!(keys(reads, "k0", "k1", true, 2), ["k099=v", "k098=v"]);
            for (from, to) in [("k5", "k5"), ("k5", "k4"), ("x", "y"), ("k0000", "k0001")] {
                assert!(keys(reads, from, to, false, 9).is_empty(), "{from} {to}");
                assert!(keys(reads, from, to, true, 9).is_empty(), "{from} {to}");
            }
        }
    });
}

#[test]
fn a_visitor_may_read_while_it_is_visited() {
    each_kv("nested", |kv| {
        kv.commit(&batch(&[("a", Some("b")), ("b", Some("c"))]))
            .unwrap();
        let view = kv.snapshot();
        let mut found = Vec::new();
        view.scan(Space::Rows, b"a", b"b", &mut |_, to| {
            found.push(view.get(Space::Rows, &to).unwrap().unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(found, ["c"]);
    });
}

#[test]
fn the_two_spaces_do_not_mix_and_keep_big_values() {
    each_kv("spaces", |kv| {
        let big = "x".repeat(16 * 1024 + 128);
        let both = Batch {
            writes: vec![
                write(Space::Rows, "k", Some("row")),
                write(Space::Bodies, "k", Some(&big)),
                write(Space::Bodies, "small", Some("s")),
            ],
            ..Batch::default()
        };
        kv.commit(&both).unwrap();
        kv.rotate().unwrap();
        assert_eq!(kv.reads().get(Space::Rows, b"k").unwrap().unwrap(), "row");
        assert_eq!(kv.reads().get(Space::Bodies, b"k").unwrap().unwrap(), big);
        assert_eq!(
            kv.snapshot().get(Space::Bodies, b"k").unwrap().unwrap(),
            big
        );
        assert_eq!(kv.reads().get(Space::Rows, b"small").unwrap(), None);
        assert_eq!(
            kv.reads().get(Space::Bodies, b"small").unwrap().unwrap(),
            "s"
        );
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn rows_are_those_of_an_ordered_map_after_every_batch(
        batches in prop::collection::vec(
            prop::collection::vec(("[ab]{0,3}", prop::option::of("[xy]{0,2}")), 0..8), 0..12),
        from in "[ab]{0,2}", to in "[ab]{0,2}",
    ) {
        // Empty keys are not used by any table and not taken by fjall.
        each_kv("map", |kv| {
            let mut model: BTreeMap<String, String> = BTreeMap::new();
            let mut views = Vec::new();
            for writes in &batches {
                let writes: Vec<(String, Option<String>)> =
                    writes.iter().map(|(k, v)| (format!("k{k}"), v.clone())).collect();
                let rows: Vec<_> = writes.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
                kv.commit(&batch(&rows)).unwrap();
                for (key, value) in writes {
                    match value {
                        Some(value) => drop(model.insert(key, value)),
                        None => drop(model.remove(&key)),
                    }
                }
                views.push((kv.snapshot(), model.clone()));
                if views.len().is_multiple_of(3) {
                    kv.sync().unwrap();
                }
            }
            let (from, to) = (format!("k{from}"), format!("k{to}"));
            for (view, model) in views {
                let expected: Vec<String> = model
                    .iter()
                    .filter(|(key, _)| **key >= from && **key < to)
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                assert_eq!(keys(&*view, &from, &to, false, usize::MAX), expected);
                let mut back = keys(&*view, &from, &to, true, usize::MAX);
                back.reverse();
                assert_eq!(back, expected);
            }
        });
    }
}

fn bytes(s: &str) -> Bytes {
    Bytes::copy_from_slice(s.as_bytes())
}

#[test]
fn files_are_written_read_listed_renamed_linked_and_removed() {
    each_disk("files", |disk| {
        disk.create_dir("d").unwrap();
        disk.create_dir("d").unwrap();
        disk.create_dir("d/e").unwrap();
        disk.create("d/one").unwrap();
        disk.write_at("d/one", 3, &[bytes("de"), Bytes::new(), bytes("f")])
            .unwrap();
        disk.write_at("d/one", 0, &[bytes("abc")]).unwrap();
        disk.write_at("d/one", 6, &[]).unwrap();
        assert_eq!(disk.read_at("d/one", 0, 99).unwrap(), "abcdef");
        assert_eq!(disk.read_at("d/one", 2, 2).unwrap(), "cd");
        assert_eq!(disk.read_at("d/one", 6, 2).unwrap(), "");
        assert_eq!(disk.read_at("d/one", u64::MAX, 2).unwrap(), "");
        assert_eq!(disk.length("d/one").unwrap(), 6);
        disk.write_at("d/one", 8, &[bytes("!")]).unwrap();
        assert_eq!(disk.read_at("d/one", 0, 99).unwrap(), "abcdef\0\0!");
        disk.link("d/one", "d/two").unwrap();
        disk.create("three").unwrap();
        disk.rename("d/one", "three").unwrap();
        assert_eq!(disk.list("d").unwrap(), ["e", "two"]);
        assert_eq!(disk.read_at("three", 0, 3).unwrap(), "abc");
        disk.unlink("three").unwrap();
        assert_eq!(disk.read_at("d/two", 0, 3).unwrap(), "abc");
        disk.sync("d/two").unwrap();
        disk.sync_dir("d").unwrap();
        disk.sync_dir("").unwrap();
        assert!(disk.list("").unwrap().contains(&"d".to_owned()));
        assert!(disk.capacity().unwrap().free <= disk.capacity().unwrap().total);
    });
}

#[test]
fn what_is_missing_taken_or_no_name_is_refused_by_kind() {
    each_disk("kinds", |disk| {
        disk.create_dir("d").unwrap();
        disk.create("f").unwrap();
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(disk.create("f")), ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.link("f", "f")), ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.create_dir("f")), ErrorKind::AlreadyExists);
        for missing in ["g", "d/g", "nowhere/g"] {
            assert_eq!(kind(disk.unlink(missing)), ErrorKind::NotFound);
            assert_eq!(kind(disk.sync(missing)), ErrorKind::NotFound);
            assert_eq!(kind(disk.write_at(missing, 0, &[])), ErrorKind::NotFound);
            assert_eq!(kind(disk.rename(missing, "x")), ErrorKind::NotFound);
            assert_eq!(
                kind(disk.read_at(missing, 0, 1).map(drop)),
                ErrorKind::NotFound
            );
            assert_eq!(kind(disk.length(missing).map(drop)), ErrorKind::NotFound);
            assert_eq!(kind(disk.list(missing).map(drop)), ErrorKind::NotFound);
            assert_eq!(kind(disk.sync_dir(missing)), ErrorKind::NotFound);
        }
        assert_eq!(kind(disk.create("nowhere/g")), ErrorKind::NotFound);
        assert_eq!(kind(disk.create_dir("nowhere/g")), ErrorKind::NotFound);
        let long = "x".repeat(65);
        for bad in [
            "/etc/passwd",
            "..",
            "d/../f",
            "d//f",
            "d/",
            ".hidden",
            "a\0b",
            "a b",
            "é",
            &long,
        ] {
            assert_eq!(kind(disk.create(bad)), ErrorKind::InvalidInput, "{bad:?}");
            assert_eq!(kind(disk.unlink(bad)), ErrorKind::InvalidInput, "{bad:?}");
            assert_eq!(
                kind(disk.rename("f", bad)),
                ErrorKind::InvalidInput,
                "{bad:?}"
            );
            assert_eq!(
                kind(disk.list(bad).map(drop)),
                ErrorKind::InvalidInput,
                "{bad:?}"
            );
        }
        assert!(disk.list("d").unwrap().is_empty());
    });
}

#[test]
fn a_directory_has_one_owner_and_only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new("owner");
    let root = dir.0.join("store");
    let first = FsDisk::open(&root).unwrap();
    let refused = FsDisk::open(&root).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("another server"));
    first.create("f").unwrap();
    first.create_dir("d").unwrap();
    let mode = |name: &str| {
        let found = std::fs::metadata(root.join(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(
        [mode(""), mode("d"), mode("f"), mode("lock")],
        [0o700, 0o700, 0o600, 0o600]
    );
    drop(first);
    FsDisk::open(&root).unwrap();
}

#[test]
fn a_crash_of_the_disk_in_memory_leaves_what_was_synced() {
    let disk = MemDisk::new();
    disk.create("a").unwrap();
    disk.create("b").unwrap();
    disk.write_at("a", 0, &[bytes("kept")]).unwrap();
    disk.sync("a").unwrap();
    disk.sync_dir("").unwrap();
    disk.write_at("a", 0, &[bytes("lost")]).unwrap();
    disk.write_at("b", 0, &[bytes("lost")]).unwrap();
    disk.create("c").unwrap();
    disk.sync("c").unwrap();
    disk.unlink("b").unwrap();
    assert_eq!(disk.list("").unwrap(), ["a", "c"]);
    let left = disk.crash();
    assert_eq!(left.list("").unwrap(), ["a", "b"]);
    assert_eq!(left.read_at("a", 0, 9).unwrap(), "kept");
    assert_eq!(left.length("b").unwrap(), 0);
}

#[test]
fn a_crash_of_the_rows_in_memory_leaves_a_prefix() {
    let mut kv = MemKv::new();
    for (n, value) in ["1", "2", "3", "4"].iter().enumerate() {
        kv.commit(&batch(&[("a", Some(value))])).unwrap();
        if n == 1 {
            kv.sync().unwrap();
        }
    }
    assert_eq!(kv.unsynced(), 2);
    let after = |kept| value(kv.crash(kept).reads(), "a").unwrap();
    assert_eq!(
        [after(0), after(1), after(2), after(9)],
        ["2", "3", "4", "4"]
    );
}

#[test]
fn fjall_finds_after_closing_and_after_dropping_what_was_synced() {
    let dir = TempDir::new("reopen");
    for round in 0..4_u32 {
        let mut kv = FjallKv::open(&dir.0).unwrap();
        for earlier in 0..round {
            assert_eq!(
                value(kv.reads(), &format!("k{earlier}")).as_deref(),
                Some("v")
            );
        }
        assert_eq!(
            value(kv.reads(), "gone"),
            (round > 0)
                .then(|| "x".to_owned())
                .filter(|_| round % 2 == 1)
        );
        let gone = (round % 2 == 0).then_some("x");
        let key = format!("k{round}");
        kv.commit(&batch(&[(&key, Some("v")), ("gone", gone)]))
            .unwrap();
        kv.sync().unwrap();
        if round == 2 {
            let kv: Box<dyn Kv> = Box::new(kv);
            kv.close().unwrap();
        }
    }
    let _held = FjallKv::open(&dir.0).unwrap();
    assert!(matches!(
        FjallKv::open(&dir.0).unwrap_err(),
        OpenError::Locked { .. }
    ));
}
