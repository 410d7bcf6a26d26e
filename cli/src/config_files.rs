//! The two configuration files on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use mox_address::Domain;
use mox_dkim::KeyRecord;
use mox_server::config::{
    self, BadKey, Dynamic, EditError, Listener, Problems, Static, Tls, add_account, add_address,
    add_domain, add_to_alias, bad_keys, remove_account, remove_address, remove_domain,
    remove_from_alias,
};
use mox_server::{Directory, Signers};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::domain_keys::NewKeys;
use crate::failure::Failure;
use crate::timestamp::now;
use crate::{dkim_keys, domain_keys, files, tls_files};

/// Both files, read and checked.
#[derive(Debug, Clone)]
pub struct ConfigFiles {
    /// Where `mox.ron` is.
    pub static_path: PathBuf,
    /// Where `domains.ron` is: beside it.
    pub dynamic_path: PathBuf,
    /// What `mox.ron` says.
    pub fixed: Static,
    /// What `domains.ron` says.
    pub dynamic: Dynamic,
    /// The keys that it names and that sign.
    pub signers: Signers,
    /// By domain, the name and the public part of each key.
    pub keys: Keys,
    /// When `domains.ron` was last written before it was read for the first time; `None` when that cannot be told.
    pub read: Option<SystemTime>,
}

/// Selectors with their public keys, by domain.
pub type Keys = BTreeMap<Domain, Vec<(String, KeyRecord)>>;

/// A change of `domains.ron`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigEdit {
    /// A new account with one address.
    AddAccount {
        /// Its name.
        account: String,
        /// Its address.
        address: String,
    },
    /// An account less.
    RemoveAccount {
        /// Its name.
        account: String,
    },
    /// One more address for an account.
    AddAddress {
        /// The address.
        address: String,
        /// Whose.
        account: String,
    },
    /// An address less.
    RemoveAddress {
        /// The address.
        address: String,
    },
    /// A new domain, with keys that are made for it.
    AddDomain {
        /// Its name.
        domain: String,
    },
    /// A domain less; its keys are put aside.
    RemoveDomain {
        /// Its name.
        domain: String,
    },
    /// Make an address an alias, or give an alias one more member.
    AddToAlias {
        /// The address of the alias.
        alias: String,
        /// An address of an account.
        member: String,
    },
    /// Take a member out of an alias, or the alias away.
    RemoveFromAlias {
        /// The address of the alias.
        alias: String,
        /// The member; without, the alias goes.
        member: Option<String>,
    },
}

impl ConfigFiles {
    /// Where `mox.ron` is: `--config`, else `$MOXCONF`, else `config/mox.ron`. A folder stands for the file in it.
    pub fn locate(args: &Args) -> PathBuf {
        Self::locate_in(args.config.clone())
    }

    /// The same, with what `--config` names.
    pub(crate) fn locate_in(config: Option<PathBuf>) -> PathBuf {
        let named = config.or_else(|| std::env::var_os("MOXCONF").map(PathBuf::from));
        let path = named.unwrap_or_else(|| Path::new("config").join("mox.ron"));
        if path.is_dir() {
            path.join("mox.ron")
        } else {
            path
        }
    }

    /// Reads both files. Blocks.
    pub fn load(static_path: &Path) -> Result<Self, Failure> {
        let dynamic_path = static_path.with_file_name("domains.ron");
        let fixed = load_static(static_path).map_err(|failure| {
            // What is wrong with the other file is better heard of now than after this one is mended.
            match check_dynamic(&dynamic_path) {
                Err(other) => Failure::Failed(format!("{failure}\n{other}")),
                Ok(()) => failure,
            }
        })?;
        // Before it is read: what is written meanwhile is a change.
        let read = modified(&dynamic_path);
        let (dynamic, signers, keys) = load_dynamic(&dynamic_path, &fixed)?;
        Ok(Self {
            read,
            signers,
            keys,
            static_path: static_path.to_owned(),
            dynamic_path,
            fixed,
            dynamic,
        })
    }

    /// Reads `domains.ron` and its keys again. On failure the old content and the old keys stay in force. Blocks.
    pub fn reload(&mut self) -> Result<(), Failure> {
        (self.dynamic, self.signers, self.keys) = load_dynamic(&self.dynamic_path, &self.fixed)?;
        Ok(())
    }

