//! The one writer: runs ops in groups, makes each group durable, publishes it, answers.

use futures_channel::oneshot;
use mox_machine::{fault, mutant};
use mox_mailbox::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, BodyId, Reads, Space, VALUE_MAX};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::body::file_of;
use crate::kv::Kv;
use crate::mark::{Mark, RowMark};
use crate::store::{Published, Shared, StoreError};
use crate::watch::Raised;

/// Ops in one group at most: all of them wait for its one sync.
pub const GROUP_MAX: usize = 256;

/// Runs the ops of a store, in order, one at a time.
///
/// ```ignore
/// while let Some(group) = committer.collect().await {
///     committer = runtime.blocking(Pool::Commit, Box::new(move || { committer.turn(group); committer })).await;
/// }
/// ```
/// Dropping it ends the store.
pub struct Committer {
    shared: Arc<Shared>,
    kv: Box<dyn Kv>,
    mark: RowMark,
    ending: Ending,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

/// Ops that are run together.
pub struct Group(Vec<Box<dyn Job>>);

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.0.len()).finish()
    }
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, kv: Box<dyn Kv>, mark: RowMark) -> Self {
        let ending = Ending {
            shared: Arc::clone(&shared),
            orderly: false,
        };
        Self {
            shared,
            kv,
            mark,
            ending,
        }
    }

    /// Waits until there are ops and takes up to [`GROUP_MAX`]; `None` when the store is closed and all are done, or
    /// when it has failed. Nothing is lost when the future is dropped.
    pub async fn collect(&mut self) -> Option<Group> {
        let jobs = poll_fn(|cx| self.shared.queue.poll_take(cx, GROUP_MAX)).await?;
        Some(Group(jobs))
    }

    /// Runs a group, and what was queued meanwhile as long as there is room in it; makes it durable, publishes it,
    /// answers all. Blocks.
    pub fn turn(&mut self, group: Group) {
        let mut done = Done::default();
        let outcome = self.try_turn(group, &mut done);
        let verdict = match &outcome {
            Ok(()) => Verdict::Published,
            Err(_) => Verdict::Dead,
        };
        if let Err(why) = &outcome {
            self.shared.fail(why);
            done.jobs.extend(self.shared.queue.take(usize::MAX));
        }
        for job in done.jobs {
            job.answer(verdict);
        }
        if outcome.is_ok() {
            self.remove_bodies(&done.unlink);
        }
    }

    /// Everything up to the publication. All jobs are in `done` afterwards.
    fn try_turn(&mut self, group: Group, done: &mut Done) -> Result<(), String> {
        if self.shared.failed().is_some() {
            done.jobs = group.0;
            return Err("failed before".to_owned());
        }
        self.shared.look_at_space();
        let mut jobs = group.0;
        if fault!("store dies before apply") {
            done.jobs = jobs;
            return Err("a fault before anything was applied".to_owned());
        }
        while !jobs.is_empty() {
            for mut job in jobs {
                if done.failed.is_none()
                    && let Err(e) = self.apply(&mut *job, done)
                {
                    done.failed = Some(format!("a commit failed: {e}"));
                }
                done.jobs.push(job);
            }
            let most = match fault!("store small group") {
                true => 1,
                false => GROUP_MAX,
            };
            let room = most.saturating_sub(done.jobs.len());
            jobs = self.shared.queue.take(room);
        }
        if let Some(why) = done.failed.take() {
            return Err(why);
        }
        if mutant!(AnsweredBeforeSync) {
            std::mem::take(&mut done.jobs)
                .into_iter()
                .for_each(|job| job.answer(Verdict::Published));
        }
        // Announced before they are seen to have no reference: whoever looks at files now leaves them to us.
        self.shared.in_flight.add(&done.unlink);
        if !done.wrote {
            return Ok(());
        }
        let number = self.mark.mark.number + 1;
        let mark = RowMark {
            mark: Mark {
                number,
                ..self.mark.mark
            },
            bodies: if done.wrote_bodies {
                number
            } else {
                self.mark.bodies
            },
        };
        self.kv
            .commit(&mark.batch(done.wrote_bodies))
            .map_err(|e| format!("a commit failed: {e}"))?;
        if mutant!(MarkAheadOfSync) {
            let _ = mark.mark.write_both(&*self.shared.disk);
        }
        if mutant!(PublishedBeforeSync) {
            let view = self.kv.snapshot();
            *self.shared.published.lock() = Arc::new(Published { number, view });
        }
        if fault!("store dies before sync") {
            return Err("a fault before the sync".to_owned());
        }
        let synced = match mutant!(RowsNotSynced) {
            true => Ok(()),
            false => self.kv.sync(),
        };
        if !mutant!(SyncErrorIgnored) {
            synced.map_err(|e| format!("a sync failed: {e}"))?;
        }
        if fault!("store dies before publish") {
            return Err("a fault before the publication".to_owned());
        }
        self.mark = mark;
        let published = Arc::new(Published {
            number,
            view: self.kv.snapshot(),
        });
        let previous = std::mem::replace(&mut *self.shared.published.lock(), published);
        drop(previous);
        let raised = std::mem::take(&mut done.raised);
        self.shared.watchers.raise(raised.into_topics(number));
        if fault!("store dies before answer") {
            return Err("a fault before the answers".to_owned());
        }
        Ok(())
    }

    fn apply(&mut self, job: &mut dyn Job, done: &mut Done) -> io::Result<()> {
        let Some(batch) = job.run(self.kv.reads()) else {
            return Ok(());
        };
        if mutant!(UnlinkedBeforeCommit) {
            for id in &batch.unlink {
                let _ = self.shared.disk.unlink(&file_of(*id));
            }
        }
        if !fits(&batch) {
            job.refuse(Refusal::TooBig);
            return Ok(());
        }
        let stores_body =
            |(space, _, value): &(Space, _, Option<_>)| *space == Space::Bodies && value.is_some();
        if !self.shared.has_room_for_bodies() && batch.writes.iter().any(stores_body) {
            job.refuse(Refusal::NoRoom);
            return Ok(());
        }
        if batch.writes.is_empty() && batch.touched.is_empty() {
            done.unlink.extend(batch.unlink);
            return Ok(());
        }
        self.kv.commit(&batch)?;
        done.wrote = true;
        done.wrote_bodies |= batch.writes.iter().any(|(s, ..)| *s == Space::Bodies);
        done.raised.add(&batch.touched, self.mark.mark.number + 1);
        done.unlink.extend(batch.unlink);
        Ok(())
    }

    /// Unlinks files whose last reference a published commit removed (S2), and abandoned ones. What cannot be
    /// unlinked now is left to the sweeper.
    fn remove_bodies(&self, unlink: &[BodyId]) {
        let released = std::mem::take(&mut *self.shared.released.lock());
        if unlink.is_empty() && released.is_empty() {
            return;
        }
        let all: Vec<BodyId> = unlink.iter().chain(&released).copied().collect();
        if self.shared.defer_unlink(&all) {
            return;
        }
        let view = Arc::clone(&self.shared.published.lock().view);
        for id in &all {
            let removed = match (self.shared.options.referenced)(&*view, *id) {
                Ok(true) => Ok(()),
                Ok(false) => self.shared.disk.unlink(&file_of(*id)),
                Err(e) => Err(io::Error::other(e)),
            };
            // What was never made, or unlinked before, is gone as it should be.
            if removed.is_err_and(|e| e.kind() != io::ErrorKind::NotFound) {
                self.shared.tidiness.spoil(self.shared.boot);
            }
        }
        self.shared.in_flight.remove(all.iter());
    }

    /// Ends the store in order: what is queued gets no answer but [`StoreError::Dead`], bodies that are still coming in
    /// are removed; the rows are left in the form that opens fastest, and a file says that the stop was clean. Blocks.
    ///
    /// # Errors
    /// When something could not be written: the next start will treat this stop as a crash.
    pub fn close(self) -> io::Result<()> {
        self.shared.queue.close();
        drop(self.shared.queue.take(usize::MAX));
        if let Some(why) = self.shared.failed() {
            return Err(io::Error::other(why.to_string()));
        }
        // No op can name a body that none names yet.
        let unfinished = self.shared.in_flight.close();
        self.remove_bodies(&unfinished);
        if self.shared.leases.held() {
            self.shared.tidiness.spoil(self.shared.boot);
        }
        let Self {
            shared,
            kv,
            mark,
            mut ending,
        } = self;
        ending.orderly = true;
        kv.close()?;
        mark.mark.write_both(&*shared.disk)?;
        let tidy = shared.tidiness.left_by() == 0;
        crate::open::write_clean(&*shared.disk, mark.mark, tidy)
    }
}

