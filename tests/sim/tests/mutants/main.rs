//! Every deliberate fault is noticed: one after the other they are switched on, and a scenario that is content with the
//! servers as they are must find something wrong.
//!
//! `cargo test -p mox-sim --features mutants --test mutants -- --nocapture` prints the table of docs/simulation.md.
//! `MOX_MUTANT=RowsNotSynced` tries one alone and tells all it found, `MOX_MUTANT_SEEDS=500` with so many seeds.
//! `MOX_MUTANT_WHOLE=100` tries instead which of them the first 100 worlds of `moxctl sim --seed` notice.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod house;
mod imap;
mod node;
mod smtp;
mod store;
#[path = "../../../../core/smtp/tests/talk/mod.rs"]
mod talk;
mod worlds;

use mox_machine::mutants::{Mutant, switch_to};
use std::collections::BTreeMap;
use std::panic::{catch_unwind, set_hook};
use std::time::Instant;

/// Something that runs with a seed and says what was wrong in it; a panic says so too.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    run: fn(u64) -> Vec<String>,
}

macro_rules! scenarios {
    ($($place:ident::$name:ident,)+) => {
        $(#[allow(non_upper_case_globals, reason = "named as what it runs")]
        const $name: Scenario = Scenario {
            name: concat!(stringify!($place), "::", stringify!($name)),
            run: $place::$name,
        };)+
    };
}

scenarios! {
    worlds::whole_worlds,
    worlds::ten_days_of_a_queue,
    worlds::a_shared_mailbox,
    worlds::a_mailbox_under_crashes,
    worlds::mail_without_faults,
    worlds::mail_under_crashes,
    worlds::mail_over_a_bad_network,
    worlds::rows_that_lost_their_end,
    store::nothing_is_said_before_the_sync,
    store::nothing_goes_before_the_sync,
    store::a_failed_sync_promises_nothing,
    store::what_was_recovered_stays,
    store::a_body_in_flight_stays,
    store::everybody_gets_into_the_queue,
    store::an_idle_committer_wakes,
    store::a_change_wakes_who_watches,
    smtp::answers_in_any_order,
    smtp::late_answers_to_an_earlier_message,
    smtp::tls_forgets_what_was_said_in_clear,
    smtp::stopping_while_a_message_is_stored,
    smtp::silence_until_the_timeout,
    smtp::an_end_that_is_none,
    imap::a_late_answer_to_an_earlier_watch,
    imap::a_refused_literal_is_never_a_command,
    node::a_greylisting_peer,
    node::a_peer_that_looks_into_the_queue,
    node::a_peer_that_refuses,
    node::a_flood_of_recipients,
    node::a_client_that_stays_after_goodbye,
    node::a_message_that_breaks_off,
}

/// What notices a fault, and with how many seeds at most.
fn catcher(mutant: Mutant) -> (Scenario, u64) {
    use Mutant as M;
    match mutant {
        M::AnsweredBeforeSync | M::PublishedBeforeSync => (nothing_is_said_before_the_sync, 5),
        M::UnlinkedBeforeCommit => (nothing_goes_before_the_sync, 5),
        M::SyncErrorIgnored => (a_failed_sync_promises_nothing, 5),
        M::RecoveredNotDurable => (what_was_recovered_stays, 5),
        M::SweepTakesInFlight => (a_body_in_flight_stays, 5),
        M::WaitingOpNotWoken => (everybody_gets_into_the_queue, 5),
        M::CommitterNotWoken => (an_idle_committer_wakes, 5),
        M::WatcherNotWoken => (a_change_wakes_who_watches, 5),
        M::AnswerToOldestAsk => (answers_in_any_order, 20),
        M::StaleAnswerTaken => (late_answers_to_an_earlier_message, 20),
        M::StartTlsLeftoversKept | M::StartTlsKeepsState => {
            (tls_forgets_what_was_said_in_clear, 20)
        }
        M::DrainCutsCommit => (stopping_while_a_message_is_stored, 20),
        M::DeadlineStays => (silence_until_the_timeout, 5),
        M::BareLfEndsLine => (an_end_that_is_none, 20),
        M::StaleWatchTaken => (a_late_answer_to_an_earlier_watch, 5),
        M::RefusedLiteralRead => (a_refused_literal_is_never_a_command, 5),
        M::TemporaryIsFinal => (a_greylisting_peer, 5),
        M::AttemptNotMarked => (a_peer_that_looks_into_the_queue, 5),
        M::NullSenderTold | M::PermanentRetried => (a_peer_that_refuses, 5),
        M::ExpiredUntold => (ten_days_of_a_queue, 100),
        M::BusySessionNotWoken => (a_flood_of_recipients, 5),
        M::EarlierDeadlineNotArmed => (a_client_that_stays_after_goodbye, 5),
        M::BudgetLeaks => (a_message_that_breaks_off, 5),
        M::ChangeNotTold
        | M::CopyWithoutReference
        | M::MoveKeepsOriginal
        | M::UidNextNotAdvanced
        | M::UidReusedAfterExpunge
        | M::ModseqGoesBack
        | M::UnseenNotReduced
        | M::SizeNotReduced
        | M::ExpungeLeavesNoRecord
        | M::StoreKeepsModseq
        | M::ExpungeDuringFetch
        | M::ExpungeNumbersStay => (a_shared_mailbox, 100),
        M::MoveInTwoOps => (a_mailbox_under_crashes, 300),
        M::BodyGoesWithFirstReference
        | M::OneReferenceForAll
        | M::MissingSwallowed
        | M::EofEndsMessage
        | M::DotAtCut
        | M::DotNotDoubled
        | M::BodyNumberTwice
        | M::DeliveredUnrecorded
        | M::GroupLosesRecipient
        | M::ResetKeepsRecipients => (mail_without_faults, 100),
        // The sweeper must come in the very moment.
        M::BodyLetGoEarly => (mail_without_faults, 500),
        M::ShortfallIgnored => (rows_that_lost_their_end, 20),
        M::DotTakenForDelivered => (mail_over_a_bad_network, 300),
        M::RowsNotSynced
        | M::MarkAheadOfSync
        | M::BodyNotSynced
        | M::DirectoryNotSynced
        | M::AcceptedBeforeCommit
        | M::NoticeApart => (mail_under_crashes, 300),
    }
}

