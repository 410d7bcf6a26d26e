//! Taking an entry out of the queue, with a word to its sender or in silence. One that is being tried stays: its recipients may be
//! about to have the message.

use mox_driver::Runtime;
use mox_mailbox::{Batch, QueueEntry, QueueMessage, Reads, Stop};
use mox_queue::Outcome;
use std::sync::Arc;

use super::attempt::ours;
use super::notice::{self, Kind, NotWritten, Told};
use crate::node::Inner;

/// How often an entry that changes meanwhile is looked at again.
const TRIES: usize = 5;

/// What became of what was to be done to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is done.
    Yes,
    /// There is no such entry any more.
    Gone,
    /// It is being tried, and is still there.
    Tried,
}

/// Drops an entry, and with `tell` delivers a notification to its sender, in one operation.
pub(crate) async fn drop_entry<R: Runtime>(
    node: &Arc<Inner<R>>,
    id: u64,
    tell: bool,
) -> Result<Done, String> {
    for _ in 0..TRIES {
        let published = node.store.published();
        let view = &*published.view;
        let Some(entry) = mox_mailbox::queue_entry(view, id).map_err(|e| e.to_string())? else {
            return Ok(Done::Gone);
        };
        // Behind the look at its row: whatever begins from now on changes that.
        if node.attempts.has(id) {
            return Ok(Done::Tried);
        }
        let message = mox_mailbox::queue_message(view, entry.message).map_err(|e| e.to_string())?;
        let message = message.ok_or("the entry has no message")?;
        drop(published);
        let composed = match tell {
            true => compose(node, &entry, &message).await?,
            false => None,
        };
        let now = node.runtime.now().utc;
        let QueueEntry {
            recipients,
            attempts_made,
            ..
        } = entry;
        let op = move |reads: &dyn Reads| {
            let Some(there) = mox_mailbox::queue_entry(reads, id)? else {
                return Ok::<_, Stop>((Batch::default(), Some(Done::Gone)));
            };
            // An attempt began meanwhile, and somebody may have the message.
            if there.attempts_made != attempts_made {
                return Ok((Batch::default(), None));
            }
            let told = composed
                .as_ref()
                .map(|(notice, _)| (&recipients[..], notice));
            let (batch, done) = mox_mailbox::queue_drop(reads, id, told, now)?;
            drop(composed);
            Ok((batch, done.then_some(Done::Yes)))
        };
        if let Some(done) = node.store.run(op).await.map_err(|e| e.to_string())? {
            return Ok(done);
        }
    }
    Err(format!("entry {id} changes all the time; try again"))
}

async fn compose<R: Runtime>(
    node: &Arc<Inner<R>>,
    entry: &QueueEntry,
    message: &QueueMessage,
) -> Result<Option<(mox_mailbox::Delivery, mox_store::Spooled)>, String> {
    let why = "an administrator of this server took the message out of its queue";
    let result = ours(Outcome::Permanent, "5.3.0", why, None);
    let mut entry = entry.clone();
    mox_mailbox::count_unended(&mut entry);
    let told = entry.recipients.iter().map(|to| Told::new(to, &result));
    let told: Vec<Told> = told.collect();
    let composed = notice::compose(node, message, Kind::Failed, &told).await;
    composed.map_err(|NotWritten| "the notification could not be written".into())
}
