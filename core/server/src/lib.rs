//! Pure decisions of a mail server: configuration, whose an address is, what a message is.

pub mod config;
mod lookup;

pub use lookup::{AddressError, Directory, DomainRules, Found, Postmaster};
