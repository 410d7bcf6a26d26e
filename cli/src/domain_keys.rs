//! The keys of a new domain: made, written beside its configuration, and put aside with it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use mox_address::Domain;
use mox_machine::Utc;
use mox_server::config::{Dkim, DkimSelector};

use crate::dkim_keys::{make_ed25519, make_rsa};
use crate::failure::Failure;
use crate::files;
use crate::offline::make_private_dir;

/// The folder of keys, beside `domains.ron`.
pub(crate) const KEY_FOLDER: &str = "dkim";
/// Where keys of domains that are gone are put, in that folder.
const OLD: &str = "old";

/// Keys that are not written yet.
pub(crate) struct NewKeys {
    /// As the configuration names them.
    pub(crate) dkim: Dkim,
    /// File names in the folder of keys, and what the files hold.
    files: Vec<(String, String)>,
}

impl NewKeys {
    /// An RSA key that everybody verifies, and an Ed25519 key; their names tell the year, so that it is seen when they are old.
    /// The letters behind it are the first for which neither there nor among those put aside is a file.
    pub(crate) fn make(domain: &Domain, now: Utc, config: &Path) -> Result<Self, Failure> {
        let year = now.civil().year;
        let folder = config.join(KEY_FOLDER);
        let is_free = |letter: char, kind: &str| {
            let name = format!("{year}{letter}.{domain}.{kind}.pem");
            [folder.join(&name), folder.join(OLD).join(&name)]
                .iter()
                .all(|path| fs::symlink_metadata(path).is_err())
        };
        let mut pairs = ('a'..='y').step_by(2).zip(('b'..='z').step_by(2));
        let free = pairs.find(|(one, other)| is_free(*one, "ed25519") && is_free(*other, "rsa"));
        let (one, other) = free.ok_or_else(|| {
            Failure::Failed(format!(
                "{} has keys with all letters of {year}: remove old ones",
                folder.display()
            ))
        })?;
        let mut new = Self {
            dkim: Dkim::default(),
            files: Vec::new(),
        };
        let made = [
            (other, "rsa", make_rsa()?),
            (one, "ed25519", make_ed25519()?),
        ];
        for (letter, kind, pem) in made {
            let selector = format!("{year}{letter}");
            let name = format!("{selector}.{domain}.{kind}.pem");
            let key = DkimSelector::with_key(format!("{KEY_FOLDER}/{name}"));
            new.dkim.selectors.insert(selector.clone(), key);
            new.dkim.sign.push(selector);
            new.files.push((name, pem));
        }
        Ok(new)
    }

    /// Writes the files into the folder of the configuration, for their owner only. None of them is left on failure.
    pub(crate) fn write(&self, config: &Path) -> Result<(), Failure> {
        let folder = config.join(KEY_FOLDER);
        make_private_dir(&folder)?;
        for (n, (name, pem)) in self.files.iter().enumerate() {
            let path = folder.join(name);
            if let Err(e) = files::create_new(&path, pem.as_bytes(), 0o600) {
                for (name, _) in self.files.iter().take(n) {
                    let _ = fs::remove_file(folder.join(name));
                }
                return Err(Failure::io("write", &path, &e));
            }
        }
        Ok(())
    }

    /// Removes what [`write`](Self::write) made.
    pub(crate) fn undo(&self, config: &Path) {
        let folder = config.join(KEY_FOLDER);
        for (name, _) in &self.files {
            let _ = fs::remove_file(folder.join(name));
        }
        // Only when nothing else is in it.
        let _ = fs::remove_dir(folder);
    }
}

/// Puts the key files of a domain that is gone into a folder beside them: whoever finds out too late that it was a mistake has
/// them still. Those of other folders stay where they are.
pub(crate) fn put_aside(config: &Path, dkim: &Dkim) -> Result<(), Failure> {
    let old = config.join(KEY_FOLDER).join(OLD);
    for selector in dkim.selectors.values() {
        let path = Path::new(&selector.key);
        let Some(name) = path
            .file_name()
            .filter(|_| path.parent() == Some(Path::new(KEY_FOLDER)))
        else {
            continue;
        };
        make_private_dir(&old)?;
        match fs::rename(config.join(path), old.join(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(Failure::io("put aside", &config.join(path), &e));
            }
            _ => {}
        }
    }
    Ok(())
}
