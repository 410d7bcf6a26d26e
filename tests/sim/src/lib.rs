//! A whole world on one thread, decided by one seed: the simulator's [`Runtime`](mox_driver::Runtime), network and disks.
//!
//! A [`Sim`] is the world, a [`SimRuntime`] one computer in it. Time is virtual: it jumps to the next event when nobody can
//! run. Which ready task runs next, how long a segment travels, where a stream is cut into pieces and what breaks is drawn
//! from the seed. Everything visible from outside a task goes into a trace whose hash is equal for equal seeds.
//!
//! ```
//! use mox_driver::{Runtime, Timer};
//! use mox_sim::{Knobs, Sim};
//! use std::time::Duration;
//!
//! let sim = Sim::new(7, Knobs::fault_free());
//! let computer = sim.computer("one", [10, 0, 0, 1]);
//! sim.run(async move {
//!     let mut timer = computer.timer();
//!     timer.arm(Some(computer.now().mono + Duration::from_secs(86_400)));
//!     std::future::poll_fn(|cx| timer.poll_fired(cx)).await;
//! });
//! assert_eq!(sim.elapsed(), Duration::from_secs(86_400));
//! ```

mod datagram;
mod dialogue;
mod disk;
mod jobs;
mod knobs;
mod kv;
mod net;
mod runtime;
mod sim;
mod slot;
mod timer;
mod trace;

pub use datagram::SimDatagram;
pub use dialogue::{Dialogue, Mail};
pub use disk::SimDisk;
pub use knobs::Knobs;
pub use kv::SimKv;
pub use net::{SimListener, SimStream};
pub use runtime::SimRuntime;
pub use sim::Sim;
pub use timer::SimTimer;
pub use trace::{Fact, Trace};
