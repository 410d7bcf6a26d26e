//! The queue of messages to remote recipients.
//!
//! A message has one row; each group of recipients that is tried together (one domain) has an entry of its own, so that an
//! attempt rewrites one small row. What is tried when is decided elsewhere; here is what must survive.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::bundle::bundles;
use crate::deliver::{Delivered, Delivery, PREFIX_MAX, place};
use crate::edit::Edit;
use crate::key::{self, Referrer, Table};
use crate::queue_recipient::{FATES, FILED_MAX, Filed, QueueRecipient, Reached, SAID, Said, share};
use crate::rows::{Stored, octets, utc, utc_option};
use crate::sent::{self, Notified};
use crate::unended::count_unended;
use crate::{
    AccountId, Batch, Body, BodyRef, Limit, Observation, Progress, ReadError, Reads, Space, Steps,
    Stop, Touched, scan,
};
use crate::{reports_out, retired_index, suppression, transcript};

/// Recipients in one entry at most.
pub const RECIPIENTS_MAX: usize = 64;
/// Octets that the recipients of one entry have in all, at most: beside its attempts they fit into a row.
pub const RECIPIENTS_OCTETS_MAX: usize = 32 * 1024;
/// Octets of an address at most.
pub const ADDRESS_MAX: usize = 320;
/// Octets of what a sender wants to be told, at most.
pub const DSN_MAX: usize = 640;
/// Ids of a message that notifications may name, at most.
pub const IDS_MAX: usize = 2;
/// Octets of such an id at most; longer ones are not kept.
pub const ID_MAX: usize = 255;
/// Octets kept of what a peer or the server said.
pub const TEXT_MAX: usize = 256;
/// Octets kept of what was said in the last attempt: it decides, and is to be read word for word.
pub const LAST_TEXT_MAX: usize = 2_000;
/// Octets kept of the name of a host, and of what there was of TLS with it.
pub(crate) const NAME_MAX: usize = 128;
/// Attempts kept of an entry: the last ones.
pub const ATTEMPTS_KEPT: usize = 20;
/// A message to be put into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueue {
    /// Whose it is; `None` for mail of the server itself.
    pub account: Option<AccountId>,
    /// MAIL FROM, empty for the null path.
    pub reverse_path: String,
    /// What stands before the body: trace fields.
    pub prefix: Bytes,
    /// Needs 8BITMIME.
    pub eight_bit: bool,
    /// Needs SMTPUTF8.
    pub utf8: bool,
    /// The id of the transaction; opaque to the engine.
    pub extra: Bytes,
    /// What its sender wants to be told, as parameters of MAIL; opaque to the engine.
    pub dsn: String,
    /// It travels through proven TLS only.
    pub require_tls: bool,
    /// It is to arrive, whatever policies demand of TLS.
    pub tls_optional: bool,
    /// At least one; each becomes an entry of the queue, or part of a bundle.
    pub groups: Vec<Group>,
    /// What notifications of other servers may name it by; opaque to the engine. At most [`IDS_MAX`] of up to [`ID_MAX`] octets
    /// are kept.
    pub ids: Vec<String>,
}

/// Recipients that are tried together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// At least one.
    pub recipients: Vec<QueueRecipient>,
    /// When it is tried first.
    pub next_attempt: Utc,
    /// Not tried until released.
    pub hold: bool,
    /// Not tried before this, as its sender wants it.
    pub release: Option<Utc>,
}

/// Whose an entry of the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// The server itself wrote the message.
    Server,
    /// An account.
    Account(AccountId),
}

/// A message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMessage {
    /// The number of its first entry.
    pub id: u64,
    /// How many entries it has numbers for: they follow each other.
    pub entries: u32,
    /// Whose it is; `None` for mail of the server itself.
    pub account: Option<AccountId>,
    /// MAIL FROM, empty for the null path.
    pub reverse_path: String,
    /// Its body.
    pub body: BodyRef,
    /// What stands before the body.
    #[serde(with = "octets")]
    pub prefix: Bytes,
    /// Needs 8BITMIME.
    pub eight_bit: bool,
    /// Needs SMTPUTF8.
    pub utf8: bool,
    /// As handed in.
    #[serde(with = "octets")]
    pub extra: Bytes,
    /// When it was accepted.
    #[serde(with = "utc")]
    pub created: Utc,
    /// What its sender wants to be told.
    pub dsn: String,
    /// It travels through proven TLS only.
    pub require_tls: bool,
    /// It is to arrive, whatever policies demand of TLS.
    pub tls_optional: bool,
    /// What notifications of other servers may name it by.
    pub ids: Vec<String>,
}

