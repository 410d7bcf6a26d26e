//! One octet of a journal damaged (S8): the start fails and says what to do, or everything up to the mark is there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mox_crash::load::{self, Amount};
use mox_crash::{
    History, Imager, Keep, Laboratory, Ledger, Random, open_image, scratch, use_program_under_test,
};
use mox_e2e::Scratch;
use mox_e2e::crash::{Victim, command, said};

const OPTIONS: [&str; 4] = ["--accounts", "5", "--relay", "127.0.0.1:1"];
/// Positions in the journal.
const SAMPLES: usize = 500;
/// Of them, those that the real program is started on as well.
const SERVED: usize = 10;
/// At least so many promises are in the journal.
const OPS: usize = 1_000;

const WORK: Amount = Amount {
    senders: 5,
    sent: 90,
    appended: 120,
    expunged: 60,
    flagged: 260,
    submitted: 60,
};

/// The record at which the mark before the last was being written: what was promised before it is in the last.
fn marked(history: &History) -> usize {
    let marks = history
        .nodes
        .iter()
        .filter(|node| node.path.contains("/mark."));
    let mut begun: Vec<usize> = marks
        .flat_map(|node| &node.changes)
        .map(|c| c.begin)
        .collect();
    begun.sort_unstable();
    begun[begun.len() - 2]
}

fn journal(data: &Path) -> std::path::PathBuf {
    let rows = fs::read_dir(data.join("store/rows")).unwrap();
    let mut journals = rows.map(|entry| entry.unwrap().path());
    let found = journals.find(|path| path.extension().is_some_and(|e| e == "jnl"));
    found.unwrap()
}

#[test]
fn with_one_octet_of_a_journal_damaged_a_start_fails_and_says_so_or_nothing_marked_is_missing() {
    use_program_under_test();
    let mut laboratory = Laboratory::start(None, &OPTIONS, false);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    for client in load::start(&laboratory.server, &ledger, 1, WORK) {
        client.join().unwrap().unwrap();
    }
    laboratory.server.kill();
    let history = laboratory.history();
    let mut ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    ledger.place(&history);
    let promises = ledger.promises();
    assert!(promises.0 + promises.1 >= OPS, "{promises:?}");
    let marked = marked(&history);
    let of_journal = history
        .nodes
        .iter()
        .position(|node| node.path.ends_with(".jnl"))
        .unwrap();
    let mut random = Random::new(1);
    let place = scratch();
    let (mut refused, mut opened, mut started) = (0, 0, 0);
    let sound = history.nodes[of_journal].content_at_end();
    let image = |to: &Path| {
        let _ = fs::remove_dir_all(to);
        Imager::new(&history).write(history.length, Keep::All, &mut Random::new(1), to);
    };
    let to = place.path().join("image");
    image(&to);
    for sample in 0..SAMPLES {
        // What fjall has not written yet is as good as the end.
        let mut damaged = sound.clone();
        let at = (sound.len() - 1) * sample / (SAMPLES - 1);
        damaged[at] ^= 1 << random.below(8);
        fs::write(journal(&to), &damaged).unwrap();
        match open_image(&to) {
            Ok(verdict) => {
                assert_eq!(verdict.findings, Vec::<String>::new(), "octet {at}");
                let wrong = ledger.check_since(&verdict.found, marked);
                assert_eq!(wrong, Vec::<String>::new(), "octet {at}");
                opened += 1;
                image(&to);
            }
            Err(e) => {
                assert!(e.contains("moxctl verify"), "octet {at}: {e}");
                assert!(
                    e.contains("damaged") || e.contains("lost data"),
                    "octet {at}: {e}"
                );
                assert!(
                    fs::read(journal(&to)).unwrap() == damaged,
                    "octet {at}: it was changed"
                );
                fs::remove_dir_all(to.join("store/aside")).unwrap();
                refused += 1;
            }
        }
        if sample % (SAMPLES / SERVED) == SERVED {
            let scratch = Scratch::new();
            let data = scratch.path().join("data");
            image(&data);
            fs::write(journal(&data), &damaged).unwrap();
            let mut server = Victim::new(scratch, data, &[], &OPTIONS);
            match server.try_restart() {
                Ok(()) => assert!(server.terminate().success()),
                Err(status) => {
                    assert_eq!(status.code(), Some(1), "{}", server.log());
                    assert!(server.log().contains("moxctl verify"), "{}", server.log());
                    // Asking again changes nothing.
                    let verify = command(&["verify", "--dir", server.data().to_str().unwrap()]);
                    assert_eq!(verify.status.code(), Some(1), "{}", said(&verify));
                    assert!(said(&verify).contains("the store"), "{}", said(&verify));
                    assert!(fs::read(journal(server.data())).unwrap() == damaged);
                    started += 1;
                }
            }
        }
    }
    println!(
        "{} promises, {} octets of journal; {refused} starts refused, {opened} opened; the program refused {started}",
        promises.0 + promises.1,
        sound.len()
    );
    assert_eq!(refused + opened, SAMPLES);
    assert!(refused > SAMPLES / 2);
}
