//! What other servers tell later of messages that left the queue: found by the ids that such a message was sent with.

use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::key::{self, Key, Table};
use crate::queue::{Fate, ID_MAX, IDS_MAX, Retired, TEXT_MAX, clipped};
use crate::rows::{Stored, utc};
use crate::suppression;
use crate::{AccountId, Batch, ReadError, Reads, Stop};

/// Parts of a message that left the queue apart from each other and are remembered, at most.
const PLACES_MAX: usize = 256;
/// Notes of one such part at most; later ones are not kept.
const NOTIFIED_MAX: usize = 64;

/// What another server told of a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// When that came.
    #[serde(with = "utc")]
    pub at: Utc,
    /// Whom it is about, as the other server names them.
    pub recipient: String,
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
    /// The address that we sent to, where the other server says so.
    pub original: Option<String>,
    /// The other server does not know the address.
    pub unknown: bool,
}

/// Where the parts of a message are among what left the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentRow {
    places: Vec<(u64, u64, u32)>,
}

/// The ids that are kept.
pub(crate) fn kept(ids: &[String]) -> Vec<String> {
    let fits = |id: &&String| (1..=ID_MAX).contains(&id.len());
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
/// of recipients that it was about. What an address failed by counts for its suppression.
pub fn queue_notified(
    reads: &dyn Reads,
    account: AccountId,
    ids: &[String],
    told: &[Telling],
    now: Utc,
) -> Result<(Batch, usize), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut places = Vec::new();
    for id in kept(ids) {
        places = row_of(&edit, &key_of(account, &id))?.places;
        if !places.is_empty() {
            break;
        }
    }
    let mut found = 0;
    let is_one = places.len() == 1;
    for (secs, entry, nth) in places {
        let key = key::retired(secs, entry, nth);
        let Some(bytes) = edit.get(&key)? else {
            continue;
        };
        let mut row = Retired::decode(&bytes)?;
        let before = row.notified.len();
        for telling in told {
            let Some((address, was_sent)) = about(&row, telling, is_one) else {
                continue;
            };
            if row.notified.len() >= NOTIFIED_MAX {
                break;
            }
            found += 1;
            let mut note = telling.note.clone();
            for text in [
                &mut note.recipient,
                &mut note.status,
                &mut note.from,
                &mut note.text,
            ] {
                *text = clipped(text, TEXT_MAX);
            }
            row.notified.push(note);
            if telling.unknown && was_sent {
                suppression::failed(&mut edit, account, &address, &telling.note.text, true)?;
            }
        }
        if row.notified.len() > before {
            edit.put(key, row.encode());
        }
    }
    Ok((edit.finish()?, found))
}

/// The recipient that is meant, and whether we sent to it: of a message for one recipient (`is_one`) it may be another address, to
/// which it was forwarded.
fn about(row: &Retired, telling: &Telling, is_one: bool) -> Option<(String, bool)> {
    let names = telling.original.iter().chain([&telling.note.recipient]);
    let is_named = |to: &str| names.clone().any(|name| name.eq_ignore_ascii_case(to));
    let meant = match &row.recipients[..] {
        [one] if is_one && telling.original.is_none() => Some(one),
        all => all.iter().find(|(to, _)| is_named(to)),
    };
    meant.map(|(to, fate)| {
        (
            to.clone(),
            matches!(fate, Fate::Delivered(_)) && is_named(to),
        )
    })
}
