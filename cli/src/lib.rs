//! The command line of mox: the server, its configuration, and what an administrator asks of it.
//!
//! Exit codes: 0 done, 1 an error (told on stderr), 2 wrong usage, 3 no server runs that could be asked, 70 a part of
//! the running server failed.

mod args;
mod backtest;
mod backup;
mod capture;
mod cid;
mod config_commands;
pub mod config_files;
pub mod credentials;
pub mod ctl;
mod descriptors;
mod dkim;
mod dkim_keys;
mod dmarc;
mod dns_lookup;
mod dns_records;
mod dnsbl;
mod domain_keys;
mod explain;
mod facts;
mod failure;
pub mod files;
mod handed;
mod https;
mod junk;
mod localserve;
pub mod logging;
mod message;
pub mod offline;
mod password;
mod printable;
pub mod privileges;
mod process;
mod queue;
mod queue_scenario;
mod queue_simulate;
mod quickstart;
mod replay;
mod reports;
mod retrain;
mod salvage;
mod send;
mod sendmail;
mod serve;
pub mod signals;
mod sim;
mod spf;
mod template;
mod timestamp;
pub mod tls_files;
mod transport;
mod transports;
mod verify;

pub use args::{Args, Command, Localserve, Serve};
pub use backup::BackupMade;
pub use cid::CidAnswer;
pub use explain::ExplainAnswer;
pub use failure::Failure;

use args::{Capture, CaptureCommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command line, program name first.
pub fn run(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line: Vec<OsString> = line.into_iter().collect();
    if let Some((config, words)) = sendmail::words(&line) {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        return sendmail::run(config, &words);
    }
    let args = match Args::parse(line) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    // What is made without a mode of its own is for its owner only: mail, keys, sockets.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    match args.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("moxctl: {failure}");
            failure.exit_code()
        }
    }
}

impl Args {
    fn run(self) -> Result<(), Failure> {
        match &self.command {
            Command::Localserve(localserve) => localserve::run(&self, localserve),
            Command::Quickstart(quickstart) => quickstart::run(quickstart),
            Command::Serve(serve) => serve::run(&self, serve),
            Command::Config(config) => config_commands::run(&self, config),
            Command::SetAccountPassword(set) => password::run(&self, set),
            Command::Queue(queue) => queue::run(&self, queue),
            Command::Send(send) => send::run(&self, send),
            // What is not help was done before.
            Command::Sendmail(_) => Err(Failure::Usage("run: moxctl sendmail --help".into())),
            Command::Explain(explain) => explain::run(&self, explain),
            Command::Cid(cid) => cid::run(&self, cid),
            Command::Backtest(backtest) => backtest::run(&self, backtest),
            Command::Retrain(again) => retrain::run(&self, again),
            Command::Verify(verify) => verify::run(&self, verify),
            Command::Spf(spf) => spf::run(spf),
            Command::Dkim(dkim) => dkim::run(dkim),
            Command::Dmarc(dmarc) => dmarc::run(&self, dmarc),
            Command::Mtasts(mtasts) => transport::mtasts(mtasts),
            Command::Tlsrpt(tlsrpt) => transport::tlsrpt(&self, tlsrpt),
            Command::Dane(dane) => transport::dane(dane),
            Command::Dnsbl(dnsbl) => dnsbl::run(dnsbl),
            Command::Dns(dns) => dns_lookup::run(dns),
            Command::Junk(junk) => junk::run(junk),
            Command::Sim(sim) => sim::run(sim),
            Command::Replay(files) => replay::run(files),
            Command::Capture(Capture {
                command: CaptureCommand::Redact(files),
            }) => replay::redact(files),
            Command::Backup(backup) => backup::run(&self, backup),
            Command::Restore(restore) => backup::restore(&self, restore),
            Command::Salvage(salvage) => salvage::run(&self, salvage),
            Command::Version(_) => {
                println!("moxctl {}", env!("CARGO_PKG_VERSION"));
                Ok(())
            }
        }
    }
}
