//! The mailbox engine as pure operations over rows.
//!
//! An operation reads rows through [`Reads`] and answers a [`Batch`] of writes; it keeps no state, does no input or
//! output and knows no clock. One committer runs operations one after the other, so none of them locks anything.

mod body;
mod ids;
mod reads;
mod stop;

pub use body::{BodyHeader, BodyHeaderError, BodyRef, NewBody};
pub use ids::{AccountId, BodyId, MailboxId};
pub use reads::{
    BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, INLINE_BODY_MAX, ReadError, Reads, Space, Touched,
    VALUE_MAX,
};
pub use stop::{Limit, Progress, Stop};
