//! One attempt to deliver an entry of the queue.

use core::future::poll_fn;
use futures_lite::future;
use mox_address::Path;
use mox_driver::Runtime;
use mox_machine::{Utc, mutant};
use mox_mailbox::{
    Fate, Observation, Outcome as Recorded, QueueEntry, QueueMessage, QueueRecipient, Reached,
};
use mox_queue::{Failure, Next, NextHop, Outcome, next};
use mox_server::Found;
use mox_server::reports_out::SeenSession;
use mox_store::StoreError;
use mox_tls_policy::Demand;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::dry_run::Probe;
use super::hop::{Answered, Sending, try_hop};
use super::notice::{Told as About, UNTOLD};
use super::route::{self, Hop, NoRoute};
use super::seen::noted;
use super::session::Open;
use super::steps::Steps;
use super::{Left, Slot, Told, local, notice, times};
use crate::node::Inner;
use crate::registry::Seat;
use crate::reports_out;
use crate::transports::transport_of;

/// How long an attempt may take, beside the time for the message itself.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1_800);

/// What is known of one recipient after an attempt.
#[derive(Debug, Clone)]
pub(super) struct Result {
    pub(super) outcome: Outcome,
    /// What the peer said, word for word, or what went wrong here.
    pub(super) text: String,
    /// The peer's reply, not our own words.
    pub(super) from_peer: bool,
    /// RFC 3463.
    pub(super) status: String,
    /// The host that decided.
    pub(super) host: Option<String>,
    /// What there was of TLS with it.
    pub(super) tls: String,
    /// It was told what the sender wants to know, and will tell.
    pub(super) tells: bool,
    /// This host cannot take the message: it has no SMTPUTF8, no room for it, less of TLS than it demands (RFC 8689 4.2.1),
    /// or takes no mail at all. It is final when no host of the domain can.
    pub(super) unfit: bool,
    /// The answer to the final dot was lost: it may have the message.
    pub(super) ambiguous: bool,
    /// It refuses by its rules over one family of addresses. Those of the other one, of which its rules may think better, are heard
    /// before that is final.
    pub(super) put_off: bool,
    /// It says that there is no such address, or that it takes no mail, and nothing about the message or us.
    pub(super) unknown: bool,
}

/// Tries an entry, in a session that is `open` already where that leads there. Whatever happens, its slot is given back, with
/// the session that may take the next one: what came of this one is in the store by then.
pub(super) async fn run<R: Runtime>(
    node: Arc<Inner<R>>,
    mut slot: Slot<R>,
    seat: Arc<Seat>,
    mut open: Option<Open<R>>,
) {
    let next = slot.hop.take();
    let attempted = attempt(&node, &seat, (slot.id, next.as_ref()), &mut open).await;
    match (attempted.is_ok(), open) {
        (true, open) => slot.open = open,
        (false, Some(open)) => open.leave(),
        (false, None) => {}
    }
    match attempted {
        Ok(others) => slot.left = Left::Waits(others),
        Err(why) if node.registry.is_stopping() => {
            tracing::info!(target: "queue", id = slot.id, why, "an attempt was broken off");
        }
        Err(error) => {
            tracing::error!(target: "queue", id = slot.id, error, "an attempt could not be made or recorded");
        }
    }
}

