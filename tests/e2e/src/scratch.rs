//! Temporary directories, other programs, and tests that cannot run here.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest that one run of another program may take.
const RUN_MAX_SECS: u32 = 300;

/// A directory of one test, removed with its content at the end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Makes an empty one in this directory.
    pub fn below(place: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("mox-e2e-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it and returns where.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Notes that a test could not run; a full check of a change refuses such a note.
pub fn skip(test: &str, why: &str) {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
    fs::create_dir_all(target).unwrap();
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(format!("{target}/skipped.txt"))
        .unwrap();
    // One write, so that the lines of tests that run at once do not mix.
    file.write_all(format!("mox-e2e {test}: {why}\n").as_bytes())
        .unwrap();
}

/// Whether these programs are installed; if not, the test is noted as skipped.
pub fn have(test: &str, programs: &[&str]) -> bool {
    let folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .collect();
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| !folders.iter().any(|folder| folder.join(program).exists()))
        .collect();
    if !missing.is_empty() {
        skip(test, &format!("not installed: {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// The folder of other people's test data; if there is none, the test is noted as skipped.
pub fn vectors(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MAIL_VECTORS").map(PathBuf::from);
    if folder.is_none() {
        skip(test, "no MAIL_VECTORS");
    }
    folder
}

/// A script of this package.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name)
}

/// What Python's own email package reads in a notification: `groups` of fields, `defects`, and the number of `parts`.
///
/// # Panics
/// When it is no notification to it.
pub fn read_by_python(notification: &[u8]) -> serde_json::Value {
    let script = script("notice.py");
    let read = run("python3", &[script.to_str().unwrap()], notification);
    serde_json::from_slice(&read).unwrap()
}

/// Runs a program to its end with this on stdin, and demands success. Returns what it wrote to stdout.
///
/// # Panics
/// When it fails or takes too long, with all it said.
#[track_caller]
pub fn run(program: &str, args: &[&str], stdin: &[u8]) -> Vec<u8> {
    let output = output(program, args, stdin);
    if !output.status.success() {
        panic!(
            "{program} {args:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    output.stdout
}

fn output(program: &str, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new("timeout")
        .arg(RUN_MAX_SECS.to_string())
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read it all has closed its end, and says itself what is wrong.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within the time.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        if start.elapsed() > limit {
            panic!("{what}: not within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
