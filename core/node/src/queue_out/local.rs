//! Recipients of the queue that are our own: those one operation could not serve when the message came, and those of a
//! domain that has become ours.

use bytes::Bytes;
use mox_address::Path;
use mox_driver::{Pool, Runtime};
use mox_mailbox::{Body, Delivery, Filed, Flags, QueueEntry, QueueMessage, QueueRecipient, Target};
use mox_queue::Outcome;
use mox_server::{Arrived, Found, StoredStructure};
use mox_store::StoreError;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::attempt::ours;
use super::notice::{self, Told as About};
use crate::node::Inner;
use crate::reread::reread;
use crate::smtp_in::mailboxes_at_once;

/// Delivers to the recipients of an entry that have a mailbox here, as many at a time as one operation serves. Answers with
/// the entry as it is then: the others are still in it, and when none is left it is gone. Behind it are those whose mailbox
/// does not take the message.
pub(super) async fn deliver<R: Runtime>(
    node: &Arc<Inner<R>>,
    mut entry: QueueEntry,
    message: &QueueMessage,
) -> Result<(Option<QueueEntry>, Vec<String>), StoreError> {
    let targets = targets(node, &entry, message);
    if targets.is_empty() {
        return Ok((Some(entry), Vec::new()));
    }
    let mut refused = Vec::new();
    let arrived = match look_through(node, message).await {
        Ok(arrived) => arrived,
        Err(error) => {
            tracing::error!(target: "queue", id = entry.id, error, "mail for mailboxes here waits");
            let all = targets.into_iter().map(|(to, _)| to.address);
            return Ok((Some(entry), all.collect()));
        }
    };
    let structure = StoredStructure::encode(&arrived.structure);
    let at_once = mailboxes_at_once(arrived.header.len() + structure.len());
    for some in together(&targets, at_once) {
        let now = node.runtime.now().utc;
        let delivery = Delivery {
            body: Body::Stored(message.body),
            structure: structure.clone(),
            header: arrived.header.clone(),
            targets: some
                .iter()
                .flat_map(|(_, targets)| targets.clone())
                .collect(),
            queue: None,
            now,
        };
        let reached = ours(Outcome::Delivered, "2.1.5", "to a mailbox here", None);
        let about = some.iter().map(|(to, _)| About::new(to, &reached));
        let about: Vec<About> = about.collect();
        // It is delivered whether or not the sender can be told so.
        let told = notice::compose(node, message, notice::Kind::Delivered, &about).await;
        let told = told.unwrap_or_else(|notice::NotWritten| {
            tracing::warn!(
                target: "queue",
                id = String::from_utf8_lossy(&message.extra).as_ref(),
                entry = entry.id,
                from = message.reverse_path,
                recipients = some.len(),
                "mail is delivered, and its sender, who asked to be told so, is not: the notification could not be written"
            );
            None
        });
        let (notice, held) = told.map_or((None, None), |(notice, held)| (Some(notice), Some(held)));
        let (id, to) = (entry.id, some.iter().map(|(to, _)| to.address.clone()));
        let to: Vec<String> = to.collect();
        let count = to.len();
        // The notification may be what is refused: its account may be gone.
        let without = notice.is_some().then(|| (to.clone(), delivery.clone()));
        let addresses = to.clone();
        let op = move |reads: &dyn mox_mailbox::Reads| {
            let result = mox_mailbox::queue_deliver(reads, id, &to, &delivery, notice.as_ref());
            drop(held);
            result
        };
        let delivered = match (node.store.run(op).await, without) {
            (Err(error), Some((to, delivery))) if !matches!(error, StoreError::Dead) => {
                tracing::warn!(target: "queue", id, %error, "a notification could not be stored");
                let op = move |reads: &dyn mox_mailbox::Reads| {
                    mox_mailbox::queue_deliver(reads, id, &to, &delivery, None)
                };
                node.store.run(op).await
            }
            (delivered, _) => delivered,
        };
        let left = match delivered {
            Ok((left, _)) => left,
            Err(StoreError::Dead) => return Err(StoreError::Dead),
            // That they may wait for, but not for ever.
            Err(error) => {
                tracing::error!(target: "queue", id, %error, "mail for mailboxes here waits");
                refused.extend(addresses);
                continue;
            }
        };
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
            None => return Ok((None, refused)),
        }
    }
    Ok((Some(entry), refused))
}

/// Recipients whose mailboxes one operation serves, in their order: those of an alias are served together, at most
/// [`ALIAS_MEMBERS_MAX`](mox_server::config::ALIAS_MEMBERS_MAX), which one batch holds.
fn together<T>(all: &[(T, Vec<Target>)], at_once: usize) -> Vec<&[(T, Vec<Target>)]> {
    let (mut chunks, mut rest) = (Vec::new(), all);
    while !rest.is_empty() {
        let mut mailboxes = 0;
        let fit = rest.iter().take_while(|(_, targets)| {
            mailboxes += targets.len();
            mailboxes <= at_once
        });
        let (chunk, left) = rest.split_at(fit.count().max(1).min(rest.len()));
        chunks.push(chunk);
        rest = left;
    }
    chunks
}

/// Who is ours, and where the message goes.
fn targets<R: Runtime>(
    node: &Inner<R>,
    entry: &QueueEntry,
    message: &QueueMessage,
) -> Vec<(QueueRecipient, Vec<Target>)> {
    let directory = node.directory();
    let from = match message.reverse_path.as_str() {
        "" => None,
        path => Path::parse(path, true).ok(),
    };
    let target = |recipient: &QueueRecipient| {
        let to = Path::parse(&recipient.address, true).ok()?;
        let found = directory.find(&to);
        let mailboxes: Vec<(String, Option<String>)> = match found.clone() {
            Found::Account {
                account, mailbox, ..
            } => vec![(account, mailbox)],
            Found::Alias { members, .. } => {
                // Two addresses of one account are one mailbox.
                let accounts: BTreeSet<String> = members.into_iter().map(|m| m.account).collect();
                accounts
                    .into_iter()
                    .map(|account| (account, None))
                    .collect()
            }
            Found::UnknownLocalPart | Found::NotOurs => return None,
        };
        // The address may be somebody else's by now.
        let is_theirs = |filed: &&Filed| match &found {
            Found::Account { account, .. } => node.account_id(account) == Some(filed.account),
            _ => false,
        };
        let filed = recipient.filed.as_ref().filter(is_theirs);
        let prefix = mox_message::return_path(from.as_ref()) + &mox_message::delivered_to(&to);
        let prefix = filed.map_or("", |filed| &filed.fields).to_owned() + &prefix;
        let mut prefix = prefix.into_bytes();
        prefix.extend_from_slice(&message.prefix);
        let prefix = Bytes::from(prefix);
        let target = |(account, mailbox): (String, Option<String>)| {
            Some(Target {
                account: node.account_id(&account)?,
                mailbox: filed
                    .map(|filed| filed.mailbox.clone())
                    .or(mailbox)
                    .unwrap_or_else(|| mox_mailbox::INBOX.into()),
                create: true,
                prefix: prefix.clone(),
                flags: match filed.is_some_and(|filed| filed.seen) {
                    true => Flags::SEEN,
                    false => Flags::NONE,
                },
                keywords: Vec::new(),
                date: message.created,
                origin: filed.map_or_else(Bytes::new, |filed| filed.origin.clone()),
            })
        };
        let targets: Option<Vec<Target>> = mailboxes.into_iter().map(target).collect();
        Some((recipient.clone(), targets?))
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