async fn attempt<R: Runtime>(
    node: &Arc<Inner<R>>,
    seat: &Arc<Seat>,
    (id, next_hop): (u64, Option<&NextHop>),
    open: &mut Option<Open<R>>,
) -> core::result::Result<Vec<u64>, String> {
    let now = node.runtime.now().utc;
    let published = node.store.published();
    let Some(entry) = mox_mailbox::queue_entry(&*published.view, id).map_err(|e| e.to_string())?
    else {
        return Ok(Vec::new());
    };
    if entry.is_bundle() {
        let op = move |reads: &dyn mox_mailbox::Reads| mox_mailbox::queue_unbundle(reads, id, now);
        let entries = node.store.run(op).await.map_err(|e| e.to_string())?;
        return Ok(entries.into_iter().map(|entry| entry.id).collect());
    }
    let message = mox_mailbox::queue_message(&*published.view, entry.message)
        .map_err(|e| e.to_string())?
        .ok_or("the entry has no message")?;
    let account = match message.account {
        Some(id) => mox_mailbox::account_by_id(&*published.view, id).map_err(|e| e.to_string())?,
        None => None,
    };
    let account = account.as_ref().map(|account| account.name.as_str());
    let transport = transport_of(node, &entry, Some(&message), account);
    drop(published);
    let jitter = node.session_seed("queue").rng().next_u64();

    // The attempt is in its row before it starts (S12): a crash in it is a pause, not a loop.
    let mut before = times(&entry);
    before.attempts += 1;
    let retry = node.config.plan.retry_at(&before, now, jitter);
    let (by, chosen) = (transport.clone(), entry.transport.clone());
    let longest = node.config.sending.limits.longest_wait;
    let op = move |reads: &dyn mox_mailbox::Reads| {
        // Dropped meanwhile, put off, or led elsewhere: it is looked at again. A time that is further ahead than any pause was set by a
        // clock that was wrong.
        let there = mox_mailbox::queue_entry(reads, id)?;
        let is_put_off = |at| at > now && at <= now + longest;
        if there.is_none_or(|there| there.transport != chosen || is_put_off(there.next_attempt)) {
            return Ok((mox_mailbox::Batch::default(), None));
        }
        mox_mailbox::queue_attempt(reads, id, &by, retry, now)
    };
    let entry = match mutant!(AttemptNotMarked) {
        true => Some(entry),
        false => node.store.run(op).await.map_err(|e| e.to_string())?,
    };
    // An administrator holds it back, or did something else to it.
    let Some(entry) = entry else {
        return Ok(Vec::new());
    };

    let marked = entry.next_attempt;
    let (entry, refused) = local::deliver(node, entry, &message)
        .await
        .map_err(|e| e.to_string())?;
    let Some(entry) = entry else {
        return Ok(Vec::new());
    };
    let not_here = ours(
        Outcome::Temporary,
        "4.2.0",
        "the mailbox here does not take it now",
        None,
    );
    let is_refused = |to: &QueueRecipient| refused.contains(&to.address).then(|| not_here.clone());
    let mut results: Vec<Option<Result>> = entry.recipients.iter().map(is_refused).collect();
    let cut = async {
        poll_fn(|cx| seat.poll_cut(cx)).await;
        false
    };
    let shared = Arc::new(message.clone());
    let mut seen = Vec::new();
    let steps = Arc::new(Steps::default());
    let is_told = AtomicBool::new(false);
    // Asked meanwhile; what was delivered is recorded whether there is an answer or not.
    let wishes = async {
        let wants = reports_out::tls_wishes(node, &entry, &message).await;
        is_told.store(wants, Ordering::Relaxed);
        core::future::pending().await
    };
    let whole = async {
        let before = open.take();
        let this = Delivering {
            seat,
            transport: &transport,
            next_hop,
            entry: &entry,
            message: shared,
            steps: &steps,
            probe: None,
        };
        (*open, seen) = deliver(node, this, before, &mut results).await;
        true
    };
    let is_whole = future::or(cut, future::or(wishes, whole)).await;
    if !is_told.load(Ordering::Relaxed) {
        seen.clear();
    }
    // No final dot was sent to whom a stop cuts off: unlike a crash this leaves nothing in doubt, and the row is to say so.
    if !is_whole {
        steps.note("the server was stopped");
    }
    let results = results.into_iter();
    let results = results.map(|result| match result {
        // What our own stop cut short is tried again as soon as there is a server, however old it is.
        result if !is_whole && !is_decided(result.as_ref()) => Attempted::CutShort,
        None => Attempted::Ended(ours(
            Outcome::Temporary,
            "4.4.1",
            "no mail server could be reached",
            None,
        )),
        Some(result) => Attempted::Ended(result),
    });
    let results = results.collect();
    let seen = reports_out::of_sessions(&entry, &seen, node.runtime.now().utc);
    let done = Done {
        results,
        seen,
        steps: steps.take(),
        marked,
    };
    record(node, entry, &message, done, jitter).await?;
    Ok(Vec::new())
}

/// What came of an attempt for one recipient.
enum Attempted {
    Ended(Result),
    /// The server was told to stop before anybody decided.
    CutShort,
}

/// What came of an attempt.
struct Done {
    /// For each recipient.
    results: Vec<Attempted>,
    /// How TLS went.
    seen: Vec<Observation>,
    steps: mox_mailbox::Steps,
    /// When the next attempt is according to the row, unless an administrator changed that meanwhile.
    marked: Utc,
}