impl QueueMessage {
    /// Octets of prefix and body.
    pub fn size(&self) -> u64 {
        self.body.length.saturating_add(self.prefix.len() as u64)
    }
}

/// An entry of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// Its number, never given again.
    pub id: u64,
    /// The number of its message.
    pub message: u64,
    /// Those still to be reached.
    pub recipients: Vec<QueueRecipient>,
    /// When it is tried next.
    #[serde(with = "utc")]
    pub next_attempt: Utc,
    /// Not tried until released.
    pub hold: bool,
    /// Attempts made or under way.
    pub attempts_made: u32,
    /// The last of them, oldest first.
    pub attempts: Vec<Attempt>,
    /// The sender was told that it takes longer.
    pub delay_told: bool,
    /// When it came into the queue.
    #[serde(with = "utc")]
    pub created: Utc,
    /// Not tried before this, as its sender or an administrator wants it; how long it is tried counts from then.
    #[serde(with = "utc_option")]
    pub release: Option<Utc>,
    /// The transport that an administrator chose; empty where routes say which.
    pub transport: String,
    /// Attempts in which the answer to the final dot was lost, or of which no end is known: the host may have the message, and get
    /// it again.
    pub ambiguous: u32,
    /// Whose it is, as its message says too; `None` where an earlier version made it.
    pub owner: Option<Owner>,
}

/// An attempt to deliver an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    #[serde(with = "utc")]
    pub started: Utc,
    /// When its outcome was known; `None` while it runs, and for ever when the server died in it: then nobody knows
    /// whether the message was taken.
    #[serde(with = "utc_option")]
    pub ended: Option<Utc>,
    /// The host that was tried.
    pub host: String,
    /// What came of it, for people.
    pub outcome: String,
    /// What there was of TLS with the host, for people; empty when it came to no connection.
    pub tls: String,
    /// The transport by which it was tried; empty where an earlier version made the attempt.
    pub transport: String,
    /// The answer to the final dot was lost, or the attempt came to no end: the host may have the message.
    pub ambiguous: bool,
}

/// What became of one recipient in an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The next host took responsibility.
    Delivered(String),
    /// It never will be; the reason.
    Failed(String),
    /// It is tried again; the reason.
    Deferred(String),
    /// An administrator dropped it.
    Dropped,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The time of the operation.
    pub now: Utc,
    /// The host that was reached last.
    pub host: String,
    /// What came of it, for people.
    pub text: String,
    /// What there was of TLS with it, for people.
    pub tls: String,
    /// For each recipient of the entry, in order.
    pub fates: Vec<Fate>,
    /// Who decided, in the same order; nobody for those that it lacks. What is ambiguous is that of this attempt.
    pub reached: Vec<Reached>,
    /// What was done in it.
    pub steps: Steps,
    /// Of those that failed, the addresses that another server does not know: three times in a row are enough.
    pub unknown: Vec<String>,
    /// When the next attempt is according to the row that [`queue_attempt`] wrote. Where it has another time by now, an administrator
    /// chose that meanwhile.
    pub marked: Utc,
    /// When those deferred are tried next, where nobody chose another time.
    pub next_attempt: Utc,
    /// The sender was told, now or earlier, that it takes longer.
    pub delay_told: bool,
    /// A notification to deliver with it: of failures, or of a delay.
    pub notice: Option<Delivery>,
    /// A notification that it was delivered or relayed.
    pub success: Option<Delivery>,
}

/// What an outcome led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The entry as it is now; `None` when all its recipients are done.
    pub entry: Option<QueueEntry>,
    /// What became of the notification.
    pub notice: Option<Delivered>,
}

/// The place of what left the queue in the order in which it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RetiredAt {
    /// When, in seconds since 1970.
    pub secs: u64,
    /// The entry it was in.
    pub entry: u64,
    /// What left that entry in that second before.
    pub nth: u32,
}

