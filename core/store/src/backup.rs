//! Backups of a store that is in use, and making a store of one (S7).
//!
//! A backup is a directory: `rows` has every row of one published state, `body/` the files that its rows name, and
//! `manifest`, written last, says what belongs to it. Without that file it is none.

use bytes::Bytes;
use mox_machine::Utc;
use mox_mailbox::{
    BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, Finding, Progress, ReadError, Reads, Space,
};
use std::fmt;
use std::fs;
use std::io;
use std::ops::ControlFlow;

use crate::Store;
use crate::bodies::check_file;
use crate::body::{SHARDS, body_of, file_of, shard_dir};
use crate::disk::{Disk, read_small, replace};
use crate::kv::Kv;
use crate::mark::RowMark;
use crate::open::{create_dirs, create_schema, write_clean};

/// The form of a backup. An older program refuses a newer one.
pub const BACKUP_FORMAT: u32 = 1;

const MANIFEST: &str = "manifest";
const ROWS: &str = "rows";
/// Octets of a manifest at most.
const MANIFEST_MAX: usize = 4096;
/// Octets copied, written or read at a time.
const PIECE: usize = 1 << 20;
/// Octets before a key in the file of rows: the keyspace, the length of the key, that of the value.
const ROW_HEAD: usize = 7;
/// Entries of the queue read at a time.
const QUEUE_PAGE: usize = 500;
/// Bodies with a fault that one backup names at most.
const FAULTS_MAX: usize = 1_000;

/// What belongs to a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    /// The commit whose state it is.
    pub commit: u64,
    /// The start of the store that made it.
    pub boot: u32,
    /// Rows.
    pub rows: u64,
    /// Octets of the file of rows.
    pub row_octets: u64,
    /// Of that file.
    pub blake3: [u8; 32],
    /// Body files.
    pub bodies: u64,
    /// Octets of all of them.
    pub body_octets: u64,
}

/// What a backup that was made is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// What is in it.
    pub manifest: Manifest,
    /// Bodies that rows name and the store itself does not have as it should; at most 1,000 are named.
    pub faults: Vec<Finding>,
}

/// What a store was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// What belonged to the backup.
    pub manifest: Manifest,
    /// Entries of the queue. Those that were delivered since the backup was made will be delivered again.
    pub queued: u64,
}

