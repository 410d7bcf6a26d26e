//! From root to an ordinary user, once the ports below 1024 are bound.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{Gid, Uid, User, fchown, fchownat, initgroups, setgid, setuid};

use crate::failure::Failure;

/// Depth of directories that are given to a user at most.
const DEPTH_MAX: usize = 16;

/// True when the process runs as root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Becomes a user, with its groups, for good; nothing happens when the process is not root. True when it was.
pub fn drop_to(name: &str) -> Result<bool, Failure> {
    if !is_root() {
        return Ok(false);
    }
    let user = find(name)?;
    if user.uid.is_root() {
        return Err(Failure::Failed(format!(
            "the server does not run as root, and user {name:?} is root; name another one as user in mox.ron"
        )));
    }
    let failed = |what: &str, e: nix::Error| {
        Failure::Failed(format!("cannot become user {name:?}: {what}: {e}"))
    };
    let c_name = std::ffi::CString::new(name)
        .map_err(|_| Failure::Failed(format!("{name:?} is no user name")))?;
    initgroups(&c_name, user.gid).map_err(|e| failed("initgroups", e))?;
    setgid(user.gid).map_err(|e| failed("setgid", e))?;
    setuid(user.uid).map_err(|e| failed("setuid", e))?;
    if setuid(Uid::from_raw(0)).is_ok() || setgid(Gid::from_raw(0)).is_ok() {
        return Err(Failure::Failed(format!(
            "user {name:?} can become root again"
        )));
    }
    Ok(true)
}

/// Gives a file or a whole directory to a user, so that it is readable after [`drop_to`]. Only root can.
///
/// The directory may already belong to that user, who must not gain anything by what is put into it meanwhile: no link
/// is followed, also not one that takes the place of a directory while this looks at it, and a file that has another
/// name elsewhere stays whose it is.
pub fn give_to(path: &Path, name: &str) -> Result<(), Failure> {
    let user = find(name)?;
    let failed = |e: nix::Error| Failure::io("change the owner of", path, &e.into());
    let here = open(AT_FDCWD, Path::new(".")).map_err(failed)?;
    give(&here, path, &user, DEPTH_MAX).map_err(failed)
}

/// True when the system has this user.
pub fn exists(name: &str) -> bool {
    matches!(User::from_name(name), Ok(Some(_)))
}

fn find(name: &str) -> Result<User, Failure> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(Failure::Failed(format!(
            "there is no user {name:?}; make it with: useradd --system --no-create-home {name}, or name another one as user in mox.ron"
        ))),
        Err(e) => Err(Failure::Failed(format!(
            "user {name:?} cannot be looked up: {e}"
        ))),
    }
}

/// Opens a directory that is no link to one.
fn open(parent: impl AsFd, path: &Path) -> nix::Result<Dir> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Dir::openat(parent, path, flags, Mode::empty())
}

fn give(parent: &Dir, path: &Path, user: &User, depth: usize) -> nix::Result<()> {
    let mut directory = match open(parent, path) {
        Ok(directory) => directory,
        Err(Errno::ENOTDIR | Errno::ELOOP) => return give_one(parent, path, user),
        Err(e) => return Err(e),
    };
    let stat = fstat(&directory)?;
    if !is_of(&stat, user) {
        fchown(&directory, Some(user.uid), Some(user.gid))?;
    }
    let deeper = depth.checked_sub(1).ok_or(Errno::ELOOP)?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    for name in names {
        match give(&directory, Path::new(&name), user, deeper) {
            // Whoever it belonged to has removed it meanwhile.
            Err(Errno::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Gives what is no directory.
fn give_one(parent: &Dir, path: &Path, user: &User) -> nix::Result<()> {
    let stat = fstatat(parent, path, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if is_of(&stat, user) || stat.st_nlink > 1 {
        return Ok(());
    }
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(parent, path, Some(user.uid), Some(user.gid), flags)
}

fn is_of(stat: &FileStat, user: &User) -> bool {
    (stat.st_uid, stat.st_gid) == (user.uid.as_raw(), user.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A user of every system, who owns nothing here.
    const NAME: &str = "nobody";

    #[test]
    fn a_directory_is_given_with_all_in_it_and_nothing_that_links_lead_to() {
        if !is_root() || !exists(NAME) {
            return;
        }
        let root = std::env::temp_dir().join(format!("mox-give-{}", std::process::id()));
        let (inside, outside) = (root.join("inside"), root.join("outside"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(inside.join("a/b/file"), b"x").unwrap();
        fs::write(outside.join("secret"), b"x").unwrap();
        fs::write(outside.join("linked"), b"x").unwrap();
        symlink(&outside, inside.join("a/link")).unwrap();
        fs::hard_link(outside.join("linked"), inside.join("hard")).unwrap();
        give_to(&inside, NAME).unwrap();
        let user = find(NAME).unwrap().uid.as_raw();
        let owner = |path: &str| fs::symlink_metadata(root.join(path)).unwrap().uid();
        for path in [
            "inside",
            "inside/a",
            "inside/a/b",
            "inside/a/b/file",
            "inside/a/link",
        ] {
            assert_eq!(owner(path), user, "{path}");
        }
        for path in ["outside", "outside/secret", "outside/linked"] {
            assert_eq!(owner(path), 0, "{path}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
