//! The outgoing queue: tries what is due, records what came of it, and tells senders what did not work.

mod asked;
mod attempt;
mod attempts;
mod client;
mod connect;
mod dropping;
mod dry_run;
mod hop;
mod leaving;
mod local;
mod login;
mod notice;
mod policy;
mod route;
mod seen;
mod session;
mod steps;
mod tls_memory;
mod verdict;

use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use futures_channel::mpsc;
use futures_lite::StreamExt;
use mox_driver::{Runtime, Timer};
use mox_machine::{Utc, fault};
use mox_mailbox::{QueueEntry, ReadError};
use mox_queue::{Entry, Limits, NextHop, Scheduler, Times};
use mox_store::Topic;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use attempts::Attempts;
pub(crate) use dropping::{Done, drop_entry};
pub use dry_run::DryRun;
pub(crate) use leaving::Leaving;
pub(crate) use login::Logins;
pub use notice::UNTOLD;
pub(crate) use tls_memory::REMEMBERED as TLS_REMEMBERED;

use self::session::Open;
use crate::node::Inner;
use crate::transports::next_hop;

/// Entries read from the queue at a time.
const PAGE: usize = 500;

/// An entry of which an attempt left nothing is looked at again, and not tried before this: what ended the attempt may
/// end the next one too.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Notices of delays that are written at once.
const TELLING_MAX: usize = 4;

/// The entries of the queue that are to be tried.
struct Waiting {
    scheduler: Scheduler,
    /// Those that their senders hold back (RFC 4865), which the scheduler does not know of: it would take so late a time for
    /// that of a clock that was wrong.
    released: BTreeSet<(Utc, u64)>,
}

impl Waiting {
    /// An entry whose time has come.
    fn release(&mut self, now: Utc) -> Option<u64> {
        let (at, id) = *self.released.first()?;
        (at <= now).then(|| {
            self.released.remove(&(at, id));
            id
        })
    }

    /// How long nothing becomes due.
    fn wait(&self, now: Utc) -> Option<Duration> {
        let release = self.released.first().map(|(at, _)| {
            let micros = u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0);
            // A clock that was put forward is noticed.
            Duration::from_micros(micros).min(Limits::default().recheck)
        });
        self.scheduler.wait(now).into_iter().chain(release).min()
    }
}

/// What came to its end.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
enum Finished<R: Runtime> {
    /// An attempt: which entry, what it left of it, and the session that may take another message.
    Attempt(u64, Left, Option<Open<R>>),
    /// A notice of a delay; the entry of which nobody could be told.
    Told(Option<u64>),
}

/// An entry behind an attempt.
enum Left {
    /// It is over. These waits for the next one beside the entry itself, unless that is gone: they were taken out of it when it
    /// was a bundle.
    Waits(Vec<u64>),
    /// The attempt never got to telling.
    Unknown,
}

