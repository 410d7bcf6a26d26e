//! Where mail is kept: one committer that alone writes, views that everybody reads, files for big bodies.
//!
//! A [`Store`] is a cheap handle. [`Store::run`] gives the committer an op, a function of the latest state that asks
//! for writes; the result comes when they are durable and published. Everybody else reads [`Store::published`] and
//! nothing else, so nothing is visible before it is durable. Rows are kept by a [`Kv`], body files by a [`Disk`]: each
//! has a version in memory and one for production.

mod backup;
mod bodies;
mod body;
mod commit;
#[cfg(feature = "fjall")]
mod directory;
mod disk;
#[cfg(feature = "fjall")]
mod fjall_kv;
mod fs_disk;
mod in_flight;
#[cfg(feature = "fjall")]
mod journal;
mod kv;
mod lease;
mod leftovers;
mod lock;
mod mark;
mod mem_disk;
mod mem_kv;
mod open;
mod queue;
mod salvage;
mod spool;
mod store;
mod sweep;
mod verify;
mod watch;

pub use backup::{BACKUP_FORMAT, BackedUp, Manifest, RestoreError, Restored, restore};
pub use bodies::{BodyFault, FoundBody, Place, each_body, each_file};
pub use body::{SHARDS, read_body};
pub use commit::{Committer, GROUP_MAX, Group};
#[cfg(feature = "fjall")]
pub use directory::{Claimed, Salvage, restore_directory, verify_directory};
pub use disk::{Capacity, Disk};
#[cfg(feature = "fjall")]
pub use fjall_kv::FjallKv;
pub use fs_disk::FsDisk;
pub use kv::Kv;
pub use lease::Lease;
pub use leftovers::Leftovers;
pub use mark::durable_and_found;
pub use mem_disk::MemDisk;
pub use mem_kv::MemKv;
pub use open::{OpenError, SCHEMA};
pub use salvage::{Octets, Salvaged, Take, salvage};
pub use spool::{BodyFacts, SPOOL_WRITE, Spool, Spooled};
pub use store::{DiskSpace, Options, Published, QUEUE_MAX, Referenced, Run, Store, StoreError};
pub use sweep::Swept;
pub use verify::Verified;
pub use watch::{Topic, Watch};
