//! Many people in the same three mailboxes: whatever they do at once, each is told the truth, and the store agrees.
//!
//! `MOX_SIM_SEEDS=1000` runs more worlds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use mox_machine::{Rng, Seed};
use mox_sim::plan::{ClientPlan, Crash, Deed, Does, Secrecy, ServerPlan, Then};
use mox_sim::{Knobs, Plan, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Worlds in each run of the tests.
const SEEDS: u64 = 300;
const CLIENTS: u64 = 20;
const DEEDS: u64 = 15;

/// In every other world the power fails some times.
fn plan(seed: u64) -> Plan {
    let mut rng = Seed::from_number(seed).child("shared mailboxes", 0).rng();
    let clients = (0..CLIENTS)
        .map(|_| {
            let deeds = (0..DEEDS).map(|n| deed(&mut rng, n)).collect();
            ClientPlan {
                begins_ms: rng.below(1_000),
                server: 0,
                secrecy: Secrecy::None,
                does: Does::Read(0, deeds),
            }
        })
        .collect();
    let crashes = (0..4 * (seed % 2)).map(|_| Crash {
        server: 0,
        at_ms: rng.below(8_000),
        then: Then::Call(rng.below(16)),
        down_ms: rng.below(500),
        cut: 0,
    });
    let mut crashes: Vec<Crash> = crashes.collect();
    crashes.sort_unstable_by_key(|crash| crash.at_ms);
    Plan {
        seed,
        knobs: Knobs::fault_free(),
        heal_ms: 10_000,
        servers: vec![ServerPlan {
            accounts: 1,
            tls: false,
        }],
        clients,
        crashes,
        ..Plan::default()
    }
}

fn deed(rng: &mut Rng, n: u64) -> Deed {
    let (nth, mailbox) = (rng.below(1_000) as u32, rng.below(3) as usize);
    match if n == 0 { 0 } else { rng.below(17) } {
        0 | 1 => Deed::Append(mailbox, 2),
        2..=5 => Deed::Flag {
            nth,
            flag: rng.below(4) as usize,
            set: !rng.one_in(3),
        },
        6 => Deed::Copy(nth, mailbox),
        7 => Deed::Move(nth, mailbox),
        8 => Deed::Delete(nth),
        9 => Deed::Fetch(nth),
        10 => Deed::Idle(rng.below(600)),
        11 => Deed::Select(mailbox),
        12 => Deed::Drop,
        13 | 14 => Deed::Resync,
        15 => Deed::FlagNumber {
            nth,
            flag: rng.below(4) as usize,
            set: !rng.one_in(3),
        },
        _ => Deed::Sync,
    }
}

#[test]
fn twenty_people_in_three_shared_mailboxes_are_told_the_truth() {
    let asked = std::env::var("MOX_SIM_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |n| n.parse().unwrap());
    let (next, wrong) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let sessions = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = run(&plan(seed));
                    sessions.fetch_add(outcome.summary.sessions, Ordering::Relaxed);
                    let found = outcome.wrong.into_iter();
                    wrong
                        .lock()
                        .unwrap()
                        .extend(found.map(|what| format!("seed {seed}: {what}")));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Whoever is alone sees nothing of others.
    assert!(sessions.into_inner() > seeds * CLIENTS * DEEDS / 2);
}
