//! Keys: a table's byte, the account (0 for what belongs to the whole store), then numbers big-endian, so that the
//! order of keys is the order of what they name.

use mox_junk::WordId;
use mox_uids::Uid;

use crate::{AccountId, BodyId, MailboxId};

/// A table. Its number is the first byte of its keys and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Rows of whatever keeps the store; the engine never touches them.
    Store = 0,
    /// The schema number, counters, and the store's secret.
    Numbers = 1,
    /// Accounts by number.
    Account = 2,
    /// Accounts by name.
    AccountName = 3,
    /// Octets and messages of an account.
    Usage = 4,
    /// Mailboxes and subscriptions of an account by name.
    MailboxName = 5,
    /// Mailboxes by number.
    Mailbox = 6,
    /// The keywords of a mailbox.
    Keywords = 7,
    /// Which UIDs a mailbox has, 4,096 UIDs a row.
    Uids = 8,
    /// Packed rows of messages, 128 UIDs a row.
    Page = 9,
    /// What is fixed about a message.
    Meta = 10,
    /// The header section of a message.
    Header = 11,
    /// Which messages an operation added or changed, by its modification sequence.
    Change = 12,
    /// Which messages an operation expunged, by its modification sequence.
    Gone = 13,
    /// When something is to be purged.
    Due = 14,
    /// Who refers to a body.
    Ref = 15,
    /// Messages in the queue.
    QueueMessage = 16,
    /// Entries of the queue.
    Queue = 17,
    /// Entries that left the queue.
    Retired = 18,
    /// Kept for reputation.
    Reputation = 19,
    /// Kept for the junk filter.
    Junk = 20,
    /// What is known of other domains and hosts, of the whole store: policies, and TLS.
    Policy = 21,
    /// Kept for reports.
    Report = 22,
    /// Records of decisions about mail that arrives, of the whole store.
    Decision = 23,
    /// COPYs of several operations that are not finished: what each has put into a mailbox so far.
    Copying = 24,
    /// The first UID of a mailbox that no session was told of.
    Recent = 25,
    /// Annotations of mailboxes, and under mailbox 0 of the account.
    Annotation = 26,
    /// Messages that the junk filter is to learn or unlearn, by the modification sequence of what made them so.
    JunkDue = 27,
    /// Messages that were handed over in files and taken, by the number of the file, until that is gone.
    Taken = 28,
    /// Accounts whose junk filter is being learned anew, and how far that came.
    JunkRelearn = 29,
    /// Copies of mail that was not taken.
    Reject = 30,
    /// Addresses that fail, and those that nothing is sent to.
    Suppression = 31,
    /// What left the queue, by the ids that it was sent with.
    Sent = 32,
    /// What is to be reported to other domains, and what was, of the whole store.
    Observed = 33,
    /// How many addresses of an account fail or are suppressed.
    SuppressionCount = 34,
    /// What was done in the last attempts of entries of the queue.
    Transcript = 35,
    /// What left the queue, by the number of its entry.
    RetiredIndex = 36,
    /// What an account has sent within the last day.
    SentHours = 37,
}

/// Tables whose keys begin with an account and that go with it.
pub(crate) const ACCOUNT_TABLES: [Table; 23] = [
    Table::Usage,
    Table::MailboxName,
    Table::Mailbox,
    Table::Keywords,
    Table::Uids,
    Table::Page,
    Table::Meta,
    Table::Header,
    Table::Change,
    Table::Gone,
    Table::Reputation,
    Table::Junk,
    Table::Report,
    Table::Copying,
    Table::Recent,
    Table::Annotation,
    Table::JunkDue,
    Table::JunkRelearn,
    Table::Reject,
    Table::Suppression,
    Table::Sent,
    Table::SuppressionCount,
    Table::SentHours,
];

/// Tables whose keys begin with an account and a mailbox, and that go with it. Not `Meta` and `Header`, which are
/// removed message by message with the references.
pub(crate) const MAILBOX_TABLES: [Table; 8] = [
    Table::Keywords,
    Table::Uids,
    Table::Page,
    Table::Change,
    Table::Gone,
    Table::Copying,
    Table::Recent,
    Table::Annotation,
];

const STORE: AccountId = AccountId(0);

