//! What keeps the rows: an ordered, atomic, not yet durable log of batches, and one call that makes it durable.

use mox_mailbox::{Batch, Reads};
use std::io;
use std::sync::Arc;

/// An ordered map in two keyspaces. Only the committer holds one, so its calls may block.
///
/// After a failed [`commit`](Self::commit) or [`sync`](Self::sync) nothing is known of what was written: the
/// committer stops (S10), and only opening again tells.
pub trait Kv: Send {
    /// The latest state: all committed batches, durable or not.
    fn reads(&self) -> &dyn Reads;
    /// Applies the writes of a batch: all or nothing, after every batch before it, not durable yet. Of several writes
    /// of one key the last wins.
    fn commit(&mut self, batch: &Batch) -> io::Result<()>;
    /// Makes every committed batch durable.
    fn sync(&mut self) -> io::Result<()>;
    /// A view of the latest state that later batches do not change.
    fn snapshot(&self) -> Arc<dyn Reads + Send + Sync>;
    /// Writes everything anew, durably, that so far rests only on a log that was read back (S5).
    fn rotate(&mut self) -> io::Result<()>;
    /// Makes everything durable in the form that opens fastest, and lets go of files and threads.
    fn close(self: Box<Self>) -> io::Result<()>;
}
