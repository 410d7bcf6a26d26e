//! COPY and MOVE. A copy shares its body with the original through a reference of its own.

use mox_machine::{Utc, mutant};
use mox_uids::{Uid, UidSet};

use crate::account::{account_row, usage};
use crate::deliver::put_message;
use crate::edit::Edit;
use crate::key::{self, Referrer, Table};
use crate::mailboxes::resolve;
use crate::mark::STEP_ROWS;
use crate::rows::MetaRow;
use crate::view::{existing, light_rows};
use crate::{
    AccountId, BATCH_BYTES_MAX, Batch, MailboxId, ReadError, Reads, Space, Stop, VALUE_MAX,
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

/// Copies or moves messages, about 250 an operation; `cursor` is `None` at first, then what the answer says.
///
/// The quota is checked for all of them by the first operation. Flags, keywords and internal date go along.
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
            }
        }
    };
    let to = cursor.to;
    let some = existing(reads, account, from, &copy.uids, cursor.next, STEP_ROWS / 3)?;
    let (mut originals, mut copies, mut next) = (Vec::new(), Vec::new(), some.next);
    for row in some.rows {
        let full =
            edit.weight() + 5 >= STEP_ROWS || edit.octets() + 3 * VALUE_MAX >= BATCH_BYTES_MAX;
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
        let target = edit.mailbox(account, to)?;
        let bits = match to == from {
            true => row.keywords,
            false => target.keyword_bits(&keywords, true)?,
        };
        let uid = target.append(row.size, row.date, row.flags, bits)?;
        let meta = MetaRow {
            saved: copy.now,
            ..MetaRow::decode(&meta)?
        };
        put_message(&mut edit, account, to, uid, &meta, header);
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
    let copied = Copied {
        validity: edit.mailbox(account, to)?.row.validity,
        from: originals.into_iter().collect(),
        to: copies.into_iter().collect(),
        next: next.map(|next| CopyCursor { next, ..cursor }),
    };
    Ok((edit.finish()?, copied))
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
            core::ops::ControlFlow::Continue(())
        },
    )?;
    match sum > quota {
        true => Err(Stop::OverQuota(copy.account)),
        false => Ok(()),
    }
}
