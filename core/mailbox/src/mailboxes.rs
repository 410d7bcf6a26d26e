//! The list of an account's mailboxes: making, deleting, renaming, subscribing.
//!
//! A mailbox never exists without those above it, and no two ever share a name and a UIDVALIDITY, whatever was deleted,
//! renamed or made again before.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;

use crate::edit::{Edit, MAILBOXES_MAX, mailbox_row, name_row};
use crate::junk::unlearn_mailbox;
use crate::key::{self, Table};
use crate::mailbox_edit::due_at;
use crate::name::{INBOX, mailbox_name, parents};
use crate::rows::{NameRow, Stored};
use crate::{AccountId, Batch, Limit, MailboxId, ReadError, Reads, SpecialUse, Stop, scan};

/// Mailboxes renamed by one operation at most, children included.
pub const RENAME_MAX: usize = 300;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxEntry {
    /// Canonical name.
    pub name: String,
    /// Its number; `None` for a subscription to what does not exist.
    pub mailbox: Option<MailboxId>,
    /// Is in the list of subscriptions.
    pub subscribed: bool,
    /// RFC 6154.
    pub special_use: Option<SpecialUse>,
}

/// A mailbox that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its number.
    pub mailbox: MailboxId,
    /// The names of all mailboxes that were made, parents first.
    pub names: Vec<String>,
}

/// What a rename did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// These mailboxes have new names: the old and the new one of each.
    Done(Vec<(String, String)>),
    /// INBOX stays and keeps its children. The new mailbox was made: now move all messages of the first mailbox to it with
    /// [`copy`](crate::copy).
    MoveMessages {
        /// INBOX.
        from: MailboxId,
        /// The canonical new name.
        to: String,
    },
}

