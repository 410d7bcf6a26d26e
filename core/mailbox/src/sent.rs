//! What other servers tell later of messages that left the queue: found by the ids that such a message was sent with.

use mox_machine::Utc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::edit::Edit;
use crate::key::{self, Key, Table};
use crate::queue::{ADDRESS_MAX, Fate, ID_MAX, IDS_MAX, Retired, TEXT_MAX, clipped};
use crate::rows::{Stored, utc};
use crate::suppression::{self, canonical};
use crate::{AccountId, Batch, ReadError, Reads, Stop, VALUE_MAX};

/// Parts of a message that left the queue apart from each other and are remembered, at most.
const PLACES_MAX: usize = 256;
/// Notes of one such part at most; later ones are not kept.
const NOTIFIED_MAX: usize = 64;

/// Octets of a row to which another note is added.
const ROW_MAX: usize = VALUE_MAX - 5 * TEXT_MAX - ADDRESS_MAX;

/// What another server told of a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// When that came.
    #[serde(with = "utc")]
    pub at: Utc,
    /// Whom it is about, as the other server names them.
    pub recipient: String,
    /// The address that we sent to, of which that is told; empty where nobody knows it.
    pub about: String,
    /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
    pub action: String,
    /// RFC 3463.
    pub status: String,
    /// The server that told.
    pub from: String,
    /// What was said, for people.
    pub text: String,
}

/// What a notification tells of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// To be kept.
    pub note: Notified,
    /// The address that we sent to, where the other server says so, in each form in which it may be meant.
    pub original: Vec<String>,
    /// The other server does not know the address.
    pub unknown: bool,
}

/// Where the parts of a message are among what left the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentRow {
    places: Vec<(u64, u64, u32)>,
}

fn fits(id: &&String) -> bool {
    (1..=ID_MAX).contains(&id.len())
}

/// The ids that are kept.
pub(crate) fn kept(ids: &[String]) -> Vec<String> {
    ids.iter().filter(fits).take(IDS_MAX).cloned().collect()
}

fn key_of(account: AccountId, id: &str) -> Vec<u8> {
    Key::of(Table::Sent, account).bytes(id.as_bytes()).done()
}

fn row_of(edit: &Edit<'_>, key: &[u8]) -> Result<SentRow, ReadError> {
    let bytes = edit.get(key)?;
    let row = bytes.map(|bytes| SentRow::decode(&bytes)).transpose()?;
    Ok(row.unwrap_or_default())
}

/// Recipients of an account's message leave the queue.
pub(crate) fn remember(
    edit: &mut Edit<'_>,
    retired: &Retired,
    place: (u64, u64, u32),
) -> Result<(), Stop> {
    let Some(account) = retired.account else {
        return Ok(());
    };
    for id in &retired.ids {
        let key = key_of(account, id);
        let mut row = row_of(edit, &key)?;
        if row.places.len() < PLACES_MAX {
            row.places.push(place);
            edit.put(key, row.encode());
        }
    }
    Ok(())
}

/// What left the queue there is forgotten.
pub(crate) fn forget(edit: &mut Edit<'_>, retired: &[u8]) -> Result<(), Stop> {
    let Some(bytes) = edit.get(retired)? else {
        return Ok(());
    };
    let row = Retired::decode(&bytes)?;
    let Some(account) = row.account else {
        return Ok(());
    };
    for id in &row.ids {
        let key = key_of(account, id);
        let mut sent = row_of(edit, &key)?;
        sent.places
            .retain(|(secs, entry, nth)| key::retired(*secs, *entry, *nth) != retired);
        match sent.places.is_empty() {
            true => edit.remove(key),
            false => edit.put(key, sent.encode()),
        }
    }
    Ok(())
}

/// Notes what another server told an account about a message that it sent, which one of these ids names. Answers with the number
/// of recipients that it was about. That a message failed for an address counts for its suppression once, however often and
/// in how many words that is told.
pub fn queue_notified(
    reads: &dyn Reads,
    account: AccountId,
    ids: &[String],
    told: &[Telling],
    now: Utc,
) -> Result<(Batch, usize), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut places = Vec::new();
    // Some of them may be the same in another form.
    for id in ids.iter().filter(fits).take(2 * IDS_MAX) {
        places = row_of(&edit, &key_of(account, id))?.places;
        if !places.is_empty() {
            break;
        }
    }
    let told: Vec<(&Telling, Names)> = told.iter().map(|told| (told, Names::of(told))).collect();
    let mut found = 0;
    let mut counted = BTreeSet::new();
    let is_one = places.len() == 1;
    for (secs, entry, nth) in places {
        let key = key::retired(secs, entry, nth);
        let Some(bytes) = edit.get(&key)? else {
            continue;
        };
        let mut row = Retired::decode(&bytes)?;
        let recipients = row.recipients.iter();
        let recipients: Vec<Sent> = recipients
            .map(|(to, fate)| Sent {
                address: to.clone(),
                canonical: canonical(to),
                was_taken: matches!(fate, Fate::Delivered(_)),
            })
            .collect();
        let notes = row.notified.iter();
        let mut failed: BTreeSet<String> = notes
            .filter(|note| note.action == FAILED)
            .map(|note| canonical(&note.recipient))
            .collect();
        let before = row.notified.len();
        for (telling, names) in &told {
            let Some(sent) = names.about(&recipients, is_one) else {
                continue;
            };
            let Sent {
                canonical: address,
                was_taken,
                ..
            } = sent;
            if row.notified.len() >= NOTIFIED_MAX || row.encode().len() > ROW_MAX {
                break;
            }
            found += 1;
            let mut note = telling.note.clone();
            note.about.clone_from(&sent.address);
            for text in [
                &mut note.recipient,
                &mut note.status,
                &mut note.from,
                &mut note.text,
            ] {
                *text = clipped(text, TEXT_MAX);
            }
            row.notified.push(note);
            // Whoever it was forwarded to is not whom we sent to.
            let is_told_first =
                telling.note.action == FAILED && failed.insert(names.recipient.clone());
            let counts = telling.unknown && *was_taken && names.recipient == *address;
            if counts && is_told_first && counted.insert(address.clone()) {
                suppression::failed(&mut edit, account, address, &telling.note.text, true)?;
            }
        }
        if row.notified.len() > before {
            edit.put(key, row.encode());
        }
    }
    Ok((edit.finish()?, found))
}

/// [`Notified::action`] of what was given up.
const FAILED: &str = "failed";

/// A recipient that left the queue.
struct Sent {
    address: String,
    /// In the form in which addresses are compared.
    canonical: String,
    /// Its server had taken the message.
    was_taken: bool,
}

/// Whom a notification names, in the form in which addresses are compared.
struct Names {
    recipient: String,
    original: Vec<String>,
}

impl Names {
    fn of(telling: &Telling) -> Self {
        Self {
            // As it is noted.
            recipient: canonical(&clipped(&telling.note.recipient, TEXT_MAX)),
            original: telling.original.iter().map(|to| canonical(to)).collect(),
        }
    }

    /// The recipient that is meant, with whether its server had taken the message: of a message for one recipient (`is_one`) it
    /// may be another address, to which it was forwarded.
    fn about<'a>(&self, all: &'a [Sent], is_one: bool) -> Option<&'a Sent> {
        let is_named = |to: &String| self.original.contains(to) || self.recipient == *to;
        match all {
            [one] if is_one && self.original.is_empty() => Some(one),
            all => all.iter().find(|sent| is_named(&sent.canonical)),
        }
    }
}
