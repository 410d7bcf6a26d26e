//! SMTP.
#![no_std]

extern crate alloc;

pub mod client;
mod output;
pub mod server;
pub mod wire;
