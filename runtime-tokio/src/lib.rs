//! [`mox_driver::Runtime`] on tokio: embeds any mox session, or the whole server, in a tokio program.
//!
//! A [`TokioRuntime`] is made inside a running tokio runtime and uses its threads: sessions and services are tasks,
//! blocking work runs on tokio's blocking threads, bounded by class. `examples/sink.rs` serves SMTP alone,
//! `examples/whole_server.rs` a whole server with its store in a directory.
//!
//! ```
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use mox_driver::{Bind, Runtime};
//! use mox_machine::Seed;
//! use mox_runtime_tokio::TokioRuntime;
//!
//! # fn main() -> std::io::Result<()> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let runtime = TokioRuntime::current(Seed::from_number(1)); // a program takes `os_seed()?`
//! let listener = runtime.listen(Bind::Addr(([127, 0, 0, 1], 0).into()))?;
//! let mut client = runtime.connect(runtime.local_addr(&listener)?, None).await?;
//! let (mut server, _peer) = runtime.accept(&listener).await?;
//! runtime.spawn_session("greeting", Box::pin(async move {
//!     let _ = server.write_all(b"hello").await;
//! }));
//! let mut heard = String::new();
//! client.read_to_string(&mut heard).await?;
//! assert_eq!(heard, "hello");
//! # Ok(()) }) }
//! ```

mod runtime;
mod sockets;
mod tasks;
mod timer;

pub use runtime::{TokioRuntime, os_seed};
pub use sockets::TokioDatagram;
pub use timer::TokioTimer;
