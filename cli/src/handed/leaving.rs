//! How a program leaves a message.
//!
//! The folder belongs to the user of the server, who must not gain anything by what root does in it: it is opened once, no link is
//! followed, and everything is done below that handle.
//!
//! A spool for other users is there already. They may not list it, so that the handle can do nothing but find what is below it.

use std::fs::{DirBuilder, File, metadata};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};

use mox_machine::Seed;
use mox_store::Options;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::{ENVELOPE_MAX, FOLDER_MAX, Folder, MAIL, NEW, name, number_of, sync};

/// A message that is being written. Dropped before its end, it is removed.
#[derive(Debug)]
pub(crate) struct Leaving {
    folder: OwnedFd,
    is_spool: bool,
    name: String,
    file: File,
    size: u64,
    is_done: bool,
}

impl Folder {
    /// Makes and opens it; also one that somebody made and then had no time to give to the owner of the data directory.
    fn open(&self) -> io::Result<OwnedFd> {
        if self.is_spool {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            return Ok(open(&self.path, flags, Mode::empty())?);
        }
        let made = DirBuilder::new().mode(0o700).create(&self.path);
        if let Err(error) = made
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let above = self.path.parent().ok_or(ErrorKind::NotFound)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = open(&self.path, flags, Mode::empty())?;
        if Uid::effective().is_root() {
            let (owner, found) = (metadata(above)?, fstat(&folder)?.st_uid);
            if found != owner.uid() {
                if found != 0 {
                    let why = "it belongs to somebody else than the data directory";
                    return Err(io::Error::new(ErrorKind::PermissionDenied, why));
                }
                let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
                fchown(&folder, Some(user), Some(group))?;
            }
        }
        // Whoever made it may not have come to that.
        sync(above)?;
        Ok(folder)
    }

    /// Begins to leave a message, under a number that follows from the seed.
    pub(crate) fn begin(&self, seed: &Seed) -> io::Result<Leaving> {
        let folder = self.open()?;
        self.check_room(&folder)?;
        let name = name(&number_of(seed));
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = openat(&folder, format!("{name}.{NEW}").as_str(), flags, mode)?;
        let leaving = Leaving {
            folder,
            is_spool: self.is_spool,
            name,
            file: file.into(),
            size: 0,
            is_done: false,
        };
        if self.is_spool {
            // For the server, whatever the mask of the user says. Nobody else knows its name.
            fchmod(&leaving.file, Mode::from_bits_truncate(0o644))?;
        } else if Uid::effective().is_root() {
            // So that the server can read it, whoever that is.
            let owner = fstat(&leaving.folder)?;
            let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
            fchown(&leaving.file, Some(user), Some(group))?;
        }
        Ok(leaving)
    }

    /// Whoever fills the disk with mail stops the server, which keeps the same reserve.
    fn check_room(&self, folder: impl AsFd) -> io::Result<()> {
        let disk = fstatvfs(folder)?;
        let octets = |blocks: u64| u128::from(blocks) * u128::from(disk.fragment_size());
        let options = Options::default();
        let share = octets(disk.blocks()) * u128::from(options.low_percent) / 100;
        if octets(disk.blocks_available()) < share.max(u128::from(options.low_octets)) {
            let why = "not enough disk space";
            return Err(io::Error::new(ErrorKind::StorageFull, why));
        }
        if !self.is_spool && self.path.read_dir()?.take(FOLDER_MAX).count() == FOLDER_MAX {
            let why = format!("there are {FOLDER_MAX} files already; does the server run?");
            return Err(io::Error::new(ErrorKind::QuotaExceeded, why));
        }
        Ok(())
    }
}

impl Leaving {
    /// The next octets, of which there may be so many in all.
    pub(crate) fn write(&mut self, octets: &[u8], max: u64) -> io::Result<()> {
        self.size += octets.len() as u64;
        if self.size > max.saturating_add(ENVELOPE_MAX) {
            let why = format!("it has more than {max} octets");
            return Err(io::Error::new(ErrorKind::FileTooLarge, why));
        }
        self.file.write_all(octets)
    }

    /// The message is complete: once this is done it stays, whatever happens.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let (new, mail) = (self.called(NEW), self.called(MAIL));
        renameat(&self.folder, new.as_str(), &self.folder, mail.as_str())?;
        self.is_done = true;
        let synced = match self.is_spool {
            true => nix::unistd::syncfs(&self.file),
            false => nix::unistd::fsync(&self.folder),
        };
        if synced.is_err() {
            // Whoever is told that it failed sends it once more.
            let _ = unlinkat(&self.folder, mail.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        Ok(synced?)
    }

    /// The number that the message goes by.
    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn called(&self, end: &str) -> String {
        format!("{}.{end}", self.name)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if !self.is_done {
            let new = self.called(NEW);
            let _ = unlinkat(&self.folder, new.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
