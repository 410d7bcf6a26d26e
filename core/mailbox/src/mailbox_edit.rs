//! The changes one operation makes to one mailbox. Every counter and index follows from the rows put and taken here,
//! and from nowhere else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use mox_machine::{Utc, mutant};
use mox_uids::{Uid, UidSet};

use crate::chunk::{self, Chunk};
use crate::flags;
use crate::junk::class_of;
use crate::key::{self, Table};
use crate::page;
use crate::rows::{self, GoneRow, Keywords, MailboxRow, Stored};
use crate::{AccountId, Flags, KEYWORDS_MAX, Limit, MailboxId, ReadError, Reads, Row, Space, Stop};

/// Change rows of a mailbox that are kept at least. Who knows less than that is told from a scan of its pages.
pub const CHANGES_KEPT: u64 = 1_024;
/// How long an expunged message, or the messages of a deleted mailbox, hold their bodies.
pub const GONE_SECS: i64 = 14 * 86_400;

/// Where an operation collects its writes to [`Space::Rows`]; `None` removes.
pub(crate) type Writes<'w> = &'w mut dyn FnMut(Vec<u8>, Option<Bytes>);

pub(crate) struct MailboxEdit<'r> {
    reads: &'r dyn Reads,
    account: AccountId,
    id: MailboxId,
    /// As read; `None` for a new one.
    before: Option<MailboxRow>,
    pub(crate) row: MailboxRow,
    pages: BTreeMap<u32, Loaded<Vec<Row>>>,
    chunks: BTreeMap<u32, Loaded<Chunk>>,
    keywords: Option<Loaded<Keywords>>,
    changed: Vec<Uid>,
    gone: Vec<Uid>,
    /// Those the junk filter is to learn or unlearn.
    junk: Vec<Uid>,
}

struct Loaded<T> {
    value: T,
    dirty: bool,
}

impl<T> Loaded<T> {
    fn clean(value: T) -> Self {
        Self {
            value,
            dirty: false,
        }
    }
}

impl<'r> MailboxEdit<'r> {
    /// Reads one; `None` when there is none with this number, or it was deleted.
    pub(crate) fn open(
        reads: &'r dyn Reads,
        account: AccountId,
        id: MailboxId,
    ) -> Result<Option<Self>, ReadError> {
        let key = key::in_mailbox(Table::Mailbox, account, id);
        let Some(bytes) = reads.get(Space::Rows, &key)? else {
            return Ok(None);
        };
        let row = MailboxRow::decode(&bytes)?;
        let before = Some(row.clone());
        Ok((!row.removed).then(|| Self::with(reads, account, id, before, row)))
    }

    /// Makes one.
    pub(crate) fn create(
        reads: &'r dyn Reads,
        account: AccountId,
        id: MailboxId,
        name: &str,
        validity: u32,
    ) -> Self {
        let row = MailboxRow {
            name: name.into(),
            validity,
            next: 1,
            modseq: 1,
            messages: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            keywords_modseq: 1,
            changes_from: 0,
            gone_from: 0,
            removed: false,
        };
        Self::with(reads, account, id, None, row)
    }

    fn with(
        reads: &'r dyn Reads,
        account: AccountId,
        id: MailboxId,
        before: Option<MailboxRow>,
        row: MailboxRow,
    ) -> Self {
        Self {
            reads,
            account,
            id,
            before,
            row,
            pages: BTreeMap::new(),
            chunks: BTreeMap::new(),
            keywords: None,
            changed: Vec::new(),
            gone: Vec::new(),
            junk: Vec::new(),
        }
    }

    /// The modification sequence of everything this operation changes in the mailbox.
    pub(crate) fn modseq(&self) -> u64 {
        self.before.as_ref().map_or(1, |before| before.modseq) + 1
    }

    /// A new message; its UID.
    pub(crate) fn append(
        &mut self,
        size: u64,
        date: Utc,
        flags: Flags,
        keywords: u64,
    ) -> Result<Uid, Stop> {
        let uid = Uid(self.row.next);
        if uid.0 == u32::MAX {
            return Err(Stop::TooMany(Limit::Uids));
        }
        self.row.next += u32::from(!mutant!(UidNextNotAdvanced));
        self.put(Row {
            uid,
            modseq: self.modseq(),
            size,
            date: Utc::from_secs(date.secs()),
            flags: flags & Flags::ALL,
            keywords,
        })?;
        Ok(uid)
    }

