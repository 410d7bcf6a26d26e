//! `moxctl backtest`: what would have become of an account's mail.

use core::fmt::Write;

use mox_machine::Utc;
use mox_server::backtest::{BacktestReport, Becomes};

use crate::args::{Args, Backtest};
use crate::config_files::{ctl_socket, proposed};
use crate::ctl::{self, Command};
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::printable::printable;

/// Flips that are shown to people.
const SHOWN: usize = 50;

pub(crate) fn run(args: &Args, backtest: &Backtest) -> Result<(), Failure> {
    let under = match &backtest.under {
        Some(path) => Some(proposed(path)?),
        None => None,
    };
    let socket = ctl_socket(args)?;
    let command = Command::Backtest {
        account: backtest.account.clone(),
        under,
    };
    let report: BacktestReport = ctl::ask(&socket, &command)?;
    match backtest.json {
        true => print_json(&report),
        false => print(text(&report)),
    }
}

fn text(report: &BacktestReport) -> String {
    let mut out = format!(
        "{} messages judged, {} of them by all rules, the others by their content\n\n\
         marked           taken   not taken\n",
        report.judged, report.with_record
    );
    for (name, Becomes { taken, not_taken }) in [
        ("not junk", report.ham),
        ("junk", report.junk),
        ("nothing", report.unmarked),
    ] {
        let _ = writeln!(out, "{name:<12} {taken:>9}   {not_taken:>9}");
    }
    for (count, what) in [
        (
            report.not_received,
            "messages did not come in: learned where they are marked, and not judged",
        ),
        (report.unreadable, "messages could not be read"),
        (report.left_out, "older messages were left out"),
        (report.words_left_out, "words were not learned"),
    ] {
        if count > 0 {
            let _ = writeln!(out, "{count} {what}");
        }
    }
    if report.uncertain > 0 {
        let _ = writeln!(
            out,
            "{} are judged by less than would be known, and not listed below:",
            report.uncertain
        );
    }
    for (what, count) in &report.unknown {
        let _ = writeln!(out, "    {count:>9}  {}", printable(what));
    }
    if !report.flips.is_empty() {
        out.push_str("\nof these something else would become:\n");
    }
    for flip in report.flips.iter().take(SHOWN) {
        let marked = match flip.marked.as_deref() {
            Some("ham") => ", marked as not junk",
            Some(_) => ", marked as junk",
            None => "",
        };
        let _ = writeln!(
            out,
            "{}  {}  {} {}: {} -> {} ({}), {:.4}{marked}",
            Utc::from_secs(flip.date),
            flip.id,
            flip.mailbox,
            flip.uid,
            flip.was,
            flip.would_be.name(),
            flip.reason.name(),
            flip.probability,
        );
    }
    let listed = u64::try_from(report.flips.len().saturating_sub(SHOWN)).unwrap_or(u64::MAX);
    let more = listed + report.more_flips;
    if more > 0 {
        let _ = writeln!(out, "and {more} more: --json lists the newest 1000");
    }
    out
}
