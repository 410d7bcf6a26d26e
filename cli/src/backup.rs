//! `moxctl backup` and `moxctl restore`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mox_store::{FsDisk, Store};
use serde::{Deserialize, Serialize};

use crate::args::{Args, Backup, Restore};
use crate::config_files::{ConfigFiles, ctl_socket, data_dir, load_static};
use crate::ctl::{self, Command};
use crate::failure::Failure;
use crate::offline::{make_private_dir, store_dir};
use crate::timestamp;

/// What a server answers once a backup is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// The commit whose state it is.
    pub commit: u64,
    /// Rows in it.
    pub rows: u64,
    /// Body files in it.
    pub bodies: u64,
    /// Octets of rows and body files.
    pub octets: u64,
    /// Bodies that the server's own store does not have as it should.
    pub faults: Vec<String>,
}

/// Asks the running server for a backup.
pub(crate) fn run(args: &Args, backup: &Backup) -> Result<(), Failure> {
    // The server has another working directory.
    let place = std::path::absolute(&backup.destination)
        .map_err(|e| Failure::io("find", &backup.destination, &e))?;
    let command = Command::Backup {
        destination: place.clone(),
    };
    let made: BackupMade = ctl::ask(&ctl_socket(args)?, &command)?;
    println!(
        "{} has commit {}: {} rows and {} body files, {} octets",
        place.display(),
        made.commit,
        made.rows,
        made.bodies,
        made.octets
    );
    for fault in &made.faults {
        println!("{fault}");
    }
    match made.faults.is_empty() {
        true => Ok(()),
        false => Err(Failure::Failed(
            "the backup is complete, but the store itself has these faults: look with moxctl verify --full".into(),
        )),
    }
}

/// Makes a backup of a store in use: the server's side. Blocks, long.
pub(crate) fn make(store: &Store, place: &Path) -> Result<BackupMade, Failure> {
    if !place.is_absolute() {
        return Err(Failure::Failed(format!(
            "{}: a backup needs an absolute path",
            place.display()
        )));
    }
    match fs::read_dir(place) {
        Ok(mut found) => {
            if found.next().is_some() {
                return Err(Failure::Failed(format!(
                    "{} is not empty; name a new directory for the backup",
                    place.display()
                )));
            }
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Failure::io("write the backup into", place, &e)),
    }
    let disk = FsDisk::open(place).map_err(|e| {
        let user = nix::unistd::Uid::effective();
        Failure::Failed(format!(
            "cannot write the backup: {e}; the folder around it must exist and be writable for the server's user (user id {user})"
        ))
    })?;
    let made = store.backup(&disk).map_err(|e| {
        Failure::Failed(format!(
            "the backup in {} is incomplete: {e}; remove it before the next try",
            place.display()
        ))
    })?;
    Ok(BackupMade {
        commit: made.manifest.commit,
        rows: made.manifest.rows,
        bodies: made.manifest.bodies,
        octets: made.manifest.row_octets + made.manifest.body_octets,
        faults: made.faults.iter().map(ToString::to_string).collect(),
    })
}

/// Makes a store of a backup and checks all of it.
pub(crate) fn restore(args: &Args, restore: &Restore) -> Result<(), Failure> {
    let dir = data_directory(args, restore.dir.as_deref())?;
    let place = store_dir(&dir);
    make_private_dir(&dir)?;
    let restored = mox_store::restore_directory(&restore.backup, &place, timestamp::now())
        .map_err(|e| {
            Failure::Failed(format!("cannot restore {}: {e}", restore.backup.display()))
        })?;
    let verified = mox_store::verify_directory(&place, true)
        .map_err(|e| Failure::Failed(format!("cannot open the store {}: {e}", place.display())))?;
    for finding in &verified.findings {
        println!("{finding}");
    }
    if !verified.findings.is_empty() {
        return Err(Failure::Failed(format!(
            "{} is restored with {} faults, which the store had when the backup was made",
            place.display(),
            verified.findings.len()
        )));
    }
    println!(
        "{} is restored as of commit {} and in order",
        place.display(),
        restored.manifest.commit
    );
    if restored.queued > 0 {
        println!(
            "entries in its queue: {}; a server that starts here tries them at once, also those that were delivered after the backup was made",
            restored.queued
        );
    }
    Ok(())
}

/// The data directory that was named, else that of the configuration.
pub(crate) fn data_directory(args: &Args, named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(dir) => Ok(dir.to_owned()),
        None => {
            let path = ConfigFiles::locate(args);
            Ok(data_dir(&path, &load_static(&path)?))
        }
    }
}
