//! What may be written on the command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use mox_server::config::LogLevel;

pub(crate) mod authentication;
pub(crate) mod junk;
pub(crate) mod queue;
pub(crate) mod transport;
use authentication::{Dkim, Dmarc, Dns, Spf};
use junk::Junk;
use queue::{Queue, Send};
use transport::{Dane, Dnsbl, Mtasts, Tlsrpt};

/// The mail server mox: run it, set it up, ask it.
#[derive(Debug, FromArgs)]
#[argh(
    example = "moxctl localserve\nmoxctl quickstart you@example.org\nmoxctl --config /etc/mox/mox.ron serve",
    note = "Options of moxctl itself stand before the command.",
    error_code(1, "the command failed; why is on stderr"),
    error_code(2, "wrong usage"),
    error_code(3, "no server runs that could be asked"),
    error_code(70, "a part of the running server failed")
)]
pub struct Args {
    /// the file mox.ron, or its folder; default: $MOXCONF, else config/mox.ron
    #[argh(option)]
    pub config: Option<PathBuf>,
    /// ctl socket of the server to ask; default: `ctl` in the data directory of the configuration
    #[argh(option)]
    pub ctl: Option<PathBuf>,
    /// error, warn, info, debug or trace; default: that of the configuration
    #[argh(option)]
    pub loglevel: Option<LogLevel>,
    /// what to do
    #[argh(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum Command {
    /// Run without configuration.
    Localserve(Localserve),
    /// Set up.
    Quickstart(Quickstart),
    /// Run.
    Serve(Serve),
    /// Look at the configuration or change it.
    Config(Config),
    /// Change a password.
    SetAccountPassword(SetAccountPassword),
    /// Look at outgoing mail.
    Queue(Queue),
    /// Rehearse a delivery.
    Send(Send),
    /// Take mail of programs.
    Sendmail(Sendmail),
    /// Ask why mail was taken or not.
    Explain(Explain),
    /// When a transaction was.
    Cid(Cid),
    /// Judge mail again.
    Backtest(Backtest),
    /// Have junk filters learn anew.
    Retrain(Retrain),
    /// Check the store.
    Verify(Verify),
    /// SPF.
    Spf(Spf),
    /// DKIM.
    Dkim(Dkim),
    /// DMARC.
    Dmarc(Dmarc),
    /// MTA-STS.
    Mtasts(Mtasts),
    /// TLS reporting.
    Tlsrpt(Tlsrpt),
    /// DANE.
    Dane(Dane),
    /// Lists of addresses.
    Dnsbl(Dnsbl),
    /// DNS.
    Dns(Dns),
    /// Junk filter.
    Junk(Junk),
    /// Simulate.
    Sim(Sim),
    /// Play recorded sessions, and such that are written by hand.
    Replay(Replay),
    /// Make recorded sessions fit for others to see.
    Capture(Capture),
    /// Back up.
    Backup(Backup),
    /// Restore.
    Restore(Restore),
    /// Salvage.
    Salvage(Salvage),
    /// Say which version this is.
    Version(Version),
}

