//! What an administrator sees of the outgoing queue, and does to it.

use bytes::Bytes;
use mox_driver::{Pool, Runtime};
use mox_machine::Utc;
use mox_mailbox::{
    AccountId, Attempt, Fate, QueueEntry, Retired, RetiredAt, Said, Stop, Transcript,
};
use mox_queue::{Limits, Plan};
use mox_server::routes::ROUTES;
use std::time::Duration;

use crate::Node;
use crate::a_labels::{is_at, is_same};
use crate::all::{all, at_once};
use crate::node::{Inner, StartError};
use crate::queue_out::{Done, drop_entry, times};
use crate::transports::transport_of;

/// One entry of the outgoing queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The entry's number.
    pub id: u64,
    /// When it was accepted.
    pub created: Utc,
    /// Whose it is; `None` for mail of the server itself.
    pub account: Option<String>,
    /// MAIL FROM, empty for the null path.
    pub from: String,
    /// Recipients still to be reached.
    pub to: Vec<String>,
    /// Octets of the message.
    pub size: u64,
    /// The id of the transaction that brought it, as in its 250.
    pub transaction: String,
    /// Attempts made or under way.
    pub attempts: u32,
    /// When it is tried next.
    pub next: Utc,
    /// Not tried until it is released.
    pub hold: bool,
    /// Not tried before this, as its sender or an administrator wants it.
    pub release: Option<Utc>,
    /// From when on it counts how long it is tried: when it was accepted, or released after that.
    pub since: Utc,
    /// What came of the last attempt.
    pub last: Option<String>,
    /// By which transport it is tried next.
    pub transport: String,
    /// An administrator chose that transport, and no route.
    pub is_routed: bool,
    /// All that goes by that transport goes to one server, for whomever it is.
    pub to_one_server: bool,
    /// The sender was told that it takes longer.
    pub delay_told: bool,
    /// What was said last of each of those recipients, in the same order; nothing of those who were not tried yet.
    pub said: Vec<Option<Said>>,
    /// Attempts in which the answer to the final dot was lost: the host may have the message.
    pub ambiguous: u32,
}

/// Which entries are meant: those that fulfil all that is given. The empty one means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// One of these entries; all, where none is named.
    pub ids: Vec<u64>,
    /// Of this account.
    pub account: Option<String>,
    /// With this reverse-path; letter case does not count. Empty for the null path.
    pub sender: Option<String>,
    /// For this address among others; letter case does not count, nor in which labels its domain is.
    pub recipient: Option<String>,
    /// For an address at this domain, in A-labels or in U-labels.
    pub domain: Option<String>,
    /// In the queue for at least so long.
    pub older: Option<Duration>,
    /// Whose last attempt said something with this in it, of any recipient; letter case does not count.
    pub error: Option<String>,
    /// Held, or not held.
    pub held: Option<bool>,
    /// Tried next by this transport.
    pub transport: Option<String>,
}

/// What is done to entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Tried now, also when held.
    Kick,
    /// Not tried until released.
    Hold,
    /// Tried again when its time comes.
    Release,
    /// Tried next at this moment, at most 30 days ahead. Where that is far ahead, how long it is tried
    /// counts from then, as of what its sender held back.
    Reschedule(Utc),
    /// Tried by this transport from now on; `routes` leaves it to the routes again.
    Route(String),
    /// Taken out of the queue without being delivered.
    Drop {
        /// Its sender is told.
        tell: bool,
    },
}

/// What somebody wants to know all of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// An entry, whether it waits or has left the queue.
    Entry(u64),
    /// The message of a transaction, by the id in the reply that accepted it.
    Transaction(String),
}

/// All that is known of an entry and of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The entry, where it waits: that of a transaction which comes first.
    pub queued: Option<Queued>,
    /// Its last attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// What was done in the last of them.
    pub transcript: Option<Transcript>,
    /// The other entries of the message that wait.
    pub others: Vec<Queued>,
    /// Those of the same message that left the queue lately.
    pub retired: Vec<Retired>,
}

/// How far ahead a message can be put off.
const PUT_OFF_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Entries read at a time.
const PAGE: usize = 500;
/// Notifications that are written at once: each may hold a whole message twice.
const TELLING_MAX: usize = 4;
/// Retired entries of one message that are told.
const RETIRED_TOLD: usize = 1_000;

