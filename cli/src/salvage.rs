//! `moxctl salvage`: the messages of a damaged store as files.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mox_store::{Octets, Salvaged};

use crate::args::{Args, Salvage};
use crate::backup::data_directory;
use crate::failure::Failure;
use crate::offline::{existing_store_dir, make_private_dir};
use crate::printable::printable;

/// Where the rows are opened, as a copy; removed at the end.
const WORK: &str = "rows.copy";
/// The list of all files.
const INDEX: &str = "index.tsv";
/// Octets of one part of a path at most.
const PART_MAX: usize = 100;
/// Files that one name may lead to: names of mailboxes may differ only where a path cannot say so.
const SAME_NAME_MAX: u32 = 1_000;

pub(crate) fn run(args: &Args, salvage: &Salvage) -> Result<(), Failure> {
    let dir = data_directory(args, salvage.dir.as_deref())?;
    let place = existing_store_dir(&dir)?;
    let out = salvage.out.as_path();
    make_private_dir(out)?;
    let mut there = fs::read_dir(out).map_err(|e| Failure::io("write into", out, &e))?;
    if there.next().is_some() {
        return Err(Failure::Failed(format!(
            "{} is not empty; name a new directory with --out",
            out.display()
        )));
    }
    let work = out.join(WORK);
    let opened = mox_store::Salvage::open(&place, &work)
        .map_err(|e| Failure::Failed(format!("cannot read the store {}: {e}", place.display())))?;
    for note in &opened.notes {
        println!("{note}");
    }
    let failed = |e: io::Error| Failure::io("write into", out, &e);
    let mut files = Files::new(out).map_err(failed)?;
    let notes = opened
        .run(&mut |message, octets| files.take(message, octets))
        .map_err(failed)?;
    files.index.flush().map_err(failed)?;
    drop(opened);
    match fs::remove_dir_all(&work) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(Failure::io("remove", &work, &e));
        }
        _ => {}
    }
    for note in &notes {
        println!("{note}");
    }
    println!(
        "{}: {} messages, {} bodies that no message names, {} damaged; {} lists them",
        out.display(),
        files.listed,
        files.unlisted,
        files.damaged,
        out.join(INDEX).display()
    );
    Ok(())
}

/// The files that are written.
struct Files<'o> {
    out: &'o Path,
    index: BufWriter<File>,
    listed: u64,
    unlisted: u64,
    damaged: u64,
}

impl<'o> Files<'o> {
    fn new(out: &'o Path) -> io::Result<Self> {
        let mut index = BufWriter::new(create(&out.join(INDEX))?);
        writeln!(
            index,
            "file\taccount\tmailbox\tuid\tdate\toctets\tbody\tstate"
        )?;
        Ok(Self {
            out,
            index,
            listed: 0,
            unlisted: 0,
            damaged: 0,
        })
    }

    fn take(&mut self, message: &Salvaged, octets: &mut dyn Octets) -> io::Result<()> {
        let account = match &message.account_name {
            Some(name) => name.clone(),
            None => format!("account-{}", message.account.0),
        };
        let mailbox = match &message.mailbox_name {
            Some(name) => name.clone(),
            None => format!("mailbox-{}", message.mailbox.0),
        };
        let body = match message.body {
            Some(id) => format!("{:08x}-{:016x}", id.boot, id.counter),
            None => "unknown".to_owned(),
        };
        let stem = match (message.listed, &message.fault) {
            (true, _) => message.uid.to_string(),
            (false, None) => format!("body-{body}"),
            (false, Some(_)) => format!("damaged-{body}"),
        };
        let mut folder = PathBuf::from(part(&account));
        folder.extend(mailbox.split('/').map(part));
        make_private_dir(&self.out.join(&folder)).map_err(|e| io::Error::other(e.to_string()))?;
        let (name, mut file) = self.file(&folder, &stem)?;
        let mut length = 0;
        let mut state = match &message.fault {
            Some(fault) => fault.to_string(),
            None if message.listed => "message".to_owned(),
            None => "no message names it".to_owned(),
        };
        loop {
            let piece = match octets.next() {
                Ok(piece) => piece,
                Err(e) => {
                    let _ = write!(state, "; cut off: {e}");
                    break;
                }
            };
            if piece.is_empty() {
                break;
            }
            length += piece.len();
            file.write_all(&piece)?;
        }
        match (message.listed, &message.fault) {
            (_, Some(_)) => self.damaged += 1,
            (true, None) => self.listed += 1,
            (false, None) => self.unlisted += 1,
        }
        let date = message.date.to_string();
        writeln!(
            self.index,
            "{}\t{}\t{}\t{}\t{date}\t{length}\t{body}\t{}",
            name.display(),
            printable(&account),
            printable(&mailbox),
            message.uid,
            printable(&state),
        )
    }

    /// A new file; its name below the output directory.
    fn file(&self, folder: &Path, stem: &str) -> io::Result<(PathBuf, File)> {
        for n in 0..SAME_NAME_MAX {
            let name = match n {
                0 => folder.join(format!("{stem}.eml")),
                n => folder.join(format!("{stem}.{n}.eml")),
            };
            match create(&self.out.join(&name)) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                other => return other.map(|file| (name, file)),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A name as one part of a path. Damaged rows may say anything, so it cannot leave its folder.
fn part(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        let plain = c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '@' | '+' | ',' | '&');
        if out.len() >= PART_MAX {
            out.push('~');
            break;
        }
        if plain || (c == '.' && !out.is_empty()) {
            out.push(c);
        } else {
            let mut octets = [0; 4];
            for octet in c.encode_utf8(&mut octets).bytes() {
                let _ = write!(out, "%{octet:02x}");
            }
        }
    }
    if out.is_empty() { "%".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for (name, expected) in [
            ("INBOX", "INBOX"),
            ("Entwürfe 2", "Entwürfe 2"),
            ("..", "%2e."),
            (".", "%2e"),
            ("", "%"),
            ("a/b\\c\0", "a%2fb%5cc%00"),
            ("ann@example.org", "ann@example.org"),
        ] {
            assert_eq!(part(name), expected, "{name:?}");
        }
        assert!(part(&"ü".repeat(500)).len() < 120);
    }
}
