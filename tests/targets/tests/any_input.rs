//! Every target on random input, for a bounded time.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use mox_targets::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Cases of one target.
const CASES: u32 = 20_000;

fn all(names: &[&str]) {
    for (name, target) in TARGETS
        .iter()
        .filter(|(name, _)| names.iter().any(|n| name.starts_with(n)))
    {
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_time: 10_000,
            ..Config::default()
        };
        let length = prop_oneof![3 => 0..64usize, 2 => 0..400usize, 1 => 0..3_000usize];
        let data = length.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
        if let Err(why) = TestRunner::new(config).run(&data, |data| {
            target(&data);
            Ok(())
        }) {
            panic!("{name}: {why}");
        }
    }
}

#[test]
fn the_words_of_smtp_hold_for_any_input() {
    all(&[
        "smtp_command",
        "smtp_reply",
        "smtp_dots",
        "smtp_lines",
        "smtp_text",
    ]);
}

#[test]
fn the_words_of_imap_hold_for_any_input() {
    all(&[
        "imap_frame",
        "imap_command",
        "imap_strings",
        "imap_names",
        "imap_responses",
        "imap_sets",
        "uid_sets",
    ]);
}

#[test]
fn policies_reports_and_claims_hold_for_any_input() {
    all(&[
        "tls_policies",
        "sts_answer",
        "aggregate_report",
        "tls_report",
        "scrub",
    ]);
}

#[test]
fn names_and_answers_of_dns_hold_for_any_input() {
    all(&["dns_"]);
}

#[test]
fn sasl_holds_for_any_input() {
    all(&["sasl_"]);
}

#[test]
fn mime_holds_for_any_input() {
    all(&["mime_"]);
}

#[test]
fn files_and_rows_hold_for_any_input() {
    all(&["transcript", "config", "rows"]);
}

#[test]
fn the_smtp_server_keeps_its_contract_in_any_sequence_of_calls() {
    all(&["smtp_server"]);
}

#[test]
fn the_smtp_client_keeps_its_contract_in_any_sequence_of_calls() {
    all(&["smtp_client"]);
}

#[test]
fn the_imap_server_keeps_its_contract_in_any_sequence_of_calls() {
    all(&["imap_server"]);
}

#[test]
fn scheduler_and_driver_hold_for_any_input() {
    all(&["queue_scheduler", "driver"]);
}

#[test]
fn every_target_is_run_here_and_by_libfuzzer() {
    let fuzz = include_str!("../../fuzz/Cargo.toml");
    let named: Vec<_> = fuzz
        .split("[[bin]]\nname = \"")
        .skip(1)
        .filter_map(|bin| bin.split('"').next())
        .collect();
    let known: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, known);
}