/// Runs until the process ends. After the server was told to stop it starts nothing new.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    let limits = node.config.sending.limits.clone();
    let (report, mut finished) = mpsc::channel::<Finished<R>>(limits.total);
    let mut waiting = Waiting {
        scheduler: Scheduler::new(limits),
        released: BTreeSet::new(),
    };
    let mut watch = node.store.watch(Topic::Queue, |published| published.number);
    let mut timer = node.runtime.timer();
    let (mut seen, mut next) = (0, 0);
    let mut to_tell = VecDeque::new();
    let mut telling = 0;
    // Sessions that are left over of attempts, until it is known whether somebody waits for them.
    let mut open: Vec<(NextHop, Open<R>)> = Vec::new();
    loop {
        for id in node.queue_changed.take() {
            look(&node, &mut waiting, id, None);
        }
        let unread = read_new(&node, &mut waiting, &mut next);
        if let Err(error) = &unread {
            tracing::error!(target: "queue", %error, "the queue cannot be read");
        }
        let now = node.runtime.now();
        let stopping = node.registry.is_stopping();
        let released = core::iter::from_fn(|| waiting.release(now.utc));
        for id in released.collect::<Vec<_>>() {
            look(&node, &mut waiting, id, None);
        }
        // Before slots are given away that were theirs.
        for (hop, count) in node.leaving.take() {
            waiting.scheduler.set_leaving(&hop, count);
        }
        let scheduler = &mut waiting.scheduler;
        if !stopping {
            for id in scheduler.due(now.utc) {
                match is_led_elsewhere(&node, &waiting.scheduler, id) {
                    // It takes its place among those who go there.
                    true => {
                        look(&node, &mut waiting, id, None);
                        waiting.scheduler.finished(id);
                    }
                    false => {
                        let hop = waiting.scheduler.runs_to(id);
                        let fits = |(to, _): &(NextHop, _)| Some(to) == hop;
                        let session = open.iter().position(fits);
                        let session = session.map(|nth| open.swap_remove(nth).1);
                        start(&node, (id, hop.cloned()), report.clone(), session);
                    }
                }
            }
            let scheduler = &mut waiting.scheduler;
            // The end of an attempt tells of the delay itself.
            let notices = scheduler.delay_notices(now.utc).into_iter();
            to_tell.extend(notices.filter(|&id| !scheduler.is_running(id)));
            while telling < TELLING_MAX
                && let Some(id) = to_tell.pop_front()
            {
                let told = Told::new(id, report.clone());
                let task = attempt::tell_of_delay(node.clone(), id, told);
                node.runtime.spawn_session("delay notice", Box::pin(task));
                telling += 1;
            }
        }
        open.drain(..).for_each(|(_, session)| session.leave());
        // What is due and not started any more would make this loop spin until the process ends.
        let again = unread.is_err().then_some(AGAIN_AFTER);
        let wait = waiting.wait(now.utc).into_iter().chain(again).min();
        let wait = wait.filter(|_| !stopping);
        timer.arm(wait.map(|wait| now.mono + wait));
        let ended = poll_fn(|cx| {
            if let Poll::Ready(done) = finished.poll_next(cx) {
                return Poll::Ready(done);
            }
            if let Poll::Ready(number) = watch.poll_changed(cx, seen) {
                seen = number;
                return Poll::Ready(None);
            }
            if node.queue_changed.poll(cx).is_ready() || node.leaving.poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            timer.poll_fired(cx).map(|()| None)
        })
        .await;
        match ended {
            Some(Finished::Told(untold)) => {
                telling -= 1;
                let known = untold.and_then(|id| waiting.scheduler.entry(id));
                if let Some(known) = known {
                    let soonest = node.runtime.now().utc + AGAIN_AFTER;
                    let again = Entry {
                        delay_notice: Some(soonest),
                        ..known
                    };
                    waiting.scheduler.insert(again);
                }
            }
            Some(Finished::Attempt(id, left, session)) => {
                if let Some(session) = session {
                    match waiting.scheduler.runs_to(id) {
                        Some(hop) => open.push((hop.clone(), session)),
                        None => session.leave(),
                    }
                }
                match left {
                    Left::Waits(others) => {
                        // As they are now: an administrator may have changed them since.
                        for id in others.into_iter().chain([id]) {
                            look(&node, &mut waiting, id, None);
                        }
                    }
                    Left::Unknown => {
                        // Nobody knows what became of the attempt: the row does.
                        let soonest = node.runtime.now().utc + AGAIN_AFTER;
                        look(&node, &mut waiting, id, Some(soonest));
                    }
                }
                waiting.scheduler.finished(id);
            }
            None => {}
        }
    }
}

/// Entries that an administrator changed and the queue has not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Changed(Mutex<(BTreeSet<u64>, Option<Waker>)>);

impl Changed {
    /// One was changed, in an operation that is published.
    pub(crate) fn tell(&self, id: u64) {
        let mut changed = self.lock();
        changed.0.insert(id);
        if let Some(waker) = changed.1.take() {
            waker.wake();
        }
    }

    /// Ready when there are some.
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut changed = self.lock();
        if !changed.0.is_empty() {
            return Poll::Ready(());
        }
        changed.1 = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take(&self) -> BTreeSet<u64> {
        core::mem::take(&mut self.lock().0)
    }

