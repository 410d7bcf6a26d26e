//! Every target on random input, for a bounded time.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use mox_targets::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Cases of one target.
const CASES: u32 = 20_000;

fn all(names: &[&str]) {
    for (name, target) in TARGETS.iter().filter(|(name, _)| names.contains(name)) {
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

/// Tests, and the targets that each of them runs.
macro_rules! groups {
    ($($test:ident: [$($name:literal),+ $(,)?];)+) => {
        $(#[test]
        fn $test() {
            all(&[$($name),+]);
        })+

        /// All targets that a test runs.
        const RUN: &[&str] = &[$($($name),+),+];
    };
}

groups! {
    the_words_of_smtp_hold_for_any_input: [
        "smtp_command", "smtp_reply", "smtp_reply_value", "smtp_dots", "smtp_dots_hostile", "smtp_lines", "smtp_text",
    ];
    the_words_of_imap_hold_for_any_input: [
        "imap_frame", "imap_command", "imap_strings", "imap_names", "imap_responses", "imap_sets", "uid_sets",
    ];
    policies_reports_and_claims_hold_for_any_input: [
        "tls_policies", "sts_answer", "aggregate_report", "tls_report", "scrub",
    ];
    records_of_spf_dkim_and_dmarc_hold_for_any_input: [
        "spf_record", "dkim_records", "dkim_body", "dmarc_record", "master_file",
    ];
    headers_of_proxies_hold_for_any_input: ["proxy_header"];
    names_and_answers_of_dns_hold_for_any_input: ["dns_name", "dns_lookup"];
    sasl_holds_for_any_input: ["sasl_server", "sasl_exchange"];
    mime_and_messages_hold_for_any_input: ["mime_structure", "mime_header", "mime_decoders", "message"];
    files_and_rows_hold_for_any_input: ["transcript", "config", "rows"];
    the_smtp_server_keeps_its_contract_in_any_sequence_of_calls: ["smtp_server"];
    the_smtp_client_keeps_its_contract_in_any_sequence_of_calls: ["smtp_client"];
    the_imap_server_keeps_its_contract_in_any_sequence_of_calls: ["imap_server"];
    scheduler_and_driver_hold_for_any_input: ["queue_scheduler", "driver"];
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
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(RUN.to_vec()), sorted(known));
}
