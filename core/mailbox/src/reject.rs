//! Copies of mail that was not taken, in a mailbox of the account where its owner may look for them.
//!
//! There is one of each message, whatever how often it comes, and it goes when the message is taken after all, or when it is old.
//! Where there are too many no more are kept: whoever sends what nobody takes must fill no disk and no quota. A copy that its owner has marked as junk or not is the owner's, and stays. Rows say which
//! messages are such copies; all others in the mailbox are left alone.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;
use mox_uids::{Uid, UidSet};
use std::collections::BTreeSet;

use crate::account::{account_row, has_room};
use crate::deliver::{Delivery, place};
use crate::edit::{Edit, mailbox_row};
use crate::junk::class_of;
use crate::key::{Key, Parts, Table};
use crate::mailbox_edit::keywords;
use crate::mailboxes::{mailbox_id, may_be};
use crate::varint::{self, Input};
use crate::view::existing;
use crate::{
    AccountId, Batch, DecisionBudget, MailboxId, NewDecision, Progress, ReadError, Reads, Row,
    Space, Stop, decision, scan,
};

/// Messages in a mailbox, at most, for a copy to be put there.
pub const REJECTS_MAX: u32 = 1_000;
/// Octets of a mailbox, at most, with a copy that is put there; and no more than a twentieth of the account's quota.
pub const REJECTS_OCTETS_MAX: u64 = 20 * 1024 * 1024;
/// How long a copy is kept.
pub const REJECT_SECS: i64 = 14 * 86_400;
/// Octets of a message at most of which a copy is kept.
pub const REJECT_OCTETS_MAX: u64 = 1024 * 1024;
/// Copies that one operation removes when it does nothing else.
const REMOVED_AT_ONCE: usize = 100;
/// Hashes by which a copy is known, at most.
const HASHES_MAX: usize = 4;

const VERSION: u8 = 1;
const BY_HASH: u8 = 1;
const BY_PLACE: u8 = 2;

/// A message that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The copies: a target for each account that wants one.
    pub delivery: Delivery,
    /// What it is known by when it comes again: of its identifier, of its content.
    pub hashes: Vec<u64>,
}

/// Keeps the record of the decision not to take a message, and copies of it for those who have none yet. Tells how many damaged rows
/// of records were passed over.
pub fn keep_rejected(
    reads: &dyn Reads,
    new: &NewDecision,
    budget: DecisionBudget,
    rejected: &Rejected,
) -> Result<(Batch, usize), Stop> {
    let mut edit = Edit::new(reads, rejected.delivery.now);
    let mut delivery = rejected.delivery.clone();
    let (mut targets, mut served) = (Vec::new(), BTreeSet::new());
    for target in core::mem::take(&mut delivery.targets) {
        let account = target.account;
        if served.insert(account)
            && !has_reject(reads, account, &rejected.hashes)?
            // The inbox is no place for it.
            && may_be(&mut edit, account, &target.mailbox)?
            && has_room_for_reject(
                reads,
                account,
                &target.mailbox,
                delivery.body.length() + target.prefix.len() as u64,
            )?
        {
            targets.push(target);
        }
    }
    delivery.targets = targets;
    for placed in place(&mut edit, &delivery)?.placed {
        let (account, mailbox, uid) = (placed.account, placed.mailbox, placed.uid);
        let hashes = rejected.hashes.get(..HASHES_MAX);
        let hashes = hashes.unwrap_or(&rejected.hashes).to_vec();
        for hash in &hashes {
            edit.put(by_hash(account, *hash), encode_place(mailbox, uid));
        }
        let copy = Copy {
            at: rejected.delivery.now,
            hashes,
        };
        edit.put(by_place(account, mailbox, uid), copy.encode());
    }
    let damaged = decision::keep(&mut edit, new, budget);
    Ok((edit.finish()?, damaged))
}

