//! Visiting rows with visitors that may fail.

use bytes::Bytes;
use core::ops::ControlFlow;

use crate::key;
use crate::{ReadError, Reads, Space};

type Visit<'v> = &'v mut dyn FnMut(&[u8], Bytes) -> Result<ControlFlow<()>, ReadError>;

/// Visits rows with keys from `from` to below `to`.
pub(crate) fn range(
    reads: &dyn Reads,
    space: Space,
    from: &[u8],
    to: &[u8],
    visit: Visit<'_>,
) -> Result<(), ReadError> {
    let mut failed = None;
    if from >= to {
        return Ok(());
    }
    reads.scan(space, from, to, &mut |key, value| {
        visit(key, value).unwrap_or_else(|e| {
            failed = Some(e);
            ControlFlow::Break(())
        })
    })?;
    failed.map_or(Ok(()), Err)
}

/// Visits rows whose keys begin with `prefix`.
pub(crate) fn prefix(reads: &dyn Reads, prefix: &[u8], visit: Visit<'_>) -> Result<(), ReadError> {
    range(reads, Space::Rows, prefix, &key::behind(prefix), visit)
}

/// A key that cannot be one of its table.
pub(crate) fn bad_key(table: &str) -> ReadError {
    ReadError(format!("a key of {table} is damaged"))
}
