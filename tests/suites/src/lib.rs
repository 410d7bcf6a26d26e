//! The suites of other projects for SPF, DKIM and DMARC, read from `$MAIL_VECTORS`: each case with its DNS as a master file,
//! for every test that plays them one way or another.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "everything here serves tests: what is wrong must end them"
)]

mod dkim;
mod dmarc;
mod dsn;
mod spf;

pub use dkim::{DkimCase, dkim};
pub use dmarc::{DmarcCase, dmarc};
pub use dsn::notifications;
pub use spf::{SpfCase, spf};

use mox_dns::Name;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of the suites; `None`, and a note under the test's name, where they are not there.
pub fn folder(test: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("MAIL_VECTORS") else {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        fs::create_dir_all(target).unwrap();
        let file = format!("{target}/skipped.txt");
        let mut skipped = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        // One write, so that the lines of tests that run at once do not mix.
        skipped.write_all(format!("{test}\n").as_bytes()).unwrap();
        return None;
    };
    Some(PathBuf::from(folder))
}

/// The JSON values of a file, one a line.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A string as a master file has it.
fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for octet in text {
        match octet {
            b'"' | b'\\' => write!(out, "\\{}", char::from(*octet)).unwrap(),
            b' '..=b'~' => out.push(char::from(*octet)),
            _ => write!(out, "\\{octet:03}").unwrap(),
        }
    }
    out.push('"');
    out
}

/// A name as a master file has it.
fn absolute(text: impl AsRef<[u8]>) -> String {
    match Name::parse(text) {
        Ok(name) if !name.is_root() => format!("{name}."),
        _ => ".".into(),
    }
}
