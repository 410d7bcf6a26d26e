//! `moxctl sendmail`, and moxctl under the name of sendmail: mail that programs of this machine hand over.
//!
//! The message is written to a folder from which the server takes it, at once or when it starts. It is there for good when this
//! ends with 0. Exit codes are those of sysexits.h.

mod flags;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mox_server::config::Static;
use mox_server::{Handing, Wish};
use nix::unistd::{Uid, User};

use crate::args::Args;
use crate::config_files::{ConfigFiles, data_dir, load_static};
use crate::handed::{About, Folder};
use crate::password::os_seed;
use flags::{Flags, Mode};

/// Where the configuration is when nothing else names one: a program that sends mail has any working directory.
const USUAL_CONFIG: &str = "/etc/mox/mox.ron";
/// Where those leave mail who may not read that, unless `$MOXSPOOL` says where.
const USUAL_SPOOL: &str = "/var/spool/mox";
/// Octets read at a time.
const PIECE: usize = 64 * 1024;

/// Exit codes of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Usage = 64,
    Data = 65,
    Io = 74,
    Later = 75,
    Permission = 77,
    Config = 78,
}

type Failed = (Exit, String);

/// The words behind `sendmail`, and the file that `--config` names, when this command line is one of it.
pub(crate) fn words(line: &[OsString]) -> Option<(Option<PathBuf>, Vec<String>)> {
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let (program, rest) = line.split_first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    let alone = |first: &[&str]| {
        let first = first.iter().map(|word| (*word).to_owned());
        Some((None, first.chain(rest.iter().map(text)).collect()))
    };
    match name {
        "sendmail" => return alone(&[]),
        "mailq" => return alone(&["-bp"]),
        "newaliases" => return alone(&["-bi"]),
        _ => {}
    }
    let (mut config, mut at) = (None, 0);
    loop {
        match rest.get(at)?.to_str()? {
            "sendmail" => break,
            "--config" => config = Some(PathBuf::from(rest.get(at + 1)?)),
            "--ctl" | "--loglevel" => {}
            _ => return None,
        }
        at += 2;
    }
    let words: Vec<String> = rest.iter().skip(at + 1).map(text).collect();
    // Help and what else argh knows is its own.
    let is_help = words
        .first()
        .is_some_and(|word| word == "--help" || word == "help");
    (!is_help).then_some((config, words))
}

pub(crate) fn run(config: Option<PathBuf>, words: &[String]) -> ExitCode {
    let flags = match Flags::parse(words) {
        Ok(flags) => flags,
        Err(why) => return told(&(Exit::Usage, why)),
    };
    let done = match flags.mode {
        Mode::Nothing => Ok(()),
        Mode::List => return list(config),
        Mode::Deliver => hand_over(config, flags, &mut io::stdin().lock()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => told(&failed),
    }
}

fn told((exit, why): &Failed) -> ExitCode {
    eprintln!("sendmail: {why}");
    ExitCode::from(*exit as u8)
}

/// `mailq`: what waits in the queue.
fn list(config: Option<PathBuf>) -> ExitCode {
    let path = locate(config);
    let path = path.to_string_lossy();
    let words = ["moxctl", "--config", &path, "queue", "list"].map(OsString::from);
    match Args::parse(words) {
        Ok(args) => match args.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => told(&(Exit::Later, failure.to_string())),
        },
        Err(exit) => exit,
    }
}

/// Never in the working directory, which may be anybody's: root would leave its mail with them.
fn locate(config: Option<PathBuf>) -> PathBuf {
    let named = config.is_some() || std::env::var_os("MOXCONF").is_some();
    ConfigFiles::locate_in(config.or_else(|| (!named).then(|| USUAL_CONFIG.into())))
}

