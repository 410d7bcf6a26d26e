//! The handle everybody but the committer holds: run an op, read what is published, watch, spool a body.

use bytes::Bytes;
use futures_channel::oneshot;
use mox_machine::fault;
use mox_mailbox::{Batch, BodyId, BodyRef, ReadError, Reads, Stop};
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use crate::commit::{Job, Op, Pending};
use crate::disk::Disk;
use crate::in_flight::InFlight;
use crate::lease::Leases;
use crate::leftovers::Tidiness;
use crate::lock::Lock;
use crate::mark::Mark;
use crate::queue::{Pushed, Queue, Ticket};
use crate::watch::{Topic, Watch, Watchers};
use crate::{Spool, body};

/// Ops that may wait for the committer; more wait in their senders (R10).
pub const QUEUE_MAX: usize = 1_024;

/// What a store needs to know besides its two places.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether any row refers to a body: it must not be removed then.
    pub referenced: Referenced,
    /// Below this share of the file system's size the disk counts as nearly full, in percent.
    pub low_percent: u8,
    /// Below this many free octets the disk counts as nearly full.
    ///
    /// Below half of what either of the two demands, bodies are refused that are still coming in: the rest is for rows,
    /// which must go on so that mail can be deleted. A store whose rows find no room has failed.
    pub low_octets: u64,
}

impl Default for Options {
    /// As the mailbox engine keeps references; nearly full below 5 % or 1 GiB.
    fn default() -> Self {
        Self {
            referenced: mox_mailbox::is_referenced,
            low_percent: 5,
            low_octets: 1 << 30,
        }
    }
}

/// Whether any row of a view refers to a body.
pub type Referenced = fn(&dyn Reads, BodyId) -> Result<bool, ReadError>;

/// What everybody reads: the state after the last commit that is durable (S4).
pub struct Published {
    /// The number of that commit; it grows by one with each group of ops.
    pub number: u64,
    /// The rows.
    pub view: Arc<dyn Reads + Send + Sync>,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Why an op was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError<E = Stop> {
    /// The op itself refused; nothing was written.
    Refused(E),
    /// The op asked for more than one batch may hold; nothing was written.
    TooBig,
    /// The op would have stored a body while there is hardly any room; nothing was written.
    NoRoom,
    /// The op panicked; nothing was written.
    Panicked,
    /// The store has failed (S10) or is closed. Whether the op will be found after the next start is not known.
    Dead,
}

impl<E: fmt::Display> fmt::Display for StoreError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(e) => e.fmt(f),
            Self::TooBig => f.write_str("too much for one operation of the store"),
            Self::NoRoom => f.write_str("not enough disk space"),
            Self::Panicked => f.write_str("an operation of the store panicked"),
            Self::Dead => f.write_str("the store has stopped"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for StoreError<E> {}

/// How much room the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskSpace {
    /// Enough for new mail.
    Enough,
    /// New mail is to be refused for now (452); reading and deleting go on.
    Low,
}

/// A store. Cloning gives another handle.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("published", &self.published().number)
            .field("failed", &self.failed())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Has the committer run an op: a function of the latest state that answers writes and a result.
    ///
    /// The result comes once the writes are durable and published. An op that refuses writes nothing; what it refused
    /// for is durable too when the refusal comes. Once the op is queued it is done even if the future is dropped; an
    /// op that was never polled is not queued.
    ///
    /// The op runs on the committer's thread, one after the other: it reads rows and computes, nothing else.
    pub fn run<F, T, E>(&self, op: F) -> Run<T, E>
    where
        F: FnOnce(&dyn Reads) -> Result<(Batch, T), E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (waiter, answer) = oneshot::channel();
        let op: Op<T, E> = Box::new(op);
        Run {
            shared: Arc::clone(&self.shared),
            job: Some(Box::new(Pending::new(op, waiter))),
            ticket: None,
            answer,
        }
    }

    /// The last published state. Hold it only as long as one question needs it: it keeps replaced rows alive.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.shared.published.lock())
    }

    /// Watches a topic from now on. `newest` reads the topic's number from what is published: it is called after the
    /// watch began, so nothing is missed between; whoever has just read it may answer 0 only if a commit between that
    /// reading and this call does not matter.
    pub fn watch(&self, topic: Topic, newest: impl FnOnce(&Published) -> u64) -> Watch {
        let watch = self.shared.watchers.watch(topic);
        let known = newest(&self.published());
        self.shared.watchers.raise([(topic, known)]);
        watch
    }

    /// Why the store has failed, if it has. It stays so until the process ends.
    pub fn failed(&self) -> Option<Arc<str>> {
        self.shared.failed()
    }

    /// A place for a new body.
    pub fn spool(&self) -> Spool {
        Spool::new(Arc::clone(&self.shared))
    }

    /// Reads octets of a body, counted without its header; what lies beyond its end is left out. Blocks when the body
    /// is a file ([`BodyRef::is_inline`] is false).
    ///
    /// # Errors
    /// `NotFound` when there is no such body, `InvalidData` when it is not the body it should be, `UnexpectedEof`
    /// when it is shorter than it should be.
    pub fn read_body(
        &self,
        view: &dyn Reads,
        body: &BodyRef,
        range: Range<u64>,
    ) -> io::Result<Bytes> {
        body::read_body(&*self.shared.disk, view, body, range)
    }

    /// Whether there is room for new mail, as of the last group of ops or [`upkeep`](Self::upkeep).
    pub fn space(&self) -> DiskSpace {
        if self.shared.room.load(Ordering::Relaxed) != ROOM_ENOUGH {
            DiskSpace::Low
        } else {
            DiskSpace::Enough
        }
    }

    /// What is to be done now and then, off the critical path: the high-water mark written when commits were published
    /// since (S8: within 100 ms of a publication), abandoned bodies handed to the committer, the room on the disk
    /// looked at (every 10 s even when nothing was published). Blocks for one sync.
    ///
    /// # Errors
    /// When the mark cannot be written; the store has failed then (S10).
    pub fn upkeep(&self) -> io::Result<()> {
        self.shared.look_at_space();
        if !self.shared.released.lock().is_empty() {
            // Abandoned bodies are judged after all ops that may name them: by the committer, in turn. When the queue
            // is full a turn comes anyway.
            let nothing: Op<(), ()> = Box::new(|_| Err(()));
            let (waiter, _) = oneshot::channel();
            self.shared
                .queue
                .try_push(Box::new(Pending::new(nothing, waiter)));
        }
        self.shared.write_mark()
    }

    /// Lets no more ops in; the committer finishes those it has.
    pub fn close(&self) {
        self.shared.queue.close();
    }
}

