//! What earlier messages were like, by what they have in common with others.
//!
//! A message carries the hashes of what it has in common with others ([`Kinship`]) in front of its origin facts. Under each hash
//! stand the messages that a user has judged, by the keywords `$Junk` and `$NotJunk`: the newest ones, so that neither rows nor
//! the cost of a message grow with what came before. Expunging a message does not take back what it was, unless the account has it elsewhere
//! and it says something else there: programs without MOVE copy and expunge.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_junk::Class;
use mox_machine::Utc;
use mox_uids::Uid;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::junk::class_of;
use crate::key::{self, Key, Parts, Referrer, Table};
use crate::mailbox_edit::keywords;
use crate::reject::row_of;
use crate::rows::{MetaRow, Stored};
use crate::{AccountId, BodyId, MailboxId, ReadError, Reads, Row, Space, Stop};

/// Hashes of one message at most.
pub const KINSHIP_MAX: usize = 24;
/// Other messages with the content of one that goes, at most, that are looked at. A user has few.
const OTHERS_MAX: usize = 16;
/// Messages that are kept under one hash.
pub const PAST_KEPT: usize = 50;

/// What a message has in common with others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kinship {
    /// Hashes, at most [`KINSHIP_MAX`].
    pub hashes: Vec<u64>,
    /// Of its author's local part.
    pub local_part: u32,
}

/// A message that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastMessage {
    /// When it came, in seconds since 1970.
    pub at: i64,
    /// It was junk.
    pub junk: bool,
    /// Of its author's local part.
    pub local_part: u32,
    message: BodyId,
}

/// Messages under one hash, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PastRow(Vec<PastMessage>);

const VERSION: u8 = 1;

impl Kinship {
    /// As origin facts.
    pub fn encode(&self) -> Bytes {
        let some = Self {
            hashes: self.hashes.iter().take(KINSHIP_MAX).copied().collect(),
            ..*self
        };
        // A vector takes everything.
        let octets = postcard::to_extend(&some, vec![VERSION]).unwrap_or_default();
        Bytes::from(octets)
    }

    /// Of origin facts; `None` for a message that has nothing of the kind.
    pub fn decode(origin: &[u8]) -> Option<Self> {
        match origin.split_first() {
            Some((&VERSION, rest)) => postcard::take_from_bytes(rest).ok().map(|(kin, _)| kin),
            _ => None,
        }
    }
}

fn row_key(account: AccountId, hash: u64) -> Vec<u8> {
    let key = Key::of(Table::Reputation, account);
    key.bytes(&hash.to_be_bytes()).done()
}

/// The messages under a hash, the newest first. A row that cannot be read tells of none: it is only remembered, and would keep
/// out all mail that it is about, for ever.
pub fn past(
    reads: &dyn Reads,
    account: AccountId,
    hash: u64,
) -> Result<Vec<PastMessage>, ReadError> {
    let row = reads.get(Space::Rows, &row_key(account, hash))?;
    let known = row.and_then(|row| PastRow::decode(&row).ok());
    Ok(known.unwrap_or_default().0)
}

/// Notes that the account wrote a message: under each of these hashes, which no message that came has.
pub(crate) fn wrote(
    edit: &mut Edit<'_>,
    account: AccountId,
    hashes: &[u64],
    message: BodyId,
    date: Utc,
) {
    for hash in hashes {
        let wrote = PastMessage {
            at: date.secs(),
            junk: false,
            local_part: 0,
            message,
        };
        edit.put(row_key(account, *hash), PastRow(vec![wrote]).encode());
    }
}

/// When a message goes that said what it is: its row, and what the account's others with the same content say that came to where they
/// are after it, if there are any and they say something else. From then on it is that. Which others of its mailbox go with it
/// `goes` tells.
pub(crate) fn left_by(
    reads: &dyn Reads,
    account: AccountId,
    place: (MailboxId, Uid),
    class: Class,
    goes: &dyn Fn(&Row) -> bool,
) -> Result<Option<(Bytes, Option<Class>)>, ReadError> {
    let key = key::at(Table::Meta, account, place.0, place.1.0);
    let Some(row) = reads.get(Space::Rows, &key)? else {
        return Ok(None);
    };
    let meta = MetaRow::decode(&row)?;
    let said = said_by_others(reads, account, &meta, place, goes)?;
    Ok(said
        .filter(|said| *said != Some(class))
        .map(|said| (row, said)))
}

/// What an account's other messages with the same content say; `None` where there are none.
fn said_by_others(
    reads: &dyn Reads,
    account: AccountId,
    gone: &MetaRow<'_>,
    place: (MailboxId, Uid),
    goes: &dyn Fn(&Row) -> bool,
) -> Result<Option<Option<Class>>, ReadError> {
    let body = gone.body.id;
    let (mut others, mut looked_at) = (Vec::new(), 0);
    let first = Referrer::Message(account, MailboxId(0), Uid(0));
    let last = Referrer::Message(account, MailboxId(u32::MAX), Uid(u32::MAX));
    let (from, to) = (key::reference(body, first), key::reference(body, last));
    reads.scan(Space::Rows, &from, &to, &mut |key, _| {
        let mut parts = Parts::of(key);
        if let Some((_, Referrer::Message(_, mailbox, uid))) = parts.body().zip(parts.referrer())
            && (mailbox, uid) != place
        {
            others.push((mailbox, uid));
        }
        looked_at += 1;
        match looked_at < OTHERS_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    let mut said = None;
    for (mailbox, uid) in others {
        let row = row_of(reads, account, mailbox, uid)?;
        if let Some(row) = row.filter(|row| mailbox != place.0 || !goes(row))
            && crate::view::meta(reads, account, mailbox, uid)?
                .is_some_and(|meta| meta.saved >= gone.saved)
        {
            let class = class_of(&keywords(reads, account, mailbox)?.0, row.keywords);
            if !matches!(said, Some(Some(_))) {
                said = Some(class);
            }
        }
    }
    Ok(said)
}

/// Notes that a message is junk, is not, or is neither: up to [`KINSHIP_MAX`] rows. One that cannot be read begins anew.
pub(crate) fn judge(
    edit: &mut Edit<'_>,
    account: AccountId,
    meta: &MetaRow<'_>,
    class: Option<Class>,
) -> Result<(), Stop> {
    let Some(kinship) = Kinship::decode(meta.origin) else {
        return Ok(());
    };
    let message = meta.body.id;
    for hash in kinship.hashes.iter().take(KINSHIP_MAX) {
        let key = row_key(account, *hash);
        let row = edit.get(&key)?;
        let row = row.and_then(|row| PastRow::decode(&row).ok());
        let mut past = row.unwrap_or_default().0;
        past.retain(|known| known.message != message);
        if let Some(class) = class {
            let judged = PastMessage {
                at: meta.date.secs(),
                junk: class == Class::Spam,
                local_part: kinship.local_part,
                message,
            };
            let place = past.partition_point(|known| known.at > judged.at);
            past.insert(place, judged);
            past.truncate(PAST_KEPT);
        }
        match past.is_empty() {
            true => edit.remove(key),
            false => edit.put(key, PastRow(past).encode()),
        }
    }
    Ok(())
}
