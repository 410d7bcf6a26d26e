//! Annotations of an account and of its mailboxes (RFC 5464): values by name, opaque to the engine.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;

use crate::edit::Edit;
use crate::key::{self, Key, Parts, Table};
use crate::name::mailbox_name;
use crate::{AccountId, Batch, Limit, MailboxId, ReadError, Reads, Stop, Touched, scan};

/// Annotations of one mailbox, or of the account itself, at most.
pub const ANNOTATIONS_MAX: usize = 100;
/// Octets of the name of an annotation at most.
pub const ANNOTATION_NAME_MAX: usize = 500;
/// Octets of its value at most.
pub const ANNOTATION_MAX: usize = 32 * 1024;
/// Octets of the names and values of all annotations of an account at most: whoever observes the account reads them.
pub const ANNOTATIONS_OCTETS_MAX: usize = 1024 * 1024;

const VERSION: u8 = 1;
/// In place of a mailbox: the account itself.
pub(crate) const ACCOUNT: MailboxId = MailboxId(0);

/// All annotations of a mailbox (`None`: of the account itself) in the order of their names.
pub fn annotations(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: Option<MailboxId>,
) -> Result<Vec<(String, Bytes)>, ReadError> {
    let prefix = key::in_mailbox(Table::Annotation, account, mailbox.unwrap_or(ACCOUNT));
    let mut found = Vec::new();
    scan::prefix(reads, &prefix, &mut |key, row| {
        let mut parts = Parts::of(key);
        parts.u32().ok_or_else(|| scan::bad_key("annotations"))?;
        let name = String::from_utf8_lossy(parts.rest()).into_owned();
        match row.first() {
            Some(&VERSION) => found.push((name, row.slice(1..))),
            _ => return Err(ReadError("a row of annotations is damaged".into())),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Writes annotations of a mailbox by name (`None`: of the account itself), all or none; without a value one goes.
pub fn annotate(
    reads: &dyn Reads,
    account: AccountId,
    mailbox: Option<&str>,
    entries: &[(String, Option<Bytes>)],
) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.account(account)?;
    let at = match mailbox {
        Some(name) => {
            let row = edit.name(account, &mailbox_name(name)?)?;
            row.and_then(|row| row.mailbox).ok_or(Stop::NoSuchMailbox)?
        }
        None => ACCOUNT,
    };
    // Whoever observes the account looks (RFC 5465 5.6, 5.7).
    edit.touched.push(Touched::Account(account));
    let known = annotations(reads, account, mailbox.map(|_| at))?;
    let mut names: Vec<&str> = known.iter().map(|(name, _)| &name[..]).collect();
    let size = |name: &str, value: Option<&[u8]>| value.map_or(0, |value| name.len() + value.len());
    let (mut more, mut less) = (0, 0);
    for (name, value) in entries {
        let key = Key::of(Table::Annotation, account)
            .u32(at.0)
            .bytes(name.as_bytes())
            .done();
        names.retain(|other| other != name);
        let old = known.iter().find(|(other, _)| other == name);
        less += size(name, old.map(|(_, value)| &value[..]));
        more += size(name, value.as_deref());
        match value {
            Some(value) => {
                if value.len() > ANNOTATION_MAX || name.len() > ANNOTATION_NAME_MAX {
                    return Err(Stop::TooMany(Limit::Annotation));
                }
                names.push(name);
                let mut row = vec![VERSION];
                row.extend_from_slice(value);
                edit.put(key, row.into());
            }
            None => edit.remove(key),
        }
    }
    let is_too_much =
        || Ok::<_, Stop>(octets(reads, account)? + more > ANNOTATIONS_OCTETS_MAX + less);
    if names.len() > ANNOTATIONS_MAX || more > less && is_too_much()? {
        return Err(Stop::TooMany(Limit::Annotations));
    }
    Ok((edit.finish()?, ()))
}

/// Octets of all annotations of an account.
fn octets(reads: &dyn Reads, account: AccountId) -> Result<usize, ReadError> {
    let prefix = Key::of(Table::Annotation, account).done();
    let mut octets = 0;
    scan::prefix(reads, &prefix, &mut |key, row| {
        let mut parts = Parts::of(key);
        parts.u32().ok_or_else(|| scan::bad_key("annotations"))?;
        // The version is not counted.
        octets += parts.rest().len() + row.len().saturating_sub(1);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(octets)
}
