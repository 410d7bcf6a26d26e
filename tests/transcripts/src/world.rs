//! Machines with the worlds of transcripts that are written by hand: what is asked is answered as the header says.

mod imap_server;
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::new_without_default,
    missing_docs,
    missing_debug_implementations,
    reason = "the world of the IMAP crate's tests, as it is; it is never given to a server"
)]
#[path = "../../../core/imap/tests/model/mod.rs"]
pub mod model;
mod smtp_client;
mod smtp_server;

pub use imap_server::{ImapServer, config, happens, told, world};
pub use smtp_client::{SmtpClient, transaction};
pub use smtp_server::{START, SmtpServer, SmtpWorld, server};