/// Recipients that left the queue together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// The entry they were in.
    pub entry: u64,
    /// The message.
    pub message: u64,
    /// Whose it was.
    pub account: Option<AccountId>,
    /// MAIL FROM.
    pub reverse_path: String,
    /// Addresses, and what became of each.
    pub recipients: Vec<(String, Fate)>,
    /// When the message was accepted.
    #[serde(with = "utc")]
    pub created: Utc,
    /// When they left.
    #[serde(with = "utc")]
    pub retired: Utc,
    /// Attempts made.
    pub attempts_made: u32,
    /// Octets of the message.
    pub size: u64,
    /// The id of its transaction.
    #[serde(with = "octets")]
    pub extra: Bytes,
    /// The last attempts, oldest first; none when they were dropped before one.
    pub attempts: Vec<Attempt>,
    /// What notifications of other servers may name the message by.
    pub ids: Vec<String>,
    /// What other servers told of these recipients since.
    pub notified: Vec<Notified>,
    /// Who decided about each of [`recipients`](Self::recipients), in the same order; none of what earlier versions wrote.
    pub reached: Vec<Reached>,
    /// Attempts in which the answer to the final dot was lost.
    pub ambiguous: u32,
}

impl Retired {
    /// The last attempt; none when they were dropped before it.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
}

pub(crate) fn enqueue(
    edit: &mut Edit<'_>,
    body: &BodyRef,
    enqueue: &Enqueue,
) -> Result<Vec<u64>, Stop> {
    if enqueue.prefix.len() > PREFIX_MAX || enqueue.extra.len() > PREFIX_MAX {
        return Err(Stop::TooMany(Limit::Prefix));
    }
    if enqueue.groups.is_empty() {
        return Err(Stop::TooMany(Limit::Recipients));
    }
    let mut recipients = enqueue.groups.iter().flat_map(|group| &group.recipients);
    let is_long = |to: &QueueRecipient| {
        let filed = to.filed.as_ref().map_or(0, Filed::octets);
        to.address.len() > ADDRESS_MAX || to.dsn.len() > DSN_MAX || filed > FILED_MAX
    };
    if recipients.any(is_long)
        || enqueue.reverse_path.len() > ADDRESS_MAX
        || enqueue.dsn.len() > DSN_MAX
    {
        return Err(Stop::TooMany(Limit::Address));
    }
    let entries = u32::try_from(enqueue.groups.len()).map_err(|_| Stop::TooMany(Limit::Batch))?;
    let numbers = edit.numbers()?;
    let first = numbers.next_queue;
    numbers.next_queue += u64::from(entries);
    let message = QueueMessage {
        id: first,
        entries,
        account: enqueue.account,
        reverse_path: enqueue.reverse_path.clone(),
        body: *body,
        prefix: enqueue.prefix.clone(),
        eight_bit: enqueue.eight_bit,
        utf8: enqueue.utf8,
        extra: enqueue.extra.clone(),
        created: edit.now,
        dsn: enqueue.dsn.clone(),
        require_tls: enqueue.require_tls,
        tls_optional: enqueue.tls_optional,
        ids: sent::kept(&enqueue.ids),
    };
    edit.put(key::queue(Table::QueueMessage, first), message.encode());
    edit.add_reference(body.id, Referrer::Queue(first));
    let groups = &enqueue.groups;
    let fits = |group: &Group| {
        let octets: usize = group.recipients.iter().map(QueueRecipient::octets).sum();
        (1..=RECIPIENTS_MAX).contains(&group.recipients.len()) && octets <= RECIPIENTS_OCTETS_MAX
    };
    if !groups.iter().all(fits) {
        return Err(Stop::TooMany(Limit::Recipients));
    }
    let mut ids = Vec::with_capacity(groups.len());
    let mut id = first;
    for (group, count) in bundles(groups) {
        let entry = QueueEntry {
            id,
            message: first,
            recipients: group.recipients,
            next_attempt: group.next_attempt,
            hold: group.hold,
            attempts_made: 0,
            attempts: Vec::new(),
            delay_told: false,
            created: edit.now,
            release: group.release,
            transport: String::new(),
            ambiguous: 0,
            owner: Some(enqueue.account.map_or(Owner::Server, Owner::Account)),
        };
        edit.put(key::queue(Table::Queue, id), entry.encode());
        ids.push(id);
        id += count;
    }
    Ok(ids)
}

