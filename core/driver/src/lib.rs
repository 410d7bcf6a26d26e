//! Runs any session over any byte stream: the [`Runtime`] and [`Host`] seams,.
//!
//! A [`Session`](mox_machine::Session) knows a protocol, a [`Runtime`] knows sockets, timers and threads, a [`Host`] answers
//! what the session asks. The driver moves bytes and answers between the three and owns all state while it does so.

mod host;
mod runtime;

pub use host::Host;
pub use runtime::{Bind, Datagram, Fut, Pool, Runtime, Timer};
