//! One operation under way: what it read and will write.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use core::ops::{Bound, ControlFlow};
use mox_machine::{Utc, mutant};

use crate::key::{self, Referrer, Table};
use crate::mailbox_edit::MailboxEdit;
use crate::rows::{AccountRow, MailboxRow, NameRow, Numbers, Stored, Usage};
use crate::{
    AccountId, BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, BodyId, BodyRef, Limit, MailboxId,
    ReadError, Reads, Space, SpecialUse, Stop, Touched, scan,
};

/// Mailboxes and subscriptions of an account at most.
pub const MAILBOXES_MAX: u32 = 10_000;

pub(crate) struct Edit<'r> {
    reads: &'r dyn Reads,
    pub(crate) now: Utc,
    rows: BTreeMap<Vec<u8>, Option<Bytes>>,
    bodies: BTreeMap<Vec<u8>, Option<Bytes>>,
    mailboxes: BTreeMap<(AccountId, MailboxId), MailboxEdit<'r>>,
    accounts: BTreeMap<AccountId, (AccountRow, AccountRow)>,
    numbers: Option<Numbers>,
    pub(crate) touched: Vec<Touched>,
    /// Mailboxes that are made are subscribed to.
    pub(crate) subscribes: bool,
    /// What grows was accepted before: quotas do not count.
    pub(crate) promised: bool,
    unlink: Vec<BodyId>,
}

impl<'r> Edit<'r> {
    pub(crate) fn new(reads: &'r dyn Reads, now: Utc) -> Self {
        Self {
            reads,
            now,
            rows: BTreeMap::new(),
            bodies: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            accounts: BTreeMap::new(),
            numbers: None,
            touched: Vec::new(),
            subscribes: true,
            promised: false,
            unlink: Vec::new(),
        }
    }

