//! `moxctl verify`: everything the store says of itself, checked against everything else it says (S1 to S13).

use std::path::PathBuf;

use crate::args::{Args, Verify};
use crate::config_files::{ConfigFiles, data_dir, load_static};
use crate::failure::Failure;
use crate::offline::store_dir;

pub(crate) fn run(args: &Args, verify: &Verify) -> Result<(), Failure> {
    let dir = match &verify.dir {
        Some(dir) => dir.clone(),
        None => configured_dir(args)?,
    };
    let place = store_dir(&dir);
    // Opening would make one.
    if !place.is_dir() {
        return Err(Failure::Failed(format!(
            "there is no store in {}; name the data directory with --dir",
            dir.display()
        )));
    }
    let findings = mox_store::verify_directory(&place, true)
        .map_err(|e| Failure::Failed(format!("cannot open the store {}: {e}", place.display())))?;
    if findings.is_empty() {
        println!("{} is in order", place.display());
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    Err(Failure::Failed(format!(
        "{} has {} faults; keep a copy of it before anything else",
        place.display(),
        findings.len()
    )))
}

fn configured_dir(args: &Args) -> Result<PathBuf, Failure> {
    let path = ConfigFiles::locate(args);
    Ok(data_dir(&path, &load_static(&path)?))
}