pub(crate) fn open(reads: &dyn Reads, id: u64) -> Result<QueueEntry, Stop> {
    queue_entry(reads, id)?.ok_or(Stop::NoSuchEntry(id))
}

/// Marks that an attempt begins, before it does. Should the server die in it, the entry is tried again at `retry`. `None` when it
/// was held back meanwhile. Of the attempt before that came to no end nobody knows whether it delivered: it counts as ambiguous.
pub fn queue_attempt(
    reads: &dyn Reads,
    id: u64,
    transport: &str,
    retry: Utc,
    now: Utc,
) -> Result<(Batch, Option<QueueEntry>), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut entry = open(reads, id)?;
    if entry.hold || entry.release.is_some_and(|at| at > now) {
        return Ok((Batch::default(), None));
    }
    count_unended(&mut entry);
    entry.attempts_made = entry.attempts_made.saturating_add(1);
    // Rows of earlier versions may have more.
    while entry.attempts.len() >= ATTEMPTS_KEPT {
        entry.attempts.remove(0);
    }
    if let Some(before) = entry.attempts.last_mut() {
        before.outcome = clipped(&before.outcome, TEXT_MAX);
    }
    entry.attempts.push(Attempt {
        started: now,
        ended: None,
        host: String::new(),
        outcome: String::new(),
        tls: String::new(),
        transport: clipped(transport, NAME_MAX),
        ambiguous: false,
    });
    entry.next_attempt = retry;
    edit.put(key::queue(Table::Queue, id), entry.encode());
    Ok((edit.finish()?, Some(entry)))
}

/// Records the outcome of an attempt, all in one operation: recipients that are done leave the entry and are retired, the
/// entry goes with the last of them, the message with its last entry, and the notification is delivered. Its recipient's
/// quota does not count: it is owed since the message was accepted.
///
/// A notification that tells of no failure is about a delay; when that was told while the attempt ran, it is dropped.
pub fn queue_outcome(
    reads: &dyn Reads,
    id: u64,
    outcome: &Outcome,
) -> Result<(Batch, Settled), Stop> {
    queue_outcome_beside(reads, id, outcome, &[])
}

/// Records the outcome of an attempt, and what was observed in it.
pub fn queue_outcome_beside(
    reads: &dyn Reads,
    id: u64,
    outcome: &Outcome,
    observations: &[Observation],
) -> Result<(Batch, Settled), Stop> {
    let mut edit = Edit::new(reads, outcome.now);
    reports_out::keep_all(&mut edit, observations);
    edit.promised = true;
    let mut entry = open(reads, id)?;
    if outcome.fates.len() != entry.recipients.len() {
        return Err(Stop::TooMany(Limit::Recipients));
    }
    let is_ambiguous = outcome.reached.iter().any(|by| by.ambiguous > 0);
    entry.ambiguous = entry.ambiguous.saturating_add(is_ambiguous.into());
    if let Some(attempt) = entry.attempts.last_mut() {
        attempt.ended = Some(outcome.now);
        attempt.host = clipped(&outcome.host, NAME_MAX);
        attempt.outcome = clipped(&outcome.text, LAST_TEXT_MAX);
        attempt.tls = clipped(&outcome.tls, NAME_MAX);
        attempt.ambiguous = is_ambiguous;
    }
    transcript::keep(&mut edit, &entry, &outcome.steps)?;
    if entry.next_attempt == outcome.marked {
        entry.next_attempt = outcome.next_attempt;
    }
    // It may have been told while the attempt ran.
    let tells_failure = (outcome.fates.iter()).any(|fate| matches!(fate, Fate::Failed(_)));
    let too_late = entry.delay_told && !tells_failure;
    entry.delay_told |= outcome.delay_told;
    let (mut waiting, mut done) = (Vec::new(), Vec::new());
    let mut reached = outcome.reached.iter().cloned();
    for (mut to, fate) in core::mem::take(&mut entry.recipients)
        .into_iter()
        .zip(outcome.fates.iter().cloned())
    {
        let mut by = reached.next().unwrap_or_default();
        by.ambiguous = (by.ambiguous).saturating_add(to.ambiguous());
        let text = match &fate {
            Fate::Deferred(text) => text.clone(),
            _ => String::new(),
        };
        to.last = Some(Said { text, by });
        match fate {
            Fate::Deferred(_) => waiting.push(to),
            fate => done.push((to, fate)),
        }
    }
    let count_of = waiting.len();
    for said in waiting.iter_mut().filter_map(|to| to.last.as_mut()) {
        said.text = clipped(&said.text, share(SAID.text, count_of));
        said.by = said.by.clipped(&SAID, count_of);
    }
    entry.recipients = waiting;
    count(&mut edit, &entry, &done, &outcome.unknown)?;
    retire(&mut edit, &entry, done)?;
    // The notification first: it may refer to the body that goes with the entry.
    let notice = match &outcome.notice {
        Some(delivery) if too_late => {
            drop_unwanted(&mut edit, delivery);
            None
        }
        Some(delivery) => Some(place(&mut edit, delivery)?),
        None => None,
    };
    if let Some(delivery) = &outcome.success {
        place(&mut edit, delivery)?;
    }
    let entry = match entry.recipients.is_empty() {
        true => {
            remove(&mut edit, &entry)?;
            None
        }
        false => {
            edit.put(key::queue(Table::Queue, id), entry.encode());
            Some(entry)
        }
    };
    edit.touched.push(Touched::Queue);
    Ok((edit.finish()?, Settled { entry, notice }))
}

