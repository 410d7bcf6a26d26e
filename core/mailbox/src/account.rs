//! Accounts.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::{Secret, Utc};

use crate::edit::Edit;
use crate::key::{self, Table};
use crate::rows::{self, AccountRow, Numbers, Stored, Usage};
use crate::{
    AccountId, Batch, INBOX, Limit, MailboxId, ReadError, Reads, Space, SpecialUse, Stop, Touched,
    name, scan,
};

/// The schema this program writes. Rows of the queue have a version of their own each; the number keeps a program from a store
/// with rows that it does not know: 2 has the ids of what was sent, and transports of attempts; 3 has the owners of entries of the
/// queue, and where they go here.
pub const SCHEMA: u32 = 3;
/// The oldest schema it reads. Opening a store raises its number, and there is no way back.
pub const SCHEMA_OLDEST: u32 = 1;
/// Octets of credentials at most.
pub const CREDENTIALS_MAX: usize = 8 * 1024;

/// The mailboxes of a new account.
pub const DEFAULT_MAILBOXES: [(&str, Option<SpecialUse>); 6] = [
    (INBOX, None),
    ("Sent", Some(SpecialUse::Sent)),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Archive", Some(SpecialUse::Archive)),
    ("Trash", Some(SpecialUse::Trash)),
    ("Junk", Some(SpecialUse::Junk)),
];

/// What is known of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number, never given again.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Opaque to the engine.
    pub credentials: Secret<Bytes>,
    /// Octets of messages at most; `None` is no limit.
    pub quota: Option<u64>,
    /// When it was made.
    pub created: Utc,
}

/// Prepares a store: the first operation after every open. It writes the schema number and the counters into an empty
/// store, raises the number of an older one, and refuses a schema that is not known.
pub fn initialise(reads: &dyn Reads) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    match schema(reads)? {
        Some(SCHEMA) => {}
        // Each row is written anew when it changes.
        Some(SCHEMA_OLDEST..SCHEMA) => {
            edit.put(key::schema(), Bytes::copy_from_slice(&SCHEMA.to_be_bytes()));
        }
        Some(found) => {
            return Err(Stop::Schema {
                found,
                known: SCHEMA,
            });
        }
        None => {
            edit.put(key::schema(), Bytes::copy_from_slice(&SCHEMA.to_be_bytes()));
            let numbers = Numbers {
                next_account: 1,
                next_queue: 1,
                last_validity: 0,
            };
            edit.put(key::numbers(), numbers.encode());
        }
    }
    Ok((edit.finish()?, ()))
}

/// The secret of a store, the same for ever: `fresh` when it has none yet. What must look the same after a restart is
/// derived from it.
pub fn store_secret(
    reads: &dyn Reads,
    fresh: &Secret<[u8; 32]>,
) -> Result<(Batch, Secret<[u8; 32]>), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    let secret = match edit.get(&key::secret())? {
        Some(bytes) => bytes[..]
            .try_into()
            .map_err(|_| ReadError("the secret of the store is damaged".into()))?,
        None => {
            edit.put(key::secret(), Bytes::copy_from_slice(fresh.expose()));
            *fresh.expose()
        }
    };
    Ok((edit.finish()?, Secret::new(secret)))
}

/// The schema of a store; `None` when it is empty.
pub fn schema(reads: &dyn Reads) -> Result<Option<u32>, ReadError> {
    let Some(bytes) = reads.get(Space::Rows, &key::schema())? else {
        return Ok(None);
    };
    let bytes: [u8; 4] = bytes[..]
        .try_into()
        .map_err(|_| ReadError("the schema number is damaged".into()))?;
    Ok(Some(u32::from_be_bytes(bytes)))
}

/// A new account with its default mailboxes.
pub fn create_account(
    reads: &dyn Reads,
    account: &str,
    credentials: &Secret<Bytes>,
    quota: Option<u64>,
    now: Utc,
) -> Result<(Batch, AccountId), Stop> {
    name::check_account_name(account)?;
    if account_id(reads, account)?.is_some() {
        return Err(Stop::AccountExists);
    }
    let mut edit = Edit::new(reads, now);
    let numbers = edit.numbers()?;
    let id = AccountId(numbers.next_account);
    numbers.next_account = (id.0.checked_add(1)).ok_or(Stop::TooMany(Limit::Numbers))?;
    let row = AccountRow {
        name: account.into(),
        credentials: checked(credentials)?,
        quota,
        created: now,
        next_mailbox: 1,
        names: 0,
        removed: false,
    };
    edit.new_account(id, row);
    edit.put(key::account_name(account), rows::encode_account_id(id));
    for (mailbox, special_use) in DEFAULT_MAILBOXES {
        edit.new_mailbox(id, mailbox, special_use)?;
    }
    Ok((edit.finish()?, id))
}

fn checked(credentials: &Secret<Bytes>) -> Result<Vec<u8>, Stop> {
    let octets = credentials.expose();
    if octets.len() > CREDENTIALS_MAX {
        return Err(Stop::TooMany(Limit::Credentials));
    }
    Ok(octets.to_vec())
}

/// Replaces the credentials of an account.
pub fn set_credentials(
    reads: &dyn Reads,
    id: AccountId,
    credentials: &Secret<Bytes>,
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(id)?.credentials = checked(credentials)?;
    Ok((edit.finish()?, ()))
}

/// Replaces the quota of an account. One below what it has only refuses more.
pub fn set_quota(
    reads: &dyn Reads,
    id: AccountId,
    quota: Option<u64>,
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(id)?.quota = quota;
    Ok((edit.finish()?, ()))
}

