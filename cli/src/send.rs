//! `moxctl send --dry-run`: what would become of a message, without sending it.

use std::io::{self, Write};

use crate::args::Args;
use crate::args::queue::Send;
use crate::config_files::ctl_socket;
use crate::ctl::{self, Command, Rehearsal};
use crate::failure::Failure;
use crate::printable::printable;

pub(crate) fn run(args: &Args, send: &Send) -> Result<(), Failure> {
    if !send.dry_run {
        return Err(Failure::Usage(
            "this command only rehearses: add --dry-run; moxctl sendmail sends".into(),
        ));
    }
    let command = Command::DryRun {
        from: send.from.clone(),
        to: send.to.clone(),
        octets: send.size,
        to_rcpt: send.to_rcpt,
    };
    let rehearsal: Rehearsal = ctl::ask(&ctl_socket(args)?, &command)?;
    let text = match send.json {
        true => serde_json::to_string_pretty(&rehearsal)
            .map_err(|e| Failure::Failed(format!("this cannot be written as JSON: {e}")))?,
        false => told(&rehearsal),
    };
    drop(io::stdout().write_all((text + "\n").as_bytes()));
    match rehearsal.outcome.as_str() {
        "delivered" => Ok(()),
        _ => Err(Failure::Failed(format!(
            "{} would not be delivered to now",
            send.to
        ))),
    }
}

fn told(rehearsal: &Rehearsal) -> String {
    let mut lines: Vec<String> = rehearsal.steps.iter().map(|step| printable(step)).collect();
    let outcome = match rehearsal.outcome.as_str() {
        "delivered" => "it would be sent",
        "temporary" | "nodomain" | "nohost" => "it would be tried again later",
        _ => "it would come back",
    };
    lines.push(printable(&format!("{outcome}: {}", rehearsal.text)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_lines_and_the_last_one_says_what_would_become_of_it() {
        let rehearsal = Rehearsal {
            transport: "direct".into(),
            steps: vec!["by transport direct".into(), "greeting: 220 hi\x1b".into()],
            outcome: "temporary".into(),
            text: "450 later".into(),
        };
        assert_eq!(
            told(&rehearsal),
            "by transport direct\ngreeting: 220 hi \nit would be tried again later: 450 later"
        );
    }
}