    /// Changes `domains.ron` as it is on disk now, keeps its comments, and reads it again. Answered with what whoever does
    /// this should know. Blocks.
    pub fn edit(&mut self, edit: &ConfigEdit) -> Result<Vec<String>, Failure> {
        let text = read(&self.dynamic_path)?;
        let name = self.dynamic_path.display().to_string();
        let (name, fixed) = (name.as_str(), &self.fixed);
        let folder = self.static_path.parent().unwrap_or_else(|| Path::new(""));
        let (mut made, mut left) = (None, None);
        let new = match edit {
            ConfigEdit::AddDomain { domain } => {
                let parsed = ascii_domain(domain)?;
                let keys = NewKeys::make(&parsed, now(), folder)?;
                let new = add_domain(name, &text, fixed, domain, &keys.dkim);
                made = Some(keys);
                new
            }
            ConfigEdit::RemoveDomain { domain } => {
                let now = Dynamic::parse(name, &text, fixed);
                let mut now = now.map_err(|e| Failure::Failed(e.to_string()))?.dkim;
                left = now.remove(&ascii_domain(domain)?);
                // Two domains may have one key.
                if let Some(dkim) = &mut left {
                    let others = || now.values().flat_map(|other| other.selectors.values());
                    dkim.selectors
                        .retain(|_, selector| others().all(|other| other.key != selector.key));
                }
                remove_domain(name, &text, fixed, domain)
            }
            ConfigEdit::AddAccount { account, address } => {
                add_account(name, &text, fixed, account, address)
            }
            ConfigEdit::RemoveAccount { account } => remove_account(name, &text, fixed, account),
            ConfigEdit::AddAddress { address, account } => {
                add_address(name, &text, fixed, address, account)
            }
            ConfigEdit::RemoveAddress { address } => remove_address(name, &text, fixed, address),
            ConfigEdit::AddToAlias { alias, member } => {
                add_to_alias(name, &text, fixed, alias, member)
            }
            ConfigEdit::RemoveFromAlias { alias, member } => {
                remove_from_alias(name, &text, fixed, alias, member.as_deref())
            }
        };
        let new = new.map_err(|e: EditError| Failure::Failed(e.to_string()))?;
        // A key before the file that names it, and gone only after.
        if let Some(keys) = &made {
            keys.write(folder)?;
        }
        let taken = take_in(&self.dynamic_path, &new, &self.fixed).and_then(|taken| {
            let replaced = files::replace(&self.dynamic_path, new.as_bytes());
            replaced.map_err(|e| Failure::io("replace", &self.dynamic_path, &e))?;
            Ok(taken)
        });
        (self.dynamic, self.signers, self.keys) = taken.inspect_err(|_| {
            made.iter().for_each(|keys| keys.undo(folder));
        })?;
        if let Some(dkim) = &left {
            domain_keys::put_aside(folder, dkim)?;
        }
        Ok(match edit {
            ConfigEdit::RemoveAddress { .. } => self.without_address(),
            _ => Vec::new(),
        })
    }

    /// Accounts that nobody can write to, in words.
    fn without_address(&self) -> Vec<String> {
        let accounts = self.dynamic.accounts.iter();
        let bare = accounts.filter(|(_, account)| account.addresses.is_empty());
        bare.map(|(name, _)| {
            format!(
                "account {name} has no address now: nothing can be sent to it; moxctl config address add gives it \
                 another, moxctl config account rm {name} takes it away"
            )
        })
        .collect()
    }

    /// All addresses.
    pub fn directory(&self) -> Directory {
        Directory::new(&self.fixed, &self.dynamic)
    }

    /// The data directory, relative to the folder of `mox.ron` where it is not absolute.
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.static_path, &self.fixed)
    }

    /// The certificate and key files that a listener names, the first being the default. `None` when it has none:
    /// TLS is off or self-signed. Blocks.
    pub fn certificates(
        &self,
        name: &str,
        listener: &Listener,
    ) -> Result<Option<Vec<tls_files::Loaded>>, Failure> {
        let Tls::Files(files) = &listener.tls else {
            return Ok(None);
        };
        let folder = self.static_path.parent().unwrap_or_else(|| Path::new(""));
        let load = |c: &config::Certificate| {
            tls_files::load(&folder.join(&c.certificate), &folder.join(&c.key)).map_err(|e| {
                let file = self.static_path.display();
                Failure::Failed(format!("{file}: listeners.{name:?}.tls: {e}"))
            })
        };
        files.iter().map(load).collect::<Result<_, _>>().map(Some)
    }
}

/// The ctl socket: `--ctl`, else `ctl` in the data directory of the configuration.
pub fn ctl_socket(args: &Args) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.ctl {
        return Ok(path.clone());
    }
    let path = ConfigFiles::locate(args);
    let fixed = load_static(&path)?;
    Ok(data_dir(&path, &fixed).join("ctl"))
}

/// Reads `mox.ron` alone: for those who only need to know where things are. Blocks.
pub fn load_static(path: &Path) -> Result<Static, Failure> {
    Static::parse(&path.display().to_string(), &read(path)?)
        .map_err(|e| Failure::Failed(e.to_string()))
}

/// The texts of a configuration that is only proposed: `mox.ron` and the `domains.ron` beside it. Blocks.
pub(crate) fn proposed(path: &Path) -> Result<(String, String), Failure> {
    let path = ConfigFiles::locate_in(Some(path.to_owned()));
    let texts = (read(&path)?, read(&path.with_file_name("domains.ron"))?);
    Ok(texts)
}

