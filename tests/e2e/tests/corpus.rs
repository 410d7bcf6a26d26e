//! Thousands of real messages go in through SMTP and come out through IMAP as they were.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mox_e2e::{Localserve, PASSWORD, Scratch, have, run, script, vectors};

/// Messages in the corpus.
const MESSAGES: usize = 3753;
/// Connections that send at once.
const CONNECTIONS: &str = "10";
/// What is written before a message when it is delivered.
const TRACE: [&[u8]; 3] = [b"Return-Path:", b"Delivered-To:", b"Received:"];

#[test]
fn thousands_of_real_messages_arrive_unchanged() {
    let test = "thousands_of_real_messages_arrive_unchanged";
    let Some(vectors) = vectors(test) else { return };
    if !have(test, &["python3", "mbsync", "tar", "zstd"]) {
        return;
    }
    let corpus = Scratch::new();
    let archive = vectors.join("spamham/spamassassin-open.tar.zst");
    let unpack = [
        "--zstd",
        "-xf",
        archive.to_str().unwrap(),
        "-C",
        corpus.path().to_str().unwrap(),
    ];
    run("tar", &unpack, b"");
    let originals = files(corpus.path(), &|path| {
        path.extension().is_some_and(|e| e == "eml")
    });
    assert_eq!(originals.len(), MESSAGES);

    let server = Localserve::start(&[]);
    let sent = run(
        "python3",
        &[
            script("send_corpus.py").to_str().unwrap(),
            &server.port(25).to_string(),
            CONNECTIONS,
            corpus.path().to_str().unwrap(),
            "mox@localhost",
        ],
        b"",
    );
    assert_eq!(String::from_utf8_lossy(&sent).trim(), MESSAGES.to_string());

    let maildir = Scratch::new();
    let config = maildir.write("mbsyncrc", mbsyncrc(&server, maildir.path()));
    run("mbsync", &["-c", config.to_str().unwrap(), "-a"], b"");
    let fetched = files(&maildir.path().join("inbox"), &|path| {
        path.parent()
            .is_some_and(|p| p.ends_with("new") || p.ends_with("cur"))
    });
    assert_eq!(fetched.len(), MESSAGES);

    // The order in which ten connections were served is nobody's business: compare both as bags.
    let mut expected: BTreeMap<Vec<u8>, Vec<PathBuf>> = BTreeMap::new();
    for file in &originals {
        let content = with_last_line_ended(lf(&fs::read(file).unwrap()));
        expected.entry(content).or_default().push(file.clone());
    }
    let mut unknown = Vec::new();
    for file in &fetched {
        let content = without_trace(without_tuid(&lf(&fs::read(file).unwrap())));
        let known = expected.get_mut(&content).and_then(Vec::pop);
        if known.is_none() {
            unknown.push(String::from_utf8_lossy(&content[..content.len().min(400)]).into_owned());
        }
    }
    let missing: Vec<&PathBuf> = expected.values().flatten().collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{} changed: {:?}\nthey came as: {}",
        missing.len(),
        &missing[..missing.len().min(20)],
        unknown[..unknown.len().min(5)].join("\n---\n")
    );
    server.stop();
}

fn mbsyncrc(server: &Localserve, folder: &Path) -> String {
    format!(
        "IMAPAccount mox\nHost 127.0.0.1\nPort {port}\nUser mox@localhost\nPass {PASSWORD}\nSSLType IMAPS\n\
         CertificateFile {certificate}\nTimeout 120\n\n\
         IMAPStore far\nAccount mox\n\n\
         MaildirStore near\nPath {folder}/\nInbox {folder}/inbox\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n",
        port = server.port(993),
        certificate = server.certificate().display(),
        folder = folder.display(),
    )
}

/// All files below a folder that are wanted.
fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// Without any CR.
fn lf(message: &[u8]) -> Vec<u8> {
    message
        .iter()
        .copied()
        .filter(|octet| *octet != b'\r')
        .collect()
}

/// SMTP carries whole lines.
fn with_last_line_ended(mut message: Vec<u8>) -> Vec<u8> {
    if !message.ends_with(b"\n") {
        message.push(b'\n');
    }
    message
}

/// Without the one line that mbsync writes into the header.
fn without_tuid(message: &[u8]) -> Vec<u8> {
    let tuid = message
        .split_inclusive(|octet| *octet == b'\n')
        .position(|line| line.starts_with(b"X-TUID: "));
    let tuid = tuid.expect("mbsync marks each message");
    let lines = message.split_inclusive(|octet| *octet == b'\n').enumerate();
    lines
        .filter(|(number, _)| *number != tuid)
        .flat_map(|(_, line)| line.to_vec())
        .collect()
}

/// From the first original header on: without the fields that delivery has written, which must all be there.
fn without_trace(message: Vec<u8>) -> Vec<u8> {
    let mut rest = message.as_slice();
    for field in TRACE {
        assert!(
            rest.starts_with(field),
            "{} is missing in {}",
            String::from_utf8_lossy(field),
            String::from_utf8_lossy(&message[..message.len().min(400)])
        );
        loop {
            let end = rest.iter().position(|octet| *octet == b'\n').unwrap() + 1;
            rest = &rest[end..];
            if !rest.starts_with(b" ") && !rest.starts_with(b"\t") {
                break;
            }
        }
    }
    rest.to_vec()
}
