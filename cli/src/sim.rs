//! `moxctl sim`: our servers in simulated worlds. What is printed to stdout of one world is the same each time.

use core::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use mox_sim::{Outcome, Plan, plan};

use crate::args::Sim;
use crate::failure::Failure;

/// Plans tried to find a smaller one.
const SHRINK_TRIES: u32 = 2_000;
/// In so many worlds every fault happens and every site is reached: one that is not is a hole in the scenarios.
const ENOUGH: u64 = 2_000;
/// Seeds that failed which are named.
const NAMED_MAX: usize = 20;

pub(crate) fn run(sim: &Sim) -> Result<(), Failure> {
    if sim.from.is_some() && sim.seeds.is_none() {
        return Err(usage("--from is about many worlds: --seeds"));
    }
    if sim.ten_days && sim.plan.is_some() {
        return Err(usage(
            "--ten-days is about seeds: a plan says itself how long it lasts",
        ));
    }
    let plan_of = match sim.ten_days {
        true => Plan::ten_days_of_seed,
        false => Plan::of_seed,
    };
    match (sim.seed, &sim.plan, sim.seeds) {
        (Some(seed), None, None) => one(sim, &plan_of(seed)),
        (None, Some(path), None) => one(sim, &read(path)?),
        (None, None, Some(count)) if !sim.steps && !sim.shrink => many(sim, plan_of, count),
        (None, None, Some(_)) => Err(usage(
            "--steps and --shrink are about one world: --seed or --plan",
        )),
        _ => Err(usage("say one of --seed N, --plan FILE and --seeds N")),
    }
}

fn usage(what: &str) -> Failure {
    Failure::Usage(format!("{what}; see moxctl sim --help"))
}

fn read(path: &Path) -> Result<Plan, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
    Plan::parse(&text).map_err(|e| Failure::Failed(format!("{}:{e}", path.display())))
}

fn one(sim: &Sim, plan: &Plan) -> Result<(), Failure> {
    let outcome = mox_sim::run_kept(plan, sim.steps);
    if sim.shrink {
        let run = |plan: &Plan| mox_sim::run(plan).wrong;
        let plan = plan::shrink(plan, SHRINK_TRIES, &outcome.wrong, run);
        print!("{}", plan.to_ron());
        return verdict(&outcome);
    }
    if sim.steps {
        for fact in outcome.trace.last() {
            println!("{fact}");
        }
    }
    let mut hash = String::new();
    for byte in outcome.hash {
        // Writing to a string does not fail.
        let _ = write!(hash, "{byte:02x}");
    }
    print!("{}", outcome.summary);
    println!("hash                    {hash}");
    verdict(&outcome)
}

fn verdict(outcome: &Outcome) -> Result<(), Failure> {
    if outcome.wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "this did not hold:\n  {}",
        outcome.wrong.join("\n  ")
    )))
}

fn many(sim: &Sim, plan_of: fn(u64) -> Plan, count: u64) -> Result<(), Failure> {
    let from = sim.from.unwrap_or(0);
    let switch = if sim.ten_days { " --ten-days" } else { "" };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let until = from
        .checked_add(count)
        .ok_or_else(|| usage("seeds end at 2^64"))?;
    let (began, failed) = (Instant::now(), Mutex::new(Vec::new()));
    let show = std::io::stderr().is_terminal();
    let summary = mox_sim::many(from..until, threads, plan_of, |seed, outcome| {
        if show && (seed - from).is_multiple_of(100) {
            eprint!("\r{} of {count}", seed - from);
        }
        if let Some(first) = outcome.wrong.first() {
            println!("seed {seed}: {first}\n  again: moxctl sim{switch} --seed {seed}");
            let mut failed = failed
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            failed.push(seed);
        }
    });
    if show {
        eprint!("\r");
    }
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_unstable();
    print!("{summary}");
    println!("failing worlds          {}", failed.len());
    let took = began.elapsed().as_secs_f64();
    println!("took                    {took:.1} s on {threads} threads");
    if failed.is_empty() {
        return match summary.missing() {
            missing if !missing.is_empty() && count >= ENOUGH && !sim.ten_days => {
                Err(Failure::Failed(format!(
                    "never happened in {count} worlds: {}",
                    missing.join(", ")
                )))
            }
            _ => Ok(()),
        };
    }
    let named: Vec<String> = failed.iter().take(NAMED_MAX).map(u64::to_string).collect();
    let more = if failed.len() > NAMED_MAX {
        ", ..."
    } else {
        ""
    };
    Err(Failure::Failed(format!(
        "{} of {count} worlds failed, with the seeds {}{more}",
        failed.len(),
        named.join(", ")
    )))
}
