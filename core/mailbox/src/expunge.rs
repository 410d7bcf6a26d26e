//! Removing messages.

use mox_machine::Utc;
use mox_uids::{Uid, UidSet};

use crate::edit::Edit;
use crate::junk::class_of;
use crate::mark::STEP_ROWS;
use crate::reputation::left_by;
use crate::rows::MetaRow;
use crate::view::existing;
use crate::{
    AccountId, Batch, Flags, KINSHIP_MAX, MARK_MESSAGES_MAX, MailboxId, Reads, Row, Stop,
    reputation,
};

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
    let names = open.keywords()?.to_vec();
    let (mut uids, mut next) = (Vec::new(), None);
    let mut judged = Vec::new();
    let everything = UidSet::from_runs([1..=u32::MAX]);
    let (among, any) = match doomed {
        Doomed::Deleted => (&everything, false),
        Doomed::DeletedOf(uids) => (uids, false),
        Doomed::These(uids) => (uids, true),
    };
    let mut at = Some(from);
    while let Some(from) = at.filter(|_| any || open.row.deleted > 0) {
        let some = existing(reads, account, mailbox, among, from, MARK_MESSAGES_MAX)?;
        let is_going = |row: &&Row| any || row.flags.contains(Flags::DELETED);
        for row in some.rows.iter().filter(is_going) {
            let weight = open.weight() + judged.len() * KINSHIP_MAX;
            if weight >= STEP_ROWS || uids.len() >= MARK_MESSAGES_MAX {
                next = Some(row.uid);
                break;
            }
            open.take(row.uid)?;
            uids.push(row.uid);
            if let Some(class) = class_of(&names, row.keywords) {
                let goes = |other: &Row| among.contains(other.uid) && is_going(&other);
                // What cannot be read of others changes nothing.
                let left = left_by(reads, account, (mailbox, row.uid), class, &goes);
                judged.extend(left.ok().flatten());
            }
        }
        at = some.next.filter(|_| next.is_none());
    }
    for (meta, said) in judged {
        reputation::judge(&mut edit, account, &MetaRow::decode(&meta)?, said)?;
    }
    let batch = edit.finish()?;
    let expunged = Expunged {
        modseq: if uids.is_empty() { 0 } else { modseq },
        uids: uids.into_iter().collect(),
        next,
    };
    Ok((batch, expunged))
}
