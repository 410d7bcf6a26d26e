//! Taking away for good what was expunged, deleted or removed, once it is due.

use core::ops::ControlFlow;
use mox_machine::Utc;
use mox_uids::{Uid, UidSet};

use crate::edit::{Edit, mailbox_row};
use crate::key::{self, ACCOUNT_TABLES, MAILBOX_TABLES, Parts, Referrer, Table};
use crate::rows::{GoneRow, MetaRow, Stored};
use crate::{AccountId, Batch, BodyRef, MailboxId, Progress, ReadError, Reads, Space, Stop, scan};

/// Messages purged by one operation at most: four rows each.
const MESSAGES: usize = 200;
/// Rows purged by one operation at most.
const ROWS: usize = 900;

/// When the next purge is due; `None` when there is nothing to purge.
pub fn next_purge(reads: &dyn Reads) -> Result<Option<Utc>, ReadError> {
    Ok(first_due(reads)?.map(|due| Utc::from_secs(i64::try_from(due.secs).unwrap_or(i64::MAX))))
}

/// Takes away a part of what is due: expunged messages and deleted mailboxes after 14 days, removed accounts at once.
/// Run it again until it says `Done`.
pub fn purge(reads: &dyn Reads, now: Utc) -> Result<(Batch, Progress), Stop> {
    let secs = u64::try_from(now.secs()).unwrap_or(0);
    let Some(due) = first_due(reads)?.filter(|due| due.secs <= secs) else {
        return Ok((Batch::default(), Progress::Done));
    };
    let mut edit = Edit::new(reads, now);
    let finished = match (due.mailbox, due.modseq) {
        (MailboxId(0), _) => account(&mut edit, due.account)?,
        (mailbox, key::WHOLE) => mailbox_rows(&mut edit, due.account, mailbox)?,
        (mailbox, modseq) => gone(&mut edit, due.account, mailbox, modseq)?,
    };
    if finished {
        edit.remove(key::due(due.secs, due.account, due.mailbox, due.modseq));
    }
    Ok((edit.finish()?, Progress::More(())))
}

struct Due {
    secs: u64,
    account: AccountId,
    mailbox: MailboxId,
    modseq: u64,
}

fn first_due(reads: &dyn Reads) -> Result<Option<Due>, ReadError> {
    let mut first = None;
    scan::prefix(reads, &key::dues(), &mut |key, _| {
        let mut parts = Parts::of(key);
        let mut read = || {
            Some(Due {
                secs: parts.u64()?,
                account: AccountId(parts.u32()?),
                mailbox: MailboxId(parts.u32()?),
                modseq: parts.u64()?,
            })
        };
        first = Some(read().ok_or_else(|| scan::bad_key("what is due"))?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// The messages of one expunge. Their record goes with the last of them; who knows less is told of every UID that is not
/// there.
fn gone(
    edit: &mut Edit<'_>,
    account: AccountId,
    mailbox: MailboxId,
    modseq: u64,
) -> Result<bool, Stop> {
    let reads = edit.reads();
    let key = key::op(Table::Gone, account, mailbox, modseq);
    let Some(bytes) = reads.get(Space::Rows, &key)? else {
        return Ok(true);
    };
    let mut row = GoneRow::decode(&bytes)?;
    let now: UidSet = row.held.iter().take(MESSAGES).collect();
    for uid in now.iter() {
        message(edit, account, mailbox, uid)?;
    }
    row.held = row.held.difference(&now);
    if !row.held.is_empty() {
        edit.put(key, row.encode());
        return Ok(false);
    }
    edit.remove(key);
    if let Some(mut open) = mailbox_row(reads, account, mailbox)? {
        open.gone_from = open.gone_from.max(modseq);
        edit.put(
            key::in_mailbox(Table::Mailbox, account, mailbox),
            open.encode(),
        );
    }
    Ok(true)
}

/// One message: its facts, its header section, its reference, its body when that was the last.
fn message(
    edit: &mut Edit<'_>,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<(), Stop> {
    let key = key::at(Table::Meta, account, mailbox, uid.0);
    let Some(bytes) = edit.reads().get(Space::Rows, &key)? else {
        return Ok(());
    };
    let body: BodyRef = MetaRow::decode(&bytes)?.body;
    edit.remove(key);
    edit.remove(key::at(Table::Header, account, mailbox, uid.0));
    edit.remove_reference(&body, Referrer::Message(account, mailbox, uid))
}

/// A part of a deleted mailbox; true when nothing is left.
fn mailbox_rows(edit: &mut Edit<'_>, account: AccountId, mailbox: MailboxId) -> Result<bool, Stop> {
    let prefix = key::in_mailbox(Table::Meta, account, mailbox);
    let messages = edit.keys(&prefix, &key::behind(&prefix), MESSAGES)?;
    if !messages.is_empty() {
        for key in messages {
            let uid = crate::view::number(&key, Table::Meta)?;
            message(edit, account, mailbox, Uid(uid))?;
        }
        return Ok(false);
    }
    for table in MAILBOX_TABLES {
        if !table_rows(edit, &key::in_mailbox(table, account, mailbox))? {
            return Ok(false);
        }
    }
    edit.remove(key::in_mailbox(Table::Mailbox, account, mailbox));
    Ok(true)
}

/// A part of a removed account; true when nothing is left.
fn account(edit: &mut Edit<'_>, account: AccountId) -> Result<bool, Stop> {
    let prefix = key::in_account(Table::Mailbox, account);
    if let Some(key) = edit.keys(&prefix, &key::behind(&prefix), 1)?.first() {
        let mailbox = Parts::of(key)
            .u32()
            .ok_or_else(|| scan::bad_key("mailboxes"))?;
        mailbox_rows(edit, account, MailboxId(mailbox))?;
        return Ok(false);
    }
    for table in ACCOUNT_TABLES {
        if !table_rows(edit, &key::in_account(table, account))? {
            return Ok(false);
        }
    }
    edit.remove(key::account(account));
    Ok(true)
}

/// A part of the rows whose keys begin with `prefix`; true when nothing is left.
fn table_rows(edit: &mut Edit<'_>, prefix: &[u8]) -> Result<bool, Stop> {
    let room = ROWS.saturating_sub(edit.weight());
    if room == 0 {
        return Ok(false);
    }
    let keys = edit.keys(prefix, &key::behind(prefix), room)?;
    let all = keys.len() < room;
    keys.into_iter().for_each(|key| edit.remove(key));
    Ok(all)
}
