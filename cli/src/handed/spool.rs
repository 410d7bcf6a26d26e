//! The spool for users other than root and that of the server: they may leave messages there and see nothing of others.
//!
//! Who may is the system's to say: the folder belongs to the user of the server and to a group, whose members may make files in it
//! and not list it (mode 1730). They cannot read the configuration: what they need of it is in a file there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use mox_address::Domain;
use mox_server::config::Static;
use nix::unistd::Uid;

use super::{NEW, REFUSED, random_name};
use crate::failure::Failure;

/// The mode that the folder has.
const MODE: u32 = 0o1730;
/// What the file is called that says what they need.
const ABOUT: &str = "about";
/// Octets of it at most.
const ABOUT_MAX: u64 = 4_096;

/// What who leaves a message has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    /// Where addresses without a domain are.
    pub(crate) host: Domain,
    /// Octets of a message at most.
    pub(crate) size: u64,
}

impl About {
    /// What the configuration says of it.
    pub(crate) fn of(fixed: &Static) -> Self {
        let sizes = fixed.listeners.values().map(|l| l.max_message_size);
        Self {
            host: fixed.hostname.clone(),
            // The largest message that any listener takes.
            size: sizes
                .max()
                .unwrap_or(mox_server::config::MESSAGE_SIZE_DEFAULT),
        }
    }

    /// What the server wrote there.
    pub(crate) fn read(spool: &Path) -> io::Result<Self> {
        let mut text = String::new();
        let file = File::open(spool.join(ABOUT))?;
        file.take(ABOUT_MAX).read_to_string(&mut text)?;
        let mut lines = text.lines();
        let host = lines.next().and_then(|host| Domain::parse(host, true).ok());
        let size = lines.next().and_then(|size| size.parse().ok());
        match (host, size) {
            (Some(host), Some(size)) => Ok(Self { host, size }),
            _ => Err(io::Error::new(ErrorKind::InvalidData, "it is damaged")),
        }
    }

    /// Writes it into the spool, once that is seen to be one. Blocks.
    ///
    /// # Errors
    /// When it is none, with what makes one.
    pub(crate) fn write(&self, spool: &Path) -> Result<(), Failure> {
        let remedy = |why: String| {
            Failure::Failed(format!(
                "sendmail_spool {path} {why}; make it with: install -d -o USER -g GROUP -m 1730 {path}, USER being that of the server, \
                 and GROUP that of those who may send mail from there",
                path = spool.display()
            ))
        };
        let found = fs::symlink_metadata(spool);
        let found = found.map_err(|e| remedy(format!("cannot be looked at: {e}")))?;
        let mode = found.mode() & 0o7777;
        if !found.is_dir() {
            return Err(remedy("is no directory".into()));
        }
        if found.uid() != Uid::effective().as_raw() {
            let why = format!("belongs to user {}, and not to the server's", found.uid());
            return Err(remedy(why));
        }
        if mode != MODE {
            return Err(remedy(format!("has mode {mode:o}, and not {MODE:o}")));
        }
        let place = spool.join(ABOUT);
        let text = format!("{}\n{}\n", self.host, self.size);
        // Whoever may make files there cannot know the name. What a sudden end leaves goes like a message that nobody finished.
        let name = random_name().map_err(|e| Failure::io("write", &place, &e))?;
        let new = spool.join(format!("{name}.{NEW}"));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&new)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            rename(&new, &place)
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&new);
            Failure::io("write", &place, &e)
        })
    }
}

/// Gives a file its name, where a folder that somebody made gets another one.
fn rename(new: &Path, place: &Path) -> io::Result<()> {
    let Err(error) = fs::rename(new, place) else {
        return Ok(());
    };
    if !fs::symlink_metadata(place).is_ok_and(|found| found.is_dir()) {
        return Err(error);
    }
    let aside = place.with_file_name(format!("{}.{REFUSED}", random_name()?));
    tracing::warn!(target: "handed", path = %place.display(), aside = %aside.display(), "a folder was in the way");
    fs::rename(place, aside)?;
    fs::rename(new, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_need_is_in_a_spool_of_the_right_mode_only() {
        let spool = std::env::temp_dir().join(format!("mox-spool-{}", std::process::id()));
        fs::create_dir_all(&spool).unwrap();
        let about = About {
            host: Domain::parse("mx.example.org", false).unwrap(),
            size: 1_000,
        };
        let mode = |mode| fs::set_permissions(&spool, fs::Permissions::from_mode(mode)).unwrap();
        for wrong in [0o755, 0o1777, 0o730, 0o1770] {
            mode(wrong);
            let why = about.write(&spool).unwrap_err().to_string();
            let expected = format!("has mode {wrong:o}, and not 1730; make it with: install -d ");
            assert!(why.contains(&expected), "{why}");
        }
        mode(MODE);
        assert!(About::read(&spool).is_err());
        assert_eq!(about.write(&spool), Ok(()));
        assert_eq!(about.write(&spool), Ok(()));
        assert_eq!(About::read(&spool).unwrap(), about);
        let file = fs::metadata(spool.join(ABOUT)).unwrap();
        assert_eq!(file.mode() & 0o777, 0o644);
        // Whatever is in the way.
        fs::remove_file(spool.join(ABOUT)).unwrap();
        for folder in [ABOUT, "about.new"] {
            fs::create_dir(spool.join(folder)).unwrap();
            fs::write(spool.join(folder).join("x"), "").unwrap();
        }
        assert_eq!(about.write(&spool), Ok(()));
        assert_eq!(About::read(&spool).unwrap(), about);
        let count = fs::read_dir(&spool).unwrap().count();
        assert_eq!(count, 3, "about, and both folders");
        fs::remove_dir_all(&spool).unwrap();
        let why = about.write(&spool).unwrap_err().to_string();
        assert!(why.contains("cannot be looked at"), "{why}");
    }
}
