//! The files of `vectors/` in the simulator, each under three seeds: other latencies, other pieces, the same results.
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
#[path = "simulated/mod.rs"]
mod simulated;
#[path = "loopback/worlds.rs"]
mod worlds;

use mox_machine::Seed;
use mox_smtp::client::Client;
use mox_transcripts::world::{self, SmtpWorld};
use mox_transcripts::{Spelled, Transcript, run};
use simulated::{Net, Simulated};
use std::path::PathBuf;
use worlds::{ClientWorld, ImapWorld};

/// One for each size of pieces: octet by octet, a few, many.
const SEEDS: [u64; 3] = [3, 7, 11];

fn all(machine: &str, make: impl Fn(Net, &Transcript) -> Result<Simulated, String>) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")).join(machine);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "session"))
        .collect();
    paths.sort();
    assert!(paths.len() > 10);
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let mut transcript = Transcript::parse(&text).unwrap();
        // The network cuts it, unless it says what comes of octets that come together.
        let is_cutting = transcript.get("modes") != Some("whole");
        transcript.header.retain(|(name, _)| name != "modes");
        transcript.header.push(("modes".into(), "whole".into()));
        for seed in SEEDS {
            let net = Net { seed, is_cutting };
            if let Err(why) = run(&transcript, |transcript| make(net, transcript)) {
                failures.push(format!("{}:{why}, seed {seed}", path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn the_smtp_server_follows_its_transcripts_in_the_simulator() {
    all("smtp-server", |net, transcript| {
        let world = SmtpWorld::new(transcript)?;
        let session = world::server(transcript)?;
        Ok(Simulated::new(net, 'S', world, session))
    });
}

#[test]
fn the_smtp_client_follows_its_transcripts_in_the_simulator() {
    all("smtp-client", |net, transcript| {
        let config = transcript.get("config").unwrap_or("()");
        let session = Client::make(config, &Seed::from_number(0), world::START)?;
        Ok(Simulated::new(
            net,
            'C',
            ClientWorld::new(transcript),
            session,
        ))
    });
}

#[test]
fn the_imap_server_follows_its_transcripts_in_the_simulator() {
    all("imap-server", |net, transcript| {
        let config = world::config(transcript)?;
        let world = ImapWorld::new(transcript, config.clone());
        let session = mox_imap::Server::new(config, Seed::from_number(1));
        Ok(Simulated::new(net, 'S', world, session))
    });
}
