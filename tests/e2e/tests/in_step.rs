//! Programs that keep a copy of the mailboxes stay in step with a server that another client changes at random.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

use mox_e2e::{Imap, Localserve, PASSWORD, have, run, script};

const USER: &str = "u0@localhost";
/// Flags as Maildir file names have them, in their order there.
const FLAGS: [(char, &str); 4] = [
    ('D', "\\Draft"),
    ('F', "\\Flagged"),
    ('R', "\\Answered"),
    ('S', "\\Seen"),
];

fn imaplib(server: &Localserve, arguments: &[&str]) -> String {
    let (client, port) = (script("imap_random.py"), server.port(143).to_string());
    let mut all = vec![client.to_str().unwrap(), &port, USER, PASSWORD];
    all.extend(arguments);
    String::from_utf8(run("python3", &all, b"")).unwrap()
}

/// Puts messages into INBOX, fifty in a command: clients that send one piece after the other take 50 ms for each.
fn fill(server: &Localserve, messages: usize) {
    let mut imap = Imap::login(server, USER);
    for first in (0..messages).step_by(50) {
        let mut append = "APPEND INBOX".to_owned();
        for n in first..messages.min(first + 50) {
            let flags = if n % 2 == 0 { "(\\Seen)" } else { "()" };
            let content = format!(
                "From: a@x.example\r\nTo: b@x.example\r\nSubject: m{n}\r\nMessage-ID: <m{n}@x.example>\r\n\
                 Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nText of m{n}.\r\n"
            );
            append += &format!(" {flags} {{{}+}}\r\n{content}", content.len());
        }
        imap.ok(&append);
    }
}

