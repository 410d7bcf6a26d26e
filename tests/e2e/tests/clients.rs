//! Programs that people use for mail send to the server and read from it: with STARTTLS and with TLS from the first
//! octet, over IPv4 and IPv6, and each checks the certificate.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mox_e2e::{Imap, Localserve, PASSWORD, Smtp, have, inbox, run, script, skip};

/// How long an idling client may wait for news.
const NEWS: Duration = Duration::from_secs(10);

/// One way to reach a server.
#[derive(Debug, Clone, Copy)]
struct Way {
    host: &'static str,
    implicit: bool,
}

const WAYS: [Way; 4] = [
    Way {
        host: "127.0.0.1",
        implicit: false,
    },
    Way {
        host: "127.0.0.1",
        implicit: true,
    },
    Way {
        host: "::1",
        implicit: false,
    },
    Way {
        host: "::1",
        implicit: true,
    },
];

impl Way {
    /// As it stands in a URL.
    fn url_host(self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.to_owned(),
        }
    }

    fn submission(self, server: &Localserve) -> String {
        server
            .port(if self.implicit { 465 } else { 587 })
            .to_string()
    }

    fn imap(self, server: &Localserve) -> String {
        server
            .port(if self.implicit { 993 } else { 143 })
            .to_string()
    }

    fn name(self) -> String {
        format!(
            "{}-{}",
            if self.implicit {
                "implicit"
            } else {
                "starttls"
            },
            self.host.replace([':', '.'], "x")
        )
    }
}

/// Lets a client send from u0 in each way, and demands that each message arrives once, over TLS and with the password.
fn each_way_sends(client: &str, programs: &[&str], send: impl Fn(&Localserve, Way, &str)) {
    if !have(client, programs) {
        return;
    }
    let server = Localserve::start(&["--accounts", "1"]);
    for (before, way) in WAYS.into_iter().enumerate() {
        let subject = format!("{client}-{}", way.name());
        send(&server, way, &subject);
        let messages = inbox(&server, "mox@localhost");
        assert_eq!(messages.len(), before + 1, "{way:?}");
        let message = String::from_utf8(messages[before].clone()).unwrap();
        assert!(
            message.contains(&format!("\r\nSubject: {subject}\r\n")),
            "{message}"
        );
        assert!(
            message.starts_with(
                "Return-Path: <u0@localhost>\r\nDelivered-To: mox@localhost\r\nReceived: "
            ),
            "{message}"
        );
        assert!(
            message.replace("\r\n\t", " ").contains(" with ESMTPSA id "),
            "{message}"
        );
        assert!(
            message.contains("\r\nFrom: ") && message.contains("\r\nDate: "),
            "{message}"
        );
        let (_, body) = message.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.trim_end(), format!("Body of {subject}."), "{message}");
    }
    server.stop();
}

