//! The contract every protocol machine of mox obeys, and the small types all of them share.
//!
//! A protocol core is a [`Session`]: bytes, time and answers go in; bytes, questions ([`Step::Ask`])
//! and facts ([`Step::Event`]) come out, in the order they became true. It has no runtime, no thread,
//! no clock and no randomness of its own: time is handed in as [`Now`], randomness as [`Seed`].
//!
//! The rules R1 to R10 that a `Session` keeps are written on the trait.
#![no_std]

extern crate alloc;

mod line;
mod mutant;
#[cfg(feature = "mutants")]
pub mod mutants;
mod recorded;
mod secret;
mod seed;
mod session;
mod time;

pub use line::{Line, LineReader};
pub use recorded::{Record, Recordable, Recorded, Tape, TapeRoom};
pub use secret::Secret;
pub use seed::{Rng, Seed};
pub use session::{AskId, AskIds, Session, Step, TlsFacts};
pub use time::{Civil, Mono, Now, Utc, Weekday};
