//! The files of `vectors/` over real sockets, on smol and on tokio: whole and byte by byte.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::new_without_default,
    dead_code,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

#[path = "loopback/mod.rs"]
mod lo;
#[path = "loopback/worlds.rs"]
mod worlds;

use lo::Loopback;
use mox_driver::Runtime;
use mox_machine::Seed;
use mox_runtime_smol::SmolRuntime;
use mox_runtime_tokio::TokioRuntime;
use mox_transcripts::world::{self, SmtpWorld};
use mox_transcripts::{Machine, Transcript, run};
use std::path::PathBuf;
use std::time::Duration;
use worlds::ImapWorld;

fn all<M: Machine>(machine: &str, make: impl Fn(&Transcript) -> Result<M, String>) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")).join(machine);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "session"))
        .collect();
    paths.sort();
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let mut transcript = Transcript::parse(&text).unwrap();
        // Every single cut is for the machine alone: it would be thousands of connections here.
        let modes = transcript.get("modes").unwrap_or("whole bytes").to_owned();
        let modes = modes.replace(" splits", "");
        transcript.header.retain(|(name, _)| name != "modes");
        transcript.header.push(("modes".into(), modes));
        if let Err(why) = run(&transcript, &make) {
            failures.push(format!("{}:{why}", path.display()));
        }
    }
    assert!(paths.len() > 20);
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn smtp<R: Runtime>(runtime: &R) {
    all("smtp-server", |transcript| {
        let world = SmtpWorld::new(transcript)?;
        let session = world::server(transcript)?;
        Ok(Loopback::new(runtime.clone(), world::START, world, session))
    });
}

fn imap<R: Runtime>(runtime: &R) {
    all("imap-server", |transcript| {
        let config = world::config(transcript)?;
        let world = ImapWorld::new(transcript, config.clone());
        let session = mox_imap::Server::new(config, Seed::from_number(1));
        Ok(Loopback::new(runtime.clone(), world::START, world, session))
    });
}

fn on_smol(play: impl FnOnce(&SmolRuntime)) {
    let smol = SmolRuntime::start(2, Seed::from_number(1)).unwrap();
    play(&smol);
    assert_eq!(smol.health().panics, 0);
    smol.stop(Duration::from_secs(5));
}

fn on_tokio(play: impl FnOnce(&TokioRuntime)) {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let _inside = tokio.enter();
    let runtime = TokioRuntime::current(Seed::from_number(1));
    play(&runtime);
    assert_eq!(runtime.panics(), 0);
}

#[test]
fn the_smtp_server_follows_its_transcripts_on_smol() {
    on_smol(smtp);
}

#[test]
fn the_smtp_server_follows_its_transcripts_on_tokio() {
    on_tokio(smtp);
}

#[test]
fn the_imap_server_follows_its_transcripts_on_smol() {
    on_smol(imap);
}

#[test]
fn the_imap_server_follows_its_transcripts_on_tokio() {
    on_tokio(imap);
}