/// The sender of an entry was told between two attempts that it takes longer: notes that, and delivers the notification.
/// Quotas do not count.
pub fn queue_delay_told(
    reads: &dyn Reads,
    id: u64,
    notice: Option<&Delivery>,
    now: Utc,
) -> Result<(Batch, QueueEntry), Stop> {
    let mut edit = Edit::new(reads, now);
    edit.promised = true;
    let mut entry = open(reads, id)?;
    match notice {
        Some(delivery) if !entry.delay_told => {
            place(&mut edit, delivery)?;
        }
        Some(delivery) => drop_unwanted(&mut edit, delivery),
        None => {}
    }
    entry.delay_told = true;
    edit.put(key::queue(Table::Queue, id), entry.encode());
    Ok((edit.finish()?, entry))
}

/// Nobody refers to the body of a notification that comes too late.
fn drop_unwanted(edit: &mut Edit<'_>, notice: &Delivery) {
    if let Body::New(new) = &notice.body {
        edit.drop_body(&new.stored());
    }
}

pub(crate) fn retire(
    edit: &mut Edit<'_>,
    entry: &QueueEntry,
    done: Vec<(QueueRecipient, Fate)>,
) -> Result<(), Stop> {
    if done.is_empty() {
        return Ok(());
    }
    let message = message_of(edit.reads(), entry)?;
    let count = done.len();
    let most = share(FATES.text, count);
    let reached = done.iter().map(|(to, _)| {
        let by = to.last.as_ref().map(|said| said.by.clipped(&FATES, count));
        by.unwrap_or_default()
    });
    let reached = reached.collect();
    let mut attempts = entry.attempts.clone();
    if let Some(last) = attempts.last_mut() {
        // What was said stands beside each recipient.
        last.outcome = clipped(&last.outcome, TEXT_MAX);
    }
    let clip = |fate| match fate {
        Fate::Delivered(text) => Fate::Delivered(clipped(&text, most)),
        Fate::Failed(text) => Fate::Failed(clipped(&text, most)),
        Fate::Deferred(text) => Fate::Deferred(clipped(&text, most)),
        Fate::Dropped => Fate::Dropped,
    };
    let retired = Retired {
        entry: entry.id,
        message: entry.message,
        account: message.account,
        size: message.size(),
        reverse_path: message.reverse_path,
        recipients: done
            .into_iter()
            .map(|(to, fate)| (to.address, clip(fate)))
            .collect(),
        created: message.created,
        retired: edit.now,
        attempts_made: entry.attempts_made,
        extra: message.extra,
        attempts,
        ids: message.ids,
        notified: Vec::new(),
        reached,
        ambiguous: entry.ambiguous,
    };
    let secs = u64::try_from(edit.now.secs()).unwrap_or(0);
    let mut nth = 0;
    while edit.get(&key::retired(secs, entry.id, nth))?.is_some() {
        nth += 1;
    }
    edit.put(key::retired(secs, entry.id, nth), retired.encode());
    let place = RetiredAt {
        secs,
        entry: entry.id,
        nth,
    };
    retired_index::remember(edit, &place, entry.message)?;
    sent::remember(edit, &retired, (secs, entry.id, nth))
}

