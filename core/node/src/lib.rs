//! A whole mail server on any runtime: listeners, TLS, the worlds of SMTP and IMAP sessions, the outgoing queue.
//!
//! [`Bound::bind`] takes the sockets, [`Node::start`] serves on them over a [`mox_store::Store`], [`Node::drain`] stops.
//! Whoever opens the store behind sockets that answer already takes the steps of `start` one by one: [`Bound::greet`],
//! [`Greeting::open`], [`Node::admit`].
//! Everything here is plain async code over a [`mox_driver::Runtime`]; the simulator runs the same code.

mod a_labels;
mod all;
mod auth;
mod backtest;
mod budget;
mod capture;
mod composed;
mod config;
mod conn;
mod connections;
mod control;
mod deflate;
mod front;
mod imap_in;
mod in_order;
mod junk;
mod limiters;
mod listen;
mod mta_sts;
mod node;
mod peer;
mod postmaster;
mod proxied;
mod queue_admin;
mod queue_out;
mod registry;
mod reports_out;
mod reread;
mod resolve;
mod smtp_in;
mod suppressing;
mod sync;
mod tls;
mod transports;

pub use budget::BODIES_IN_FLIGHT_MAX;
pub use capture::{Captured, CapturedSession, Captures};
pub use config::{Config, ListenerConfig, MtaSts, Outgoing, Receiving, Sending, Service};
pub use conn::Conn;
pub use connections::ConnectionLimits;
pub use control::Explained;
pub use deflate::{COMPRESSION_MAX, Deflate};
pub use front::{Bound, Greeting};
pub use mox_server::config::Offers;
pub use mox_server::limiter::LoginLimits;
pub use mta_sts::fetch_policy;
pub use node::{DRAIN_TIMEOUT, Node, StartError};
pub use queue_admin::{Change, History, Queued, Selection, Wanted};
pub use queue_out::{DryRun, UNTOLD};
pub use resolve::Resolver;
pub use smtp_in::{HandIn, NotTaken};
pub use tls::{HANDSHAKE_TIMEOUT, TlsError, server_config};
pub use transports::Transport;
