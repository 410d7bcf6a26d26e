//! `moxctl queue ...`

use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use argh::FromArgs;

use crate::timestamp::Moment;

/// Look at outgoing mail, and decide about it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "queue")]
pub struct Queue {
    /// what to do
    #[argh(subcommand)]
    pub command: QueueCommand,
}

/// What to do with the queue.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum QueueCommand {
    /// List.
    List(List),
    /// One message.
    Show(Show),
    /// Its octets.
    Dump(Dump),
    /// Now.
    Kick(Kick),
    /// Not now.
    Hold(Hold),
    /// Again.
    Unhold(Unhold),
    /// Later.
    Reschedule(Reschedule),
    /// Elsewhere.
    Route(Route),
    /// Never.
    Drop(Drop),
    /// What was.
    Retired(Retired),
    /// Whom nothing goes to.
    Suppress(Suppress),
    /// What would be.
    Simulate(Simulate),
}

/// Show what would become of the queue as it is now, if the world were as a scenario says: attempts, notices, failures. Nothing is
/// sent or changed.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "simulate")]
pub struct Simulate {
    /// how many hours from now on, at most 720
    #[argh(option)]
    pub hours: u32,
    /// the file with the scenario, or - for standard input; without it everything is delivered
    #[argh(option)]
    pub scenario: Option<std::path::PathBuf>,
    /// what the jitter of pauses is made from; default: 1
    #[argh(option, default = "1")]
    pub seed: u64,
    /// one JSON object instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Look at the addresses that nothing is sent to, and change them.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "suppress")]
pub struct Suppress {
    /// what to do
    #[argh(subcommand)]
    pub command: SuppressCommand,
}

/// What to do with suppressed addresses.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum SuppressCommand {
    /// List.
    List(SuppressList),
    /// One more.
    Add(SuppressAdd),
    /// One less.
    Rm(SuppressRm),
}

/// List the addresses that nothing is sent to: other servers did not know them three times in a row, or somebody added them.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "list")]
pub struct SuppressList {
    /// of this account only
    #[argh(option)]
    pub account: Option<String>,
    /// one JSON array instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Send nothing to an address any more: what an account sends there comes back at once.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "add")]
pub struct SuppressAdd {
    /// whose mail does not go there
    #[argh(positional)]
    pub account: String,
    /// the address
    #[argh(positional)]
    pub address: String,
    /// why, for the sender to read
    #[argh(option, default = "\"an administrator added it\".into()")]
    pub reason: String,
}

/// Send to an address again.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "rm")]
pub struct SuppressRm {
    /// whose mail goes there
    #[argh(positional)]
    pub account: String,
    /// the address
    #[argh(positional)]
    pub address: String,
}

/// `90s`, `15m`, `6h`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a span of time; write it like 90s, 15m, 6h or 2d";
        let unit = text.chars().next_back().ok_or(WRONG)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(WRONG),
        };
        let count: Result<u64, ParseIntError> = text.trim_end_matches(unit).parse();
        let span = count.ok().and_then(|count| count.checked_mul(seconds));
        // A thousand years are enough, and more would be no moment any more.
        match span {
            Some(span) if span <= 86_400 * 365_000 => Ok(Self(Duration::from_secs(span))),
            _ => Err(WRONG),
        }
    }
}