/// Which addresses fail, and which do not any more.
fn count(
    edit: &mut Edit<'_>,
    entry: &QueueEntry,
    done: &[(QueueRecipient, Fate)],
    unknown: &[String],
) -> Result<(), Stop> {
    if done.is_empty() {
        return Ok(());
    }
    let message = message_of(edit.reads(), entry)?;
    let Some(account) = message.account else {
        return reports_out::left_queue(edit, &message, done);
    };
    for (to, fate) in done {
        match fate {
            Fate::Delivered(_) => suppression::delivered(edit, account, &to.address)?,
            Fate::Failed(text) if unknown.contains(&to.address) => {
                suppression::failed(edit, account, &to.address, text, false)?;
            }
            Fate::Failed(_) | Fate::Deferred(_) | Fate::Dropped => {}
        }
    }
    Ok(())
}

fn message_of(reads: &dyn Reads, entry: &QueueEntry) -> Result<QueueMessage, Stop> {
    let found = queue_message(reads, entry.message)?;
    found.ok_or_else(|| ReadError(format!("queue entry {} has no message", entry.id)).into())
}

/// Removes an entry, and its message with the last one.
pub(crate) fn remove(edit: &mut Edit<'_>, entry: &QueueEntry) -> Result<(), Stop> {
    let message = message_of(edit.reads(), entry)?;
    edit.remove(key::queue(Table::Queue, entry.id));
    let from = key::queue(Table::Queue, message.id);
    let end = message.id.saturating_add(u64::from(message.entries));
    let to = key::queue(Table::Queue, end);
    if edit.keys(&from, &to, 1)?.is_empty() {
        edit.remove(key::queue(Table::QueueMessage, message.id));
        edit.remove_reference(&message.body, Referrer::Queue(message.id))?;
    }
    Ok(())
}

/// Takes an entry out of the queue without delivering it, in one operation with the notification to its sender. `told` are the
/// recipients that this is about: when the entry has others by now, nothing is done, and the answer is false.
pub fn queue_drop(
    reads: &dyn Reads,
    id: u64,
    told: Option<(&[QueueRecipient], &Delivery)>,
    now: Utc,
) -> Result<(Batch, bool), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut entry = open(reads, id)?;
    if let Some((recipients, notice)) = told {
        if recipients != entry.recipients {
            return Ok((Batch::default(), false));
        }
        edit.promised = true;
        place(&mut edit, notice)?;
    }
    count_unended(&mut entry);
    let recipients = core::mem::take(&mut entry.recipients).into_iter();
    let dropped = recipients.map(|to| (to, Fate::Dropped)).collect();
    retire(&mut edit, &entry, dropped)?;
    remove(&mut edit, &entry)?;
    edit.touched.push(Touched::Queue);
    Ok((edit.finish()?, true))
}

/// Chooses the transport of an entry; an empty one leaves it to the routes.
pub fn queue_route(
    reads: &dyn Reads,
    id: u64,
    transport: &str,
) -> Result<(Batch, QueueEntry), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    let mut entry = open(reads, id)?;
    entry.transport = clipped(transport, NAME_MAX);
    edit.put(key::queue(Table::Queue, id), entry.encode());
    edit.touched.push(Touched::Queue);
    Ok((edit.finish()?, entry))
}

/// Changes when an entry is tried next, and whether at all. What was held back has its whole time before it from when it is not any
/// more.
pub fn queue_reschedule(
    reads: &dyn Reads,
    id: u64,
    next_attempt: Option<Utc>,
    hold: Option<bool>,
    now: Utc,
) -> Result<(Batch, QueueEntry), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut entry = open(reads, id)?;
    if let Some(at) = next_attempt {
        entry.next_attempt = at;
        entry.release = entry.release.map(|release| release.min(at));
    }
    if entry.hold && hold == Some(false) {
        entry.release = Some(entry.release.map_or(now, |release| release.max(now)));
    }
    entry.hold = hold.unwrap_or(entry.hold);
    edit.put(key::queue(Table::Queue, id), entry.encode());
    edit.touched.push(Touched::Queue);
    Ok((edit.finish()?, entry))
}

