//! A store in a directory: rows in fjall, bodies beside them.

use mox_machine::Utc;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::{check_journals, journals, read_used};
use crate::open::{Stop, check};
use crate::{
    Committer, Disk, FjallKv, FsDisk, Kv, Manifest, OpenError, Options, RestoreError, Restored,
    Store, Take, Verified, restore,
};

/// Where fjall keeps its files.
const ROWS: &str = "rows";
/// Journals as a crash left them, kept until the store was opened.
const ASIDE: &str = "aside";
const ASIDE_UNFINISHED: &str = "aside.new";
/// Octets of a file copied at a time.
const COPIED_AT_ONCE: usize = 1 << 20;
/// There until a new store was opened for the first time.
const BEGUN: &str = "begun";

impl Store {
    /// Opens the store in a directory, or makes one there. Blocks.
    ///
    /// After a crash fjall's journals are copied aside first, then looked at, because fjall cuts a damaged journal off
    /// as it reads it; the copies go away once the store is open, and stay for `moxctl salvage` when it cannot be
    /// opened (S8).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_directory(root: &Path, options: Options) -> Result<(Self, Committer), OpenError> {
        Claimed::take(root)?.open(options)
    }
}

/// The directory of a store that nobody else can open: what a server has before it says that it is one. Dropped, it is
/// free again.
#[derive(Debug)]
pub struct Claimed {
    disk: FsDisk,
    root: PathBuf,
}

impl Claimed {
    /// Takes a directory, making it when it is missing (its parent must exist). Does not wait for another process.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it.
    pub fn take(root: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            disk: FsDisk::open(root)?,
            root: root.to_owned(),
        })
    }

    /// Opens the store in it; see [`Store::open_directory`]. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(self, options: Options) -> Result<(Store, Committer), OpenError> {
        let Self { disk, root } = self;
        let root = root.as_path();
        match check(&disk)? {
            Stop::Never => begin(&disk, root)?,
            Stop::Clean { number, .. } => check_journals(&root.join(ROWS), number, false)?,
            Stop::Crash(number) => {
                copy_journals(root)?;
                check_journals(&root.join(ROWS), number, true)?;
            }
        }
        // Made here with mode 0700: what fjall makes anybody may read.
        disk.create_dir(ROWS)?;
        let kv = FjallKv::open(&root.join(ROWS))?;
        let opened = Store::open(Box::new(kv), Arc::new(disk), options)?;
        remove_dir(&root.join(ASIDE))?;
        match fs::remove_file(root.join(BEGUN)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(opened),
        }
    }
}

/// Says that a store is being made. What a crash left of an earlier attempt goes: nobody was promised anything by it,
/// and fjall does not open it.
fn begin(disk: &FsDisk, root: &Path) -> io::Result<()> {
    if root.join(BEGUN).exists() {
        return remove_dir(&root.join(ROWS));
    }
    // Rows that nobody has begun here have lost the files around them.
    if root.join(ROWS).exists() {
        return Ok(());
    }
    disk.create(BEGUN)?;
    disk.sync_dir("")
}

/// Opens the store in a directory that no server uses, checks all of it (see [`Store::verify`]), and closes it. Blocks.
///
/// # Errors
/// When it cannot be opened; this is a finding too.
pub fn verify_directory(root: &Path, full: bool) -> Result<Verified, OpenError> {
    let (store, committer) = Store::open_directory(root, Options::default())?;
    let verified = store.verify(full);
    committer.close()?;
    Ok(verified)
}

