//! What a store that was set back owes the clients that saw its later states.

use core::ops::ControlFlow;
use mox_machine::Utc;

use crate::edit::Edit;
use crate::key::{self, Parts, Table};
use crate::mark::STEP_ROWS;
use crate::rows::{MailboxRow, Stored};
use crate::{AccountId, Batch, MailboxId, Progress, Reads, Space, Stop, scan};

/// Gives every mailbox a new UIDVALIDITY, some of them an operation: in a store made of a backup the UIDs and
/// modification sequences given since are given again (RFC 3501 2.3.1.1). `from` is `None` at first, then what the
/// answer says.
pub fn renew_validity(
    reads: &dyn Reads,
    from: Option<(AccountId, MailboxId)>,
    now: Utc,
) -> Result<(Batch, Progress<(AccountId, MailboxId)>), Stop> {
    let first = match from {
        Some((account, mailbox)) => key::in_mailbox(Table::Mailbox, account, mailbox),
        None => vec![Table::Mailbox as u8],
    };
    let end = key::behind(&[Table::Mailbox as u8]);
    let (mut found, mut next) = (Vec::new(), None);
    scan::range(reads, Space::Rows, &first, &end, &mut |key, value| {
        let at = key::account_of(key).zip(Parts::of(key).u32().map(MailboxId));
        let at = at.ok_or_else(|| scan::bad_key("mailboxes"))?;
        if found.len() >= STEP_ROWS {
            next = Some(at);
            return Ok(ControlFlow::Break(()));
        }
        if !MailboxRow::decode(&value)?.removed {
            found.push((key.to_vec(), value));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut edit = Edit::new(reads, now);
    for (key, value) in found {
        let validity = edit.validity()?;
        let row = MailboxRow {
            validity,
            ..MailboxRow::decode(&value)?
        };
        edit.put(key, row.encode());
    }
    let progress = next.map_or(Progress::Done, Progress::More);
    Ok((edit.finish()?, progress))
}
