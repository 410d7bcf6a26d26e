//! Sessions recorded from a running server play again against the program, however they are cut, and what is redacted in
//! them is gone.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use mox_e2e::{Localserve, PASSWORD, Smtp, Stub, have, moxctl, run, script, wait_for};

/// The password, and its base64 at each of the three places it can have in a longer text.
const SECRETS: [&str; 4] = ["moxmoxmox", "bW94bW94bW94", "1veG1veG1ve", "tb3htb3htb3"];
/// What `capture_clients.py` says in messages and addresses, in any case.
const WORDS: [&str; 7] = [
    "zebra",
    "quagga",
    "okapi",
    "alice",
    "bob@",
    "u0@",
    "mox@local",
];

fn sessions(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Those that are not whole yet have another ending.
        .filter(|path| path.extension().is_some_and(|ending| ending == "session"))
        .collect();
    files.sort();
    files
}

fn moxctl_on(command: &[&str], files: &[PathBuf]) -> Output {
    Command::new(moxctl())
        .args(command)
        .args(files)
        .output()
        .unwrap()
}

#[track_caller]
fn replays(files: &[PathBuf]) {
    let output = moxctl_on(&["replay", "--cuts"], files);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let expected: String = files
        .iter()
        .map(|f| format!("ok {}\n", f.display()))
        .collect();
    assert_eq!(said, expected);
}

#[track_caller]
fn has_none_of(files: &[PathBuf], words: &[&str]) {
    for file in files {
        let text = fs::read_to_string(file).unwrap().to_lowercase();
        for word in words {
            let found = text.find(&word.to_lowercase());
            assert_eq!(found, None, "{word} in {}:\n{text}", file.display());
        }
    }
}

/// Codes in SMTP, tags and statuses in IMAP.
fn replies(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let line = |line: &str| {
        let said = line.strip_prefix("S: ")?;
        let mut words = said.split(' ');
        let first = words.next()?.get(..3.min(said.len()))?.to_owned();
        let status = words.next().filter(|w| ["OK", "NO", "BAD"].contains(w));
        let code = first.bytes().all(|b| b.is_ascii_digit());
        (code || status.is_some()).then(|| format!("{first} {}", status.unwrap_or("")))
    };
    text.lines().filter_map(line).collect()
}

fn talk(options: &[&str]) -> (Localserve, Vec<PathBuf>, PathBuf) {
    let scratch = mox_e2e::Scratch::new();
    let dir = scratch.path().join("captures");
    // It lives as long as the test program.
    std::mem::forget(scratch);
    let mut all = vec!["--accounts", "1", "--capture", dir.to_str().unwrap()];
    all.extend(options);
    let server = Localserve::start(&all);
    let clients = script("capture_clients.py");
    let base = (server.port(25) - 25).to_string();
    run(
        "python3",
        &[clients.to_str().unwrap(), &base, PASSWORD],
        b"",
    );
    let files = wait_for("the recordings", Duration::from_secs(30), || {
        let files = sessions(&dir);
        (files.len() == 10).then_some(files)
    });
    (server, files, dir)
}

