//! The production runtime: smol's pieces under [`mox_driver::Runtime`].
//!
//! One executor per thread, each session pinned to the thread that had the fewest when it came; services share a thread of
//! their own; blocking work runs on pools bounded by class. The reactor is async-io's.

mod runtime;
mod sockets;
mod stream;
mod threads;
mod timer;

pub use runtime::{SmolRuntime, os_seed};
pub use stream::{SmolDatagram, SmolStream};
pub use threads::Health;
pub use timer::SmolTimer;