/// Writes down what came of an attempt, with the notice to the sender if there is one: one operation.
async fn record<R: Runtime>(
    node: &Arc<Inner<R>>,
    entry: QueueEntry,
    message: &QueueMessage,
    done: Done,
    jitter: u64,
) -> core::result::Result<(), String> {
    let Done {
        results,
        seen,
        steps,
        marked,
    } = done;
    let now = node.runtime.now().utc;
    let mut times = times(&entry);
    let since = times.queued;
    // What an administrator held or put off meanwhile is not given up for its age.
    let row = mox_mailbox::queue_entry(&*node.store.published().view, entry.id);
    let is_put_off = |row: &QueueEntry| {
        row.hold || row.next_attempt != marked || row.release.is_some_and(|at| at > now)
    };
    if row.is_ok_and(|row| row.as_ref().is_some_and(is_put_off)) {
        times.queued = now;
    }
    let mut is_cut_short = false;
    let results: Vec<(Result, bool)> = results
        .into_iter()
        .map(|result| match result {
            Attempted::Ended(result) => (result, false),
            Attempted::CutShort => {
                is_cut_short = true;
                let why = "the server was stopped meanwhile";
                (ours(Outcome::Temporary, "4.3.2", why, None), true)
            }
        })
        .collect();
    let mut reached = Vec::new();
    let (mut fates, mut failed, mut relayed) = (Vec::new(), Vec::new(), Vec::new());
    let mut unknown = Vec::new();
    let mut retry = now;
    // For those who would be given up, were their sender told.
    let later = node.config.plan.retry_at(&times, now, jitter);
    let mut delay_told = entry.delay_told;
    let mut delayed = Vec::new();
    for (to, (result, is_cut)) in entry.recipients.iter().zip(&results) {
        let text = result.text.clone();
        reached.push(Reached {
            host: result.host.clone().unwrap_or_default(),
            tls: result.tls.clone(),
            status: result.status.clone(),
            from_peer: result.from_peer,
            ambiguous: result.ambiguous.into(),
        });
        fates.push(
            match next(&node.config.plan, &times, result.outcome, now, jitter) {
                _ if *is_cut => Fate::Deferred(text),
                Next::Done => {
                    if !result.tells {
                        relayed.push(About::new(to, result));
                    }
                    Fate::Delivered(text)
                }
                Next::Fail(why) => {
                    if result.unknown {
                        unknown.push(to.address.clone());
                    }
                    let about = About::new(to, result).tried(notice::Tried {
                        times: entry.attempts_made,
                        since,
                        is_expired: why == Failure::Expired,
                    });
                    failed.push(about);
                    Fate::Failed(text)
                }
                Next::Retry { at, delay_notice } => {
                    retry = at;
                    if delay_notice {
                        delayed.push(About::new(to, result));
                    }
                    Fate::Deferred(text)
                }
            },
        );
        let outcome = format!("{:?}", result.outcome).to_lowercase();
        let host = result.host.as_deref().unwrap_or("-");
        tracing::info!(
            target: "delivery",
            id = String::from_utf8_lossy(&message.extra).as_ref(),
            entry = entry.id,
            from = message.reverse_path,
            to = to.address,
            host,
            tls = result.tls,
            transport = entry.attempts.last().map_or("", |last| &last.transport),
            attempt = entry.attempts_made,
            outcome,
            ambiguous = result.ambiguous,
            reply = result.text,
            "attempt ended"
        );
    }
    if is_cut_short {
        retry = now;
    }
    let kind = if failed.is_empty() {
        let until = node.config.plan.expires(times.queued);
        notice::Kind::Delayed { until }
    } else {
        notice::Kind::Failed
    };
    // A failure is told first; the delay of the others is told by the next occasion.
    delay_told = delay_told || (failed.is_empty() && !delayed.is_empty());
    let told = if failed.is_empty() { delayed } else { failed };
    let composed = match notice::compose(node, message, kind, &told).await {
        Ok(composed) => composed,
        Err(notice::NotWritten) => {
            give_another_chance(&mut fates);
            retry = retry.max(later);
            delay_told = entry.delay_told;
            None
        }
    };
    let (mut notice, mut held) =
        composed.map_or((None, None), |(notice, held)| (Some(notice), Some(held)));
    // Whoever has the message is not tried again because nobody could be told so.
    let success = notice::compose(node, message, notice::Kind::Relayed, &relayed).await;
    let success = success.unwrap_or_else(|notice::NotWritten| {
        let recipients = mark_untold(&mut fates, &entry, &relayed);
        log_untold(entry.id, message, recipients);
        None
    });
    let (success, success_held) =
        success.map_or((None, None), |(notice, held)| (Some(notice), Some(held)));
    if mutant!(NoticeApart)
        && let (Some(notice), Some(held)) = (notice.take(), held.take())
    {
        let op = move |reads: &dyn mox_mailbox::Reads| {
            let result = mox_mailbox::deliver(reads, &notice);
            drop(held);
            result
        };
        node.store.run(op).await.map_err(|e| e.to_string())?;
    }
    // What is told of a delay is why somebody still waits.
    let results = results.iter().map(|(result, _)| result);
    let last = (results.clone().zip(&fates).rev())
        .find_map(|(result, fate)| matches!(fate, Fate::Deferred(_)).then_some(result))
        .or_else(|| results.clone().next_back());
    let outcome = Recorded {
        now,
        host: last.and_then(|r| r.host.clone()).unwrap_or_default(),
        text: last.map(|r| r.text.clone()).unwrap_or_default(),
        tls: last.map(|r| r.tls.clone()).unwrap_or_default(),
        fates,
        reached,
        steps,
        unknown,
        marked,
        next_attempt: retry,
        delay_told,
        notice,
        success,
    };
    let without = (outcome.notice.is_some() || outcome.success.is_some()).then(|| {
        let mut fates = outcome.fates.clone();
        give_another_chance(&mut fates);
        let untold = match outcome.success {
            Some(_) => mark_untold(&mut fates, &entry, &relayed),
            None => 0,
        };
        let recorded = Recorded {
            host: outcome.host.clone(),
            text: outcome.text.clone(),
            tls: outcome.tls.clone(),
            fates,
            reached: outcome.reached.clone(),
            steps: outcome.steps.clone(),
            unknown: Vec::new(),
            marked,
            next_attempt: retry.max(later),
            delay_told: entry.delay_told,
            notice: None,
            success: None,
            now,
        };
        (recorded, untold)
    });
    let id = entry.id;
    let op = move |reads: &dyn mox_mailbox::Reads| {
        let result = mox_mailbox::queue_outcome_beside(reads, id, &outcome, &seen);
        drop((held, success_held));
        result
    };
    let settled = match (node.store.run(op).await, without) {
        // The notice may be what was refused. Who has the message must not get it again for that.
        (Err(error), Some((without, untold))) if !matches!(error, StoreError::Dead) => {
            tracing::warn!(target: "queue", id, %error, "a notification could not be stored");
            if untold > 0 {
                log_untold(id, message, untold);
            }
            let op = move |reads: &dyn mox_mailbox::Reads| {
                mox_mailbox::queue_outcome(reads, id, &without)
            };
            node.store.run(op).await
        }
        (settled, _) => settled,
    };
    settled.map(|_| ()).map_err(|e| e.to_string())
}

