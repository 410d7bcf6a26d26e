//! Which messages no session was told of yet (RFC 3501 2.3.2, `\Recent`): all from one UID on.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;
use mox_uids::{Uid, UidSet};

use crate::chunk::{self, Chunk};
use crate::edit::Edit;
use crate::key::{self, Table};
use crate::varint::{self, Input};
use crate::view::number;
use crate::{AccountId, Batch, MailboxId, ReadError, Reads, Space, Stop, scan};

const VERSION: u8 = 1;

/// The first UID that no session was told of.
pub fn recent_from(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Uid, ReadError> {
    let key = key::in_mailbox(Table::Recent, account, mailbox);
    let Some(row) = reads.get(Space::Rows, &key)? else {
        return Ok(Uid(1));
    };
    let mut input = Input::new(&row, "recent");
    input.version(VERSION)?;
    let from = input.number32()?;
    input.end()?;
    Ok(Uid(from))
}

/// The messages of a mailbox from a UID on.
pub fn messages_from(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    from: Uid,
) -> Result<UidSet, ReadError> {
    let first = key::at(Table::Uids, account, mailbox, chunk::chunk_of(from));
    let end = key::behind(&key::in_mailbox(Table::Uids, account, mailbox));
    let mut runs = Vec::new();
    scan::range(reads, Space::Rows, &first, &end, &mut |key, value| {
        let n = number(key, Table::Uids)?;
        runs.extend(chunk::uids(n, &Chunk::decode(&value)?.all));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(UidSet::from_runs(runs).intersection(&UidSet::from_runs([from.0..=u32::MAX])))
}

/// Sessions were told of all messages below `from`.
pub fn told(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    from: Uid,
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(account)?;
    edit.mailbox(account, mailbox)?;
    if recent_from(reads, account, mailbox)? < from {
        let mut row = vec![VERSION];
        varint::put(&mut row, u64::from(from.0));
        let key = key::in_mailbox(Table::Recent, account, mailbox);
        edit.put(key, Bytes::from(row));
    }
    Ok((edit.finish()?, ()))
}