    /// Adds a message, or replaces what is known of it.
    pub(crate) fn put(&mut self, row: Row) -> Result<(), ReadError> {
        let page = self.page(row.uid)?;
        page.dirty = true;
        let old = match page.value.binary_search_by_key(&row.uid, |row| row.uid) {
            Ok(at) => page
                .value
                .get_mut(at)
                .map(|old| core::mem::replace(old, row)),
            Err(at) => {
                page.value.insert(at, row);
                None
            }
        };
        self.changed.push(row.uid);
        self.recount(row.uid, old, Some(row))
    }

    /// Takes a message out; what it was.
    pub(crate) fn take(&mut self, uid: Uid) -> Result<Option<Row>, ReadError> {
        let page = self.page(uid)?;
        let Ok(at) = page.value.binary_search_by_key(&uid, |row| row.uid) else {
            return Ok(None);
        };
        page.dirty = true;
        let old = page.value.remove(at);
        if mutant!(UidReusedAfterExpunge) && uid.0 + 1 == self.row.next {
            self.row.next = uid.0;
        }
        self.gone.push(uid);
        self.recount(uid, Some(old), None)?;
        Ok(Some(old))
    }

    fn recount(&mut self, uid: Uid, old: Option<Row>, new: Option<Row>) -> Result<(), ReadError> {
        let unseen = |row: &Row| !row.flags.contains(Flags::SEEN);
        let deleted = |row: &Row| row.flags.contains(Flags::DELETED);
        let count = |n: &mut u32, of: &dyn Fn(&Row) -> bool| {
            let less = n.saturating_sub(u32::from(old.as_ref().is_some_and(of)));
            *n = less.saturating_add(u32::from(new.as_ref().is_some_and(of)));
        };
        count(&mut self.row.messages, &|_| true);
        if new.is_some() || !mutant!(UnseenNotReduced) {
            count(&mut self.row.unseen, &unseen);
        }
        count(&mut self.row.deleted, &deleted);
        let size = |row: Option<Row>| row.map_or(0, |row| row.size);
        let less = old.filter(|_| new.is_some() || !mutant!(SizeNotReduced));
        self.row.size = self
            .row
            .size
            .saturating_sub(size(less))
            .saturating_add(size(new));
        let keywords = |row: Option<Row>| row.map_or(0, |row| row.keywords);
        if keywords(old) != keywords(new) {
            let names = self.keywords()?;
            if class_of(names, keywords(old)) != class_of(names, keywords(new)) {
                self.junk.push(uid);
            }
        }
        let was = (old.is_some(), old.as_ref().is_some_and(unseen));
        let is = (new.is_some(), new.as_ref().is_some_and(unseen));
        if was != is {
            let chunk = self.chunk(uid)?;
            chunk.dirty = true;
            chunk.value.all.set(uid, is.0);
            chunk.value.unseen.set(uid, is.1);
        }
        Ok(())
    }

    fn page(&mut self, uid: Uid) -> Result<&mut Loaded<Vec<Row>>, ReadError> {
        let n = page::page_of(uid);
        Ok(match self.pages.entry(n) {
            Entry::Occupied(page) => page.into_mut(),
            Entry::Vacant(place) => {
                let key = key::at(Table::Page, self.account, self.id, n);
                let rows = match self.reads.get(Space::Rows, &key)? {
                    Some(bytes) => page::decode(n, &bytes)?,
                    None => Vec::new(),
                };
                place.insert(Loaded::clean(rows))
            }
        })
    }

    fn chunk(&mut self, uid: Uid) -> Result<&mut Loaded<Chunk>, ReadError> {
        let n = chunk::chunk_of(uid);
        Ok(match self.chunks.entry(n) {
            Entry::Occupied(chunk) => chunk.into_mut(),
            Entry::Vacant(place) => {
                let key = key::at(Table::Uids, self.account, self.id, n);
                let chunk = match self.reads.get(Space::Rows, &key)? {
                    Some(bytes) => Chunk::decode(&bytes)?,
                    None => Chunk::default(),
                };
                place.insert(Loaded::clean(chunk))
            }
        })
    }

    /// The keywords used in the mailbox, in the order of their bits.
    pub(crate) fn keywords(&mut self) -> Result<&[String], ReadError> {
        Ok(&self.keyword_row()?.value.0)
    }

    fn keyword_row(&mut self) -> Result<&mut Loaded<Keywords>, ReadError> {
        if self.keywords.is_none() {
            let read = keywords(self.reads, self.account, self.id)?;
            self.keywords = Some(Loaded::clean(read));
        }
        self.keywords
            .as_mut()
            .ok_or_else(|| ReadError("keywords were not read".into()))
    }

