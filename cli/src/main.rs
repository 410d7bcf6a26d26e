//! `moxctl`, the one program of mox. Everything is in the library beside it, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_cli::run(std::env::args_os())
}
