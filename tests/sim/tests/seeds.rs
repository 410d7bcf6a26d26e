//! Whole worlds by their seeds: nothing acknowledged is lost, nothing is seen twice, and everything repeats.
//!
//! A failing world names itself; `cargo run -p mox-cli -- sim --seed N` shows it. `MOX_SIM_SEEDS=5000` runs more of them,
//! `MOX_SIM_FROM=1000` begins with another one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_sim::{Outcome, Plan, SITES, SITES_ELSEWHERE, many, run};
use std::ops::Range;
use std::process::Command;
use std::sync::Mutex;

/// Worlds in each run of the tests.
const SEEDS: u64 = 300;
/// Worlds of ten days in each run of the tests.
const TEN_DAYS: u64 = 100;
/// Those of the others that run in a fresh process too.
const FRESH: [u64; 3] = [3, 17, 42];
/// Tells a child process which seed it is about.
const CHILD: &str = "MOX_SIM_CHILD";

fn hex(outcome: &Outcome) -> String {
    outcome.hash.iter().map(|b| format!("{b:02x}")).collect()
}

/// So many from the first one, unless asked for others.
fn seeds(usual: u64) -> Range<u64> {
    let asked = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let from = asked("MOX_SIM_FROM").unwrap_or(0);
    from..from + asked("MOX_SIM_SEEDS").unwrap_or(usual)
}

#[test]
fn in_every_world_what_was_promised_holds_and_happens_again_in_the_same_way() {
    let wrong = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = many(seeds(SEEDS), threads, Plan::of_seed, |seed, outcome| {
        let again = run(&Plan::of_seed(seed));
        let mut wrong = wrong.lock().unwrap();
        for what in &outcome.wrong {
            wrong.push(format!("seed {seed}: {what}"));
        }
        if let Some(at) = outcome.trace.first_difference(&again.trace) {
            wrong.push(format!("seed {seed}: two runs differ from fact {at} on"));
        }
        if outcome.hash != again.hash {
            wrong.push(format!("seed {seed}: two runs have different hashes"));
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "look at one with: cargo run -p mox-cli -- sim --seed N\n{}",
        wrong.join("\n")
    );
    eprintln!("{summary}");
    let unseen: Vec<_> = SITES
        .iter()
        .filter(|site| !SITES_ELSEWHERE.contains(site))
        .filter(|site| !summary.sites.contains_key(*site))
        .collect();
    assert!(unseen.is_empty(), "never reached: {unseen:?}");
    // Worlds in which nothing happens prove nothing.
    assert!(summary.ends() > summary.worlds, "{summary}");
    assert!(summary.acknowledged > 2 * summary.worlds, "{summary}");
    assert!(summary.recorded > summary.worlds / 2, "{summary}");
    assert!(summary.extra() > 0, "{summary}");
    assert_eq!((summary.lost, summary.unexplained), (0, 0), "{summary}");
}

#[test]
fn in_ten_days_of_a_queue_each_message_is_delivered_or_given_up_and_told_of_once() {
    let wrong = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = many(
        seeds(TEN_DAYS),
        threads,
        Plan::ten_days_of_seed,
        |seed, outcome| {
            let mut wrong = wrong.lock().unwrap();
            for what in &outcome.wrong {
                wrong.push(format!("seed {seed}: {what}"));
            }
        },
    );
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "look at one with: cargo run -p mox-cli -- sim --ten-days --seed N\n{}",
        wrong.join("\n")
    );
    eprintln!("{summary}");
    assert!(summary.acknowledged > 2 * summary.worlds, "{summary}");
    assert!(summary.given_up > summary.worlds / 2, "{summary}");
    assert_eq!((summary.lost, summary.unexplained), (0, 0), "{summary}");
}

#[test]
fn a_fresh_process_sees_the_same_world() {
    if let Ok(seed) = std::env::var(CHILD) {
        let outcome = run(&Plan::of_seed(seed.parse().unwrap()));
        println!("hash {}.", hex(&outcome));
        return;
    }
    for seed in FRESH {
        let here = hex(&run(&Plan::of_seed(seed)));
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_fresh_process_sees_the_same_world",
                "--nocapture",
            ])
            .env(CHILD, seed.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(
            said.contains(&format!("hash {here}.")),
            "seed {seed}: {said}"
        );
    }
}

#[test]
fn a_plan_is_read_as_it_was_written_and_runs_the_same() {
    for seed in 0..20 {
        let plan = Plan::of_seed(seed);
        assert_eq!(Plan::parse(&plan.to_ron()), Ok(plan));
    }
    let plan = Plan::parse(&Plan::of_seed(5).to_ron()).unwrap();
    assert_eq!(hex(&run(&plan)), hex(&run(&Plan::of_seed(5))));
}

#[test]
fn committed_plans_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/plans");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "ron") {
            let plan = Plan::parse(&std::fs::read_to_string(&path).unwrap());
            let plan = plan.unwrap_or_else(|e| panic!("{}:{e}", path.display()));
            let outcome = run(&plan);
            assert_eq!(outcome.wrong, Vec::<String>::new(), "{}", path.display());
        }
    }
}