/// Makes a store in a directory, which must be empty or not be there yet, of a backup. Blocks, long.
///
/// # Errors
/// See [`RestoreError`]; what was made then is no store, and is to be removed before the next try.
pub fn restore_directory(backup: &Path, root: &Path, now: Utc) -> Result<Restored, RestoreError> {
    // Before anything is made.
    let from = FsDisk::reading(backup);
    Manifest::read(&from)?;
    let place = |e: &dyn std::fmt::Display| RestoreError::Io(format!("{}: {e}", root.display()));
    let there = match fs::read_dir(root) {
        Ok(mut found) => found.next().is_some(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(place(&e)),
    };
    if there {
        return Err(place(&"it is not empty; name a new directory"));
    }
    let to = FsDisk::open(root).map_err(|e| RestoreError::Io(e.to_string()))?;
    to.create_dir(ROWS)?;
    let kv = FjallKv::open(&root.join(ROWS)).map_err(|e| RestoreError::Io(e.to_string()))?;
    restore(&from, Box::new(kv), &to, now)
}

/// A damaged store in a directory, opened for salvage: its rows are opened as a copy, nothing of it is changed.
#[derive(Debug)]
pub struct Salvage {
    disk: FsDisk,
    kv: Option<FjallKv>,
    /// The lock of the store, so that no server starts meanwhile.
    _lock: Option<File>,
    /// Why rows cannot be read, or not all of them.
    pub notes: Vec<String>,
}

impl Salvage {
    /// Opens the store in `root`; `work` is a directory that is not there yet, for the copy. Blocks, long.
    ///
    /// Journals that an earlier start put aside are nearer to the crash than those in place, and are tried first.
    ///
    /// # Errors
    /// When a server has the store open, or the copy cannot be made.
    pub fn open(root: &Path, work: &Path) -> Result<Self, OpenError> {
        let lock = match File::open(root.join("lock")) {
            Ok(lock) => Some(lock),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        if let Some(lock) = &lock {
            match lock.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    let place = root.display().to_string();
                    return Err(OpenError::Locked { place });
                }
                Err(fs::TryLockError::Error(e)) => return Err(e.into()),
            }
        }
        let mut salvage = Self {
            disk: FsDisk::reading(root),
            kv: None,
            _lock: lock,
            notes: Vec::new(),
        };
        let journals = [root.join(ASIDE), root.join(ROWS)];
        for (at, journals) in journals.iter().enumerate() {
            if !journals.is_dir() {
                continue;
            }
            let copy = work.join(format!("{at}"));
            let unread = &mut salvage.notes;
            copy_rows(&root.join(ROWS), &copy, at > 0, unread)?;
            if at == 0 {
                copy_jnl(journals, &copy, unread)?;
            }
            match FjallKv::open(&copy) {
                Ok(kv) => {
                    salvage.kv = Some(kv);
                    break;
                }
                Err(e) => salvage.notes.push(format!(
                    "rows cannot be opened with the journals of {}: {e}",
                    journals.display()
                )),
            }
        }
        if salvage.kv.is_none() {
            let lost = "without rows only bodies above 16 KiB are found, as files";
            salvage.notes.push(lost.to_owned());
        }
        Ok(salvage)
    }

    /// Gives every message there is; see [`salvage`](crate::salvage).
    ///
    /// # Errors
    /// Those of `take`.
    pub fn run(&self, take: Take<'_>) -> io::Result<Vec<String>> {
        let view = self.kv.as_ref().map(Kv::reads);
        crate::salvage(view, &self.disk, take)
    }
}

/// Copies the directory of rows with what is below it, without its journals unless `journals`. What cannot be read is
/// left out and noted: fjall may do without it, and if not, the next journals or the bodies alone may do.
fn copy_rows(from: &Path, to: &Path, journals: bool, notes: &mut Vec<String>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for path in readable(from, notes) {
        let Some(to) = path.file_name().map(|name| to.join(name)) else {
            continue;
        };
        if path.is_dir() {
            copy_rows(&path, &to, true, notes)?;
        } else if path.extension().is_none_or(|e| e != "jnl") {
            copy_readable(&path, &to, notes)?;
        } else if journals {
            copy_journal(&path, &to, notes)?;
        }
    }
    Ok(())
}

/// Copies the journals of a directory.
fn copy_jnl(from: &Path, to: &Path, notes: &mut Vec<String>) -> io::Result<()> {
    for path in readable(from, notes) {
        if path.extension().is_some_and(|e| e == "jnl")
            && let Some(name) = path.file_name()
        {
            copy_journal(&path, &to.join(name), notes)?;
        }
    }
    Ok(())
}

/// Copies a file, unless it cannot be read: then it is noted, and nothing of it is there.
fn copy_readable(from: &Path, to: &Path, notes: &mut Vec<String>) -> io::Result<()> {
    let mut unreadable = |e: io::Error| notes.push(format!("{}: {e}", from.display()));
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(e) => {
            unreadable(e);
            return Ok(());
        }
    };
    let mut copy = File::create_new(to)?;
    let mut piece = vec![0; COPIED_AT_ONCE];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => copy.write_all(piece.get(..length).unwrap_or_default())?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                unreadable(e);
                return fs::remove_file(to);
            }
        }
    }
}

/// The same for a journal, which may be mostly a hole.
fn copy_journal(from: &Path, to: &Path, notes: &mut Vec<String>) -> io::Result<()> {
    match read_used(from) {
        Ok(octets) => put_used(&octets, from, to),
        Err(e) => {
            notes.push(format!("{}: {e}", from.display()));
            Ok(())
        }
    }
}

/// What is in a directory, as far as it can be read.
fn readable(dir: &Path, notes: &mut Vec<String>) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    entries.unwrap_or_else(|e| {
        notes.push(format!("{}: {e}", dir.display()));
        Vec::new()
    })
}

/// Copies journals, unless an earlier start that failed has done so: what it found was nearer to the crash.
fn copy_journals(root: &Path) -> io::Result<()> {
    let (aside, unfinished) = (root.join(ASIDE), root.join(ASIDE_UNFINISHED));
    if aside.exists() {
        return Ok(());
    }
    remove_dir(&unfinished)?;
    fs::create_dir(&unfinished)?;
    for (_, from) in journals(&root.join(ROWS))? {
        if let Some(name) = from.file_name() {
            copy_used(&from, &unfinished.join(name))?;
        }
    }
    fs::rename(unfinished, aside)
}

/// Copies a file that may be mostly a hole.
fn copy_used(from: &Path, to: &Path) -> io::Result<()> {
    put_used(&read_used(from)?, from, to)
}

/// Writes what was read of such a file, and its hole.
fn put_used(octets: &[u8], from: &Path, to: &Path) -> io::Result<()> {
    let mut to = File::create_new(to)?;
    to.write_all(octets)?;
    to.set_len(fs::metadata(from)?.len())
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
