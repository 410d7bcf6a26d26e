//! What is asked and told about the outgoing queue.

use std::time::Duration;

use mox_machine::Utc;
use mox_mailbox::{Attempt, Fate, Reached, Retired, RetiredAt, Said, Suppression, Transcript};
use mox_node::{Change, DryRun, History, Queued, Selection};
use serde::{Deserialize, Serialize};

/// Which entries are meant: those that fulfil all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSelection {
    /// One of these entries; all, where none is named.
    pub ids: Vec<u64>,
    /// Of this account.
    pub account: Option<String>,
    /// With this reverse-path; empty for delivery reports.
    pub sender: Option<String>,
    /// For this address.
    pub recipient: Option<String>,
    /// For an address at this domain.
    pub domain: Option<String>,
    /// In the queue for so many seconds or longer.
    pub older: Option<u64>,
    /// Whose last attempt said this among other things.
    pub error: Option<String>,
    /// Held, or not held.
    pub held: Option<bool>,
    /// Tried next by this transport.
    pub transport: Option<String>,
}

impl QueueSelection {
    /// Nothing is given, so that all entries are meant.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<QueueSelection> for Selection {
    fn from(select: QueueSelection) -> Self {
        Self {
            ids: select.ids,
            account: select.account,
            sender: select.sender,
            recipient: select.recipient,
            domain: select.domain,
            older: select.older.map(Duration::from_secs),
            error: select.error,
            held: select.held,
            transport: select.transport,
        }
    }
}

/// What is done to entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueChange {
    /// Tried now, also when held.
    Kick,
    /// Not tried until released.
    Hold,
    /// Tried again when its time comes.
    Unhold,
    /// Tried next at this moment, in microseconds since 1970.
    Reschedule(i64),
    /// Tried by this transport from now on; `routes` leaves it to the routes again.
    Route(String),
    /// Taken out without being delivered; nobody is told.
    Drop,
    /// The same, and the sender is told.
    DropAndTell,
}

impl From<QueueChange> for Change {
    fn from(change: QueueChange) -> Self {
        match change {
            QueueChange::Kick => Self::Kick,
            QueueChange::Hold => Self::Hold,
            QueueChange::Unhold => Self::Release,
            QueueChange::Reschedule(at) => Self::Reschedule(Utc(at)),
            QueueChange::Route(transport) => Self::Route(transport),
            QueueChange::Drop => Self::Drop { tell: false },
            QueueChange::DropAndTell => Self::Drop { tell: true },
        }
    }
}

/// By what the queue is worked at: what `queue` of `mox.ron` says, and what is usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRules {
    /// How many attempts run at once.
    pub limits: mox_queue::Limits,
    /// When a message is tried, and how long.
    pub plan: mox_queue::Plan,
}

/// A part of the queue, in the order of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePage {
    /// The messages.
    pub items: Vec<QueueItem>,
    /// Where the next page begins; none when this was the last.
    pub next: Option<u64>,
}

/// A message that waits for delivery to another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueItem {
    /// Its number.
    pub id: u64,
    /// When it was accepted, RFC 3339.
    pub queued: String,
    /// Whose it is.
    pub account: Option<String>,
    /// Reverse-path; empty for delivery reports.
    pub from: String,
    /// Recipients that are still to be reached.
    pub to: Vec<String>,
    /// Octets.
    pub size: u64,
    /// The id in the reply that accepted it.
    pub transaction: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it is tried next, RFC 3339.
    pub next: String,
    /// Not tried until it is released.
    pub hold: bool,
    /// Not tried before this, as its sender or an administrator wants it, RFC 3339.
    pub release: Option<String>,
    /// From when on it counts how long it is tried, RFC 3339: when it was accepted, or released after that. Empty when a server of
    /// an earlier version is asked.
    #[serde(default)]
    pub since: String,
    /// What happened last, if it was tried.
    pub last: Option<String>,
    /// By which transport it is tried next.
    pub transport: String,
    /// An administrator chose that transport, and no route.
    pub routed: bool,
    /// All that goes by that transport goes to one server, for whomever it is.
    #[serde(default)]
    pub one_server: bool,
    /// The sender was told that it takes longer.
    #[serde(default)]
    pub delay_told: bool,
    /// What was said last of each recipient that was tried.
    #[serde(default)]
    pub said: Vec<QueueSaid>,
    /// Attempts in which the answer to the end of the message was lost, or in which the server died: the host may have it.
    #[serde(default)]
    pub ambiguous: u32,
}