/// Removes an account: it is gone and its name free at once. Its rows and bodies go with [`purge`](crate::purge), where
/// they are due at once. Messages it has in the queue stay there.
pub fn remove_account(reads: &dyn Reads, id: AccountId, now: Utc) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, now);
    let row = edit.account(id)?;
    row.removed = true;
    row.credentials = Vec::new();
    let name = row.name.clone();
    edit.remove(key::account_name(&name));
    let due = u64::try_from(now.secs()).unwrap_or(0);
    edit.put(key::due(due, id, MailboxId(0), key::WHOLE), Bytes::new());
    let prefix = key::in_account(Table::Mailbox, id);
    let mut touched = Vec::new();
    scan::prefix(reads, &prefix, &mut |key, _| {
        let mailbox = key::Parts::of(key).u32();
        touched.push(Touched::Mailbox {
            account: id,
            mailbox: MailboxId(mailbox.ok_or_else(|| scan::bad_key("mailboxes"))?),
            modseq: u64::MAX,
        });
        Ok(ControlFlow::Continue(()))
    })?;
    edit.touched.extend(touched);
    Ok((edit.finish()?, ()))
}

/// The number of an account.
pub fn account_id(reads: &dyn Reads, name: &str) -> Result<Option<AccountId>, ReadError> {
    let bytes = reads.get(Space::Rows, &key::account_name(name))?;
    bytes
        .map(|bytes| rows::decode_account_id(&bytes))
        .transpose()
}

/// An account by name.
pub fn account(reads: &dyn Reads, name: &str) -> Result<Option<Account>, ReadError> {
    match account_id(reads, name)? {
        Some(id) => account_by_id(reads, id),
        None => Ok(None),
    }
}

/// An account by number.
pub fn account_by_id(reads: &dyn Reads, id: AccountId) -> Result<Option<Account>, ReadError> {
    let Some(row) = account_row(reads, id)?.filter(|row| !row.removed) else {
        return Ok(None);
    };
    Ok(Some(Account {
        id,
        name: row.name,
        credentials: Secret::new(row.credentials.into()),
        quota: row.quota,
        created: row.created,
    }))
}

/// Whether this number was ever given to an account, removed ones included; also of account 0, which stands for nobody.
pub fn account_was_made(reads: &dyn Reads, id: AccountId) -> Result<bool, ReadError> {
    let Some(row) = reads.get(Space::Rows, &key::numbers())? else {
        return Ok(true);
    };
    Ok(id.0 < Numbers::decode(&row)?.next_account)
}

pub(crate) fn account_row(
    reads: &dyn Reads,
    id: AccountId,
) -> Result<Option<AccountRow>, ReadError> {
    let bytes = reads.get(Space::Rows, &key::account(id))?;
    bytes.map(|bytes| AccountRow::decode(&bytes)).transpose()
}

/// Up to `max` accounts in order of name, from the first name that is not below `from`.
pub fn accounts(
    reads: &dyn Reads,
    from: &str,
    max: usize,
) -> Result<Vec<(String, AccountId)>, ReadError> {
    let (first, end) = (key::account_name(from), key::behind(&key::account_names()));
    let mut found = Vec::new();
    scan::range(reads, Space::Rows, &first, &end, &mut |key, value| {
        if found.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        let name = String::from_utf8_lossy(key::Parts::of(key).rest()).into_owned();
        found.push((name, rows::decode_account_id(&value)?));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// What the messages of an account amount to.
pub fn usage(reads: &dyn Reads, id: AccountId) -> Result<Usage, ReadError> {
    match reads.get(Space::Rows, &key::usage(id))? {
        Some(bytes) => Usage::decode(&bytes),
        None => Ok(Usage::default()),
    }
}

/// Octets of messages that an account may have; `None` for any number.
pub fn quota(reads: &dyn Reads, id: AccountId) -> Result<Option<u64>, ReadError> {
    Ok(account_row(reads, id)?.and_then(|row| row.quota))
}

/// What an account's quota says about a message that is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It would be within the quota.
    Enough,
    /// It would not be until something is removed.
    None,
    /// It is much larger than the quota: it never would be.
    Never,
}

/// Octets by which [`room_for`] measures, at most: nobody else is to read off how much an account has.
const MEASURED_BY: u64 = 1 << 20;

/// Whether there is room for a message that is said to have so many octets: about, so as not to tell how much there is. One that is said
/// to have none is believed to have one.
pub fn room_for(reads: &dyn Reads, id: AccountId, octets: u64) -> Result<Room, ReadError> {
    let quota = account_row(reads, id)?.and_then(|row| row.quota);
    let Some(quota) = quota else {
        return Ok(Room::Enough);
    };
    // As roughly as that.
    if quota
        .checked_next_power_of_two()
        .is_some_and(|most| octets > most)
    {
        return Ok(Room::Never);
    }
    let measure = (quota / 16).clamp(1, MEASURED_BY);
    let about = (octets / measure).saturating_mul(measure).max(1);
    Ok(
        match usage(reads, id)?.octets.saturating_add(about) <= quota {
            true => Room::Enough,
            false => Room::None,
        },
    )
}

/// Whether a message of `octets` more would be within the quota. The operation that stores it decides.
pub fn has_room(reads: &dyn Reads, id: AccountId, octets: u64) -> Result<bool, ReadError> {
    let quota = account_row(reads, id)?.and_then(|row| row.quota);
    let Some(quota) = quota else { return Ok(true) };
    Ok(usage(reads, id)?.octets.saturating_add(octets) <= quota)
}