/// That whoever asked to be told of a success is not stands beside what became of each recipient. Of how many.
fn mark_untold(fates: &mut [Fate], entry: &QueueEntry, relayed: &[About]) -> usize {
    let is_untold = |address: &str| {
        let about = relayed.iter().find(|about| about.address == address);
        about.is_some_and(|about| about.is_wanted(notice::Kind::Relayed))
    };
    let mut recipients = 0;
    for (to, fate) in entry.recipients.iter().zip(fates) {
        if let Fate::Delivered(text) = fate
            && is_untold(&to.address)
        {
            text.insert_str(0, UNTOLD);
            recipients += 1;
        }
    }
    recipients
}

fn log_untold(entry: u64, message: &QueueMessage, recipients: usize) {
    tracing::warn!(
        target: "queue",
        id = String::from_utf8_lossy(&message.extra).as_ref(),
        entry,
        from = message.reverse_path,
        recipients,
        "another server has a message, and its sender, who asked to be told so, is not: the notification could not be written"
    );
}

/// Nobody is given up in silence: tried again, with another chance to tell.
fn give_another_chance(fates: &mut [Fate]) {
    for fate in fates {
        if let Fate::Failed(text) = fate {
            *fate = Fate::Deferred(core::mem::take(text));
        }
    }
}