/// A command that is about selected entries: its own options, and those that select.
macro_rules! selecting {
    ($(#[$about:meta])* $name:ident { $($(#[$of_own:meta])* $own:ident: [$($kind:tt)*],)* }) => {
        #[derive(Debug, FromArgs)]
        $(#[$about])*
        pub struct $name {
            $($(#[$of_own])* pub $own: $($kind)*,)*
            /// the numbers of entries, as `queue list` tells them
            #[argh(positional)]
            pub ids: Vec<u64>,
            /// entries of this account
            #[argh(option)]
            pub account: Option<String>,
            /// entries with this MAIL FROM; an empty one for delivery reports
            #[argh(option)]
            pub sender: Option<String>,
            /// entries for this address
            #[argh(option)]
            pub recipient: Option<String>,
            /// entries for addresses at this domain
            #[argh(option)]
            pub domain: Option<String>,
            /// entries that wait for so long or longer, like 6h
            #[argh(option)]
            pub older: Option<Span>,
            /// entries whose last attempt said this among other things
            #[argh(option)]
            pub error: Option<String>,
            /// entries that are tried next by this transport
            #[argh(option)]
            pub transport: Option<String>,
        }

        impl $name {
            /// What is selected.
            pub(crate) fn selection(&self) -> crate::ctl::QueueSelection {
                crate::ctl::QueueSelection {
                    ids: self.ids.clone(),
                    account: self.account.clone(),
                    sender: self.sender.clone(),
                    recipient: self.recipient.clone(),
                    domain: self.domain.clone(),
                    older: self.older.map(|span| span.0.as_secs()),
                    error: self.error.clone(),
                    held: None,
                    transport: self.transport.clone(),
                }
            }
        }
    };
}

selecting! {
    /// List the messages that wait for delivery.
    #[argh(subcommand, name = "list")]
    List {
        /// one JSON array instead of a table
        #[argh(switch)]
        json: [bool],
        /// only those that are held
        #[argh(switch)]
        held: [bool],
    }
}

selecting! {
    /// Try messages now, also held ones.
    #[argh(subcommand, name = "kick")]
    Kick {
        /// all of the queue
        #[argh(switch)]
        all: [bool],
    }
}

selecting! {
    /// Do not try messages until they are released by unhold or kick.
    #[argh(subcommand, name = "hold")]
    Hold {
        /// all of the queue
        #[argh(switch)]
        all: [bool],
    }
}

selecting! {
    /// Release held messages: they are tried when their time comes.
    #[argh(subcommand, name = "unhold")]
    Unhold {
        /// all of the queue
        #[argh(switch)]
        all: [bool],
    }
}

selecting! {
    /// Change when messages are tried next, up to 30 days from now. Beyond 12 hours they are held back until then, and how long they are
    /// tried counts from there.
    #[argh(subcommand, name = "reschedule")]
    Reschedule {
        /// all of the queue
        #[argh(switch)]
        all: [bool],
        /// at this moment, like 2026-01-02T03:04:05Z
        #[argh(option)]
        at: [Option<Moment>],
        /// so long from now, like 90m
        #[argh(option, long = "in")]
        within: [Option<Span>],
    }
}

selecting! {
    /// Have messages tried by another transport: `queue route provider 7 8`. `routes` leaves it to the routes again.
    #[argh(subcommand, name = "route")]
    Route {
        /// the name of the transport
        #[argh(positional)]
        by: [String],
        /// all of the queue
        #[argh(switch)]
        all: [bool],
    }
}

selecting! {
    /// Take messages out of the queue without delivering them. Their senders are not told, unless --dsn says so.
    #[argh(subcommand, name = "drop")]
    Drop {
        /// all of the queue
        #[argh(switch)]
        all: [bool],
        /// tell the senders by a notification: those with an account here who did not ask not to be told (NOTIFY)
        #[argh(switch)]
        dsn: [bool],
    }
}

/// Print all that is known of one entry, also within 7 days after it left the queue: its attempts, what was done in the last one, and
/// the others of the same message.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// the number of the entry, as `queue list` and `queue retired` tell it, or the id of the transaction
    #[argh(positional)]
    pub wanted: String,
    /// one JSON object instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Print a message as it is sent.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dump")]
pub struct Dump {
    /// the number of the entry, as `queue list` tells it
    #[argh(positional)]
    pub id: u64,
}

selecting! {
    /// List what left the queue within the last 7 days: delivered, failed or dropped.
    #[argh(subcommand, name = "retired")]
    Retired {
        /// one JSON array instead of a table
        #[argh(switch)]
        json: [bool],
        /// only what left within this time, like 24h
        #[argh(option)]
        since: [Option<Span>],
    }
}

/// Rehearse a delivery: look up where it goes, connect, encrypt, check policies, and stop before anything is sent.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "send")]
pub struct Send {
    /// nothing is sent; needed, since nothing else is there yet
    #[argh(switch)]
    pub dry_run: bool,
    /// whose mail it is, MAIL FROM; default: postmaster at the host, an empty one for a notification
    #[argh(option)]
    pub from: Option<String>,
    /// ask for the recipient too: MAIL and RCPT are said, DATA never
    #[argh(switch)]
    pub to_rcpt: bool,
    /// octets of the message; default: 1000
    #[argh(option, default = "1_000")]
    pub size: u64,
    /// one JSON object instead of text
    #[argh(switch)]
    pub json: bool,
    /// the recipient
    #[argh(positional)]
    pub to: String,
}
