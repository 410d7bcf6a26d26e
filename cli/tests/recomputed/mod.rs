//! Records that other processes decide again, from nothing but what `moxctl explain --json` prints.

use mox_server::decision::Record;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs moxctl where there is neither a store nor a server: in an empty folder, without an environment.
fn moxctl(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_moxctl"))
        .args(arguments)
        .env_clear()
        .current_dir(folder)
        .output()
        .unwrap()
}

/// What a process that is begun now decides from what another one printed of these records: whether it agrees with all, what it
/// said of them if it does not, and the records as it decides them.
pub(crate) fn elsewhere(name: &str, records: &[Record]) -> (bool, String, Vec<Record>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("kept"), serde_json::to_vec(records).unwrap()).unwrap();
    let printed = moxctl(&folder, &["explain", "--json", "--from", "kept"]);
    let problem = String::from_utf8_lossy(&printed.stderr);
    assert!(printed.status.success(), "{problem}");
    fs::write(folder.join("printed"), printed.stdout).unwrap();
    let arguments = ["explain", "--json", "--recompute", "--from", "printed"];
    let again = moxctl(&folder, &arguments);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    let told: Vec<serde_json::Value> = serde_json::from_slice(&again.stdout).unwrap();
    let records = told.into_iter().map(|mut one| {
        let record = one["again"].take();
        serde_json::from_value(record).unwrap()
    });
    let records = records.collect();
    fs::remove_dir_all(&folder).unwrap();
    (again.status.success(), said, records)
}

/// Every record is decided in the same way elsewhere.
pub(crate) fn assert_same_elsewhere(name: &str, records: &[Record]) {
    let (agrees, said, again) = elsewhere(name, records);
    assert!(agrees, "{said}");
    assert_eq!(again.len(), records.len());
    for (then, now) in records.iter().zip(&again) {
        assert_eq!(then.lacks(), None, "{then:#?}");
        assert_eq!((&now.id, &now.reply), (&then.id, &then.reply));
        let decided = |record: &Record| -> Vec<_> {
            let judged = record.recipients.iter();
            judged
                .map(|judged| (judged.decision.clone(), judged.change.clone()))
                .collect()
        };
        assert_eq!(decided(now), decided(then), "{}", then.id);
    }
}
