//! Messages that are handed over in files: each is taken once, whatever ends between its operation and the end of its file.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::Utc;

use crate::edit::Edit;
use crate::key::{self, Table};
use crate::{Batch, ReadError, Reads, Space, Stop, scan};

/// Notes that the message in a file is taken with this operation.
pub(crate) fn take(edit: &mut Edit<'_>, file: &[u8; 16]) -> Result<(), Stop> {
    let key = key::taken(file);
    if edit.get(&key)?.is_some() {
        return Err(Stop::Taken);
    }
    edit.put(key, Bytes::new());
    Ok(())
}

/// Forgets a file that is gone for good: its name must not come back.
pub fn forget_taken(reads: &dyn Reads, file: &[u8; 16]) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, Utc::default());
    edit.remove(key::taken(file));
    Ok((edit.finish()?, ()))
}

/// Up to `max` files whose messages were taken and that are not forgotten.
pub fn taken(reads: &dyn Reads, max: usize) -> Result<Vec<[u8; 16]>, ReadError> {
    let from = key::in_account(Table::Taken, crate::AccountId(0));
    let mut found = Vec::new();
    scan::range(
        reads,
        Space::Rows,
        &from,
        &key::behind(&from),
        &mut |key, _| {
            if found.len() >= max {
                return Ok(ControlFlow::Break(()));
            }
            let file = key.get(from.len()..).and_then(|file| file.try_into().ok());
            found
                .push(file.ok_or_else(|| ReadError("a file that was taken has no number".into()))?);
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(found)
}