/// What was said last of a recipient that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSaid {
    /// The recipient.
    pub to: String,
    /// Word for word, or what went wrong here.
    pub text: String,
    /// RFC 3463.
    pub status: String,
    /// The host that decided; empty when none was reached.
    pub host: String,
    /// What there was of TLS with it.
    pub tls: String,
    /// These are the host's words.
    pub from_peer: bool,
    /// In how many attempts the answer to the end of the message was lost.
    pub ambiguous: u32,
}

fn said(to: &str, said: Said) -> QueueSaid {
    QueueSaid {
        to: to.to_owned(),
        text: said.text,
        status: said.by.status,
        host: said.by.host,
        tls: said.by.tls,
        from_peer: said.by.from_peer,
        ambiguous: said.by.ambiguous,
    }
}

impl From<Queued> for QueueItem {
    fn from(queued: Queued) -> Self {
        let known = queued.to.iter().zip(queued.said);
        let known = known.filter_map(|(to, last)| last.map(|last| said(to, last)));
        Self {
            said: known.collect(),
            ambiguous: queued.ambiguous,
            id: queued.id,
            queued: queued.created.to_string(),
            account: queued.account,
            from: queued.from,
            to: queued.to,
            size: queued.size,
            transaction: queued.transaction,
            attempts: queued.attempts,
            next: queued.next.to_string(),
            hold: queued.hold,
            release: queued.release.map(|at| at.to_string()),
            since: queued.since.to_string(),
            last: queued.last,
            transport: queued.transport,
            routed: queued.is_routed,
            one_server: queued.to_one_server,
            delay_told: queued.delay_told,
        }
    }
}

/// All that is known of an entry and of its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueHistory {
    /// The entry, where it waits.
    #[serde(flatten)]
    pub item: Option<QueueItem>,
    /// Its last attempts, oldest first.
    pub history: Vec<QueueAttempt>,
    /// What was done in the last of them.
    #[serde(default)]
    pub transcript: Option<QueueTranscript>,
    /// Recipients of the same message that left the queue lately.
    pub others: Vec<QueueRetired>,
    /// The other entries of the message that wait.
    #[serde(default)]
    pub waiting: Vec<QueueItem>,
}

impl From<History> for QueueHistory {
    fn from(history: History) -> Self {
        Self {
            item: history.queued.map(Into::into),
            history: history.attempts.into_iter().map(Into::into).collect(),
            transcript: history.transcript.map(Into::into),
            others: history.retired.into_iter().flat_map(retired).collect(),
            waiting: history.others.into_iter().map(Into::into).collect(),
        }
    }
}

/// What was done in an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTranscript {
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// When that ended, RFC 3339.
    pub ended: String,
    /// Earlier steps that are not kept.
    pub left_out: u32,
    /// In order: which host, commands with their replies.
    pub steps: Vec<String>,
}

impl From<Transcript> for QueueTranscript {
    fn from(transcript: Transcript) -> Self {
        Self {
            attempt: transcript.attempt,
            ended: transcript.at.to_string(),
            left_out: transcript.left_out,
            steps: transcript.steps,
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueAttempt {
    /// When it began, RFC 3339.
    pub started: String,
    /// When its outcome was known; none while it runs, or when the server died in it.
    pub ended: Option<String>,
    /// The host that was tried last.
    pub host: String,
    /// What came of it.
    pub outcome: String,
    /// What there was of TLS with the host; empty when it came to no connection.
    pub tls: String,
    /// The transport; empty of attempts that an earlier version made.
    pub transport: String,
    /// The answer to the end of the message was lost, or the server died in it: the host may have the message.
    #[serde(default)]
    pub ambiguous: bool,
}

impl From<Attempt> for QueueAttempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            started: attempt.started.to_string(),
            ended: attempt.ended.map(|at| at.to_string()),
            host: attempt.host,
            outcome: attempt.outcome,
            tls: attempt.tls,
            transport: attempt.transport,
            ambiguous: attempt.ambiguous,
        }
    }
}

/// What left the queue, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredPage {
    /// The recipients.
    pub items: Vec<QueueRetired>,
    /// Where the next page begins; none when this was the last.
    pub next: Option<RetiredAt>,
}

