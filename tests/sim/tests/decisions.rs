//! The list of decisions, played with a whole server: who wrote before and what was made of it, how a message is proved, what is
//! in it; and for each row what becomes of it. `cli/tests/rows.rs` has the same records decided again in another process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    dead_code,
    reason = "tests"
)]

mod one_server;
mod played;

use played::{SCENARIOS, Scenario, play};

#[test]
fn each_row_of_the_list_of_decisions_comes_about_in_a_whole_server() {
    let fails = |scenario: &&'static Scenario| std::panic::catch_unwind(|| play(scenario)).is_err();
    let failed: Vec<_> = SCENARIOS.iter().filter(fails).map(|s| s.about).collect();
    assert_eq!(failed, Vec::<&str>::new());
}
