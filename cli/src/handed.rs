//! The folder in which programs of this machine leave messages for the server: written whole, taken once.
//!
//! A message is a file that appears under its name when it is complete and synced, and goes once the store has it. Its number goes
//! into the store in the same operation, so that a file that is still there behind it is not taken again.

mod leaving;
mod spool;

pub(crate) use spool::About;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use mox_node::{Node, NotTaken};
use mox_runtime_smol::SmolRuntime;
use mox_server::Envelope;
use nix::fcntl::OFlag;
use nix::unistd::Uid;

use crate::failure::Failure;

/// The folder in the data directory.
const FOLDER: &str = "handed";
/// How often the server looks into it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a message that could not be taken is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// After this nobody is still writing a file.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Files looked at in one round; the others have their turn in the next one.
const FILES_MAX: usize = 1_000;
/// Files in the folder at most: with as many no further message is left.
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
    /// When to try again what could not be taken.
    later: HashMap<[u8; 16], Instant>,
}

impl Taking {
    pub(crate) fn new(folders: Vec<Folder>, node: Node<SmolRuntime>) -> Self {
        Self {
            folders,
            node,
            later: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        self.clear_up().await;
        let mut told = HashSet::new();
        loop {
            let now = Instant::now();
            self.later.retain(|_, at| now < *at);
            for folder in self.folders.clone() {
                let waiting: HashSet<[u8; 16]> = self.later.keys().copied().collect();
                let here = folder.clone();
                let found = smol::unblock(move || complete(&here, &waiting)).await;
                match found {
                    Ok(files) => {
                        told.remove(&folder.path);
                        let mut taken = Vec::new();
                        for file in files {
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
                let folders = self.folders.clone();
                let files = taken;
                let is_gone = move |file: &[u8; 16]| folders.iter().all(|f| remove(f, file));
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
            Ok(()) => {
                let folder = folder.clone();
                let is_gone = smol::unblock(move || remove(&folder, &file)).await;
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
                let put_aside = move || {
                    let (from, to) = (format!("{name}.{MAIL}"), format!("{name}.{REFUSED}"));
                    fs::rename(path.join(from), path.join(to))
                };
                if let Err(error) = smol::unblock(put_aside).await {
                    tracing::error!(target: "handed", %error, "it cannot be renamed");
                    self.later.insert(file, Instant::now() + AGAIN_AFTER);
                }
                false
            }
        }
    }

    async fn hand_in(&self, folder: Folder, file: [u8; 16]) -> Result<(), NotTaken> {
        let opened = smol::unblock(move || open(&folder, &file)).await?;
        let (mut reader, envelope, mut piece) = opened;
        let mut message = self.node.hand_in(file, envelope)?;
        while !piece.is_empty() {
            message = message.push(piece).await?;
            (reader, piece) = smol::unblock(move || next(reader)).await?;
        }
        message.commit().await
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

/// The numbers of complete files but those that wait, the oldest first. Those that nobody goes on writing are removed.
fn complete(folder: &Folder, waiting: &HashSet<[u8; 16]>) -> io::Result<Vec<[u8; 16]>> {
    let entries = match fs::read_dir(&folder.path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.take(FOLDER_MAX) {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some((name, end)) = file_name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let Ok(modified) = entry.metadata().and_then(|m| m.modified()) else {
            continue;
        };
        match (end, number(name)) {
            (MAIL, Some(number)) if !waiting.contains(&number) => found.push((modified, number)),
            (NEW, Some(_)) => {
                let age = SystemTime::now().duration_since(modified);
                if age.is_ok_and(|age| age > ABANDONED_AFTER) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            _ => {}
        }
    }
    found.sort();
    found.truncate(FILES_MAX);
    Ok(found.into_iter().map(|(_, number)| number).collect())
}

fn number(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
    (name(&number) == text).then_some(number)
}

/// Removes a file; whether it is gone.
fn remove(folder: &Folder, file: &[u8; 16]) -> bool {
    let path = folder.path.join(format!("{}.{MAIL}", name(file)));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::error!(target: "handed", path = %path.display(), %error, "a file cannot be removed");
            false
        }
        _ => true,
    }
}

type Opened = (File, Envelope, Bytes);

/// Opens a file and reads the envelope in it, and the first piece of the message.
fn open(folder: &Folder, number: &[u8; 16]) -> Result<Opened, NotTaken> {
    let path = folder.path.join(format!("{}.{MAIL}", name(number)));
    let failed = |e: io::Error| NotTaken::Later(e.to_string());
    let mut file = OpenOptions::new()
        .read(true)
        // Whoever puts a pipe there keeps nobody waiting.
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(&path)
        .map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let is_trusted = about.uid() == 0 || about.uid() == Uid::effective().as_raw();
    // Who may write to the spool is the system's to say. Another's file is not theirs to leave.
    let may_leave = is_trusted || (folder.is_spool && about.nlink() == 1);
    if !about.is_file() || !may_leave {
        let why = "only root and the user of the server may leave messages";
        return Err(NotTaken::Never(why.into()));
    }
    if !is_trusted {
        tracing::info!(target: "handed", name = name(number), uid = about.uid(), "left by a user of this machine");
    }
    let mut begin = Vec::new();
    (&mut file)
        .take(ENVELOPE_MAX)
        .read_to_end(&mut begin)
        .map_err(failed)?;
    let end = begin
        .windows(2)
        .position(|two| two == b"\n\n")
        .map(|at| at + 2);
    let envelope =
        end.and_then(|end| Envelope::read(core::str::from_utf8(begin.get(..end)?).ok()?));
    let (Some(end), Some(envelope)) = (end, envelope) else {
        return Err(NotTaken::Never("the file has no envelope".into()));
    };
    Ok((file, envelope, Bytes::from(begin.split_off(end))))
}

fn next(mut file: File) -> Result<(File, Bytes), NotTaken> {
    let mut piece = Vec::new();
    let read = (&mut file).take(PIECE).read_to_end(&mut piece);
    read.map_err(|e| NotTaken::Later(e.to_string()))?;
    Ok((file, Bytes::from(piece)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_machine::Seed;
    use std::os::unix::fs::chown;

    #[test]
    fn a_message_appears_when_it_is_complete_and_is_gone_when_it_is_not() {
        let data = std::env::temp_dir().join(format!("mox-handed-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        let folder = Folder::below(&data);
        assert_eq!(
            complete(&folder, &HashSet::new()).unwrap(),
            Vec::<[u8; 16]>::new()
        );
        let seed = Seed::from_number(7);
        let mut one = folder.begin(&seed).unwrap();
        one.write(b"x", 10).unwrap();
        assert_eq!(
            complete(&folder, &HashSet::new()).unwrap(),
            Vec::<[u8; 16]>::new()
        );
        let number = number(one.name()).unwrap();
        assert_eq!(name(&number), one.name());
        one.finish().unwrap();
        assert_eq!(complete(&folder, &HashSet::new()).unwrap(), [number]);
        let other = folder.begin(&Seed::from_number(8)).unwrap();
        drop(other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut large = folder.begin(&Seed::from_number(9)).unwrap();
        let too_large = large.write(&vec![0; 600 * 1024], 10).unwrap_err();
        assert_eq!(too_large.kind(), ErrorKind::FileTooLarge);
        // What is no message of anybody is left alone.
        assert!(matches!(open(&folder, &number), Err(NotTaken::Never(_))));
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
