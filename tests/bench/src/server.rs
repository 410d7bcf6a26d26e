//! A `moxctl localserve` to measure: started in a directory of its own, its memory and CPU read from `/proc`.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Added to the standard ports.
const PORT_BASE: u16 = 18_000;
/// Accounts u0 and up.
pub(crate) const ACCOUNTS: usize = 100;
/// Longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How `/proc/PID/stat` counts CPU time on Linux, whatever the kernel's own ticks are.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server. Dropped, it is killed and its directory removed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
    /// From the start of the process to the greeting of IMAP.
    pub(crate) cold_start: Duration,
}

/// What a process occupies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Proportional set size, KiB.
    pub(crate) pss: u64,
    /// Resident set size, KiB.
    pub(crate) resident: u64,
    /// The most that was ever resident since [`Server::reset_peak`], KiB.
    pub(crate) peak: u64,
}

/// The program to measure: `$MOXCTL`, else the one beside this one.
///
/// # Errors
/// When the path of this program is not known.
pub(crate) fn moxctl() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("MOXCTL") {
        return Ok(path.into());
    }
    Ok(std::env::current_exe()?.with_file_name("moxctl"))
}

impl Server {
    /// Starts one with an empty store and waits for its greeting.
    ///
    /// # Errors
    /// When it does not start, or does not greet in time.
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// The same, with further options.
    ///
    /// # Errors
    /// When it does not start, or does not greet in time.
    pub(crate) fn start_with(options: &[&str]) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("mox-bench-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let started = Instant::now();
        let mut server = Self {
            child: spawn(&dir, options)?,
            dir,
            cold_start: Duration::ZERO,
        };
        server.await_greeting(started)?;
        Ok(server)
    }

    /// Ends it in good order and starts it again on what it has stored.
    ///
    /// # Errors
    /// When it does not end or start.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        terminate(&self.child)?;
        self.child.wait()?;
        let started = Instant::now();
        self.child = spawn(&self.dir, &[])?;
        self.await_greeting(started)
    }

    fn await_greeting(&mut self, started: Instant) -> io::Result<()> {
        loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port(143))) {
                let mut greeting = String::new();
                BufReader::new(stream).read_line(&mut greeting)?;
                self.cold_start = started.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("moxctl localserve: {status}")));
            }
            if started.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A port of it, by its standard number.
    pub(crate) fn port(&self, standard: u16) -> u16 {
        PORT_BASE.saturating_add(standard)
    }

    /// The file of the certificate that it shows.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("tls/localhost.certificate.pem")
    }

    /// What it occupies now.
    ///
    /// # Errors
    /// When `/proc` does not tell.
    pub(crate) fn memory(&self) -> io::Result<Memory> {
        let status = self.proc("status")?;
        Ok(Memory {
            pss: field(&self.proc("smaps_rollup")?, "Pss:")?,
            resident: field(&status, "VmRSS:")?,
            peak: field(&status, "VmHWM:")?,
        })
    }

    /// From now on [`Memory::peak`] counts anew.
    ///
    /// # Errors
    /// When the kernel does not let.
    pub(crate) fn reset_peak(&self) -> io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")
    }

    /// Seconds of CPU it has used, user and system.
    ///
    /// # Errors
    /// When `/proc` does not tell.
    pub(crate) fn cpu_seconds(&self) -> io::Result<f64> {
        let stat = self.proc("stat")?;
        // After the name, which is in parentheses, utime and stime are the 12th and 13th field.
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = after_name.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }

    fn proc(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
    }
}

/// Asks a process to end in good order.
///
/// # Errors
/// When there is none.
pub(crate) fn terminate(child: &Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(kill(Pid::from_raw(pid), Signal::SIGTERM)?)
}

fn spawn(dir: &Path, options: &[&str]) -> io::Result<Child> {
    Command::new(moxctl()?)
        .args(["localserve", "--port-base", &PORT_BASE.to_string()])
        .args(["--accounts", &ACCOUNTS.to_string(), "--dir"])
        .arg(dir)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The number after a label, in the way of `/proc/PID/status`.
fn field(text: &str, label: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc has no {label}")))
}