/// Nobody waits for a committer that is gone.
struct Ending {
    shared: Arc<Shared>,
    orderly: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.orderly {
            self.shared.fail("the committer has ended");
            drop(self.shared.queue.take(usize::MAX));
        }
    }
}

/// What a group did so far.
#[derive(Default)]
struct Done {
    jobs: Vec<Box<dyn Job>>,
    wrote: bool,
    wrote_bodies: bool,
    raised: Raised,
    unlink: Vec<BodyId>,
    failed: Option<String>,
}

fn fits(batch: &Batch) -> bool {
    let value = |v: &Option<bytes::Bytes>| v.as_ref().map_or(0, bytes::Bytes::len);
    let octets: usize = batch
        .writes
        .iter()
        .map(|(_, k, v)| k.len() + value(v))
        .sum();
    batch.writes.len() <= BATCH_ROWS_MAX
        && octets <= BATCH_BYTES_MAX
        && batch.writes.iter().all(|(_, _, v)| value(v) <= VALUE_MAX)
}

/// An op and whoever waits for it.
pub(crate) trait Job: Send {
    /// Runs the op; the writes it asks for.
    fn run(&mut self, reads: &dyn Reads) -> Option<Batch>;
    /// Its writes were not made.
    fn refuse(&mut self, why: Refusal);
    /// Tells the waiter, if it is still there.
    fn answer(self: Box<Self>, verdict: Verdict);
}

