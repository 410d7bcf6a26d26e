//! The file of a filter: what was learned of each word, in the order of their ids.
//!
//! The file is replaced whole: a crash leaves the old one or the new one. It begins with [`MAGIC`], then the number of the
//! way in which words are made, messages of ham and of spam, and the number of words, all little-endian, then the words, and
//! ends with a hash (blake3) of all that.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use mox_junk::{Class, Counts, FEATURES, WordId, Words};

use super::no_filter;
use crate::failure::Failure;
use crate::files::create_new;

/// What the file begins with, its version at the end.
const MAGIC: &[u8; 8] = b"moxjunk1";
const FILE: &str = "words";
const NEW: &str = ".words.new";
const LOCK: &str = "lock";
const HEAD: usize = MAGIC.len() + 4 + 4 + 4 + 8;
/// Octets of a word: its id and its two counts.
const ENTRY: usize = 16;
const HASH: usize = 32;

/// What was learned, to judge by.
pub(super) struct Filter {
    pub(super) learned: Counts,
    words: Vec<(WordId, Counts)>,
}

impl Filter {
    /// Reads what is in a directory.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        Self::read(dir)?.ok_or_else(|| no_filter(dir))
    }

    pub(super) fn counts(&self, id: WordId) -> Counts {
        let found = self.words.binary_search_by_key(&id, |(id, _)| *id);
        let found = found.ok().and_then(|at| self.words.get(at));
        found.map(|(_, counts)| *counts).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    fn read(dir: &Path) -> Result<Option<Self>, Failure> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(octets) => Self::decode(&octets)
                .map(Some)
                .map_err(|why| Failure::Failed(format!("the filter in {} {why}", path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Failure::io("read", &path, &e)),
        }
    }

    fn decode(octets: &[u8]) -> Result<Self, &'static str> {
        let damaged = "is damaged; train a new one";
        let (octets, hash) = octets
            .split_last_chunk::<HASH>()
            .ok_or("is cut short; train a new one")?;
        if !octets.starts_with(MAGIC) {
            return Err("is none that this moxctl knows");
        }
        if blake3::hash(octets) != *hash {
            return Err(damaged);
        }
        let (head, entries) = octets.split_at_checked(HEAD).ok_or(damaged)?;
        let number = |at: usize| {
            let four = head.get(at..).and_then(<[u8]>::first_chunk::<4>);
            four.map(|four| u32::from_le_bytes(*four)).ok_or(damaged)
        };
        if number(8)? != FEATURES {
            return Err(
                "was trained by a moxctl that made other words of messages; train a new one",
            );
        }
        let words = entries.chunks_exact(ENTRY).filter_map(|entry| {
            let (id, rest) = entry.split_first_chunk::<8>()?;
            let (ham, spam) = rest.split_first_chunk::<4>()?;
            let counts = Counts {
                ham: u32::from_le_bytes(*ham),
                spam: u32::from_le_bytes(*spam.first_chunk()?),
            };
            Some((WordId(u64::from_le_bytes(*id)), counts))
        });
        Ok(Self {
            learned: Counts {
                ham: number(12)?,
                spam: number(16)?,
            },
            words: words.collect(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.words.len() * ENTRY + HASH);
        out.extend_from_slice(MAGIC);
        for number in [FEATURES, self.learned.ham, self.learned.spam] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(self.words.len() as u64).to_le_bytes());
        for (id, counts) in &self.words {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&counts.ham.to_le_bytes());
            out.extend_from_slice(&counts.spam.to_le_bytes());
        }
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        out
    }
}

/// A filter that learns; nobody else may meanwhile.
pub(super) struct Learning {
    dir: PathBuf,
    learned: Counts,
    words: BTreeMap<WordId, Counts>,
    _lock: File,
}

impl Learning {
    /// Goes on with what is in a directory, or begins there.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(|e| Failure::io("make", dir, &e))?;
        let path = dir.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Failure::io("open", &path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Failed(format!(
                    "another moxctl is training the filter in {}",
                    dir.display()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(Failure::io("lock", &path, &e)),
        }
        let (learned, words) = match Filter::read(dir)? {
            Some(filter) => (filter.learned, filter.words.into_iter().collect()),
            None => Default::default(),
        };
        Ok(Self {
            dir: dir.into(),
            learned,
            words,
            _lock: lock,
        })
    }

    pub(super) fn learn(&mut self, words: &Words, class: Class) {
        self.learned.add(class);
        for id in words.ids() {
            self.words.entry(id).or_default().add(class);
        }
    }

    /// Makes what was learned durable.
    pub(super) fn save(self) -> Result<Filter, Failure> {
        let filter = Filter {
            learned: self.learned,
            words: self.words.into_iter().collect(),
        };
        let (path, new) = (self.dir.join(FILE), self.dir.join(NEW));
        // Left by one that was stopped.
        let _ = fs::remove_file(&new);
        create_new(&new, &filter.encode(), 0o600)
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(|e| Failure::io("write", &path, &e))?;
        Ok(filter)
    }
}
