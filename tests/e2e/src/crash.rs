//! A server that can be killed and started again on the same data, and clients that take a broken connection for an
//! answer like any other.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::localserve::{PASSWORD, moxctl};
use crate::scratch::{Scratch, wait_for};

/// Longest that a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest that a client waits for the server.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// The ports are taken from here on, this many apart.
const BASE_FIRST: u16 = 14_000;
const BASE_STEP: u16 = 7;
const BASES: u16 = 400;

/// A server whose end is part of the test.
#[derive(Debug)]
pub struct Victim {
    child: Option<Child>,
    base: u16,
    options: Vec<String>,
    before: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    data: PathBuf,
    scratch: Scratch,
}

impl Victim {
    /// Starts a server in a fresh directory and waits until it serves.
    pub fn start(options: &[&str]) -> Self {
        Self::start_under(&[], options)
    }

    /// The same, run by another program, which gets the server's command line after these arguments; `{scratch}` in
    /// them is the directory of the test.
    pub fn start_under(before: &[&str], options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let data = scratch.path().join("data");
        Self::start_in(scratch, data, before, options)
    }

    /// The same, with this data directory.
    pub fn start_in(scratch: Scratch, data: PathBuf, before: &[&str], options: &[&str]) -> Self {
        let mut victim = Self::new(scratch, data, before, options);
        victim.restart();
        victim
    }

    /// A server that is not started yet.
    pub fn new(scratch: Scratch, data: PathBuf, before: &[&str], options: &[&str]) -> Self {
        let place = scratch.path().display().to_string();
        Self {
            child: None,
            base: free_base(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            before: before
                .iter()
                .map(|b| b.replace("{scratch}", &place))
                .collect(),
            environment: Vec::new(),
            data,
            scratch,
        }
    }

    /// Starts from now on have these variables in their environment, and none of those set before.
    pub fn set_environment(&mut self, variables: Vec<(OsString, OsString)>) {
        self.environment = variables;
    }

    /// Starts it again after its end and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn restart(&mut self) {
        if let Err(status) = self.try_restart() {
            panic!("moxctl localserve: {status}\n{}", self.log());
        }
    }

    /// The same; how it ended when it did so instead.
    pub fn try_restart(&mut self) -> Result<(), ExitStatus> {
        self.spawn();
        let path = self.scratch.path().join("log");
        let child = self.child.as_mut().unwrap();
        let started = wait_for("a server that starts", PATIENCE, || {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(Err(status));
            }
            let log = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            log.contains("mox runs on").then_some(Ok(()))
        });
        if started.is_err() {
            self.child = None;
        }
        started
    }

    /// Starts its process and waits for nothing.
    pub fn spawn(&mut self) {
        let log = File::create(self.scratch.path().join("log")).unwrap();
        let mut line = self.before.clone();
        line.push(moxctl().display().to_string());
        let (program, arguments) = line.split_first().unwrap();
        let child = Command::new(program)
            .args(arguments)
            .args(["localserve", "--port-base", &self.base.to_string(), "--dir"])
            .arg(&self.data)
            .args(&self.options)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// A port of it, by its standard number.
    pub fn port(&self, standard: u16) -> u16 {
        self.base + standard
    }

    /// Its data directory.
    pub fn data(&self) -> &PathBuf {
        &self.data
    }

    /// The directory of the test.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// What it has said since its last start.
    pub fn log(&self) -> String {
        // There is none before the first start.
        let log = std::fs::read(self.scratch.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// SIGKILL: no part of it can do anything more.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Its process, or that of the program which runs it.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).unwrap()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// SIGTERM, to the server itself and not to the program that runs it; returns how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let mut pid = child.id();
        if !self.before.is_empty() {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            pid = children
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .parse()
                .unwrap();
        }
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGTERM).unwrap();
        wait_for("a server that stops", PATIENCE, || {
            child.try_wait().unwrap()
        })
    }

    /// Demands that `moxctl verify --full` finds nothing in the store. The server must not run. Returns the number of
    /// files left of deliveries that a sudden end cut short: they are no finding (S6).
    #[track_caller]
    pub fn verify_killed(&self) -> u32 {
        let output = command(&["verify", "--full", "--dir", self.data.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (first, last) = match text.lines().collect::<Vec<_>>()[..] {
            [last] => ("", last),
            [first, last] => (first, last),
            _ => panic!("verify: {}", said(&output)),
        };
        let in_order = output.status.success() && last.ends_with("is in order");
        assert!(in_order, "verify: {}", said(&output));
        if first.is_empty() {
            return 0;
        }
        let number = first
            .strip_prefix("note: ")
            .and_then(|n| n.split(' ').next());
        number.and_then(|n| n.parse().ok()).expect(first)
    }

    /// The same after a stop in order: nothing may be left either.
    #[track_caller]
    pub fn verify_clean(&self) {
        assert_eq!(self.verify_killed(), 0);
    }

    /// Waits until the server has swept its body files, as it does after each start, and returns how many it removed.
    pub fn swept(&self) -> u32 {
        let line = wait_for("a sweep", PATIENCE, || {
            let log = self.log();
            let line = log.lines().find(|l| l.contains("body files are swept"));
            line.map(str::to_owned)
        });
        let number = line.split_once("removed=").map(|(_, rest)| rest);
        let number = number.and_then(|n| n.split_whitespace().next()?.parse().ok());
        number.expect(&line)
    }

    /// How it ended by itself; waits for that.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if !self.before.is_empty() {
                let pid = child.id();
                let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
                for inner in children.unwrap_or_default().split_whitespace() {
                    if let Ok(inner) = inner.parse() {
                        let _ = kill(Pid::from_raw(inner), Signal::SIGKILL);
                    }
                }
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server at {}:\n{}", self.base, self.log());
        }
    }
}

