//! Attempts that came to no end: the server died in them, or could not write down what came of them.

use crate::queue::QueueEntry;
use crate::queue_recipient::Said;

/// What is known of such an attempt.
pub(crate) const NO_END: &str = "the server died before it knew what came of it";

/// Counts the last attempt of an entry as one in which the answer to the final dot was lost, where it came to no end: nobody
/// knows how far it got, so the host may have the message. To be called where no attempt runs.
pub fn count_unended(entry: &mut QueueEntry) {
    let Some(attempt) = entry.attempts.last_mut() else {
        return;
    };
    if attempt.ended.is_some() || attempt.ambiguous {
        return;
    }
    attempt.ambiguous = true;
    attempt.outcome = NO_END.to_owned();
    entry.ambiguous = entry.ambiguous.saturating_add(1);
    for to in &mut entry.recipients {
        let said = to.last.get_or_insert_with(|| Said {
            text: NO_END.to_owned(),
            ..Said::default()
        });
        said.by.ambiguous = said.by.ambiguous.saturating_add(1);
    }
}
