//! The IMAP server as a machine: bytes, time and answers go in, bytes, questions and facts come out.
//!
//! [`Server`] implements [`mox_machine::Session`]. What only the world can decide or do is an [`Ask`](server::Ask): who
//! may log in, what a mailbox holds, that an APPEND is durable. The machine has the protocol: framing, grammar, states,
//! sequence numbers, when untagged responses are allowed, limits.
//!
//! A complete loop without a socket:
//!
//! ```
//! use bytes::BytesMut;
//! use mox_imap::Server;
//! use mox_imap::server::{Answer, Ask, BoxId, Config, MailboxInfo, Selected};
//! use mox_machine::{Now, Seed, Session, Step};
//! use std::sync::Arc;
//!
//! let config = Config { clear_auth: true, ..Config::default() };
//! let mut session = Server::new(config, Seed::from_number(1));
//! let mut input = BytesMut::from("a LOGIN me secret\r\nb LIST \"\" *\r\nc SELECT inbox\r\nd LOGOUT\r\n");
//! let mut output = Vec::new();
//!
//! 'session: loop {
//!     // 1. Let the session take what it wants of the input.
//!     let before = input.len();
//!     session.recv(Now::default(), &mut input);
//!     let mut moved = input.len() != before;
//!     // 2. Do what it says, in order. A real driver stops while its socket is not writable.
//!     while let Some(step) = session.poll() {
//!         moved = true;
//!         match step {
//!             Step::Send(bytes) => output.extend_from_slice(&bytes),
//!             Step::Ask(id, ask) => {
//!                 let answer = match ask {
//!                     Ask::Login { user, password } if password.expose() == "secret" => {
//!                         Answer::Authenticated(String::from_utf8_lossy(&user).into_owned())
//!                     }
//!                     Ask::Mailboxes => Answer::Mailboxes(vec![MailboxInfo {
//!                         name: "INBOX".into(),
//!                         subscribed: true,
//!                         exists: true,
//!                         special_use: None,
//!                     }]),
//!                     Ask::Select { .. } => Answer::Selected(Selected {
//!                         mailbox: BoxId(1),
//!                         validity: 7,
//!                         next: 1,
//!                         modseq: 1,
//!                         first_unseen: None,
//!                         recent: Default::default(),
//!                         uids: Arc::default(),
//!                         keywords: vec![],
//!                         writable: true,
//!                     }),
//!                     // Stays open until something changes.
//!                     Ask::Watch { .. } => continue,
//!                     other => panic!("not in this example: {other:?}"),
//!                 };
//!                 session.answer(Now::default(), id, answer);
//!             }
//!             Step::Close => break 'session,
//!             Step::Event(_) | Step::Cancel(_) => {}
//!             Step::StartTls | Step::Compress => unreachable!("not offered"),
//!         }
//!     }
//!     assert!(moved, "a real driver would wait for input, answers or the deadline here");
//! }
//!
//! let output = String::from_utf8(output).unwrap();
//! assert!(output.contains("* LIST (\\HasNoChildren) \"/\" INBOX\r\n"), "{output}");
//! assert!(output.contains("\r\nc OK [READ-WRITE] SELECT completed\r\n"));
//! assert!(output.ends_with("d OK LOGOUT completed\r\n"));
//! ```
#![no_std]

extern crate alloc;

mod search;
pub mod server;
pub mod wire;

pub use search::SearchKey;
pub use server::Server;