    /// The bits of keywords. Those the mailbox does not have yet get one when `add`, and are left out otherwise.
    pub(crate) fn keyword_bits(&mut self, wanted: &[String], add: bool) -> Result<u64, Stop> {
        if wanted.is_empty() {
            return Ok(0);
        }
        let list = self.keyword_row()?;
        let mut bits = 0;
        for keyword in wanted {
            let at = match flags::position(&list.value.0, keyword) {
                Some(at) => at,
                None if !add => continue,
                None => {
                    flags::check_keyword(keyword)?;
                    if list.value.0.len() >= KEYWORDS_MAX {
                        return Err(Stop::TooMany(Limit::Keywords));
                    }
                    list.dirty = true;
                    list.value.0.push(keyword.clone());
                    list.value.0.len() - 1
                }
            };
            bits |= 1 << at;
        }
        Ok(bits)
    }

    /// Whether this gives the junk filter something to learn or to forget.
    pub(crate) fn is_for_junk_filter(&self) -> bool {
        !self.junk.is_empty()
    }

    /// How many rows this will write, at most.
    pub(crate) fn weight(&self) -> usize {
        fn dirty<T>(loaded: &BTreeMap<u32, Loaded<T>>) -> usize {
            loaded.values().filter(|l| l.dirty).count()
        }
        7 + dirty(&self.pages) + dirty(&self.chunks)
    }

    /// By how much octets and messages of the account change.
    pub(crate) fn growth(&self) -> (i64, i64) {
        let count = |row: &MailboxRow| match row.removed {
            true => (0, 0),
            false => (row.size as i64, i64::from(row.messages)),
        };
        let (before, after) = (self.before.as_ref().map_or((0, 0), count), count(&self.row));
        (after.0 - before.0, after.1 - before.1)
    }

    /// Writes everything; the modification sequence watchers are told, if any.
    pub(crate) fn finish(mut self, now: Utc, write: Writes<'_>) -> Option<u64> {
        let (account, id, modseq) = (self.account, self.id, self.modseq());
        let new_keywords = self.keywords.as_ref().is_some_and(|k| k.dirty);
        let changed = !self.changed.is_empty() || !self.gone.is_empty() || new_keywords;
        if changed {
            self.row.modseq = match mutant!(ModseqGoesBack) && !self.gone.is_empty() {
                true => modseq.saturating_sub(2),
                false => modseq,
            };
            if let Some(trim) = modseq.checked_sub(CHANGES_KEPT) {
                write(key::op(Table::Change, account, id, trim), None);
                self.row.changes_from = trim;
            }
        }
        if new_keywords {
            self.row.keywords_modseq = modseq;
            let row = self.keywords.take().map(|k| k.value.encode());
            write(key::in_mailbox(Table::Keywords, account, id), row);
        }
        for (n, page) in self.pages.into_iter().filter(|(_, p)| p.dirty) {
            let row = (!page.value.is_empty()).then(|| page::encode(&page.value));
            write(key::at(Table::Page, account, id, n), row);
        }
        for (n, chunk) in self.chunks.into_iter().filter(|(_, c)| c.dirty) {
            let row = (!chunk.value.all.is_empty()).then(|| chunk.value.encode());
            write(key::at(Table::Uids, account, id, n), row);
        }
        if !self.changed.is_empty() {
            let uids = self.changed.into_iter().collect();
            let key = key::op(Table::Change, account, id, modseq);
            write(key, Some(rows::encode_change(&uids)));
        }
        if !self.gone.is_empty() && !mutant!(ExpungeLeavesNoRecord) {
            let uids: UidSet = self.gone.into_iter().collect();
            let due = due_at(now);
            let row = GoneRow {
                due,
                held: uids.clone(),
                uids,
            };
            write(
                key::op(Table::Gone, account, id, modseq),
                Some(row.encode()),
            );
            write(key::due(due, account, id, modseq), Some(Bytes::new()));
        }
        if !self.junk.is_empty() {
            let uids = self.junk.into_iter().collect();
            let key = key::op(Table::JunkDue, account, id, modseq);
            write(key, Some(rows::encode_change(&uids)));
        }
        if self.before.as_ref() != Some(&self.row) {
            let key = key::in_mailbox(Table::Mailbox, account, id);
            write(key, Some(self.row.encode()));
        }
        if self.row.removed {
            Some(u64::MAX)
        } else {
            changed.then_some(modseq)
        }
    }
}

/// The second at which what is expunged now may be purged.
pub(crate) fn due_at(now: Utc) -> u64 {
    u64::try_from(now.secs().saturating_add(GONE_SECS)).unwrap_or(0)
}

/// The keywords of a mailbox, in the order of their bits.
pub(crate) fn keywords(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Keywords, ReadError> {
    let key = key::in_mailbox(Table::Keywords, account, mailbox);
    match reads.get(Space::Rows, &key)? {
        Some(bytes) => Keywords::decode(&bytes),
        None => Ok(Keywords::default()),
    }
}
