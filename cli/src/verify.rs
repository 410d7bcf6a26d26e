//! `moxctl verify`: everything the store says of itself, checked against everything else it says (S1 to S13).

use std::os::unix::net::UnixStream;
use std::path::Path;

use mox_store::{Leftovers, OpenError};

use crate::args::{Args, Verify};
use crate::backup::data_directory;
use crate::failure::Failure;
use crate::offline::existing_store_dir;

pub(crate) fn run(args: &Args, verify: &Verify) -> Result<(), Failure> {
    let dir = data_directory(args, verify.dir.as_deref())?;
    let place = existing_store_dir(&dir)?;
    let verified = mox_store::verify_directory(&place, verify.full).map_err(|e| match e {
        OpenError::Locked { .. } => in_use(&dir),
        e => Failure::Failed(format!("cannot open the store {}: {e}", place.display())),
    })?;
    let findings = &verified.findings;
    let Leftovers { files, octets } = verified.leftovers;
    if files > 0 {
        println!(
            "note: {files} body files with {octets} octets are left of deliveries that a sudden end cut short; nothing refers to them, and the next start of the server removes them"
        );
    }
    if findings.is_empty() {
        println!("{} is in order", place.display());
        return Ok(());
    }
    for finding in findings {
        println!("{finding}");
    }
    Err(Failure::Failed(format!(
        "{} has {} faults; keep a copy of it before anything else",
        place.display(),
        findings.len()
    )))
}

/// Somebody else has the store open. Only what does not change can be checked.
fn in_use(dir: &Path) -> Failure {
    let socket = dir.join("ctl");
    let who = match UnixStream::connect(&socket) {
        Ok(_) => format!(
            "a server runs on {} and answers on {}",
            dir.display(),
            socket.display()
        ),
        Err(_) => format!(
            "a server, or another command, has the store of {} open",
            dir.display()
        ),
    };
    Failure::Failed(format!(
        "{who}: stop it and verify then, or check a copy while it runs: moxctl backup COPY, then moxctl restore COPY --dir NEW, which verifies what it restores"
    ))
}
