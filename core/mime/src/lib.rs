//! MIME as a mail store needs it: the structure of a message with offsets, found while its bytes stream by.
#![no_std]

extern crate alloc;

mod types;

pub use types::{Envelope, Inside, Mailbox, Part};
