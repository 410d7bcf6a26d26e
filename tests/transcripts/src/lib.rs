//! Transcripts: one file is one session, readable in a diff and runnable against a machine.
//!
//! [`Transcript`] is the file, [`run`] plays it against a [`Machine`]. `vectors/README.md` tells the format.

mod escape;
mod format;
mod play;

pub use escape::{escape, unescape};
pub use format::{Entry, FormatError, Line, Transcript};
pub use play::{Fact, Machine, bless, run};
