//! The store, opened by a command while no server runs.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use mox_machine::{Secret, Utc};
use mox_mailbox::{Batch, Reads, Stop};
use mox_store::{Committer, Options, Published, Store, StoreError};

use crate::failure::Failure;

/// Where the store of a data directory is.
pub fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// The same, where there is one already: opening would make one.
pub(crate) fn existing_store_dir(data_dir: &Path) -> Result<PathBuf, Failure> {
    let place = store_dir(data_dir);
    match place.is_dir() {
        true => Ok(place),
        false => Err(Failure::Failed(format!(
            "there is no store in {}; name the data directory with --dir",
            data_dir.display()
        ))),
    }
}

/// Makes a directory that only its owner reads, and those above it where they are missing.
pub fn make_private_dir(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Failure::io("make the directory", path, &e))
}

/// A store whose committer runs on a thread of its own.
#[derive(Debug)]
pub struct Offline {
    store: Store,
    committer: Option<JoinHandle<io::Result<()>>>,
    place: PathBuf,
}

impl Offline {
    /// Opens the store of a data directory, or makes one. Fails while a server has it open. Blocks.
    pub fn open(data_dir: &Path) -> Result<Self, Failure> {
        let place = store_dir(data_dir);
        let (store, committer) =
            Store::open_directory(&place, Options::default()).map_err(|e| {
                Failure::Failed(format!("cannot open the store {}: {e}", place.display()))
            })?;
        let committer = thread::Builder::new()
            .name("commit".into())
            .spawn(move || commit(committer))
            .map_err(|e| Failure::Failed(format!("cannot start a thread: {e}")))?;
        Ok(Self {
            store,
            committer: Some(committer),
            place,
        })
    }

    /// Runs an op and waits until it is durable.
    pub fn run<T: Send + 'static>(
        &self,
        op: impl FnOnce(&dyn Reads) -> Result<(Batch, T), Stop> + Send + 'static,
    ) -> Result<T, Failure> {
        smol::block_on(self.store.run(op)).map_err(|e: StoreError| {
            Failure::Failed(format!(
                "the store {} was not changed: {e}",
                self.place.display()
            ))
        })
    }

    /// What is in it.
    pub fn published(&self) -> Arc<Published> {
        self.store.published()
    }

    /// Ends it in order, so that the next start need not recover. Blocks.
    pub fn close(mut self) -> Result<(), Failure> {
        self.store.close();
        let ended = self.committer.take().map(JoinHandle::join);
        match ended {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(e))) => Err(Failure::io("close the store", &self.place, &e)),
            Some(Err(_)) => Err(Failure::Failed(
                "the store's thread ended in a panic".into(),
            )),
        }
    }
}

/// Ends the store also when a command fails half-way.
impl Drop for Offline {
    fn drop(&mut self) {
        self.store.close();
        if let Some(committer) = self.committer.take() {
            let _ = committer.join();
        }
    }
}

fn commit(mut committer: Committer) -> io::Result<()> {
    while let Some(group) = smol::block_on(committer.collect()) {
        committer.turn(group);
    }
    committer.close()
}

/// Sets the password of an account, which is made when it is new.
pub fn set_password(
    offline: &Offline,
    account: &str,
    quota: Option<u64>,
    credentials: Secret<Bytes>,
    now: Utc,
) -> Result<(), Failure> {
    offline.run(|reads| mox_mailbox::initialise(reads))?;
    let account = account.to_owned();
    offline.run(
        move |reads| match mox_mailbox::account_id(reads, &account)? {
            Some(id) => mox_mailbox::set_credentials(reads, id, &credentials),
            None => mox_mailbox::create_account(reads, &account, &credentials, quota, now)
                .map(|(batch, _)| (batch, ())),
        },
    )
}
