//! A whole store in a directory: two owners, crashes of the process, damage, opening again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests"
)]
#![cfg(feature = "fjall")]

mod world;

use mox_mailbox::{Batch, Reads, Space, Stop};
use mox_store::{Committer, OpenError, Store};
use std::path::Path;
use world::{TempDir, content, deliver, options, put, serve, settle, whole};

fn open(root: &Path) -> (Store, Committer) {
    Store::open_directory(root, options()).unwrap()
}

#[test]
fn bodies_and_rows_are_there_after_a_stop_and_after_a_crash() {
    let dir = TempDir::new("there");
    let root = dir.0.join("store");
    let mut bodies = Vec::new();
    for round in 0..4 {
        let (store, mut committer) = open(&root);
        for (body, octets) in &bodies {
            assert_eq!(whole(&store, body).unwrap(), octets);
        }
        for size in [10 + round, 16 * 1024 + round, 300_000 + round] {
            let octets = content(size);
            let run = deliver(&store, octets.clone()).unwrap();
            bodies.push((settle(&mut committer, run).unwrap(), octets));
        }
        store.upkeep().unwrap();
        assert_eq!(store.verify(true).findings, []);
        // Every other time without a word.
        if round % 2 == 0 {
            committer.close().unwrap();
            assert!(root.join("clean").exists());
        } else {
            drop(committer);
            assert!(!root.join("clean").exists());
        }
    }
    let boots: Vec<u32> = bodies.iter().map(|(body, _)| body.id.boot).collect();
    assert!(boots.is_sorted());
    assert_eq!((boots[0], boots[11]), (1, 4));
}