impl Selection {
    fn selects(&self, queued: &Queued, now: Utc) -> bool {
        (self.ids.is_empty() || self.ids.contains(&queued.id))
            && self
                .account
                .as_ref()
                .is_none_or(|a| queued.account.as_ref() == Some(a))
            && self
                .sender
                .as_ref()
                .is_none_or(|from| is_same(from, &queued.from))
            && self
                .recipient
                .as_ref()
                .is_none_or(|r| queued.to.iter().any(|to| is_same(r, to)))
            && self
                .domain
                .as_ref()
                .is_none_or(|d| queued.to.iter().any(|to| is_at(d, to)))
            && self.older.is_none_or(|age| queued.created + age <= now)
            && self.held.is_none_or(|held| held == queued.hold)
            && self
                .transport
                .as_ref()
                .is_none_or(|by| *by == queued.transport)
            && self.error.as_ref().is_none_or(|error| {
                let said = queued.said.iter().flatten().map(|said| &said.text);
                let mut said = said.chain(&queued.last);
                said.any(|text| has(text, error))
            })
    }

    /// The recipients that are selected of those who left the queue together.
    fn of_retired(&self, mut retired: Retired, account: Option<AccountId>, now: Utc) -> Retired {
        let is_selected = (self.ids.is_empty() || self.ids.contains(&retired.entry))
            && (self.account.is_none() || (account.is_some() && account == retired.account))
            && (self.sender.as_ref()).is_none_or(|from| is_same(from, &retired.reverse_path))
            && self.older.is_none_or(|age| retired.created + age <= now)
            && (self.transport.as_ref())
                .is_none_or(|by| retired.last().is_some_and(|last| last.transport == *by));
        let is_meant = |(to, fate): &(String, Fate)| {
            let text = match fate {
                Fate::Delivered(text) | Fate::Failed(text) | Fate::Deferred(text) => text,
                Fate::Dropped => "",
            };
            is_selected
                && self.recipient.as_ref().is_none_or(|r| is_same(r, to))
                && self.domain.as_ref().is_none_or(|domain| is_at(domain, to))
                && self.error.as_ref().is_none_or(|error| has(text, error))
        };
        let is_meant: Vec<bool> = retired.recipients.iter().map(is_meant).collect();
        let mut keeps = is_meant.iter();
        (retired.recipients).retain(|_| keeps.next().copied().unwrap_or(false));
        let mut keeps = is_meant.iter();
        (retired.reached).retain(|_| keeps.next().copied().unwrap_or(false));
        retired
    }
}

