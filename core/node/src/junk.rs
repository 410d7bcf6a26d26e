//! The service that has the accounts' junk filters learn what their owners say of their mail.
//!
//! What is due stands in rows, so nothing here needs to be remembered: after a stop it goes on where it was. A message is
//! an operation, and the next one begins when that is durable: everybody else's operations come in between.

use bytes::Bytes;
use futures_lite::future;
use mox_driver::{Pool, Runtime};
use mox_machine::{Mono, fault};
use mox_mailbox::{AccountId, JunkDue, JunkSettled, Progress, ReadError, Reads, Stop};
use mox_server::junk::{Words, words_read};
use mox_store::{Store, StoreError, Topic};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::node::Inner;
use crate::reread::outline;
use crate::tls::sleep;

/// Messages of one account that are learned before it is the next one's turn.
const SHARE: usize = 16;
/// What could not be read is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A message that could not be read so often is passed over, as one is at once whose body is not there.
const TRIES: u32 = 3;

/// Why a turn came to nothing. Nothing is lost: the rows still say what is due.
enum Failure {
    /// Something of this account cannot be read.
    Account(String),
    /// The store takes nothing.
    Store(String),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Account(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoRoom | StoreError::Dead => Self::Store(error.to_string()),
            error => Self::Account(error.to_string()),
        }
    }
}

/// Accounts whose filters cannot learn just now.
#[derive(Default)]
struct Aside {
    until: BTreeMap<AccountId, Mono>,
    /// Messages that could not be read, and how often.
    unread: BTreeMap<AccountId, (JunkDue, u32)>,
}

impl Aside {
    /// Whose turn it is, of those that have something to learn: without those that are set aside, with those whose time has come.
    fn circle(&mut self, mut waiting: BTreeSet<AccountId>, now: Mono) -> BTreeSet<AccountId> {
        self.until.retain(|account, until| {
            let is_aside = *until > now;
            match is_aside {
                true => waiting.remove(account),
                false => waiting.insert(*account),
            };
            is_aside
        });
        waiting
    }
}

