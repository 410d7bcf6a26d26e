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

const VERSION: u8 = 1;
/// In place of a mailbox: the account itself.
const ACCOUNT: MailboxId = MailboxId(0);

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
    for (name, value) in entries {
        let key = Key::of(Table::Annotation, account)
            .u32(at.0)
            .bytes(name.as_bytes())
            .done();
        names.retain(|other| other != name);
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
    if names.len() > ANNOTATIONS_MAX {
        return Err(Stop::TooMany(Limit::Annotations));
    }
    Ok((edit.finish()?, ()))
}
