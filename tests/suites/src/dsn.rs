//! Notifications that servers of all kinds sent.

use std::fs;
use std::process::Command;

use crate::folder;

/// The notifications of sixty kinds of servers, by name, as they are: their lines end in many ways. `None`, and a note under the
/// test's name, where they are not there.
pub fn notifications(test: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let archive = folder(test)?.join("dsn/dsn-open.tar.zst");
    let place = std::env::temp_dir().join(format!("mox-{test}-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "-xf"])
        .arg(archive)
        .arg("-C")
        .arg(&place);
    assert!(tar.status().unwrap().success());
    let (mut found, mut folders) = (Vec::new(), vec![place.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(&place).unwrap().to_string_lossy();
                    found.push((name.into_owned(), fs::read(&path).unwrap()));
                }
            }
        }
    }
    fs::remove_dir_all(&place).unwrap();
    found.sort();
    Some(found)
}
