//! Runs any session over any byte stream: the [`Runtime`] and [`Host`] seams, and [`Drive`] between them.
//!
//! A [`Session`](mox_machine::Session) knows a protocol, a [`Runtime`] knows sockets, timers and threads, a [`Host`] answers
//! what the session asks. [`Drive`] moves bytes and answers between the three and owns all state while it does so.
//!
//! An SMTP server on a socket; on tokio it is the same with a `TokioRuntime`:
//!
//! ```
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use mox_driver::{Bind, Drive, End, Host, Runtime};
//! use mox_machine::{AskId, Seed, Session};
//! use mox_runtime_smol::SmolRuntime;
//! use mox_smtp::server::{Answer, Ask, Config, Event, Server};
//! use std::collections::VecDeque;
//! use std::task::{Context, Poll};
//!
//! /// Takes everything and forgets it. What takes time is done elsewhere, and wakes the driver when it is done.
//! #[derive(Default)]
//! struct Blackhole(VecDeque<(AskId, Answer)>);
//!
//! impl Host<Server> for Blackhole {
//!     fn ask(&mut self, id: AskId, ask: Ask) {
//!         self.0.push_back((id, match ask {
//!             Ask::Commit { .. } => Answer::Stored { id: "nowhere".into() },
//!             _ => Answer::Accept,
//!         }));
//!     }
//!     fn cancel(&mut self, id: AskId) { self.0.retain(|(asked, _)| *asked != id) }
//!     fn event(&mut self, _: Event) {}
//!     fn poll_answer(&mut self, _: &mut Context<'_>) -> Poll<(AskId, Answer)> {
//!         self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
//!     }
//! }
//!
//! let runtime = SmolRuntime::start(1, Seed::from_number(1))?; // a program takes `os_seed()?`
//! let listener = runtime.listen(Bind::Addr(([127, 0, 0, 1], 0).into()))?;
//! let address = runtime.local_addr(&listener)?;
//! let config = Config::new(mox_address::Domain::parse("mx.example", false)?);
//!
//! let serving = runtime.clone();
//! runtime.spawn_service("smtp", Box::pin(async move {
//!     while let Ok((stream, _peer)) = serving.accept(&listener).await {
//!         let (runtime, mut session) = (serving.clone(), Server::new(config.clone(), serving.now()));
//!         serving.spawn_session("smtp", Box::pin(async move {
//!             let mut host = Blackhole::default();
//!             match Drive::new(runtime, &mut session, stream, &mut host).await {
//!                 End::Closed | End::Reset(_) => {}
//!                 // With `Config::starttls`: do the handshake over this stream, tell `session.secured`, and drive on.
//!                 End::Upgrade(_stream) | End::Compress(_stream) => unreachable!("not offered"),
//!             }
//!         }));
//!     }
//! }));
//!
//! let said = "HELO c\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nHello.\r\n.\r\nQUIT\r\n";
//! let heard = runtime.run_until(async {
//!     let mut client = runtime.connect(address, None).await?;
//!     client.write_all(said.as_bytes()).await?;
//!     let mut heard = String::new();
//!     client.read_to_string(&mut heard).await.map(|_| heard)
//! })?;
//! assert!(heard.ends_with("250 2.0.0 nowhere stored\r\n221 2.0.0 Bye\r\n"), "{heard}");
//! # runtime.stopping();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod drive;
mod host;
mod incoming;
mod inherited;
mod outgoing;
mod places;
mod runtime;

pub use drive::{Drive, End, HIGH, UNTAKEN};
pub use host::Host;
pub use inherited::Inherited;
pub use places::{Place, Places};
pub use runtime::{Bind, Datagram, Fut, FutRef, Pool, Runtime, Timer};
