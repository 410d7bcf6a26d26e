//! Runs any session over any byte stream: the [`Runtime`] and [`Host`] seams, and [`Drive`] between them.
//!
//! A [`Session`](mox_machine::Session) knows a protocol, a [`Runtime`] knows sockets, timers and threads, a [`Host`] answers
//! what the session asks. [`Drive`] moves bytes and answers between the three and owns all state while it does so.

mod drive;
mod host;
mod incoming;
mod outgoing;
mod runtime;

pub use drive::{Drive, End, HIGH, UNTAKEN};
pub use host::Host;
pub use runtime::{Bind, Datagram, Fut, FutRef, Pool, Runtime, Timer};