/// A recipient that left the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRetired {
    /// The number of its entry.
    pub id: u64,
    /// When the message was accepted, RFC 3339.
    pub queued: String,
    /// When it left, RFC 3339.
    pub left: String,
    /// Reverse-path.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// `delivered`, `failed` or `dropped`.
    pub fate: String,
    /// What the other server said, or what went wrong.
    pub text: String,
    /// Attempts made.
    pub attempts: u32,
    /// Octets of the message.
    pub size: u64,
    /// The id in the reply that accepted it.
    pub transaction: String,
    /// The host that decided about this recipient; empty when none did.
    pub host: String,
    /// What there was of TLS with it.
    pub tls: String,
    /// RFC 3463; empty where nobody knows.
    #[serde(default)]
    pub status: String,
    /// In how many attempts the answer to the end of the message was lost.
    #[serde(default)]
    pub ambiguous: u32,
    /// By which transport; empty when it was not tried.
    pub transport: String,
    /// What other servers told later.
    pub told: Vec<QueueTold>,
}

/// What another server told of a recipient after the message had left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTold {
    /// When that came, RFC 3339.
    pub at: String,
    /// Whom it is about, as the other server names them.
    pub recipient: String,
    /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
    pub action: String,
    /// RFC 3463.
    pub status: String,
    /// The server that told.
    pub from: String,
    /// What was said.
    pub text: String,
}

/// What would become of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// By which transport it would go; empty when it stays here.
    pub transport: String,
    /// What was done, in order.
    pub steps: Vec<String>,
    /// `delivered`, `temporary`, `permanent`, `nodomain` or `nohost`.
    pub outcome: String,
    /// Why.
    pub text: String,
}

impl From<DryRun> for Rehearsal {
    fn from(run: DryRun) -> Self {
        Self {
            transport: run.transport,
            steps: run.steps,
            outcome: run.outcome,
            text: run.text,
        }
    }
}

/// An address that nothing is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// Whose mail does not go there.
    pub account: String,
    /// The address.
    pub address: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; none when somebody has to lift it.
    #[serde(default)]
    pub until: Option<String>,
    /// How often it had failed in a row; 0 when somebody added it.
    pub failures: u32,
    /// What was said.
    pub reason: String,
}

impl From<(String, Suppression)> for Suppressed {
    fn from((account, row): (String, Suppression)) -> Self {
        Self {
            account,
            until: row.until().map(|at| at.to_string()),
            address: row.address,
            since: row.since.unwrap_or(row.last).to_string(),
            failures: row.failures,
            reason: row.reason,
        }
    }
}

/// One for each recipient.
pub(crate) fn retired(retired: Retired) -> Vec<QueueRetired> {
    let (queued, left) = (retired.created.to_string(), retired.retired.to_string());
    let last = retired.last().cloned();
    let (host, tls, transport) = last
        .map(|attempt| (attempt.host, attempt.tls, attempt.transport))
        .unwrap_or_default();
    // Earlier versions knew it of all together.
    let by_all = Reached {
        host,
        tls,
        ..Reached::default()
    };
    let mut reached = retired.reached.into_iter();
    let transaction = String::from_utf8_lossy(&retired.extra).into_owned();
    // Of one recipient all is told, whoever the other server names.
    let is_one = retired.recipients.len() == 1;
    let notified = &retired.notified;
    let told = |to: &str| {
        let about = notified.iter();
        let about = about
            .filter(|note| is_one || note.about == to || note.recipient.eq_ignore_ascii_case(to));
        let about = about.map(|note| QueueTold {
            at: note.at.to_string(),
            recipient: note.recipient.clone(),
            action: note.action.clone(),
            status: note.status.clone(),
            from: note.from.clone(),
            text: note.text.clone(),
        });
        about.collect::<Vec<_>>()
    };
    let all = retired.recipients.into_iter().map(|(to, fate)| {
        let (fate, text) = match fate {
            Fate::Delivered(text) => ("delivered", text),
            Fate::Failed(text) => ("failed", text),
            Fate::Deferred(text) => ("deferred", text),
            Fate::Dropped => ("dropped", String::new()),
        };
        let by = reached.next().unwrap_or_else(|| by_all.clone());
        QueueRetired {
            id: retired.entry,
            queued: queued.clone(),
            left: left.clone(),
            from: retired.reverse_path.clone(),
            told: told(&to),
            to,
            fate: fate.to_owned(),
            text,
            attempts: retired.attempts_made,
            size: retired.size,
            transaction: transaction.clone(),
            host: by.host,
            tls: by.tls,
            status: by.status,
            ambiguous: by.ambiguous,
            transport: transport.clone(),
        }
    });
    all.collect()
}
