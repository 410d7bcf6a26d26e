//! Rows in fjall: one database, two keyspaces.

use bytes::Bytes;
use fjall::{
    Database, Guard, Iter, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    Readable, Slice, Snapshot,
};
use mox_mailbox::{Batch, ReadError, Reads, Space};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::{Kv, OpenError};

/// Blocks of tables and bodies kept in memory at most, in octets; filled as they are read.
const CACHE: u64 = 32 << 20;
/// A memtable is written to a table beyond this, in octets.
const MEMTABLE: u64 = 8 << 20;
/// All journals together, in octets: bounds what is read again after a crash. The least fjall takes.
const JOURNALS: u64 = 64 << 20;
/// Bodies below this stay beside their key, in octets.
const SEPARATE_FROM: u32 = 1_024;
/// One thread writes memtables, the other compacts.
const WORKERS: usize = 2;
/// Open files of tables at most.
const FILES: usize = 256;
/// How often one looks whether a memtable is written.
const LOOK: Duration = Duration::from_millis(1);
/// How often at most: a minute for what takes milliseconds.
const LOOKS_MAX: u32 = 60_000;

/// A [`Kv`] on fjall in a directory of its own.
pub struct FjallKv {
    database: Database,
    spaces: Spaces,
}

impl fmt::Debug for FjallKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallKv").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Spaces {
    rows: Keyspace,
    bodies: Keyspace,
}

impl Spaces {
    const fn of(&self, space: Space) -> &Keyspace {
        match space {
            Space::Rows => &self.rows,
            Space::Bodies => &self.bodies,
        }
    }

    const fn all(&self) -> [&Keyspace; 2] {
        [&self.rows, &self.bodies]
    }
}

impl FjallKv {
    /// Opens or makes the database. Blocks: after a crash, while journals are read again.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when it is open elsewhere, [`OpenError::Damaged`] with fjall's own words.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let damaged = |e: fjall::Error| match e {
            fjall::Error::Locked => OpenError::Locked {
                place: path.display().to_string(),
            },
            fjall::Error::Io(e) if e.kind() != io::ErrorKind::InvalidData => {
                OpenError::Io(format!("{}: {e}", path.display()))
            }
            other => OpenError::Damaged(format!("fjall cannot open it: {other}")),
        };
        let builder = Database::builder(path)
            .cache_size(CACHE)
            .max_journaling_size(JOURNALS)
            .max_cached_files(Some(FILES))
            .worker_threads(WORKERS)
            // Each group is synced by hand; until then the journal may stay in its buffer.
            .manual_journal_persist(true);
        // Some damage to a journal makes fjall panic where it reads it.
        let database = catch_unwind(AssertUnwindSafe(|| builder.open()))
            .map_err(|_| OpenError::Damaged("fjall cannot read its journal".to_owned()))?
            .map_err(damaged)?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE);
        let rows = database.keyspace("rows", small).map_err(damaged)?;
        let separated = || {
            let separate = KvSeparationOptions::default().separation_threshold(SEPARATE_FROM);
            small().with_kv_separation(Some(separate))
        };
        let bodies = database.keyspace("bodies", separated).map_err(damaged)?;
        // fjall does not sync the directory in which it makes keyspaces: without their names all is lost.
        sync_directories(path).map_err(|e| OpenError::Io(format!("{}: {e}", path.display())))?;
        Ok(Self {
            database,
            spaces: Spaces { rows, bodies },
        })
    }

    /// Waits until no memtable is left to be written.
    fn settle(&self) -> io::Result<()> {
        for keyspace in self.spaces.all() {
            let mut looks = 0;
            while keyspace.sealed_memtable_count() > 0 {
                // A worker that failed poisons the database and would never come to an end.
                self.database
                    .persist(PersistMode::Buffer)
                    .map_err(fjall_error)?;
                looks += 1;
                if looks > LOOKS_MAX {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "waits for fjall's own thread, at open and close only"
                )]
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }
}

impl Kv for FjallKv {
    fn reads(&self) -> &dyn Reads {
        &self.spaces
    }

    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        // All items of a fjall batch have one sequence number, so a key must be in it once.
        let mut last: BTreeMap<(Space, &[u8]), &Option<Bytes>> = BTreeMap::new();
        for (space, key, value) in &batch.writes {
            last.insert((*space, key), value);
        }
        let mut writes = self.database.batch();
        for ((space, key), value) in last {
            let keyspace = self.spaces.of(space);
            match value {
                Some(value) => writes.insert(keyspace, key, value.clone()),
                None => writes.remove(keyspace, key),
            }
        }
        writes.commit().map_err(fjall_error)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.database
            .persist(PersistMode::SyncData)
            .map_err(fjall_error)
    }

    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync> {
        Arc::new(View {
            snapshot: self.database.snapshot(),
            spaces: self.spaces.clone(),
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.database
            .persist(PersistMode::SyncAll)
            .map_err(fjall_error)?;
        for keyspace in self.spaces.all() {
            keyspace.rotate_memtable().map_err(fjall_error)?;
        }
        self.settle()
    }

    fn close(mut self: Box<Self>) -> io::Result<()> {
        self.rotate()
    }
}

/// The latest state.
impl Reads for Spaces {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let found = self.of(space).get(key).map_err(read_error)?;
        Ok(found.map(Bytes::from))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        if from >= to {
            return Ok(());
        }
        each(self.of(space).range(from..to), visit)
    }

    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        if from >= to {
            return Ok(());
        }
        each(self.of(space).range(from..to).rev(), visit)
    }
}

/// The state at one moment.
struct View {
    snapshot: Snapshot,
    spaces: Spaces,
}

impl View {
    fn range(&self, space: Space, from: &[u8], to: &[u8]) -> Iter {
        self.snapshot.range(self.spaces.of(space), from..to)
    }
}

impl Reads for View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let found = self.snapshot.get(self.spaces.of(space), key);
        Ok(found.map_err(read_error)?.map(Bytes::from))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        if from >= to {
            return Ok(());
        }
        each(self.range(space, from, to), visit)
    }

    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        if from >= to {
            return Ok(());
        }
        each(self.range(space, from, to).rev(), visit)
    }
}

/// Makes the names of everything below a directory durable.
fn sync_directories(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    File::open(path)?.sync_all()
}

fn each(
    rows: impl Iterator<Item = Guard>,
    visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    for row in rows {
        let (key, value): (Slice, Slice) = row.into_inner().map_err(read_error)?;
        if visit(&key, Bytes::from(value)).is_break() {
            break;
        }
    }
    Ok(())
}

fn read_error(error: fjall::Error) -> ReadError {
    ReadError(error.to_string())
}

fn fjall_error(error: fjall::Error) -> io::Error {
    match error {
        fjall::Error::Io(e) => e,
        other => io::Error::other(other.to_string()),
    }
}
