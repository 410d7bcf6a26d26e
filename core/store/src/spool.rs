//! A body while it comes in: small ones stay in memory, others become a file that is durable before any row names it.

use bytes::{Bytes, BytesMut};
use mox_machine::{Utc, mutant};
use mox_mailbox::{AccountId, BodyHeader, BodyId, BodyRef, INLINE_BODY_MAX, MailboxId, NewBody};
use mox_uids::Uid;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::body::{file_of, shard_dir, shard_of};
use crate::store::Shared;

/// Octets of a file that are written at a time.
pub const SPOOL_WRITE: usize = 128 * 1024;

/// What a body's header says of whom it came for; see [`BodyHeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyFacts {
    /// Of the first recipient, or the sender of a queued message.
    pub account: AccountId,
    /// Where it is put first; 0 when unknown.
    pub mailbox: MailboxId,
    /// Its UID there; 0 when unknown.
    pub uid: Uid,
    /// Its internal date.
    pub date: Utc,
}

/// A body that is coming in. Dropping it forgets it, and its file.
pub struct Spool {
    held: Held,
    hasher: blake3::Hasher,
    pending: Vec<Bytes>,
    pending_octets: usize,
    length: u64,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("id", &self.held.id)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Spool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let step = u64::from(!mutant!(BodyNumberTwice));
        let counter = shared.bodies.fetch_add(step, Ordering::Relaxed);
        let id = BodyId {
            boot: shared.boot,
            counter,
        };
        Self {
            held: Held {
                shared,
                id,
                file: false,
            },
            hasher: blake3::Hasher::new(),
            pending: Vec::new(),
            pending_octets: 0,
            length: 0,
        }
    }

    /// Adds octets. True when [`write`](Self::write) is due: at least [`SPOOL_WRITE`] octets wait.
    pub fn push(&mut self, octets: Bytes) -> bool {
        if !octets.is_empty() {
            self.hasher.update(&octets);
            self.length += octets.len() as u64;
            self.pending_octets += octets.len();
            self.pending.push(octets);
        }
        self.pending_octets >= SPOOL_WRITE
    }

    /// Octets so far.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Whether it is small enough to be a row; [`finish`](Self::finish) does not block then.
    pub const fn is_inline(&self) -> bool {
        self.length <= INLINE_BODY_MAX as u64
    }

    /// Reads octets of what came so far; what lies beyond is left out. Blocks unless [`is_inline`](Self::is_inline).
    ///
    /// # Errors
    /// What the disk said. The body is none the worse.
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let (start, end) = (range.start.min(self.length), range.end.min(self.length));
        let written = self.length - self.pending_octets as u64;
        let too_large = |_| io::ErrorKind::FileTooLarge;
        let mut octets = BytesMut::new();
        if start < end.min(written) {
            let length = usize::try_from(end.min(written) - start).map_err(too_large)?;
            let offset = BodyHeader::LEN as u64 + start;
            let disk = &self.held.shared.disk;
            let read = disk.read_at(&file_of(self.held.id), offset, length)?;
            if read.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            octets.extend_from_slice(&read);
        }
        let mut at = written;
        for part in &self.pending {
            let behind = at + part.len() as u64;
            let (from, to) = (start.clamp(at, behind) - at, end.clamp(at, behind) - at);
            if from < to {
                let from = usize::try_from(from).map_err(too_large)?;
                let to = usize::try_from(to).map_err(too_large)?;
                octets.extend_from_slice(part.get(from..to).unwrap_or_default());
            }
            at = behind;
        }
        Ok(octets.freeze())
    }

    /// Writes what waits to the file, unless the body may still be a row. Blocks.
    ///
    /// # Errors
    /// What the disk said, or `StorageFull` before it comes to that. The body is lost then.
    pub fn write(&mut self) -> io::Result<()> {
        if self.is_inline() {
            return Ok(());
        }
        let name = file_of(self.held.id);
        let shared = &self.held.shared;
        // Before the disk says so itself: rows would be the next to meet it, and they may not.
        shared.look_at_space();
        if !shared.has_room_for_bodies() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !self.held.file {
            self.held.file = true;
            let create = || shared.disk.create(&name);
            shared.in_flight.begin(self.held.id, create)?;
        }
        let written = self.length - self.pending_octets as u64;
        let offset = BodyHeader::LEN as u64 + written;
        shared.disk.write_at(&name, offset, &self.pending)?;
        self.pending.clear();
        self.pending_octets = 0;
        Ok(())
    }

    /// Completes the body: when it is a file, its header is written, the file synced, then its directory (S1). Blocks
    /// unless [`is_inline`](Self::is_inline).
    ///
    /// # Errors
    /// What the disk said. The body is lost then.
    pub fn finish(mut self, facts: BodyFacts) -> io::Result<Spooled> {
        let id = self.held.id;
        if mutant!(BodyNumberTwice) {
            let bodies = &self.held.shared.bodies;
            bodies.fetch_max(id.counter + 1, Ordering::Relaxed);
        }
        let blake3 = *self.hasher.finalize().as_bytes();
        let length = self.length;
        let inline = if self.is_inline() {
            Some(joined(std::mem::take(&mut self.pending)))
        } else {
            self.write()?;
            let header = BodyHeader {
                body: BodyRef { id, length, blake3 },
                account: facts.account,
                mailbox: facts.mailbox,
                uid: facts.uid,
                date: facts.date,
            };
            let name = file_of(id);
            let header = Bytes::copy_from_slice(&header.encode());
            let disk = &self.held.shared.disk;
            disk.write_at(&name, 0, &[header])?;
            if !mutant!(BodyNotSynced) {
                disk.sync(&name)?;
            }
            if !mutant!(DirectoryNotSynced) {
                disk.sync_dir(&shard_dir(shard_of(id)))?;
            }
            None
        };
        Ok(Spooled {
            _held: self.held,
            body: NewBody {
                id,
                length,
                blake3,
                inline,
            },
        })
    }
}

/// A complete body that no row refers to yet.
///
/// The op that makes the first row that does must own it (`move`, or through an `Arc`): when all owners are gone the
/// committer, after the group of that op, removes the file unless some row refers to it.
pub struct Spooled {
    _held: Held,
    body: NewBody,
}

impl Spooled {
    /// The body, for the op.
    pub const fn body(&self) -> &NewBody {
        &self.body
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spooled")
            .field("id", &self.body.id)
            .field("length", &self.body.length)
            .finish_non_exhaustive()
    }
}

/// Keeps sweeper and committer away from a file that no row refers to yet.
struct Held {
    shared: Arc<Shared>,
    id: BodyId,
    file: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.file {
            self.shared.released.lock().push(self.id);
        }
    }
}

/// One buffer of the parts; without copying when there is but one.
fn joined(parts: Vec<Bytes>) -> Bytes {
    if let [one] = parts.as_slice() {
        return one.clone();
    }
    let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        whole.extend_from_slice(&part);
    }
    whole.freeze()
}
