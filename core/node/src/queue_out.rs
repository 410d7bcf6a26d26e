//! The outgoing queue: tries what is due, records what came of it, and tells senders what did not work.

mod attempt;
mod client;
mod local;
mod notice;
mod route;

use core::future::poll_fn;
use core::task::Poll;
use futures_channel::mpsc;
use futures_lite::StreamExt;
use mox_driver::{Runtime, Timer};
use mox_machine::fault;
use mox_mailbox::{QueueEntry, ReadError};
use mox_queue::{Entry, Limits, Scheduler, Times};
use mox_store::Topic;
use std::sync::Arc;
use std::time::Duration;

use crate::node::Inner;

/// Entries read from the queue at a time.
const PAGE: usize = 500;

/// An entry of which an attempt left nothing is looked at again, and not tried before this: what ended the attempt may
/// end the next one too.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Which entry, and what an attempt left of it.
type Finished = (u64, Left);

/// An entry behind an attempt.
enum Left {
    /// What waits for the next one: the entry itself, unless it is gone, and those that were taken out of it when it was a
    /// bundle.
    Waits(Vec<QueueEntry>),
    /// The attempt never got to telling.
    Unknown,
}

/// Runs until the process ends. After the server was told to stop it starts nothing new.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    let limits = Limits::default();
    let (report, mut finished) = mpsc::channel::<Finished>(limits.total);
    let mut scheduler = Scheduler::new(limits);
    let mut watch = node.store.watch(Topic::Queue, |published| published.number);
    let mut timer = node.runtime.timer();
    let (mut seen, mut next) = (0, 0);
    loop {
        match read_new(&node, &mut next) {
            Ok(entries) => entries
                .iter()
                .for_each(|e| insert(&node, &mut scheduler, e)),
            Err(error) => tracing::error!(target: "queue", %error, "the queue cannot be read"),
        }
        let now = node.runtime.now();
        let stopping = node.registry.is_stopping();
        if !stopping {
            for id in scheduler.delay_notices(now.utc) {
                let task = attempt::tell_of_delay(node.clone(), id);
                node.runtime.spawn_session("delay notice", Box::pin(task));
            }
            for id in scheduler.due(now.utc) {
                start(&node, id, report.clone());
            }
        }
        // What is due and not started any more would make this loop spin until the process ends.
        let wait = scheduler.wait(now.utc).filter(|_| !stopping);
        timer.arm(wait.map(|wait| now.mono + wait));
        let ended = poll_fn(|cx| {
            if let Poll::Ready(done) = finished.poll_next(cx) {
                return Poll::Ready(done);
            }
            if let Poll::Ready(number) = watch.poll_changed(cx, seen) {
                seen = number;
                return Poll::Ready(None);
            }
            timer.poll_fired(cx).map(|()| None)
        })
        .await;
        if let Some((id, left)) = ended {
            match left {
                Left::Waits(entries) => {
                    if !entries.iter().any(|entry| entry.id == id) {
                        scheduler.remove(id);
                    }
                    for entry in &entries {
                        insert(&node, &mut scheduler, entry);
                    }
                }
                Left::Unknown => look_again(&node, &mut scheduler, id),
            }
            scheduler.finished(id);
        }
    }
}

/// Nobody knows what became of an attempt: the row does.
fn look_again<R: Runtime>(node: &Inner<R>, scheduler: &mut Scheduler, id: u64) {
    let published = node.store.published();
    match mox_mailbox::queue_entry(&*published.view, id) {
        Ok(Some(mut entry)) => {
            let soonest = node.runtime.now().utc + AGAIN_AFTER;
            entry.next_attempt = entry.next_attempt.max(soonest);
            insert(node, scheduler, &entry);
        }
        Ok(None) => scheduler.remove(id),
        Err(error) => {
            tracing::error!(target: "queue", id, %error, "an entry of the queue cannot be read");
        }
    }
}

fn start<R: Runtime>(node: &Arc<Inner<R>>, id: u64, report: mpsc::Sender<Finished>) {
    // While an attempt runs the server is not empty: stopping waits for it.
    let seat = node.registry.enter();
    let slot = Slot {
        id,
        report,
        left: Left::Unknown,
    };
    if fault!("node attempt not started") {
        drop((slot, seat));
        return;
    }
    let task = attempt::run(node.clone(), slot, seat);
    node.runtime.spawn_session("delivery", Box::pin(task));
}

/// An attempt's slot: given back when dropped, also by a panic.
struct Slot {
    id: u64,
    report: mpsc::Sender<Finished>,
    left: Left,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The channel has room for every slot there is.
        let left = core::mem::replace(&mut self.left, Left::Unknown);
        let _ = self.report.try_send((self.id, left));
    }
}

/// The entries that came into the queue since the last time.
fn read_new<R: Runtime>(node: &Inner<R>, next: &mut u64) -> Result<Vec<QueueEntry>, ReadError> {
    let published = node.store.published();
    let mut found = Vec::new();
    loop {
        let page = mox_mailbox::queue(&*published.view, *next, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        *next = last.id + 1;
        found.extend(page);
    }
}

fn insert<R: Runtime>(node: &Inner<R>, scheduler: &mut Scheduler, entry: &QueueEntry) {
    if entry.hold {
        return scheduler.remove(entry.id);
    }
    let domain = entry
        .recipients
        .first()
        .and_then(|to| to.rsplit_once('@'))
        .map(|(_, d)| d);
    scheduler.insert(Entry {
        id: entry.id,
        domain: Arc::from(domain.unwrap_or_default()),
        next_attempt: entry.next_attempt,
        delay_notice: node.config.plan.delay_notice_at(&times(entry)),
        retry: entry.attempts_made > 0,
    });
}

/// An entry's own time.
fn times(entry: &QueueEntry) -> Times {
    Times {
        queued: entry.created,
        attempts: entry.attempts_made,
        delay_notified: entry.delay_told,
    }
}