/// What a scenario finds wrong with a seed, a panic included.
fn findings(scenario: Scenario, seed: u64) -> Vec<String> {
    match catch_unwind(|| (scenario.run)(seed)) {
        Ok(wrong) => wrong,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
            vec![text.unwrap_or_else(|| "a panic".to_owned())]
        }
    }
}

/// As [`findings`], with the worlds of `moxctl sim --seed` when `MOX_MUTANT_WHOLE` asks for them.
fn chosen_scenario(mutant: Mutant) -> (Scenario, u64) {
    match std::env::var("MOX_MUTANT_WHOLE") {
        Ok(seeds) => (whole_worlds, seeds.parse().unwrap()),
        Err(_) => catcher(mutant),
    }
}

/// Seeds until the first catch, and what was caught.
fn hunt(mutant: Mutant, scenario: Scenario, seeds: u64) -> Option<(u64, Vec<String>)> {
    switch_to(Some(mutant));
    let caught = (0..seeds).find_map(|seed| {
        let wrong = findings(scenario, seed);
        (!wrong.is_empty()).then_some((seed + 1, wrong))
    });
    switch_to(None);
    caught
}

#[test]
fn every_mutant_is_caught_and_nothing_else() {
    // A caught fault may be a panic; what it says is in the table.
    set_hook(Box::new(|_| {}));
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let (only, asked) = (std::env::var("MOX_MUTANT").ok(), number("MOX_MUTANT_SEEDS"));
    let chosen = |mutant: &&Mutant| only.as_ref().is_none_or(|name| name == mutant.name());
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let mut green = BTreeMap::<&str, (Scenario, u64)>::new();
    for &mutant in Mutant::ALL.iter().filter(chosen) {
        let (scenario, most) = chosen_scenario(mutant);
        let begun = Instant::now();
        let caught = hunt(mutant, scenario, asked.unwrap_or(most));
        let took = begun.elapsed().as_secs_f32();
        let Some((seeds, found)) = caught else {
            eprintln!("{} SURVIVES {} ({took:.1} s)", mutant.name(), scenario.name);
            wrong.push(format!("{} survives {}", mutant.name(), scenario.name));
            continue;
        };
        eprintln!("{}: {seeds} ({took:.1} s)", mutant.name());
        if only.is_some() {
            eprintln!("{found:#?}");
        }
        let first = found[0].replace('|', "\\|").replace(['\n', '\r'], " ");
        let first: String = first.chars().take(120).collect();
        let what = mutant.what().trim();
        let (name, by) = (mutant.name(), scenario.name);
        rows.push(format!("| {name} | {what} | {by} | {seeds} | {first} |"));
        let least = &mut green.entry(by).or_insert((scenario, 0)).1;
        *least = seeds.max(*least);
    }
    // The same seeds find nothing in the servers as they are.
    for (scenario, seeds) in green.into_values() {
        for seed in 0..seeds {
            let found = findings(scenario, seed);
            if !found.is_empty() {
                let name = scenario.name;
                wrong.push(format!("without any mutant {name}, seed {seed}: {found:?}"));
            }
        }
    }
    eprintln!("\n| mutant | what it does | caught by | seeds | what was found |");
    eprintln!("|---|---|---|---|---|\n{}", rows.join("\n"));
    for what in &wrong {
        eprintln!("{what}");
    }
    assert!(wrong.is_empty(), "see above");
    assert!(only.is_some() || rows.len() == Mutant::ALL.len());
}
