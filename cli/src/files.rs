//! Files that are replaced whole: a crash leaves the old one or the new one, never a part.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Writes a file that must not exist yet, and makes it durable. What was written of it is removed on failure.
pub fn create_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file
        .set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_dir(path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Replaces a file: write beside it, sync, rename, sync the directory. Mode and, as far as allowed, owner stay.
/// A link is followed, so that what it points to is replaced.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let old = fs::metadata(&path)?;
    let beside = beside(&path);
    let _ = fs::remove_file(&beside);
    let mode = old.mode() & 0o7777;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    // Only root may give files away; whoever may write the directory is trusted with the rest.
    let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
    let replaced = file
        .set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, &path));
    match replaced {
        Ok(()) => sync_dir(&path),
        Err(e) => {
            let _ = fs::remove_file(&beside);
            Err(e)
        }
    }
}

/// [`replace`]s a file that is there, else makes it, readable and writable as the umask says.
pub(crate) fn replace_or_create(path: &Path, content: &[u8]) -> io::Result<()> {
    // A device or a pipe is written to as it is.
    match fs::metadata(path) {
        Ok(known) if known.is_file() => replace(path, content),
        _ => fs::write(path, content),
    }
}

/// Reads a whole file, `-` being stdin, that must not have more octets than `max`.
pub(crate) fn read_at_most(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let mut octets = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(max + 1).read_to_end(&mut octets),
        false => File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut octets)),
    };
    read.map_err(|e| Failure::io("read", path, &e))?;
    if octets.len() as u64 > max {
        return Err(Failure::Failed(format!(
            "{} has more than {max} octets, more than is read here",
            path.display()
        )));
    }
    Ok(octets)
}

/// Makes the entry of a file in its directory durable.
fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    File::open(dir)?.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("mox-files-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside() {
        let dir = dir("replace");
        let path = dir.join("a");
        create_new(&path, b"old", 0o640).unwrap();
        std::os::unix::fs::symlink("a", dir.join("link")).unwrap();
        replace(&dir.join("link"), b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(dir.join("link")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        assert_eq!(
            create_new(&path, b"x", 0o600).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(
            replace(&dir.join("b"), b"x").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