/// Run a whole mail server on this machine only, without configuration, for trying things out.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "localserve")]
pub struct Localserve {
    /// where mail is kept; default: mox-local
    #[argh(option, default = "PathBuf::from(\"mox-local\")")]
    pub dir: PathBuf,
    /// added to the standard port numbers 25, 587, 465, 143 and 993; default: 1000
    #[argh(option, default = "1000")]
    pub port_base: u16,
    /// accounts u0@localhost, u1@localhost, ... besides mox@localhost; default: 0
    #[argh(option, default = "0")]
    pub accounts: u32,
    /// one more domain that is ours beside localhost, with the same accounts; may be given several times
    #[argh(option)]
    pub domain: Vec<String>,
    /// host:port of a server that gets all mail for other domains; default: it goes to mox@localhost
    #[argh(option)]
    pub relay: Option<String>,
    /// ip:port of a name server to ask; default: no DNS
    #[argh(option)]
    pub resolver: Option<SocketAddr>,
    /// a list of addresses (DNSBL) that is asked about who brings mail, with --resolver; may be given several times
    #[argh(option)]
    pub dnsbl: Vec<String>,
    /// port of the mail servers that DNS names; default: 25
    #[argh(option, default = "25")]
    pub remote_port: u16,
    /// seconds after which outgoing mail is tried again, each time; default: 7.5 minutes, then longer and longer
    #[argh(option)]
    pub retry_after: Option<u32>,
    /// error, warn, info, debug or trace; default: info
    #[argh(option)]
    pub loglevel: Option<LogLevel>,
    /// a number that all randomness follows from; for tests
    #[argh(option)]
    pub seed: Option<u64>,
    /// record every session, also those with other servers, into this folder: one .session file each, without
    /// passwords, local parts and what messages say
    #[argh(option)]
    pub capture: Option<PathBuf>,
    /// record local parts and messages, too (never passwords)
    #[argh(switch)]
    pub capture_plain: bool,
    /// files in the folder at most, the oldest make room; default: 1000
    #[argh(option)]
    pub capture_files: Option<u64>,
    /// octets of one file at most; default: 1048576
    #[argh(option)]
    pub capture_octets: Option<u64>,
}

/// Write a configuration with one account, for a machine that will receive mail from the Internet.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "quickstart")]
pub struct Quickstart {
    /// your address, like you@example.org
    #[argh(positional)]
    pub address: String,
    /// where `config` and `data` are made; default: the current directory
    #[argh(option, default = "PathBuf::from(\".\")")]
    pub dir: PathBuf,
    /// full host name of this machine; default: the system's, or mail.<domain of the address>
    #[argh(option)]
    pub hostname: Option<String>,
}

/// Run the mail server from its configuration files, until SIGTERM or SIGINT.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "serve")]
pub struct Serve {
    /// record every session, also those with other servers, into this folder: one .session file each, without
    /// passwords, local parts and what messages say
    #[argh(option)]
    pub capture: Option<PathBuf>,
    /// record local parts and messages, too (never passwords)
    #[argh(switch)]
    pub capture_plain: bool,
    /// files in the folder at most, the oldest make room; default: 1000
    #[argh(option)]
    pub capture_files: Option<u64>,
    /// octets of one file at most; default: 1048576
    #[argh(option)]
    pub capture_octets: Option<u64>,
}

/// Look at the configuration or change it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "config")]
pub struct Config {
    /// what to do
    #[argh(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum ConfigCommand {
    /// Check.
    Test(ConfigTest),
    /// Accounts.
    Account(ConfigAccount),
    /// Addresses.
    Address(ConfigAddress),
    /// Aliases.
    Alias(ConfigAlias),
    /// Domains.
    Domain(ConfigDomain),
    /// Records to publish.
    DnsRecords(ConfigDnsRecords),
    /// Records published.
    DnsCheck(ConfigDnsCheck),
}

/// Read both configuration files, and the certificates and keys they name, as root also as the server's user, and say everything that
/// is wrong.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "test")]
pub struct ConfigTest {}

/// Add or remove accounts. The running server does it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "account")]
pub struct ConfigAccount {
    /// what to do
    #[argh(subcommand)]
    pub command: AccountCommand,
}

/// What to do with an account.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum AccountCommand {
    /// Add.
    Add(AccountAdd),
    /// Remove.
    Rm(AccountRm),
}

/// Add an account with one address. Set its password afterwards.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "add")]
pub struct AccountAdd {
    /// name of the new account
    #[argh(positional)]
    pub account: String,
    /// its address
    #[argh(positional)]
    pub address: String,
}

/// Remove an account from the configuration.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "rm")]
pub struct AccountRm {
    /// name of the account
    #[argh(positional)]
    pub account: String,
}