#[test]
fn two_servers_cannot_have_one_directory() {
    let dir = TempDir::new("two");
    let root = dir.0.join("store");
    let (_store, committer) = open(&root);
    let refused = Store::open_directory(&root, options()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    drop(committer);
    // A handle is enough to keep it.
    assert!(Store::open_directory(&root, options()).is_err());
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn key(n: u32) -> Vec<u8> {
    [b"k".as_slice(), &n.to_be_bytes()].concat()
}

/// A store of 200 ops that stopped as in a crash, the mark at 150 of them; its journal is cut to what is used.
fn crashed(root: &Path) -> std::path::PathBuf {
    let (store, mut committer) = open(root);
    for n in 0..200_u32 {
        let run = store.run(move |_| Ok::<_, Stop>((put(&key(n), &[7; 100]), ())));
        settle(&mut committer, run).unwrap();
        if n == 149 {
            store.upkeep().unwrap();
        }
    }
    let journal = std::fs::read_dir(root.join("rows"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "jnl"))
        .unwrap();
    drop((store, committer));
    let octets = std::fs::read(&journal).unwrap();
    let used = octets.iter().rposition(|octet| *octet != 0).unwrap();
    std::fs::write(&journal, &octets[..=used]).unwrap();
    std::fs::remove_dir_all(root.join("body")).unwrap();
    journal
}

#[test]
fn whatever_octet_of_the_journal_is_damaged_the_start_fails_or_has_all_up_to_the_mark() {
    let dir = TempDir::new("flipped");
    let root = dir.0.join("store");
    let journal = crashed(&root);
    let length = std::fs::metadata(&journal).unwrap().len() as usize;
    let (mut refused, mut opened) = (0, 0);
    for sample in 0..40 {
        let copy = dir.0.join(format!("copy{sample}"));
        copy_dir(&root, &copy);
        let name = copy.join("rows").join(journal.file_name().unwrap());
        let mut octets = std::fs::read(&name).unwrap();
        octets[(length - 1) * sample / 39] ^= 1 << (sample % 8);
        std::fs::write(&name, &octets).unwrap();
        match Store::open_directory(&copy, options()) {
            Err(e) => {
                assert!(e.to_string().contains("moxctl verify"), "{sample}: {e}");
                let aside = copy.join("aside").join(journal.file_name().unwrap());
                assert_eq!(std::fs::read(aside).unwrap(), octets);
                refused += 1;
            }
            Ok((store, _committer)) => {
                let view = store.published();
                assert!(view.number >= 150, "{sample}: {}", view.number);
                for n in 0..u32::try_from(view.number).unwrap() {
                    let found = view.view.get(Space::Rows, &key(n)).unwrap();
                    assert_eq!(found.unwrap(), [7; 100][..], "{sample}: {n}");
                }
                opened += 1;
            }
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(refused > 20 && opened > 0, "{refused} {opened}");
}

#[test]
fn journals_as_the_first_failed_start_found_them_stay_until_the_store_opens() {
    let dir = TempDir::new("aside");
    let root = dir.0.join("store");
    let journal = crashed(&root);
    let sound = std::fs::read(&journal).unwrap();
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    std::fs::write(&journal, &damaged).unwrap();
    let aside = root.join("aside").join(journal.file_name().unwrap());
    for _ in 0..2 {
        Store::open_directory(&root, options()).unwrap_err();
        assert_eq!(std::fs::read(&aside).unwrap(), damaged);
    }
    std::fs::write(&journal, &sound).unwrap();
    let (store, _committer) = open(&root);
    assert_eq!(store.published().number, 200);
    assert!(!root.join("aside").exists());
}

#[test]
fn fifty_writers_at_once_lose_nothing_and_share_syncs() {
    let dir = TempDir::new("fifty");
    let root = dir.0.join("store");
    let (store, committer) = open(&root);
    let service = serve(committer);
    let writers: Vec<_> = (0..50_u32)
        .map(|writer| {
            let store = store.clone();
            std::thread::spawn(move || {
                for _ in 0..20 {
                    let add = store.run(move |reads: &dyn Reads| {
                        let old = reads.get(Space::Rows, b"count")?;
                        let old = old.map_or(0, |v| u32::from_be_bytes(v[..].try_into().unwrap()));
                        let mut batch: Batch = put(b"count", &(old + 1).to_be_bytes());
                        let key = [b"w".as_slice(), &writer.to_be_bytes()].concat();
                        batch.writes.extend(put(&key, b"x").writes);
                        Ok::<_, Stop>((batch, old + 1))
                    });
                    let mine = futures_lite::future::block_on(add).unwrap();
                    let view = store.published();
                    let seen = view.view.get(Space::Rows, b"count").unwrap().unwrap();
                    assert!(u32::from_be_bytes(seen[..].try_into().unwrap()) >= mine);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    store.close();
    service.join().unwrap().close().unwrap();
    assert!(store.published().number < 1_000);
    drop(store);
    let (store, _committer) = open(&root);
    let count = store.published().view.get(Space::Rows, b"count");
    assert_eq!(count.unwrap().unwrap(), 1_000_u32.to_be_bytes()[..]);
}

/// The child of the next test: writes numbered rows and says which are acknowledged, until it is killed.
#[test]
#[ignore = "run by another test, in a process that is killed"]
fn child_that_writes_until_it_is_killed() {
    use std::io::Write;
    // The parent hands the directory over on standard input.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let (store, committer) = open(Path::new(line.trim()));
    let _service = serve(committer);
    let view = store.published();
    let mut next = 0_u32;
    while view
        .view
        .get(
            Space::Rows,
            &[b"k".as_slice(), &next.to_be_bytes()].concat(),
        )
        .unwrap()
        .is_some()
    {
        next += 1;
    }
    loop {
        let key = [b"k".as_slice(), &next.to_be_bytes()].concat();
        let run = store.run(move |_| Ok::<_, Stop>((put(&key, b"v"), ())));
        futures_lite::future::block_on(run).unwrap();
        println!("acknowledged {next}");
        std::io::stdout().flush().unwrap();
        if next.is_multiple_of(16) {
            store.upkeep().unwrap();
        }
        next += 1;
    }
}

#[test]
fn nothing_acknowledged_is_missing_after_the_process_is_killed() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let dir = TempDir::new("killed");
    let root = dir.0.join("store");
    let mut acknowledged = 0;
    for round in 0..5_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "child_that_writes_until_it_is_killed",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", root.display()).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u32>().ok());
        let mut seen = 0;
        for number in numbers {
            // After a crash it goes on where the rows end: nothing may be missing before.
            assert!(
                number >= acknowledged,
                "{number} again after {acknowledged}"
            );
            acknowledged = number + 1;
            seen += 1;
            if seen == 40 + 37 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 40 + 37 * round);
    }
    let (store, _committer) = open(&root);
    let view = store.published();
    for n in 0..acknowledged {
        let key = [b"k".as_slice(), &n.to_be_bytes()].concat();
        assert!(view.view.get(Space::Rows, &key).unwrap().is_some(), "{n}");
    }
}