/// Why no store was made of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// It has no manifest: making it was cut off, or it is no backup.
    Incomplete,
    /// It was made by a later program; its format.
    Newer(u32),
    /// It is not what its manifest says.
    Damaged(String),
    /// A file could not be read or written.
    Io(String),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str(
                "the backup is incomplete: it has no file `manifest`, which is written last; take another one",
            ),
            Self::Newer(found) => write!(
                f,
                "the backup has format {found}, this program knows {BACKUP_FORMAT}: use a later version of mox"
            ),
            Self::Damaged(what) => write!(f, "the backup is damaged: {what}; take another one"),
            Self::Io(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for RestoreError {}

impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl Store {
    /// Writes a backup of the state that is published now to an empty disk. The store stays in use; body files are kept
    /// until it is done. Body files are linked where both disks allow it, and copied otherwise. Blocks, long.
    ///
    /// # Errors
    /// What a disk or the rows said. What was written then has no manifest.
    pub fn backup(&self, to: &dyn Disk) -> io::Result<BackedUp> {
        // In this order: whatever the state names stays.
        let _lease = self.lease();
        let published = self.published();
        let view = &*published.view;
        to.create_dir("body")?;
        for shard in 0..SHARDS {
            to.create_dir(&shard_dir(shard.to_be_bytes()[1]))?;
        }
        let mut rows = RowsOut::create(to)?;
        for (space, number) in [(Space::Rows, 0), (Space::Bodies, 1)] {
            each_row(view, space, &mut |key, value| rows.put(number, key, &value))?;
        }
        let mut manifest = Manifest {
            commit: published.number,
            boot: self.shared.boot,
            ..rows.finish()?
        };
        let mut faults = Vec::new();
        let mut bodies = Vec::new();
        mox_mailbox::each_body_named(view, &mut |id| bodies.push(id)).map_err(io::Error::other)?;
        let from = &*self.shared.disk;
        for id in bodies {
            // What is a row is among the rows.
            let key = mox_mailbox::body_key(id);
            if view
                .get(Space::Bodies, &key)
                .map_err(io::Error::other)?
                .is_some()
            {
                continue;
            }
            let name = file_of(id);
            if let Err(fault) = check_file(from, id, false)
                && faults.len() < FAULTS_MAX
            {
                faults.push(Finding(format!("{name}: {fault}")));
            }
            match carry(from, to, &name) {
                Ok(octets) => {
                    manifest.bodies += 1;
                    manifest.body_octets += octets;
                }
                // It is among the faults.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        for shard in 0..SHARDS {
            to.sync_dir(&shard_dir(shard.to_be_bytes()[1]))?;
        }
        to.sync_dir("body")?;
        to.sync_dir("")?;
        replace(to, MANIFEST, manifest.encode())?;
        Ok(BackedUp { manifest, faults })
    }
}

/// Makes a store of a backup: `kv` is empty and belongs to the store, `to` has nothing else of one. Every row and body
/// is compared with what the manifest, or its own header, says. The store is complete only when this succeeds: a half
/// one is refused by whoever opens it. Mailboxes get a new UIDVALIDITY: clients may have seen later states. Blocks,
/// long.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(
    from: &dyn Disk,
    mut kv: Box<dyn Kv>,
    to: &dyn Disk,
    now: Utc,
) -> Result<Restored, RestoreError> {
    let manifest = Manifest::read(from)?;
    create_dirs(to)?;
    read_rows(from, &manifest, &mut *kv)?;
    let mark = RowMark::read(kv.reads()).map_err(RestoreError::Damaged)?;
    let mark = mark.unwrap_or_default().mark;
    if (mark.number, mark.boot) != (manifest.commit, manifest.boot) {
        return Err(RestoreError::Damaged(format!(
            "its rows are those of commit {}, not of {}",
            mark.number, manifest.commit
        )));
    }
    let mut next = None;
    loop {
        let renewed = mox_mailbox::renew_validity(kv.reads(), next, now);
        let (batch, progress) = renewed.map_err(|e| RestoreError::Damaged(e.to_string()))?;
        kv.commit(&batch)?;
        match progress {
            Progress::Done => break,
            Progress::More(more) => next = Some(more),
        }
    }
    let queued = queued(kv.reads()).map_err(|e| RestoreError::Damaged(e.to_string()))?;
    let (mut bodies, mut octets) = (0, 0);
    for shard in 0..SHARDS {
        let shard = shard.to_be_bytes()[1];
        for name in from.list(&shard_dir(shard))? {
            let damaged = |what: &dyn fmt::Display| {
                RestoreError::Damaged(format!("{}/{name}: {what}", shard_dir(shard)))
            };
            let id = body_of(shard, &name).ok_or_else(|| damaged(&"it is no body"))?;
            check_file(from, id, true).map_err(|fault| damaged(&fault))?;
            octets += copy_file(from, to, &file_of(id))?;
            bodies += 1;
        }
        to.sync_dir(&shard_dir(shard))?;
    }
    if (bodies, octets) != (manifest.bodies, manifest.body_octets) {
        return Err(RestoreError::Damaged(format!(
            "it has {bodies} body files with {octets} octets, its manifest says {} with {}",
            manifest.bodies, manifest.body_octets
        )));
    }
    kv.close()?;
    mark.create(to)?;
    write_clean(to, mark, true)?;
    create_schema(to)?;
    Ok(Restored { manifest, queued })
}

/// How many entries the queue has.
fn queued(reads: &dyn Reads) -> Result<u64, ReadError> {
    let (mut from, mut entries) = (0, 0);
    loop {
        let page = mox_mailbox::queue(reads, from, QUEUE_PAGE)?;
        entries += page.len() as u64;
        match page.last() {
            Some(last) => from = last.id.saturating_add(1),
            None => return Ok(entries),
        }
    }
}

fn each_row(
    view: &dyn Reads,
    space: Space,
    put: &mut dyn FnMut(&[u8], Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let mut failed = None;
    // No key of ours begins so.
    let beyond = [0xff; 16];
    view.scan(
        space,
        &[],
        &beyond,
        &mut |key, value| match put(key, value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                failed = Some(e);
                ControlFlow::Break(())
            }
        },
    )
    .map_err(io::Error::other)?;
    failed.map_or(Ok(()), Err)
}

/// The file of rows while it is written.
struct RowsOut<'d> {
    to: &'d dyn Disk,
    hasher: blake3::Hasher,
    pending: Vec<u8>,
    written: u64,
    rows: u64,
}

