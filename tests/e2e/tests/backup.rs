//! A backup of a server at work, a server on what was restored, and messages out of a store whose rows are lost.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mox_e2e::Scratch;
use mox_e2e::crash::{Victim, Wire, command, fetch, said};

/// The message of this name: large ones are files.
fn message(name: &str) -> String {
    let lines = if name.ends_with('0') { 2_000 } else { 10 };
    format!(
        "X-Name: {name}\r\n\r\n{}",
        format!("{name} and more of it\r\n").repeat(lines)
    )
}

/// Delivers to the first account of `--accounts`; whether it was acknowledged.
fn deliver(wire: &mut Wire, name: &str) -> bool {
    for (line, code) in [
        ("MAIL FROM:<>".to_owned(), "250"),
        ("RCPT TO:<u0@localhost>".to_owned(), "250"),
        ("DATA".to_owned(), "354"),
        (format!("{}.", message(name)), "250"),
    ] {
        match wire.ask(&line) {
            Ok(reply) if reply.starts_with(code) => {}
            _ => return false,
        }
    }
    true
}

/// Name and content of each message, without what the server put before it.
fn messages(server: &Victim) -> BTreeMap<String, String> {
    let found = fetch(server.port(143), "u0@localhost", "INBOX", 1).unwrap();
    let count = found.len();
    let named: BTreeMap<String, String> = found
        .into_iter()
        .map(|(_, content)| named(&content))
        .collect();
    assert_eq!(named.len(), count, "a message is there twice");
    named
}

fn named(content: &[u8]) -> (String, String) {
    let text = String::from_utf8(content.to_vec()).unwrap();
    let at = text.find("X-Name: ").expect("a name");
    let text = &text[at..];
    let name = text["X-Name: ".len()..].split("\r\n").next().unwrap();
    (name.to_owned(), text.to_owned())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_backup_under_load_is_restored_to_a_state_between_its_begin_and_its_end() {
    const SENDERS: usize = 4;
    let mut server = Victim::start(&["--accounts", "1"]);
    let (begun, taken) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    let stop = AtomicBool::new(false);
    let scratch = Scratch::new();
    let backup = scratch.path().join("backup");
    let (before, after) = thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (server, begun, taken, stop) = (&server, &begun, &taken, &stop);
            scope.spawn(move || {
                let mut wire = Wire::smtp(server.port(25)).unwrap();
                for serial in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let name = format!("s{sender}-{serial}");
                    begun.lock().unwrap().insert(name.clone());
                    assert!(deliver(&mut wire, &name));
                    taken.lock().unwrap().insert(name);
                }
            });
        }
        while taken.lock().unwrap().len() < 200 {
            thread::yield_now();
        }
        let before = taken.lock().unwrap().clone();
        let socket = server.data().join("ctl");
        let made = command(&["--ctl", path(&socket), "backup", path(&backup)]);
        let after = begun.lock().unwrap().clone();
        stop.store(true, Ordering::SeqCst);
        assert!(made.status.success(), "{}", said(&made));
        (before, after)
    });
    // Another one into the same place is refused.
    let socket = server.data().join("ctl");
    let again = command(&["--ctl", path(&socket), "backup", path(&backup)]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("is not empty"), "{}", said(&again));
    assert!(server.terminate().success());

    // In place of what was there: as after a lost disk.
    let kept = scratch.path().join("before");
    fs::rename(server.data(), &kept).unwrap();
    let data = server.data().clone();
    let restore = |backup: &Path| command(&["restore", path(backup), "--dir", path(&data)]);
    let restored = restore(&backup);
    assert!(restored.status.success(), "{}", said(&restored));
    server.verify_clean();
    let refused = restore(&backup);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("not empty"), "{}", said(&refused));
    server.restart();
    let found = messages(&server);
    for (name, content) in &found {
        assert!(*content == message(name), "{name} is not what was sent");
    }
    let names: BTreeSet<String> = found.into_keys().collect();
    let lost: Vec<_> = before.difference(&names).collect();
    assert!(lost.is_empty(), "acknowledged before: {lost:?}");
    let early: Vec<_> = names.difference(&after).collect();
    assert!(early.is_empty(), "sent after it: {early:?}");
    println!(
        "{} before, {} restored, {} after",
        before.len(),
        names.len(),
        after.len()
    );
    // It goes on.
    let mut wire = Wire::smtp(server.port(25)).unwrap();
    assert!(deliver(&mut wire, "new-0"));
    assert!(messages(&server).contains_key("new-0"));
    assert!(server.terminate().success());
    server.verify_clean();

    // One that was cut off has no manifest.
    fs::remove_file(backup.join("manifest")).unwrap();
    fs::remove_dir_all(server.data()).unwrap();
    let refused = restore(&backup);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("incomplete"), "{}", said(&refused));
}

#[test]
fn salvage_writes_every_acknowledged_message_also_when_the_tables_are_lost() {
    let mut server = Victim::start(&["--accounts", "1"]);
    let mut wire = Wire::smtp(server.port(25)).unwrap();
    let names: BTreeSet<String> = (0..40).map(|n| format!("m-{n}")).collect();
    for name in &names {
        assert!(deliver(&mut wire, name));
    }
    server.kill();
    let scratch = Scratch::new();
    let salvage = |out: &str| {
        let out = scratch.path().join(out);
        let data = server.data().clone();
        let done = command(&["salvage", "--dir", path(&data), "--out", path(&out)]);
        assert!(done.status.success(), "{}", said(&done));
        let index = fs::read_to_string(out.join("index.tsv")).unwrap();
        let files: Vec<String> = index
            .lines()
            .skip(1)
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect();
        let found: BTreeMap<String, String> = files
            .iter()
            .map(|file| named(&fs::read(out.join(file)).unwrap()))
            .collect();
        assert_eq!(found.len(), files.len());
        for (name, content) in &found {
            assert!(*content == message(name), "{name} is not what was sent");
        }
        (files, found.into_keys().collect::<BTreeSet<_>>())
    };
    let (files, found) = salvage("whole");
    assert_eq!(found, names);
    assert!(
        files.iter().all(|f| f.starts_with("u0/INBOX/")),
        "{files:?}"
    );
    // All tables are emptied, bodies stay: as if they had been lost.
    let mut kv: Box<dyn mox_store::Kv> =
        Box::new(mox_store::FjallKv::open(&server.data().join("store/rows")).unwrap());
    let mut batch = mox_mailbox::Batch::default();
    kv.reads()
        .scan(mox_mailbox::Space::Rows, &[], &[0xff; 16], &mut |key, _| {
            batch
                .writes
                .push((mox_mailbox::Space::Rows, key.to_vec(), None));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    kv.commit(&batch).unwrap();
    kv.close().unwrap();
    let (files, found) = salvage("tables");
    assert_eq!(found, names);
    assert!(files.iter().all(|f| f.starts_with("account-")), "{files:?}");
    // Without any rows: what is a file.
    fs::remove_dir_all(server.data().join("store/rows")).unwrap();
    let (_, found) = salvage("files");
    let large: BTreeSet<String> = names.into_iter().filter(|n| n.ends_with('0')).collect();
    assert_eq!(found, large);
}
