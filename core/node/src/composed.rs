//! Messages that the server itself composes: written before anybody gets them.

use bytes::Bytes;
use mox_driver::{Pool, Runtime};
use mox_machine::Utc;
use mox_mailbox::{AccountId, Body, Delivery, MailboxId};
use mox_server::{Intake, StoredStructure};
use mox_store::{BodyFacts, Spooled};
use mox_uids::Uid;
use std::io;

use crate::node::Inner;

/// The account of what is for the queue alone.
pub(crate) const NOBODY: AccountId = AccountId(0);

/// Writes a message, and says how it is delivered: to nobody yet. What holds its file has to live to the end of the delivery.
///
/// # Errors
/// When it cannot be written.
pub(crate) async fn write<R: Runtime>(
    node: &Inner<R>,
    account: AccountId,
    message: Bytes,
    now: Utc,
) -> io::Result<(Delivery, Spooled)> {
    let mut intake = Intake::new();
    intake.push(&message);
    let arrived = intake.finish();
    let facts = BodyFacts {
        account,
        mailbox: MailboxId(0),
        uid: Uid(0),
        date: now,
    };
    let mut spool = node.store.spool();
    spool.push(message);
    let finish = Box::new(move || spool.finish(facts));
    let spooled = node.runtime.blocking(Pool::Bodies, finish).await?;
    let delivery = Delivery {
        body: Body::New(spooled.body().clone()),
        structure: StoredStructure::encode(&arrived.structure),
        header: arrived.header,
        targets: Vec::new(),
        queue: None,
        now,
    };
    Ok((delivery, spooled))
}
