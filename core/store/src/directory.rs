//! A store in a directory: rows in fjall, bodies beside them.

use mox_mailbox::Finding;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::journal::{check_journals, journals, read_used};
use crate::open::{Stop, check};
use crate::{Committer, Disk, FjallKv, FsDisk, OpenError, Options, Store};

/// Where fjall keeps its files.
const ROWS: &str = "rows";
/// Journals as a crash left them, kept until the store was opened.
const ASIDE: &str = "aside";
const ASIDE_UNFINISHED: &str = "aside.new";
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
        let disk = FsDisk::open(root)?;
        match check(&disk)? {
            Stop::Never => begin(&disk, root)?,
            Stop::Clean(number) => check_journals(&root.join(ROWS), number, false)?,
            Stop::Crash(number) => {
                copy_journals(root)?;
                check_journals(&root.join(ROWS), number, true)?;
            }
        }
        // Made here with mode 0700: what fjall makes anybody may read.
        disk.create_dir(ROWS)?;
        let kv = FjallKv::open(&root.join(ROWS))?;
        let opened = Self::open(Box::new(kv), Arc::new(disk), options)?;
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
pub fn verify_directory(root: &Path, full: bool) -> Result<Vec<Finding>, OpenError> {
    let (store, committer) = Store::open_directory(root, Options::default())?;
    let findings = store.verify(full);
    committer.close()?;
    Ok(findings)
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
    let octets = read_used(from)?;
    let mut to = File::create_new(to)?;
    to.write_all(&octets)?;
    to.set_len(fs::metadata(from)?.len())
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
