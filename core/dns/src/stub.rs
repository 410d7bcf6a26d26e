//! A stub resolver without I/O: it makes packets, judges what comes back, and says what to do next.
//!
//! Whoever has sockets drives a [`Lookup`]:
//!
//! ```text
//! loop {
//!     match lookup.next(now) {
//!         Do::SendUdp { server, bytes } => a fresh socket on a random port, connected to server: send
//!         Do::SendTcp { server, bytes } => connect, write all; read two octets of length and the message they announce
//!         Do::WaitUntil(at) => whichever comes first: a datagram => lookup.datagram(now, server, &it),
//!                              the TCP message => lookup.tcp(now, &it), an I/O error => lookup.failed(now), the time
//!         Do::Finished(answer) => break answer
//!     }
//! }
//! ```
//!
//! A new `SendUdp` or `SendTcp` makes the socket before it useless. [`Cache`] remembers answers.

mod config;
pub use config::{ResolverConfig, SERVERS_MAX};

mod wire;
pub use wire::{CHAIN_MAX, RECORDS_MAX, TXT_MAX};

mod lookup;
pub use lookup::{Do, Lookup};

mod cache;
pub use cache::{Cache, CacheLimits};