/// All mailboxes and subscriptions of an account in order of name; at most [`MAILBOXES_MAX`](crate::MAILBOXES_MAX).
pub fn mailboxes(reads: &dyn Reads, account: AccountId) -> Result<Vec<MailboxEntry>, ReadError> {
    let mut found = Vec::new();
    let prefix = key::in_account(Table::MailboxName, account);
    scan::prefix(reads, &prefix, &mut |key, value| {
        let row = NameRow::decode(&value)?;
        found.push(MailboxEntry {
            name: String::from_utf8_lossy(key::Parts::of(key).rest()).into_owned(),
            mailbox: row.mailbox,
            subscribed: row.subscribed,
            special_use: row.special_use,
        });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// The name of the mailbox with a special use (RFC 6154).
pub fn mailbox_for(
    reads: &dyn Reads,
    account: AccountId,
    special_use: SpecialUse,
) -> Result<Option<String>, ReadError> {
    let all = mailboxes(reads, account)?.into_iter();
    let mut found = all.filter(|m| m.special_use == Some(special_use) && m.mailbox.is_some());
    Ok(found.next().map(|mailbox| mailbox.name))
}

/// The number of a mailbox.
pub fn mailbox_id(
    reads: &dyn Reads,
    account: AccountId,
    name: &str,
) -> Result<Option<MailboxId>, ReadError> {
    let Ok(name) = mailbox_name(name) else {
        return Ok(None);
    };
    Ok(name_row(reads, account, &name)?.and_then(|row| row.mailbox))
}

/// Makes a mailbox, and those above it that are missing. All are subscribed.
pub fn create_mailbox(
    reads: &dyn Reads,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
    now: Utc,
) -> Result<(Batch, Created), Stop> {
    create_subscribed(reads, account, name, special_use, true, now)
}

/// The same, and whether they are subscribed: IMAP's CREATE leaves that to SUBSCRIBE (RFC 3501 6.3.6).
pub fn create_subscribed(
    reads: &dyn Reads,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
    subscribed: bool,
    now: Utc,
) -> Result<(Batch, Created), Stop> {
    let name = mailbox_name(name)?;
    let mut edit = Edit::new(reads, now);
    edit.subscribes = subscribed;
    edit.account(account)?;
    if let Some(wanted) = special_use {
        let all = mailboxes(reads, account)?;
        if all.iter().any(|m| m.special_use == Some(wanted)) {
            return Err(Stop::SpecialUseTaken);
        }
    }
    let created = create_missing(&mut edit, account, &name, special_use)?;
    let created = created.ok_or(Stop::MailboxExists)?;
    Ok((edit.finish()?, created))
}

/// Makes a mailbox with a canonical name and those above it; `None` when it exists.
fn create_missing(
    edit: &mut Edit<'_>,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<Option<Created>, Stop> {
    let exists = |row: Option<NameRow>| row.is_some_and(|row| row.mailbox.is_some());
    if exists(edit.name(account, name)?) {
        return Ok(None);
    }
    let mut names = Vec::new();
    for parent in parents(name) {
        if !exists(edit.name(account, parent)?) {
            edit.new_mailbox(account, parent, None)?;
            names.push(parent.to_owned());
        }
    }
    let mailbox = edit.new_mailbox(account, name, special_use)?;
    names.push(name.to_owned());
    Ok(Some(Created { mailbox, names }))
}

/// The mailbox with this name, made when `create`.
pub(crate) fn resolve(
    edit: &mut Edit<'_>,
    account: AccountId,
    name: &str,
    create: bool,
) -> Result<MailboxId, Stop> {
    edit.account(account)?;
    let name = mailbox_name(name)?;
    if let Some(id) = edit.name(account, &name)?.and_then(|row| row.mailbox) {
        return Ok(id);
    }
    if !create {
        return Err(Stop::NoSuchMailbox);
    }
    let created = create_missing(edit, account, &name, None)?;
    created.map(|c| c.mailbox).ok_or(Stop::MailboxExists)
}

/// The mailbox with this name, made where there is none. Who has about as many names as there may be gets mail for it into the inbox: it
/// is kept from nobody else, and lost for nobody.
pub(crate) fn resolve_for_mail(
    edit: &mut Edit<'_>,
    account: AccountId,
    name: &str,
) -> Result<MailboxId, Stop> {
    match resolve(edit, account, name, false) {
        Err(Stop::NoSuchMailbox) if may_be(edit, account, name)? => {
            resolve(edit, account, name, true)
        }
        Err(Stop::NoSuchMailbox) => resolve(edit, account, INBOX, true),
        found => found,
    }
}

/// Whether there is a mailbox with this name, or room for one.
pub(crate) fn may_be(edit: &mut Edit<'_>, account: AccountId, name: &str) -> Result<bool, Stop> {
    let name = mailbox_name(name)?;
    let found = edit.name(account, &name)?;
    let is_there = found.is_some_and(|row| row.mailbox.is_some());
    let levels = u32::try_from(parents(&name).count()).unwrap_or(u32::MAX);
    let names = edit.account(account)?.names.saturating_add(levels);
    Ok(is_there || names < MAILBOXES_MAX)
}

/// Deletes a mailbox and its messages. A subscription to its name stays. Its rows and bodies go with
/// [`purge`](crate::purge) 14 days later.
pub fn delete_mailbox(
    reads: &dyn Reads,
    account: AccountId,
    name: &str,
    now: Utc,
) -> Result<(Batch, MailboxId), Stop> {
    let name = mailbox_name(name)?;
    if name == INBOX {
        return Err(Stop::Inbox);
    }
    let mut edit = Edit::new(reads, now);
    edit.account(account)?;
    let row = edit.name(account, &name)?.ok_or(Stop::NoSuchMailbox)?;
    let id = row.mailbox.ok_or(Stop::NoSuchMailbox)?;
    if !children(reads, account, &name, 1)?.is_empty() {
        return Err(Stop::HasChildren);
    }
    edit.set_name(account, &name, left_behind(row))?;
    unlearn_mailbox(&mut edit, account, id)?;
    edit.mailbox(account, id)?.row.removed = true;
    let due = key::due(due_at(now), account, id, key::WHOLE);
    edit.put(due, Bytes::new());
    Ok((edit.finish()?, id))
}

/// What stays of a name whose mailbox is gone.
fn left_behind(row: NameRow) -> Option<NameRow> {
    row.subscribed.then_some(NameRow {
        mailbox: None,
        subscribed: true,
        special_use: None,
    })
}

/// The first `max` existing mailboxes below one.
fn children(
    reads: &dyn Reads,
    account: AccountId,
    name: &str,
    max: usize,
) -> Result<Vec<(String, NameRow)>, ReadError> {
    let mut found = Vec::new();
    let prefix = key::mailbox_name(account, &format!("{name}/"));
    scan::prefix(reads, &prefix, &mut |key, value| {
        let row = NameRow::decode(&value)?;
        if row.mailbox.is_some() {
            let name = String::from_utf8_lossy(key::Parts::of(key).rest()).into_owned();
            found.push((name, row));
        }
        Ok(match found.len() < max {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(found)
}

/// Renames a mailbox and those below it, making what is missing above the new name. Each gets a new UIDVALIDITY and
/// keeps its UIDs and its number. Subscriptions stay with the old names. Renaming below itself leaves empty mailboxes
/// above it.
pub fn rename_mailbox(
    reads: &dyn Reads,
    account: AccountId,
    from: &str,
    to: &str,
    now: Utc,
) -> Result<(Batch, Renamed), Stop> {
    let (from, to) = (mailbox_name(from)?, mailbox_name(to)?);
    if to == INBOX {
        return Err(Stop::Inbox);
    }
    let mut edit = Edit::new(reads, now);
    edit.account(account)?;
    let row = edit.name(account, &from)?.ok_or(Stop::NoSuchMailbox)?;
    let id = row.mailbox.ok_or(Stop::NoSuchMailbox)?;
    if from == INBOX {
        create_missing(&mut edit, account, &to, None)?.ok_or(Stop::MailboxExists)?;
        return Ok((edit.finish()?, Renamed::MoveMessages { from: id, to }));
    }
    let mut moving = children(reads, account, &from, RENAME_MAX)?;
    if moving.len() >= RENAME_MAX {
        return Err(Stop::TooMany(Limit::Rename));
    }
    moving.insert(0, (from.clone(), row));
    let new_name = |old: &str| {
        let below = old.get(from.len()..).unwrap_or_default();
        mailbox_name(&format!("{to}{below}"))
    };
    for (old, _) in &moving {
        let there = edit.name(account, &new_name(old)?)?;
        if there.is_some_and(|there| there.mailbox.is_some()) {
            return Err(Stop::MailboxExists);
        }
    }
    let mut renamed = Vec::new();
    for (old, row) in moving {
        let new = new_name(&old)?;
        let there = edit.name(account, &new)?;
        let subscribed = there.is_some_and(|there| there.subscribed);
        edit.set_name(account, &old, left_behind(row))?;
        edit.set_name(account, &new, Some(NameRow { subscribed, ..row }))?;
        let validity = edit.validity()?;
        if let Some(id) = row.mailbox {
            let mailbox = edit.mailbox(account, id)?;
            mailbox.row.name.clone_from(&new);
            mailbox.row.validity = validity;
        }
        renamed.push((old, new));
    }
    for parent in parents(&to) {
        let there = edit.name(account, parent)?;
        if there.is_none_or(|there| there.mailbox.is_none()) {
            edit.new_mailbox(account, parent, None)?;
        }
    }
    Ok((edit.finish()?, Renamed::Done(renamed)))
}

/// Subscribes to a name, or ends that; the mailbox need not exist. Answers whether anything changed.
pub fn subscribe(
    reads: &dyn Reads,
    account: AccountId,
    name: &str,
    on: bool,
) -> Result<(Batch, bool), Stop> {
    let name = mailbox_name(name)?;
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(account)?;
    let row = edit.name(account, &name)?.unwrap_or(NameRow {
        mailbox: None,
        subscribed: false,
        special_use: None,
    });
    if row.subscribed == on {
        return Ok((Batch::default(), false));
    }
    let row = NameRow {
        subscribed: on,
        ..row
    };
    let row = (on || row.mailbox.is_some()).then_some(row);
    edit.set_name(account, &name, row)?;
    Ok((edit.finish()?, true))
}

/// The figures STATUS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub mailbox: MailboxId,
    /// UIDVALIDITY.
    pub validity: u32,
    /// UIDNEXT.
    pub next: u32,
    /// HIGHESTMODSEQ.
    pub modseq: u64,
    /// Messages.
    pub messages: u32,
    /// Those without \Seen.
    pub unseen: u32,
    /// Those with \Deleted.
    pub deleted: u32,
    /// Octets of all messages.
    pub size: u64,
    /// When the list of keywords last grew.
    pub keywords_modseq: u64,
}

/// The figures of a mailbox; `None` when it was deleted or never made.
pub fn status(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Option<Status>, ReadError> {
    let row = mailbox_row(reads, account, mailbox)?.filter(|row| !row.removed);
    Ok(row.map(|row| Status {
        mailbox,
        validity: row.validity,
        next: row.next,
        modseq: row.modseq,
        messages: row.messages,
        unseen: row.unseen,
        deleted: row.deleted,
        size: row.size,
        keywords_modseq: row.keywords_modseq,
    }))
}
