//! SMTP.
#![no_std]

extern crate alloc;

mod output;
pub mod server;
pub mod wire;
