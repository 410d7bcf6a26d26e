//! The junk filter of an account: what it learned of messages that people called junk or not.
//!
//! A message is learned as what its keywords `$Junk` and `$NotJunk` say: spam, ham, or nothing when it has neither or both.
//! Whatever changes that (flags, copies, moves, deletion) writes a row that says the message is due, in the same operation;
//! [`junk_due`] lists those, and [`junk_settle`] learns and unlearns, one message an operation, once somebody has read its
//! words. A message that was learned has a row with its class and its words, so it is unlearned exactly, without its body
//! and whatever became of the way words are made. The filter is always the sum of those rows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_junk::{Class, Counts, FEATURES, WordId};
use mox_machine::Utc;
use mox_uids::{Uid, UidSet};

use crate::account::account_row;
use crate::edit::{Edit, mailbox_row};
use crate::junk_relearn::is_forgetting;
use crate::key::{self, Parts, Table};
use crate::mailbox_edit::keywords;
use crate::rows::{decode_change, encode_change};
use crate::varint::{self, Input};
use crate::verify::Verify;
use crate::view::light_rows;
use crate::{AccountId, Batch, MailboxId, ReadError, Reads, Space, Stop, Touched, flags, scan};

/// The keyword of junk.
pub const JUNK: &str = "$Junk";
/// The keyword of what is not.
pub const NOT_JUNK: &str = "$NotJunk";
/// Words of a message that are learned, at most; more are passed over.
pub const JUNK_WORDS_MAX: usize = 900;

const LEARNED_VERSION: u8 = 1;

/// A message that is to be learned or unlearned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JunkDue {
    /// Whose.
    pub account: AccountId,
    /// Which mailbox; it may have been deleted.
    pub mailbox: MailboxId,
    /// Which message; it may be gone.
    pub uid: Uid,
    /// Its words are needed: it is to be learned and was not.
    pub needs_words: bool,
    /// Of the row that says so.
    modseq: u64,
}

/// What became of a message that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JunkSettled {
    /// The filter knows it as this now.
    Learned(Class),
    /// The filter knows it no longer.
    Unlearned,
    /// The filter knew it as what it is already, or it is nothing.
    Unchanged,
    /// It is to be learned, and its words were not given.
    NeedsWords,
}

/// Messages an account's filter learned; none when it learned with other words than this program makes.
pub fn junk_learned(reads: &dyn Reads, account: AccountId) -> Result<Counts, ReadError> {
    let totals = totals(&|key| reads.get(Space::Rows, key), account)?;
    Ok(totals.map_or_else(Counts::default, |(features, counts)| {
        match features == FEATURES {
            true => counts,
            false => Counts::default(),
        }
    }))
}

/// Whether an account's filter learned with other words than this program makes: it is worth nothing until it is learned
/// anew.
pub fn junk_is_outdated(reads: &dyn Reads, account: AccountId) -> Result<bool, ReadError> {
    let totals = totals(&|key| reads.get(Space::Rows, key), account)?;
    Ok(totals.is_some_and(|(features, _)| features != FEATURES))
}

/// What an account's filter learned of a word.
pub fn junk_word(reads: &dyn Reads, account: AccountId, word: WordId) -> Result<Counts, ReadError> {
    match reads.get(Space::Rows, &key::junk_word(account, word))? {
        Some(row) => decode_counts(&row),
        None => Ok(Counts::default()),
    }
}