#[test]
fn a_recorded_session_plays_again_whole_byte_by_byte_and_at_every_cut() {
    if !have("capture", &["python3"]) {
        return;
    }
    let (server, files, dir) = talk(&["--capture-plain"]);
    server.stop();
    replays(&files);
    has_none_of(&files, &SECRETS);
    for file in &files {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let all: String = files
        .iter()
        .map(|f| fs::read_to_string(f).unwrap())
        .collect();
    for said in [
        "C: MAIL FROM:<alice@localhost>",
        "C: Zebra and Quagga.",
        "C: AUTH PLAIN <secret>",
        "C: AUTH LOGIN <secret>",
        "S: 334 <secret>",
        "S: 535 ",
        "@ tls",
        "LOGIN <secret> <secret>",
        "LOGIN {12}",
        "BDAT 7 LAST",
        "= starttls",
        "? Append",
        "? Watch",
    ] {
        assert!(all.contains(said), "{said} in\n{all}");
    }

    // Redacted: nothing private is left, the replies are the same, and it still plays.
    let redacted = dir.join("redacted");
    fs::create_dir(&redacted).unwrap();
    let to = redacted.to_str().unwrap();
    let output = moxctl_on(&["capture", "redact", "--to", to], &files);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made = sessions(&redacted);
    assert_eq!(made.len(), files.len());
    has_none_of(&made, &WORDS);
    has_none_of(&made, &SECRETS);
    replays(&made);
    for (plain, redacted) in files.iter().zip(&made) {
        assert_eq!(replies(plain), replies(redacted), "{}", plain.display());
        assert!(!replies(plain).is_empty());
        let text = fs::read_to_string(redacted).unwrap();
        assert!(!text.contains("# redaction changed"), "{text}");
    }

    // Another answer than the recorded one is found and told.
    let first = files.first().unwrap();
    let text = fs::read_to_string(first).unwrap();
    let at = text.lines().position(|l| l.starts_with("S: 220 ")).unwrap() + 1;
    let greeting = text.lines().nth(at - 1).unwrap();
    fs::write(first, text.replacen(greeting, "S: 220 other", 1)).unwrap();
    let output = moxctl_on(&["replay"], &files);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = format!(
        "{}:{at}: expected `S: 220 other`, got `{greeting}` (whole)\n",
        first.display()
    );
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(said.lines().count(), files.len());
}

#[test]
fn a_recording_has_nothing_private_in_it_by_default() {
    if !have("capture redacted", &["python3"]) {
        return;
    }
    let (server, files, _) = talk(&[]);
    server.stop();
    has_none_of(&files, &WORDS);
    has_none_of(&files, &SECRETS);
    replays(&files);
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("\nprivacy: redacted\n"), "{text}");
        assert!(!text.contains("# redaction changed"), "{text}");
    }
}

#[test]
fn sessions_with_other_servers_are_recorded_too() {
    let other = Stub::taking();
    let scratch = mox_e2e::Scratch::new();
    let dir = scratch.path().join("captures");
    let options = [
        "--capture",
        dir.to_str().unwrap(),
        "--relay",
        &other.address(),
    ];
    let server = Localserve::start(&[&options[..], &["--accounts", "1"]].concat());
    let mut smtp = Smtp::submission(&server, "u0");
    smtp.command("MAIL FROM:<u0@localhost>", "250");
    smtp.command("RCPT TO:<alice@elsewhere.example>", "250");
    smtp.command("DATA", "354");
    smtp.command(
        "From: u0@localhost\r\nSubject: Zebra\r\n\r\nQuagga\r\n..Okapi\r\n.",
        "250",
    );
    smtp.command("QUIT", "221");
    wait_for("the message", Duration::from_secs(30), || {
        other.taken().first().cloned()
    });
    // A server that stops waits for no answer to QUIT.
    wait_for("the end of the session", Duration::from_secs(30), || {
        let mut texts = sessions(&dir).into_iter().map(fs::read_to_string);
        texts.find(|text| {
            text.as_ref()
                .is_ok_and(|text| text.contains("= closed Quit"))
        })
    })
    .unwrap();
    server.stop();
    let files = sessions(&dir);
    let queue: Vec<_> = files
        .iter()
        .filter(|file| file.to_str().unwrap().ends_with("-queue.session"))
        .cloned()
        .collect();
    assert_eq!(queue.len(), 1, "{files:?}");
    let text = fs::read_to_string(queue.first().unwrap()).unwrap();
    for said in [
        "machine: smtp-client",
        "@elsewhere.example>",
        "= ending ",
        "= closed Quit",
    ] {
        assert!(text.contains(said), "{said} in\n{text}");
    }
    has_none_of(&files, &["zebra", "quagga", "okapi", "alice", "u0@"]);
    replays(&files);
}

#[test]
fn many_sessions_stay_within_the_limits_of_a_small_folder() {
    let scratch = mox_e2e::Scratch::new();
    let dir = scratch.path().join("captures");
    let options = ["--capture", dir.to_str().unwrap()];
    let limits = ["--capture-files", "5", "--capture-octets", "4096"];
    let server =
        Localserve::start(&[options, [limits[0], limits[1]], [limits[2], limits[3]]].concat());
    let port = server.port(25);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..40 {
                    let mut smtp = Smtp::connect(port);
                    smtp.command("MAIL FROM:<alice@localhost>", "250");
                    smtp.command("RCPT TO:<mox@localhost>", "250");
                    smtp.command("DATA", "354");
                    let line = "Quagga Okapi\r\n".repeat(300);
                    smtp.command(&format!("Subject: x\r\n\r\n{line}."), "250");
                    smtp.command("QUIT", "221");
                }
            })
        })
        .collect();
    let mut most = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        // One may be removed, and one is about to be renamed, while they are looked at.
        let Ok(listing) = fs::read_dir(&dir) else {
            continue;
        };
        let mut count = 0;
        for entry in listing.flatten() {
            let done = entry.file_name().to_str().unwrap().ends_with(".session");
            count += usize::from(done);
            if let Ok(metadata) = entry.metadata() {
                assert!(metadata.len() <= 4_096, "{entry:?}");
            }
        }
        assert!(count <= 6, "{count} files");
        most = most.max(count);
        std::thread::sleep(Duration::from_millis(5));
    }
    for client in clients {
        client.join().unwrap();
    }
    assert!(most >= 4);
    server.stop();
    let files = sessions(&dir);
    assert_eq!(files.len(), 5);
    replays(&files);
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.contains("\ntruncated: ") && text.len() <= 4_096,
            "{text}"
        );
    }
}

