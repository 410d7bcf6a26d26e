//! Whether the rows of one mailbox agree.

use std::collections::BTreeMap;

use core::ops::ControlFlow;
use mox_uids::{Uid, UidSet};

use crate::key::{self, Parts, Referrer, Table};
use crate::rows::{GoneRow, MailboxRow, MetaRow, decode_change, decode_header};
use crate::verify::{Verify, message};
use crate::view::{chunks, light_rows, number};
use crate::{AccountId, Flags, MailboxId, ReadError, Row, chunk, mailbox_keywords, scan};

/// What the messages of a mailbox amount to.
pub(crate) struct Sums {
    pub(crate) octets: u64,
    pub(crate) messages: u64,
}

impl Verify<'_> {
    pub(crate) fn mailbox(
        &mut self,
        account: AccountId,
        id: MailboxId,
        row: &MailboxRow,
    ) -> Result<Sums, ReadError> {
        let of = format!("account {} mailbox {}", account.0, id.0);
        if row.removed {
            let due = self.dues.contains(&(account, id, key::WHOLE));
            self.expect(due, || {
                format!("{of} is deleted, but nothing will purge it")
            });
            // It may be purged in part: what is left of its messages must still hold its bodies.
            self.metas(account, id, None)?;
            return Ok(Sums {
                octets: 0,
                messages: 0,
            });
        }
        let rows = self.rows(account, id)?;
        self.counters(&of, row, &rows)?;
        let live: UidSet = rows.iter().map(|row| row.uid).collect();
        let unseen = rows.iter().filter(|row| !row.flags.contains(Flags::SEEN));
        let unseen: UidSet = unseen.map(|row| row.uid).collect();
        let (mut all_runs, mut unseen_runs) = (Vec::new(), Vec::new());
        chunks(self.reads, account, id, &mut |n, chunk| {
            all_runs.extend(chunk::uids(n, &chunk.all));
            unseen_runs.extend(chunk::uids(n, &chunk.unseen));
        })?;
        self.expect(UidSet::from_runs(all_runs) == live, || {
            format!("{of}: its set of UIDs is not that of its pages")
        });
        self.expect(UidSet::from_runs(unseen_runs) == unseen, || {
            format!("{of}: its set of unseen UIDs is not that of its pages")
        });
        let held = self.gone(account, id, row, &live)?;
        self.changes(account, id, row, &rows)?;
        self.metas(account, id, Some((&rows, &held)))?;
        Ok(Sums {
            octets: rows.iter().map(|row| row.size).sum(),
            messages: rows.len() as u64,
        })
    }

    fn rows(&mut self, account: AccountId, id: MailboxId) -> Result<Vec<Row>, ReadError> {
        let mut rows = Vec::new();
        let everything = UidSet::from_runs([0..=u32::MAX]);
        light_rows(self.reads, account, id, &everything, Uid(0), &mut |row| {
            rows.push(*row);
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    fn counters(&mut self, of: &str, row: &MailboxRow, rows: &[Row]) -> Result<(), ReadError> {
        let count = |wanted: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| wanted(row)).count();
        let counted = (
            rows.len(),
            count(&|row| !row.flags.contains(Flags::SEEN)),
            count(&|row| row.flags.contains(Flags::DELETED)),
            rows.iter().map(|row| row.size).sum::<u64>(),
        );
        let said = (
            row.messages as usize,
            row.unseen as usize,
            row.deleted as usize,
            row.size,
        );
        self.expect(counted == said, || {
            format!("{of}: messages, unseen, deleted, octets are {counted:?}, not {said:?}")
        });
        for message in rows {
            let uid = message.uid;
            self.expect(uid.0 > 0 && uid.0 < row.next, || {
                format!("{of}: UID {uid} was not given yet")
            });
            self.expect(message.modseq > 0 && message.modseq <= row.modseq, || {
                format!("{of}: message {uid} is newer than the mailbox")
            });
        }
        Ok(())
    }

    /// The records of expunges; the messages they still hold.
    fn gone(
        &mut self,
        account: AccountId,
        id: MailboxId,
        row: &MailboxRow,
        live: &UidSet,
    ) -> Result<UidSet, ReadError> {
        let of = format!("account {} mailbox {}", account.0, id.0);
        let records = self.each(&key::in_mailbox(Table::Gone, account, id), |key, value| {
            Ok((modseq_of(key)?, GoneRow::decode(&value)?))
        })?;
        let mut held = UidSet::new();
        for (modseq, gone) in records {
            let at = format!("{of}: the expunge at {modseq}");
            self.expect(modseq <= row.modseq, || {
                format!("{at} is newer than the mailbox")
            });
            self.expect(gone.uids.intersection(live).is_empty(), || {
                format!("{at} names messages that are there")
            });
            self.expect(gone.uids.last().is_some_and(|uid| uid.0 < row.next), || {
                format!("{at} names UIDs not given yet, or none")
            });
            self.expect(gone.held.difference(&gone.uids).is_empty(), || {
                format!("{at} holds other messages than it names")
            });
            self.expect(held.intersection(&gone.held).is_empty(), || {
                format!("{at} names messages expunged before")
            });
            self.expect(self.dues.contains(&(account, id, modseq)), || {
                format!("{at} will never be purged")
            });
            held = held.union(&gone.held);
        }
        Ok(held)
    }

    /// The log of changes against the messages.
    fn changes(
        &mut self,
        account: AccountId,
        id: MailboxId,
        row: &MailboxRow,
        rows: &[Row],
    ) -> Result<(), ReadError> {
        let of = format!("account {} mailbox {}", account.0, id.0);
        let log = self.each(
            &key::in_mailbox(Table::Change, account, id),
            |key, value| Ok((modseq_of(key)?, decode_change(&value)?)),
        )?;
        let log: BTreeMap<u64, UidSet> = log.into_iter().collect();
        self.expect(log.keys().all(|modseq| *modseq <= row.modseq), || {
            format!("{of}: a change is newer than the mailbox")
        });
        for message in rows.iter().filter(|m| m.modseq > row.changes_from) {
            let logged = log
                .get(&message.modseq)
                .is_some_and(|uids| uids.contains(message.uid));
            self.expect(logged, || {
                format!("{of}: message {} changed unnoticed", message.uid)
            });
        }
        Ok(())
    }

    /// Facts, header sections and references of messages; against the messages when the mailbox was not deleted.
    pub(crate) fn metas(
        &mut self,
        account: AccountId,
        id: MailboxId,
        known: Option<(&[Row], &UidSet)>,
    ) -> Result<(), ReadError> {
        let keywords = mailbox_keywords(self.reads, account, id)?.len();
        let metas = self.each(&key::in_mailbox(Table::Meta, account, id), |key, value| {
            let meta = MetaRow::decode(&value)?;
            let uid = Uid(number(key, Table::Meta)?);
            Ok((
                uid,
                meta.body,
                meta.size,
                meta.prefix.len() as u64,
                meta.date,
            ))
        })?;
        let headers = self.each(
            &key::in_mailbox(Table::Header, account, id),
            |key, value| {
                decode_header(&value)?;
                Ok(Uid(number(key, Table::Header)?))
            },
        )?;
        let uids: UidSet = metas.iter().map(|meta| meta.0).collect();
        let of = format!("account {} mailbox {}", account.0, id.0);
        self.expect(headers.into_iter().collect::<UidSet>() == uids, || {
            format!("{of}: messages with header sections are not those with facts")
        });
        for (uid, body, size, prefix, _) in &metas {
            let by = Referrer::Message(account, id, *uid);
            let referred = self.has(&key::reference(body.id, by))?;
            let what = || message(account, id, *uid);
            self.expect(referred, || {
                format!("{} does not refer to its body", what())
            });
            self.expect(prefix + body.length == *size, || {
                format!("{} has another size than its parts", what())
            });
        }
        let Some((rows, held)) = known else {
            return Ok(());
        };
        let live: UidSet = rows.iter().map(|row| row.uid).collect();
        let (there, wanted) = (uids, live.union(held));
        self.expect(there == wanted, || {
            let missing = wanted.difference(&there);
            let extra = there.difference(&wanted);
            format!("{of}: facts are missing of [{missing}], and there are some of [{extra}]")
        });
        for row in rows {
            let bits = 64 - row.keywords.leading_zeros() as usize;
            self.expect(bits <= keywords, || {
                format!(
                    "{} has a keyword the mailbox has not",
                    message(account, id, row.uid)
                )
            });
            let at = metas.binary_search_by_key(&row.uid, |meta| meta.0).ok();
            if let Some((_, _, size, _, date)) = at.and_then(|at| metas.get(at)) {
                self.expect((*size, *date) == (row.size, row.date), || {
                    let what = message(account, id, row.uid);
                    format!("{what}: its page and its facts differ")
                });
            }
        }
        Ok(())
    }
}

fn modseq_of(key: &[u8]) -> Result<u64, ReadError> {
    let mut parts = Parts::of(key);
    let modseq = parts.u32().and_then(|_mailbox| parts.u64());
    modseq.ok_or_else(|| scan::bad_key("changes"))
}
