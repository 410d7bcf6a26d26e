//! Changing flags.

use mox_machine::{Utc, mutant};
use mox_uids::{Uid, UidSet};

use crate::edit::Edit;
use crate::junk::class_of;
use crate::key::{self, Table};
use crate::reputation::{self, KINSHIP_MAX};
use crate::rows::MetaRow;
use crate::view::existing;
use crate::{AccountId, Batch, Flags, MailboxId, Reads, Row, Space, Stop};

/// Messages one operation looks at, at most.
pub const MARK_MESSAGES_MAX: usize = 4_096;
/// Rows one operation of a job of several writes, about.
pub(crate) const STEP_ROWS: usize = 800;
/// Octets of such an operation, about.
pub(crate) const STEP_OCTETS: usize = 4 * 1024 * 1024;

/// STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub account: AccountId,
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Which messages; those that are gone are passed over.
    pub uids: UidSet,
    /// How.
    pub how: MarkHow,
    /// System flags.
    pub flags: Flags,
    /// Keywords. Those the mailbox does not have yet get a bit, unless they are to be removed.
    pub keywords: Vec<String>,
    /// RFC 7162 UNCHANGEDSINCE: leave messages alone that changed after this.
    pub unchanged_since: Option<u64>,
}

/// How flags change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkHow {
    /// Exactly these.
    Set,
    /// These too.
    Add,
    /// No longer these.
    Remove,
}

/// What became of the flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The messages as they are now, ascending, those included that had these flags already: their modification
    /// sequence is an older one.
    pub rows: Vec<Row>,
    /// Those that `unchanged_since` left alone.
    pub modified: UidSet,
    /// Those that changed, and the modification sequence each had before.
    pub changed: Vec<(Uid, u64)>,
    /// The modification sequence of what changed; 0 when nothing did. What the mailbox has then is somebody else's.
    pub modseq: u64,
    /// Run the operation again from here; `None` when all is done.
    pub next: Option<Uid>,
}

/// Changes flags from UID `from` on: at first `Uid(1)`, then what the answer says, until it says `None`.
///
/// Messages of one operation share one modification sequence. Without an effect it writes nothing.
pub fn mark(reads: &dyn Reads, mark: &Mark, from: Uid) -> Result<(Batch, Marked), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(mark.account)?;
    let mailbox = edit.mailbox(mark.account, mark.mailbox)?;
    let flags = mark.flags & Flags::ALL;
    let keywords = mailbox.keyword_bits(&mark.keywords, mark.how != MarkHow::Remove)?;
    let names = mailbox.keywords()?.to_vec();
    let (mut judgements, mut changed) = (Vec::new(), Vec::new());
    let modseq = mailbox.modseq();
    let some = existing(
        reads,
        mark.account,
        mark.mailbox,
        &mark.uids,
        from,
        MARK_MESSAGES_MAX,
    )?;
    let (mut rows, mut modified, mut next) = (Vec::new(), Vec::new(), some.next);
    for row in some.rows {
        if mailbox.weight() + judgements.len() * KINSHIP_MAX >= STEP_ROWS {
            next = Some(row.uid);
            break;
        }
        if mark.unchanged_since.is_some_and(|since| row.modseq > since) {
            modified.push(row.uid);
            continue;
        }
        let new = match mark.how {
            MarkHow::Set => (flags, keywords),
            MarkHow::Add => (row.flags | flags, row.keywords | keywords),
            MarkHow::Remove => (row.flags & !flags, row.keywords & !keywords),
        };
        let mut row = row;
        if new != (row.flags, row.keywords) {
            let judgement = class_of(&names, new.1);
            if class_of(&names, row.keywords) != judgement {
                judgements.push((row.uid, judgement));
            }
            changed.push((row.uid, row.modseq));
            (row.flags, row.keywords) = new;
            if !mutant!(StoreKeepsModseq) {
                row.modseq = modseq;
            }
            mailbox.put(row)?;
        }
        rows.push(row);
    }
    for (uid, judgement) in judgements {
        let key = key::at(Table::Meta, mark.account, mark.mailbox, uid.0);
        let Some(meta) = reads.get(Space::Rows, &key)? else {
            continue;
        };
        let meta = MetaRow::decode(&meta)?;
        reputation::judge(&mut edit, mark.account, &meta, judgement)?;
    }
    let batch = edit.finish()?;
    let modseq = if batch.touched.is_empty() { 0 } else { modseq };
    let marked = Marked {
        rows,
        modified: modified.into_iter().collect(),
        changed,
        modseq,
        next,
    };
    Ok((batch, marked))
}