/// Tells the sender that an entry takes longer than usual, between two attempts.
pub(super) async fn tell_of_delay<R: Runtime>(node: Arc<Inner<R>>, id: u64, mut told: Told<R>) {
    let published = node.store.published();
    let view = &*published.view;
    let Ok(found) = mox_mailbox::queue_entry(view, id) else {
        return;
    };
    // While an attempt runs, its end decides whether there is something to tell.
    let found = found.filter(|entry| !entry.delay_told && !node.attempts.has(id));
    let Some(entry) = found else {
        return told.settle();
    };
    let Ok(Some(message)) = mox_mailbox::queue_message(view, entry.message) else {
        return;
    };
    drop(published);
    let about = entry.recipients.iter();
    let about = about.map(|to| About::new(to, &said_last(&entry, to)));
    let about: Vec<_> = about.collect();
    let until = node.config.plan.expires(times(&entry).queued);
    let kind = notice::Kind::Delayed { until };
    let composed = notice::compose(&node, &message, kind, &about).await;
    let Ok(composed) = composed else { return };
    let (notice, held) = composed.map_or((None, None), |(notice, held)| (Some(notice), Some(held)));
    let now = node.runtime.now().utc;
    let op = move |reads: &dyn mox_mailbox::Reads| {
        let result = mox_mailbox::queue_delay_told(reads, id, notice.as_ref(), now);
        drop(held);
        result
    };
    match node.store.run(op).await {
        Ok(_) => told.settle(),
        Err(error) => {
            tracing::warn!(target: "queue", id, %error, "a delay notice could not be stored");
        }
    }
}

/// What is known of a recipient that waits.
fn said_last(entry: &QueueEntry, to: &QueueRecipient) -> Result {
    if let Some(said) = &to.last {
        let host = Some(said.by.host.clone()).filter(|host| !host.is_empty());
        return Result {
            from_peer: said.by.from_peer,
            tls: said.by.tls.clone(),
            ..ours(Outcome::Temporary, &said.by.status, &said.text, host)
        };
    }
    // An earlier version knows it of all together.
    let ended = entry.attempts.iter().rev();
    let ended = ended.filter(|attempt| !attempt.outcome.is_empty());
    let said = ended.map(|a| (a.outcome.clone(), a.host.clone())).next();
    let none = || match entry.attempts_made {
        0 => "it was not tried yet".to_owned(),
        _ => "no attempt came to its end".to_owned(),
    };
    let (text, host) = said.unwrap_or_else(|| (none(), String::new()));
    let host = Some(host).filter(|host| !host.is_empty());
    Result {
        from_peer: text.starts_with(['4', '5']) && host.is_some(),
        ..ours(Outcome::Temporary, "4.0.0", &text, host)
    }
}

/// What is delivered, and how.
pub(super) struct Delivering<'a> {
    pub(super) seat: &'a Arc<Seat>,
    pub(super) transport: &'a str,
    /// For whom its sessions count; a rehearsal's count for nobody.
    pub(super) next_hop: Option<&'a NextHop>,
    pub(super) entry: &'a QueueEntry,
    pub(super) message: Arc<QueueMessage>,
    /// What is done is noted there.
    pub(super) steps: &'a Arc<Steps>,
    pub(super) probe: Option<&'a Arc<Probe>>,
}

