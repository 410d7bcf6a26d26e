//! The log of the shim is whole: strace, which nothing escapes, counts the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mox_crash::load::{self, Amount};
use mox_crash::{Kind, Laboratory, Ledger, use_program_under_test};
use mox_e2e::{have, skip};

const OPTIONS: [&str; 4] = ["--accounts", "5", "--relay", "127.0.0.1:1"];
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,ftruncate,truncate,fallocate,\
    rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,copy_file_range,sendfile,splice,\
    sync_file_range,io_uring_setup";

fn kind_of(call: &str) -> &str {
    match call {
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => "write",
        "fsync" | "fdatasync" => "sync",
        "ftruncate" => "size",
        "rename" | "renameat" | "renameat2" => "rename",
        "link" | "linkat" => "link",
        "unlink" | "unlinkat" | "rmdir" => "unlink",
        "mkdir" | "mkdirat" => "mkdir",
        other => other,
    }
}

/// How often strace saw each kind of call on files below the root succeed.
fn seen(log: &str, root: &str) -> BTreeMap<String, usize> {
    let (mut begun, mut seen) = (BTreeMap::new(), BTreeMap::new());
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, first);
            continue;
        }
        let text = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((_, end)) = resumed.split_once("resumed>") else {
                    continue;
                };
                format!("{}{end}", begun.remove(thread).unwrap_or_default())
            }
            None => rest.to_owned(),
        };
        let succeeded = text
            .rsplit_once("= ")
            .is_some_and(|(_, result)| !result.starts_with(['-', '?']));
        let Some((call, arguments)) = text.split_once('(').filter(|_| succeeded) else {
            continue;
        };
        // A descriptor comes with its path; what is written may name any.
        let ours = match kind_of(call) {
            "write" | "sync" | "size" => {
                let path = arguments.split_once('<').map_or("", |(_, path)| path);
                path.starts_with(&format!("{root}/")) || path.starts_with(&format!("{root}>"))
            }
            _ => [
                format!("<{root}/"),
                format!("<{root}>"),
                format!("\"{root}/"),
                format!("\"{root}\""),
            ]
            .iter()
            .any(|path| arguments.contains(path)),
        };
        if ours {
            *seen.entry(kind_of(call).to_owned()).or_default() += 1;
        }
    }
    seen
}

#[test]
fn the_shim_sees_every_operation_that_strace_sees() {
    let test = "the_shim_sees_every_operation_that_strace_sees";
    if !have(test, &["strace"]) {
        return;
    }
    let allowed = std::process::Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !allowed.unwrap().status.success() {
        return skip(test, "strace may not trace");
    }
    use_program_under_test();
    let before = [
        "strace",
        "-f",
        "-y",
        "-s",
        "300",
        "-e",
        "signal=none",
        "-e",
        CALLS,
        "-o",
        "{scratch}/strace",
    ];
    let mut laboratory = Laboratory::start_under(&before, &OPTIONS);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    load::one_by_one(&laboratory.server, &ledger, 1, Amount::ONE_BY_ONE);
    assert!(laboratory.server.terminate().success());
    let log = std::fs::read(laboratory.server.scratch().path().join("strace")).unwrap();
    let root = laboratory.server.data().to_str().unwrap();
    let seen = seen(&String::from_utf8_lossy(&log), root);
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for record in laboratory
        .trace()
        .records
        .iter()
        .filter(|r| r.ended && r.b >= 0)
    {
        let kind = match record.kind {
            Kind::Write => "write",
            Kind::Sync => "sync",
            Kind::Size => "size",
            Kind::Rename => "rename",
            Kind::Link => "link",
            Kind::Unlink => "unlink",
            Kind::MakeDir => "mkdir",
            _ => continue,
        };
        *written.entry(kind.to_owned()).or_default() += 1;
    }
    println!("{written:?}");
    assert!(written["write"] > 200 && written["sync"] > 100 && written["rename"] > 5);
    assert_eq!(written, seen);
}