fn message(subject: &str) -> String {
    format!(
        "From: u0@localhost\r\nTo: mox@localhost\r\nDate: Tue, 1 Jul 2025 10:00:00 +0000\r\nSubject: {subject}\r\n\r\nBody of {subject}.\r\n"
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_swaks_sends_over_each_way_arrives() {
    // It does without these until TLS or IPv6 is asked of it.
    for module in ["Net::SSLeay", "IO::Socket::INET6"] {
        let found = Command::new("perl")
            .args(["-e", "exit !eval \"require $ARGV[0]\"", module])
            .status();
        if !found.is_ok_and(|status| status.success()) {
            return skip("swaks", &format!("not installed: Perl's {module}"));
        }
    }
    each_way_sends("swaks", &["swaks"], |server, way, subject| {
        let certificate = server.certificate();
        let mut args = vec!["--server", way.host];
        let port = way.submission(server);
        let header = format!("Subject: {subject}");
        let body = format!("Body of {subject}.");
        args.extend([
            "--port",
            &port,
            "--from",
            "u0@localhost",
            "--to",
            "mox@localhost",
        ]);
        args.extend(["--tls-verify", "--tls-ca-path", text(&certificate)]);
        args.extend([if way.implicit {
            "--tls-on-connect"
        } else {
            "--tls"
        }]);
        args.extend([
            "--auth",
            "--auth-user",
            "u0@localhost",
            "--auth-password",
            PASSWORD,
        ]);
        args.extend(["--header", &header, "--body", &body]);
        run("swaks", &args, b"");
    });
}

#[test]
fn what_curl_sends_over_each_way_arrives() {
    each_way_sends("curl", &["curl"], |server, way, subject| {
        let certificate = server.certificate();
        let scheme = if way.implicit { "smtps" } else { "smtp" };
        let url = format!("{scheme}://{}:{}", way.url_host(), way.submission(server));
        let user = format!("u0@localhost:{PASSWORD}");
        let mut args = vec![
            "-sS",
            "--ssl-reqd",
            "--cacert",
            text(&certificate),
            "--url",
            &url,
            "--user",
            &user,
        ];
        args.extend([
            "--mail-from",
            "u0@localhost",
            "--mail-rcpt",
            "mox@localhost",
            "--upload-file",
            "-",
        ]);
        run("curl", &args, message(subject).as_bytes());
    });
}

#[test]
fn what_msmtp_sends_over_each_way_arrives() {
    each_way_sends("msmtp", &["msmtp"], |server, way, subject| {
        let config = format!(
            "account default\nhost {}\nport {}\ntls on\ntls_starttls {}\ntls_trust_file {}\nauth on\n\
             user u0@localhost\npassword {PASSWORD}\nfrom u0@localhost\n",
            way.host,
            way.submission(server),
            if way.implicit { "off" } else { "on" },
            server.certificate().display(),
        );
        let config = server.scratch().write("msmtprc", config);
        fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
        run(
            "msmtp",
            &["-C", text(&config), "mox@localhost"],
            message(subject).as_bytes(),
        );
    });
}

#[test]
fn what_smtplib_sends_over_each_way_arrives() {
    each_way_sends("smtplib", &["python3"], |server, way, subject| {
        let (client, certificate) = (script("smtp_client.py"), server.certificate());
        let mut args = vec![text(&client), way.host];
        let port = way.submission(server);
        args.extend([
            port.as_str(),
            if way.implicit { "implicit" } else { "starttls" },
            text(&certificate),
        ]);
        args.extend(["u0@localhost", PASSWORD, "u0@localhost", "mox@localhost"]);
        run("python3", &args, message(subject).as_bytes());
    });
}

#[test]
fn what_mutt_sends_over_each_way_arrives() {
    each_way_sends("mutt sends", &["mutt"], |server, way, subject| {
        let config = muttrc(server, way);
        let body = format!("Body of {subject}.\n");
        run(
            "mutt",
            &["-F", text(&config), "-s", subject, "--", "mox@localhost"],
            body.as_bytes(),
        );
    });
}

/// Its authentication is named because GNU SASL, left to choose, takes a mechanism with channel binding, for which mutt
/// has no value, and gives up.
fn muttrc(server: &Localserve, way: Way) -> std::path::PathBuf {
    let scheme = if way.implicit { "smtps" } else { "smtp" };
    let config = format!(
        "set from=u0@localhost\nset realname=u0\nset smtp_url=\"{scheme}://u0@localhost:{PASSWORD}@{}:{}\"\n\
         set certificate_file={}\nset ssl_starttls=yes\nset ssl_force_tls=yes\nset ssl_verify_host=yes\n\
         set folder={}\nset record=\nset copy=no\nset imap_user=mox@localhost\nset imap_pass={PASSWORD}\n\
         set smtp_authenticators=\"scram-sha-256\"\nset wait_key=no\nset pipe_decode=no\nset sort=mailbox-order\n",
        way.url_host(),
        way.submission(server),
        server.certificate().display(),
        server.scratch().path().display(),
    );
    server.scratch().write("muttrc", config)
}

/// Puts a message of known content into mox's Inbox over plain SMTP.
fn deliver(server: &Localserve, content: &str) {
    Smtp::connect(server.port(25)).send("u0@localhost", "mox@localhost", content);
}

/// Delivers a message, lets a client read it in each way, and demands the exact octets.
fn each_way_reads(client: &str, programs: &[&str], read: impl Fn(&Localserve, Way) -> Vec<u8>) {
    if !have(client, programs) {
        return;
    }
    let server = Localserve::start(&[]);
    deliver(&server, &message(client));
    let stored = inbox(&server, "mox@localhost");
    assert!(String::from_utf8_lossy(&stored[0]).ends_with(&message(client)));
    for way in WAYS {
        let got = read(&server, way);
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&stored[0]),
            "{way:?}"
        );
    }
    server.stop();
}