/// A key under construction.
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn of(table: Table, account: AccountId) -> Self {
        let mut bytes = Vec::with_capacity(28);
        bytes.push(table as u8);
        bytes.extend_from_slice(&account.0.to_be_bytes());
        Self(bytes)
    }

    pub(crate) fn u32(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    fn u64(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// The first key behind all that begin with `prefix`; no prefix of ours is all 0xff.
pub(crate) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

pub(crate) fn schema() -> Vec<u8> {
    Key::of(Table::Numbers, STORE).bytes(&[0]).done()
}

pub(crate) fn numbers() -> Vec<u8> {
    Key::of(Table::Numbers, STORE).bytes(&[1]).done()
}

pub(crate) fn secret() -> Vec<u8> {
    Key::of(Table::Numbers, STORE).bytes(&[2]).done()
}

pub(crate) fn account(id: AccountId) -> Vec<u8> {
    Key::of(Table::Account, id).done()
}

pub(crate) fn account_name(name: &str) -> Vec<u8> {
    Key::of(Table::AccountName, STORE)
        .bytes(name.as_bytes())
        .done()
}

pub(crate) fn account_names() -> Vec<u8> {
    Key::of(Table::AccountName, STORE).done()
}

pub(crate) fn usage(id: AccountId) -> Vec<u8> {
    Key::of(Table::Usage, id).done()
}

pub(crate) fn mailbox_name(account: AccountId, name: &str) -> Vec<u8> {
    Key::of(Table::MailboxName, account)
        .bytes(name.as_bytes())
        .done()
}

pub(crate) fn taken(file: &[u8; 16]) -> Vec<u8> {
    Key::of(Table::Taken, STORE).bytes(file).done()
}

/// The prefix of everything a table has about an account.
pub(crate) fn in_account(table: Table, account: AccountId) -> Vec<u8> {
    Key::of(table, account).done()
}

/// The prefix of everything a table has about a mailbox; for [`Table::Mailbox`] and [`Table::Keywords`] the key itself.
pub(crate) fn in_mailbox(table: Table, account: AccountId, mailbox: MailboxId) -> Vec<u8> {
    Key::of(table, account).u32(mailbox.0).done()
}

/// A key in [`Table::Uids`], [`Table::Page`], [`Table::Meta`] or [`Table::Header`].
pub(crate) fn at(table: Table, account: AccountId, mailbox: MailboxId, n: u32) -> Vec<u8> {
    Key::of(table, account).u32(mailbox.0).u32(n).done()
}

/// A key in [`Table::Change`], [`Table::Gone`] or [`Table::Copying`].
pub(crate) fn op(table: Table, account: AccountId, mailbox: MailboxId, modseq: u64) -> Vec<u8> {
    Key::of(table, account).u32(mailbox.0).u64(modseq).done()
}

/// A purge that is due at `secs`: of one expunge, of a mailbox (`modseq` is [`WHOLE`]), of an account (`mailbox` is 0).
pub(crate) fn due(secs: u64, account: AccountId, mailbox: MailboxId, modseq: u64) -> Vec<u8> {
    Key::of(Table::Due, STORE)
        .u64(secs)
        .u32(account.0)
        .u32(mailbox.0)
        .u64(modseq)
        .done()
}

pub(crate) fn dues() -> Vec<u8> {
    Key::of(Table::Due, STORE).done()
}

/// In place of a modification sequence: all of a mailbox.
pub(crate) const WHOLE: u64 = u64::MAX;

/// Who refers to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Referrer {
    /// A message in a mailbox, or one that was expunged and is not purged yet.
    Message(AccountId, MailboxId, Uid),
    /// A message in the queue, by the number of its first entry.
    Queue(u64),
}

pub(crate) fn refs(body: BodyId) -> Vec<u8> {
    Key::of(Table::Ref, STORE)
        .u32(body.boot)
        .u64(body.counter)
        .done()
}

pub(crate) fn reference(body: BodyId, by: Referrer) -> Vec<u8> {
    let key = Key(refs(body));
    match by {
        Referrer::Message(account, mailbox, uid) => {
            key.bytes(&[0]).u32(account.0).u32(mailbox.0).u32(uid.0)
        }
        Referrer::Queue(id) => key.bytes(&[1]).u64(id),
    }
    .done()
}

/// The key of a body in [`Space::Bodies`](crate::Space::Bodies).
pub fn body_key(id: BodyId) -> Vec<u8> {
    Key(Vec::with_capacity(12))
        .u32(id.boot)
        .u64(id.counter)
        .done()
}

pub(crate) fn queue(table: Table, id: u64) -> Vec<u8> {
    Key::of(table, STORE).u64(id).done()
}

pub(crate) fn queue_all(table: Table) -> Vec<u8> {
    Key::of(table, STORE).done()
}

/// How many messages a junk filter learned.
pub(crate) fn junk_totals(account: AccountId) -> Vec<u8> {
    Key::of(Table::Junk, account).bytes(&[0]).done()
}

/// The prefix of all messages that a junk filter learned.
pub(crate) fn junk_all_learned(account: AccountId) -> Vec<u8> {
    Key::of(Table::Junk, account).bytes(&[1]).done()
}

/// The prefix of those in a mailbox.
pub(crate) fn junk_learned_in(account: AccountId, mailbox: MailboxId) -> Vec<u8> {
    Key(junk_all_learned(account)).u32(mailbox.0).done()
}

/// A message that a junk filter learned.
pub(crate) fn junk_learned(account: AccountId, mailbox: MailboxId, uid: Uid) -> Vec<u8> {
    Key(junk_learned_in(account, mailbox)).u32(uid.0).done()
}

/// What a junk filter learned of a word: its id in five octets.
pub(crate) fn junk_word(account: AccountId, word: WordId) -> Vec<u8> {
    let id = (word.0 << (u64::BITS - WordId::BITS)).to_be_bytes();
    let [a, b, c, d, e, ..] = id;
    let key = Key::of(Table::Junk, account).bytes(&[2]);
    key.bytes(&[a, b, c, d, e]).done()
}

/// The `nth` time in this second that recipients of this entry retire.
pub(crate) fn retired(secs: u64, entry: u64, nth: u32) -> Vec<u8> {
    Key::of(Table::Retired, STORE)
        .u64(secs)
        .u64(entry)
        .u32(nth)
        .done()
}

/// What [`retired`] wrote.
pub(crate) fn retired_at(key: &[u8]) -> Option<crate::RetiredAt> {
    let mut parts = Parts::of(key);
    Some(crate::RetiredAt {
        secs: parts.u64()?,
        entry: parts.u64()?,
        nth: parts.u32()?,
    })
}

/// The same place by its entry.
pub(crate) fn retired_index(place: &crate::RetiredAt) -> Vec<u8> {
    Key::of(Table::RetiredIndex, STORE)
        .u64(place.entry)
        .u64(place.secs)
        .u32(place.nth)
        .done()
}

/// What [`retired_index`] wrote.
pub(crate) fn retired_index_at(key: &[u8]) -> Option<crate::RetiredAt> {
    let mut parts = Parts::of(key);
    Some(crate::RetiredAt {
        entry: parts.u64()?,
        secs: parts.u64()?,
        nth: parts.u32()?,
    })
}

/// Since when what leaves the queue is in the index.
pub(crate) fn retired_index_begun() -> Vec<u8> {
    Key::of(Table::Numbers, STORE).bytes(&[3]).done()
}

/// Reads the numbers of a key; `None` when it is shorter than its table's keys are.
pub(crate) struct Parts<'k>(&'k [u8]);

impl<'k> Parts<'k> {
    /// Behind the table and account.
    pub(crate) fn of(key: &'k [u8]) -> Self {
        Self(key.get(5..).unwrap_or_default())
    }

    /// Of a key without table and account.
    pub(crate) fn whole(key: &'k [u8]) -> Self {
        Self(key)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take().map(|[n]| n)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn body(&mut self) -> Option<BodyId> {
        Some(BodyId {
            boot: self.u32()?,
            counter: self.u64()?,
        })
    }

    pub(crate) fn referrer(&mut self) -> Option<Referrer> {
        Some(match self.u8()? {
            0 => Referrer::Message(
                AccountId(self.u32()?),
                MailboxId(self.u32()?),
                Uid(self.u32()?),
            ),
            1 => Referrer::Queue(self.u64()?),
            _ => return None,
        })
    }

    pub(crate) fn rest(self) -> &'k [u8] {
        self.0
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

/// The account in a key.
pub(crate) fn account_of(key: &[u8]) -> Option<AccountId> {
    let bytes = key.get(1..5)?.first_chunk()?;
    Some(AccountId(u32::from_be_bytes(*bytes)))
}
