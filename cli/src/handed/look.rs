//! What is complete in a folder, and whose turn it is.
//!
//! Members of a spool's group may put into it whatever they like, under any name. None of it is to hide the mail of another.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use super::{Folder, MAIL, NEW, number};

/// After this nobody is still writing a file.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Files taken in one round; the others have their turn in the next one.
pub(super) const FILES_MAX: usize = 1_000;

/// What is in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The numbers of the files whose turn it is, the first one first.
    pub(super) files: Vec<[u8; 16]>,
    /// Complete files in all.
    pub(super) count: usize,
}

/// The complete files of a folder but those that wait. Those that nobody goes on writing are removed.
pub(super) fn complete(folder: &Folder, waiting: &HashSet<[u8; 16]>) -> io::Result<Found> {
    let entries = match fs::read_dir(&folder.path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::default()),
        entries => entries?,
    };
    let (mut turns, mut count) = (Turns::default(), 0);
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some((name, end)) = file_name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let Some(number) = number(name).filter(|_| end == MAIL || end == NEW) else {
            continue;
        };
        let Ok(about) = entry.metadata() else {
            continue;
        };
        let Ok(modified) = about.modified() else {
            continue;
        };
        if end == MAIL {
            count += 1;
            if !waiting.contains(&number) {
                turns.add(about.uid(), (modified, number));
            }
            continue;
        }
        let age = SystemTime::now().duration_since(modified);
        if age.is_ok_and(|age| age > ABANDONED_AFTER) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(Found {
        files: turns.in_order(),
        count,
    })
}

/// The files of each user, of whom the one with the most makes room for others.
#[derive(Debug, Default)]
struct Turns {
    of: HashMap<u32, BTreeSet<(SystemTime, [u8; 16])>>,
    count: usize,
}

impl Turns {
    fn add(&mut self, owner: u32, file: (SystemTime, [u8; 16])) {
        let is_new = self.of.entry(owner).or_default().insert(file);
        self.count += usize::from(is_new);
        if self.count <= FILES_MAX {
            return;
        }
        let by_count = |(_, files): &(&u32, &BTreeSet<_>)| (files.len(), files.last().copied());
        let most = self.of.iter().max_by_key(by_count).map(|(most, _)| *most);
        if let Some(most) = most
            && let Some(files) = self.of.get_mut(&most)
        {
            files.pop_last();
            self.count -= 1;
            if files.is_empty() {
                self.of.remove(&most);
            }
        }
    }

    /// One of each user, the oldest, then the next one of each.
    fn in_order(self) -> Vec<[u8; 16]> {
        let of_each = self.of.into_values();
        let mut all: Vec<_> = of_each
            .flat_map(|files| files.into_iter().enumerate())
            .map(|(turn, (modified, number))| (turn, modified, number))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, _, number)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::name;
    use super::*;

    fn file(at: u64, number: u128) -> (SystemTime, [u8; 16]) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        (at, number.to_be_bytes())
    }

    #[test]
    fn users_take_turns_however_many_files_one_has_and_how_old_they_seem() {
        let mut turns = Turns::default();
        for n in 0..5_000 {
            turns.add(1, file(5_000 - n, u128::from(n)));
        }
        turns.add(2, file(9_001, 10_001));
        turns.add(2, file(9_000, 10_000));
        turns.add(3, file(9_500, 10_002));
        let order = turns.in_order();
        assert_eq!(order.len(), FILES_MAX);
        let first: Vec<u128> = order.into_iter().take(6).map(u128::from_be_bytes).collect();
        assert_eq!(first, [4_999, 10_000, 10_002, 4_998, 10_001, 4_997]);
    }

    #[test]
    fn what_no_program_left_hides_no_mail() {
        let path = std::env::temp_dir().join(format!("mox-look-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Folder::spool(path.clone());
        let mail = |n: u128| path.join(format!("{}.{MAIL}", name(&n.to_be_bytes())));
        for n in 0..10 {
            fs::write(mail(n), "").unwrap();
        }
        for n in 0..10_000_u128 {
            for other in ["refused", "mail.mail", "x"] {
                let other = format!("{}.{other}", name(&n.to_be_bytes()));
                fs::write(path.join(other), "").unwrap();
            }
            fs::write(path.join(format!("{n}.{MAIL}")), "").unwrap();
        }
        let found = complete(&folder, &HashSet::from([3_u128.to_be_bytes()])).unwrap();
        let files: BTreeSet<u128> = found.files.into_iter().map(u128::from_be_bytes).collect();
        assert_eq!(files, [0, 1, 2, 4, 5, 6, 7, 8, 9].into());
        assert_eq!(found.count, 10);
        fs::remove_dir_all(&path).unwrap();
    }
}
