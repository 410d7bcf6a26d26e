//! Every file of `vectors/`, whole, byte by byte and cut at every place.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use mox_transcripts::world::{ImapServer, SmtpClient, SmtpServer};
use mox_transcripts::{Machine, Transcript, bless, replay, run};
use std::path::PathBuf;

fn files(machine: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")).join(machine);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "session"))
        .collect();
    files.sort();
    files
}

fn all<M: Machine>(machine: &str, make: impl Fn(&Transcript) -> Result<M, String>) {
    let mut failures = Vec::new();
    let files = files(machine);
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let mut transcript = Transcript::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(transcript.to_string(), text, "{name} written back");
        assert_eq!(transcript.get("machine"), Some(machine), "{name}");
        if std::env::var_os("BLESS").is_some() {
            transcript = bless(&transcript, &make).unwrap_or_else(|e| panic!("{name}:{e}"));
            std::fs::write(&file, transcript.to_string()).unwrap();
        }
        let played = run(&transcript, &make).and_then(|()| replay(&text, false));
        if let Err(why) = played {
            failures.push(format!("{machine}/{name}:{why}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn the_smtp_server_follows_its_transcripts() {
    all("smtp-server", SmtpServer::new);
}

#[test]
fn the_smtp_client_follows_its_transcripts() {
    all("smtp-client", SmtpClient::new);
}

#[test]
fn the_imap_server_follows_its_transcripts() {
    all("imap-server", ImapServer::new);
}

#[test]
fn a_transcript_that_expects_something_else_fails() {
    let head = "machine: smtp-server\n\n";
    for (body, why) in [
        (
            "S: 220 $host ESMTP\nC: NOOP\nS: 251 ...\n",
            "5: expected `S: 251 ...`, got `S: 250",
        ),
        (
            "S: 220 ...\nC: NOOP\nS: 250 ...\nS: 250 ...\n",
            "6: expected `S: 250 ...`, got `nothing`",
        ),
        (
            "S: 220 ...\nC: NOOP\n",
            "4: after it nothing expected, got `S: 250",
        ),
        ("S: 220 ...\n! accept\n", "4: no such ask is open"),
        (
            "S: 220 $host ESMTP\nC: EHLO c.example\nS: 250-$host\nS: 250-...\nS: 250 $host\n",
            "7: expected",
        ),
    ] {
        let transcript = Transcript::parse(&format!("{head}{body}")).unwrap();
        let failure = run(&transcript, SmtpServer::new).unwrap_err();
        assert!(failure.starts_with(why), "{failure}");
    }
}
