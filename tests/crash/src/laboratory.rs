//! The real program under the shim.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use mox_e2e::Scratch;
use mox_e2e::crash::Victim;

use crate::history::History;
use crate::trace::Trace;

/// An operation that fails from some moment on.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Syncs.
    Sync,
    /// Writes.
    Write,
}

/// A server whose file operations are written down.
#[derive(Debug)]
pub struct Laboratory {
    /// The server. Its data directory is where the record begins.
    pub server: Victim,
    control: File,
    log: PathBuf,
    before: Option<PathBuf>,
}

/// A directory in memory where there is room for one: images are many, and nobody syncs them for good.
pub fn scratch() -> Scratch {
    let memory = Path::new("/dev/shm");
    match nix_free(memory) {
        Some(free) if free > 2 << 30 => Scratch::below(memory),
        _ => Scratch::new(),
    }
}

fn nix_free(place: &Path) -> Option<u64> {
    let output = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(place)
        .output()
        .ok()?;
    String::from_utf8(output.stdout)
        .ok()?
        .lines()
        .nth(1)?
        .trim()
        .parse()
        .ok()
}

/// Has the tests run the program that was built with them.
pub fn use_program_under_test() {
    let test = std::env::current_exe().unwrap();
    let built = test
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("moxctl-under-test");
    mox_e2e::use_program(&built);
}

/// The shim, compiled once.
fn shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let target = test.parent().unwrap().join("crash-shim");
        fs::create_dir_all(&target).unwrap();
        let built = target.join(format!("shim-{}.so", std::process::id()));
        mox_e2e::run(
            "cc",
            &[
                "-std=gnu11",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-shared",
                "-fPIC",
                "-o",
                built.to_str().unwrap(),
                concat!(env!("CARGO_MANIFEST_DIR"), "/src/shim.c"),
                "-ldl",
            ],
            b"",
        );
        let whole = target.join("shim.so");
        // Tests that run at once replace each other's whole file.
        fs::rename(&built, &whole).unwrap();
        whole
    })
}

impl Laboratory {
    /// Starts a server with these options on a copy of a data directory, `None` being a fresh one. With `swallow` its
    /// syncs do nothing.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(data: Option<&Path>, options: &[&str], swallow: bool) -> Self {
        Self::start_with(data, &[], options, swallow)
    }

    /// Starts a server run by another program, as [`Victim::start_under`] does.
    pub fn start_under(before: &[&str], options: &[&str]) -> Self {
        Self::start_with(None, before, options, false)
    }

    fn start_with(data: Option<&Path>, under: &[&str], options: &[&str], swallow: bool) -> Self {
        let scratch = scratch();
        let place = scratch.path().join("data");
        let before = data.map(|data| {
            let before = scratch.path().join("before");
            copy(data, &before);
            copy(data, &place);
            before
        });
        let (log, shared) = (scratch.path().join("trace"), scratch.path().join("control"));
        fs::write(&shared, [0; 80]).unwrap();
        let control = File::options()
            .read(true)
            .write(true)
            .open(&shared)
            .unwrap();
        if swallow {
            control.write_all_at(&1_u32.to_ne_bytes(), 0).unwrap();
        }
        let variables = [
            ("LD_PRELOAD", shim().as_os_str().to_owned()),
            ("MOX_SHIM_ROOT", place.clone().into_os_string()),
            ("MOX_SHIM_LOG", log.clone().into_os_string()),
            ("MOX_SHIM_CONTROL", shared.into_os_string()),
        ];
        let variables = variables.map(|(name, value)| (OsString::from(name), value));
        let mut server = Victim::new(scratch, place, under, options);
        server.set_environment(variables.into());
        server.restart();
        Self {
            server,
            control,
            log,
            before,
        }
    }

    /// Lets operations on files whose path has this in it fail with an error number once so many more were made.
    pub fn fail(&self, fault: Fault, after: u32, error: i32, path: &str) {
        let mut name = [0; 64];
        name[..path.len()].copy_from_slice(path.as_bytes());
        self.control.write_all_at(&name, 16).unwrap();
        self.control.write_all_at(&error.to_ne_bytes(), 12).unwrap();
        self.control.write_all_at(&after.to_ne_bytes(), 8).unwrap();
        let fault: u32 = match fault {
            Fault::Sync => 1,
            Fault::Write => 2,
        };
        self.control.write_all_at(&fault.to_ne_bytes(), 4).unwrap();
    }

    /// Whether an operation has failed.
    pub fn has_failed(&self) -> bool {
        let mut left = [0; 4];
        self.control.read_exact_at(&mut left, 8).unwrap();
        i32::from_ne_bytes(left) < 0
    }

    /// No further operation fails.
    pub fn heal(&self) {
        self.control.write_all_at(&0_u32.to_ne_bytes(), 4).unwrap();
    }

    /// How many operations were written down so far.
    pub fn moment(&self) -> usize {
        Trace::count(&self.log)
    }

    /// What was written down.
    pub fn trace(&self) -> Trace {
        Trace::read(&self.log)
    }

    /// What happened. The server must have ended.
    pub fn history(&self) -> History {
        let trace = Trace::read(&self.log);
        History::read(&trace, self.server.data(), self.before.as_deref())
    }
}

/// Copies a directory, holes included.
fn copy(from: &Path, to: &Path) {
    mox_e2e::run(
        "cp",
        &[
            "-r",
            "--sparse=always",
            from.to_str().unwrap(),
            to.to_str().unwrap(),
        ],
        b"",
    );
}
