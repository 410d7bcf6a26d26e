//! The folder in which programs of this machine leave messages for the server: written whole, taken once.
//!
//! A message is a file that appears under its name when it is complete and synced, and goes once the store has it. Its number goes
//! into the store in the same operation, so that a file that is still there behind it is not taken again.

mod leaving;
mod look;
mod spool;

pub(crate) use spool::About;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Take};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mox_machine::Seed;
use mox_node::{Node, NotTaken};
use mox_runtime_smol::SmolRuntime;
use mox_server::Envelope;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Uid;

use crate::failure::Failure;
use crate::password::os_seed;
use look::{FILES_MAX, complete};

/// The folder in the data directory.
const FOLDER: &str = "handed";
/// How often the server looks into it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a message that could not be taken is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// After this the folder is looked at anew, so that whoever left much keeps others waiting no longer.
const ROUND_MAX: Duration = Duration::from_secs(10);
/// Files in the folder of the data directory at most: with as many no further message is left there. Of a spool it is only told.
const FOLDER_MAX: usize = 20_000;
/// Octets of an envelope at most: of 1,000 recipients.
const ENVELOPE_MAX: u64 = 512 * 1024;
/// Octets read at a time.
const PIECE: u64 = 128 * 1024;

/// Ends of file names: being written, complete, and not to be taken.
const NEW: &str = "new";
const MAIL: &str = "mail";
const REFUSED: &str = "refused";

/// Where messages are left.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    /// It is for other users than root and that of the server.
    is_spool: bool,
}

