//! `moxctl retrain`: junk filters learn anew.

use crate::args::{Args, Retrain};
use crate::config_files::ctl_socket;
use crate::ctl::{self, Command};
use crate::facts::print;
use crate::failure::Failure;

pub(crate) fn run(args: &Args, retrain: &Retrain) -> Result<(), Failure> {
    let account = retrain.account.clone();
    let count: usize = ctl::ask(&ctl_socket(args)?, &Command::Retrain { account })?;
    let of = match (&retrain.account, count) {
        (Some(account), _) => format!("the junk filter of {account}"),
        (None, 1) => "the junk filter of 1 account".to_owned(),
        (None, count) => format!("the junk filters of {count} accounts"),
    };
    print(format!(
        "{of} will be learned again from the messages there are\n"
    ))
}
