//! `moxctl replay` and `moxctl capture redact`: recorded sessions, played and made fit for others to see.

use std::path::{Path, PathBuf};

use crate::args::{CaptureRedact, Replay};
use crate::failure::Failure;
use crate::files;
use crate::password::os_seed;

/// A file that is larger is no recorded session.
const FILE_MAX: u64 = 1 << 30;

pub(crate) fn run(replay: &Replay) -> Result<(), Failure> {
    let mut failed = 0;
    for path in named(&replay.files)? {
        match mox_transcripts::replay(&read(path)?, replay.cuts) {
            Ok(()) => println!("ok {}", path.display()),
            Err(why) => {
                failed += 1;
                println!("{}:{why}", path.display());
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(Failure::Failed(format!(
            "{n} of {} did not go as recorded",
            replay.files.len()
        ))),
    }
}

pub(crate) fn redact(redact: &CaptureRedact) -> Result<(), Failure> {
    // One key for all files of a call: the same address is the same name in all of them.
    let seed = os_seed()?.child("redact", 0);
    for path in named(&redact.files)? {
        let text = mox_transcripts::redact(&read(path)?, *seed.bytes()).map_err(|why| {
            Failure::Failed(format!("{}:{why}; the file is as it was", path.display()))
        })?;
        match &redact.to {
            None => {
                files::replace(path, text.as_bytes())
                    .map_err(|e| Failure::io("write", path, &e))?;
                println!("redacted {}", path.display());
            }
            Some(dir) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                let to = dir.join(name);
                files::create_new(&to, text.as_bytes(), 0o600)
                    .map_err(|e| Failure::io("write", &to, &e))?;
                println!("redacted {} into {}", path.display(), to.display());
            }
        }
    }
    Ok(())
}

fn named(files: &[PathBuf]) -> Result<&[PathBuf], Failure> {
    if files.is_empty() {
        return Err(Failure::Usage(
            "no file is named; name .session files, as moxctl serve --capture writes them".into(),
        ));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String, Failure> {
    let size = std::fs::metadata(path).map_err(|e| Failure::io("read", path, &e))?;
    if size.len() > FILE_MAX {
        return Err(Failure::Failed(format!(
            "{} is larger than any recorded session",
            path.display()
        )));
    }
    let octets = std::fs::read(path).map_err(|e| Failure::io("read", path, &e))?;
    String::from_utf8(octets).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        Failure::Failed(format!(
            "{}:{line}: this is not UTF-8, so it is no .session file; name one that moxctl serve --capture wrote",
            path.display()
        ))
    })
}
