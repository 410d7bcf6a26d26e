//! One file for all targets: each binary runs the target of its own name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mox_targets::run(env!("CARGO_BIN_NAME"), data));
