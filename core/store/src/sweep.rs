//! Removing body files that nobody will ever refer to: left by a crash, or by an unlink that failed.

use mox_machine::mutant;
use std::io;
use std::sync::Arc;

use crate::Store;
use crate::body::{body_of, file_of, shard_dir};

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Files that stay: referred to, in flight, or none of ours.
    pub kept: u64,
    /// Files removed.
    pub removed: u64,
}

impl Store {
    /// Sweeps one of the [`SHARDS`](crate::SHARDS) directories of body files. Blocks.
    ///
    /// A file goes when no row of the published state refers to it and it is either of an earlier start of the store,
    /// or of this one and not in flight (S6). Its age does not matter.
    ///
    /// # Errors
    /// What disk or rows said; whatever was removed until then is rightly gone.
    pub fn sweep(&self, shard: u8) -> io::Result<Swept> {
        let shared = &self.shared;
        let mut swept = Swept::default();
        for name in shared.disk.list(&shard_dir(shard))? {
            // A name, then whether it is in flight, then the view: what was in flight and is no more has either been
            // removed or is referred to in any view taken from here on.
            let in_flight = |id| shared.is_in_flight(id) && !mutant!(SweepTakesInFlight);
            let gone = body_of(shard, &name).filter(|id| id.boot <= shared.boot && !in_flight(*id));
            let Some(id) = gone else {
                swept.kept += 1;
                continue;
            };
            let view = Arc::clone(&self.published().view);
            if (shared.options.referenced)(&*view, id).map_err(io::Error::other)? {
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
        Ok(swept)
    }
}
