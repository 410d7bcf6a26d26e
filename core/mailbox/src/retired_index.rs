//! What left the queue, by the number of its entry: an index beside the rows, which stand in the order of time.

use bytes::Bytes;
use core::ops::ControlFlow;
use std::collections::BTreeMap;

use crate::edit::Edit;
use crate::key::{self, Table};
use crate::queue::Retired;
use crate::rows::Stored;
use crate::{ReadError, Reads, RetiredAt, Space, Stop, scan};

/// By time, then entry.
type Found = BTreeMap<RetiredAt, Retired>;

/// Recipients of this message leave the queue.
pub(crate) fn remember(edit: &mut Edit<'_>, place: &RetiredAt, message: u64) -> Result<(), Stop> {
    let number = |n: u64| Bytes::copy_from_slice(&n.to_be_bytes());
    let begun = edit.get(&key::retired_index_begun())?;
    // A clock that was ahead would have all be looked through for ever.
    if begun
        .as_ref()
        .and_then(number_in)
        .is_none_or(|secs| place.secs < secs)
    {
        edit.put(key::retired_index_begun(), number(place.secs));
    }
    edit.put(key::retired_index(place), number(message));
    Ok(())
}

/// What left the queue there is forgotten.
pub(crate) fn forget(edit: &mut Edit<'_>, place: &RetiredAt) {
    edit.remove(key::retired_index(place));
}

/// What left the queue of the message that an entry was of, the oldest first, at most `max`; nothing where no such entry left it.
pub fn retired_beside(
    reads: &dyn Reads,
    entry: u64,
    max: usize,
) -> Result<Vec<Retired>, ReadError> {
    let mut message = None;
    visit(reads, entry, &mut |place, of| {
        message = (place.entry == entry).then_some(of);
        ControlFlow::Break(())
    })?;
    if message.is_none() {
        let found = unindexed(reads, 1, &|retired| retired.entry == entry)?;
        message = found.into_values().next().map(|retired| retired.message);
    }
    match message {
        Some(message) => retired_of_message(reads, message, max),
        None => Ok(Vec::new()),
    }
}

/// What left the queue of a message, the oldest first, at most `max`.
pub fn retired_of_message(
    reads: &dyn Reads,
    message: u64,
    max: usize,
) -> Result<Vec<Retired>, ReadError> {
    let mut places = Vec::new();
    // Its entries have numbers that follow each other, the first of them its own.
    visit(reads, message, &mut |place, of| {
        if of != message || places.len() >= max {
            return ControlFlow::Break(());
        }
        places.push(place);
        ControlFlow::Continue(())
    })?;
    let mut found = unindexed(reads, max, &|retired| retired.message == message)?;
    for place in places {
        let key = key::retired(place.secs, place.entry, place.nth);
        // Older programs forget the row alone.
        if let Some(bytes) = reads.get(Space::Rows, &key)? {
            found.insert(place, Retired::decode(&bytes)?);
        }
    }
    Ok(found.into_values().take(max).collect())
}

fn number_in(value: &Bytes) -> Option<u64> {
    value.first_chunk().map(|n| u64::from_be_bytes(*n))
}

/// Visits the index from an entry on: each place, with the message.
fn visit(
    reads: &dyn Reads,
    from: u64,
    visit: &mut dyn FnMut(RetiredAt, u64) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let to = key::behind(&key::queue_all(Table::RetiredIndex));
    let from = key::queue(Table::RetiredIndex, from);
    scan::range(reads, Space::Rows, &from, &to, &mut |key, value| match (
        key::retired_index_at(key),
        number_in(&value),
    ) {
        (Some(place), Some(message)) => Ok(visit(place, message)),
        _ => Err(scan::bad_key("what left the queue")),
    })
}

/// Those that left before there was an index: none, once what leaves is not kept any longer.
fn unindexed(
    reads: &dyn Reads,
    max: usize,
    is_wanted: &dyn Fn(&Retired) -> bool,
) -> Result<Found, ReadError> {
    let begun = reads.get(Space::Rows, &key::retired_index_begun())?;
    let to = match begun.as_ref().and_then(number_in) {
        Some(secs) => key::retired(secs.saturating_add(1), 0, 0),
        None => key::behind(&key::queue_all(Table::Retired)),
    };
    let mut found = Found::new();
    let from = key::queue_all(Table::Retired);
    scan::range(reads, Space::Rows, &from, &to, &mut |key, value| {
        if found.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        let retired = Retired::decode(&value)?;
        if let Some(place) = key::retired_at(key).filter(|_| is_wanted(&retired)) {
            found.insert(place, retired);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}