/// Its addresses. Keys are not looked for: they may be elsewhere.
pub(crate) fn proposed_directory(fixed: &str, dynamic: &str) -> Result<Directory, Problems> {
    let fixed = Static::parse("mox.ron", fixed)?;
    let dynamic = Dynamic::parse("domains.ron", dynamic, &fixed)?;
    Ok(Directory::new(&fixed, &dynamic))
}

/// The data directory that `mox.ron` names, as short as it can be said: `config/../data` is `data`.
pub fn data_dir(static_path: &Path, fixed: &Static) -> PathBuf {
    let folder = static_path.parent().unwrap_or_else(|| Path::new(""));
    let joined = folder.join(&fixed.data_dir);
    let short = without_parents(&joined);
    // Where a folder is a link, what is above it is elsewhere.
    match (joined.canonicalize(), short.canonicalize()) {
        (Ok(one), Ok(other)) if one == other => short,
        _ => joined,
    }
}

/// A path with each `..` taken for the way back out of the folder before it.
fn without_parents(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for component in path.components() {
        let is_way_back = component == Component::ParentDir
            && matches!(short.components().next_back(), Some(Component::Normal(_)));
        if is_way_back {
            short.pop();
        } else if component != Component::CurDir {
            short.push(component);
        }
    }
    if short.as_os_str().is_empty() {
        short.push(".");
    }
    short
}

/// A domain in A-labels.
pub(crate) fn ascii_domain(text: &str) -> Result<Domain, Failure> {
    let domain = Domain::parse(text.trim_end_matches('.'), true).and_then(|d| d.to_ascii());
    domain.map_err(|e| {
        Failure::Failed(format!(
            "{text:?} is not a domain name: {e}; write it like example.org"
        ))
    })
}

/// When a file was written last.
pub(crate) fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// What is wrong with a `domains.ron`, as far as that can be said without its `mox.ron`.
fn check_dynamic(path: &Path) -> Result<(), Failure> {
    let checked = Dynamic::check_alone(&path.display().to_string(), &read(path)?);
    checked.map_err(|e| Failure::Failed(e.to_string()))
}

fn load_dynamic(path: &Path, fixed: &Static) -> Result<(Dynamic, Signers, Keys), Failure> {
    take_in(path, &read(path)?, fixed)
}

/// The same, of this text.
fn take_in(path: &Path, text: &str, fixed: &Static) -> Result<(Dynamic, Signers, Keys), Failure> {
    let file = path.display().to_string();
    let wrong = |e: Problems| Failure::Failed(e.to_string());
    let dynamic = Dynamic::parse(&file, text, fixed).map_err(wrong)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    match load_keys(folder, &dynamic) {
        Ok((signers, keys)) => Ok((dynamic, signers, keys)),
        Err(bad) => Err(wrong(bad_keys(&file, text, &bad))),
    }
}

/// Reads all keys, also those that do not sign: they will one day.
fn load_keys(folder: &Path, dynamic: &Dynamic) -> Result<(Signers, Keys), Vec<BadKey>> {
    let (mut signers, mut keys) = (Signers::default(), Keys::new());
    let mut bad = Vec::new();
    for (domain, dkim) in &dynamic.dkim {
        let mut loaded = BTreeMap::new();
        for (name, selector) in &dkim.selectors {
            match dkim_keys::load(&folder.join(&selector.key)) {
                Ok(key) => {
                    loaded.insert(name, selector.selector(domain, name, key));
                }
                Err(dkim_keys::Unusable { what, remedy }) => bad.push(BadKey {
                    domain: domain.clone(),
                    selector: name.clone(),
                    what,
                    remedy,
                }),
            }
        }
        let public = loaded.iter().map(|(name, selector)| {
            let record = KeyRecord::of_key(selector.key.public_key());
            (String::clone(name), record)
        });
        keys.insert(domain.clone(), public.collect());
        let active = dkim.sign.iter().filter_map(|name| loaded.remove(name));
        signers.add(domain.clone(), active.collect());
    }
    match bad.is_empty() {
        true => Ok((signers, keys)),
        false => Err(bad),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|e| {
            let before = e.utf8_error().valid_up_to();
            let line = e
                .as_bytes()
                .iter()
                .take(before)
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            Failure::Failed(format!(
                "{}:{line}: the file is not UTF-8 here; save it as UTF-8",
                path.display()
            ))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Failure::Failed(format!(
            "there is no file {}; name it with --config or $MOXCONF, or write one with moxctl quickstart",
            path.display()
        ))),
        Err(e) => Err(Failure::io("read", path, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_into_no_folder_that_it_leaves_again() {
        for (path, short) in [
            ("config/../data", "data"),
            ("/srv/mox/config/../data/../mail", "/srv/mox/mail"),
            ("../../data", "../../data"),
            ("a/../../data", "../data"),
            ("/../data", "/../data"),
            ("config/..", "."),
            ("./data", "data"),
        ] {
            assert_eq!(without_parents(Path::new(path)), Path::new(short), "{path}");
        }
    }
}