impl Folder {
    /// That of a data directory.
    pub(crate) fn below(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(FOLDER),
            is_spool: false,
        }
    }

    /// One for other users.
    pub(crate) const fn spool(path: PathBuf) -> Self {
        Self {
            path,
            is_spool: true,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Takes what is left in folders, as long as the server runs.
pub(crate) struct Taking {
    folders: Vec<Folder>,
    node: Node<SmolRuntime>,
    /// Octets of a message at most.
    size: u64,
    /// When to try again what could not be taken.
    later: HashMap<[u8; 16], Instant>,
    /// Files may also be in a folder that cannot be used now: what was taken of it is remembered until it can.
    lacks_some: bool,
}

impl Taking {
    pub(crate) fn new(
        (folders, lacks_some): (Vec<Folder>, bool),
        node: Node<SmolRuntime>,
        size: u64,
    ) -> Self {
        Self {
            folders,
            node,
            size,
            lacks_some,
            later: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        self.clear_up().await;
        let (mut told, mut full) = (HashSet::new(), HashSet::new());
        loop {
            let now = Instant::now();
            self.later.retain(|_, at| now < *at);
            for folder in self.folders.clone() {
                let waiting: HashSet<[u8; 16]> = self.later.keys().copied().collect();
                let here = folder.clone();
                let found = smol::unblock(move || complete(&here, &waiting)).await;
                match found {
                    Ok(found) => {
                        told.remove(&folder.path);
                        if found.count <= FOLDER_MAX {
                            full.remove(&folder.path);
                        } else if full.insert(folder.path.clone()) {
                            tracing::warn!(target: "handed", folder = %folder.path.display(), count = found.count, "programs leave more than is taken");
                        }
                        let (mut taken, begun) = (Vec::new(), Instant::now());
                        for file in found.files {
                            if begun.elapsed() > ROUND_MAX {
                                break;
                            }
                            if self.take(&folder, file).await {
                                taken.push(file);
                            }
                        }
                        self.forget(taken).await;
                    }
                    Err(error) => {
                        if told.insert(folder.path.clone()) {
                            tracing::error!(target: "handed", folder = %folder.path.display(), %error, "what programs left cannot be looked at");
                        }
                    }
                }
            }
            smol::Timer::after(LOOK_EVERY).await;
        }
    }

    /// After a sudden end: files whose messages the store has are removed.
    async fn clear_up(&self) {
        match self.node.taken_files(FILES_MAX) {
            Ok(taken) => {
                let (folders, lacks_some) = (self.folders.clone(), self.lacks_some);
                let files = taken;
                let is_gone = move |file: &[u8; 16]| {
                    let all: Vec<Removed> = folders.iter().map(|f| remove(f, file)).collect();
                    let was_there = all.contains(&Removed::Now);
                    !all.contains(&Removed::Not) && (was_there || !lacks_some)
                };
                let gone = move || -> Vec<[u8; 16]> {
                    let gone = files.into_iter().filter(is_gone);
                    gone.collect()
                };
                let gone = smol::unblock(gone).await;
                self.forget(gone).await;
            }
            Err(error) => tracing::error!(target: "handed", error, "what was taken cannot be read"),
        }
    }

    /// Whether the message of a file is in the store, and the file gone.
    async fn take(&mut self, folder: &Folder, file: [u8; 16]) -> bool {
        if self.later.contains_key(&file) {
            return false;
        }
        let name = name(&file);
        match self.hand_in(folder.clone(), file).await {
            // Whoever left it took it back.
            Ok(false) => false,
            Ok(true) => {
                let folder = folder.clone();
                let removed = smol::unblock(move || remove(&folder, &file)).await;
                let is_gone = removed != Removed::Not;
                if !is_gone {
                    // Its number stays in the store as long as it does.
                    self.later.insert(file, Instant::now() + AGAIN_AFTER);
                }
                is_gone
            }
            Err(NotTaken::Later(why)) => {
                tracing::warn!(target: "handed", name, why, "a message that a program left is not taken yet");
                self.later.insert(file, Instant::now() + AGAIN_AFTER);
                false
            }
            Err(NotTaken::Never(why)) => {
                tracing::error!(target: "handed", name, why, "a message that a program left is never taken; its file stays there as .refused");
                let path = folder.path.clone();
                if let Err(error) = smol::unblock(move || put_aside(&path, &name)).await {
                    tracing::error!(target: "handed", %error, "it cannot be renamed");
                    self.later.insert(file, Instant::now() + AGAIN_AFTER);
                }
                false
            }
        }
    }

    /// Whether it was there.
    async fn hand_in(&self, folder: Folder, file: [u8; 16]) -> Result<bool, NotTaken> {
        let size = self.size;
        let opened = smol::unblock(move || open(&folder, &file, size)).await?;
        let Some((mut reader, envelope, mut piece)) = opened else {
            return Ok(false);
        };
        let mut message = self.node.hand_in(file, envelope)?;
        while !piece.is_empty() {
            message = message.push(piece).await?;
            (reader, piece) = smol::unblock(move || next(reader)).await?;
        }
        message.commit().await?;
        Ok(true)
    }

    /// Their files are gone for good before their numbers are.
    async fn forget(&self, files: Vec<[u8; 16]>) {
        if files.is_empty() {
            return;
        }
        let folders = self.folders.clone();
        let sync_all = move || {
            let made = folders.iter().filter(|folder| folder.path.exists());
            made.map(|folder| sync(&folder.path))
                .collect::<Result<Vec<()>, _>>()
        };
        let synced = smol::unblock(sync_all).await;
        if let Err(error) = synced {
            tracing::error!(target: "handed", %error, "the folder cannot be synced");
            return;
        }
        for file in files {
            if let Err(error) = self.node.forget_file(file).await {
                tracing::error!(target: "handed", error, "a file cannot be forgotten");
            }
        }
    }
}

fn name(file: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*file))
}

/// A name that nobody else could think of.
fn random_name() -> io::Result<String> {
    let seed = os_seed().map_err(|e| io::Error::other(e.to_string()))?;
    Ok(name(&number_of(&seed)))
}

fn number_of(seed: &Seed) -> [u8; 16] {
    let number = seed.child("handed", 0);
    number.bytes().first_chunk().copied().unwrap_or_default()
}

fn number(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
    (name(&number) == text).then_some(number)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Removed {
    /// It was there.
    Now,
    /// It is not there, and the folder is.
    Before,
    /// It may be there.
    Not,
}

/// Removes a file.
fn remove(folder: &Folder, file: &[u8; 16]) -> Removed {
    let path = folder.path.join(format!("{}.{MAIL}", name(file)));
    match fs::remove_file(&path) {
        Ok(()) => Removed::Now,
        // Of a folder that is not made yet nothing was taken; one that is not mounted keeps its files.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match !folder.is_spool || folder.path.exists() {
                true => Removed::Before,
                false => Removed::Not,
            }
        }
        Err(error) => {
            tracing::error!(target: "handed", path = %path.display(), %error, "a file cannot be removed");
            Removed::Not
        }
    }
}

