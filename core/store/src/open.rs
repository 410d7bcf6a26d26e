//! Opening a store: whose it is, whether anything is missing, and what a crash left to be done first.

use bytes::Bytes;
use mox_machine::mutant;
use mox_mailbox::Batch;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::body::{BODIES, SHARDS, shard_dir};
use crate::disk::{Disk, read_small, replace};
use crate::mark::{Mark, RowMark};
use crate::store::{Options, Shared};
use crate::{Committer, Kv, Store};

/// The layout of files and rows of the store itself. An older program refuses a newer one.
pub const SCHEMA: u32 = 1;

const SCHEMA_FILE: &str = "schema";
const CLEAN_FILE: &str = "clean";
/// How that file ends when the store had no leftovers.
const TIDY: &[u8] = b" tidy\n";

/// Why a store could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    Locked {
        /// Its directory.
        place: String,
    },
    /// It was written by a later program.
    Newer {
        /// What it says.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// Commits that were durable are not there any more (S8).
    Shortfall {
        /// The last commit known to have been durable.
        durable: u64,
        /// The last one that is there.
        found: u64,
    },
    /// It cannot be read, or contradicts itself.
    Damaged(String),
    /// A file could not be read or written.
    Io(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMEDY: &str = "nothing was changed: look with `moxctl verify`, then restore a backup or run `moxctl salvage`";
        match self {
            Self::Locked { place } => {
                write!(f, "another server has the store {place} open")
            }
            Self::Newer { found, known } => write!(
                f,
                "the store has layout {found}, this program knows {known}: use a later version of mox"
            ),
            Self::Shortfall { durable, found } => write!(
                f,
                "the store lost data: commit {durable} was durable, the rows end with commit {found}; {REMEDY}"
            ),
            Self::Damaged(what) => write!(f, "the store is damaged: {what}; {REMEDY}"),
            Self::Io(what) => write!(f, "the store cannot be opened: {what}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl Store {
    /// Opens a store, or makes one where there is none. Blocks.
    ///
    /// After a crash everything recovered is made durable before this returns (S5).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        mut kv: Box<dyn Kv>,
        disk: Arc<dyn Disk>,
        options: Options,
    ) -> Result<(Self, Committer), OpenError> {
        let clean = check(&*disk)?;
        let found = RowMark::read(kv.reads()).map_err(OpenError::Damaged)?;
        let mut mark = match clean {
            Stop::Never => {
                if found.is_some() {
                    return Err(OpenError::Damaged(
                        "there are rows, but the files around them are gone".to_owned(),
                    ));
                }
                create(&*disk)?;
                RowMark::default()
            }
            Stop::Clean { number, .. } | Stop::Crash(number) => {
                // Rows without any mark: the store was made and never opened to the end.
                let found = found.unwrap_or_default();
                if found.mark.number < number && !mutant!(ShortfallIgnored) {
                    return Err(OpenError::Shortfall {
                        durable: number,
                        found: found.mark.number,
                    });
                }
                found
            }
        };
        let at_rest = matches!(clean, Stop::Clean { number, .. } if number == mark.mark.number);
        if !at_rest && !mutant!(RecoveredNotDurable) {
            kv.rotate()?;
        }
        if matches!(clean, Stop::Clean { .. }) {
            disk.unlink(CLEAN_FILE)?;
            disk.sync_dir("")?;
        }
        // A body number is never used twice, whichever of the two places was set back.
        let boots = mark
            .mark
            .boot
            .max(Mark::read(&*disk)?.unwrap_or_default().boot);
        let tidy = matches!(clean, Stop::Never | Stop::Clean { tidy: true, .. });
        let left_by = if tidy { 0 } else { boots };
        mark.mark.boot = boots
            .checked_add(1)
            .ok_or_else(|| OpenError::Damaged("it was opened too often".to_owned()))?;
        mark.mark.write_both(&*disk)?;
        let batch: Batch = mark.batch(false);
        kv.commit(&batch)?;
        kv.sync()?;
        let view = kv.snapshot();
        let shared = Arc::new(Shared::new(disk, options, mark.mark, left_by, view));
        shared.look_at_space();
        let committer = Committer::new(Arc::clone(&shared), kv, mark);
        Ok((Self { shared }, committer))
    }
}

/// How a store stopped last, with the number known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There is none.
    Never,
    /// In order.
    Clean {
        /// That number.
        number: u64,
        /// Without any body file that nothing refers to.
        tidy: bool,
    },
    /// Not in order.
    Crash(u64),
}

/// Looks at the files around the rows; changes nothing.
pub(crate) fn check(disk: &dyn Disk) -> Result<Stop, OpenError> {
    let Some(schema) = read_small(disk, SCHEMA_FILE, 16)? else {
        return Ok(Stop::Never);
    };
    let found = number(&schema)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| OpenError::Damaged("the file `schema` holds no number".to_owned()))?;
    if found > SCHEMA {
        return Err(OpenError::Newer {
            found,
            known: SCHEMA,
        });
    }
    let mark = Mark::read(disk)?.ok_or_else(|| {
        OpenError::Damaged("neither `mark.a` nor `mark.b` is readable".to_owned())
    })?;
    let clean = read_small(disk, CLEAN_FILE, 32)?;
    let clean = clean.and_then(|c| {
        let tidy = c.strip_suffix(TIDY);
        number(tidy.unwrap_or(&c)).map(|at| (at, tidy.is_some()))
    });
    Ok(match clean {
        Some((at, tidy)) => Stop::Clean {
            number: at.max(mark.number),
            tidy,
        },
        None => Stop::Crash(mark.number),
    })
}

/// Says that the store stopped in order after a commit, and whether every body file has a reference.
pub(crate) fn write_clean(disk: &dyn Disk, mark: Mark, tidy: bool) -> io::Result<()> {
    let mut content = format!("{}\n", mark.number).into_bytes();
    if tidy {
        content.pop();
        content.extend_from_slice(TIDY);
    }
    replace(disk, CLEAN_FILE, Bytes::from(content))
}

/// Makes directories and files; the schema last, so that a crash before leaves no store.
fn create(disk: &dyn Disk) -> io::Result<()> {
    create_dirs(disk)?;
    Mark::default().create(disk)?;
    create_schema(disk)
}

/// Makes the directories of bodies.
pub(crate) fn create_dirs(disk: &dyn Disk) -> io::Result<()> {
    disk.create_dir(BODIES)?;
    for shard in 0..SHARDS {
        disk.create_dir(&shard_dir(shard.to_be_bytes()[1]))?;
    }
    disk.sync_dir(BODIES)
}

/// Makes a store of what is there.
pub(crate) fn create_schema(disk: &dyn Disk) -> io::Result<()> {
    disk.sync_dir("")?;
    replace(disk, SCHEMA_FILE, Bytes::from(format!("{SCHEMA}\n")))
}

fn number(content: &[u8]) -> Option<u64> {
    std::str::from_utf8(content).ok()?.trim_end().parse().ok()
}
