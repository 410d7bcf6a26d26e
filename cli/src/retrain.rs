//! `moxctl retrain`: junk filters learn anew.

use serde_json::json;

use crate::args::{Args, Retrain};
use crate::config_files::ctl_socket;
use crate::ctl::{self, Command};
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::printable::printable;

pub(crate) fn run(args: &Args, retrain: &Retrain) -> Result<(), Failure> {
    let account = retrain.account.clone();
    let socket = ctl_socket(args)?;
    if retrain.status {
        let busy: Vec<String> = ctl::ask(&socket, &Command::Retraining { account })?;
        return match retrain.json {
            true => print_json(&json!({"learning": busy})),
            false => print(status(&busy)),
        };
    }
    let count: usize = ctl::ask(&socket, &Command::Retrain { account })?;
    if retrain.json {
        return print_json(&json!({"accounts": count}));
    }
    let of = match (&retrain.account, count) {
        (Some(account), _) => format!("the junk filter of {account}"),
        (None, 1) => "the junk filter of 1 account".to_owned(),
        (None, count) => format!("the junk filters of {count} accounts"),
    };
    print(format!(
        "{of} will be learned again from the messages there are\n"
    ))
}

fn status(busy: &[String]) -> String {
    let line = |name: &String| format!("{} is not done yet\n", printable(name));
    match busy {
        [] => "nothing is left to learn\n".to_owned(),
        busy => busy.iter().map(line).collect(),
    }
}
