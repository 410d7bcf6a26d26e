//! A running `moxctl serve`, on this machine only, from files that quickstart made.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::localserve::{free_base, moxctl};
use crate::scratch::{Scratch, run, wait_for};

/// Longest that a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whom it becomes when the tests run as root.
const USER: &str = "nobody";

/// A server of ann@example.org, host mx.example.org. Dropped, it is killed.
#[derive(Debug)]
pub struct Served {
    child: Option<Child>,
    base: u16,
    password: String,
    scratch: Scratch,
}

impl Served {
    /// Makes a configuration that gives outgoing mail to this server, and starts one.
    ///
    /// # Panics
    /// When it does not serve in time.
    pub fn start(relay: &str) -> Self {
        let mut server = Self::prepare(relay);
        server.resume();
        server
    }

    /// Makes the configuration only.
    ///
    /// # Panics
    /// When there is none.
    pub fn prepare(relay: &str) -> Self {
        let (scratch, base) = (Scratch::new(), free_base());
        let place = scratch.path().join("mail");
        let place = place.to_str().unwrap();
        let args = [
            "quickstart",
            "ann@example.org",
            "--dir",
            place,
            "--hostname",
            "mx.example.org",
        ];
        let said = run(moxctl().to_str().unwrap(), &args, b"");
        let said = String::from_utf8(said).unwrap();
        let is_password = |line: &&str| {
            line.len() == 27 && line.starts_with("    ") && line.matches('-').count() == 3
        };
        let password = said.lines().find(is_password).unwrap().trim().to_owned();
        let server = Self {
            child: None,
            base,
            password,
            scratch,
        };
        let (smtp, submission, imap) = (server.port(25), server.port(587), server.port(143));
        let text = format!(
            r#"(
                data_dir: "../data",
                user: "{USER}",
                hostname: "mx.example.org",
                listeners: {{
                    "loopback": (
                        ips: ["127.0.0.1"],
                        tls: self_signed,
                        smtp: (port: {smtp}),
                        submission: (port: {submission}, no_require_starttls: true),
                        imap: (port: {imap}, no_require_starttls: true),
                    ),
                }},
                postmaster: (account: "ann", mailbox: "Postmaster"),
                resolvers: ["127.0.0.1:1"],
                relay: "{relay}",
            )"#
        );
        fs::write(server.config(), text).unwrap();
        server.give_away();
        server
    }

    /// What root wrote becomes the server's own.
    pub fn give_away(&self) {
        if Uid::effective().is_root() {
            let place = self.scratch.path().join("mail");
            run("chown", &["-R", USER, place.to_str().unwrap()], b"");
        }
    }

    /// Starts the server, after [`prepare`](Self::prepare) or [`stop`](Self::stop).
    ///
    /// # Panics
    /// When it does not serve in time.
    pub fn resume(&mut self) {
        let log = File::create(self.scratch.path().join("log")).unwrap();
        let child = Command::new(moxctl())
            .arg("--config")
            .arg(self.config())
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        wait_for("a server that starts", PATIENCE, || {
            let status = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(status.is_none(), "moxctl serve: {status:?}\n{}", self.log());
            self.log().contains("mox serves").then_some(())
        });
    }

    /// Ends it, and demands that it ends well.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = wait_for("a server that stops", PATIENCE, || {
            child.try_wait().unwrap()
        });
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Ends it at once, as the system does that runs out of memory.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Its `mox.ron`.
    pub fn config(&self) -> PathBuf {
        self.folder().join("mox.ron")
    }

    /// The folder of its configuration.
    pub fn folder(&self) -> PathBuf {
        self.scratch.path().join("mail/config")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("mail/data")
    }

    /// A port of it, by its standard number.
    pub fn port(&self, standard: u16) -> u16 {
        self.base + standard
    }

    /// The password of ann@example.org.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A directory of the test's own, which lives as long as this.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// What it has said since it was started last.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.scratch.path().join("log")).unwrap()).into_owned()
    }

    /// Runs moxctl with its configuration, and demands success; what it printed.
    #[track_caller]
    pub fn moxctl(&self, args: &[&str]) -> String {
        let config = self.config();
        let args = [&["--config", config.to_str().unwrap()], args].concat();
        String::from_utf8(run(moxctl().to_str().unwrap(), &args, b"")).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
