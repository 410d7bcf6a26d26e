//! Learning an account's filter anew: all it learned is forgotten, then every message that says what it is becomes due.
//!
//! A row says how far that came, so that it goes on after a crash. While there is something to forget, [`junk_due`](crate::junk_due)
//! has nothing of the account.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;
use mox_uids::{Uid, UidSet};

use crate::account::account_row;
use crate::edit::{Edit, mailbox_row};
use crate::junk::class_of;
use crate::key::{self, Parts, Table};
use crate::mailbox_edit::keywords;
use crate::rows::{decode_change, encode_change};
use crate::varint::{self, Input};
use crate::view::existing;
use crate::{
    AccountId, Batch, MARK_MESSAGES_MAX, MailboxId, Progress, ReadError, Reads, Space, Stop,
    Touched, scan,
};

/// Rows of a filter that one operation forgets.
const FORGET_ROWS: usize = 900;
const VERSION: u8 = 1;

/// How far it came.
enum Stage {
    /// There is something to forget.
    Forgetting,
    /// Messages from here on are to be looked at.
    Reviewing(MailboxId, Uid),
}

impl Stage {
    fn encode(&self) -> Bytes {
        let (mailbox, uid) = match self {
            Self::Forgetting => (0, 0),
            Self::Reviewing(mailbox, uid) => (mailbox.0, uid.0),
        };
        let mut out = vec![VERSION];
        varint::put(&mut out, u64::from(mailbox));
        varint::put(&mut out, u64::from(uid));
        out.into()
    }

    fn decode(row: &[u8]) -> Result<Self, ReadError> {
        let mut input = Input::new(row, "junk relearn");
        input.version(VERSION)?;
        let (mailbox, uid) = (input.number32()?, input.number32()?);
        input.end()?;
        Ok(match mailbox {
            0 => Self::Forgetting,
            mailbox => Self::Reviewing(MailboxId(mailbox), Uid(uid)),
        })
    }
}

/// Has an account's filter learned anew, from the beginning when that is under way already. [`junk_relearn_step`] does it.
pub fn junk_relearn(reads: &dyn Reads, account: AccountId) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(account)?;
    edit.put(row_key(account), Stage::Forgetting.encode());
    edit.touched.push(Touched::Junk);
    Ok((edit.finish()?, ()))
}

/// Whether an account's filter is being learned anew.
pub fn junk_relearning(reads: &dyn Reads, account: AccountId) -> Result<bool, ReadError> {
    if stage(reads, account)?.is_none() {
        return Ok(false);
    }
    // With a removed account its filter goes anyway.
    Ok(account_row(reads, account)?.is_some_and(|row| !row.removed))
}

/// Does a part of it: forgets some, or makes some messages due. Run it again until it says `Done`, best when nothing of the account is
/// due: what one step makes due is one row.
pub fn junk_relearn_step(reads: &dyn Reads, account: AccountId) -> Result<(Batch, Progress), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(account)?;
    let Some(stage) = stage(reads, account)? else {
        return Ok((edit.finish()?, Progress::Done));
    };
    let next = match stage {
        Stage::Forgetting => forget(&mut edit, account)?,
        Stage::Reviewing(mailbox, uid) => review(&mut edit, account, mailbox, uid)?,
    };
    let key = row_key(account);
    let progress = match &next {
        Some(_) => Progress::More(()),
        None => Progress::Done,
    };
    match next {
        Some(stage) => edit.put(key, stage.encode()),
        None => edit.remove(key),
    }
    Ok((edit.finish()?, progress))
}

/// Whether a part of an account's filter may be gone.
pub(crate) fn is_forgetting(reads: &dyn Reads, account: AccountId) -> Result<bool, ReadError> {
    Ok(matches!(stage(reads, account)?, Some(Stage::Forgetting)))
}

fn row_key(account: AccountId) -> Vec<u8> {
    key::in_account(Table::JunkRelearn, account)
}

fn stage(reads: &dyn Reads, account: AccountId) -> Result<Option<Stage>, ReadError> {
    let row = reads.get(Space::Rows, &row_key(account))?;
    row.map(|row| Stage::decode(&row)).transpose()
}

/// The totals go first: a filter that lost some of its words says nothing.
fn forget(edit: &mut Edit<'_>, account: AccountId) -> Result<Option<Stage>, Stop> {
    let prefix = key::in_account(Table::Junk, account);
    let keys = edit.keys(&prefix, &key::behind(&prefix), FORGET_ROWS)?;
    let stage = match keys.len() < FORGET_ROWS {
        true => Stage::Reviewing(MailboxId(1), Uid(1)),
        false => Stage::Forgetting,
    };
    keys.into_iter().for_each(|key| edit.remove(key));
    Ok(Some(stage))
}

/// Makes messages due that are to be learned: some of the first mailbox there is from this one on.
fn review(
    edit: &mut Edit<'_>,
    account: AccountId,
    from: MailboxId,
    uid: Uid,
) -> Result<Option<Stage>, Stop> {
    let reads = edit.reads();
    let Some(mailbox) = mailbox_from(reads, account, from)? else {
        return Ok(None);
    };
    let uid = if mailbox == from { uid } else { Uid(1) };
    let names = keywords(reads, account, mailbox)?.0;
    let everything = UidSet::from_runs([1..=u32::MAX]);
    let some = existing(reads, account, mailbox, &everything, uid, MARK_MESSAGES_MAX)?;
    let flagged = some
        .rows
        .iter()
        .filter(|row| class_of(&names, row.keywords).is_some());
    let flagged: UidSet = flagged.map(|row| row.uid).collect();
    let row = mailbox_row(reads, account, mailbox)?;
    if let (Some(row), false) = (row, flagged.is_empty()) {
        let key = key::op(Table::JunkDue, account, mailbox, row.modseq);
        let before = edit.get(&key)?.map(|row| decode_change(&row)).transpose()?;
        let both = before.unwrap_or_default().union(&flagged);
        edit.put(key, encode_change(&both));
    }
    let behind = || Some(MailboxId(mailbox.0.checked_add(1)?));
    Ok(match some.next {
        Some(next) => Some(Stage::Reviewing(mailbox, next)),
        None => behind().map(|next| Stage::Reviewing(next, Uid(1))),
    })
}

/// The first mailbox that was not deleted, from a number on.
fn mailbox_from(
    reads: &dyn Reads,
    account: AccountId,
    from: MailboxId,
) -> Result<Option<MailboxId>, ReadError> {
    let mut found = None;
    let first = key::in_mailbox(Table::Mailbox, account, from);
    let end = key::behind(&key::in_account(Table::Mailbox, account));
    scan::range(reads, Space::Rows, &first, &end, &mut |key, _| {
        let mailbox = Parts::of(key).u32().map(MailboxId);
        let mailbox = mailbox.ok_or_else(|| scan::bad_key("mailboxes"))?;
        if mailbox_row(reads, account, mailbox)?.is_none_or(|row| row.removed) {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(mailbox);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}
