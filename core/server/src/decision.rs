//! What becomes of a message that somebody else's server brings, and why: [`decide`], a pure function of [`Facts`].
//!
//! The rules stand in the order of `docs/receiving.md`; the first that decides does. A [`Decision`] keeps every rule that was looked
//! at with its evidence, and the smallest change of the facts that would have turned it. A [`Record`] keeps the facts beside
//! it, so that the same decision can be made again, by anybody, from the record alone.

mod again;
mod change;
mod checked;
mod content;
mod decide;
mod facts;
mod history;
mod otherwise;
mod record;
mod rules;
mod sender;
mod text;
mod ties;
mod under;

pub use change::{Change, smallest_change};
pub use content::{CONTENT_WORDS_MAX, Content, ContentWord};
pub use decide::{Decision, Reason, Rule, Verdict, Weight, decide};
pub use facts::{
    Authenticated, Connection, DmarcAlignment, DmarcFacts, Facts, Listing, Message, Method,
    Quarantine, Recipient, ReportFound, Settings, Signature, Stage, Standing, Strictness, Token,
};
pub use history::{History, Past};
pub use otherwise::Otherwise;
pub use record::{Judgement, LeftOut, RECORD_VERSION, Record, RecordError, lookups};
pub use ties::{Earlier, author_local_part, ties, written_to};
pub use under::{Under, under};
