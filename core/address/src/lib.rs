//! Names and words all mail protocols share: domains, paths, replies and status codes.
//!
//! Feature `idna` adds conversion between U-labels and A-labels and the comparison form of local parts.
#![no_std]

extern crate alloc;

mod domain;
mod path;
mod reply;

pub use domain::{Domain, DomainError};
pub use path::{Host, LocalPart, Path, PathError};
pub use reply::{Enhanced, Reply};
