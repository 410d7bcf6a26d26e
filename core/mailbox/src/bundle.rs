//! Messages with many recipients: their entries of the queue are written in bundles, and taken apart before they are tried.
//!
//! A message with 1,000 recipients in as many domains would need as many rows at once, more than one operation may write. A
//! bundle is an entry with recipients of several domains; its parts take the numbers that were kept for them.

use mox_address::Domain;
use mox_machine::Utc;

use crate::deliver::{Delivered, Delivery, place};
use crate::edit::Edit;
use crate::key::{self, Table};
use crate::queue::{Fate, QueueEntry, open, remove, retire};
use crate::queue_recipient::{QueueRecipient, Reached, Said};
use crate::rows::Stored;
use crate::{Batch, Group, Limit, RECIPIENTS_MAX, RECIPIENTS_OCTETS_MAX, Reads, Stop, Touched};

/// Groups of a message that are entries of their own from the start, at most.
pub const ENTRIES_MAX: usize = 64;

impl QueueEntry {
    /// Holds recipients of several domains: to be taken apart by [`queue_unbundle`] before it is tried.
    pub fn is_bundle(&self) -> bool {
        runs(&self.recipients).nth(1).is_some()
    }
}

/// The recipients of each entry to be written, with the number of groups in it.
pub(crate) fn bundles(groups: &[Group]) -> Vec<(Group, u64)> {
    let mut bundles: Vec<(Group, u64)> = Vec::new();
    for group in groups {
        if groups.len() > ENTRIES_MAX
            && let Some((bundle, count)) = bundles.last_mut()
            && bundle.recipients.len() + group.recipients.len() <= RECIPIENTS_MAX
            && octets(&bundle.recipients) + octets(&group.recipients) <= RECIPIENTS_OCTETS_MAX
            && (bundle.next_attempt, bundle.hold) == (group.next_attempt, group.hold)
            && bundle.release == group.release
            && !is_neighbour(&bundle.recipients, &group.recipients)
        {
            bundle.recipients.extend_from_slice(&group.recipients);
            *count += 1;
            continue;
        }
        bundles.push((group.clone(), 1));
    }
    bundles
}

/// Takes a bundle apart: an entry for each domain, the first with the bundle's own number. Answers with all of them; an
/// entry that is no bundle stays as it is.
pub fn queue_unbundle(
    reads: &dyn Reads,
    id: u64,
    now: Utc,
) -> Result<(Batch, Vec<QueueEntry>), Stop> {
    let mut edit = Edit::new(reads, now);
    let bundle = open(reads, id)?;
    let mut entries = Vec::new();
    for (id, recipients) in (id..).zip(runs(&bundle.recipients)) {
        let key = key::queue(Table::Queue, id);
        if id != bundle.id && edit.get(&key)?.is_some() {
            return Err(Stop::TooMany(Limit::Recipients));
        }
        let entry = QueueEntry {
            id,
            recipients: recipients.to_vec(),
            ..bundle.clone()
        };
        edit.put(key, entry.encode());
        entries.push(entry);
    }
    edit.touched.push(Touched::Queue);
    Ok((edit.finish()?, entries))
}

/// Delivers an entry's recipients that are our own to their mailboxes, in one operation with their leaving the queue.
/// `to[n]` is who the delivery's target `n` is for. Quotas do not count: they did when the
/// message was accepted, unless it was handed over on this machine. `notice` tells
/// the sender that it was delivered.
pub fn queue_deliver(
    reads: &dyn Reads,
    id: u64,
    to: &[String],
    delivery: &Delivery,
    notice: Option<&Delivery>,
) -> Result<(Batch, (Option<QueueEntry>, Delivered)), Stop> {
    let mut edit = Edit::new(reads, delivery.now);
    edit.promised = true;
    let mut entry = open(reads, id)?;
    let delivered = place(&mut edit, delivery)?;
    let is_done = |recipient: &QueueRecipient| to.contains(&recipient.address);
    let done = entry.recipients.iter().filter(|to| is_done(to)).cloned();
    let done: Vec<QueueRecipient> = done.collect();
    entry.recipients.retain(|recipient| !is_done(recipient));
    if let Some(notice) = notice {
        place(&mut edit, notice)?;
    }
    if let Some(attempt) = entry.attempts.last_mut() {
        attempt.ended = Some(delivery.now);
    }
    let done = done.into_iter().map(|mut to| {
        // No host decided, whatever one said before.
        let by = Reached {
            status: "2.1.5".into(),
            ambiguous: to.ambiguous(),
            ..Reached::default()
        };
        to.last = Some(Said {
            text: String::new(),
            by,
        });
        (to, Fate::Delivered("to a mailbox here".into()))
    });
    retire(&mut edit, &entry, done.collect())?;
    // It goes on for the others.
    if let Some(attempt) = entry.attempts.last_mut()
        && !entry.recipients.is_empty()
    {
        attempt.ended = None;
    }
    let entry = match entry.recipients.is_empty() {
        true => {
            remove(&mut edit, &entry)?;
            None
        }
        false => {
            edit.put(key::queue(Table::Queue, id), entry.encode());
            Some(entry)
        }
    };
    edit.touched.push(Touched::Queue);
    Ok((edit.finish()?, (entry, delivered)))
}

/// Neighbours at the same domain.
fn runs(recipients: &[QueueRecipient]) -> impl Iterator<Item = &[QueueRecipient]> {
    recipients.chunk_by(are_together)
}

/// The last of these and the first of those would be one entry.
fn is_neighbour(these: &[QueueRecipient], those: &[QueueRecipient]) -> bool {
    let ends = these.last().zip(those.first());
    ends.is_some_and(|(last, first)| are_together(last, first))
}

/// They are at one domain, whether its name is written in A-labels or in U-labels.
fn are_together(a: &QueueRecipient, b: &QueueRecipient) -> bool {
    let (a, b) = (domain(a), domain(b));
    match a.is_ascii() && b.is_ascii() {
        true => a.eq_ignore_ascii_case(b),
        false => in_a_labels(a) == in_a_labels(b),
    }
}

/// A domain, or an address literal, in the one form in which the queue compares them: in lower case and A-labels. What is no name is only
/// brought into lower case.
pub fn in_a_labels(domain: &str) -> String {
    let name = Domain::parse(domain, true).and_then(|name| name.to_ascii());
    name.map_or_else(|_| domain.to_lowercase(), |name| name.to_string())
}

fn domain(to: &QueueRecipient) -> &str {
    to.address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

fn octets(recipients: &[QueueRecipient]) -> usize {
    recipients.iter().map(QueueRecipient::octets).sum()
}
