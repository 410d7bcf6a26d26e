//! Exim, unpacked and not installed: Debian's package of it excludes Postfix's.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::scratch::{Scratch, run, skip, wait_for};

/// Longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An instance of its own, for `peer.example` and `far.example`. It takes mail for everybody there but `refused@peer.example`, and
/// learns only then that nobody at `peer.example` gets it, and what the next server says of `far.example`. What it has to tell
/// `mox.example` goes to a port.
#[derive(Debug)]
pub struct Exim {
    scratch: Scratch,
    child: Child,
    port: u16,
}

impl Exim {
    /// Starts it, as root; mail for `far.example` goes on to the second port. `None`, and the test is noted as skipped, where there
    /// is none.
    pub fn start(test: &str, ours: u16, far: u16) -> Option<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            skip(test, "Exim starts only as root");
            return None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/exim");
        let Ok(folder) = folder.canonicalize() else {
            skip(test, "no Exim in target/exim: .ci/run fetches it");
            return None;
        };
        let scratch = Scratch::new();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let program = folder.join("usr/sbin/exim4");
        let path = |name: &str| scratch.path().join(name);
        for name in ["spool", "log"] {
            fs::create_dir(path(name)).unwrap();
            run("chown", &["nobody", path(name).to_str().unwrap()], b"");
        }
        // The program looks for the user that it was built for before it reads anything. Only it sees this one.
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let users = scratch.write(
            "passwd",
            users + "Debian-exim:x:65533:65533::/:/bin/false\n",
        );
        let groups = fs::read_to_string("/etc/group").unwrap();
        let groups = scratch.write("group", groups + "Debian-exim:x:65533:\n");
        let settings = settings(&program, scratch.path(), port, ours, far);
        let settings = scratch.write("exim.conf", settings);
        let libraries = folder.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let child = Command::new(&program)
            .arg("-C")
            .arg(settings)
            .args(["-bdf", "-q1s"])
            .env("LD_LIBRARY_PATH", &libraries)
            .env("LD_PRELOAD", libraries.join("libnss_wrapper.so"))
            .env("NSS_WRAPPER_PASSWD", users)
            .env("NSS_WRAPPER_GROUP", groups)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut exim = Self {
            scratch,
            child,
            port,
        };
        wait_for("Exim", PATIENCE, || {
            let ended = exim.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}\n{}", exim.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(exim)
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        let log = |name: &str| -> PathBuf { self.scratch.path().join("log").join(name) };
        ["mainlog", "paniclog"]
            .map(|name| fs::read_to_string(log(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of Exim:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(program: &Path, folder: &Path, port: u16, ours: u16, far: u16) -> String {
    let (program, folder) = (program.display(), folder.display());
    format!(
        "exim_path = {program}\n\
         exim_user = nobody\n\
         exim_group = nogroup\n\
         never_users =\n\
         keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP\n\
         primary_hostname = mail.peer.example\n\
         qualify_domain = peer.example\n\
         spool_directory = {folder}/spool\n\
         log_file_path = {folder}/log/%slog\n\
         pid_file_path = {folder}/exim.pid\n\
         disable_ipv6 = true\n\
         local_interfaces = <; [127.0.0.1]:{port}\n\
         host_lookup =\n\
         tls_advertise_hosts =\n\
         dsn_advertise_hosts = *\n\
         acl_smtp_rcpt = rcpt\n\
         begin acl\n\
         rcpt:\n\
         \x20 deny recipients = refused@peer.example\n\
         \x20      message = 5.1.1 nobody of that name\n\
         \x20 accept domains = peer.example : far.example\n\
         begin routers\n\
         gone:\n\
         \x20 driver = redirect\n\
         \x20 domains = peer.example\n\
         \x20 allow_fail\n\
         \x20 data = :fail: who had this address has left\n\
         on:\n\
         \x20 driver = manualroute\n\
         \x20 domains = mox.example : far.example\n\
         \x20 transport = ${{if eq{{$domain}}{{mox.example}}{{ours}}{{far}}}}\n\
         \x20 route_list = * 127.0.0.1\n\
         \x20 self = send\n\
         begin transports\n\
         ours:\n\
         \x20 driver = smtp\n\
         \x20 port = {ours}\n\
         \x20 allow_localhost\n\
         far:\n\
         \x20 driver = smtp\n\
         \x20 port = {far}\n\
         \x20 allow_localhost\n\
         begin retry\n\
         * * F,1h,1s\n"
    )
}