impl<'d> RowsOut<'d> {
    fn create(to: &'d dyn Disk) -> io::Result<Self> {
        to.create(ROWS)?;
        Ok(Self {
            to,
            hasher: blake3::Hasher::new(),
            pending: Vec::with_capacity(PIECE),
            written: 0,
            rows: 0,
        })
    }

    fn put(&mut self, space: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other("a row is too long");
        let (keys, values) = (u16::try_from(key.len()), u32::try_from(value.len()));
        self.pending.push(space);
        self.pending.extend(keys.map_err(too_long)?.to_be_bytes());
        self.pending.extend(values.map_err(too_long)?.to_be_bytes());
        self.pending.extend_from_slice(key);
        self.pending.extend_from_slice(value);
        self.rows += 1;
        if self.pending.len() >= PIECE {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE));
        self.hasher.update(&piece);
        let length = piece.len() as u64;
        self.to.write_at(ROWS, self.written, &[piece.into()])?;
        self.written += length;
        Ok(())
    }

    /// Makes it durable; what the manifest says of it.
    fn finish(mut self) -> io::Result<Manifest> {
        self.write()?;
        self.to.sync(ROWS)?;
        Ok(Manifest {
            commit: 0,
            boot: 0,
            rows: self.rows,
            row_octets: self.written,
            blake3: *self.hasher.finalize().as_bytes(),
            bodies: 0,
            body_octets: 0,
        })
    }
}

/// Puts all rows into an empty store, if they are those of the manifest.
fn read_rows(from: &dyn Disk, manifest: &Manifest, kv: &mut dyn Kv) -> Result<(), RestoreError> {
    let damaged = |what: &str| RestoreError::Damaged(format!("{ROWS}: {what}"));
    if from.length(ROWS)? != manifest.row_octets {
        return Err(damaged("its length is not that of the manifest"));
    }
    let mut hasher = blake3::Hasher::new();
    let mut unread: Vec<u8> = Vec::new();
    let (mut at, mut rows) = (0, 0);
    let (mut batch, mut octets) = (Batch::default(), 0);
    while at < manifest.row_octets {
        let piece = from.read_at(ROWS, at, PIECE)?;
        if piece.is_empty() {
            return Err(damaged("it ends too early"));
        }
        at += piece.len() as u64;
        hasher.update(&piece);
        unread.extend_from_slice(&piece);
        let mut rest = unread.as_slice();
        while let Some(row) = next_row(rest) {
            let (key, value) = (row.key, row.value);
            let space = match row.space {
                0 => Space::Rows,
                1 => Space::Bodies,
                _ => return Err(damaged("a row is of no keyspace")),
            };
            octets += key.len() + value.len();
            let value = Some(Bytes::copy_from_slice(value));
            batch.writes.push((space, key.to_vec(), value));
            rows += 1;
            rest = row.behind;
            if batch.writes.len() >= BATCH_ROWS_MAX || octets >= BATCH_BYTES_MAX / 2 {
                kv.commit(&batch)?;
                (batch, octets) = (Batch::default(), 0);
            }
        }
        unread = rest.to_vec();
    }
    kv.commit(&batch)?;
    if !unread.is_empty() || rows != manifest.rows {
        return Err(damaged("its rows are not as many as the manifest says"));
    }
    if hasher.finalize().as_bytes() != &manifest.blake3 {
        return Err(damaged("its content has changed"));
    }
    kv.sync()?;
    Ok(())
}

