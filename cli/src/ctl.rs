//! Asking a running server.
//!
//! A Unix socket named `ctl` in the data directory, mode 0600. Each side writes lines of JSON:
//!
//! ```text
//! {"v":2,"id":7,"command":{"set_password":{"account":"jo","password":"..."}}}
//! {"v":2,"id":7,"ok":null}
//! {"v":2,"id":8,"error":{"code":"failed","message":"there is no account \"jp\""}}
//! ```
//!
//! A request is answered by one line with its `id`. The server takes requests from root and from its own user only,
//! as the kernel tells who is connected. A request of another version, or one that is too long, is answered with an
//! error and ends the connection.

mod client;
mod queue;
mod server;

pub use client::{ask, call};
pub(crate) use queue::retired;
pub use queue::{
    QueueAttempt, QueueChange, QueueHistory, QueueItem, QueuePage, QueueRetired, QueueRules,
    QueueSaid, QueueSelection, QueueTold, QueueTranscript, Rehearsal, RetiredPage, Suppressed,
};
pub use server::{Handler, IDLE, Listening, PEERS_MAX};

use core::fmt;

use mox_machine::Secret;
use mox_mailbox::RetiredAt;
use mox_server::reports::ReportKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::config_files::ConfigEdit;

/// Version of the protocol. It is another one whenever one side may not read any more what the other writes: a command or an answer that has
/// another form, or one that is gone. New commands and new fields that may be missing need none.
pub const VERSION: u32 = 2;
/// Octets of a request at most, with its line end: a proposed configuration fits, of tens of thousands of accounts.
pub const REQUEST_MAX: usize = 8 * 1024 * 1024;
/// Octets of a response at most, with its line end.
pub const RESPONSE_MAX: usize = 64 * 1024 * 1024;

/// What a server can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Change `domains.ron` and take it into force. Answered with what whoever does this should know, a list of sentences.
    Config(ConfigEdit),
    /// Set the password of an account. Answered `null`.
    SetPassword {
        /// Whose.
        account: String,
        /// In clear: the socket does not leave the machine.
        password: Password,
    },
    /// Some of the messages that wait for delivery. Answered with a [`QueuePage`].
    QueueList {
        /// The first number that is of interest; 0 at the beginning, then what the page before said.
        from: u64,
        /// Which.
        #[serde(default)]
        select: QueueSelection,
    },
    /// Do something to entries of the queue. Answered with their number.
    QueueChange {
        /// Which.
        select: QueueSelection,
        /// What.
        change: QueueChange,
    },
    /// All that is known of an entry of the queue and of its message. Answered with a [`QueueHistory`].
    QueueShow {
        /// Its number, also after it has left the queue, or the id of its transaction.
        wanted: String,
    },
    /// A part of a queued message, as it is sent. Answered with its octets in Base64; empty behind the end.
    QueueDump {
        /// The number of the entry.
        id: u64,
        /// Where the part begins.
        offset: u64,
    },
    /// By what the queue is worked at. Answered with [`QueueRules`].
    QueueRules,
    /// What left the queue. Answered with a [`RetiredPage`].
    QueueRetired {
        /// The first place of interest.
        from: RetiredAt,
        /// Which.
        #[serde(default)]
        select: QueueSelection,
    },
    /// Rehearse a delivery. Answered with a [`Rehearsal`], which takes as long as it takes.
    DryRun {
        /// MAIL FROM; `None` is the postmaster's.
        from: Option<String>,
        /// The recipient.
        to: String,
        /// Octets of the message.
        octets: u64,
        /// MAIL and RCPT are said.
        to_rcpt: bool,
    },
    /// Addresses that nothing is sent to. Answered with a list of [`Suppressed`].
    Suppressions {
        /// Whose; `None` is everybody's.
        account: Option<String>,
    },
    /// Send nothing to an address any more. Answered `null`.
    Suppress {
        /// Whose mail does not go there.
        account: String,
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// Send to an address again. Answered with whether it was suppressed.
    Unsuppress {
        /// Whose mail goes there.
        account: String,
        /// The address.
        address: String,
    },
    /// Why mail was taken or not. Answered with an [`ExplainAnswer`](crate::ExplainAnswer).
    Explain {
        /// An id, a Message-ID, a sender or a recipient.
        what: String,
        /// Records at most.
        max: usize,
        /// Only what this account may know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
    },
    /// When a transaction was, and what was decided in it. Answered with a [`CidAnswer`](crate::CidAnswer).
    Cid {
        /// Its id.
        id: String,
    },
    /// What limiters refused. Answered with a list of [`RefusedMinute`](mox_server::limiter::RefusedMinute)s, the newest first.
    Refused {
        /// Minutes at most.
        max: usize,
    },
    /// Reports that came. Answered with a list of [`StoredReport`](mox_server::reports::StoredReport)s, the newest first.
    Reports {
        /// Which kind.
        kind: ReportKind,
        /// About which domain; `None` is all.
        domain: Option<String>,
        /// Reports at most.
        max: usize,
    },
    /// What became of reports to other domains. Answered with a list of [`ReportSent`](mox_server::reports_out::ReportSent)s, the last
    /// one first.
    ReportsSent {
        /// Which kind.
        kind: ReportKind,
        /// To which domain; `None` is all.
        domain: Option<String>,
        /// Reports at most.
        max: usize,
    },
    /// Judge an account's mail again. Answered with a [`BacktestReport`](mox_server::backtest::BacktestReport), which takes about a
    /// millisecond a message.
    Backtest {
        /// Whose.
        account: String,
        /// The text of `mox.ron` and of `domains.ron` to judge by; `None` is what is in force.
        under: Option<(String, String)>,
    },
    /// Have the junk filter of an account learn anew. Answered with how many do.
    Retrain {
        /// Whose; `None` is everybody's.
        account: Option<String>,
    },
    /// Whose junk filters have something to learn yet. Answered with the names of their accounts.
    Retraining {
        /// Only this one's; `None` is everybody's.
        account: Option<String>,
    },
    /// Write a backup into a new directory of this name. Answered with [`BackupMade`](crate::BackupMade) once it is
    /// complete, which takes as long as it takes.
    Backup {
        /// An absolute path.
        destination: std::path::PathBuf,
    },
}

/// A password on its way to the server. It does not show itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password(pub Secret<String>);

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CtlError {
    /// What kind.
    pub code: Code,
    /// In words, with the remedy.
    pub message: String,
}

/// Kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is in another version of the protocol.
    Version,
    /// The line is no request, or a command this server does not know.
    Malformed,
    /// The line is longer than [`REQUEST_MAX`].
    TooLong,
    /// The user may not ask.
    Forbidden,
    /// Too many are connected.
    Busy,
    /// It could not be done.
    Failed,
}

impl CtlError {
    /// Could not be done, for this reason.
    pub fn failed(why: impl fmt::Display) -> Self {
        Self {
            code: Code::Failed,
            message: why.to_string(),
        }
    }
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CtlError {}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

/// A request as it is written.
#[derive(Serialize, Deserialize)]
struct Request {
    v: u32,
    id: u64,
    command: Command,
}

/// A response as it is written. Either `ok` or `error` is there.
#[derive(Serialize, Deserialize)]
struct Response {
    v: u32,
    id: u64,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    ok: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<CtlError>,
}

/// `"ok": null` is an answer, no `ok` is none.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}
