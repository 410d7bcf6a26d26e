//! Files below one directory, as far as the store needs them.

use bytes::Bytes;
use std::io;
use std::path::Path;

/// The files of a store.
///
/// Names are relative to the store's root, their parts divided by `/`; a part is 1 to 64 of `A-Z a-z 0-9 . _ -` and
/// does not begin with a dot. The root itself is the empty name. Other names are `InvalidInput`.
///
/// What [`write_at`](Self::write_at) wrote is durable after [`sync`](Self::sync) of that file; that a name exists,
/// was changed or removed is durable after [`sync_dir`](Self::sync_dir) of its directory.
pub trait Disk: Send + Sync {
    /// Makes a directory; one that exists is fine. Its parent must exist.
    fn create_dir(&self, name: &str) -> io::Result<()>;
    /// Makes an empty file; `AlreadyExists` if there is one.
    fn create(&self, name: &str) -> io::Result<()>;
    /// Writes the parts one after the other from an offset on.
    fn write_at(&self, name: &str, offset: u64, parts: &[Bytes]) -> io::Result<()>;
    /// Makes the content of a file durable.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Gives a file another name besides its own; `AlreadyExists` if that is taken.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// Renames a file, replacing what had the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// The names in a directory, sorted, without its own.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Up to `length` octets from an offset on; fewer only where the file ends.
    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Bytes>;
    /// Octets in a file.
    fn length(&self, name: &str) -> io::Result<u64>;
    /// How full the file system is.
    fn capacity(&self) -> io::Result<Capacity>;
    /// Where the files are, for those that are in a file system: they may be linked from one disk to another.
    fn root(&self) -> Option<&Path> {
        None
    }
}

/// How full a file system is, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// What may still be written.
    pub free: u64,
    /// Of all.
    pub total: u64,
}

/// Refuses names that are not as [`Disk`] says.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    let good = |part: &str| {
        (1..=64).contains(&part.len())
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if name.is_empty() || name.split('/').all(good) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("not a name for a file of the store: {name:?}"),
        ))
    }
}

/// The directory part of a name.
pub(crate) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Writes a whole small file so that a crash leaves the old content, the new, or none of that name.
pub(crate) fn replace(disk: &dyn Disk, name: &str, content: Bytes) -> io::Result<()> {
    let fresh = format!("{name}.new");
    match disk.unlink(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    disk.create(&fresh)?;
    disk.write_at(&fresh, 0, &[content])?;
    disk.sync(&fresh)?;
    disk.rename(&fresh, name)?;
    disk.sync_dir(parent(name))
}

/// The content of a small file, at most `max` octets of it; `None` if there is none.
pub(crate) fn read_small(disk: &dyn Disk, name: &str, max: usize) -> io::Result<Option<Bytes>> {
    match disk.read_at(name, 0, max) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