/// The future of [`Store::run`].
pub struct Run<T, E> {
    shared: Arc<Shared>,
    job: Option<Box<dyn Job>>,
    ticket: Ticket,
    answer: oneshot::Receiver<Result<T, StoreError<E>>>,
}

impl<T, E> fmt::Debug for Run<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("queued", &self.job.is_none())
            .finish_non_exhaustive()
    }
}

impl<T, E> Future for Run<T, E> {
    type Output = Result<T, StoreError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        if me.job.is_some() {
            if fault!("store queue full") {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match me.shared.queue.poll_push(cx, &mut me.ticket, &mut me.job) {
                Poll::Ready(Pushed::Yes) => {}
                Poll::Ready(Pushed::Closed) => return Poll::Ready(Err(StoreError::Dead)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut me.answer)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(StoreError::Dead)))
    }
}

impl<T, E> Drop for Run<T, E> {
    fn drop(&mut self) {
        self.shared.queue.leave(self.ticket.take());
    }
}

/// Room for new mail.
const ROOM_ENOUGH: u8 = 0;
/// Room for the mail that is coming in already.
const ROOM_LOW: u8 = 1;
/// Room for rows only.
const ROOM_NONE: u8 = 2;

/// What handles, spools and the committer share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) queue: Queue<Box<dyn Job>>,
    pub(crate) published: Lock<Arc<Published>>,
    pub(crate) watchers: Arc<Watchers>,
    failed: Lock<Option<Arc<str>>>,
    /// The start of the store, and bodies begun since.
    pub(crate) boot: u32,
    pub(crate) bodies: AtomicU64,
    /// Body files that are under way.
    pub(crate) in_flight: InFlight,
    /// Whether there may be body files that nobody deals with.
    pub(crate) tidiness: Tidiness,
    /// Who needs all of them to stay.
    pub(crate) leases: Leases,
    /// Those of them that nobody holds any more: referred to by now, or abandoned.
    pub(crate) released: Lock<Vec<BodyId>>,
    /// One of `ROOM_ENOUGH`, `ROOM_LOW` and `ROOM_NONE`.
    room: AtomicU8,
    /// The commit in the high-water mark, and how often it was written.
    marked: Lock<(u64, u64)>,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        mark: Mark,
        left_by: u32,
        view: Arc<dyn Reads + Send + Sync>,
    ) -> Self {
        Self {
            disk,
            options,
            queue: Queue::new(QUEUE_MAX),
            published: Lock::new(Arc::new(Published {
                number: mark.number,
                view,
            })),
            watchers: Arc::default(),
            failed: Lock::default(),
            boot: mark.boot,
            bodies: AtomicU64::new(0),
            in_flight: InFlight::default(),
            tidiness: Tidiness::new(left_by),
            leases: Leases::default(),
            released: Lock::default(),
            room: AtomicU8::new(ROOM_ENOUGH),
            marked: Lock::new((mark.number, 0)),
        }
    }

    /// Ends the store (S10): the first reason stays, nothing gets in, nothing queued is done.
    pub(crate) fn fail(&self, why: &str) {
        self.failed.lock().get_or_insert_with(|| why.into());
        self.queue.close();
    }

    pub(crate) fn failed(&self) -> Option<Arc<str>> {
        self.failed.lock().clone()
    }

    pub(crate) fn look_at_space(&self) {
        // A file system that cannot tell is not full.
        let Ok(capacity) = self.disk.capacity() else {
            return;
        };
        let share = u128::from(capacity.total) * u128::from(self.options.low_percent) / 100;
        let wanted = share.max(u128::from(self.options.low_octets));
        let room = match u128::from(capacity.free) {
            free if free < wanted / 2 => ROOM_NONE,
            free if free < wanted => ROOM_LOW,
            _ if fault!("store space low") => ROOM_LOW,
            _ => ROOM_ENOUGH,
        };
        self.room.store(room, Ordering::Relaxed);
    }

    /// Whether a body that is coming in may still be stored, as of the last look.
    pub(crate) fn has_room_for_bodies(&self) -> bool {
        self.room.load(Ordering::Relaxed) != ROOM_NONE
    }

    /// Writes the high-water mark if it is behind.
    pub(crate) fn write_mark(&self) -> io::Result<()> {
        let mut marked = self.marked.lock();
        let number = self.published.lock().number;
        if marked.0 == number || self.failed().is_some() {
            return Ok(());
        }
        let mark = Mark {
            boot: self.boot,
            number,
        };
        mark.write(&*self.disk, marked.1).inspect_err(|e| {
            self.fail(&format!("the high-water mark cannot be written: {e}"));
        })?;
        *marked = (number, marked.1 + 1);
        Ok(())
    }
}
