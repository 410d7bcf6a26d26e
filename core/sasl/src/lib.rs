//! SASL for mail: PLAIN, LOGIN, SCRAM with SHA-256 and SHA-1, with and without channel binding, CRAM-MD5 and EXTERNAL;
//! both sides.
//!
//! Nothing here asks anybody anything: the server side is handed the [`Credentials`] of the user it names, the client
//! side its password. What is stored of a password are SCRAM's StoredKey and ServerKey, which also verify PLAIN.
//!
//! ```
//! use mox_machine::{Secret, Seed};
//! use mox_sasl::{ClientExchange, Credentials, Iterations, Mechanism, ServerExchange, Step};
//!
//! // What a server keeps of a password; a program uses `Iterations::default()` and seeds of its own.
//! let stored = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE)?;
//! let mut server = ServerExchange::new(Mechanism::ScramSha256, &Seed::from_number(2), None);
//! let mut client = ClientExchange::new(
//!     Mechanism::ScramSha256, "mox@localhost", &Secret::new("secret".into()), &Seed::from_number(3), None, 1..=1,
//! )?;
//!
//! // Base64 and the commands around it belong to SMTP or IMAP.
//! let first = client.first();
//! let mut step = server.step(first.as_ref().map(|first| &first.expose()[..]));
//! let user = loop {
//!     step = match step {
//!         Step::Challenge(challenge) => {
//!             let response = client.step(&challenge)?;
//!             server.step(Some(response.expose()))
//!         }
//!         // For a user who does not exist: `Credentials::fake`, which fails as late and as slowly.
//!         Step::NeedCredentials { user } if user == "mox@localhost" => server.credentials(&stored),
//!         Step::NeedCredentials { .. } => unreachable!("there is one user here"),
//!         Step::Done { user } => break user,
//!         Step::Fail(failure) => return Err(failure),
//!     }
//! };
//! client.finish()?; // the server proved that it knows the password too
//! assert_eq!(user, "mox@localhost");
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

mod md5;
pub use md5::HmacMd5;

mod hash;
mod scram;
