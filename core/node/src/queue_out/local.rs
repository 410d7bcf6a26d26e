//! Recipients of the queue that are our own: those one operation could not serve when the message came, and those of a
//! domain that has become ours.

use bytes::Bytes;
use mox_address::Path;
use mox_driver::{Pool, Runtime};
use mox_mailbox::{Body, Delivery, Flags, QueueEntry, QueueMessage, Target};
use mox_server::{Arrived, Found, StoredStructure};
use std::sync::Arc;

use crate::node::Inner;
use crate::reread::reread;
use crate::smtp_in::mailboxes_at_once;

/// Delivers to the recipients of an entry that have a mailbox here, as many at a time as one operation serves. Answers with
/// the entry as it is then: the others are still in it, and when none is left it is gone.
pub(super) async fn deliver<R: Runtime>(
    node: &Arc<Inner<R>>,
    mut entry: QueueEntry,
    message: &QueueMessage,
) -> Result<Option<QueueEntry>, String> {
    let targets = targets(node, &entry, message);
    if targets.is_empty() {
        return Ok(Some(entry));
    }
    let arrived = look_through(node, message).await?;
    let structure = StoredStructure::encode(&arrived.structure);
    let at_once = mailboxes_at_once(arrived.header.len() + structure.len());
    for some in targets.chunks(at_once) {
        let now = node.runtime.now().utc;
        let delivery = Delivery {
            body: Body::Stored(message.body),
            structure: structure.clone(),
            header: arrived.header.clone(),
            targets: some.iter().map(|(_, target)| target.clone()).collect(),
            queue: None,
            now,
        };
        let (id, to) = (entry.id, some.iter().map(|(to, _)| to.clone()));
        let to: Vec<String> = to.collect();
        let count = to.len();
        let op = move |reads: &dyn mox_mailbox::Reads| {
            mox_mailbox::queue_deliver(reads, id, &to, &delivery)
        };
        let (left, _) = node.store.run(op).await.map_err(|e| e.to_string())?;
        tracing::info!(
            target: "delivery",
            id = String::from_utf8_lossy(&message.extra).as_ref(),
            entry = id,
            from = message.reverse_path,
            recipients = count,
            "delivered to mailboxes here"
        );
        match left {
            Some(left) => entry = left,
            None => return Ok(None),
        }
    }
    Ok(Some(entry))
}

/// Who is ours, and where the message goes.
fn targets<R: Runtime>(
    node: &Inner<R>,
    entry: &QueueEntry,
    message: &QueueMessage,
) -> Vec<(String, Target)> {
    let directory = node.directory();
    let from = match message.reverse_path.as_str() {
        "" => None,
        path => Path::parse(path, true).ok(),
    };
    let target = |recipient: &String| {
        let to = Path::parse(recipient, true).ok()?;
        let Found::Account {
            account, mailbox, ..
        } = directory.find(&to)
        else {
            return None;
        };
        let prefix = mox_message::return_path(from.as_ref()) + &mox_message::delivered_to(&to);
        let mut prefix = prefix.into_bytes();
        prefix.extend_from_slice(&message.prefix);
        let target = Target {
            account: node.account_id(&account)?,
            mailbox: mailbox.unwrap_or_else(|| mox_mailbox::INBOX.into()),
            create: true,
            prefix: Bytes::from(prefix),
            flags: Flags::NONE,
            keywords: Vec::new(),
            date: message.created,
            origin: Bytes::new(),
        };
        Some((recipient.clone(), target))
    };
    entry.recipients.iter().filter_map(target).collect()
}

/// Structure and header of a message in the queue.
async fn look_through<R: Runtime>(
    node: &Arc<Inner<R>>,
    message: &QueueMessage,
) -> Result<Arrived, String> {
    let (store, published, body) = (node.store.clone(), node.store.published(), message.body);
    let work = move || reread(&store, &*published.view, &body);
    let arrived = node.runtime.blocking(Pool::Bodies, Box::new(work)).await;
    arrived.map_err(|error| format!("a queued message cannot be read: {error}"))
}
