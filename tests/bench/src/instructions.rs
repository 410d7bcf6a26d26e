//! Instructions, counted by valgrind: the one figure that a shared machine does not change.

use std::process::Command;

/// Instructions of one run of what `mox-bench ARGS TIMES` does: those of so many runs and one more, less those of one, divided. "not
/// counted" where there is no valgrind.
pub(crate) fn of_one(args: &[&str], variable: (&str, &str), counted: u64) -> String {
    let count = |times: u64| {
        let program = std::env::current_exe().ok()?;
        let output = Command::new("valgrind")
            .args([
                "--tool=cachegrind",
                "--cache-sim=no",
                "--cachegrind-out-file=/dev/null",
            ])
            .arg(program)
            .args(args)
            .arg(times.to_string())
            .env(variable.0, variable.1)
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_total = |line: &&str| line.contains("I ") && line.contains("refs:");
        let line = said.lines().find(is_total)?;
        let digits = line.rsplit(':').next()?.chars();
        let digits: String = digits.filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    match (count(1), count(1 + counted)) {
        (Some(one), Some(many)) => (many.saturating_sub(one) / counted).to_string(),
        _ => "not counted".to_owned(),
    }
}
