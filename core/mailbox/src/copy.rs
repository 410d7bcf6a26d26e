//! COPY and MOVE. A copy shares its body with the original through a reference of its own.
//!
//! COPY is all or nothing (RFC 3501 6.4.7). When it takes several operations, the first writes a row that says what was
//! put where so far, each further one keeps it up to date, and the last removes it. Whoever cannot go on, and every
//! start of a server, undoes what such rows name. MOVE is that for each message (RFC 6851 3.3), and needs none.

use core::ops::ControlFlow;
use mox_machine::{Utc, mutant};
use mox_uids::{Uid, UidSet};

use crate::account::{account_row, usage};
use crate::deliver::put_message;
use crate::edit::Edit;
use crate::junk::class_of;
use crate::junk_rules::{Going, Kept, keywords_after};
use crate::key::{self, Parts, Referrer, Table};
use crate::mailboxes::resolve;
use crate::mark::{MARK_MESSAGES_MAX, STEP_OCTETS, STEP_ROWS};
use crate::reject::is_reject;
use crate::reputation::{self, KINSHIP_MAX};
use crate::rows::{MetaRow, decode_change, encode_change};
use crate::view::{existing, light_rows};
use crate::{
    AccountId, Batch, MailboxId, Progress, ReadError, Reads, Space, Stop, VALUE_MAX, scan,
};

/// COPY or MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Whose.
    pub account: AccountId,
    /// The mailbox the messages are in.
    pub from: MailboxId,
    /// Which messages; those that are gone are passed over.
    pub uids: UidSet,
    /// The name of the mailbox they go to, which must exist.
    pub to: String,
    /// Remove the originals: MOVE (RFC 6851).
    pub remove: bool,
    /// The account's mailbox for copies of what was not taken, if it has one.
    pub rejects: Option<String>,
    /// The time of the operation.
    pub now: Utc,
}

/// Where a copy goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyCursor {
    to: MailboxId,
    next: Uid,
    /// The last message there was at first, so that copying into the same mailbox ends.
    last: Uid,
    /// The row that says what was copied; `None` before the first operation, and for MOVE.
    unfinished: Option<Unfinished>,
}

impl CopyCursor {
    /// What is to be undone when the copy does not go on.
    pub const fn unfinished(&self) -> Option<Unfinished> {
        self.unfinished
    }
}

/// A COPY of several operations that stopped between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    account: AccountId,
    to: MailboxId,
    /// That of its first operation in the destination.
    modseq: u64,
}

impl Unfinished {
    fn key(&self) -> Vec<u8> {
        key::op(Table::Copying, self.account, self.to, self.modseq)
    }
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the destination.
    pub validity: u32,
    /// The originals.
    pub from: UidSet,
    /// The copies: the n-th is that of the n-th original.
    pub to: UidSet,
    /// Run the operation again with this; `None` when all is done.
    pub next: Option<CopyCursor>,
}

/// Copies or moves messages, about 250 an operation; `cursor` is `None` at first, then what the answer says. When an
/// operation is refused, or there will be no next one, [`undo_copy`] takes back what [`CopyCursor::unfinished`] names.
///
/// The quota is checked for all of them by the first operation. Flags, keywords and internal date go along; the way into a mailbox
/// for junk, or out of it, changes [`JUNK`](crate::JUNK) and [`NOT_JUNK`](crate::NOT_JUNK).
pub fn copy(
    reads: &dyn Reads,
    copy: &Copy,
    cursor: Option<CopyCursor>,
) -> Result<(Batch, Copied), Stop> {
    let (account, from) = (copy.account, copy.from);
    let mut edit = Edit::new(reads, copy.now);
    edit.account(account)?;
    let source = edit.mailbox(account, from)?;
    let last = Uid(source.row.next - 1);
    let names = source.keywords()?.to_vec();
    let cursor = match cursor {
        Some(cursor) => cursor,
        None => {
            let to = resolve(&mut edit, account, &copy.to, false)?;
            if !copy.remove {
                check_quota(reads, copy)?;
            }
            CopyCursor {
                to,
                next: Uid(1),
                last,
                unfinished: None,
            }
        }
    };
    let to = cursor.to;
    let rejects = copy.rejects.as_deref();
    let kept = (
        Kept::of(&mut edit, account, from, rejects)?,
        Kept::of(&mut edit, account, to, rejects)?,
    );
    let some = existing(reads, account, from, &copy.uids, cursor.next, STEP_ROWS / 3)?;
    let (mut originals, mut copies, mut next) = (Vec::new(), Vec::new(), some.next);
    for row in some.rows {
        let full = edit.weight() + 5 + KINSHIP_MAX >= STEP_ROWS
            || edit.octets() + 3 * VALUE_MAX >= STEP_OCTETS;
        if row.uid > cursor.last {
            next = None;
            break;
        }
        if full {
            next = Some(row.uid);
            break;
        }
        let get = |table| {
            let found = reads.get(Space::Rows, &key::at(table, account, from, row.uid.0))?;
            found.ok_or_else(|| ReadError(format!("message {} has no {table:?} row", row.uid)))
        };
        let (meta, header) = (get(Table::Meta)?, get(Table::Header)?);
        let keywords: Vec<String> = named(&names, row.keywords).cloned().collect();
        let original = MetaRow::decode(&meta)?;
        let going = Going {
            from: kept.0,
            to: kept.1,
            is_reject: is_reject(reads, account, from, row.uid)?,
            before: original.said,
        };
        let (after, before) = keywords_after(&going, keywords.clone());
        let target = edit.mailbox(account, to)?;
        let (bits, before) = match to == from {
            true => (row.keywords, original.said),
            // A mailbox with too many keywords takes the message without ours.
            false => (
                target
                    .keyword_bits(&after, true)
                    .or_else(|_| target.keyword_bits(&keywords, true))?,
                before,
            ),
        };
        let uid = target.append(row.size, row.date, row.flags, bits)?;
        let said = class_of(&names, row.keywords);
        let says = class_of(target.keywords()?, bits);
        let meta = MetaRow {
            saved: copy.now,
            said: before,
            ..original
        };
        put_message(&mut edit, account, to, uid, &meta, header);
        // A copy that says nothing takes nothing back: the original still says what it did.
        if said != says && (says.is_some() || copy.remove) {
            reputation::judge(&mut edit, account, &meta, says)?;
        }
        if mutant!(CopyWithoutReference) {
            let by = Referrer::Message(account, to, uid);
            edit.remove(key::reference(meta.body.id, by));
        }
        if copy.remove && !mutant!(MoveKeepsOriginal) {
            edit.mailbox(account, from)?.take(row.uid)?;
        }
        originals.push(row.uid);
        copies.push(uid);
    }
    let target = edit.mailbox(account, to)?;
    let (validity, modseq) = (target.row.validity, target.modseq());
    let copies: UidSet = copies.into_iter().collect();
    let unfinished = match cursor.unfinished {
        None if copy.remove || next.is_none() => None,
        None => Some(Unfinished {
            account,
            to,
            modseq,
        }),
        some => some,
    };
    if let Some(unfinished) = unfinished {
        let key = unfinished.key();
        let before = match cursor.unfinished {
            Some(_) => copied_so_far(reads, &key)?
                .ok_or_else(|| ReadError("what a copy did so far is not known".into()))?,
            None => UidSet::new(),
        };
        match next {
            Some(_) => edit.put(key, encode_change(&before.union(&copies))),
            None => edit.remove(key),
        }
    }
    let copied = Copied {
        validity,
        from: originals.into_iter().collect(),
        to: copies,
        next: next.map(|next| CopyCursor {
            next,
            unfinished,
            ..cursor
        }),
    };
    Ok((edit.finish()?, copied))
}

