//! A running `moxctl localserve`.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scratch::{Scratch, run, wait_for};

/// The password of every account of a local server.
pub const PASSWORD: &str = "moxmoxmox";

/// Ports that a server listens on, before its base is added.
const PORTS: [u16; 5] = [25, 143, 465, 587, 993];
/// Bases are taken from here on; below the ports that the system gives to outgoing connections.
const BASE_FIRST: u16 = 11_000;
/// Number of bases, and the distance of one from the next: no multiple of it is the distance of two ports.
const BASES: u16 = 280;
const BASE_STEP: u16 = 7;
/// Longest that a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server in a directory of its own. Dropped, it is killed; [`Localserve::stop`] is the orderly end.
#[derive(Debug)]
pub struct Localserve {
    child: Child,
    base: u16,
    scratch: Scratch,
}

/// A number that can be added to the standard ports: nobody listens there now.
///
/// # Panics
/// When there is none.
pub fn free_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at once start at different places.
    let start = (std::process::id() % u32::from(BASES)) as u16;
    for _ in 0..BASES {
        let number = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % BASES;
        let base = BASE_FIRST + number * BASE_STEP;
        let free = |port: &u16| {
            ["127.0.0.1", "::1"].iter().all(|ip| {
                let address = SocketAddr::new(ip.parse().unwrap(), base + port);
                TcpListener::bind(address).is_ok()
            })
        };
        if PORTS.iter().all(free) {
            return base;
        }
    }
    panic!("no free ports");
}

impl Localserve {
    /// Starts a server with these further options, and waits until it serves.
    pub fn start(options: &[&str]) -> Self {
        Self::start_at(free_base(), options)
    }

    /// The same, its ports being known before: see [`free_base`].
    ///
    /// # Panics
    /// When it does not serve in time.
    pub fn start_at(base: u16, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let log = File::create(scratch.path().join("log")).unwrap();
        let child = Command::new(moxctl())
            .args(["localserve", "--port-base", &base.to_string(), "--dir"])
            .arg(scratch.path().join("data"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            base,
            scratch,
        };
        wait_for("a server that starts", PATIENCE, || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("moxctl localserve: {status}\n{}", server.log());
            }
            server.log().contains("mox runs on").then_some(())
        });
        server
    }

    /// A port of it, by its standard number.
    pub fn port(&self, standard: u16) -> u16 {
        self.base + standard
    }

    /// The file of the certificate that it shows.
    pub fn certificate(&self) -> PathBuf {
        self.scratch
            .path()
            .join("data/tls/localhost.certificate.pem")
    }

    /// A directory of the test's own, which lives as long as the server.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.scratch.path().join("log")).unwrap()).into_owned()
    }

    /// What `moxctl` says to these words, asking this server: exit code and stdout.
    pub fn ask(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }

    /// The same, with all there is of it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn command(&self, words: &[&str]) -> Output {
        Command::new(moxctl())
            .arg("--ctl")
            .arg(self.scratch.path().join("data/ctl"))
            .args(words)
            .output()
            .unwrap()
    }

    /// What `moxctl explain --recompute` says of records in JSON, without a server.
    ///
    /// # Panics
    /// When one is decided otherwise now.
    pub fn recomputed(&self, records: &str) -> String {
        let file = self.scratch.write("records.json", records);
        let words = ["explain", "--recompute", "--from", file.to_str().unwrap()];
        let text = run(moxctl().to_str().unwrap(), &words, b"");
        String::from_utf8(text).unwrap()
    }

    /// Ends it, and demands that it ends well and leaves a store that is in order.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = wait_for("a server that stops", PATIENCE, || {
            self.child.try_wait().unwrap()
        });
        assert!(status.success(), "{status}\n{}", self.log());
        let verified = Command::new(moxctl())
            .args(["verify", "--full", "--dir"])
            .arg(self.scratch.path().join("data"))
            .output()
            .unwrap();
        assert!(
            verified.status.success(),
            "{}{}",
            String::from_utf8_lossy(&verified.stdout),
            String::from_utf8_lossy(&verified.stderr)
        );
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }
}

impl Drop for Localserve {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server at {}:\n{}", self.base, self.log());
        }
    }
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Has all tests of this process run another program than the one built beside them.
pub fn use_program(path: &Path) {
    PROGRAM.get_or_init(|| path.to_owned());
}

/// The program: `$MOXCTL`, else the one chosen, else the one built beside the test.
pub fn moxctl() -> PathBuf {
    if let Some(path) = std::env::var_os("MOXCTL") {
        return path.into();
    }
    if let Some(path) = PROGRAM.get() {
        return path.clone();
    }
    let test = std::env::current_exe().unwrap();
    let beside = test.parent().and_then(Path::parent).unwrap().join("moxctl");
    assert!(
        beside.exists(),
        "{} does not exist: build the whole workspace, or name it in MOXCTL",
        beside.display()
    );
    beside
}
