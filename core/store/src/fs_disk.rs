//! Files of a real directory.

use bytes::Bytes;
use nix::sys::statvfs::statvfs;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::OpenError;
use crate::disk::{Capacity, Disk, check_name};

/// A [`Disk`] in a directory that nobody else uses: as long as it lives, it holds the lock on it.
///
/// Directories are made with mode 0700, files with 0600.
#[derive(Debug)]
pub struct FsDisk {
    root: PathBuf,
    _lock: Option<File>,
}

/// The file that is locked; it says nothing.
const LOCK_FILE: &str = "lock";

impl FsDisk {
    /// Takes a directory, making it when it is missing (its parent must exist).
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let of_root = |e: io::Error| OpenError::Io(format!("{}: {e}", root.display()));
        match new_dir(root) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(of_root(e)),
            // A directory that nobody had before is not durable before its parent is.
            Ok(()) => sync_parent(root).map_err(of_root)?,
            Err(_) => {}
        }
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join(LOCK_FILE))
            .map_err(of_root)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    place: root.display().to_string(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(of_root(e)),
        }
        Ok(Self {
            root: root.to_owned(),
            _lock: Some(lock),
        })
    }

    /// A directory to be read only: it is not locked, and nothing is made in it.
    pub fn reading(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            _lock: None,
        }
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(name))
    }

    fn writable(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path(name)?)
    }
}

impl Disk for FsDisk {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        let path = self.path(name)?;
        match new_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let path = self.path(name)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(())
    }

    fn write_at(&self, name: &str, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        let mut file = self.writable(name)?;
        if let [one] = parts {
            return file.write_all_at(one, offset);
        }
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        let mut slices: Vec<io::IoSlice<'_>> =
            parts.iter().map(|part| io::IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) if rest.iter().all(|slice| slice.is_empty()) => break,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => io::IoSlice::advance_slices(&mut rest, written),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        // A descriptor opened after a failed write-back still hears of it (once), so syncing by name loses no error.
        self.writable(name)?.sync_data()
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir)?)?.sync_all()
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.path(from)?, self.path(to)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(dir)?)? {
            // What is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = File::open(self.path(name)?)?;
        let size = file.metadata()?.len();
        let wanted = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut content = vec![0; length.min(wanted)];
        match file.read_exact_at(&mut content, offset) {
            Ok(()) => Ok(content.into()),
            Err(e) => Err(e),
        }
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name)?)?.len())
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn capacity(&self) -> io::Result<Capacity> {
        let found = statvfs(&self.root)?;
        let unit = found.fragment_size();
        Ok(Capacity {
            free: found.blocks_available().saturating_mul(unit),
            total: found.blocks().saturating_mul(unit),
        })
    }
}

fn new_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
