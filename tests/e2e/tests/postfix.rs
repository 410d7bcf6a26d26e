//! Postfix, the server most of the world's mail passes through, delivers to ours and takes mail from it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mox_e2e::{Localserve, Scratch, Smtp, free_base, have, inbox, run, skip, wait_for};

/// How long a message may be under way between two servers on one machine.
const UNDER_WAY: Duration = Duration::from_secs(30);
/// Where Debian keeps what an instance of its own needs.
const POSTFIX_FILES: [&str; 4] = [
    "dynamicmaps.cf",
    "postfix-files",
    "postfix-script",
    "post-install",
];

/// An instance of its own: it keeps mail for peer.example in a Maildir, and sends that for mox.example to a port.
struct Postfix {
    scratch: Scratch,
    port: u16,
}

impl Postfix {
    fn start(next_hop: u16) -> Self {
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
        fs::write(path("postfix/main.cf"), main_cf(scratch.path(), next_hop)).unwrap();
        fs::write(path("postfix/master.cf"), master_cf(port)).unwrap();
        run("chown", &["postfix", path("data").to_str().unwrap()], b"");
        run("chown", &["nobody", path("mail").to_str().unwrap()], b"");
        run(
            "postfix",
            &["-c", path("postfix").to_str().unwrap(), "start"],
            b"",
        );
        Self { scratch, port }
    }

    /// The messages that have come for this user at peer.example.
    fn mail(&self, user: &str) -> Vec<String> {
        let folder = self.scratch.path().join("mail").join(user).join("new");
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

fn main_cf(folder: &Path, next_hop: u16) -> String {
    let folder = folder.display();
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
         virtual_mailbox_domains = peer.example\n\
         virtual_mailbox_base = {folder}/mail\n\
         virtual_mailbox_maps = inline:{{ {{ x@peer.example = x/ }} }}\n\
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

/// With lines that start with dots, a long line, and letters beyond ASCII.
fn message(from: &str, to: &str, subject: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\nMessage-ID: <{subject}@client.example>\r\n\
         Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e.\r\n.\r\n..\r\n.x\r\n{}\r\n",
        "long ".repeat(150)
    )
}

fn send(smtp: &mut Smtp, from: &str, to: &str, content: &str) {
    smtp.command(&format!("MAIL FROM:<{from}> BODY=8BITMIME"), "250");
    smtp.command(&format!("RCPT TO:<{to}>"), "250");
    smtp.raw(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes());
    smtp.expect("250");
}

#[test]
fn postfix_delivers_to_us_and_takes_our_mail() {
    let test = "postfix_delivers_to_us_and_takes_our_mail";
    if !have(test, &["postfix"]) {
        return;
    }
    if !nix::unistd::Uid::effective().is_root() {
        return skip(test, "Postfix starts only as root");
    }
    let base = free_base();
    let postfix = Postfix::start(base + 25);
    let relay = format!("127.0.0.1:{}", postfix.port);
    let server = Localserve::start_at(
        base,
        &[
            "--accounts",
            "1",
            "--domain",
            "mox.example",
            "--relay",
            &relay,
        ],
    );

    // From there to us.
    let hither = message("x@peer.example", "u0@mox.example", "hither");
    send(
        &mut Smtp::connect(postfix.port),
        "x@peer.example",
        "u0@mox.example",
        &hither,
    );
    let got = wait_for("mail from Postfix", UNDER_WAY, || {
        inbox(&server, "u0@localhost").pop()
    });
    let got = String::from_utf8(got).unwrap();
    assert!(got.starts_with("Return-Path: <x@peer.example>\r\nDelivered-To: u0@mox.example\r\nReceived: from mail.peer.example "), "{got}");
    assert!(
        got.replace("\r\n\t", " ").contains(" with ESMTPS id "),
        "{got}"
    );
    assert!(got.ends_with(&hither), "{got}");

    // From us to there.
    let thither = message("u0@mox.example", "x@peer.example", "thither");
    send(
        &mut Smtp::submission(&server, "u0"),
        "u0@mox.example",
        "x@peer.example",
        &thither,
    );
    let got = wait_for("mail for Postfix", UNDER_WAY, || postfix.mail("x").pop());
    assert!(got.starts_with("Return-Path: <u0@mox.example>\n"), "{got}");
    assert!(got.ends_with(&thither.replace("\r\n", "\n")), "{got}");

    // What Postfix refuses comes back with its reason, once.
    let refused = message("u0@mox.example", "nobody@peer.example", "refused");
    send(
        &mut Smtp::submission(&server, "u0"),
        "u0@mox.example",
        "nobody@peer.example",
        &refused,
    );
    let reports = wait_for("the report", UNDER_WAY, || {
        let messages = inbox(&server, "u0@localhost");
        (messages.len() > 1).then_some(messages)
    });
    assert_eq!(reports.len(), 2);
    let report = String::from_utf8_lossy(&reports[1]).replace("\r\n ", " ");
    assert!(report.contains("\r\nStatus: 5.1.1\r\n"), "{report}");
    assert!(
        report.contains("User unknown in virtual mailbox table"),
        "{report}"
    );

    // Twenty over and back at once.
    std::thread::scope(|scope| {
        for number in 0..10 {
            let (server, port) = (&server, postfix.port);
            scope.spawn(move || {
                let hither = message(
                    "x@peer.example",
                    "mox@mox.example",
                    &format!("hither-{number}"),
                );
                send(
                    &mut Smtp::connect(port),
                    "x@peer.example",
                    "mox@mox.example",
                    &hither,
                );
                let thither = message(
                    "mox@mox.example",
                    "x@peer.example",
                    &format!("thither-{number}"),
                );
                send(
                    &mut Smtp::submission(server, "mox"),
                    "mox@mox.example",
                    "x@peer.example",
                    &thither,
                );
            });
        }
    });
    wait_for("all at once", UNDER_WAY, || {
        let (here, there) = (
            inbox(&server, "mox@localhost").len(),
            postfix.mail("x").len(),
        );
        assert!(here <= 10 && there <= 11, "{here} {there}");
        (here == 10 && there == 11).then_some(())
    });
    server.stop();
}
