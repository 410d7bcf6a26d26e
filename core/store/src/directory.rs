//! A store in a directory: rows in fjall, bodies beside them.

use mox_mailbox::Finding;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crate::open::{Stop, check};
use crate::{Committer, Disk, FjallKv, FsDisk, OpenError, Options, Store};

/// Where fjall keeps its files.
const ROWS: &str = "rows";
/// Journals as a crash left them, kept until the store was opened.
const ASIDE: &str = "aside";
const ASIDE_UNFINISHED: &str = "aside.new";

impl Store {
    /// Opens the store in a directory, or makes one there. Blocks.
    ///
    /// After a crash fjall's journals are copied aside first, because fjall cuts a damaged journal off as it reads it;
    /// the copies go away once the store is open, and stay for `moxctl salvage` when it cannot be opened (S8).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_directory(root: &Path, options: Options) -> Result<(Self, Committer), OpenError> {
        let disk = FsDisk::open(root)?;
        if let Stop::Crash(_) = check(&disk)? {
            copy_journals(root)?;
        }
        // Made here with mode 0700: what fjall makes anybody may read.
        disk.create_dir(ROWS)?;
        let kv = FjallKv::open(&root.join(ROWS))?;
        let opened = Self::open(Box::new(kv), Arc::new(disk), options)?;
        remove_dir(&root.join(ASIDE))?;
        Ok(opened)
    }
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
    let found = match fs::read_dir(root.join(ROWS)) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in found {
        let from = entry?.path();
        if from.extension().is_some_and(|e| e == "jnl")
            && let Some(name) = from.file_name()
        {
            copy_sparse(&from, &unfinished.join(name))?;
        }
    }
    fs::rename(unfinished, aside)
}

/// Copies a file that may be mostly holes: fjall makes its journals 64 MiB long before it writes them.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create_new(to)?);
    let mut piece = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let count = from.read(&mut piece)?;
        let read = piece.get(..count).unwrap_or_default();
        if read.is_empty() {
            return to.set_len(length);
        }
        if read.iter().any(|octet| *octet != 0) {
            to.seek(SeekFrom::Start(length))?;
            to.write_all(read)?;
        }
        length += count as u64;
    }
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
