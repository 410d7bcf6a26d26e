//! Recording sessions, as a listener says it.

use std::path::PathBuf;

use serde::Deserialize;

/// Sessions are recorded into a folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename = "capture", deny_unknown_fields)]
pub struct Capture {
    /// Where; relative to the folder of the configuration file.
    pub dir: PathBuf,
    /// Files there at most; the oldest make room.
    #[serde(default = "default_capture_files")]
    pub max_files: u64,
    /// Octets of one file at most; what does not fit is left out and the file says so.
    #[serde(default = "default_capture_octets")]
    pub max_octets: u64,
    /// Local parts and messages are recorded in clear. Passwords never are.
    #[serde(default)]
    pub plain: bool,
}

/// Files of recorded sessions, unless said otherwise.
pub const CAPTURE_FILES_DEFAULT: u64 = 1_000;
/// Octets of a recorded session, unless said otherwise.
pub const CAPTURE_OCTETS_DEFAULT: u64 = 1024 * 1024;
/// The smallest limit for a recorded session: less would not hold its header.
pub const CAPTURE_OCTETS_MIN: u64 = 4_096;
/// The largest limit for a recorded session: it is held in memory.
pub const CAPTURE_OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// The largest limit for the number of recorded sessions.
pub const CAPTURE_FILES_MAX: u64 = 1_000_000;

impl Capture {
    /// What is wrong with the limits, and what to write instead.
    pub fn problem(&self) -> Option<(&'static str, String, String)> {
        if self.dir.as_os_str().is_empty() {
            let remedy = "name a folder, like \"../captures\"".to_owned();
            return Some(("dir", "the path is empty".into(), remedy));
        }
        let (files, octets) = (self.max_files, self.max_octets);
        if !(1..=CAPTURE_FILES_MAX).contains(&files) {
            let problem = format!("{files} files is not between 1 and {CAPTURE_FILES_MAX}");
            let remedy = format!("{CAPTURE_FILES_DEFAULT} is usual");
            return Some(("max_files", problem, remedy));
        }
        if !(CAPTURE_OCTETS_MIN..=CAPTURE_OCTETS_MAX).contains(&octets) {
            let problem = format!(
                "{octets} octets is not between {CAPTURE_OCTETS_MIN} and {CAPTURE_OCTETS_MAX}"
            );
            let remedy = format!("{CAPTURE_OCTETS_DEFAULT} is usual");
            return Some(("max_octets", problem, remedy));
        }
        None
    }
}

const fn default_capture_files() -> u64 {
    CAPTURE_FILES_DEFAULT
}

const fn default_capture_octets() -> u64 {
    CAPTURE_OCTETS_DEFAULT
}