/// Whether an account has a copy, which is still there, of a message that is known by one of these.
pub fn has_reject(
    reads: &dyn Reads,
    account: AccountId,
    hashes: &[u64],
) -> Result<bool, ReadError> {
    for hash in hashes {
        if let Some(row) = reads.get(Space::Rows, &by_hash(account, *hash))? {
            // One that cannot be read leads to no copy.
            let Ok((mailbox, uid)) = decode_place(&row) else {
                continue;
            };
            if row_of(reads, account, mailbox, uid)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a message is a copy of what was not taken.
pub(crate) fn is_reject(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<bool, ReadError> {
    let row = reads.get(Space::Rows, &by_place(account, mailbox, uid))?;
    Ok(row.is_some())
}

/// Whether there is room for a copy of so many octets, what stands before it included, in a mailbox of an account: it is for nobody's
/// copy to make all others' fail.
pub fn has_room_for_reject(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: &str,
    octets: u64,
) -> Result<bool, ReadError> {
    let share = account_row(reads, account)?.and_then(|row| Some(row.quota? / 20));
    let most = share.unwrap_or(u64::MAX).min(REJECTS_OCTETS_MAX);
    let row = match mailbox_id(reads, account, mailbox)? {
        Some(id) => mailbox_row(reads, account, id)?,
        None => None,
    };
    let (messages, size) = row.map_or((0, 0), |row| (row.messages, row.size));
    Ok(messages < REJECTS_MAX
        && size.saturating_add(octets) <= most
        && has_room(reads, account, octets)?)
}

/// Removes some of an account's copies that are from before a moment. Run it again until it says `Done`.
pub fn purge_rejects(
    reads: &dyn Reads,
    account: AccountId,
    before: Utc,
    now: Utc,
) -> Result<(Batch, Progress), Stop> {
    let mut edit = Edit::new(reads, now);
    edit.account(account)?;
    let old = from_before(reads, account, before, REMOVED_AT_ONCE)?;
    let progress = match old.len() == REMOVED_AT_ONCE {
        true => Progress::More(()),
        false => Progress::Done,
    };
    for (mailbox, uid, copy) in old {
        forget(&mut edit, account, mailbox, uid, &copy)?;
    }
    Ok((edit.finish()?, progress))
}

/// A message that is known by these was taken for an account: its copies go. Rows of copies that cannot be read go too; how many.
pub(crate) fn taken(
    edit: &mut Edit<'_>,
    account: AccountId,
    hashes: &[u64],
) -> Result<usize, Stop> {
    let mut damaged = 0;
    for hash in hashes {
        let by_hash = by_hash(account, *hash);
        let Some(row) = edit.get(&by_hash)? else {
            continue;
        };
        let Ok((mailbox, uid)) = decode_place(&row) else {
            edit.remove(by_hash);
            damaged += 1;
            continue;
        };
        let by_place = by_place(account, mailbox, uid);
        let Some(row) = edit.get(&by_place)? else {
            continue;
        };
        match Copy::decode(&row) {
            Ok(copy) => forget(edit, account, mailbox, uid, &copy)?,
            Err(_) => {
                edit.remove(by_hash);
                edit.remove(by_place);
                damaged += 1;
            }
        }
    }
    Ok(damaged)
}

/// What is known of a copy.
struct Copy {
    at: Utc,
    hashes: Vec<u64>,
}

impl Copy {
    fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        varint::put_signed(&mut out, self.at.secs());
        for hash in &self.hashes {
            out.extend_from_slice(&hash.to_be_bytes());
        }
        out.into()
    }

    fn decode(row: &[u8]) -> Result<Self, ReadError> {
        let mut input = Input::new(row, "reject");
        input.version(VERSION)?;
        let at = Utc::from_secs(input.signed()?);
        let mut hashes = Vec::new();
        while !input.is_empty() {
            let mut hash = [0; 8];
            for octet in &mut hash {
                *octet = input.byte()?;
            }
            hashes.push(u64::from_be_bytes(hash));
        }
        Ok(Self { at, hashes })
    }
}

fn by_hash(account: AccountId, hash: u64) -> Vec<u8> {
    let key = Key::of(Table::Reject, account).bytes(&[BY_HASH]);
    key.bytes(&hash.to_be_bytes()).done()
}

fn by_place(account: AccountId, mailbox: MailboxId, uid: Uid) -> Vec<u8> {
    let key = Key::of(Table::Reject, account).bytes(&[BY_PLACE]);
    key.u32(mailbox.0).u32(uid.0).done()
}

fn encode_place(mailbox: MailboxId, uid: Uid) -> Bytes {
    let mut out = vec![VERSION];
    varint::put(&mut out, u64::from(mailbox.0));
    varint::put(&mut out, u64::from(uid.0));
    out.into()
}

fn decode_place(row: &[u8]) -> Result<(MailboxId, Uid), ReadError> {
    let mut input = Input::new(row, "reject");
    input.version(VERSION)?;
    let place = (MailboxId(input.number32()?), Uid(input.number32()?));
    input.end()?;
    Ok(place)
}

/// The row of a message; `None` when it is gone.
pub(crate) fn row_of(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Row>, ReadError> {
    if mailbox_row(reads, account, mailbox)?.is_none_or(|row| row.removed) {
        return Ok(None);
    }
    let one: UidSet = [uid].into_iter().collect();
    let found = existing(reads, account, mailbox, &one, uid, 1)?;
    Ok(found.rows.first().copied())
}

/// Up to `max` copies from before a moment, in whatever mailbox: those of one may all be younger than those of the next.
fn from_before(
    reads: &dyn Reads,
    account: AccountId,
    before: Utc,
    max: usize,
) -> Result<Vec<(MailboxId, Uid, Copy)>, ReadError> {
    let mut found = Vec::new();
    let prefix = Key::of(Table::Reject, account).bytes(&[BY_PLACE]).done();
    scan::prefix(reads, &prefix, &mut |key, row| {
        let mut parts = Parts::whole(key.get(prefix.len()..).unwrap_or_default());
        let place = parts.u32().zip(parts.u32());
        let (mailbox, uid) = place.ok_or_else(|| scan::bad_key("rejects"))?;
        // What cannot be read stays, and keeps no other copy here.
        let Ok(copy) = Copy::decode(&row) else {
            return Ok(ControlFlow::Continue(()));
        };
        if copy.at < before {
            found.push((MailboxId(mailbox), Uid(uid), copy));
        }
        Ok(match found.len() < max {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(found)
}

/// Removes a copy, unless its owner has marked it, and what is known of it.
fn forget(
    edit: &mut Edit<'_>,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
    copy: &Copy,
) -> Result<(), Stop> {
    let reads = edit.reads();
    if let Some(Row { keywords: bits, .. }) = row_of(reads, account, mailbox, uid)? {
        let names = keywords(reads, account, mailbox)?.0;
        if class_of(&names, bits).is_none() {
            edit.mailbox(account, mailbox)?.take(uid)?;
        }
    }
    edit.remove(by_place(account, mailbox, uid));
    for hash in &copy.hashes {
        let key = by_hash(account, *hash);
        match edit.get(&key)?.map(|row| decode_place(&row)) {
            Some(Ok(place)) if place != (mailbox, uid) => {}
            None => {}
            // This copy, or nobody can tell which.
            Some(_) => edit.remove(key),
        }
    }
    Ok(())
}
