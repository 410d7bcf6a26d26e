//! Taking an entry out of the queue, with a word to its sender.

use mox_driver::Runtime;
use mox_mailbox::{Batch, Reads, Stop};
use mox_queue::Outcome;
use std::sync::Arc;

use super::attempt::ours;
use super::notice::{self, Kind, NotWritten, Told};
use crate::node::Inner;

/// How often an entry that changes meanwhile is looked at again.
const TRIES: usize = 5;

/// Drops an entry and delivers a notification to its sender, in one operation. False when there is no such entry any more.
pub(crate) async fn drop_and_tell<R: Runtime>(
    node: &Arc<Inner<R>>,
    id: u64,
) -> Result<bool, String> {
    for _ in 0..TRIES {
        let published = node.store.published();
        let view = &*published.view;
        let Some(entry) = mox_mailbox::queue_entry(view, id).map_err(|e| e.to_string())? else {
            return Ok(false);
        };
        let message = mox_mailbox::queue_message(view, entry.message).map_err(|e| e.to_string())?;
        let message = message.ok_or("the entry has no message")?;
        drop(published);
        let why = "an administrator of this server took the message out of its queue";
        let result = ours(Outcome::Permanent, "5.3.0", why, None);
        let told = entry.recipients.iter().map(|to| Told::new(to, &result));
        let told: Vec<Told> = told.collect();
        let composed = notice::compose(node, &message, Kind::Failed, &told).await;
        let composed = composed.map_err(|NotWritten| "the notification could not be written")?;
        let now = node.runtime.now().utc;
        let recipients = entry.recipients;
        let op = move |reads: &dyn Reads| {
            if mox_mailbox::queue_entry(reads, id)?.is_none() {
                return Ok::<_, Stop>((Batch::default(), None));
            }
            let told = composed
                .as_ref()
                .map(|(notice, _)| (&recipients[..], notice));
            let (batch, done) = mox_mailbox::queue_drop(reads, id, told, now)?;
            drop(composed);
            Ok((batch, Some(done)))
        };
        match node.store.run(op).await.map_err(|e| e.to_string())? {
            None => return Ok(false),
            Some(true) => return Ok(true),
            // An attempt ended meanwhile, and somebody may have the message.
            Some(false) => {}
        }
    }
    Err(format!("entry {id} changes all the time; try again"))
}