fn copied_so_far(reads: &dyn Reads, key: &[u8]) -> Result<Option<UidSet>, ReadError> {
    let row = reads.get(Space::Rows, key)?;
    row.map(|row| decode_change(&row)).transpose()
}

/// Up to `max` COPYs that are not finished. When no server runs, all of them are to be undone.
pub fn unfinished_copies(reads: &dyn Reads, max: usize) -> Result<Vec<Unfinished>, ReadError> {
    let mut found = Vec::new();
    scan::prefix(reads, &[Table::Copying as u8], &mut |key, _| {
        let mut parts = Parts::of(key);
        let read = key::account_of(key).zip(parts.u32().zip(parts.u64()));
        let (account, (to, modseq)) = read.ok_or_else(|| scan::bad_key("unfinished copies"))?;
        found.push(Unfinished {
            account,
            to: MailboxId(to),
            modseq,
        });
        Ok(match found.len() < max {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(found)
}

/// Takes copies back, like an expunge. Run it again until it says `Done`.
pub fn undo_copy(
    reads: &dyn Reads,
    unfinished: Unfinished,
    now: Utc,
) -> Result<(Batch, Progress), Stop> {
    let key = unfinished.key();
    let Some(copies) = copied_so_far(reads, &key)? else {
        return Ok((Batch::default(), Progress::Done));
    };
    let mut edit = Edit::new(reads, now);
    let there = edit.account(unfinished.account).map(|_| ());
    let there = there.and_then(|()| edit.mailbox(unfinished.account, unfinished.to).map(|_| ()));
    let mut left = copies.clone();
    match there {
        // With its mailbox the copies go anyway.
        Err(Stop::NoSuchAccount | Stop::MailboxGone) => left = UidSet::new(),
        Err(other) => return Err(other),
        Ok(()) => {
            let mailbox = edit.mailbox(unfinished.account, unfinished.to)?;
            let mut taken = Vec::new();
            for uid in copies.iter().take(MARK_MESSAGES_MAX) {
                if mailbox.weight() >= STEP_ROWS {
                    break;
                }
                mailbox.take(uid)?;
                taken.push(uid);
            }
            left = left.difference(&taken.into_iter().collect());
        }
    }
    let progress = match left.is_empty() {
        true => {
            edit.remove(key);
            Progress::Done
        }
        false => {
            edit.put(key, encode_change(&left));
            Progress::More(())
        }
    };
    Ok((edit.finish()?, progress))
}

/// The keywords that stand for bits.
pub(crate) fn named(names: &[String], bits: u64) -> impl Iterator<Item = &String> {
    let set = move |at: &usize| {
        bits.checked_shr(*at as u32)
            .is_some_and(|bits| bits & 1 == 1)
    };
    names
        .iter()
        .enumerate()
        .filter(move |(at, _)| set(at))
        .map(|(_, name)| name)
}

fn check_quota(reads: &dyn Reads, copy: &Copy) -> Result<(), Stop> {
    let quota = account_row(reads, copy.account)?.and_then(|row| row.quota);
    let Some(quota) = quota else { return Ok(()) };
    let mut sum = usage(reads, copy.account)?.octets;
    light_rows(
        reads,
        copy.account,
        copy.from,
        &copy.uids,
        Uid(1),
        &mut |row| {
            sum = sum.saturating_add(row.size);
            ControlFlow::Continue(())
        },
    )?;
    match sum > quota {
        true => Err(Stop::OverQuota(copy.account)),
        false => Ok(()),
    }
}
