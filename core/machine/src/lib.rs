//! The contract every protocol machine of mox obeys, and the small types all of them share.
//!
//! A protocol core is a [`Session`]: bytes, time and answers go in; bytes, questions ([`Step::Ask`])
//! and facts ([`Step::Event`]) come out, in the order they became true. It has no runtime, no thread,
//! no clock and no randomness of its own: time is handed in as [`Now`], randomness as [`Seed`].
//!
//! The rules R1 to R10 that a `Session` keeps are written on the trait. Whoever runs one needs a loop like this; it is
//! the same for every protocol. (`mox-driver` has it for sockets, as one future for any runtime.)
//!
//! ```
//! use bytes::BytesMut;
//! use mox_machine::{AskId, AskIds, Line, LineReader, Mono, Now, Session, Step, TlsFacts};
//! use std::collections::VecDeque;
//! use std::time::Duration;
//!
//! /// Greets whoever says a name, once the world told how.
//! #[derive(Default)]
//! struct Greeter {
//!     ids: AskIds,
//!     lines: LineReader,
//!     steps: VecDeque<Step<String, &'static str>>,
//!     open: Option<AskId>,
//!     idle: Option<Mono>,
//! }
//!
//! impl Session for Greeter {
//!     type Ask = String;
//!     type Answer = String;
//!     type Event = &'static str;
//!
//!     fn recv(&mut self, now: Now, input: &mut BytesMut) {
//!         if !self.wants_read() { return }
//!         match self.lines.take(input, 80) {
//!             Line::Incomplete => {}
//!             Line::Complete(name) => {
//!                 let id = self.ids.next_id();
//!                 self.open = Some(id);
//!                 self.idle = Some(now.mono + Duration::from_secs(60));
//!                 self.steps.push_back(Step::Ask(id, String::from_utf8_lossy(&name).into()));
//!             }
//!             Line::BadEnding(_) | Line::TooLong => self.steps.push_back(Step::Close),
//!         }
//!     }
//!     fn answer(&mut self, _: Now, id: AskId, answer: String) {
//!         if self.open == Some(id) { // R5: others are ignored
//!             self.open = None;
//!             self.steps.push_back(Step::Send(answer.into()));
//!         }
//!     }
//!     fn eof(&mut self, _: Now) { self.steps.push_back(Step::Close) }
//!     fn drain(&mut self, _: Now) { self.steps.push_back(Step::Close) }
//!     fn secured(&mut self, _: Now, _: TlsFacts) {}
//!     fn deadline(&self) -> Option<(Mono, &'static str)> { self.idle.map(|at| (at, "idle")) }
//!     fn tick(&mut self, now: Now) {
//!         if self.idle.take_if(|at| *at <= now.mono).is_some() {
//!             self.steps.extend([Step::Event("timeout"), Step::Close]);
//!         }
//!     }
//!     fn wants_read(&self) -> bool { self.open.is_none() }
//!     fn poll(&mut self) -> Option<Step<String, &'static str>> { self.steps.pop_front() }
//! }
//!
//! let mut session = Greeter::default();
//! let mut now = Now::default(); // a program reads its clocks
//! let mut arrivals = VecDeque::from(["An", "n\r\nBob\r\n"]); // and its socket
//! let (mut input, mut output, mut facts) = (BytesMut::new(), Vec::new(), Vec::new());
//!
//! 'session: loop {
//!     // 1. Let the session take what it wants of the input.
//!     let before = input.len();
//!     session.recv(now, &mut input);
//!     let mut moved = input.len() < before;
//!     // 2. Do what it says, in order.
//!     while let Some(step) = session.poll() {
//!         moved = true;
//!         match step {
//!             Step::Send(bytes) => output.extend_from_slice(&bytes),
//!             Step::Ask(id, name) => session.answer(now, id, format!("Hello {name}!\r\n")),
//!             Step::Event(fact) => facts.push(fact),
//!             Step::Cancel(_) => {} // an answer that takes time is not needed any more
//!             Step::StartTls | Step::Compress => unreachable!("this protocol has neither"),
//!             Step::Close => break 'session,
//!         }
//!     }
//!     if moved { continue }
//!     // 3. Nothing moves: wait for bytes, an answer, or the deadline. Here the bytes that come are known.
//!     match arrivals.pop_front() {
//!         Some(bytes) => input.extend_from_slice(bytes.as_bytes()), // none at the end of the stream: `eof`
//!         None => {
//!             let (at, _why) = session.deadline().expect("it would wait for ever");
//!             now.mono = at;
//!             session.tick(now);
//!         }
//!     }
//! }
//! assert_eq!(output, b"Hello Ann!\r\nHello Bob!\r\n");
//! assert_eq!(facts, ["timeout"]);
//! ```
#![no_std]

extern crate alloc;

mod fault;
pub mod faults;
mod line;
mod mutant;
#[cfg(feature = "mutants")]
pub mod mutants;
mod pieces;
mod recorded;
mod rfc3339;
mod secret;
mod seed;
mod session;
mod time;

pub use line::{Line, LineReader};
pub use recorded::{Record, Recordable, Recorded, Tape, TapeRoom};
pub use rfc3339::{Rfc3339, Zone};
pub use secret::Secret;
pub use seed::{Rng, Seed};
pub use session::{AskId, AskIds, Session, Step, TlsFacts};
pub use time::{Civil, Mono, Now, Utc, Weekday};