    fn lock(&self) -> MutexGuard<'_, (BTreeSet<u64>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an entry as its row says, and not tried before `soonest`.
fn look<R: Runtime>(node: &Inner<R>, waiting: &mut Waiting, id: u64, soonest: Option<Utc>) {
    let published = node.store.published();
    match mox_mailbox::queue_entry(&*published.view, id) {
        Ok(Some(mut entry)) => {
            entry.next_attempt =
                soonest.map_or(entry.next_attempt, |at| entry.next_attempt.max(at));
            insert(node, waiting, &entry);
        }
        Ok(None) => waiting.scheduler.remove(id),
        Err(error) => {
            tracing::error!(target: "queue", id, %error, "an entry of the queue cannot be read");
            if let Some(known) = waiting.scheduler.entry(id) {
                let next_attempt = node.runtime.now().utc + AGAIN_AFTER;
                let again = Entry {
                    next_attempt,
                    ..known
                };
                waiting.scheduler.insert(again);
            }
        }
    }
}

/// Routes have changed since it was known where an entry goes next.
fn is_led_elsewhere<R: Runtime>(node: &Inner<R>, scheduler: &Scheduler, id: u64) -> bool {
    let published = node.store.published();
    let view = &*published.view;
    let Ok(Some(entry)) = mox_mailbox::queue_entry(view, id) else {
        return false;
    };
    let hop = next_hop(node, view, &entry);
    hop.is_ok_and(|(hop, _)| scheduler.runs_to(id).is_some_and(|known| *known != hop))
}

fn start<R: Runtime>(
    node: &Arc<Inner<R>>,
    (id, hop): (u64, Option<NextHop>),
    report: mpsc::Sender<Finished<R>>,
    open: Option<Open<R>>,
) {
    // While an attempt runs the server is not empty: stopping waits for it.
    let seat = Arc::new(node.registry.enter_attempt());
    node.attempts.begin(id);
    let slot = Slot {
        id,
        hop,
        attempts: node.attempts.clone(),
        report,
        left: Left::Unknown,
        open: None,
    };
    if fault!("node attempt not started") {
        drop((slot, seat, open));
        return;
    }
    let task = attempt::run(node.clone(), slot, seat, open);
    node.runtime.spawn_session("delivery", Box::pin(task));
}

/// An attempt's slot: given back when dropped, also by a panic.
struct Slot<R: Runtime> {
    id: u64,
    /// For whom the slot counts.
    hop: Option<NextHop>,
    attempts: Arc<Attempts>,
    report: mpsc::Sender<Finished<R>>,
    left: Left,
    open: Option<Open<R>>,
}

impl<R: Runtime> Drop for Slot<R> {
    fn drop(&mut self) {
        self.attempts.end(self.id);
        // The channel has room for every slot there is.
        let left = core::mem::replace(&mut self.left, Left::Unknown);
        let _ = self
            .report
            .try_send(Finished::Attempt(self.id, left, self.open.take()));
    }
}

/// The place of a notice of a delay among those that are written at once: given back when dropped. Who was not told by then is told
/// later.
struct Told<R: Runtime> {
    id: u64,
    is_settled: bool,
    report: mpsc::Sender<Finished<R>>,
}

impl<R: Runtime> Told<R> {
    fn new(id: u64, report: mpsc::Sender<Finished<R>>) -> Self {
        Self {
            id,
            is_settled: false,
            report,
        }
    }

    /// The sender knows, or need not know now.
    fn settle(&mut self) {
        self.is_settled = true;
    }
}

impl<R: Runtime> Drop for Told<R> {
    fn drop(&mut self) {
        // A sender of its own always has room for one.
        let untold = (!self.is_settled).then_some(self.id);
        let _ = self.report.try_send(Finished::Told(untold));
    }
}

/// Inserts the entries that came into the queue since the last time, up to what cannot be read.
fn read_new<R: Runtime>(
    node: &Inner<R>,
    waiting: &mut Waiting,
    next: &mut u64,
) -> Result<(), ReadError> {
    let published = node.store.published();
    loop {
        let page = mox_mailbox::queue(&*published.view, *next, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        page.iter().for_each(|e| insert(node, waiting, e));
        *next = last.id + 1;
    }
}

fn insert<R: Runtime>(node: &Inner<R>, waiting: &mut Waiting, entry: &QueueEntry) {
    let scheduler = &mut waiting.scheduler;
    if entry.hold {
        return scheduler.remove(entry.id);
    }
    let later = entry.release.filter(|at| *at > node.runtime.now().utc);
    if let Some(at) = later {
        waiting.released.insert((at, entry.id));
        return scheduler.remove(entry.id);
    }
    let published = node.store.published();
    let (hop, owner) = next_hop(node, &*published.view, entry).unwrap_or_else(|error| {
        tracing::error!(target: "queue", id = entry.id, %error, "what an entry needs to be led elsewhere cannot be read");
        Default::default()
    });
    scheduler.insert(Entry {
        id: entry.id,
        owner,
        hop,
        next_attempt: entry.next_attempt,
        delay_notice: node.config.plan.delay_notice_at(&times(entry)),
        retry: entry.attempts_made > 0,
    });
}

/// An entry's own time.
pub(crate) fn times(entry: &QueueEntry) -> Times {
    Times {
        // A message that its sender held back is as old as its release.
        queued: (entry.release).map_or(entry.created, |at| at.max(entry.created)),
        attempts: entry.attempts_made,
        delay_notified: entry.delay_told,
    }
}