/// Add or remove addresses. The running server does it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "address")]
pub struct ConfigAddress {
    /// what to do
    #[argh(subcommand)]
    pub command: AddressCommand,
}

/// What to do with an address.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum AddressCommand {
    /// Add.
    Add(AddressAdd),
    /// Remove.
    Rm(AddressRm),
}

/// Give an address to an account.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "add")]
pub struct AddressAdd {
    /// the address; @domain stands for all that nobody else has
    #[argh(positional)]
    pub address: String,
    /// name of the account
    #[argh(positional)]
    pub account: String,
}

/// Take an address from the account that has it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "rm")]
pub struct AddressRm {
    /// the address
    #[argh(positional)]
    pub address: String,
}

/// Add, change, remove or list aliases: addresses that stand for addresses of accounts. The running server makes changes; the list
/// is read from the files.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "alias")]
pub struct ConfigAlias {
    /// what to do
    #[argh(subcommand)]
    pub command: AliasCommand,
}

/// What to do with an alias.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum AliasCommand {
    /// Add.
    Add(AliasAdd),
    /// Remove.
    Rm(AliasRm),
    /// List.
    List(AliasList),
}

/// Make an address an alias, or give an alias one more member. Whether members may send with it, domains.ron says.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "add")]
pub struct AliasAdd {
    /// the address of the alias
    #[argh(positional)]
    pub alias: String,
    /// an address of an account, which gets its mail; without a domain, one at that of the alias
    #[argh(positional)]
    pub member: String,
}

/// Take a member out of an alias, or the alias away.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "rm")]
pub struct AliasRm {
    /// the address of the alias
    #[argh(positional)]
    pub alias: String,
    /// the member; without one, the whole alias goes
    #[argh(positional)]
    pub member: Option<String>,
}

/// List the aliases of the configuration, with their members.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "list")]
pub struct AliasList {}

/// Add or remove domains. The running server does it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "domain")]
pub struct ConfigDomain {
    /// what to do
    #[argh(subcommand)]
    pub command: DomainCommand,
}

/// What to do with a domain.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum DomainCommand {
    /// Add.
    Add(DomainAdd),
    /// Remove.
    Rm(DomainRm),
}

/// Add a domain, with new keys that sign its mail. Give addresses at it to accounts afterwards.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "add")]
pub struct DomainAdd {
    /// its name
    #[argh(positional)]
    pub domain: String,
}

/// Remove a domain at which no account has an address. Its keys are kept in dkim/old.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "rm")]
pub struct DomainRm {
    /// its name
    #[argh(positional)]
    pub domain: String,
}

/// Print the DNS records to publish for a domain, as lines of a zone file.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dnsrecords")]
pub struct ConfigDnsRecords {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// print JSON
    #[argh(switch)]
    pub json: bool,
}

/// Compare what is published in DNS for a domain with what should be. Exit code 1 when something is missing, wrong or not to be
/// found out.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dnscheck")]
pub struct ConfigDnsCheck {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// take answers from this master file instead of DNS
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write the answers to this master file
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// print JSON
    #[argh(switch)]
    pub json: bool,
}

/// Set the password of an account; it is asked for, or read as one line from stdin.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "setaccountpassword")]
pub struct SetAccountPassword {
    /// name of the account
    #[argh(positional)]
    pub account: String,
    /// make up a password and print it
    #[argh(switch)]
    pub generate: bool,
}