/// A row as the file has it, and the octets behind it.
struct RowIn<'o> {
    space: u8,
    key: &'o [u8],
    value: &'o [u8],
    behind: &'o [u8],
}

/// The first row of some octets; `None` when it is not whole.
fn next_row(octets: &[u8]) -> Option<RowIn<'_>> {
    let (head, rest) = octets.split_first_chunk::<ROW_HEAD>()?;
    let [space, k1, k2, v1, v2, v3, v4] = *head;
    let key = usize::from(u16::from_be_bytes([k1, k2]));
    let value = usize::try_from(u32::from_be_bytes([v1, v2, v3, v4])).ok()?;
    let (key, rest) = rest.split_at_checked(key)?;
    let (value, behind) = rest.split_at_checked(value)?;
    Some(RowIn {
        space,
        key,
        value,
        behind,
    })
}

/// Links a file from one disk to another, or copies it; its length.
fn carry(from: &dyn Disk, to: &dyn Disk, name: &str) -> io::Result<u64> {
    if let (Some(from_root), Some(to_root)) = (from.root(), to.root())
        && fs::hard_link(from_root.join(name), to_root.join(name)).is_ok()
    {
        return to.length(name);
    }
    copy_file(from, to, name)
}

/// Copies a file and syncs it; its length.
fn copy_file(from: &dyn Disk, to: &dyn Disk, name: &str) -> io::Result<u64> {
    let length = from.length(name)?;
    to.create(name)?;
    let mut at = 0;
    while at < length {
        let piece = from.read_at(name, at, PIECE)?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let next = at + piece.len() as u64;
        to.write_at(name, at, &[piece])?;
        at = next;
    }
    to.sync(name)?;
    Ok(length)
}

impl Manifest {
    /// Lines of words and numbers; the last is a checksum of all before.
    fn encode(&self) -> Bytes {
        let mut text = format!(
            "mox backup {BACKUP_FORMAT}\ncommit {}\nboot {}\nrows {}\nrow-octets {}\nblake3 {}\nbodies {}\nbody-octets {}\n",
            self.commit,
            self.boot,
            self.rows,
            self.row_octets,
            blake3::Hash::from_bytes(self.blake3).to_hex(),
            self.bodies,
            self.body_octets,
        );
        let sum = blake3::hash(text.as_bytes());
        text.push_str(&format!("checksum {}\n", sum.to_hex()));
        text.into()
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// When there is none, or it is not whole, or of a later program.
    pub fn read(from: &dyn Disk) -> Result<Self, RestoreError> {
        let content = read_small(from, MANIFEST, MANIFEST_MAX)?.ok_or(RestoreError::Incomplete)?;
        let damaged = || RestoreError::Damaged("its manifest is not readable".to_owned());
        let text = std::str::from_utf8(&content).map_err(|_| damaged())?;
        let mut lines = text.lines();
        let mut next = |word: &str| {
            let line = lines.next()?.strip_prefix(word)?;
            line.strip_prefix(' ').map(str::to_owned)
        };
        let format = next("mox backup").ok_or_else(damaged)?;
        let format: u32 = format.parse().map_err(|_| damaged())?;
        if format > BACKUP_FORMAT {
            return Err(RestoreError::Newer(format));
        }
        let mut read = || {
            Some(Self {
                commit: next("commit")?.parse().ok()?,
                boot: next("boot")?.parse().ok()?,
                rows: next("rows")?.parse().ok()?,
                row_octets: next("row-octets")?.parse().ok()?,
                blake3: *blake3::Hash::from_hex(next("blake3")?).ok()?.as_bytes(),
                bodies: next("bodies")?.parse().ok()?,
                body_octets: next("body-octets")?.parse().ok()?,
            })
        };
        let manifest = read().ok_or_else(damaged)?;
        // The checksum is right when writing it again gives the same.
        (manifest.encode() == content)
            .then_some(manifest)
            .ok_or_else(damaged)
    }
}
