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

mod client;
mod datagram;
mod dialogue;
mod disk;
mod dns;
mod faults;
mod jobs;
mod knobs;
mod kv;
mod machine;
mod many;
mod names;
mod net;
mod oracle;
pub mod peers;
mod plaintext;
pub mod plan;
mod runtime;
mod sim;
mod sites;
mod slot;
mod stream;
mod summary;
mod survey;
mod timer;
mod tls;
mod trace;
mod world;

pub use datagram::SimDatagram;
pub use dialogue::{Dialogue, Mail};
pub use disk::{DiskManner, SimDisk};
pub use dns::{DnsManner, name_server};
pub use faults::FAULTS;
pub use knobs::Knobs;
pub use kv::{KvManner, SimKv};
pub use many::many;
pub use net::SimListener;
pub use plan::Plan;
pub use runtime::SimRuntime;
pub use sim::Sim;
pub use sites::{SITES, SITES_ELSEWHERE, SiteCount};
pub use stream::{Receipt, SimStream};
pub use summary::Summary;
pub use timer::SimTimer;
pub use trace::{Fact, Trace};
pub use world::{Outcome, lone_server, run, run_in, run_kept};
