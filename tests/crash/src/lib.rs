//! The crash laboratory: the real program under a logger of its file operations, disks as a power failure may leave
//! them, and what its clients were promised.
//!
//! `docs/crash-laboratory.md` says how to run it and how to read what it says.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "everything here serves tests: what is wrong must end them"
)]

mod history;
mod image;
mod judge;
mod laboratory;
mod ledger;
pub mod load;
mod message;
mod order;
mod random;
mod survey;
mod trace;

pub use history::{Change, History, NEVER, Name, NameChange, Named, Node, NodeId, ROOT, Written};
pub use image::{Imager, Keep};
pub use judge::{Verdict, open_image, serve_image};
pub use laboratory::{Fault, Laboratory, scratch, use_program_under_test};
pub use ledger::{Found, Key, Ledger, State};
pub use message::{is_whole, message, name_in};
pub use order::{Ordered, check_order};
pub use random::Random;
pub use survey::{KEPT, Tally, keep, moments, survey};
pub use trace::{Kind, Record, Trace};
