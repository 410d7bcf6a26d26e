//! Whole servers, started as their users start them, and what is needed to speak to them from outside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "everything here serves tests: what is wrong must end them"
)]

pub mod crash;
mod exim;
mod imap;
mod localserve;
mod name_server;
mod postfix;
mod scratch;
mod served;
mod smtp;
mod stub;
mod unbound;

pub use exim::Exim;
pub use imap::{Imap, inbox};
pub use localserve::{Localserve, PASSWORD, free_base, moxctl, use_program};
pub use name_server::{NameServer, Zone};
pub use postfix::Postfix;
pub use scratch::{Scratch, have, read_by_python, run, script, skip, vectors, wait_for};
pub use served::Served;
pub use smtp::Smtp;
pub use stub::{Stub, Transaction};
pub use unbound::{Signing, Unbound};
