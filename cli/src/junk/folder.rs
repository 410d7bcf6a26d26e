//! Messages in a folder, one a file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Octets of a message that are looked at; the filter looks at far less of its text.
const MESSAGE_MAX: u64 = 16 << 20;
/// Folders within each other.
const DEPTH_MAX: usize = 16;

/// The files of a folder and of the folders in it, in the order of their names. Names that begin with a dot are left out, and
/// in a Maildir everything but `cur` and `new`.
pub(super) fn messages(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    add(folder, 0, &mut files)?;
    files.sort();
    Ok(files)
}

fn add(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if depth > DEPTH_MAX {
        return Err(Failure::Failed(format!(
            "{} is more than {DEPTH_MAX} folders deep",
            folder.display()
        )));
    }
    let cannot = |e: io::Error| Failure::io("read the folder", folder, &e);
    let is_maildir = folder.join("cur").is_dir() && folder.join("new").is_dir();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let name = entry.file_name();
        let is_left_out = name.as_encoded_bytes().starts_with(b".")
            || (is_maildir && name != "cur" && name != "new");
        if is_left_out {
            continue;
        }
        let path = entry.path();
        // A link to a file is as good as the file; one to a folder might lead back here.
        if entry.file_type().map_err(cannot)?.is_dir() {
            add(&path, depth + 1, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// A message from a file, or from stdin. A line that tells of the envelope, as in an mbox, is taken off.
pub(super) fn read(path: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let mut octets = Vec::new();
    let read = match path {
        None => io::stdin()
            .lock()
            .take(MESSAGE_MAX)
            .read_to_end(&mut octets),
        Some(path) => {
            File::open(path).and_then(|file| file.take(MESSAGE_MAX).read_to_end(&mut octets))
        }
    };
    read.map_err(|e| Failure::io("read", path.unwrap_or_else(|| Path::new("stdin")), &e))?;
    if octets.starts_with(b"From ") {
        let line = octets.iter().position(|b| *b == b'\n');
        octets.drain(..line.map_or(octets.len(), |at| at + 1));
    }
    Ok(octets)
}