/// What is never taken gets another name, also when somebody put a folder where it goes.
fn put_aside(folder: &Path, name: &str) -> io::Result<()> {
    let from = folder.join(format!("{name}.{MAIL}"));
    let mut renamed = fs::rename(&from, folder.join(format!("{name}.{REFUSED}")));
    if renamed.is_err() {
        let other = format!("{}.{REFUSED}", random_name()?);
        renamed = fs::rename(&from, folder.join(other));
    }
    match renamed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

type Opened = (Take<File>, Envelope, Bytes);

/// Opens a file, when it is there, and reads the envelope in it, and the first piece of the message, which has so many octets at
/// most. What is written to the file from then on is no part of it.
fn open(folder: &Folder, number: &[u8; 16], size: u64) -> Result<Option<Opened>, NotTaken> {
    let path = folder.path.join(format!("{}.{MAIL}", name(number)));
    let opened = OpenOptions::new()
        .read(true)
        // Whoever puts a pipe there keeps nobody waiting.
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(&path);
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|e| failed(&e))?,
    };
    let about = file.metadata().map_err(|e| failed(&e))?;
    let is_trusted = about.uid() == 0 || about.uid() == Uid::effective().as_raw();
    // Who may write to the spool is the system's to say. Another's file is not theirs to leave, not even root's.
    let may_leave = match folder.is_spool {
        true => about.nlink() == 1,
        false => is_trusted,
    };
    if !about.is_file() || !may_leave {
        let why = "only root and the user of the server may leave messages";
        return Err(NotTaken::Never(why.into()));
    }
    if !is_trusted {
        tracing::info!(target: "handed", name = name(number), uid = about.uid(), "left by a user of this machine");
    }
    if about.len() > size.saturating_add(ENVELOPE_MAX) {
        let why = format!("it has more than {size} octets");
        return Err(NotTaken::Never(why));
    }
    let mut file = file.take(about.len());
    let mut begin = Vec::new();
    let read = (&mut file).take(ENVELOPE_MAX).read_to_end(&mut begin);
    read.map_err(|e| failed(&e))?;
    let end = begin
        .windows(2)
        .position(|two| two == b"\n\n")
        .map(|at| at + 2);
    let envelope =
        end.and_then(|end| Envelope::read(core::str::from_utf8(begin.get(..end)?).ok()?));
    let (Some(end), Some(envelope)) = (end, envelope) else {
        return Err(NotTaken::Never("the file has no envelope".into()));
    };
    let first = Bytes::from(begin.split_off(end));
    Ok(Some((file, envelope, first)))
}

/// What whoever may leave a file can make of it never gets better.
fn failed(error: &io::Error) -> NotTaken {
    use Errno::{EACCES, EISDIR, ELOOP, EMLINK, ENODEV, ENOTDIR, ENXIO, EPERM};
    match error.raw_os_error().map(Errno::from_raw) {
        Some(EACCES | EISDIR | ELOOP | EMLINK | ENODEV | ENOTDIR | ENXIO | EPERM) => {
            NotTaken::Never(error.to_string())
        }
        _ => NotTaken::Later(error.to_string()),
    }
}

