//! `moxctl verify`: everything the store says of itself, checked against everything else it says (S1 to S13).

use mox_store::Leftovers;

use crate::args::{Args, Verify};
use crate::backup::data_directory;
use crate::failure::Failure;
use crate::offline::store_dir;

pub(crate) fn run(args: &Args, verify: &Verify) -> Result<(), Failure> {
    let dir = data_directory(args, verify.dir.as_deref())?;
    let place = store_dir(&dir);
    // Opening would make one.
    if !place.is_dir() {
        return Err(Failure::Failed(format!(
            "there is no store in {}; name the data directory with --dir",
            dir.display()
        )));
    }
    let verified = mox_store::verify_directory(&place, verify.full)
        .map_err(|e| Failure::Failed(format!("cannot open the store {}: {e}", place.display())))?;
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