/// What an account's filter knows a message as.
pub fn junk_class(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Class>, ReadError> {
    Ok(learned(reads, account, mailbox, uid)?.map(|learned| learned.class))
}

/// The accounts whose filters have something to learn or to forget, in ascending order. No row is read, so that what is damaged of
/// one account keeps nobody from the others.
pub fn junk_accounts(reads: &dyn Reads) -> Result<BTreeSet<AccountId>, ReadError> {
    let mut found = BTreeSet::new();
    for table in [Table::JunkDue, Table::JunkRelearn] {
        let mut from = vec![table as u8];
        let end = key::behind(&from);
        loop {
            let mut next = None;
            scan::range(reads, Space::Rows, &from, &end, &mut |key, _| {
                next = Some(key::account_of(key).ok_or_else(|| scan::bad_key("junk due"))?);
                Ok(ControlFlow::Break(()))
            })?;
            let Some(account) = next else {
                break;
            };
            found.insert(account);
            from = key::behind(&key::in_account(table, account));
        }
    }
    Ok(found)
}

/// Up to `max` messages that are due, of one account or of any, unless its filter is being forgotten
/// ([`junk_relearn`](crate::junk_relearn)).
pub fn junk_due(
    reads: &dyn Reads,
    of: Option<AccountId>,
    max: usize,
) -> Result<Vec<JunkDue>, ReadError> {
    let mut dues: Vec<JunkDue> = Vec::new();
    let prefix = match of {
        Some(account) => key::in_account(Table::JunkDue, account),
        None => vec![Table::JunkDue as u8],
    };
    scan::prefix(reads, &prefix, &mut |key, row| {
        let mut parts = Parts::of(key);
        let read = key::account_of(key).zip(parts.u32().zip(parts.u64()));
        let (account, (mailbox, modseq)) = read.ok_or_else(|| scan::bad_key("junk due"))?;
        let mailbox = MailboxId(mailbox);
        // With a removed account its filter goes anyway; what is to be forgotten first is not added to.
        if account_row(reads, account)?.is_none_or(|row| row.removed)
            || is_forgetting(reads, account)?
        {
            return Ok(ControlFlow::Continue(()));
        }
        let room = max.saturating_sub(dues.len());
        let uids = match modseq {
            key::WHOLE => learned_uids(reads, account, mailbox, room)?,
            _ => decode_change(&row)?,
        };
        // A mailbox of which nothing is known any more is due too, so that its row goes.
        let all = match uids.is_empty() {
            true => vec![Uid(1)],
            false => uids.iter().take(room).collect(),
        };
        for uid in all {
            let wanted = wanted(reads, account, mailbox, uid)?;
            let needs_words =
                wanted.is_some() && junk_class(reads, account, mailbox, uid)?.is_none();
            dues.push(JunkDue {
                account,
                mailbox,
                uid,
                needs_words,
                modseq,
            });
        }
        Ok(match dues.len() < max {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(dues)
}

/// Learns or unlearns a message, as its keywords are now. `words` are needed only when it was not learned yet; when it cannot
/// be read, none are given and [`junk_pass_over`] is called instead.
pub fn junk_settle(
    reads: &dyn Reads,
    due: &JunkDue,
    words: Option<&[WordId]>,
) -> Result<(Batch, JunkSettled), Stop> {
    let JunkDue {
        account,
        mailbox,
        uid,
        ..
    } = *due;
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(account)?;
    let wanted = wanted(reads, account, mailbox, uid)?;
    let known = learned(reads, account, mailbox, uid)?;
    let settled = match (known, wanted) {
        (known, wanted) if known.as_ref().map(|known| known.class) == wanted => {
            JunkSettled::Unchanged
        }
        (None, Some(class)) => {
            let Some(words) = words else {
                return Ok((Batch::default(), JunkSettled::NeedsWords));
            };
            let words: BTreeSet<WordId> = words.iter().copied().take(JUNK_WORDS_MAX).collect();
            let words: Vec<WordId> = words.into_iter().collect();
            change(&mut edit, account, None, Some(class), &words)?;
            put_learned(&mut edit, account, mailbox, uid, &Learned { class, words });
            JunkSettled::Learned(class)
        }
        (Some(known), Some(class)) => {
            change(&mut edit, account, Some(known.class), wanted, &known.words)?;
            let known = Learned { class, ..known };
            put_learned(&mut edit, account, mailbox, uid, &known);
            JunkSettled::Learned(class)
        }
        (Some(known), None) => {
            change(&mut edit, account, Some(known.class), None, &known.words)?;
            edit.remove(key::junk_learned(account, mailbox, uid));
            JunkSettled::Unlearned
        }
        (None, None) => JunkSettled::Unchanged,
    };
    strike(&mut edit, due)?;
    Ok((edit.finish()?, settled))
}

/// Takes a message off what is due without learning it: its body cannot be read.
pub fn junk_pass_over(reads: &dyn Reads, due: &JunkDue) -> Result<Batch, Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    strike(&mut edit, due)?;
    edit.finish()
}

/// What keywords say of a message.
pub(crate) fn class_of(names: &[String], bits: u64) -> Option<Class> {
    let has = |name| {
        let at = flags::position(names, name).and_then(|at| u32::try_from(at).ok());
        at.is_some_and(|at| bits.checked_shr(at).is_some_and(|bits| bits & 1 == 1))
    };
    match (bits != 0 && has(JUNK), bits != 0 && has(NOT_JUNK)) {
        (true, false) => Some(Class::Spam),
        (false, true) => Some(Class::Ham),
        _ => None,
    }
}

/// Makes all learned messages of a deleted mailbox due.
pub(crate) fn unlearn_mailbox(
    edit: &mut Edit<'_>,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<(), ReadError> {
    if !learned_uids(edit.reads(), account, mailbox, 1)?.is_empty() {
        let key = key::op(Table::JunkDue, account, mailbox, key::WHOLE);
        edit.put(key, encode_change(&UidSet::new()));
        edit.touched.push(Touched::Junk);
    }
    Ok(())
}

/// What a message is to be learned as; nothing when it or its mailbox is gone.
fn wanted(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Class>, ReadError> {
    if mailbox_row(reads, account, mailbox)?.is_none_or(|row| row.removed) {
        return Ok(None);
    }
    let mut bits = 0;
    let one: UidSet = [uid].into_iter().collect();
    light_rows(reads, account, mailbox, &one, uid, &mut |row| {
        bits = row.keywords;
        ControlFlow::Break(())
    })?;
    match bits {
        0 => Ok(None),
        _ => Ok(class_of(&keywords(reads, account, mailbox)?.0, bits)),
    }
}

/// A message that was learned.
struct Learned {
    class: Class,
    /// Ascending.
    words: Vec<WordId>,
}

impl Learned {
    fn encode(&self) -> Bytes {
        let class = match self.class {
            Class::Ham => 0,
            Class::Spam => 1,
        };
        let mut out = Vec::with_capacity(2 + self.words.len() * 5);
        out.extend_from_slice(&[LEARNED_VERSION, class]);
        let mut last = 0;
        for word in &self.words {
            varint::put(&mut out, word.0.wrapping_sub(last));
            last = word.0;
        }
        out.into()
    }

    fn decode(row: &[u8]) -> Result<Self, ReadError> {
        let mut input = Input::new(row, "learned message");
        input.version(LEARNED_VERSION)?;
        let class = match input.byte()? {
            0 => Class::Ham,
            1 => Class::Spam,
            _ => return Err(input.damaged()),
        };
        let (mut words, mut last) = (Vec::new(), 0u64);
        while !input.is_empty() {
            last = last.wrapping_add(input.number()?);
            words.push(WordId(last));
        }
        Ok(Self { class, words })
    }
}

fn learned(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Learned>, ReadError> {
    let row = reads.get(Space::Rows, &key::junk_learned(account, mailbox, uid))?;
    row.map(|row| Learned::decode(&row)).transpose()
}

/// The first of the messages of a mailbox that were learned.
fn learned_uids(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: MailboxId,
    max: usize,
) -> Result<UidSet, ReadError> {
    let mut uids = Vec::new();
    let prefix = key::junk_learned_in(account, mailbox);
    scan::prefix(reads, &prefix, &mut |key, _| {
        if uids.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        let mut parts = Parts::whole(key.get(prefix.len()..).unwrap_or_default());
        let uid = parts
            .u32()
            .ok_or_else(|| scan::bad_key("learned messages"))?;
        uids.push(Uid(uid));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(uids.into_iter().collect())
}

fn put_learned(
    edit: &mut Edit<'_>,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
    learned: &Learned,
) {
    let key = key::junk_learned(account, mailbox, uid);
    edit.put(key, learned.encode());
}

/// Takes a message's words out of one class and puts them into another.
fn change(
    edit: &mut Edit<'_>,
    account: AccountId,
    from: Option<Class>,
    to: Option<Class>,
    words: &[WordId],
) -> Result<(), ReadError> {
    let step = |counts: &mut Counts| {
        from.into_iter().for_each(|class| counts.remove(class));
        to.into_iter().for_each(|class| counts.add(class));
    };
    let (features, mut counts) =
        totals(&|key| edit.get(key), account)?.unwrap_or_else(|| (FEATURES, Counts::default()));
    step(&mut counts);
    let key = key::junk_totals(account);
    match counts.is_zero() {
        true => edit.remove(key),
        false => edit.put(key, encode_totals(features, counts)),
    }
    for word in words {
        let key = key::junk_word(account, *word);
        let row = edit.get(&key)?;
        let mut counts = row.map_or_else(|| Ok(Counts::default()), |row| decode_counts(&row))?;
        step(&mut counts);
        match counts.is_zero() {
            true => edit.remove(key),
            false => edit.put(key, encode_counts(counts)),
        }
    }
    Ok(())
}

/// Takes a message off the row that says it is due.
fn strike(edit: &mut Edit<'_>, due: &JunkDue) -> Result<(), ReadError> {
    let JunkDue {
        account,
        mailbox,
        uid,
        modseq,
        ..
    } = *due;
    let key = key::op(Table::JunkDue, account, mailbox, modseq);
    let Some(row) = edit.get(&key)? else {
        return Ok(());
    };
    if modseq == key::WHOLE {
        // This one may still be there: what is removed here is not read back.
        let left = learned_uids(edit.reads(), account, mailbox, 2)?;
        if left.iter().all(|left| left == uid) {
            edit.remove(key);
        }
        return Ok(());
    }
    let left = decode_change(&row)?.difference(&[uid].into_iter().collect());
    match left.is_empty() {
        true => edit.remove(key),
        false => edit.put(key, encode_change(&left)),
    }
    Ok(())
}

type Get<'g> = &'g dyn Fn(&[u8]) -> Result<Option<Bytes>, ReadError>;

/// The way in which words were made that were learned, and how many messages.
fn totals(get: Get<'_>, account: AccountId) -> Result<Option<(u32, Counts)>, ReadError> {
    let Some(row) = get(&key::junk_totals(account))? else {
        return Ok(None);
    };
    let mut input = Input::new(&row, "junk totals");
    let features = input.number32()?;
    let counts = read_counts(&mut input)?;
    Ok(Some((features, counts)))
}

fn encode_totals(features: u32, counts: Counts) -> Bytes {
    let mut out = Vec::new();
    varint::put(&mut out, u64::from(features));
    out.extend_from_slice(&encode_counts(counts));
    out.into()
}

/// Two numbers and no version: there may be a million of these rows, and the row of totals has one for all.
fn encode_counts(counts: Counts) -> Bytes {
    let mut out = Vec::with_capacity(2);
    varint::put(&mut out, u64::from(counts.ham));
    varint::put(&mut out, u64::from(counts.spam));
    out.into()
}

fn decode_counts(row: &[u8]) -> Result<Counts, ReadError> {
    read_counts(&mut Input::new(row, "junk word"))
}

fn read_counts(input: &mut Input<'_>) -> Result<Counts, ReadError> {
    let counts = Counts {
        ham: input.number32()?,
        spam: input.number32()?,
    };
    input.end()?;
    Ok(counts)
}

/// The filter of an account is the sum of the messages it learned.
pub(crate) fn verify_junk(v: &mut Verify<'_>, account: AccountId) -> Result<(), ReadError> {
    if is_forgetting(v.reads, account)? {
        return Ok(());
    }
    let mut sum: BTreeMap<Vec<u8>, Counts> = BTreeMap::new();
    let prefix = key::in_account(Table::Junk, account);
    scan::prefix(v.reads, &key::junk_all_learned(account), &mut |_, row| {
        let learned = Learned::decode(&row)?;
        sum.entry(key::junk_totals(account))
            .or_default()
            .add(learned.class);
        for word in learned.words {
            sum.entry(key::junk_word(account, word))
                .or_default()
                .add(learned.class);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut wrong = 0;
    scan::prefix(v.reads, &prefix, &mut |key, row| {
        if key.starts_with(&key::junk_all_learned(account)) {
            return Ok(ControlFlow::Continue(()));
        }
        let counts = match key == key::junk_totals(account) {
            true => totals(&|_| Ok(Some(row.clone())), account)?.map(|(_, counts)| counts),
            false => Some(decode_counts(&row)?),
        };
        if sum.remove(key) != counts {
            wrong += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    wrong += sum.len();
    v.expect(wrong == 0, || {
        format!(
            "account {}: the junk filter differs in {wrong} words from what it learned",
            account.0
        )
    });
    Ok(())
}