/// Runs moxctl to its end.
pub fn command(arguments: &[&str]) -> Output {
    Command::new(moxctl())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A number that can be added to the standard ports and that no other test of this program has.
fn free_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(BASES)) as u16;
    for _ in 0..BASES {
        let number = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % BASES;
        let base = BASE_FIRST + number * BASE_STEP;
        let free =
            |port: &u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], base + port))).is_ok();
        if [25, 143, 465, 587, 993].iter().all(free) {
            return base;
        }
    }
    panic!("no free ports");
}

/// An untagged line of IMAP with the last literal in it.
pub type Untagged = (String, Vec<u8>);
/// The untagged lines before an OK, and the OK.
pub type Answer = (Vec<Untagged>, String);

/// A connection of lines, on which everything may fail.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
    tag: u32,
}

impl Wire {
    /// Connects; nothing is read yet.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(CLIENT_PATIENCE))?;
        stream.set_write_timeout(Some(CLIENT_PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            tag: 0,
        })
    }

    /// How long a write may wait for the server to read.
    pub fn write_patience(&mut self, limit: Duration) -> io::Result<()> {
        self.stream.get_ref().set_write_timeout(Some(limit))
    }

    /// Connects to an SMTP port and says EHLO.
    pub fn smtp(port: u16) -> io::Result<Self> {
        let mut wire = Self::connect(port)?;
        wire.reply()?;
        wire.ask("EHLO client.example")?;
        Ok(wire)
    }

    /// Connects to an IMAP port and logs in.
    pub fn imap(port: u16, user: &str) -> io::Result<Self> {
        let mut wire = Self::connect(port)?;
        wire.line()?;
        wire.command(&format!("LOGIN {user} {PASSWORD}"))?;
        Ok(wire)
    }

    /// Sends these octets.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(octets.as_ref())
    }

    /// No more will be sent.
    pub fn end(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(std::net::Shutdown::Write)
    }

    /// One line without its end.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// All that comes until the server closes.
    pub fn rest(&mut self) -> io::Result<String> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(String::from_utf8_lossy(&rest).into_owned())
    }

    /// The last line of an SMTP reply.
    pub fn reply(&mut self) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// Sends an SMTP command and returns the reply to it.
    pub fn ask(&mut self, command: &str) -> io::Result<String> {
        self.send(format!("{command}\r\n"))?;
        self.reply()
    }

    /// Sends an IMAP command and returns its untagged lines, each with its last literal, and the OK. Another answer
    /// is an error of kind `Other`.
    pub fn command(&mut self, command: &str) -> io::Result<Answer> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.send(format!("{tag} {command}\r\n"))?;
        self.answer(&tag)
    }

    /// The answer to the IMAP command with this tag.
    pub fn answer(&mut self, tag: &str) -> io::Result<Answer> {
        let mut lines = Vec::new();
        loop {
            let mut line = self.line()?;
            let mut literal = Vec::new();
            while let Some(size) = literal_size(&line) {
                literal = vec![0; size];
                self.stream.read_exact(&mut literal)?;
                line.push(' ');
                line.push_str(&self.line()?);
            }
            match line.strip_prefix(tag) {
                Some(rest) if rest.starts_with(" OK") => return Ok((lines, line)),
                Some(_) => return Err(io::Error::other(line)),
                None => lines.push((line, literal)),
            }
        }
    }
}

fn literal_size(line: &str) -> Option<usize> {
    let (_, size) = line.strip_suffix('}')?.rsplit_once('{')?;
    size.parse().ok()
}

/// Messages of a mailbox from this UID on: UID and content.
pub fn fetch(port: u16, user: &str, mailbox: &str, from: u32) -> io::Result<Vec<(u32, Vec<u8>)>> {
    let mut wire = Wire::imap(port, user)?;
    wire.command(&format!("EXAMINE {mailbox}"))?;
    let (lines, _) = wire.command(&format!("UID FETCH {from}:* (UID BODY.PEEK[])"))?;
    let messages = lines
        .into_iter()
        .filter(|(line, _)| line.contains(" FETCH "));
    let found = messages.map(|(line, content)| {
        let uid = line.split_once("UID ").map(|(_, rest)| rest);
        let digits = uid.and_then(|rest| rest.split([' ', ')']).next());
        (digits.and_then(|d| d.parse().ok()).unwrap(), content)
    });
    Ok(found.filter(|(uid, _)| *uid >= from).collect())
}
