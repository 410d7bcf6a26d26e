//! Postfix, the server most of the world's mail passes through.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scratch::{Scratch, run};

/// Where Debian keeps what an instance of its own needs.
const POSTFIX_FILES: [&str; 4] = [
    "dynamicmaps.cf",
    "postfix-files",
    "postfix-script",
    "post-install",
];

/// An instance of its own: it keeps mail for x at some domains in Maildirs, and sends that for mox.example to a port, also what is for
/// `passed` at those domains, which it takes.
#[derive(Debug)]
pub struct Postfix {
    scratch: Scratch,
    port: u16,
}

impl Postfix {
    /// Starts it, as root. `tls` is a PEM file with its key and its certificates.
    pub fn start(next_hop: u16, domains: &[&str], tls: Option<&Path>) -> Self {
        let scratch = Scratch::new();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let path = |name: &str| scratch.path().join(name);
        for folder in ["postfix", "spool", "data", "log", "mail"] {
            fs::create_dir(path(folder)).unwrap();
        }
        for file in POSTFIX_FILES {
            for folder in ["/etc/postfix", "/usr/lib/postfix"] {
                let from = Path::new(folder).join(file);
                if from.exists() && !path("postfix").join(file).exists() {
                    fs::copy(from, path("postfix").join(file)).unwrap();
                }
            }
        }
        let mut settings = main_cf(scratch.path(), next_hop, domains);
        if let Some(file) = tls {
            let file = file.display();
            settings += &format!(
                "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {file}\nsmtpd_tls_received_header = yes\n"
            );
        }
        fs::write(path("postfix/main.cf"), settings).unwrap();
        fs::write(path("postfix/master.cf"), master_cf(port)).unwrap();
        run("chown", &["postfix", path("data").to_str().unwrap()], b"");
        for domain in domains {
            fs::create_dir(path("mail").join(domain)).unwrap();
        }
        run(
            "chown",
            &["-R", "nobody", path("mail").to_str().unwrap()],
            b"",
        );
        run(
            "postfix",
            &["-c", path("postfix").to_str().unwrap(), "start"],
            b"",
        );
        Self { scratch, port }
    }

    /// Its port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The messages that have come for this user at this domain.
    pub fn mail(&self, domain: &str, user: &str) -> Vec<String> {
        let folder = self.scratch.path().join("mail").join(domain);
        let folder = folder.join(user).join("new");
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        entries
            .map(|entry| {
                String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned()
            })
            .collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log/postfix.log")).unwrap_or_default()
    }

    fn config(&self) -> PathBuf {
        self.scratch.path().join("postfix")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of Postfix:\n{}", self.log());
        }
        let _ = Command::new("postfix")
            .arg("-c")
            .arg(self.config())
            .arg("stop")
            .output();
    }
}

fn main_cf(folder: &Path, next_hop: u16, domains: &[&str]) -> String {
    let folder = folder.display();
    let names = domains.join(" ");
    let mailboxes = domains
        .iter()
        .map(|at| format!("{{ x@{at} = {at}/x/ }} {{ passed@{at} = {at}/passed/ }}"));
    let mailboxes = mailboxes.collect::<Vec<_>>().join(" ");
    let passed = domains
        .iter()
        .map(|at| format!("{{ passed@{at} = smtp:[127.0.0.1]:{next_hop} }}"));
    let passed = passed.collect::<Vec<_>>().join(" ");
    format!(
        "compatibility_level = 3.6\n\
         queue_directory = {folder}/spool\n\
         data_directory = {folder}/data\n\
         command_directory = /usr/sbin\n\
         daemon_directory = /usr/lib/postfix/sbin\n\
         shlib_directory = /usr/lib/postfix\n\
         meta_directory = {folder}/postfix\n\
         mail_owner = postfix\n\
         setgid_group = postdrop\n\
         myhostname = mail.peer.example\n\
         myorigin = peer.example\n\
         mydestination =\n\
         local_recipient_maps =\n\
         alias_maps =\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         mynetworks =\n\
         relay_domains = mox.example\n\
         relayhost = [127.0.0.1]:{next_hop}\n\
         smtpd_relay_restrictions = reject_unauth_destination\n\
         smtp_dns_support_level = disabled\n\
         smtpd_peername_lookup = no\n\
         smtp_tls_security_level = may\n\
         virtual_mailbox_domains = {names}\n\
         virtual_mailbox_base = {folder}/mail\n\
         virtual_mailbox_maps = inline:{{ {mailboxes} }}\n\
         transport_maps = inline:{{ {passed} }}\n\
         virtual_uid_maps = static:65534\n\
         virtual_gid_maps = static:65534\n\
         maillog_file_prefixes = {folder}\n\
         maillog_file = {folder}/log/postfix.log\n\
         biff = no\n"
    )
}

fn master_cf(port: u16) -> String {
    let mut services = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
    for line in [
        "pickup unix n - n 60 1 pickup",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "proxymap unix - - n - - proxymap",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "virtual unix - n n - - virtual",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "postlog unix-dgram n - n - 1 postlogd",
    ] {
        services.push_str(line);
        services.push('\n');
    }
    services
}