    pub(crate) fn reads(&self) -> &'r dyn Reads {
        self.reads
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.rows.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.reads.get(Space::Rows, key),
        }
    }

    pub(crate) fn row<T: Stored>(&self, key: &[u8]) -> Result<Option<T>, ReadError> {
        self.get(key)?.map(|bytes| T::decode(&bytes)).transpose()
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.rows.insert(key, Some(value));
    }

    pub(crate) fn put_body(&mut self, id: BodyId, value: Bytes) {
        self.bodies.insert(key::body_key(id), Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.rows.insert(key, None);
    }

    /// The first `max` keys from `from` to below `to`, those this operation wrote included.
    pub(crate) fn keys(
        &self,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut found = Vec::new();
        scan::range(self.reads, Space::Rows, from, to, &mut |key, _| {
            if !self.rows.contains_key(key) {
                found.push(key.to_vec());
            }
            Ok(match found.len() < max {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        let range = (Bound::Included(from), Bound::Excluded(to));
        let put = self.rows.range::<[u8], _>(range);
        found.extend(put.filter(|(_, v)| v.is_some()).map(|(key, _)| key.clone()));
        found.sort_unstable();
        found.truncate(max);
        Ok(found)
    }

    /// An account that was not removed, to be read or changed.
    pub(crate) fn account(&mut self, id: AccountId) -> Result<&mut AccountRow, Stop> {
        let row = match self.accounts.entry(id) {
            Entry::Occupied(account) => &mut account.into_mut().1,
            Entry::Vacant(place) => {
                let bytes = self.reads.get(Space::Rows, &key::account(id))?;
                let row = AccountRow::decode(&bytes.ok_or(Stop::NoSuchAccount)?)?;
                &mut place.insert((row.clone(), row)).1
            }
        };
        if row.removed {
            return Err(Stop::NoSuchAccount);
        }
        Ok(row)
    }

    pub(crate) fn new_account(&mut self, id: AccountId, row: AccountRow) {
        self.put(key::account(id), row.encode());
        self.accounts.insert(id, (row.clone(), row));
    }

    /// A mailbox that was not deleted, to be changed.
    pub(crate) fn mailbox(
        &mut self,
        account: AccountId,
        id: MailboxId,
    ) -> Result<&mut MailboxEdit<'r>, Stop> {
        let mailbox = match self.mailboxes.entry((account, id)) {
            Entry::Occupied(mailbox) => mailbox.into_mut(),
            Entry::Vacant(place) => {
                let opened = MailboxEdit::open(self.reads, account, id)?;
                place.insert(opened.ok_or(Stop::MailboxGone)?)
            }
        };
        if mailbox.row.removed {
            return Err(Stop::MailboxGone);
        }
        Ok(mailbox)
    }

    /// A new mailbox, in the table of names too; the caller checked the name and that it is free.
    pub(crate) fn new_mailbox(
        &mut self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId, Stop> {
        let validity = self.validity()?;
        let row = self.account(account)?;
        let id = MailboxId(row.next_mailbox);
        row.next_mailbox = (id.0.checked_add(1)).ok_or(Stop::TooMany(Limit::Numbers))?;
        let mailbox = MailboxEdit::create(self.reads, account, id, name, validity);
        self.mailboxes.insert((account, id), mailbox);
        let row = NameRow {
            mailbox: Some(id),
            subscribed: self.subscribes || self.name(account, name)?.is_some_and(|n| n.subscribed),
            special_use,
        };
        self.set_name(account, name, Some(row))?;
        Ok(id)
    }

    pub(crate) fn name(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<NameRow>, ReadError> {
        self.row(&key::mailbox_name(account, name))
    }

    pub(crate) fn set_name(
        &mut self,
        account: AccountId,
        name: &str,
        row: Option<NameRow>,
    ) -> Result<(), Stop> {
        self.touched.push(Touched::Account(account));
        let key = key::mailbox_name(account, name);
        let had = self.get(&key)?.is_some();
        let names = &mut self.account(account)?.names;
        match row {
            Some(row) => {
                if !had {
                    *names += 1;
                    if *names > MAILBOXES_MAX {
                        return Err(Stop::TooMany(Limit::Mailboxes));
                    }
                }
                self.put(key, row.encode());
            }
            None => {
                if had {
                    *names = names.saturating_sub(1);
                }
                self.remove(key);
            }
        }
        Ok(())
    }

    pub(crate) fn numbers(&mut self) -> Result<&mut Numbers, Stop> {
        if self.numbers.is_none() {
            let read = self.row(&key::numbers())?;
            self.numbers =
                Some(read.ok_or_else(|| ReadError("the store was not initialised".into()))?);
        }
        self.numbers
            .as_mut()
            .ok_or_else(|| ReadError("the numbers were not read".into()).into())
    }

    /// A UIDVALIDITY: the clock's seconds, but above all given before (RFC 3501 2.3.1.1).
    pub(crate) fn validity(&mut self) -> Result<u32, Stop> {
        let clock = u32::try_from(self.now.secs()).unwrap_or(0);
        let last = &mut self.numbers()?.last_validity;
        let above = last.checked_add(1).ok_or(Stop::TooMany(Limit::Numbers))?;
        *last = clock.max(above);
        Ok(*last)
    }

    pub(crate) fn is_referenced(&self, body: BodyId) -> Result<bool, ReadError> {
        let from = key::refs(body);
        Ok(!self.keys(&from, &key::behind(&from), 1)?.is_empty())
    }

    pub(crate) fn add_reference(&mut self, body: BodyId, by: Referrer) {
        self.put(key::reference(body, by), Bytes::new());
    }

    /// Takes a reference away, and the body with the last one.
    pub(crate) fn remove_reference(&mut self, body: &BodyRef, by: Referrer) -> Result<(), Stop> {
        self.remove(key::reference(body.id, by));
        if mutant!(BodyGoesWithFirstReference) || !self.is_referenced(body.id)? {
            self.drop_body(body);
        }
        Ok(())
    }

    pub(crate) fn drop_body(&mut self, body: &BodyRef) {
        if body.is_inline() {
            self.bodies.insert(key::body_key(body.id), None);
        } else {
            self.unlink.push(body.id);
        }
    }

    /// How many rows this writes, at most: what jobs of several operations stop by.
    pub(crate) fn weight(&self) -> usize {
        let mailboxes: usize = self.mailboxes.values().map(MailboxEdit::weight).sum();
        2 + self.rows.len() + self.bodies.len() + self.accounts.len() * 2 + mailboxes
    }

    /// Octets written so far.
    pub(crate) fn octets(&self) -> usize {
        let all = self.rows.iter().chain(&self.bodies);
        all.map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len))
            .sum()
    }

    pub(crate) fn finish(mut self) -> Result<Batch, Stop> {
        let mut growth: BTreeMap<AccountId, (i64, i64)> = BTreeMap::new();
        let (rows, now) = (&mut self.rows, self.now);
        for ((account, id), mailbox) in core::mem::take(&mut self.mailboxes) {
            let (octets, messages) = mailbox.growth();
            let sum = growth.entry(account).or_default();
            *sum = (sum.0 + octets, sum.1 + messages);
            if mailbox.is_for_junk_filter() {
                self.touched.push(Touched::Junk);
            }
            let modseq = mailbox.finish(now, &mut |key, value| {
                rows.insert(key, value);
            });
            let told = modseq.filter(|_| !mutant!(ChangeNotTold));
            self.touched.extend(told.map(|modseq| Touched::Mailbox {
                account,
                mailbox: id,
                modseq,
            }));
        }
        for (account, (octets, messages)) in growth {
            self.grow(account, octets, messages)?;
        }
        for (id, (before, after)) in core::mem::take(&mut self.accounts) {
            if before != after {
                self.put(key::account(id), after.encode());
            }
        }
        if let Some(numbers) = self.numbers {
            self.put(key::numbers(), numbers.encode());
        }
        if self.rows.len() + self.bodies.len() > BATCH_ROWS_MAX || self.octets() > BATCH_BYTES_MAX {
            return Err(Stop::TooMany(Limit::Batch));
        }
        let rows = self.rows.into_iter().map(|(k, v)| (Space::Rows, k, v));
        let bodies = self.bodies.into_iter().map(|(k, v)| (Space::Bodies, k, v));
        Ok(Batch {
            writes: rows.chain(bodies).collect(),
            touched: self.touched,
            unlink: self.unlink,
        })
    }

    fn grow(&mut self, account: AccountId, octets: i64, messages: i64) -> Result<(), Stop> {
        if (octets, messages) == (0, 0) {
            return Ok(());
        }
        let key = key::usage(account);
        let mut usage: Usage = self.row(&key)?.unwrap_or_default();
        usage.octets = usage.octets.saturating_add_signed(octets);
        usage.messages = usage.messages.saturating_add_signed(messages);
        let quota = match octets > 0 && !self.promised {
            true => self.account(account)?.quota,
            false => None,
        };
        if quota.is_some_and(|quota| usage.octets > quota) {
            return Err(Stop::OverQuota(account));
        }
        self.put(key, usage.encode());
        Ok(())
    }
}

/// The row of a mailbox, deleted ones included.
pub(crate) fn mailbox_row(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Option<MailboxRow>, ReadError> {
    let key = key::in_mailbox(Table::Mailbox, account, mailbox);
    let bytes = reads.get(Space::Rows, &key)?;
    bytes.map(|bytes| MailboxRow::decode(&bytes)).transpose()
}

/// The row of a mailbox name.
pub(crate) fn name_row(
    reads: &dyn Reads,
    account: AccountId,
    name: &str,
) -> Result<Option<NameRow>, ReadError> {
    let bytes = reads.get(Space::Rows, &key::mailbox_name(account, name))?;
    bytes.map(|bytes| NameRow::decode(&bytes)).transpose()
}
