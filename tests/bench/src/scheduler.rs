//! What the scheduler of the queue costs with many messages waiting.
//!
//! `-- scheduler` prints times, and instructions where valgrind is installed; `-- scheduler ROW N` only does the work of a row so
//! many times, for valgrind.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mox_machine::Utc;
use mox_queue::{Entry, Limits, NextHop, Scheduler};

use crate::{MEASURED, instructions};

/// Messages that wait.
const WAITING: u64 = 100_000;
/// Domains that they are for.
const DOMAINS: u64 = 100;
/// Runs of a row whose instructions are counted.
const COUNTED: u64 = 1_000;
/// The time of all that is done here.
const NOW: Utc = Utc::from_secs(1_800_000_000);

/// What is done, and its name.
type Row = (&'static str, fn(&mut Scheduler, u64));

/// The rows, and what each does once with a queue of [`WAITING`].
const ROWS: [Row; 4] = [
    ("insert and remove", |scheduler, n| {
        scheduler.insert(entry(WAITING + n, false));
        scheduler.remove(WAITING + n);
    }),
    ("due, tried, and put off", |scheduler, _| {
        for id in scheduler.due(NOW) {
            put_off(scheduler, id);
        }
    }),
    ("how long to wait", |scheduler, _| {
        black_box(scheduler.wait(NOW));
    }),
    ("delay notices, none due", |scheduler, _| {
        black_box(scheduler.delay_notices(NOW));
    }),
];

/// Runs one row so many times, or prints all.
pub(crate) fn run(row: Option<&str>, times: Option<&str>) -> std::io::Result<()> {
    if let Some(name) = row {
        let Some((_, work)) = ROWS.iter().find(|(row, _)| *row == name) else {
            return Err(std::io::Error::other("no such row"));
        };
        let mut scheduler = queue();
        let times = times.and_then(|n| n.parse().ok()).unwrap_or(1);
        (0..times).for_each(|n| work(&mut scheduler, n));
        return Ok(());
    }
    println!(
        "\n| scheduler, {WAITING} messages for {DOMAINS} domains | nanoseconds | instructions |\n|---|---|---|"
    );
    for (name, work) in ROWS {
        let mut scheduler = queue();
        let (mut runs, started) = (0, Instant::now());
        while started.elapsed() < MEASURED {
            work(&mut scheduler, runs);
            runs += 1;
        }
        let each = started.elapsed().as_secs_f64() * 1e9 / runs as f64;
        let counted = instructions::of_one(&["scheduler", name], ("LC_ALL", "C"), COUNTED);
        println!("| {name} | {each:.0} | {counted} |");
    }
    Ok(())
}

/// A queue in which one attempt runs at a time, and all messages are due.
fn queue() -> Scheduler {
    let limits = Limits::default();
    let mut scheduler = Scheduler::new(Limits { total: 1, ..limits });
    (0..WAITING).for_each(|id| scheduler.insert(entry(id, true)));
    scheduler
}

fn entry(id: u64, retry: bool) -> Entry {
    Entry {
        id,
        owner: id % 10,
        hop: NextHop::Domain(Arc::from(format!("d{}.example", id % DOMAINS))),
        next_attempt: NOW,
        delay_notice: Some(NOW + Duration::from_secs(4 * 3_600)),
        retry,
    }
}

/// It failed for now, and is due again with all others: there is always one.
fn put_off(scheduler: &mut Scheduler, id: u64) {
    let mut again = entry(id, true);
    again.next_attempt = NOW;
    scheduler.insert(again);
    scheduler.finished(id);
}