/// Take a message from stdin and have the server send it, as programs expect of sendmail: also when moxctl is called by that name. It
/// is safe once this ends with 0, whether a server runs or not. Only root and the user of the server may send so.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "sendmail",
    note = "Flags: -t (recipients are in the header), -i or -oi (a dot does not end the message), -f or -r ADDRESS (the sender),\n-F NAME (for a From field that is made), -N WHEN, -R full or hdrs, -V ID (what the sender is told), -bp (list the queue).\nFlags of other sendmail programs that mean nothing here are passed over; -bs and -bd are refused.\nThe configuration is that of --config, else $MOXCONF, else /etc/mox/mox.ron; never that of the working directory.",
    error_code(64, "wrong usage"),
    error_code(65, "the message or an address is none"),
    error_code(74, "the message cannot be read"),
    error_code(75, "not now: try again"),
    error_code(77, "not allowed"),
    error_code(78, "no configuration")
)]
pub struct Sendmail {
    /// flags and recipients
    #[argh(positional, greedy)]
    pub words: Vec<String>,
}

/// Show why mail from other servers was taken, put aside or refused: each rule, what it looked at, and the smallest change that
/// would have turned it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "explain")]
pub struct Explain {
    /// the id that the other side was told, a Message-ID, a sender or a recipient
    #[argh(positional)]
    pub what: Option<String>,
    /// one JSON array of whole records
    #[argh(switch)]
    pub json: bool,
    /// decide again from each record, and say whether the same comes of it; with --json an array with id, agrees, differences, lacks,
    /// and the record as it is decided again
    #[argh(switch)]
    pub recompute: bool,
    /// records that --json wrote, or cid --json, instead of those of a server; - is stdin
    #[argh(option)]
    pub from: Option<PathBuf>,
    /// say what would be decided under the configuration of this mox.ron and the domains.ron beside it
    #[argh(option, long = "with")]
    pub under: Option<PathBuf>,
    /// only what this account may know: of its own mail, what was decided for it
    #[argh(option)]
    pub account: Option<String>,
    /// what limiters refused before it came to a message, counted by the minute
    #[argh(switch)]
    pub refused: bool,
    /// records at most, the newest ones; default: 10
    #[argh(option, default = "10")]
    pub max: usize,
}

/// Say when a mail transaction was, by the id that stands in its Received field, in the reply to the other side and in the log, and
/// what was decided in it. It tells which part of the log to look at, for years.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "cid")]
pub struct Cid {
    /// the id, or a whole Received field
    #[argh(positional)]
    pub id: String,
    /// one JSON object: the second, and whole records
    #[argh(switch)]
    pub json: bool,
}

/// Judge all mail of an account again, in the order it came: what would have become of it with what its junk filter knew by then, and
/// with the settings in force or with others. The newest 20,000 messages are looked at; nothing is changed.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "backtest")]
pub struct Backtest {
    /// the account
    #[argh(option)]
    pub account: String,
    /// the mox.ron of another configuration, with a domains.ron beside it
    #[argh(option, long = "with")]
    pub under: Option<PathBuf>,
    /// one JSON value with all that came of it
    #[argh(switch)]
    pub json: bool,
}

/// Have the junk filter of an account forget all, and learn again from its messages as they are marked. The running server does
/// it in the background; until it is done the filter knows less.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "retrain")]
pub struct Retrain {
    /// whose filter; default: those of all accounts
    #[argh(option)]
    pub account: Option<String>,
    /// have nothing learned: say whose filters have something to learn yet
    #[argh(switch)]
    pub status: bool,
    /// one JSON object: how many accounts, or with --status the names of those that are not done
    #[argh(switch)]
    pub json: bool,
}

/// Check the store: every row against every other, and that every body is there. The server must not be running.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "verify")]
pub struct Verify {
    /// the data directory; default: that of the configuration
    #[argh(option)]
    pub dir: Option<PathBuf>,
    /// read every body to its end too, and compare its octets with their hash
    #[argh(switch)]
    pub full: bool,
}

/// Write a backup of all mail, accounts and the queue while the server runs. Configuration files and keys are not in it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "backup")]
pub struct Backup {
    /// a new directory, written by the server: on another disk, best
    #[argh(positional)]
    pub destination: PathBuf,
}

