//! The conformance scripts of imaptest, played against the whole server: in the simulator's memory, with literals that
//! wait, and over a real socket, with literals that do not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

mod matching;
mod messages;
mod play;
mod script;
mod servers;
mod value;

use script::Script;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Scripts that are not passed, and why: nothing else may fail, and these must.
const NOT_PASSED: &[(&str, &str)] = &[("urlauth-binary", "URLAUTH is not offered")];

/// The folder of the vectors; `None`, and a note, where it is not there.
fn vectors(test: &str) -> Option<PathBuf> {
    if let Some(vectors) = std::env::var_os("MAIL_VECTORS") {
        return Some(vectors.into());
    }
    use std::io::Write;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
    std::fs::create_dir_all(folder).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let path = format!("{folder}/skipped.txt");
    let mut file = options.create(true).append(true).open(path).unwrap();
    writeln!(file, "mox-transcripts {test}").unwrap();
    None
}

/// The files of an archive by name, without their folders.
fn unpacked(vectors: &Path, archive: &str, test: &str) -> BTreeMap<String, Vec<u8>> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&scratch).unwrap();
    let unpacked = Command::new("tar")
        .args(["--zstd", "-xf"])
        .arg(vectors.join(archive))
        .arg("-C")
        .arg(&scratch)
        .status()
        .unwrap();
    assert!(unpacked.success());
    let mut files = BTreeMap::new();
    gather(&scratch, &scratch, &mut files);
    files
}

/// All scripts with their messages.
fn scripts(test: &str) -> Option<Vec<Arc<Script>>> {
    let vectors = vectors(test)?;
    let files = unpacked(Path::new(&vectors), "imap/imaptest-scripts.tar.zst", test);
    let files: BTreeMap<String, Vec<u8>> = files
        .into_iter()
        .map(|(path, text)| (path.rsplit('/').next().unwrap().to_owned(), text))
        .collect();
    let is_script = |name: &&String| !name.contains('.') && !name.starts_with("COPYING");
    let read = |name: &String| {
        let mbox = files.get(&format!("{name}.mbox"));
        let mbox = mbox.unwrap_or_else(|| &files["default.mbox"]);
        Arc::new(script::read(name, &files[name], mbox))
    };
    Some(files.keys().filter(is_script).map(read).collect())
}

fn gather(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(root, &path, files);
        } else {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// Compares what failed with what must.
fn judge(count: usize, failed: &BTreeMap<String, String>) {
    assert_eq!(count, 42);
    let excused = |name: &str| NOT_PASSED.iter().any(|(n, _)| *n == name);
    let wrong: Vec<String> = failed
        .iter()
        .filter(|(name, _)| !excused(name))
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    let passed: Vec<&str> = NOT_PASSED
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !failed.contains_key(*name))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {count} failed:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(passed.is_empty(), "passed after all: {passed:?}");
}

#[test]
fn the_scripts_of_imaptest_pass_in_memory() {
    let Some(scripts) = scripts("the_scripts_of_imaptest_pass_in_memory") else {
        return;
    };
    let failed = scripts
        .iter()
        .filter_map(|script| Some((script.name.clone(), servers::in_memory(script).err()?)));
    judge(scripts.len(), &failed.collect());
}

#[test]
fn the_scripts_of_imaptest_pass_over_a_real_socket() {
    let Some(scripts) = scripts("the_scripts_of_imaptest_pass_over_a_real_socket") else {
        return;
    };
    let failed = scripts
        .iter()
        .filter_map(|script| Some((script.name.clone(), servers::on_a_socket(script).err()?)));
    judge(scripts.len(), &failed.collect());
}
