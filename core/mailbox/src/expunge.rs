//! Removing messages.

use mox_machine::Utc;
use mox_uids::{Uid, UidSet};

use crate::edit::Edit;
use crate::mark::STEP_ROWS;
use crate::view::existing;
use crate::{AccountId, Batch, Flags, MARK_MESSAGES_MAX, MailboxId, Reads, Stop};

/// Which messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doomed {
    /// Those with \Deleted: EXPUNGE.
    Deleted,
    /// Those of these with \Deleted: UID EXPUNGE.
    DeletedOf(UidSet),
    /// These, whatever their flags.
    These(UidSet),
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expunged {
    /// Which messages.
    pub uids: UidSet,
    /// The modification sequence of what went; 0 when nothing did.
    pub modseq: u64,
    /// Run the operation again from here; `None` when all is done.
    pub next: Option<Uid>,
}

/// Removes messages from UID `from` on: at first `Uid(1)`, then what the answer says, until it says `None`.
///
/// For 14 days what is fixed about them, and their bodies, can still be read by sessions that were not told yet; then
/// [`purge`](crate::purge) takes them.
pub fn expunge(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    doomed: &Doomed,
    from: Uid,
    now: Utc,
) -> Result<(Batch, Expunged), Stop> {
    let mut edit = Edit::new(reads, now);
    edit.account(account)?;
    let open = edit.mailbox(account, mailbox)?;
    let modseq = open.modseq();
    let (mut uids, mut next) = (Vec::new(), None);
    let everything = UidSet::from_runs([1..=u32::MAX]);
    let (among, any) = match doomed {
        Doomed::Deleted => (&everything, false),
        Doomed::DeletedOf(uids) => (uids, false),
        Doomed::These(uids) => (uids, true),
    };
    let mut at = Some(from);
    while let Some(from) = at.filter(|_| any || open.row.deleted > 0) {
        let some = existing(reads, account, mailbox, among, from, MARK_MESSAGES_MAX)?;
        let going = some.rows.iter().map(|row| (row.uid, row.flags));
        for (uid, _) in going.filter(|(_, flags)| any || flags.contains(Flags::DELETED)) {
            if open.weight() >= STEP_ROWS || uids.len() >= MARK_MESSAGES_MAX {
                next = Some(uid);
                break;
            }
            open.take(uid)?;
            uids.push(uid);
        }
        at = some.next.filter(|_| next.is_none());
    }
    let batch = edit.finish()?;
    let expunged = Expunged {
        modseq: if uids.is_empty() { 0 } else { modseq },
        uids: uids.into_iter().collect(),
        next,
    };
    Ok((batch, expunged))
}
