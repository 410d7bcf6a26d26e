//! Reading mailboxes and messages.

use std::sync::Arc;

use bytes::Bytes;
use core::ops::{ControlFlow, RangeInclusive};
use mox_machine::Utc;
use mox_uids::{Uid, UidSet};

use crate::chunk::{self, Chunk};
use crate::edit::mailbox_row;
use crate::key::{self, Table};
use crate::mailbox_edit::keywords;
use crate::rows::{MailboxRow, MetaRow, decode_header};
use crate::{
    AccountId, BodyId, BodyRef, Flags, MailboxId, ReadError, Reads, Row, Space, Status, page, scan,
    status,
};

/// An opened mailbox. Reading it costs a few small rows, whatever its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its figures.
    pub status: Status,
    /// The first message without \Seen, if any.
    pub first_unseen: Option<Uid>,
    /// Its messages.
    pub uids: Arc<UidSet>,
    /// The keywords used in it, in the order of their bits.
    pub keywords: Vec<String>,
}

/// Opens a mailbox; `None` when it was deleted or never made.
pub fn select(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Option<Selected>, ReadError> {
    let Some(status) = status(reads, account, mailbox)? else {
        return Ok(None);
    };
    let (mut runs, mut first_unseen) = (Vec::new(), None);
    chunks(reads, account, mailbox, &mut |n, chunk| {
        runs.extend(chunk::uids(n, &chunk.all));
        if first_unseen.is_none() {
            first_unseen = chunk::uids(n, &chunk.unseen)
                .next()
                .map(|run| Uid(*run.start()));
        }
    })?;
    Ok(Some(Selected {
        status,
        first_unseen,
        uids: Arc::new(UidSet::from_runs(runs)),
        keywords: keywords(reads, account, mailbox)?.0,
    }))
}

/// The messages of a mailbox without \Seen.
pub fn unseen(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<UidSet, ReadError> {
    let mut runs = Vec::new();
    chunks(reads, account, mailbox, &mut |n, chunk| {
        runs.extend(chunk::uids(n, &chunk.unseen));
    })?;
    Ok(UidSet::from_runs(runs))
}

/// The keywords used in a mailbox, in the order of their bits.
pub fn mailbox_keywords(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Vec<String>, ReadError> {
    Ok(keywords(reads, account, mailbox)?.0)
}

pub(crate) fn chunks(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    visit: &mut dyn FnMut(u32, &Chunk),
) -> Result<(), ReadError> {
    let prefix = key::in_mailbox(Table::Uids, account, mailbox);
    scan::prefix(reads, &prefix, &mut |key, value| {
        visit(number(key, Table::Uids)?, &Chunk::decode(&value)?);
        Ok(ControlFlow::Continue(()))
    })
}

/// The last number of a key made by [`key::at`].
pub(crate) fn number(key: &[u8], table: Table) -> Result<u32, ReadError> {
    let mut parts = key::Parts::of(key);
    parts
        .u32()
        .and_then(|_mailbox| parts.u32())
        .ok_or_else(|| scan::bad_key(&format!("{table:?}")))
}

/// Some messages of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Ascending by UID.
    pub rows: Vec<Row>,
    /// The first wanted message not looked at yet; `None` when these were the last.
    pub next: Option<Uid>,
}

/// Up to `max` of the messages `uids`, from UID `from` on. Those that are gone are left out.
pub fn rows(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet,
    from: Uid,
    max: usize,
) -> Result<Rows, ReadError> {
    existing(reads, account, mailbox, uids, from, max)
}

pub(crate) fn existing(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet,
    from: Uid,
    max: usize,
) -> Result<Rows, ReadError> {
    let mut found = Rows::default();
    light_rows(reads, account, mailbox, uids, from, &mut |row| {
        if found.rows.len() >= max {
            found.next = Some(row.uid);
            return ControlFlow::Break(());
        }
        found.rows.push(*row);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Visits the messages `uids` from UID `from` on, ascending. Each page is read once.
pub(crate) fn light_rows(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet,
    from: Uid,
    visit: &mut dyn FnMut(&Row) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    // The page read last: neighbouring runs are often on one page.
    let mut last: (u32, Vec<Row>) = (0, Vec::new());
    for run in uids.runs().skip_while(|run| *run.end() < from.0) {
        let run = (*run.start()).max(from.0)..=*run.end();
        let (first, end) = (
            page::page_of(Uid(*run.start())),
            page::page_of(Uid(*run.end())),
        );
        let cached = !last.1.is_empty() && last.0 == first;
        if cached && visit_run(&last.1, &run, visit).is_break() {
            return Ok(());
        }
        let first = if cached { first + 1 } else { first };
        let key = key::at(Table::Page, account, mailbox, first);
        if first == end {
            if let Some(bytes) = reads.get(Space::Rows, &key)? {
                last = (first, page::decode(first, &bytes)?);
                if visit_run(&last.1, &run, visit).is_break() {
                    return Ok(());
                }
            }
            continue;
        }
        let to = key::behind(&key::at(Table::Page, account, mailbox, end));
        let mut stopped = ControlFlow::Continue(());
        scan::range(reads, Space::Rows, &key, &to, &mut |key, value| {
            let n = number(key, Table::Page)?;
            last = (n, page::decode(n, &value)?);
            stopped = visit_run(&last.1, &run, visit);
            Ok(stopped)
        })?;
        if stopped.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn visit_run(
    rows: &[Row],
    run: &RangeInclusive<u32>,
    visit: &mut dyn FnMut(&Row) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let first = rows.partition_point(|row| row.uid.0 < *run.start());
    rows.iter()
        .skip(first)
        .take_while(|row| row.uid.0 <= *run.end())
        .try_for_each(visit)
}

/// Octets of the messages with \Deleted. Reads all pages.
pub fn deleted_octets(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<u64, ReadError> {
    let everything = UidSet::from_runs([1..=u32::MAX]);
    let mut octets = 0u64;
    light_rows(reads, account, mailbox, &everything, Uid(1), &mut |row| {
        if row.flags.contains(Flags::DELETED) {
            octets = octets.saturating_add(row.size);
        }
        ControlFlow::Continue(())
    })?;
    Ok(octets)
}

/// What is fixed about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its body.
    pub body: BodyRef,
    /// Octets of prefix and body: RFC822.SIZE.
    pub size: u64,
    /// Internal date, in whole seconds.
    pub date: Utc,
    /// When it came into this mailbox (RFC 8514).
    pub saved: Utc,
    /// What stands before the body for this recipient.
    pub prefix: Bytes,
    /// Envelope and structure as handed in; `None` when they were larger than [`STRUCTURE_MAX`](crate::STRUCTURE_MAX).
    pub structure: Option<Bytes>,
    /// As handed in.
    pub origin: Bytes,
}

impl Meta {
    fn of(row: &Bytes) -> Result<Self, ReadError> {
        let meta = MetaRow::decode(row)?;
        Ok(Self {
            body: meta.body,
            size: meta.size,
            date: meta.date,
            saved: meta.saved,
            prefix: row.slice_ref(meta.prefix),
            structure: meta.structure.map(|octets| row.slice_ref(octets)),
            origin: row.slice_ref(meta.origin),
        })
    }
}

/// A stored header section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header section of the body, blank line included; the prefix of the message is not part of it.
    pub octets: Bytes,
    /// It was longer than [`HEADER_MAX`](crate::HEADER_MAX): the rest is in the body only.
    pub cut: bool,
}

/// What is fixed about a message. Answers also for messages expunged less than 14 days ago.
pub fn meta(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Meta>, ReadError> {
    let row = reads.get(Space::Rows, &key::at(Table::Meta, account, mailbox, uid.0))?;
    row.map(|row| Meta::of(&row)).transpose()
}

/// The header section of a message. Answers also for messages expunged less than 14 days ago.
pub fn header(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Header>, ReadError> {
    let row = reads.get(
        Space::Rows,
        &key::at(Table::Header, account, mailbox, uid.0),
    )?;
    row.map(|row| header_of(&row)).transpose()
}

fn header_of(row: &Bytes) -> Result<Header, ReadError> {
    decode_header(row).map(|(octets, cut)| Header { octets, cut })
}

/// Visits what is fixed about the messages `uids`, ascending, in few scans. Expunged ones not purged yet are visited
/// too when they are in `uids`.
pub fn metas(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet,
    visit: &mut dyn FnMut(Uid, Meta) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    by_uid(
        reads,
        Table::Meta,
        account,
        mailbox,
        uids,
        &mut |uid, row| Ok(visit(uid, Meta::of(&row)?)),
    )
}

/// Visits the header sections of the messages `uids` as [`metas`] does.
pub fn headers(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet,
    visit: &mut dyn FnMut(Uid, Header) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    by_uid(
        reads,
        Table::Header,
        account,
        mailbox,
        uids,
        &mut |uid, row| Ok(visit(uid, header_of(&row)?)),
    )
}

/// Rows between two wanted ones that are cheaper passed over than sought.
const PASSED_OVER: u32 = 16;

fn by_uid(
    reads: &dyn Reads,
    table: Table,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet,
    visit: &mut dyn FnMut(Uid, Bytes) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    let mut runs = uids.runs().peekable();
    while let Some(run) = runs.next() {
        let (first, mut last) = (*run.start(), *run.end());
        while let Some(near) = runs.next_if(|r| r.start() - last <= PASSED_OVER) {
            last = *near.end();
        }
        let from = key::at(table, account, mailbox, first);
        if first == last {
            if let Some(row) = reads.get(Space::Rows, &from)?
                && visit(Uid(first), row)?.is_break()
            {
                break;
            }
            continue;
        }
        let to = key::behind(&key::at(table, account, mailbox, last));
        let mut stopped = ControlFlow::Continue(());
        scan::range(reads, Space::Rows, &from, &to, &mut |key, value| {
            let uid = Uid(number(key, table)?);
            if uids.contains(uid) {
                stopped = visit(uid, value)?;
            }
            Ok(stopped)
        })?;
        if stopped.is_break() {
            break;
        }
    }
    Ok(())
}

/// Whether any row refers to a body: what is not referred to and belongs to no operation under way may be swept (S6).
pub fn is_referenced(reads: &dyn Reads, body: BodyId) -> Result<bool, ReadError> {
    let mut found = false;
    scan::prefix(reads, &key::refs(body), &mut |_, _| {
        found = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Visits every body that some row refers to, once, in the order of their numbers.
pub fn each_body_named(reads: &dyn Reads, visit: &mut dyn FnMut(BodyId)) -> Result<(), ReadError> {
    let mut last = None;
    scan::prefix(reads, &[Table::Ref as u8], &mut |key, _| {
        let id = key::Parts::of(key).body();
        let id = id.ok_or_else(|| scan::bad_key("references"))?;
        if last.replace(id) != Some(id) {
            visit(id);
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// What changed in a mailbox after a modification sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New and changed messages as they are now, ascending by modification sequence, then UID.
    pub rows: Vec<Row>,
    /// Expunged messages; the reader may never have known some of them. For a reader that knows less than 14 days of
    /// history it is every UID below `next` that no message has (RFC 7162 3.2.6).
    pub gone: UidSet,
    /// Everything up to here is told.
    pub upto: u64,
    /// Ask again from `upto`.
    pub more: bool,
    /// UIDNEXT.
    pub next: u32,
    /// When the list of keywords last grew.
    pub keywords_modseq: u64,
}

/// What changed after `since`; `None` when the mailbox was deleted.
///
/// Ends behind the first modification sequence with which there are `max` rows or more. One operation changes at most
/// [`MARK_MESSAGES_MAX`](crate::MARK_MESSAGES_MAX) messages, which is by how much `max` can be exceeded.
pub fn changes(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    since: u64,
    max: usize,
) -> Result<Option<Changes>, ReadError> {
    let Some(row) = mailbox_row(reads, account, mailbox)?.filter(|row| !row.removed) else {
        return Ok(None);
    };
    let mut changes = Changes {
        upto: row.modseq.max(since),
        next: row.next,
        keywords_modseq: row.keywords_modseq,
        ..Changes::default()
    };
    if since >= row.modseq {
        return Ok(Some(changes));
    }
    let at = (account, mailbox);
    (changes.rows, changes.upto) = match since >= row.changes_from {
        true => from_log(reads, at, since, row.modseq, max)?,
        false => from_pages(reads, at, since, row.modseq, max)?,
    };
    changes.more = changes.upto < row.modseq;
    changes.gone = gone_since(reads, at, &row, since, changes.upto)?;
    Ok(Some(changes))
}

/// The messages expunged after `since`, as [`Changes::gone`] has them; `None` when the mailbox was deleted.
pub fn vanished(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    since: u64,
) -> Result<Option<UidSet>, ReadError> {
    let Some(row) = mailbox_row(reads, account, mailbox)?.filter(|row| !row.removed) else {
        return Ok(None);
    };
    gone_since(reads, (account, mailbox), &row, since, row.modseq).map(Some)
}

fn gone_since(
    reads: &dyn Reads,
    (account, mailbox): At,
    row: &MailboxRow,
    since: u64,
    upto: u64,
) -> Result<UidSet, ReadError> {
    if since >= row.gone_from {
        return gone(reads, (account, mailbox), since, upto);
    }
    let mut runs = Vec::new();
    chunks(reads, account, mailbox, &mut |n, chunk| {
        runs.extend(chunk::uids(n, &chunk.all));
    })?;
    let below = (row.next > 1).then(|| 1..=row.next - 1);
    Ok(UidSet::from_runs(below).difference(&UidSet::from_runs(runs)))
}

type At = (AccountId, MailboxId);

/// From the rows that say what each operation changed.
fn from_log(
    reads: &dyn Reads,
    (account, mailbox): At,
    since: u64,
    modseq: u64,
    max: usize,
) -> Result<(Vec<Row>, u64), ReadError> {
    let (mut rows, mut upto) = (Vec::new(), modseq);
    let from = key::op(Table::Change, account, mailbox, since + 1);
    let to = key::behind(&key::in_mailbox(Table::Change, account, mailbox));
    scan::range(reads, Space::Rows, &from, &to, &mut |key, value| {
        let mut parts = key::Parts::of(key);
        let at = parts.u32().and_then(|_mailbox| parts.u64());
        let at = at.ok_or_else(|| scan::bad_key("changes"))?;
        let uids = crate::rows::decode_change(&value)?;
        // What changed again later is told there.
        light_rows(reads, account, mailbox, &uids, Uid(1), &mut |row| {
            if row.modseq == at {
                rows.push(*row);
            }
            ControlFlow::Continue(())
        })?;
        if rows.len() < max {
            return Ok(ControlFlow::Continue(()));
        }
        upto = at;
        Ok(ControlFlow::Break(()))
    })?;
    Ok((rows, upto))
}

/// From all pages, for who knows less than the log has.
fn from_pages(
    reads: &dyn Reads,
    (account, mailbox): At,
    since: u64,
    modseq: u64,
    max: usize,
) -> Result<(Vec<Row>, u64), ReadError> {
    let everything = UidSet::from_runs([1..=u32::MAX]);
    let each = |visit: &mut dyn FnMut(&Row)| {
        light_rows(reads, account, mailbox, &everything, Uid(1), &mut |row| {
            if row.modseq > since {
                visit(row);
            }
            ControlFlow::Continue(())
        })
    };
    let mut modseqs = Vec::new();
    each(&mut |row| modseqs.push(row.modseq))?;
    let upto = match max.max(1) {
        max if max < modseqs.len() => *modseqs.select_nth_unstable(max - 1).1,
        _ => modseq,
    };
    let mut rows = Vec::new();
    each(&mut |row| {
        if row.modseq <= upto {
            rows.push(*row);
        }
    })?;
    rows.sort_unstable_by_key(|row| (row.modseq, row.uid));
    Ok((rows, upto))
}

fn gone(
    reads: &dyn Reads,
    (account, mailbox): At,
    since: u64,
    upto: u64,
) -> Result<UidSet, ReadError> {
    let mut runs = Vec::new();
    let from = key::op(Table::Gone, account, mailbox, since + 1);
    let to = key::op(Table::Gone, account, mailbox, upto.saturating_add(1));
    scan::range(reads, Space::Rows, &from, &to, &mut |_, value| {
        runs.extend(crate::rows::GoneRow::decode(&value)?.uids.runs());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(UidSet::from_runs(runs))
}
