//! What is kept of a message that nobody takes: the record of why, and copies for accounts that want them.

use bytes::Bytes;
use mox_address::Path;
use mox_driver::{Pool, Runtime};
use mox_mailbox::{
    AccountId, Body, Delivery, Flags, MailboxId, NewBody, Observation, REJECT_OCTETS_MAX, Reads,
    Rejected, Target,
};
use mox_server::decision::{Record, Verdict};
use mox_server::{Arrived, StoredStructure};
use mox_store::{BodyFacts, DiskSpace, Spool};
use mox_uids::Uid;
use std::collections::BTreeSet;

use super::commit::{mailboxes_at_once, prefix};
use super::judge::{Judged, hash};
use super::record;
use super::trace::{Stamp, for_mailbox};
use crate::node::Inner;

/// A message that is refused or put off.
pub(super) struct Refused<'a> {
    pub(super) judged: Judged,
    /// For each judgement: whom it is about.
    pub(super) recipients: Vec<(AccountId, &'a Path)>,
    pub(super) from: Option<&'a Path>,
    pub(super) stamp: Stamp<'a>,
    pub(super) arrived: &'a Arrived,
    pub(super) spool: Spool,
}

/// What a message is known by when it comes again: its identifier, if it has one.
pub(super) fn known_by(record: &Record) -> Vec<u64> {
    let message = record.facts.message.as_ref();
    let message_id = message.and_then(|message| message.message_id.as_deref());
    let message_id = message_id.map(|id| hash(&format!("message-id {id}")));
    message_id.into_iter().collect()
}

/// What it is known by besides: its content.
pub(super) fn known_by_content(body: &NewBody) -> u64 {
    let content = body.blake3.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(content)
}

/// Keeps the record, with copies where there are to be some. Nothing that goes wrong here changes the reply.
pub(super) async fn keep<R: Runtime>(node: &Inner<R>, mut refused: Refused<'_>) {
    let targets = targets(node, &mut refused);
    let observations = core::mem::take(&mut refused.judged.observations);
    if !targets.is_empty() {
        match with_copies(
            node,
            &refused.judged.record,
            observations.clone(),
            targets,
            refused.arrived,
            refused.spool,
        )
        .await
        {
            Ok(()) => return,
            Err(why) => {
                let id = &refused.judged.record.id;
                tracing::warn!(target: "store", id, why, "a copy of what was not taken is not kept");
                let recipients = refused.judged.record.recipients.iter_mut();
                recipients.for_each(|judgement| judgement.placed = None);
            }
        }
    }
    record::keep_with(node, &refused.judged.record, observations).await;
}

/// The copies that are to be kept; where they are stands in the record.
fn targets<R: Runtime>(node: &Inner<R>, refused: &mut Refused<'_>) -> Vec<Target> {
    // On a disk that is nearly full nobody needs what nobody takes.
    if refused.arrived.size > REJECT_OCTETS_MAX || node.store.space() != DiskSpace::Enough {
        return Vec::new();
    }
    let known_by = known_by(&refused.judged.record);
    let published = node.store.published();
    let (mut targets, mut served) = (Vec::new(), BTreeSet::new());
    let at_once = mailboxes_at_once(refused.arrived.header.len() + mox_mailbox::PREFIX_MAX);
    for (nth, (account, to)) in refused.recipients.iter().enumerate() {
        let Some(judgement) = refused.judged.record.recipients.get_mut(nth) else {
            break;
        };
        let decision = &judgement.decision;
        let is_kept = matches!(decision.verdict, Verdict::Defer | Verdict::Refuse);
        let Some(mailbox) = decision.mailbox.clone().filter(|_| is_kept) else {
            continue;
        };
        // That it cannot be known is found out by the operation.
        let has_one = mox_mailbox::has_reject(&*published.view, *account, &known_by);
        if has_one.unwrap_or(false) || served.contains(account) {
            judgement.placed = Some(mailbox);
            continue;
        }
        if served.len() >= at_once {
            break;
        }
        let trace = for_mailbox(&refused.stamp, refused.from, to);
        let trace = refused.judged.field(nth) + &trace;
        let before = prefix(trace, "", refused.arrived.headless);
        let size = refused.arrived.size + before.len() as u64;
        let has_room = mox_mailbox::has_room_for_reject(&*published.view, *account, &mailbox, size);
        if !has_room.unwrap_or(true) {
            continue;
        }
        served.insert(*account);
        if let Some(judgement) = refused.judged.record.recipients.get_mut(nth) {
            judgement.placed = Some(mailbox.clone());
        }
        targets.push(Target {
            account: *account,
            mailbox,
            create: true,
            prefix: before,
            flags: Flags::SEEN,
            keywords: Vec::new(),
            date: refused.stamp.now,
            origin: refused.judged.kinship(nth),
        });
    }
    targets
}

/// Record and copies, in one operation.
async fn with_copies<R: Runtime>(
    node: &Inner<R>,
    record: &Record,
    observations: Vec<Observation>,
    targets: Vec<Target>,
    arrived: &Arrived,
    spool: Spool,
) -> Result<(), String> {
    let now = node.runtime.now().utc;
    let facts = BodyFacts {
        account: targets
            .first()
            .map_or(AccountId(0), |target| target.account),
        mailbox: MailboxId(0),
        uid: Uid(0),
        date: now,
    };
    let finish = Box::new(move || spool.finish(facts));
    let spooled = node.runtime.blocking(Pool::Bodies, finish).await;
    let spooled = spooled.map_err(|error| error.to_string())?;
    let body = spooled.body().clone();
    let mut hashes = known_by(record);
    hashes.push(known_by_content(&body));
    let rejected = Rejected {
        delivery: Delivery {
            body: Body::New(body),
            structure: StoredStructure::encode(&arrived.structure),
            header: Bytes::clone(&arrived.header),
            targets,
            queue: None,
            now,
        },
        hashes,
    };
    let (entry, room) = record::entry(node, record, observations);
    let budget = record::budget(node);
    let op = move |reads: &dyn Reads| {
        // `spooled` lives to the end of the op: until then nothing removes the body's file.
        let kept = mox_mailbox::keep_rejected(reads, &entry, budget, &rejected);
        drop(spooled);
        kept
    };
    match node.store.run(op).await {
        Ok(damaged) => {
            record::tell_of_damage(damaged);
            Ok(())
        }
        Err(error) => {
            room.give_back(node);
            Err(error.to_string())
        }
    }
}