/// Runs until the process ends. After the server was told to stop it begins nothing new. Each account has its turn, so that
/// neither much to learn nor what cannot be read of one keeps the others waiting.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    let mut watch = node.store.watch(Topic::Junk, |published| published.number);
    let mut seen = 0;
    // A filter that learned with other words than this program makes may have nothing due: everybody is looked at once.
    let mut others: BTreeSet<AccountId> = node.account_ids().into_iter().collect();
    let mut aside = Aside::default();
    loop {
        let mut learned = false;
        let waiting = waiting(&node).await.map(|mut waiting| {
            waiting.append(&mut others);
            aside.circle(waiting, node.runtime.now().mono)
        });
        let mut failed = waiting.as_ref().err().cloned();
        for account in waiting.unwrap_or_default() {
            if node.registry.is_stopping() {
                core::future::pending::<()>().await;
            }
            match turn(&node, account, &mut aside.unread).await {
                Ok(some) => learned |= some,
                Err(Failure::Account(error)) => {
                    tracing::error!(target: "junk", account = account.0, %error, "the junk filter of this account cannot learn now");
                    let until = node.runtime.now().mono + AGAIN_AFTER;
                    aside.until.insert(account, until);
                }
                Err(Failure::Store(error)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = failed {
            if !node.registry.is_stopping() {
                tracing::error!(target: "junk", %error, "no junk filter can learn now");
            }
            sleep(&node.runtime, AGAIN_AFTER).await;
        } else if !learned {
            let now = node.runtime.now().mono;
            let again = aside.until.values().min().map(|until| until.since(now));
            let again = async {
                match again {
                    Some(wait) => sleep(&node.runtime, wait).await,
                    None => core::future::pending().await,
                }
                None
            };
            let changed = async { Some(watch.changed(seen).await) };
            seen = future::or(changed, again).await.unwrap_or(seen);
        }
    }
}

/// The accounts that have something to learn.
async fn waiting<R: Runtime>(node: &Arc<Inner<R>>) -> Result<BTreeSet<AccountId>, String> {
    let store = node.store.clone();
    let look = move || mox_mailbox::junk_accounts(&*store.published().view);
    let looked = node.runtime.blocking(Pool::Bodies, Box::new(look)).await;
    looked.map_err(|error| error.to_string())
}

/// An account's turn: it learns some of what there is to learn; false when there is nothing.
async fn turn<R: Runtime>(
    node: &Arc<Inner<R>>,
    account: AccountId,
    unread: &mut BTreeMap<AccountId, (JunkDue, u32)>,
) -> Result<bool, Failure> {
    let store = node.store.clone();
    let look = move || {
        let published = store.published();
        let view = &*published.view;
        let relearning = mox_mailbox::junk_relearning(view, account)?;
        let outdated = mox_mailbox::junk_is_outdated(view, account)?;
        let due = mox_mailbox::junk_due(view, Some(account), SHARE)?;
        Ok::<_, ReadError>((relearning, outdated, due))
    };
    let looked = node.runtime.blocking(Pool::Bodies, Box::new(look)).await;
    let (relearning, outdated, due) = looked?;
    if outdated && !relearning {
        tracing::info!(target: "junk", account = account.0, "this program makes other words of messages: its filter learns anew");
        let op = move |reads: &dyn Reads| mox_mailbox::junk_relearn(reads, account);
        node.store.run(op).await?;
        return Ok(true);
    }
    // A step makes messages of one mailbox due, which are learned before the next.
    if due.is_empty() {
        if relearning {
            relearn(node, account).await?;
        }
        return Ok(relearning);
    }
    for due in due {
        if node.registry.is_stopping() {
            break;
        }
        if !settle(node, &due).await? {
            let tries = match unread.remove(&account) {
                Some((known, tries)) if known == due => tries + 1,
                _ => 1,
            };
            if tries < TRIES {
                unread.insert(account, (due, tries));
                let why = "a message that it is to learn cannot be read";
                return Err(Failure::Account(why.into()));
            }
            pass_over(node, due, "it cannot be read").await?;
        }
    }
    Ok(true)
}

/// Forgets some of a filter, or makes some of what it is to learn due.
async fn relearn<R: Runtime>(node: &Arc<Inner<R>>, account: AccountId) -> Result<(), Failure> {
    let op = move |reads: &dyn Reads| mox_mailbox::junk_relearn_step(reads, account);
    match node.store.run(op).await {
        // An account that was removed meanwhile has no filter.
        Ok(Progress::More(()) | Progress::Done) | Err(StoreError::Refused(Stop::NoSuchAccount)) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Has one message learned or unlearned. False when it cannot be read just now.
async fn settle<R: Runtime>(node: &Arc<Inner<R>>, due: &JunkDue) -> Result<bool, Failure> {
    let mut words = None;
    if due.needs_words {
        let (store, wanted) = (node.store.clone(), due.clone());
        let key = node.authority.words_key();
        let work = move || words_of(&store, &wanted, key);
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
    let (due, needs_words) = (due.clone(), due.needs_words);
    let op = move |reads: &dyn Reads| {
        let ids: Option<Vec<_>> = words.as_ref().map(|words: &Words| words.ids().collect());
        mox_mailbox::junk_settle(reads, &due, ids.as_deref())
    };
    match node.store.run(op).await {
        // Somebody has just marked it otherwise: it is due again, or still.
        // What is said of a message that is gone in part would be due for ever.
        Ok(JunkSettled::NeedsWords) if needs_words => Ok(false),
        Ok(
            JunkSettled::Learned(_)
            | JunkSettled::Unlearned
            | JunkSettled::Unchanged
            | JunkSettled::NeedsWords,
        )
        | Err(StoreError::Refused(Stop::NoSuchAccount)) => Ok(true),
        Err(error) => Err(error.into()),
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
        Err(error) => Err(error.into()),
    }
}

/// The words of a stored message; `None` when it is gone. Blocks.
fn words_of(store: &Store, due: &JunkDue, key: u64) -> io::Result<Option<Words>> {
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
    words_read::<io::Error, Bytes>(key, &header, &part, &mut read).map(Some)
}
