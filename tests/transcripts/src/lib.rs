//! Transcripts: one file is one session, readable in a diff and runnable against a machine.
//!
//! [`Transcript`] is the file, [`run`] plays it against a [`Machine`]. `vectors/README.md` tells the format.

mod base64;
mod capture;
mod escape;
mod file;
mod format;
pub mod imap;
mod play;
mod redact;
mod replay;
pub mod smtp;
mod spelled;
pub mod world;

pub use capture::{About, Capture};
pub use escape::{escape, unescape};
pub use file::{redact, replay};
pub use format::{Entry, FormatError, Line, Transcript};
pub use play::{Fact, Machine, bless, run};
pub use redact::{Redact, Redactor};
pub use spelled::{SECRET, SECRET_TOKEN, Spelled};
