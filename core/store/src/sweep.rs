//! Removing body files that nobody will ever refer to: left by a crash, or by an unlink that failed.

use std::io;

use crate::Store;
use crate::body::{body_of, file_of, shard_dir};
use crate::leftovers::Standing;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Files that stay: referred to, in flight, none of ours, or such that only damage explains them.
    pub kept: u64,
    /// Files removed.
    pub removed: u64,
}

impl Store {
    /// Sweeps one of the [`SHARDS`](crate::SHARDS) directories of body files. Blocks.
    ///
    /// A file goes when no row of the published state refers to it and it is either of an earlier start of the store,
    /// or of this one and not in flight (S6). Its age does not matter. One that no delivery can have left like this
    /// stays for [`verify`](Self::verify) and whoever salvages: it speaks of rows that were lost.
    ///
    /// # Errors
    /// What disk or rows said; whatever was removed until then is rightly gone.
    pub fn sweep(&self, shard: u8) -> io::Result<Swept> {
        let shared = &self.shared;
        let mut swept = Swept::default();
        let mut spared = false;
        for name in shared.disk.list(&shard_dir(shard))? {
            let Some(id) = body_of(shard, &name) else {
                swept.kept += 1;
                continue;
            };
            if !matches!(self.standing(id)?, Standing::Orphan { .. }) {
                swept.kept += 1;
                continue;
            }
            // After the judgement: a lease that begins later is for states in which nothing refers to it either.
            if shared.leases.held() {
                spared = true;
                swept.kept += 1;
                continue;
            }
            match shared.disk.unlink(&file_of(id)) {
                Ok(()) => swept.removed += 1,
                // The committer was faster.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        if !spared {
            shared.tidiness.swept(shard);
        }
        Ok(swept)
    }
}