fn next(mut file: Take<File>) -> Result<(Take<File>, Bytes), NotTaken> {
    let mut piece = Vec::new();
    let read = (&mut file).take(PIECE).read_to_end(&mut piece);
    read.map_err(|e| failed(&e))?;
    Ok((file, Bytes::from(piece)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};
    use std::os::unix::net::UnixListener;

    fn here(folder: &Folder) -> Vec<[u8; 16]> {
        complete(folder, &HashSet::new()).unwrap().files
    }

    fn envelope() -> Vec<u8> {
        let envelope = Envelope {
            from: None,
            to: vec![mox_address::Path::parse("bob@far.example", true).unwrap()],
            utf8: false,
            dsn: String::new(),
            rcpt_dsn: String::new(),
        };
        envelope.write().into_bytes()
    }

    /// A folder of its own, and where the file of a number in it is.
    fn spool(what: &str) -> (Folder, impl Fn(u128) -> PathBuf) {
        let path = std::env::temp_dir().join(format!("mox-{what}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Folder::spool(path.clone());
        let at = move |n: u128| path.join(format!("{}.{MAIL}", name(&n.to_be_bytes())));
        (folder, at)
    }

    #[test]
    fn a_file_that_is_too_large_is_never_taken_and_one_that_grows_ends_where_it_did() {
        let (folder, at) = spool("handed-size");
        let text = [envelope().as_slice(), &[b'x'; 2_000]].concat();
        fs::write(at(1), &text).unwrap();
        let number = |n: u128| n.to_be_bytes();
        let (file, _, first) = open(&folder, &number(1), 2_000).unwrap().unwrap();
        assert_eq!(first, [b'x'; 2_000][..]);
        let mut growing = OpenOptions::new().append(true).open(at(1)).unwrap();
        io::Write::write_all(&mut growing, b"more").unwrap();
        assert_eq!(next(file).unwrap().1, Bytes::new());
        // It has holes, and takes no room.
        let most = 2_000 + ENVELOPE_MAX;
        growing.set_len(most).unwrap();
        assert!(open(&folder, &number(1), 2_000).unwrap().is_some());
        growing.set_len(most + 1).unwrap();
        let why = open(&folder, &number(1), 2_000).unwrap_err();
        assert_eq!(why, NotTaken::Never("it has more than 2000 octets".into()));
        fs::remove_dir_all(folder.path()).unwrap();
    }

    #[test]
    fn what_can_never_be_read_is_put_aside_and_what_is_gone_is_nothing() {
        let (folder, at) = spool("handed-odd");
        symlink("/etc/hostname", at(1)).unwrap();
        let _socket = UnixListener::bind(at(2)).unwrap();
        fs::create_dir(at(3)).unwrap();
        fs::create_dir(at(3).with_extension(REFUSED)).unwrap();
        fs::write(at(3).with_extension(REFUSED).join("x"), "").unwrap();
        fs::write(at(4), envelope()).unwrap();
        fs::hard_link(at(4), at(5)).unwrap();
        for n in 1..=5_u128 {
            let number = n.to_be_bytes();
            let why = open(&folder, &number, 10).unwrap_err();
            assert!(matches!(why, NotTaken::Never(_)), "{n}: {why:?}");
            assert_eq!(put_aside(folder.path(), &name(&number)).ok(), Some(()));
            assert!(open(&folder, &number, 10).unwrap().is_none(), "{n}");
            assert_eq!(put_aside(folder.path(), &name(&number)).ok(), Some(()));
        }
        let left = fs::read_dir(folder.path()).unwrap();
        let ends = left.map(|e| e.unwrap().path().extension().unwrap().to_owned());
        assert_eq!(ends.collect::<Vec<_>>(), vec![REFUSED; 6]);
        let passes = failed(&io::Error::from_raw_os_error(Errno::EMFILE as i32));
        assert!(matches!(passes, NotTaken::Later(_)));
        let never = failed(&io::Error::from_raw_os_error(Errno::EACCES as i32));
        assert!(matches!(never, NotTaken::Never(_)));
        fs::remove_dir_all(folder.path()).unwrap();
    }

    #[test]
    fn a_message_appears_when_it_is_complete_and_is_gone_when_it_is_not() {
        let data = std::env::temp_dir().join(format!("mox-handed-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        let folder = Folder::below(&data);
        assert_eq!(here(&folder), Vec::<[u8; 16]>::new());
        let seed = Seed::from_number(7);
        let mut one = folder.begin(&seed).unwrap();
        one.write(b"x", 10).unwrap();
        assert_eq!(here(&folder), Vec::<[u8; 16]>::new());
        let number = number(one.name()).unwrap();
        assert_eq!(name(&number), one.name());
        one.finish().unwrap();
        assert_eq!(here(&folder), [number]);
        let other = folder.begin(&Seed::from_number(8)).unwrap();
        drop(other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut large = folder.begin(&Seed::from_number(9)).unwrap();
        let too_large = large.write(&vec![0; 600 * 1024], 10).unwrap_err();
        assert_eq!(too_large.kind(), ErrorKind::FileTooLarge);
        // What is no message of anybody is left alone.
        let why = open(&folder, &number, 10).unwrap_err();
        assert_eq!(why, NotTaken::Never("the file has no envelope".into()));
        fs::remove_dir_all(data).unwrap();
    }
    #[test]
    fn a_folder_that_was_made_and_not_given_away_is_given_away_by_the_next_message() {
        // Only root gives anything away.
        if !Uid::effective().is_root() {
            return;
        }
        let data = std::env::temp_dir().join(format!("mox-handed-owner-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        chown(&data, Some(65_534), Some(65_534)).unwrap();
        let folder = Folder::below(&data);
        fs::create_dir(folder.path()).unwrap();
        folder
            .begin(&Seed::from_number(7))
            .unwrap()
            .finish()
            .unwrap();
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        assert_eq!(owner(folder.path()), 65_534);
        let file = fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(owner(&file.path()), 65_534);
        fs::remove_dir_all(data).unwrap();
    }
}