#[test]
fn curl_reads_over_each_way() {
    each_way_reads("curl reads", &["curl"], |server, way| {
        let certificate = server.certificate();
        let scheme = if way.implicit { "imaps" } else { "imap" };
        let url = format!(
            "{scheme}://{}:{}/INBOX;MAILINDEX=1",
            way.url_host(),
            way.imap(server)
        );
        let user = format!("mox@localhost:{PASSWORD}");
        run(
            "curl",
            &[
                "-sS",
                "--ssl-reqd",
                "--cacert",
                text(&certificate),
                "--user",
                &user,
                &url,
            ],
            b"",
        )
    });
}

#[test]
fn imaplib_lives_in_a_mailbox() {
    each_way_reads("imaplib", &["python3"], |server, way| {
        let (client, certificate) = (script("imap_client.py"), server.certificate());
        let (port, mailbox) = (way.imap(server), way.name());
        let tls = if way.implicit { "implicit" } else { "starttls" };
        let mut args = vec![text(&client), way.host, &port, tls, text(&certificate)];
        args.extend(["mox@localhost", PASSWORD, &mailbox]);
        run("python3", &args, b"")
    });
}

#[test]
fn mutt_reads_over_each_way() {
    each_way_reads("mutt reads", &["mutt", "script"], |server, way| {
        let config = muttrc(server, way);
        let out = server.scratch().path().join("read");
        let scheme = if way.implicit { "imaps" } else { "imap" };
        let keys = format!("push \"|cat>{}<enter><exit>\"", out.display());
        // mutt wants a terminal.
        let mutt = format!(
            "TERM=xterm mutt -F {} -f '{scheme}://{}:{}/INBOX' -e '{keys}'",
            config.display(),
            way.url_host(),
            way.imap(server)
        );
        run("script", &["-qec", &mutt, "/dev/null"], b"");
        let got = String::from_utf8(fs::read(&out).unwrap()).unwrap();
        fs::remove_file(out).unwrap();
        // What it pipes has the line ends of this system.
        got.replace('\n', "\r\n").into_bytes()
    });
}

