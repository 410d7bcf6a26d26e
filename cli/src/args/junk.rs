//! The commands of the junk filter.

use std::path::PathBuf;

use argh::FromArgs;

/// Teach a junk filter with messages in folders, and try it. No account and no server is needed.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "junk")]
pub struct Junk {
    /// what to do
    #[argh(subcommand)]
    pub command: JunkCommand,
}

/// What to do with a junk filter.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum JunkCommand {
    /// Train.
    Train(JunkTrain),
    /// Test.
    Test(JunkTest),
    /// Check.
    Check(JunkCheck),
}

/// Learn from wanted messages and from junk. What was learned before stays; what is given twice counts twice. A folder holds
/// one message a file, in folders within it too, or is a Maildir.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "train",
    example = "moxctl junk train --db filter ~/Maildir ~/Maildir/.Junk"
)]
pub struct JunkTrain {
    /// directory of the filter; made if it is not there
    #[argh(option)]
    pub db: PathBuf,
    /// folder of wanted messages
    #[argh(positional)]
    pub ham: PathBuf,
    /// folder of junk
    #[argh(positional)]
    pub spam: PathBuf,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Judge messages that are known to be wanted or junk, and print how often the filter is wrong. Nothing is learned.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "test",
    example = "moxctl junk test --db filter ham spam"
)]
pub struct JunkTest {
    /// directory of the filter
    #[argh(option)]
    pub db: PathBuf,
    /// folder of wanted messages
    #[argh(positional)]
    pub ham: PathBuf,
    /// folder of junk
    #[argh(positional)]
    pub spam: PathBuf,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Judge one message, and print the words that decided.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "check",
    example = "moxctl junk check --db filter message.eml"
)]
pub struct JunkCheck {
    /// directory of the filter
    #[argh(option)]
    pub db: PathBuf,
    /// the message; default: stdin
    #[argh(positional)]
    pub file: Option<PathBuf>,
    /// words to print at most, those of most weight; default: 20 (--json: all)
    #[argh(option, default = "20")]
    pub words: usize,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}