/// Where the message is left, and what has to be known for that.
fn place(config: Option<PathBuf>) -> Result<(Folder, About), Failed> {
    let path = locate(config);
    let named = std::env::var_os("MOXSPOOL").filter(|spool| !spool.is_empty());
    let spool = match named {
        Some(spool) => PathBuf::from(spool),
        None if !is_readable(&path) => PathBuf::from(USUAL_SPOOL),
        None => {
            let failed = |failure: crate::failure::Failure| (Exit::Config, failure.to_string());
            let fixed = load_static(&path).map_err(failed)?;
            let data_dir = data_dir(&path, &fixed);
            match spool_of(&path, &fixed).filter(|_| !may_write(&data_dir)) {
                Some(spool) => spool,
                None => return Ok((Folder::below(&data_dir), About::of(&fixed))),
            }
        }
    };
    match About::read(&spool) {
        Ok(about) => Ok((Folder::spool(spool), about)),
        Err(error) => Err((
            Exit::Permission,
            format!(
                "mail cannot be left in the spool {}: {error}; root and the user of the server need none, and others may send mail \
                 this way where sendmail_spool in mox.ron names a spool and they are in its group, or $MOXSPOOL says which it is",
                spool.display()
            ),
        )),
    }
}

/// The one that the configuration names.
fn spool_of(config: &Path, fixed: &Static) -> Option<PathBuf> {
    let spool = fixed.sendmail_spool.as_ref()?;
    Some(config.parent()?.join(spool))
}

/// Root and the user of the server leave mail in the data directory.
fn may_write(data_dir: &Path) -> bool {
    let user = Uid::effective();
    user.is_root() || std::fs::metadata(data_dir).is_ok_and(|found| found.uid() == user.as_raw())
}

fn hand_over(config: Option<PathBuf>, flags: Flags, input: &mut dyn Read) -> Result<(), Failed> {
    let (folder, about) = place(config)?;
    let seed = os_seed().map_err(|e| (Exit::Later, e.to_string()))?;
    let wish = wish(&about, flags);
    let mut file = folder.begin(&seed).map_err(|e| cannot_write(&folder, &e))?;
    let mut handing = Handing::new(wish);
    let mut piece = vec![0; PIECE];
    let mut out = Vec::new();
    let data = |e: mox_server::Wrong| (Exit::Data, e.to_string());
    loop {
        let count = match input.read(&mut piece) {
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err((Exit::Io, format!("the message cannot be read: {e}"))),
        };
        let read = piece.get(..count).unwrap_or_default();
        let has_ended = count == 0 || handing.push(read, &mut out).map_err(data)?;
        let written = file.write(&out, about.size);
        written.map_err(|e| cannot_write(&folder, &e))?;
        out.clear();
        if has_ended {
            break;
        }
    }
    handing.finish(&mut out).map_err(data)?;
    let done = file.write(&out, about.size).and_then(|()| file.finish());
    done.map_err(|e| cannot_write(&folder, &e))
}

/// What is not there is said to be missing, later.
fn is_readable(path: &Path) -> bool {
    let opened = std::fs::File::open(path);
    !opened.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
}

fn cannot_write(folder: &Folder, error: &io::Error) -> Failed {
    let exit = match error.kind() {
        ErrorKind::PermissionDenied => Exit::Permission,
        ErrorKind::FileTooLarge => Exit::Data,
        _ => Exit::Later,
    };
    (
        exit,
        format!(
            "the message cannot be left in {}: {error}",
            folder.path().display()
        ),
    )
}

fn wish(about: &About, flags: Flags) -> Wish {
    let user = User::from_uid(Uid::current()).ok().flatten();
    let user = user.map_or_else(|| format!("uid{}", Uid::current()), |user| user.name);
    Wish {
        from_header: flags.from_header,
        dot_ends: flags.dot_ends,
        sender: flags.sender,
        full_name: flags.full_name,
        recipients: flags.recipients,
        user,
        host: about.host.clone(),
        dsn: flags.dsn.to_string(),
        rcpt_dsn: flags.rcpt_dsn.to_string(),
    }
}
