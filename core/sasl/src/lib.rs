//! SASL for mail: PLAIN, LOGIN and SCRAM with SHA-256 and SHA-1, with and without channel binding; both sides.
//!
//! Nothing here asks anybody anything: the server side is handed the [`Credentials`] of the user it names, the client
//! side its password. What is stored of a password are SCRAM's StoredKey and ServerKey, which also verify PLAIN.
//!
//! ```
//! use mox_machine::{Secret, Seed};
//! use mox_sasl::{ClientExchange, Credentials, Iterations, Mechanism, ServerExchange, Step};
//!
//! let stored = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE)?;
//! let mut server = ServerExchange::new(Mechanism::Plain, &Seed::from_number(2), None);
//! let mut client = ClientExchange::new(
//!     Mechanism::Plain, "mox@localhost", &Secret::new("secret".into()), &Seed::from_number(3), None, 1..=1,
//! )?;
//!
//! let first = client.first().expect("PLAIN begins with the client");
//! assert_eq!(server.step(Some(first.expose())), Step::NeedCredentials { user: "mox@localhost".into() });
//! assert_eq!(server.credentials(&stored), Step::Done { user: "mox@localhost".into() });
//! client.finish()?;
//! # Ok::<(), mox_sasl::Failure>(())
//! ```
#![no_std]

extern crate alloc;

mod mechanism;
pub use mechanism::{Failure, Mechanism};

mod credentials;
pub use credentials::{Credentials, Iterations};

mod server;
pub use server::{ServerExchange, Step};

mod client;
pub use client::{ClientExchange, ITERATIONS_ACCEPTED};

mod prepare;
pub use prepare::{PASSWORD_MAX, USER_MAX, prepare_password, prepare_user};

mod hash;
mod scram;
