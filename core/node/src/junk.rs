//! The service that has the accounts' junk filters learn what their owners say of their mail.
//!
//! What is due stands in rows, so nothing here needs to be remembered: after a stop it goes on where it was. A message is
//! an operation, and the next one begins when that is durable: everybody else's operations come in between.

use bytes::Bytes;
use mox_driver::{Pool, Runtime};
use mox_machine::fault;
use mox_mailbox::{AccountId, JunkDue, JunkSettled, Progress, ReadError, Reads, Stop};
use mox_server::junk::{Words, words_read};
use mox_store::{Store, StoreError, Topic};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::node::Inner;
use crate::reread::outline;
use crate::tls::sleep;

/// Messages that are read from what is due at a time.
const PAGE: usize = 64;
/// What could not be read is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A message that could not be read so often is passed over, as one is at once whose body is not there.
const TRIES: u32 = 3;

/// Runs until the process ends. After the server was told to stop it begins nothing new.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    let mut watch = node.store.watch(Topic::Junk, |published| published.number);
    let mut seen = 0;
    let mut stubborn: Option<(JunkDue, u32)> = None;
    while let Err(error) = relearn_outdated(&node).await {
        pause(&node, &error).await;
    }
    loop {
        if node.registry.is_stopping() {
            core::future::pending::<()>().await;
        }
        match turn(&node, &mut stubborn).await {
            Ok(true) => {}
            Ok(false) => seen = watch.changed(seen).await,
            Err(error) => pause(&node, &error).await,
        }
    }
}

/// Why a turn came to nothing. Nothing is lost: the rows still say what is due.
type Failure = String;

async fn pause<R: Runtime>(node: &Inner<R>, error: &Failure) {
    if !node.registry.is_stopping() {
        tracing::error!(target: "junk", %error, "a junk filter cannot learn now");
    }
    sleep(&node.runtime, AGAIN_AFTER).await;
}

/// A filter that learned with other words than this program makes learns anew.
async fn relearn_outdated<R: Runtime>(node: &Arc<Inner<R>>) -> Result<(), Failure> {
    for account in node.account_ids() {
        let published = node.store.published();
        let outdated = mox_mailbox::junk_is_outdated(&*published.view, account);
        if outdated.map_err(|e| e.to_string())? {
            tracing::info!(target: "junk", account = account.0, "this program makes other words of messages: its filter learns anew");
            let op = move |reads: &dyn Reads| mox_mailbox::junk_relearn(reads, account);
            node.store.run(op).await.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// Some of what there is to do; false when there is nothing.
async fn turn<R: Runtime>(
    node: &Arc<Inner<R>>,
    stubborn: &mut Option<(JunkDue, u32)>,
) -> Result<bool, Failure> {
    let store = node.store.clone();
    let look = move || {
        let published = store.published();
        let relearning = mox_mailbox::junk_relearning(&*published.view)?;
        let due = mox_mailbox::junk_due(&*published.view, PAGE)?;
        Ok::<_, ReadError>((relearning, due))
    };
    let looked = node.runtime.blocking(Pool::Bodies, Box::new(look)).await;
    let (relearning, due) = looked.map_err(|e| e.to_string())?;
    // A step makes messages of one mailbox due, which are learned before the next. What is due is known when it fits on a page.
    let is_done = |account: &AccountId| due.iter().all(|due| due.account != *account);
    if let Some(account) = relearning.filter(|account| due.len() < PAGE && is_done(account)) {
        relearn(node, account).await?;
        if due.is_empty() {
            return Ok(true);
        }
    }
    let any = !due.is_empty() || relearning.is_some();
    for due in due {
        if node.registry.is_stopping() {
            break;
        }
        if !settle(node, &due).await? {
            let tries = match stubborn.take() {
                Some((known, tries)) if known == due => tries + 1,
                _ => 1,
            };
            if tries < TRIES {
                *stubborn = Some((due, tries));
                return Err("a message that it is to learn cannot be read".into());
            }
            pass_over(node, due, "it cannot be read").await?;
        }
    }
    Ok(any)
}

/// Forgets some of a filter, or makes some of what it is to learn due.
async fn relearn<R: Runtime>(node: &Arc<Inner<R>>, account: AccountId) -> Result<(), Failure> {
    let op = move |reads: &dyn Reads| mox_mailbox::junk_relearn_step(reads, account);
    match node.store.run(op).await {
        // An account that was removed meanwhile has no filter.
        Ok(Progress::More(()) | Progress::Done) | Err(StoreError::Refused(Stop::NoSuchAccount)) => {
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Has one message learned or unlearned. False when it cannot be read just now.
async fn settle<R: Runtime>(node: &Arc<Inner<R>>, due: &JunkDue) -> Result<bool, Failure> {
    let mut words = None;
    if due.needs_words {
        let (store, wanted) = (node.store.clone(), due.clone());
        let work = move || words_of(&store, &wanted);
        match node.runtime.blocking(Pool::Bodies, Box::new(work)).await {
            Ok(found) => words = found,
            Err(error) => {
                let (account, mailbox, uid) = (due.account.0, due.mailbox.0, due.uid.0);
                tracing::warn!(target: "junk", account, mailbox, uid, %error, "a message that is to be learned cannot be read");
                // What is not there will not come back.
                let is_lost = matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::InvalidData
                        | io::ErrorKind::UnexpectedEof
                );
                return match is_lost {
                    true => pass_over(node, due.clone(), "its body is not there")
                        .await
                        .map(|()| true),
                    false => Ok(false),
                };
            }
        }
    }
    let due = due.clone();
    let op = move |reads: &dyn Reads| {
        let ids: Option<Vec<_>> = words.as_ref().map(|words: &Words| words.ids().collect());
        mox_mailbox::junk_settle(reads, &due, ids.as_deref())
    };
    match node.store.run(op).await {
        // Somebody has just marked it otherwise: it is due again, or still.
        Ok(
            JunkSettled::Learned(_)
            | JunkSettled::Unlearned
            | JunkSettled::Unchanged
            | JunkSettled::NeedsWords,
        )
        | Err(StoreError::Refused(Stop::NoSuchAccount)) => Ok(true),
        Err(error) => Err(error.to_string()),
    }
}

async fn pass_over<R: Runtime>(
    node: &Arc<Inner<R>>,
    due: JunkDue,
    why: &str,
) -> Result<(), Failure> {
    let (account, mailbox, uid) = (due.account.0, due.mailbox.0, due.uid.0);
    tracing::warn!(target: "junk", account, mailbox, uid, why, "a message is not learned");
    let op =
        move |reads: &dyn Reads| Ok::<_, Stop>((mox_mailbox::junk_pass_over(reads, &due)?, ()));
    match node.store.run(op).await {
        Ok(()) | Err(StoreError::Refused(Stop::NoSuchAccount)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The words of a stored message; `None` when it is gone. Blocks.
fn words_of(store: &Store, due: &JunkDue) -> io::Result<Option<Words>> {
    if fault!("node words not read") {
        return Err(io::Error::other("a fault"));
    }
    let published = store.published();
    let view = &*published.view;
    let &JunkDue {
        account,
        mailbox,
        uid,
        ..
    } = due;
    let Some(meta) = mox_mailbox::meta(view, account, mailbox, uid).map_err(io::Error::other)?
    else {
        return Ok(None);
    };
    let (part, header) = outline(store, view, (account, mailbox, uid), &meta)?;
    let mut read = |range| store.read_body(view, &meta.body, range);
    words_read::<io::Error, Bytes>(&header, &part, &mut read).map(Some)
}
