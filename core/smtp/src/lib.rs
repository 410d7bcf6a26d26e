//! SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033) as pure state machines.
//!
//! [`server::Server`] and [`client::Client`] are [`Session`](mox_machine::Session)s: bytes, time and answers go in;
//! bytes, questions and facts come out. They do no input or output, know no clock and no runtime. [`wire`] is the
//! language alone.
//!
//! This is a whole server, with a store in memory and one client that knows what it wants:
//!
//! ```
//! use bytes::BytesMut;
//! use mox_address::{Domain, Reply};
//! use mox_machine::{Now, Session, Step};
//! use mox_smtp::server::{Answer, Ask, Config, Server};
//!
//! let now = Now::default(); // a program reads its clocks
//! let config = Config::new(Domain::parse("mx.example", false)?);
//! let mut server = Server::new(config, now);
//! let mut input = BytesMut::from(
//!     "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nHello.\r\n.\r\nQUIT\r\n",
//! );
//! let (mut output, mut message) = (Vec::new(), Vec::new());
//!
//! 'session: loop {
//!     while let Some(step) = server.poll() {
//!         match step {
//!             Step::Send(bytes) => output.extend_from_slice(&bytes),
//!             Step::Ask(id, ask) => {
//!                 let answer = match ask {
//!                     Ask::Recipient { to, .. } if to.to_string() != "b@mx.example" => {
//!                         Answer::Reply(Reply::new(550, 1, 1, "No such user"))
//!                     }
//!                     Ask::Body(piece) => {
//!                         message.extend_from_slice(&piece);
//!                         Answer::Accept
//!                     }
//!                     // A real store answers when the message is durable, and not before.
//!                     Ask::Commit { .. } => Answer::Stored { id: "1".into() },
//!                     _ => Answer::Accept,
//!                 };
//!                 server.answer(now, id, answer);
//!             }
//!             Step::Event(_) | Step::Cancel(_) => {}
//!             Step::StartTls | Step::Compress => unreachable!("not offered"),
//!             Step::Close => break 'session,
//!         }
//!     }
//!     // A program reads from its socket here, waits until `server.deadline()`, calls `server.tick(now)` then,
//!     // and `server.eof(now)` when the peer is done.
//!     if server.wants_read() {
//!         server.recv(now, &mut input);
//!     }
//! }
//! assert_eq!(message, b"Hello.\r\n");
//! assert!(output.starts_with(b"220 mx.example ESMTP\r\n250-mx.example\r\n"));
//! assert!(output.ends_with(b"250 2.0.0 1 stored\r\n221 2.0.0 Bye\r\n"));
//! # Ok::<(), mox_address::DomainError>(())
//! ```
#![no_std]

extern crate alloc;

pub mod client;
mod output;
pub mod server;
mod weight;
pub mod wire;
