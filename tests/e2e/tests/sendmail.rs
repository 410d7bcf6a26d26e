//! Mail that programs of this machine hand over: taken once the command ends with 0, and sent once.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mox_e2e::{Served, Stub, moxctl, skip, wait_for};

/// How long a message may be under way between two processes on one machine.
const UNDER_WAY: Duration = Duration::from_secs(30);

fn begin(server: &Served, args: &[&str]) -> Child {
    Command::new(moxctl())
        .arg("--config")
        .arg(server.config())
        .arg("sendmail")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Exit code, and what was said.
fn sendmail(server: &Served, args: &[&str], message: &str) -> (i32, String) {
    let mut child = begin(server, args);
    let _ = child.stdin.take().unwrap().write_all(message.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

/// How often each subject arrived.
fn subjects(stub: &Stub) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for taken in stub.taken() {
        let text = String::from_utf8_lossy(&taken.message()).into_owned();
        let subject = text.split("\r\nSubject: ").nth(1).unwrap();
        let subject = subject.lines().next().unwrap().to_owned();
        *counts.entry(subject).or_default() += 1;
    }
    counts
}

fn left(server: &Served) -> usize {
    match fs::read_dir(server.data().join("handed")) {
        Ok(files) => files
            .filter(|file| {
                let name = file.as_ref().unwrap().file_name();
                name.to_str().unwrap().ends_with(".mail")
            })
            .count(),
        Err(_) => 0,
    }
}

#[test]
fn a_program_hands_over_a_message_and_it_leaves_complete_and_signed() {
    let stub = Stub::taking();
    let server = Served::start(&stub.address());
    let message = "From: Ann <ann@example.org>\nTo: bob@far.example\nBcc: carl@far.example\nSubject: from cron\n\n.\nbody\n";
    let done = sendmail(&server, &["-t", "-oi", "-f", "ann@example.org"], message);
    assert_eq!(done, (0, String::new()));
    wait_for("a message", UNDER_WAY, || {
        (stub.taken().len() == 1).then_some(())
    });
    let taken = stub.taken().remove(0);
    assert!(
        taken.mail.starts_with("MAIL FROM:<ann@example.org>"),
        "{}",
        taken.mail
    );
    assert_eq!(
        taken.rcpt,
        ["RCPT TO:<bob@far.example>", "RCPT TO:<carl@far.example>"]
    );
    let text = String::from_utf8(taken.message()).unwrap();
    assert_eq!(text.matches("DKIM-Signature: ").count(), 2, "{text}");
    assert!(
        text.contains("\r\nMessage-ID: <") && text.contains("\r\nDate: "),
        "{text}"
    );
    assert!(!text.contains("carl"), "{text}");
    assert!(
        text.ends_with("\r\nSubject: from cron\r\n\r\n.\r\nbody\r\n"),
        "{text}"
    );
    wait_for("an empty folder", UNDER_WAY, || {
        (left(&server) == 0).then_some(())
    });

    // Under its other name, from a user's program that gives little.
    let link = server.scratch().path().join("sendmail");
    std::os::unix::fs::symlink(moxctl(), &link).unwrap();
    let mut child = Command::new(&link)
        .env("MOXCONF", server.config())
        .args([
            "-FCron Daemon",
            "-i",
            "-B8BITMIME",
            "-oem",
            "dave@far.example",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"Subject: little\n\nx\n")
        .unwrap();
    assert!(child.wait().unwrap().success());
    wait_for("a message", UNDER_WAY, || {
        (stub.taken().len() == 2).then_some(())
    });
    let text = String::from_utf8(stub.taken().remove(1).message()).unwrap();
    assert!(
        text.contains("\r\nFrom: \"Cron Daemon\" <root@mx.example.org>\r\n"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_sent_ends_with_the_code_that_says_why() {
    let server = Served::prepare("127.0.0.1:1");
    for (args, message, code, word) in [
        (&["-bs"][..], "", 64, "-bs is not done here"),
        (&["-t"], "Subject: x\n\n", 65, "for nobody"),
        (&["a b"], "x\n", 65, "is no address"),
        (&["bob@far.example"], "x\0y\n", 65, "NUL"),
    ] {
        let (exit, said) = sendmail(&server, args, message);
        assert_eq!(exit, code, "{said}");
        assert!(
            said.starts_with("sendmail: ") && said.contains(word),
            "{said}"
        );
    }
    assert_eq!(sendmail(&server, &["-bi"], ""), (0, String::new()));
    assert_eq!(left(&server), 0);
    let files = fs::read_dir(server.data().join("handed")).unwrap();
    assert_eq!(files.count(), 0, "something is left");
    fs::write(server.config(), "(").unwrap();
    assert_eq!(sendmail(&server, &["bob@far.example"], "x").0, 78);
}

#[test]
fn mail_waits_for_a_server_that_is_down() {
    let stub = Stub::taking();
    let mut server = Served::prepare(&stub.address());
    for n in 0..5 {
        let message = format!("Subject: m{n}\n\nx\n");
        assert_eq!(sendmail(&server, &["bob@far.example"], &message).0, 0);
    }
    assert_eq!(left(&server), 5);
    server.give_away();
    server.resume();
    wait_for("all messages", UNDER_WAY, || {
        (stub.taken().len() >= 5).then_some(())
    });
    server.stop();
    server.resume();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        subjects(&stub).values().copied().collect::<Vec<_>>(),
        [1; 5]
    );
    assert_eq!(left(&server), 0);
}

#[test]
fn a_sendmail_that_is_killed_has_left_all_of_a_message_or_nothing() {
    let stub = Stub::taking();
    let server = Served::start(&stub.address());
    let body = "All work and no play makes Jack a dull boy.\n".repeat(5_000);
    let (mut promised, mut killed) = (Vec::new(), 0);
    for n in 0..60 {
        let mut child = begin(&server, &["-i", "bob@far.example"]);
        let mut stdin = child.stdin.take().unwrap();
        let message = format!("Subject: k{n}\n\n{body}end of k{n}\n");
        let feeding = std::thread::spawn(move || {
            let _ = stdin.write_all(message.as_bytes());
        });
        std::thread::sleep(Duration::from_micros(700 * n));
        let _ = child.kill();
        let status = child.wait().unwrap();
        feeding.join().unwrap();
        match status.success() {
            true => promised.push(format!("k{n}")),
            false => killed += 1,
        }
    }
    assert!(
        !promised.is_empty() && killed > 0,
        "{} {killed}",
        promised.len()
    );
    wait_for("all that was promised", UNDER_WAY, || {
        let arrived = subjects(&stub);
        promised
            .iter()
            .all(|subject| arrived.contains_key(subject))
            .then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    for (subject, count) in subjects(&stub) {
        assert_eq!(count, 1, "{subject}");
    }
    for taken in stub.taken() {
        let text = String::from_utf8(taken.message()).unwrap();
        let subject = text.split("\r\nSubject: ").nth(1).unwrap();
        let subject = subject.lines().next().unwrap();
        assert!(
            text.ends_with(&format!("\r\nend of {subject}\r\n")),
            "{subject}"
        );
    }
}

#[test]
fn a_server_that_is_killed_while_it_takes_mail_takes_each_message_once() {
    const MESSAGES: usize = 150;
    // Nobody listens there: what was taken stays in the queue.
    let mut server = Served::prepare("127.0.0.1:1");
    for n in 0..MESSAGES {
        let (to, message) = (format!("r{n}@far.example"), format!("Subject: s{n}\n\nx\n"));
        assert_eq!(sendmail(&server, &[&to], &message).0, 0);
    }
    server.give_away();
    let mut rounds = 0;
    while left(&server) > 0 && rounds < 40 {
        server.resume();
        std::thread::sleep(Duration::from_millis(3 * rounds));
        server.kill();
        rounds += 1;
    }
    assert!(rounds > 1, "nothing was interrupted");
    server.resume();
    wait_for("an empty folder", UNDER_WAY, || {
        (left(&server) == 0).then_some(())
    });
    let queue = server.moxctl(&["queue", "list", "--json"]);
    let queue: Vec<serde_json::Value> = serde_json::from_str(&queue).unwrap();
    for n in 0..MESSAGES {
        let to = serde_json::json!([format!("r{n}@far.example")]);
        let entries = queue.iter().filter(|entry| entry["to"] == to);
        assert_eq!(entries.count(), 1, "r{n}");
    }
}

/// A user of every system that is neither root nor the server's; their group has the same number.
const DAEMON: u32 = 1;

/// A server that names a spool, which is not there yet.
fn with_spool(stub: &Stub) -> (Served, std::path::PathBuf) {
    let server = Served::prepare(&stub.address());
    let spool = server.scratch().path().join("spool");
    let config = fs::read_to_string(server.config()).unwrap();
    let config = config.replacen("(", &format!("(sendmail_spool: {spool:?},"), 1);
    fs::write(server.config(), config).unwrap();
    (server, spool)
}

#[test]
fn other_users_leave_mail_in_a_spool_where_they_are_in_its_group() {
    if !nix::unistd::Uid::effective().is_root() {
        return skip(
            "other_users_leave_mail_in_a_spool_where_they_are_in_its_group",
            "only root becomes another user",
        );
    }
    let stub = Stub::taking();
    let (mut server, spool) = with_spool(&stub);
    fs::set_permissions(server.config(), fs::Permissions::from_mode(0o600)).unwrap();
    let place = server.config();
    let leave = |named: bool, group: u32, subject: &str| {
        let mut command = Command::new(moxctl());
        let child = command.arg("--config").arg(&place);
        let child = child.args(["sendmail", "-f", "web@example.org", "bob@far.example"]);
        let child = child.uid(DAEMON).gid(group).env_remove("MOXSPOOL");
        let child = match named {
            true => child.env("MOXSPOOL", &spool),
            false => child,
        };
        let child = child.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let message = format!("Subject: {subject}\n\nx\n");
        let _ = child.stdin.take().unwrap().write_all(message.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    let from = |group: u32, subject: &str| leave(true, group, subject);
    let (code, said) = from(DAEMON, "none");
    assert_eq!(code, 77);
    assert!(
        said.contains("sendmail_spool in mox.ron names a spool and they are in its group"),
        "{said}"
    );
    fs::create_dir(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o1730)).unwrap();
    let owner = fs::metadata(server.data().parent().unwrap()).unwrap().uid();
    chown(&spool, Some(owner), Some(DAEMON)).unwrap();
    server.give_away();
    server.resume();
    assert_eq!(from(DAEMON, "up"), (0, String::new()));
    let is_empty = || (fs::read_dir(&spool).unwrap().count() == 1).then_some(());
    wait_for("a spool with nothing but about", UNDER_WAY, is_empty);
    server.stop();
    // It waits for the server, and who is not in the group gets nowhere.
    assert_eq!(from(DAEMON, "down"), (0, String::new()));
    assert_eq!(from(DAEMON + 1, "other").0, 77);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 2, "and about");
    // Who may read the configuration finds the spool there.
    fs::set_permissions(server.config(), fs::Permissions::from_mode(0o644)).unwrap();
    for folder in server.config().ancestors().skip(1).take(2) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(leave(false, DAEMON, "read"), (0, String::new()));
    assert_eq!(leave(false, DAEMON + 1, "other").0, 77);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 3, "and about");
    server.resume();
    wait_for("all messages", UNDER_WAY, || {
        (stub.taken().len() >= 3).then_some(())
    });
    wait_for("a spool with nothing but about", UNDER_WAY, is_empty);
    let once = |subject: &str| (subject.to_owned(), 1);
    assert_eq!(
        subjects(&stub),
        [once("down"), once("read"), once("up")].into()
    );
    let taken = stub.taken().remove(0);
    assert!(taken.mail.starts_with("MAIL FROM:<web@example.org>"));
    let log = server.log();
    assert!(
        log.contains("left by a user of this machine") && log.contains("uid=1"),
        "{log}"
    );
}

#[test]
fn whatever_is_in_a_spool_the_server_starts_and_takes_the_mail_in_it() {
    if !nix::unistd::Uid::effective().is_root() {
        return skip(
            "whatever_is_in_a_spool_the_server_starts_and_takes_the_mail_in_it",
            "only root leaves what belongs to another user",
        );
    }
    let stub = Stub::taking();
    let (mut server, spool) = with_spool(&stub);
    server.give_away();
    // Without one the server serves the others.
    server.resume();
    assert_eq!(
        sendmail(&server, &["bob@far.example"], "Subject: none\n\nx\n").0,
        0
    );
    wait_for("a message", UNDER_WAY, || {
        (stub.taken().len() == 1).then_some(())
    });
    assert!(server.log().contains("nothing is taken from the spool"));
    server.stop();

    fs::create_dir(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o1730)).unwrap();
    let owner = fs::metadata(server.data()).unwrap().uid();
    chown(&spool, Some(owner), Some(DAEMON)).unwrap();
    let envelope = "mox-handed 1\nfrom web@example.org\nutf8 0\nto bob@far.example\n\n";
    let give = |path: &std::path::Path| chown(path, Some(DAEMON), Some(DAEMON)).unwrap();
    for folder in ["about", "about.new"] {
        fs::create_dir(spool.join(folder)).unwrap();
        give(&spool.join(folder));
    }
    let named = |n: u32| spool.join(format!("{n:032x}.mail"));
    fs::write(named(1), format!("{envelope}Subject: huge\n\n")).unwrap();
    let huge = fs::OpenOptions::new().write(true).open(named(1)).unwrap();
    huge.set_len(1 << 40).unwrap();
    give(&named(1));
    std::os::unix::fs::symlink(server.config(), named(2)).unwrap();
    fs::create_dir(named(3)).unwrap();
    fs::write(
        named(4),
        format!("{envelope}From: web@example.org\r\nSubject: good\r\n\r\nx\r\n"),
    )
    .unwrap();
    give(&named(4));
    server.resume();
    wait_for("the message", UNDER_WAY, || {
        (stub.taken().len() == 2).then_some(())
    });
    wait_for("a spool without mail", UNDER_WAY, || {
        let mut names = fs::read_dir(&spool).unwrap().map(|e| e.unwrap().path());
        let is_mail = |path: std::path::PathBuf| path.extension().is_some_and(|end| end == "mail");
        (!names.any(is_mail)).then_some(())
    });
    for n in 1..=3 {
        let refused = named(n).with_extension("refused");
        assert!(fs::symlink_metadata(refused).is_ok(), "{n}");
    }
    let once = |subject: &str| (subject.to_owned(), 1);
    assert_eq!(subjects(&stub), [once("good"), once("none")].into());
    assert!(fs::metadata(spool.join("about")).unwrap().is_file());
}
