//! Other people's servers and clients, most of them bad company, each with an honest ledger.
//!
//! [`serve`] runs a server with a [`Manner`]: what it does differently from a plain one. What it saw and did is in its
//! [`Ledger`]: every final dot, whether the message was kept, and whether the client heard so.
//!
//! ```
//! use mox_driver::Runtime;
//! use mox_sim::peers::{Greylister, serve};
//! use mox_sim::{Dialogue, Knobs, Sim};
//! use std::time::Duration;
//!
//! let sim = Sim::new(1, Knobs::fault_free());
//! let (there, here) = (sim.computer("peer", [10, 0, 0, 9]), sim.computer("here", [10, 0, 0, 1]));
//! let ledger = serve(&there, 25, "mx.peer.example", None, Greylister::new(Duration::from_secs(300)))?;
//! let to = (there.addresses()[0], 25).into();
//! sim.run(async move {
//!     let mut client = Dialogue::new(here.connect(to, None).await?);
//!     client.expect("220").await?;
//!     client.say("EHLO here.example\r\nMAIL FROM:<a@here.example>\r\nRCPT TO:<b@peer.example>\r\n").await?;
//!     client.expect("250").await?;
//!     client.expect("250").await?;
//!     client.expect("451").await
//! })?;
//! assert_eq!(ledger.visits().len(), 1);
//! assert!(ledger.deliveries().is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

mod server;
pub use server::{Act, Manner, Seen, Stage, serve};

mod ledger;
pub use ledger::{Delivered, Ledger, Visit};

mod line;

mod plain;
pub use plain::Plain;
mod greylister;
pub use greylister::Greylister;
mod tarpit;
pub use tarpit::Tarpit;
mod busy;
pub use busy::Busy;
mod dropper;
pub use dropper::Dropper;
mod broken_tls;
pub use broken_tls::{BrokenTls, Flaw};
mod smuggler;
pub use smuggler::Smuggler;
mod hanger;
pub use hanger::Hanger;
mod talker;
pub use talker::{Babble, Talker};
mod confused;
pub use confused::Confused;
mod leaver;
pub use leaver::Leaver;
mod picky;
pub use picky::Picky;
mod silent;
pub use silent::Silent;

mod until;
pub use until::Until;

mod foreign;
pub use foreign::{Foreign, Habit, Parting, visit};