/// Make a data directory's store of a backup, and check all of it. No server may run there, and no store may be there.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "restore")]
pub struct Restore {
    /// the directory of the backup
    #[argh(positional)]
    pub backup: PathBuf,
    /// the data directory; default: that of the configuration
    #[argh(option)]
    pub dir: Option<PathBuf>,
}

/// Get the messages out of a damaged store, as files by account and mailbox with a list of them. The store stays as it is;
/// its rows are copied first, so there must be room for them.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "salvage")]
pub struct Salvage {
    /// the data directory; default: that of the configuration
    #[argh(option)]
    pub dir: Option<PathBuf>,
    /// a new directory for the files; default: mox-salvaged
    #[argh(option, default = "PathBuf::from(\"mox-salvaged\")")]
    pub out: PathBuf,
}

/// Run this program's mail servers in simulated worlds, where networks, disks and power fail, and check that nothing
/// acknowledged is lost. One world is the same each time, whatever the machine.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "sim",
    example = "moxctl sim --seeds 1000\nmoxctl sim --seed 17 --steps\nmoxctl sim --seed 17 --shrink > smaller.ron\nmoxctl sim --plan smaller.ron",
    error_code(1, "something did not hold in one of the worlds")
)]
pub struct Sim {
    /// the world of this number
    #[argh(option)]
    pub seed: Option<u64>,
    /// the world a file describes
    #[argh(option)]
    pub plan: Option<PathBuf>,
    /// so many worlds, on all cores
    #[argh(option)]
    pub seeds: Option<u64>,
    /// the number of the first of them; default: 0
    #[argh(option)]
    pub from: Option<u64>,
    /// worlds in which a queue works for ten days, not those of two minutes in which everything happens
    #[argh(switch)]
    pub ten_days: bool,
    /// print everything that happens in the one world
    #[argh(switch)]
    pub steps: bool,
    /// print the plan of the one world; if something does not hold in it, the smallest one found in which it does not
    #[argh(switch)]
    pub shrink: bool,
}

/// Play recorded sessions against this program: each must go again as it was recorded. Prints `ok FILE`, or the first
/// line that differs with what came instead.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "replay")]
pub struct Replay {
    /// the .session files
    #[argh(positional)]
    pub files: Vec<PathBuf>,
    /// play each also byte by byte and cut at every place
    #[argh(switch)]
    pub cuts: bool,
}

/// Work on recorded sessions.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "capture")]
pub struct Capture {
    /// what to do
    #[argh(subcommand)]
    pub command: CaptureCommand,
}

/// What to do with recorded sessions.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum CaptureCommand {
    /// Redact.
    Redact(CaptureRedact),
}

/// Replace local parts by other names of the same length and messages by filler. The files are replaced and still play.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "redact")]
pub struct CaptureRedact {
    /// the .session files
    #[argh(positional)]
    pub files: Vec<PathBuf>,
    /// write the redacted files into this folder instead of replacing
    #[argh(option)]
    pub to: Option<PathBuf>,
}

/// Print the version.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "version")]
pub struct Version {}

impl Args {
    /// Reads a command line, program name first. What is to be told instead is printed: help to stdout, with exit
    /// code 0, errors to stderr, with exit code 2.
    pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        let mut words = Vec::new();
        for word in line.into_iter().skip(1) {
            match word.into_string() {
                Ok(word) => words.push(word),
                Err(word) => {
                    eprintln!("moxctl: {} is not UTF-8", word.display());
                    return Err(ExitCode::from(2));
                }
            }
        }
        // Where nearly every program answers to it.
        if words == ["--version"] {
            words = vec!["version".to_owned()];
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Self::from_args(&["moxctl"], &words).map_err(|early| match early.status {
            Ok(()) => {
                println!("{}", early.output.trim_end());
                ExitCode::SUCCESS
            }
            Err(()) => {
                eprintln!("{}", early.output.trim_end());
                eprintln!("Run moxctl --help for more.");
                ExitCode::from(2)
            }
        })
    }
}