/// Holds an entry back until a moment, however far ahead: how long it is tried counts from then.
pub fn queue_put_off(
    reads: &dyn Reads,
    id: u64,
    until: Utc,
    now: Utc,
) -> Result<(Batch, QueueEntry), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut entry = open(reads, id)?;
    entry.next_attempt = until;
    entry.release = Some(until);
    edit.put(key::queue(Table::Queue, id), entry.encode());
    edit.touched.push(Touched::Queue);
    Ok((edit.finish()?, entry))
}

/// Forgets a part of what left the queue before `before`. Run it again until it says `Done`.
pub fn purge_retired(reads: &dyn Reads, before: Utc) -> Result<(Batch, Progress), Stop> {
    // Each with its ids, its steps and its place in the index.
    const ROWS: usize = 200;
    let mut edit = Edit::new(reads, before);
    let secs = u64::try_from(before.secs()).unwrap_or(0);
    let (from, to) = (key::queue_all(Table::Retired), key::retired(secs, 0, 0));
    let keys = edit.keys(&from, &to, ROWS)?;
    let progress = match keys.len() < ROWS {
        true => Progress::Done,
        false => Progress::More(()),
    };
    for key in keys {
        sent::forget(&mut edit, &key)?;
        transcript::forget(&mut edit, &key, before)?;
        if let Some(place) = key::retired_at(&key) {
            retired_index::forget(&mut edit, &place);
        }
        edit.remove(key);
    }
    Ok((edit.finish()?, progress))
}

/// An entry of the queue.
pub fn queue_entry(reads: &dyn Reads, id: u64) -> Result<Option<QueueEntry>, ReadError> {
    let bytes = reads.get(Space::Rows, &key::queue(Table::Queue, id))?;
    bytes.map(|bytes| QueueEntry::decode(&bytes)).transpose()
}

/// A message of the queue, by [`QueueEntry::message`].
pub fn queue_message(reads: &dyn Reads, id: u64) -> Result<Option<QueueMessage>, ReadError> {
    let bytes = reads.get(Space::Rows, &key::queue(Table::QueueMessage, id))?;
    bytes.map(|bytes| QueueMessage::decode(&bytes)).transpose()
}

/// Up to `max` entries of the queue in order of number, from `from` on.
pub fn queue(reads: &dyn Reads, from: u64, max: usize) -> Result<Vec<QueueEntry>, ReadError> {
    let to = key::behind(&key::queue_all(Table::Queue));
    list(reads, &key::queue(Table::Queue, from), &to, max)
}

/// Up to `max` retired entries, the oldest first, from the second of `from` on.
pub fn retired(reads: &dyn Reads, from: Utc, max: usize) -> Result<Vec<Retired>, ReadError> {
    let from = RetiredAt {
        secs: u64::try_from(from.secs()).unwrap_or(0),
        ..RetiredAt::default()
    };
    retired_page(reads, from, max).map(|(found, _)| found)
}

/// Up to `max` retired entries, the oldest first, from a place on, and the place of the next one; `None` behind the last.
pub fn retired_page(
    reads: &dyn Reads,
    from: RetiredAt,
    max: usize,
) -> Result<(Vec<Retired>, Option<RetiredAt>), ReadError> {
    let to = key::behind(&key::queue_all(Table::Retired));
    let from = key::retired(from.secs, from.entry, from.nth);
    let (mut found, mut next) = (Vec::new(), None);
    scan::range(reads, Space::Rows, &from, &to, &mut |key, value| {
        if found.len() >= max {
            next = key::retired_at(key);
            return Ok(ControlFlow::Break(()));
        }
        found.push(Retired::decode(&value)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((found, next))
}

fn list<T: Stored>(
    reads: &dyn Reads,
    from: &[u8],
    to: &[u8],
    max: usize,
) -> Result<Vec<T>, ReadError> {
    let mut found = Vec::new();
    scan::range(reads, Space::Rows, from, to, &mut |_, value| {
        if found.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        found.push(T::decode(&value)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Text of others, cut at a character boundary.
pub(crate) fn clipped(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