#[test]
fn what_is_no_recording_is_refused_with_file_line_and_remedy() {
    let scratch = mox_e2e::Scratch::new();
    let head = "machine: smtp-server\nworld: captured\n\n";
    for (content, why) in [
        (&b"\xff\xfe"[..], ":1: this is not UTF-8"),
        (b"", ":1: a session file begins with"),
        (b"hello\n", ":1: a header line is `name: value`"),
        (
            b"machine: x\nworld: captured\n\n",
            ":1: there is no machine \"x\"",
        ),
        (
            b"machine: smtp-server\nworld: captured\nconfig: (hostname: 5)\n\n",
            "config: ",
        ),
        (
            b"machine: smtp-server\nworld: captured\nseed: zz\n\n",
            ":3: the seed is ",
        ),
        (
            &[head.as_bytes(), b"X nothing\n"].concat(),
            ":4: no such sigil",
        ),
        (
            &[head.as_bytes(), b"! accept\n"].concat(),
            ":4: an answer stands behind",
        ),
        (
            &[head.as_bytes(), b"? hello x\n! perhaps\n"].concat(),
            ":5: no answer that is known",
        ),
        (
            &[head.as_bytes(), b"C| \\q\n"].concat(),
            ":4: no such escape",
        ),
        (
            &[head.as_bytes(), b"? hello x\n! accept\n"].concat(),
            ":4: expected `? hello x`, nothing is asked",
        ),
    ] {
        let file = scratch.write("x.session", content);
        for command in [&["replay"][..], &["capture", "redact"]] {
            let output = moxctl_on(command, std::slice::from_ref(&file));
            assert_eq!(output.status.code(), Some(1), "{why}");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains(why), "{why} in {said}");
            assert!(said.contains(file.to_str().unwrap()), "{said}");
        }
        assert_eq!(fs::read(&file).unwrap(), content);
    }
    let output = moxctl_on(&["replay"], &[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn sessions_written_by_hand_play_too() {
    let vectors = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors"));
    let mut files = Vec::new();
    for machine in ["smtp-server", "smtp-client", "imap-server"] {
        files.extend(sessions(&vectors.join(machine)));
    }
    assert!(files.len() > 50);
    replays(&files);
    // One that tells something else, and one whose world cannot be.
    let scratch = mox_e2e::Scratch::new();
    for (content, why) in [
        (
            "machine: smtp-server\n\nS: 220 ...\nC: QUIT\nS: 250 ...\n",
            ":5: expected `S: 250 ...`, got `S: 221 ",
        ),
        (
            "machine: imap-server\n\nS: * OK ...\n@ expunge 2\n@ expunge 2\n@ expunge 2\n",
            ": this cannot happen to the stream now",
        ),
        ("machine: smtp-client\nsend: x\n\n", "`send: <attachment> "),
        ("machine: smtp-server\nconfig: (x: 1)\n\n", "config: "),
    ] {
        let file = scratch.write("x.session", content.as_bytes());
        let output = moxctl_on(&["replay"], std::slice::from_ref(&file));
        assert_eq!(output.status.code(), Some(1), "{why}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(why), "{why} in {said}");
        let output = moxctl_on(&["capture", "redact"], std::slice::from_ref(&file));
        assert_eq!(output.status.code(), Some(1), "{why}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(":1: it was written by hand"), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}

#[test]
fn how_to_record_without_where_is_wrong_usage() {
    for flag in ["--capture-files", "--capture-octets"] {
        let arguments = ["localserve", flag, "5000"];
        let output = Command::new(moxctl()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("add --capture DIR"), "{said}");
    }
}