/// Tries the hops one after the other until every recipient is decided, the one to which a session is open first. What is known
/// stands in `results` at once: a server that stops cuts this short. A rehearsal goes as far as it says. Behind it are the
/// session that may take another message, and how TLS went with the hosts.
pub(super) async fn deliver<R: Runtime>(
    node: &Arc<Inner<R>>,
    this: Delivering<'_>,
    mut session: Option<Open<R>>,
    results: &mut [Option<Result>],
) -> (Option<Open<R>>, Vec<SeenSession>) {
    let Delivering {
        seat,
        transport,
        next_hop,
        entry,
        message,
        steps,
        probe,
    } = this;
    let mut open = Vec::new();
    for ((to, result), nth) in entry.recipients.iter().zip(&mut *results).zip(0..) {
        match Path::parse(&to.address, true) {
            _ if result.is_some() => {}
            Err(_) => *result = Some(ours(Outcome::Permanent, "5.1.3", "not an address", None)),
            Ok(path) if node.directory().find(&path) == Found::UnknownLocalPart => {
                *result = Some(ours(Outcome::Permanent, "5.1.1", "no such user here", None));
            }
            Ok(path) => match suppressed(node, &message, &to.address) {
                None => open.push((nth, path, to)),
                suppressed => *result = suppressed,
            },
        }
    }
    let Some((_, first, _)) = open.first() else {
        return (session, Vec::new());
    };
    let mut route = match route::hops(
        node,
        transport,
        first,
        demand(&message),
        probe.map(AsRef::as_ref),
    )
    .await
    {
        Ok(route) => route,
        Err(NoRoute {
            outcome,
            text,
            status,
            unknown,
        }) => {
            steps.note(&text);
            for (nth, ..) in open {
                if let Some(slot) = results.get_mut::<usize>(nth) {
                    *slot = Some(Result {
                        unknown,
                        ..ours(outcome, &status, &text, None)
                    });
                }
            }
            return (session, Vec::new());
        }
    };
    // RFC 5321 5.1: a session with a host that comes later does not put it before the one that comes first. The addresses of one
    // host are alike.
    let leads_there = |hop: &Hop| session.as_ref().is_some_and(|open| open.leads_to(hop));
    let first = route.hops.first().map(|hop| hop.name.clone());
    let of_first = route.hops.iter();
    let mut of_first = of_first.take_while(|hop| Some(&hop.name) == first.as_ref());
    if let Some(nth) = of_first.position(leads_there) {
        let hop = route.hops.remove(nth);
        route.hops.insert(0, hop);
    }
    let until = node.runtime.now().mono + longest(&message);
    let mut is_asked_everywhere = route.is_whole;
    let mut is_broken_off = false;
    let mut heard: Vec<usize> = Vec::new();
    for (nth, hop) in route.hops.iter().enumerate() {
        open.retain(|(nth, ..)| !is_decided(results.get(*nth).and_then(Option::as_ref)));
        if open.is_empty() {
            break;
        }
        let to: Vec<(Path, &QueueRecipient)> = (open.iter())
            .map(|(_, path, to)| (path.clone(), *to))
            .collect();
        let before = session.take();
        let before = match before {
            Some(before) if !before.leads_to(hop) => {
                before.leave();
                None
            }
            before => before,
        };
        let sending = Sending {
            seat,
            next_hop,
            message: &message,
            to: &to,
            until,
            steps,
        };
        let Answered {
            results: reached,
            ambiguous,
            open: after,
        } = try_hop(node, hop, &sending, before, probe).await;
        session = after;
        if reached.iter().any(|result| result.from_peer) {
            heard.push(nth);
        }
        let is_left = other_is_unheard(&route.hops, nth, &heard);
        for ((nth, ..), mut result) in open.iter().zip(reached) {
            if is_left && is_by_rules(&result) {
                (result.outcome, result.put_off) = (Outcome::Temporary, true);
            }
            if let Some(slot) = results.get_mut(*nth) {
                *slot = Some(more_telling(slot.take(), result));
            }
        }
        // The peer may have the message: another host now would make it two.
        let is_late = node.runtime.now().mono >= until;
        if ambiguous || is_late || node.registry.is_stopping() {
            is_asked_everywhere = false;
            is_broken_off = true;
            break;
        }
    }
    // Where the other family does not work at all, it may once; it is not waited for until the message is too old.
    let is_heard = entry.attempts_made > 1 && !is_broken_off;
    for result in results.iter_mut().flatten() {
        if (result.unfit && is_asked_everywhere) || (result.put_off && is_heard) {
            result.outcome = Outcome::Permanent;
        }
    }
    (session, noted(&route.hops))
}

/// The host of a hop has addresses of the other family, and nothing was heard of it over any of them.
fn other_is_unheard(hops: &[Hop], nth: usize, heard: &[usize]) -> bool {
    let Some(this) = hops.get(nth) else {
        return false;
    };
    let is_other =
        |hop: &Hop| hop.name == this.name && hop.address.is_ipv6() != this.address.is_ipv6();
    let others = hops.iter().enumerate().filter(|(_, hop)| is_other(hop));
    let mut others = others.map(|(nth, _)| nth).peekable();
    others.peek().is_some() && !others.any(|nth| heard.contains(&nth))
}

/// Refused for good by the rules of the host, as for the address from which we come (RFC 3463 3.8, RFC 7372).
fn is_by_rules(result: &Result) -> bool {
    result.from_peer && result.outcome == Outcome::Permanent && result.status.starts_with("5.7.")
}

