//! From root to an ordinary user, once the ports below 1024 are bound.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};

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

/// Gives a file or a whole directory to a user, so that it is readable after [`drop_to`]. Links are given themselves,
/// not what they point to. Only root can.
pub fn give_to(path: &Path, name: &str) -> Result<(), Failure> {
    let user = find(name)?;
    give(path, &user, DEPTH_MAX).map_err(|e| Failure::io("change the owner of", path, &e))
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

fn give(path: &Path, user: &User, depth: usize) -> io::Result<()> {
    lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    let deeper = depth
        .checked_sub(1)
        .ok_or_else(|| io::Error::other("directories too deep"))?;
    for entry in fs::read_dir(path)? {
        give(&entry?.path(), user, deeper)?;
    }
    Ok(())
}
