//! Why a command did not do what it should, and the exit code that says so.

use core::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

/// Why a command failed, in words for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It could not be done. Exit code 1.
    Failed(String),
    /// It was asked for wrongly. Exit code 2.
    Usage(String),
    /// It needs a running server and there is none. Exit code 3.
    NoServer(String),
    /// A part of a running server broke. Exit code 70 (sysexits: software error), as when the process ends at once for it:
    /// the supervisor starts it again.
    Broken(String),
}

impl Failure {
    /// A failure to do something with a file.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => {
                let user = nix::unistd::Uid::effective();
                format!(
                    "; give it and its folder to the user that runs this (chown, user id {user})"
                )
            }
            _ => String::new(),
        };
        Self::Failed(format!(
            "cannot {doing} {}: {error}{remedy}",
            path.display()
        ))
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NoServer(_) => 3,
            Self::Broken(_) => 70,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) | Self::Usage(why) | Self::NoServer(why) | Self::Broken(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for Failure {}
