//! Disks as a power failure may leave them: nothing that was promised is missing in any, and without syncs it is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use mox_crash::load::{self, Amount};
use mox_crash::{
    History, Imager, KEPT, Keep, Laboratory, Ledger, Node, Random, Tally, check_order, moments,
    open_image, scratch, serve_image, survey, use_program_under_test,
};

/// Nobody listens there: what is submitted for other servers stays in the queue.
const OPTIONS: [&str; 4] = ["--accounts", "5", "--relay", "127.0.0.1:1"];
/// Images opened in this process, unless `MOX_CRASH_IMAGES` says how many.
const IMAGES: usize = 2_100;
/// Images opened by the real program.
const SERVED: usize = 12;
/// Runs, each but the first on a disk that a power failure in the run before has left.
const RUNS: usize = 3;

/// What one run of a server promised and did.
struct Run {
    history: History,
    ledger: Ledger,
    /// The records while clients took turns.
    in_turn: core::ops::Range<usize>,
}

/// Clients all at once, then one after the other; then the end, in order or not.
fn run(mut laboratory: Laboratory, ledger: Ledger, number: usize, in_order: bool) -> Run {
    let ledger = Arc::new(Mutex::new(ledger));
    for client in load::start(&laboratory.server, &ledger, number, Amount::AT_ONCE) {
        client.join().unwrap().unwrap();
    }
    let start = laboratory.moment();
    load::one_by_one(
        &laboratory.server,
        &ledger,
        1_000 + number,
        Amount::ONE_BY_ONE,
    );
    let end = laboratory.moment();
    if in_order {
        assert!(laboratory.server.terminate().success());
    } else {
        laboratory.server.kill();
    }
    let history = laboratory.history();
    let mut ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    ledger.place(&history);
    Run {
        history,
        ledger,
        in_turn: start..end,
    }
}

#[test]
fn nothing_acknowledged_is_missing_from_any_disk_that_a_power_failure_may_leave() {
    use_program_under_test();
    let images = std::env::var("MOX_CRASH_IMAGES").map_or(IMAGES, |n| n.parse().unwrap());
    let seed = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis() as u64;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (mut tally, mut served) = (Tally::default(), 0);
    let place = scratch();
    let mut laboratory = Laboratory::start(None, &OPTIONS, false);
    let mut ledger = Ledger::default();
    for number in 1..=RUNS {
        let time = Instant::now();
        let this = run(laboratory, ledger, number, number == RUNS);
        let promised = this.ledger.promises();
        println!(
            "run {number}: {} records, {} promises about messages, {} about the queue",
            this.history.length, promised.0, promised.1
        );
        if number == 1 {
            let ordered = check_order(&this.history, &this.ledger, this.in_turn.clone()).unwrap();
            println!("order: {ordered:?}");
            assert!(ordered.small > 100 && ordered.large > 30, "{ordered:?}");
            assert!(ordered.queued > 20 && ordered.in_turn > 50, "{ordered:?}");
        }
        let at = moments(&this.history, &this.ledger, images / RUNS, &mut random);
        tally.add(survey(
            &this.history,
            &this.ledger,
            &at,
            seed + (number << 32) as u64,
            KEPT,
        ));
        println!("{:?}", time.elapsed());
        for _ in 0..SERVED / RUNS {
            let at = moments(&this.history, &this.ledger, 1, &mut random)[0];
            let scratch = scratch();
            let data = scratch.path().join("data");
            Imager::new(&this.history).write(at, Keep::Torn, &mut random, &data);
            let verdict = serve_image(scratch, &data, &OPTIONS).unwrap();
            assert_eq!(verdict.findings, Vec::<String>::new(), "at record {at}");
            let wrong = this.ledger.check(&verdict.found, at);
            assert_eq!(wrong, Vec::<String>::new(), "at record {at}");
            served += 1;
        }
        println!("{:?}", time.elapsed());
        // The next run begins on what this one left, late in its busiest time.
        let busy = this.in_turn.start;
        let at = busy - random.below(busy / 4);
        let (seen, left) = (place.path().join("seen"), place.path().join("left"));
        for to in [&seen, &left] {
            let _ = std::fs::remove_dir_all(to);
            let mut same = Random::new(seed + number as u64);
            Imager::new(&this.history).write(at, Keep::Torn, &mut same, to);
        }
        let found = open_image(&seen).unwrap().found;
        ledger = this.ledger;
        ledger.rebase(&found, at);
        laboratory = Laboratory::start(Some(&left), &OPTIONS, false);
    }
    drop(laboratory);
    println!(
        "{} images opened in this process ({} at promises, {} with something left out or torn), {served} by the program; {} lost something",
        tally.images, tally.at_promises, tally.with_unsafe, tally.lost
    );
    assert_eq!(tally.wrong, Vec::<String>::new());
    assert_eq!(tally.lost, 0);
    assert_eq!((tally.images, served), (images / RUNS * RUNS, SERVED));
}

/// Files or directories whose syncs are taken for not made, and what they are called.
type Kind = (&'static str, fn(&Node) -> bool);

/// How many of some images lose something.
fn lost(history: &History, ledger: &Ledger) -> (usize, usize) {
    let moments = moments(history, ledger, 40, &mut Random::new(7));
    let tally = survey(history, ledger, &moments, 7, 0);
    (tally.lost, tally.images)
}

#[test]
fn a_program_without_syncs_fails_the_laboratory() {
    use_program_under_test();
    // Its syncs really do nothing, and the laboratory sees none.
    let without = run(
        Laboratory::start(None, &OPTIONS, true),
        Ledger::default(),
        1,
        false,
    );
    let early = check_order(&without.history, &without.ledger, without.in_turn.clone());
    let early = early.unwrap_err().len();
    let lossy = lost(&without.history, &without.ledger);
    println!(
        "no syncs: {early} promises too early, {} of {} images lost something",
        lossy.0, lossy.1
    );
    assert!(early > 200 && lossy.0 > 20, "{early} {lossy:?}");
    // Each kind of sync is needed: with one taken for not made, promises break.
    let honest = run(
        Laboratory::start(None, &OPTIONS, false),
        Ledger::default(),
        1,
        false,
    );
    let mut history = honest.history;
    assert_eq!(lost(&history, &honest.ledger).0, 0);
    let kinds: [Kind; 4] = [
        ("journals", |node| node.path.ends_with(".jnl")),
        ("body files", |node| {
            !node.directory && node.path.contains("/body/")
        }),
        ("directories of bodies", |node| {
            node.directory && node.path.contains("/body/")
        }),
        ("the directory of the rows", |node| {
            node.directory && node.path.ends_with("/rows")
        }),
    ];
    let kept: Vec<_> = history
        .nodes
        .iter()
        .map(|node| node.syncs.clone())
        .collect();
    for (kind, of) in kinds {
        history.forget_syncs(of);
        let (lost, images) = lost(&history, &honest.ledger);
        let early = check_order(&history, &honest.ledger, honest.in_turn.clone());
        let early = early.map_or_else(|wrong| wrong.len(), |_| 0);
        println!(
            "no syncs of {kind}: {early} promises too early, {lost} of {images} images lost something"
        );
        assert!(lost > 0, "{kind}");
        for (node, syncs) in history.nodes.iter_mut().zip(&kept) {
            node.syncs.clone_from(syncs);
        }
        history.forget_syncs(|_| false);
    }
}