/// How long an attempt may take up to the final dot, with all hosts together: half an hour, and the time that a message of its size
/// takes over a slow line. A host that drags its feet holds a slot no longer.
fn longest(message: &QueueMessage) -> Duration {
    /// Octets a second.
    const SLOW: u64 = 16 * 1024;
    ATTEMPT_TIMEOUT + Duration::from_secs(message.size() / SLOW)
}

/// The verdict on an address that its sender sends nothing to.
fn suppressed<R: Runtime>(
    node: &Inner<R>,
    message: &QueueMessage,
    address: &str,
) -> Option<Result> {
    let published = node.store.published();
    let view = &*published.view;
    let account = message.account?;
    let now = node.runtime.now().utc;
    let found = mox_mailbox::suppression(view, account, address, now).ok()??;
    let account = mox_mailbox::account_by_id(view, account).ok()??.name;
    let why = match found.failures {
        0 => format!("because somebody said so: {}", found.reason),
        count => format!("because it failed {count} times in a row: {}", found.reason),
    };
    let until = found.until();
    let until = until.map_or_else(String::new, |at| format!(" until {at}"));
    let text = format!(
        "not sent: this address is suppressed{until}, {why} (an administrator of this server can lift that: moxctl queue suppress rm {account} {address})"
    );
    Some(ours(Outcome::Permanent, "5.7.1", &text, None))
}

/// What the message demands of TLS. A notification does not (RFC 8689 4.2.1).
fn demand(message: &QueueMessage) -> Demand {
    match (message.require_tls, message.tls_optional) {
        (true, _) if !message.reverse_path.is_empty() => Demand::RequireTls,
        (_, true) => Demand::TlsOptional,
        _ => Demand::None,
    }
}

/// What is kept of two hosts' results, neither of which is final, or the later of which is: what a peer said tells more
/// than that another one could not be reached.
fn more_telling(before: Option<Result>, after: Result) -> Result {
    match before {
        // It may have the message.
        _ if after.ambiguous => after,
        // Tomorrow it may be the other one that can be reached.
        Some(before) if after.unfit && !before.unfit => before,
        Some(before) if before.unfit && !after.unfit => after,
        Some(before) if before.from_peer && !after.from_peer && after.outcome == before.outcome => {
            before
        }
        _ => after,
    }
}

fn is_decided(result: Option<&Result>) -> bool {
    result.is_some_and(|r| matches!(r.outcome, Outcome::Delivered | Outcome::Permanent))
}

/// Our own verdict.
pub(super) fn ours(outcome: Outcome, status: &str, text: &str, host: Option<String>) -> Result {
    Result {
        outcome,
        text: text.to_owned(),
        from_peer: false,
        status: status.to_owned(),
        host,
        tls: String::new(),
        tells: false,
        unfit: false,
        ambiguous: false,
        put_off: false,
        unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_said_is_kept_when_the_next_host_cannot_be_reached() {
        let said = |outcome, text: &str, from_peer| Result {
            from_peer,
            ..ours(outcome, "4.0.0", text, None)
        };
        let busy = said(Outcome::Temporary, "451 4.2.0 later", true);
        let away = said(Outcome::Temporary, "no connection", false);
        let never = said(Outcome::Permanent, "550 5.1.1 nobody", true);
        let text = |before: Option<&Result>, after: &Result| {
            more_telling(before.cloned(), after.clone()).text
        };
        assert_eq!(text(None, &away), "no connection");
        assert_eq!(text(Some(&busy), &away), "451 4.2.0 later");
        assert_eq!(text(Some(&away), &busy), "451 4.2.0 later");
        assert_eq!(text(Some(&busy), &never), "550 5.1.1 nobody");
        let unfit = Result {
            unfit: true,
            ..away.clone()
        };
        assert_eq!(text(Some(&busy), &unfit), "451 4.2.0 later");
        let closed = Result {
            unfit: true,
            ..said(Outcome::Temporary, "554 5.3.2 no mail here", true)
        };
        assert_eq!(text(Some(&closed), &away), "no connection");
        assert_eq!(text(Some(&away), &closed), "no connection");
        assert_eq!(text(Some(&unfit), &closed), "554 5.3.2 no mail here");
        let given_up = said(Outcome::Permanent, "given up", false);
        assert_eq!(text(Some(&busy), &given_up), "given up");
    }
}