#[test]
fn mbsync_reads_and_writes() {
    if !have("mbsync reads and writes", &["mbsync"]) {
        return;
    }
    let server = Localserve::start(&[]);
    deliver(&server, &message("mbsync"));
    for (number, way) in WAYS.into_iter().enumerate() {
        let folder = server.scratch().path().join(way.name());
        fs::create_dir(&folder).unwrap();
        let config = format!(
            "IMAPAccount mox\nHost {}\nPort {}\nUser mox@localhost\nPass {PASSWORD}\nSSLType {}\nCertificateFile {}\n\n\
             IMAPStore far\nAccount mox\n\nMaildirStore near\nPath {folder}/\nInbox {folder}/inbox\nSubFolders Verbatim\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSync All\nSyncState *\n",
            way.host,
            way.imap(&server),
            if way.implicit { "IMAPS" } else { "STARTTLS" },
            server.certificate().display(),
            folder = folder.display(),
        );
        let config = server.scratch().write("mbsyncrc", config);
        let sync = || run("mbsync", &["-c", text(&config), "-a"], b"");
        sync();
        let new = folder.join("inbox/new");
        let fetched: Vec<_> = fs::read_dir(&new)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(fetched.len(), 1, "{way:?}");
        assert!(
            fs::read_to_string(&fetched[0])
                .unwrap()
                .contains("\nSubject: mbsync\n")
        );

        // A mailbox made here, with a message in it, appears there; a flag set here is set there.
        let name = format!("made-{number}");
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(&name).join(part)).unwrap();
        }
        let own = format!("Subject: {name}\n\nWritten here.\n");
        fs::write(folder.join(&name).join("cur/1.1.here:2,FS"), own).unwrap();
        let flagged = fetched[0]
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let flagged = format!("{}F", flagged.trim_end_matches(char::is_alphabetic));
        fs::rename(&fetched[0], folder.join("inbox/cur").join(flagged)).unwrap();
        sync();
        let mut imap = Imap::login(&server, "mox@localhost");
        imap.ok(&format!("SELECT {name}"));
        let lines = imap.ok("FETCH 1:* (FLAGS BODY.PEEK[])");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].text.contains("\\Flagged") && lines[0].text.contains("\\Seen"),
            "{lines:?}"
        );
        let stored = String::from_utf8_lossy(&lines[0].literals[0]).into_owned();
        assert!(stored.ends_with("\r\n\r\nWritten here.\r\n"), "{stored}");
        imap.ok("SELECT INBOX");
        assert_eq!(imap.ok("SEARCH FLAGGED")[0].text, "* SEARCH 1");
        imap.ok("STORE 1 FLAGS ()");

        // What is expunged there goes away here.
        imap.ok(&format!("SELECT {name}"));
        imap.ok("STORE 1 +FLAGS (\\Deleted)");
        imap.ok("EXPUNGE");
        sync();
        assert_eq!(
            fs::read_dir(folder.join(&name).join("cur"))
                .unwrap()
                .count(),
            0,
            "{way:?}"
        );
    }
    server.stop();
}

#[test]
fn an_idling_client_hears_of_new_mail_at_once() {
    let server = Localserve::start(&[]);
    let mut imap = Imap::login(&server, "mox@localhost");
    imap.ok("SELECT INBOX");
    let tag = imap.send("IDLE");
    assert!(imap.line().text.starts_with('+'));
    for number in 1..=3 {
        deliver(&server, &message("idle"));
        let start = Instant::now();
        loop {
            let line = imap.line().text;
            if line == format!("* {number} EXISTS") {
                break;
            }
            assert!(line.starts_with("* "), "{line}");
        }
        assert!(start.elapsed() < NEWS);
    }
    // A change by another session is told as well.
    let mut other = Imap::login(&server, "mox@localhost");
    other.ok("SELECT INBOX");
    other.ok("STORE 2 +FLAGS (\\Deleted)");
    let line = loop {
        let line = imap.line().text;
        // How many are recent and the flags of the newest message may still come after its arrival.
        if line != "* 3 RECENT" && !line.starts_with("* 3 FETCH (") {
            break line;
        }
    };
    assert!(
        line.starts_with("* 2 FETCH (") && line.contains("\\Deleted"),
        "{line}"
    );
    other.ok("EXPUNGE");
    assert_eq!(imap.line().text, "* 2 EXPUNGE");
    imap.raw("DONE\r\n");
    assert!(imap.line().text.starts_with(&format!("{tag} OK")));
    server.stop();
}

#[test]
fn idle_works_under_imaplib() {
    if !have("idle under imaplib", &["python3"]) {
        return;
    }
    let server = Localserve::start(&[]);
    let mut client = Command::new("timeout")
        .args(["60", "python3"])
        .arg(script("imap_idle.py"))
        .args([&server.port(143).to_string(), "mox@localhost", PASSWORD])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "idling");
    deliver(&server, &message("news"));
    assert_eq!(said.next().unwrap().unwrap(), "Subject: news");
    assert!(client.wait().unwrap().success());
    server.stop();
}