/// What the server has: a mailbox, a Message-ID and flags a line, sorted.
fn far(server: &Localserve) -> Vec<String> {
    let mut lines: Vec<String> = imaplib(server, &["list"])
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// The messages of a mailbox in a Maildir.
fn files(mailbox: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["new", "cur"]
        .iter()
        .flat_map(|part| fs::read_dir(mailbox.join(part)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn message_id(content: &str) -> &str {
    let id = content
        .lines()
        .find_map(|line| line.strip_prefix("Message-ID: <"));
    id.unwrap().trim_end_matches('>')
}

/// What a Maildir has, like [`far`].
fn near(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for mailbox in ["INBOX", "one", "two"] {
        for file in files(&folder.join(mailbox)) {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let letters = name.rsplit_once(":2,").map_or("", |(_, letters)| letters);
            let content = fs::read_to_string(&file).unwrap();
            let mut line = format!("{mailbox} {}", message_id(&content));
            let mut flags: Vec<&str> = FLAGS
                .iter()
                .filter(|(letter, _)| letters.contains(*letter))
                .map(|(_, flag)| *flag)
                .collect();
            flags.sort_unstable();
            for flag in flags {
                line.push(' ');
                line.push_str(flag);
            }
            lines.push(line);
        }
    }
    lines.sort();
    lines
}

/// Changes a Maildir as a mail program does: flags of each 50th message, another each 50th removed, three new ones.
fn change(folder: &Path, round: usize) {
    for mailbox in ["INBOX", "one", "two"] {
        let mailbox = folder.join(mailbox);
        for (n, file) in files(&mailbox).into_iter().enumerate() {
            if n % 50 == round {
                fs::remove_file(file).unwrap();
            } else if n % 50 == round + 10 {
                let name = file.file_name().unwrap().to_str().unwrap();
                let (unique, letters) = name.rsplit_once(":2,").unwrap_or((name, ""));
                let mut letters: Vec<char> = letters.chars().collect();
                match letters.iter().position(|letter| *letter == 'F') {
                    Some(at) => drop(letters.remove(at)),
                    None => letters.push('F'),
                }
                letters.sort_unstable();
                let letters: String = letters.into_iter().collect();
                let now = mailbox.join("cur").join(format!("{unique}:2,{letters}"));
                fs::rename(&file, now).unwrap();
            }
        }
        for n in 0..3 {
            let name = format!(
                "r{round}n{n}{}",
                mailbox.file_name().unwrap().to_str().unwrap()
            );
            let content = format!(
                "From: a@x.example\nSubject: {name}\nMessage-ID: <{name}@x.example>\n\nText of {name}.\n"
            );
            fs::write(
                mailbox.join("new").join(format!("1700000000.{name}.near")),
                content,
            )
            .unwrap();
        }
    }
}

/// Lets the program bring both copies in step again and again, while both are changed, and demands that they are equal
/// each time.
fn two_way(server: &Localserve, folder: &Path, messages: usize, bring_in_step: impl Fn()) {
    fill(server, messages);
    imaplib(server, &["ops", "0", "40"]);
    bring_in_step();
    assert_eq!(near(folder), far(server));
    for round in 1..5 {
        imaplib(server, &["ops", &round.to_string(), "40"]);
        change(folder, round);
        bring_in_step();
        // What one side told may be news that the other side has to hear again.
        bring_in_step();
        let (near, far) = (near(folder), far(server));
        assert!(near.len() > messages / 2, "{}", near.len());
        assert_eq!(near, far, "round {round}");
    }
}

#[test]
fn imaplib_is_told_the_truth_about_200_random_operations() {
    if !have("imaplib in step", &["python3"]) {
        return;
    }
    let server = Localserve::start(&["--accounts", "1"]);
    fill(&server, 100);
    imaplib(&server, &["ops", "7", "200"]);
    server.stop();
}

#[test]
fn mbsync_keeps_5000_messages_in_step_that_change_on_both_sides() {
    if !have("mbsync in step", &["mbsync", "python3"]) {
        return;
    }
    let server = Localserve::start(&["--accounts", "1"]);
    let folder = server.scratch().path().join("near");
    fs::create_dir(&folder).unwrap();
    let config = format!(
        "IMAPAccount mox\nHost 127.0.0.1\nPort {port}\nUser {USER}\nPass {PASSWORD}\nSSLType IMAPS\n\
         CertificateFile {certificate}\n\n\
         IMAPStore far\nAccount mox\n\nMaildirStore near\nPath {folder}/\nInbox {folder}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX one two\nCreate Both\nExpunge Both\nSync All\nSyncState *\n",
        port = server.port(993),
        certificate = server.certificate().display(),
        folder = folder.display(),
    );
    let config = server.scratch().write("mbsyncrc", config);
    two_way(&server, &folder, 5_000, || {
        run("mbsync", &["-qc", config.to_str().unwrap(), "all"], b"");
    });
    server.stop();
}

#[test]
fn offlineimap_keeps_its_copy_in_step_through_changes_on_both_sides() {
    if !have("offlineimap in step", &["offlineimap", "python3"]) {
        return;
    }
    let server = Localserve::start(&["--accounts", "1"]);
    let folder = server.scratch().path().join("near");
    let state = server.scratch().path().join("state");
    fs::create_dir(&folder).unwrap();
    let config = format!(
        "[general]\naccounts = a\nmetadata = {state}\nui = quiet\n\n\
         [Account a]\nlocalrepository = near\nremoterepository = far\n\n\
         [Repository near]\ntype = Maildir\nlocalfolders = {folder}\n\n\
         [Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {port}\nremoteuser = {USER}\n\
         remotepass = {PASSWORD}\nssl = no\nstarttls = no\n\
         folderfilter = lambda name: name in ('INBOX', 'one', 'two')\n",
        state = state.display(),
        folder = folder.display(),
        port = server.port(143),
    );
    let config = server.scratch().write("offlineimaprc", config);
    two_way(&server, &folder, 300, || {
        run("offlineimap", &["-o", "-c", config.to_str().unwrap()], b"");
    });
    server.stop();
}

#[test]
fn the_header_cache_of_mutt_is_in_step_after_changes_by_another_client() {
    if !have(
        "mutt's header cache in step",
        &["mutt", "script", "python3"],
    ) {
        return;
    }
    let server = Localserve::start(&["--accounts", "1"]);
    let config = format!(
        "set imap_user={USER}\nset imap_pass={PASSWORD}\nset ssl_starttls=no\nset ssl_force_tls=no\nset folder={0}\n\
         set header_cache={0}/cache\nset imap_condstore=yes\nset imap_qresync=yes\nset wait_key=no\nset confirmappend=no\nset confirmcreate=no\n\
         set sort=mailbox-order\nset copy=no\nset quit=yes\nset mark_old=no\nset mbox_type=mbox\n",
        server.scratch().path().display()
    );
    fs::create_dir(server.scratch().path().join("cache")).unwrap();
    let config = server.scratch().write("muttrc", config);
    fill(&server, 300);
    for round in 0..6 {
        imaplib(&server, &["ops", &round.to_string(), "40"]);
        let out = server.scratch().path().join(format!("seen{round}"));
        let keys = format!(
            "push \"<tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><exit>\"",
            out.display()
        );
        let mutt = format!(
            "TERM=xterm mutt -F {} -f 'imap://127.0.0.1:{}/INBOX' -e '{keys}'",
            config.display(),
            server.port(143)
        );
        run("script", &["-qec", &mutt, "/dev/null"], b"");
        assert_eq!(seen(&out), as_mutt_has(far(&server)), "round {round}");
    }
    server.stop();
}

/// What mutt wrote into an mbox, like [`as_mutt_has`].
fn seen(mbox: &Path) -> Vec<String> {
    let content = fs::read_to_string(mbox).unwrap();
    let mut lines: Vec<String> = format!("\n{content}")
        .split("\nFrom a@x.example ")
        .skip(1)
        .map(|message| {
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
            let (status, more) = (field("Status: "), field("X-Status: "));
            let has = |field: Option<&str>, letter| field.is_some_and(|f| f.contains(letter));
            let mut line = format!("INBOX {}", message_id(message));
            for (is_set, flag) in [
                (has(more, 'A'), " \\Answered"),
                (has(more, 'F'), " \\Flagged"),
                (has(status, 'R') && !has(more, 'A'), " \\Seen"),
            ] {
                line.push_str(if is_set { flag } else { "" });
            }
            line
        })
        .collect();
    lines.sort();
    lines
}

/// What mutt can have of it: it knows no drafts, and takes what is newly answered for seen.
fn as_mutt_has(lines: Vec<String>) -> Vec<String> {
    let inbox = lines.into_iter().filter(|line| line.starts_with("INBOX "));
    let without = |line: String, flag| line.replace(flag, "");
    let mut lines: Vec<String> = inbox
        .map(|line| without(line, " \\Draft"))
        .map(|line| match line.contains("\\Answered") {
            true => without(line, " \\Seen"),
            false => line,
        })
        .collect();
    lines.sort();
    lines
}
