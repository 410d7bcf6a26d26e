//! The server side of SMTP, submission and LMTP.

mod ask;
mod auth;
mod commands;
mod config;
mod mail;
mod message;
mod recorded;
mod session;
mod slots;
mod slow;

pub use ask::{Answer, Ask, BodyKind, CloseReason, Event, MailParams, Unfit, Violation};
pub use config::{Config, Limits, Mode};
pub use session::Server;