fn has(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

impl<R: Runtime> Node<R> {
    /// The outgoing queue, at most `max` entries.
    pub fn queue(&self, max: usize) -> Result<Vec<Queued>, StartError> {
        self.queue_from(&Selection::default(), 0, max)
            .map(|(found, _)| found)
    }

    /// How many attempts run at once, and when a message is tried.
    pub fn queue_rules(&self) -> (Limits, Plan) {
        let config = &self.inner.config;
        (config.sending.limits.clone(), config.plan.clone())
    }

    /// Selected entries from a number on, by number, and where to go on;
    /// `None` behind the last.
    pub fn queue_from(
        &self,
        selection: &Selection,
        first: u64,
        max: usize,
    ) -> Result<(Vec<Queued>, Option<u64>), StartError> {
        let published = self.inner.store.published();
        let view = &*published.view;
        let now = self.inner.runtime.now().utc;
        let failed = |e: mox_mailbox::ReadError| StartError(e.to_string());
        let (least, greatest) = (selection.ids.iter().min(), selection.ids.iter().max());
        let (mut found, mut from) = (Vec::new(), least.map_or(0, |id| *id).max(first));
        while found.len() < max {
            let page = mox_mailbox::queue(view, from, PAGE.min(max)).map_err(failed)?;
            let Some(last) = page.last() else {
                return Ok((found, None));
            };
            let behind = last.id + 1;
            for entry in page {
                if found.len() >= max {
                    return Ok((found, Some(entry.id)));
                }
                let queued = queued(&self.inner, view, entry, now).map_err(failed)?;
                if selection.selects(&queued, now) {
                    found.push(queued);
                }
            }
            from = behind;
            if greatest.is_some_and(|id| *id < from) {
                return Ok((found, None));
            }
        }
        Ok((found, Some(from)))
    }

    /// Does something to the selected entries; how many there were.
    ///
    /// # Errors
    /// When the store cannot be read or written; what was done before stays done. When the moment is more than 30 days ahead. When some that are to be dropped are being tried: those stay.
    pub async fn change_queue(
        &self,
        selection: &Selection,
        change: Change,
    ) -> Result<u64, StartError> {
        if let Change::Reschedule(at) = &change
            && *at > self.inner.runtime.now().utc + PUT_OFF_MAX
        {
            let days = PUT_OFF_MAX.as_secs() / 86_400;
            return Err(StartError(format!(
                "a message can be put off by {days} days at most, and not until {at}; hold it, and release it when it is to go"
            )));
        }
        let known = self.inner.config.transport_names();
        if let Change::Route(transport) = &change
            && !known.contains(&transport.as_str())
        {
            return Err(StartError(format!(
                "there is no transport {transport:?}; use one of: {}",
                known.join(", ")
            )));
        }
        let (mut changed, mut tried, mut from) = (0, 0, Some(0));
        while let Some(first) = from {
            let (node, selection) = (self.clone(), selection.clone());
            let read = Box::new(move || node.queue_from(&selection, first, PAGE));
            let (page, next) = self.inner.runtime.blocking(Pool::Compute, read).await?;
            from = next;
            // At once, so that they share the store's syncs.
            let ids = page.into_iter().map(|queued| queued.id);
            let changes = ids.map(|id| self.change_entry(id, change.clone()));
            let done = match change {
                Change::Drop { tell: true } => at_once(TELLING_MAX, changes).await,
                _ => all(changes).await,
            };
            for done in done {
                match done? {
                    Done::Yes => changed += 1,
                    Done::Tried => tried += 1,
                    Done::Gone => {}
                }
            }
        }
        match tried {
            0 => Ok(changed),
            _ => Err(StartError(format!(
                "{tried} being tried now and not dropped, {changed} dropped; hold what is being tried, or try again"
            ))),
        }
    }

    /// Whether that was done.
    async fn change_entry(&self, id: u64, change: Change) -> Result<Done, StartError> {
        let now = self.inner.runtime.now().utc;
        let told = format!("{change:?}");
        // The scheduler takes a time that is further ahead for that of a clock that was wrong; a release it never sees.
        // And a clock may be set back a little.
        let soon = now + self.inner.config.sending.limits.longest_wait / 2;
        let drops = match change {
            Change::Drop { tell } => Some(tell),
            _ => None,
        };
        let op = move |reads: &dyn mox_mailbox::Reads| {
            if mox_mailbox::queue_entry(reads, id)?.is_none() {
                return Ok::<_, Stop>((mox_mailbox::Batch::default(), Done::Gone));
            }
            let (next, hold) = match &change {
                Change::Route(transport) => {
                    let chosen = Some(transport.as_str()).filter(|by| *by != ROUTES);
                    let routed = mox_mailbox::queue_route(reads, id, chosen.unwrap_or_default())?;
                    return Ok((routed.0, Done::Yes));
                }
                // Not by this.
                Change::Drop { .. } => return Ok((mox_mailbox::Batch::default(), Done::Tried)),
                Change::Kick => (Some(now), Some(false)),
                Change::Hold => (None, Some(true)),
                Change::Release => (None, Some(false)),
                Change::Reschedule(at) if *at > soon => {
                    let put_off = mox_mailbox::queue_put_off(reads, id, *at, now)?;
                    return Ok((put_off.0, Done::Yes));
                }
                Change::Reschedule(at) => (Some(*at), None),
            };
            let changed = mox_mailbox::queue_reschedule(reads, id, next, hold, now)?;
            Ok((changed.0, Done::Yes))
        };
        let done = match drops {
            Some(tell) => drop_entry(&self.inner, id, tell).await,
            None => self.inner.store.run(op).await.map_err(|e| e.to_string()),
        };
        let done = done.map_err(StartError)?;
        if done == Done::Yes {
            tracing::info!(target: "queue", id, change = told, "changed by an administrator");
            self.inner.queue_changed.tell(id);
        }
        Ok(done)
    }

    /// All that is known of an entry or of the message of a transaction; `None` when there is none, and was none lately.
    pub fn queue_history(&self, wanted: &Wanted) -> Result<Option<History>, StartError> {
        let published = self.inner.store.published();
        let view = &*published.view;
        let failed = |e: mox_mailbox::ReadError| StartError(e.to_string());
        let mut waiting = match wanted {
            Wanted::Entry(id) => mox_mailbox::queue_entry(view, *id).map_err(failed)?,
            // No message came under such a name.
            Wanted::Transaction(id) if self.transaction_time(id).is_none() => return Ok(None),
            Wanted::Transaction(id) => first_of(view, id).map_err(failed)?,
        };
        let message = waiting.as_ref().map(|entry| entry.message);
        // What nothing waits of any more is found by what left the queue.
        let retired = match (message, wanted) {
            (Some(message), _) => mox_mailbox::retired_of_message(view, message, RETIRED_TOLD),
            (None, Wanted::Entry(id)) => mox_mailbox::retired_beside(view, *id, RETIRED_TOLD),
            (None, Wanted::Transaction(id)) => {
                left_of(view, id, self.transaction_time(id).unwrap_or_default())
            }
        };
        let retired = retired.map_err(failed)?;
        let found = message.or_else(|| retired.first().map(|retired| retired.message));
        let Some(message) = found else {
            return Ok(None);
        };
        let mut others = Vec::new();
        if let Some(row) = mox_mailbox::queue_message(view, message).map_err(failed)? {
            let end = message.saturating_add(row.entries.into());
            let count = usize::try_from(row.entries).unwrap_or(usize::MAX);
            others = mox_mailbox::queue(view, message, count.min(RETIRED_TOLD)).map_err(failed)?;
            others.retain(|entry| entry.id < end);
        }
        if let Wanted::Transaction(_) = wanted {
            waiting = others.first().cloned();
        }
        others.retain(|entry| waiting.as_ref().is_none_or(|this| this.id != entry.id));
        // Its last part to leave knows of all attempts.
        let id = match (&waiting, wanted) {
            (Some(entry), _) => Some(entry.id),
            (None, Wanted::Entry(id)) => Some(*id),
            (None, Wanted::Transaction(_)) => retired.last().map(|retired| retired.entry),
        };
        let mut left = retired.iter().rev();
        let left = left.find(|retired| Some(retired.entry) == id);
        let attempts = match (&waiting, left) {
            (Some(entry), _) => entry.attempts.clone(),
            (None, Some(retired)) => retired.attempts.clone(),
            (None, None) => Vec::new(),
        };
        let transcript = match id {
            Some(id) => mox_mailbox::queue_transcript(view, id).map_err(failed)?,
            None => None,
        };
        let now = self.inner.runtime.now().utc;
        let told = |entry| queued(&self.inner, view, entry, now).map_err(failed);
        Ok(Some(History {
            queued: waiting.map(told).transpose()?,
            attempts,
            transcript,
            others: others.into_iter().map(told).collect::<Result<_, _>>()?,
            retired,
        }))
    }

    /// What left the queue from a moment on, the oldest first, at most `max`.
    pub fn retired(&self, from: Utc, max: usize) -> Result<Vec<Retired>, StartError> {
        let published = self.inner.store.published();
        mox_mailbox::retired(&*published.view, from, max).map_err(|e| StartError(e.to_string()))
    }

    /// The same from a place on, with the place of the next one; `None` behind the last.
    pub fn retired_page(
        &self,
        from: RetiredAt,
        max: usize,
    ) -> Result<(Vec<Retired>, Option<RetiredAt>), StartError> {
        let published = self.inner.store.published();
        let page = mox_mailbox::retired_page(&*published.view, from, max);
        page.map_err(|e| StartError(e.to_string()))
    }

    /// The same with those recipients only that are selected.
    pub fn retired_selected(
        &self,
        selection: &Selection,
        from: RetiredAt,
        max: usize,
    ) -> Result<(Vec<Retired>, Option<RetiredAt>), StartError> {
        let (page, next) = self.retired_page(from, max)?;
        let named = selection.account.as_deref();
        let account = named.and_then(|name| self.inner.account_id(name));
        let now = self.inner.runtime.now().utc;
        let page = page.into_iter();
        let page = page.map(|retired| selection.of_retired(retired, account, now));
        let page = page.filter(|retired| !retired.recipients.is_empty());
        Ok((page.collect(), next))
    }

    /// Octets of a queued message as it is sent, from `offset` on, at most `max`; empty behind its end. `None` when there is
    /// no such entry.
    pub async fn queue_octets(
        &self,
        id: u64,
        offset: u64,
        max: u32,
    ) -> Result<Option<Bytes>, StartError> {
        let (store, published) = (self.inner.store.clone(), self.inner.store.published());
        let read = move || -> Result<Option<Bytes>, StartError> {
            let view = &*published.view;
            let failed = |e: mox_mailbox::ReadError| StartError(e.to_string());
            let Some(entry) = mox_mailbox::queue_entry(view, id).map_err(failed)? else {
                return Ok(None);
            };
            let Some(message) = mox_mailbox::queue_message(view, entry.message).map_err(failed)?
            else {
                return Ok(None);
            };
            let prefix = message.prefix.len() as u64;
            if offset < prefix {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = message.prefix.slice(from.min(message.prefix.len())..);
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                return Ok(Some(rest.slice(..rest.len().min(max))));
            }
            let from = (offset - prefix).min(message.body.length);
            let to = from.saturating_add(max.into()).min(message.body.length);
            let octets = store.read_body(view, &message.body, from..to);
            octets.map(Some).map_err(|e| StartError(e.to_string()))
        };
        self.inner
            .runtime
            .blocking(Pool::Bodies, Box::new(read))
            .await
    }
}

/// The first entry that waits of the message of a transaction.
fn first_of(
    view: &dyn mox_mailbox::Reads,
    transaction: &str,
) -> Result<Option<QueueEntry>, mox_mailbox::ReadError> {
    let (mut from, mut seen) = (0, None);
    loop {
        let page = mox_mailbox::queue(view, from, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        from = last.id + 1;
        for entry in page {
            // One look at each message.
            if seen.replace(entry.message) == Some(entry.message) {
                continue;
            }
            let message = mox_mailbox::queue_message(view, entry.message)?;
            if message.is_some_and(|message| message.extra == transaction.as_bytes()) {
                return Ok(Some(entry));
            }
        }
    }
}

/// What left the queue of the message of a transaction, which was at `since`.
fn left_of(
    view: &dyn mox_mailbox::Reads,
    transaction: &str,
    since: Utc,
) -> Result<Vec<Retired>, mox_mailbox::ReadError> {
    // The clock may have been put back a little since.
    const SLACK: Duration = Duration::from_secs(3_600);
    let since = since - SLACK;
    let mut from = Some(RetiredAt {
        secs: u64::try_from(since.secs()).unwrap_or(0),
        ..RetiredAt::default()
    });
    while let Some(first) = from {
        let (page, next) = mox_mailbox::retired_page(view, first, PAGE)?;
        let mut page = page.into_iter();
        if let Some(one) = page.find(|retired| retired.extra == transaction.as_bytes()) {
            return mox_mailbox::retired_of_message(view, one.message, RETIRED_TOLD);
        }
        from = next;
    }
    Ok(Vec::new())
}

fn queued<R: Runtime>(
    node: &Inner<R>,
    view: &dyn mox_mailbox::Reads,
    entry: QueueEntry,
    now: Utc,
) -> Result<Queued, mox_mailbox::ReadError> {
    let message = mox_mailbox::queue_message(view, entry.message)?;
    let message = message.as_ref();
    let account = match message.and_then(|message| message.account) {
        Some(id) => mox_mailbox::account_by_id(view, id)?,
        None => None,
    };
    let last = entry.attempts.last().map(|attempt| attempt.outcome.clone());
    let account = account.map(|account| account.name);
    let transport = transport_of(node, &entry, message, account.as_deref());
    Ok(Queued {
        id: entry.id,
        created: entry.created,
        since: times(&entry).queued,
        to_one_server: node.config.leads_to_one_server(&transport),
        delay_told: entry.delay_told,
        transport,
        is_routed: !entry.transport.is_empty(),
        account,
        from: message.map(|m| m.reverse_path.clone()).unwrap_or_default(),
        size: message.map_or(0, mox_mailbox::QueueMessage::size),
        transaction: message
            .map(|m| String::from_utf8_lossy(&m.extra).into_owned())
            .unwrap_or_default(),
        last: last.filter(|outcome| !outcome.is_empty()),
        said: entry.recipients.iter().map(|to| to.last.clone()).collect(),
        ambiguous: entry.ambiguous,
        to: entry.recipients.into_iter().map(|to| to.address).collect(),
        attempts: entry.attempts_made,
        next: entry.next_attempt,
        hold: entry.hold,
        release: entry.release.filter(|at| *at > now),
    })
}
