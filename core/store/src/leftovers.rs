//! Files that nobody will ever refer to, and whether a store may have any (S6).

use mox_machine::mutant;
use mox_mailbox::{BodyHeader, BodyId, Reads};
use std::io;
use std::sync::Arc;

use crate::body::{SHARDS, file_of};
use crate::lock::Lock;
use crate::{Disk, Store};

/// Body files that deliveries left which a sudden end cut short. They are no fault: the next start removes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// How many.
    pub files: u64,
    /// Octets of all.
    pub octets: u64,
}

/// How far a store may have leftovers: they come from stops that were not in order and from unlinks that failed, and
/// one whole sweep ends them.
#[derive(Debug)]
pub(crate) struct Tidiness(Lock<State>);

#[derive(Debug)]
struct State {
    /// The last start of the store that may have left any; 0 when there are none.
    left_by: u32,
    /// The directories swept since.
    swept: [bool; SHARDS as usize],
}

impl Tidiness {
    /// `left_by` as in [`State`].
    pub(crate) const fn new(left_by: u32) -> Self {
        Self(Lock::new(State {
            left_by,
            swept: [false; SHARDS as usize],
        }))
    }

    /// The last start that may have leftovers; 0 when there are none.
    pub(crate) fn left_by(&self) -> u32 {
        self.0.lock().left_by
    }

    /// A file of any start up to this one may stay behind.
    pub(crate) fn spoil(&self, boot: u32) {
        let mut state = self.0.lock();
        state.left_by = state.left_by.max(boot);
        state.swept = [false; SHARDS as usize];
    }

    /// A directory was swept.
    pub(crate) fn swept(&self, shard: u8) {
        let mut state = self.0.lock();
        if let Some(swept) = state.swept.get_mut(usize::from(shard)) {
            *swept = true;
        }
        if state.swept.iter().all(|swept| *swept) {
            state.left_by = 0;
        }
    }
}

/// What a body file is, for who goes through all of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Referred to, under way, or gone meanwhile.
    Kept,
    /// Nothing refers to it, and a delivery may have left it like this.
    Orphan {
        /// Its length.
        octets: u64,
    },
    /// Nothing refers to it, and no delivery can have left it like this.
    Stray(String),
}

impl Store {
    /// What the file of a body is. A caller has seen its name before.
    pub(crate) fn standing(&self, id: BodyId) -> io::Result<Standing> {
        let shared = &self.shared;
        let in_flight = || shared.in_flight.contains(id) && !mutant!(SweepTakesInFlight);
        if in_flight() {
            return Ok(Standing::Kept);
        }
        // Whether it is under way, then the view: a file under way before is referred to in any view from here on, or
        // removed. Then again: what was referred to before the view is announced here before it is unlinked.
        let view = Arc::clone(&self.published().view);
        let referenced = (shared.options.referenced)(&*view, id).map_err(io::Error::other)?;
        if referenced || in_flight() {
            return Ok(Standing::Kept);
        }
        let octets = match shared.disk.length(&file_of(id)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Standing::Kept),
            other => other?,
        };
        Ok(match stray(&*shared.disk, &*view, id, shared.boot)? {
            Some(why) => Standing::Stray(why),
            None => Standing::Orphan { octets },
        })
    }
}

/// Why a file that nothing refers to is not what an unfinished delivery leaves; `None` when it is.
///
/// Its content is written before its header, and nothing of it was synced when it is not complete: so it may be of any
/// length and its header zeros. But a header is either as it was written or not there, since no disk tears 128 octets
/// at the beginning of a file.
fn stray(disk: &dyn Disk, view: &dyn Reads, id: BodyId, boot: u32) -> io::Result<Option<String>> {
    if id.boot > boot {
        return Ok(Some("it is of a start that never was".to_owned()));
    }
    let head = match disk.read_at(&file_of(id), 0, BodyHeader::LEN) {
        // Gone meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if head.len() < BodyHeader::LEN || head.iter().all(|octet| *octet == 0) {
        return Ok(None);
    }
    Ok(match BodyHeader::decode(&head) {
        Err(e) => Some(e.to_string()),
        Ok(header) if header.body.id != id => Some("it is another body".to_owned()),
        Ok(header) => {
            let made = mox_mailbox::account_was_made(view, header.account);
            (!made.map_err(io::Error::other)?).then(|| {
                format!(
                    "account {} that it came for was never made: rows are missing",
                    header.account.0
                )
            })
        }
    })
}