/// Why the committer does not make the writes of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooBig,
    NoRoom,
}

/// What became of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Published,
    Dead,
}

/// An op with its result type.
pub(crate) type Op<T, E> = Box<dyn FnOnce(&dyn Reads) -> Result<(Batch, T), E> + Send>;

pub(crate) struct Pending<T, E> {
    op: Option<Op<T, E>>,
    outcome: Result<T, StoreError<E>>,
    waiter: oneshot::Sender<Result<T, StoreError<E>>>,
}

impl<T, E> Pending<T, E> {
    pub(crate) fn new(op: Op<T, E>, waiter: oneshot::Sender<Result<T, StoreError<E>>>) -> Self {
        Self {
            op: Some(op),
            outcome: Err(StoreError::Dead),
            waiter,
        }
    }
}

impl<T: Send, E: Send> Job for Pending<T, E> {
    fn run(&mut self, reads: &dyn Reads) -> Option<Batch> {
        let op = self.op.take()?;
        // A panic here has written nothing and ends nobody else's op.
        let (batch, outcome) = match catch_unwind(AssertUnwindSafe(|| op(reads))) {
            Ok(Ok((batch, answer))) => (Some(batch), Ok(answer)),
            Ok(Err(refusal)) => (None, Err(StoreError::Refused(refusal))),
            Err(_) => (None, Err(StoreError::Panicked)),
        };
        self.outcome = outcome;
        batch
    }

    fn refuse(&mut self, why: Refusal) {
        self.outcome = Err(match why {
            Refusal::TooBig => StoreError::TooBig,
            Refusal::NoRoom => StoreError::NoRoom,
        });
    }

    fn answer(self: Box<Self>, verdict: Verdict) {
        let answer = match verdict {
            Verdict::Published => self.outcome,
            Verdict::Dead => Err(StoreError::Dead),
        };
        // A waiter that is gone does not mind (a write that was queued always finishes).
        let _ = self.waiter.send(answer);
    }
}
