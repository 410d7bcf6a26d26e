//! What a message is acknowledged by is on disk before: the system calls of a whole server, seen from outside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mox_e2e::crash::{Victim, Wire};
use mox_e2e::{have, skip};

const MESSAGES: usize = 200;
/// Connections that send small messages at once, so that several share one sync.
const CONNECTIONS: usize = 4;
/// A body of this size is a file.
const LARGE: usize = 40_000;

/// A system call that succeeded: its line in the log at its start and at its end, name, arguments and result.
#[derive(Debug)]
struct Call {
    start: usize,
    end: usize,
    name: String,
    text: String,
}

/// All calls in the log of strace, in the order in which they ended.
fn calls(log: &str) -> Vec<Call> {
    let mut begun = std::collections::BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in log.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let (start, text) = if let Some(text) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (number, text));
            continue;
        } else if rest.starts_with("<... ") {
            let Some((start, first)) = begun.remove(thread) else {
                continue;
            };
            (
                start,
                format!("{first}{}", rest.split_once("resumed>").unwrap().1),
            )
        } else {
            (number, rest.to_owned())
        };
        let Some((name, _)) = text.split_once('(') else {
            continue;
        };
        let result = text.rsplit_once("= ").map(|(_, result)| result);
        if result.is_none_or(|result| result.starts_with('-') || result.starts_with('?')) {
            continue;
        }
        calls.push(Call {
            start,
            end: number,
            name: name.to_owned(),
            text,
        });
    }
    calls
}

impl Call {
    fn is_sync(&self) -> bool {
        self.name == "fsync" || self.name == "fdatasync"
    }

    fn is_write(&self) -> bool {
        matches!(
            self.name.as_str(),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2"
        )
    }

    /// The path of the file that the call is about.
    fn path(&self) -> &str {
        let after = self.text.split_once('<').map_or("", |(_, rest)| rest);
        after.split_once('>').map_or("", |(path, _)| path)
    }
}

/// The line at which a sync of this path, begun after `after`, had returned.
fn synced(calls: &[Call], after: usize, path: impl Fn(&str) -> bool) -> Option<&Call> {
    let of_path = |call: &&Call| call.is_sync() && call.start > after && path(call.path());
    calls.iter().find(of_path)
}

fn is_journal(path: &str) -> bool {
    path.ends_with(".jnl")
}

/// How many small and large messages were on disk before they were acknowledged.
fn check(log: &str) -> Result<(usize, usize), String> {
    let calls = calls(log);
    let writes: Vec<&Call> = calls.iter().filter(|call| call.is_write()).collect();
    let (mut small, mut large) = (0, 0);
    for reply in &calls {
        let is_reply = reply.name.starts_with("send") || reply.is_write();
        let Some((_, rest)) = reply.text.split_once("\"250 2.0.0 ").filter(|_| is_reply) else {
            continue;
        };
        let Some((id, _)) = rest.split_once(" stored") else {
            continue;
        };
        // The Received field names the id; it is part of the row, and so is the subject.
        let marked = format!("{id} for <");
        let row = writes
            .iter()
            .find(|w| is_journal(w.path()) && w.text.contains(&marked))
            .ok_or_else(|| format!("{id}: no row is written"))?;
        let (_, after) = row.text.split_once(&marked).unwrap();
        let (_, after) = after
            .split_once("mark-")
            .ok_or_else(|| format!("{id}: no mark"))?;
        let mark = format!("mark-{}-", after.split('-').next().unwrap());
        let in_file = |w: &&&Call| w.path().contains("/body/") && w.text.contains(&mark);
        if let Some(body) = writes.iter().find(in_file) {
            large += 1;
            let path = body.path();
            let last = writes
                .iter()
                .filter(|w| w.path() == path)
                .map(|w| w.end)
                .max();
            let file = synced(&calls, last.unwrap(), |p| p == path)
                .ok_or_else(|| format!("{id}: {path} is never synced"))?;
            let folder = path.rsplit_once('/').unwrap().0;
            let entry = synced(&calls, file.end, |p| p == folder)
                .ok_or_else(|| format!("{id}: {folder} is never synced after its file"))?;
            if entry.end >= row.start {
                return Err(format!("{id}: its row is written before its file is safe"));
            }
        } else {
            small += 1;
        }
        let safe = synced(&calls, row.end, is_journal)
            .ok_or_else(|| format!("{id}: its row is never synced"))?;
        if safe.end >= reply.start {
            return Err(format!(
                "{id}: acknowledged at line {}, safe at line {}",
                reply.start + 1,
                safe.end + 1
            ));
        }
    }
    Ok((small, large))
}

/// Marks given to messages.
static MARK: AtomicUsize = AtomicUsize::new(0);

fn deliver(port: u16, count: usize, size: usize) {
    let mut wire = Wire::smtp(port).unwrap();
    let line = "all that is said here is said to fill the line\r\n";
    for _ in 0..count {
        let mark = MARK.fetch_add(1, Ordering::Relaxed);
        let body = line.repeat(size.div_ceil(line.len()));
        let text = format!("Subject: mark-{mark}-\r\n\r\n{body}");
        for (command, code) in [
            ("MAIL FROM:<a@client.example>", "250"),
            ("RCPT TO:<u0@localhost>", "250"),
            ("DATA", "354"),
        ] {
            let reply = wire.ask(command).unwrap();
            assert!(reply.starts_with(code), "{command}: {reply}");
        }
        wire.send(format!("{text}.\r\n")).unwrap();
        let reply = wire.reply().unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
}

#[test]
fn no_message_is_acknowledged_before_the_disk_has_it() {
    let test = "no_message_is_acknowledged_before_the_disk_has_it";
    if !have(test, &["strace"]) {
        return;
    }
    let allowed = std::process::Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !allowed.unwrap().status.success() {
        return skip(test, "strace may not trace");
    }
    let calls = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync";
    let before = [
        "strace",
        "-f",
        "-y",
        "-s",
        "60000",
        "-e",
        "signal=none",
        "-e",
        calls,
        "-o",
        "{scratch}/strace",
    ];
    let mut server = Victim::start_under(&before, &["--accounts", "1"]);
    let port = server.port(25);
    // One after the other: then each row belongs to the file before it.
    deliver(port, MESSAGES / 4, LARGE);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|_| thread::spawn(move || deliver(port, MESSAGES / 2 / CONNECTIONS, 300)))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    deliver(port, MESSAGES / 4, 1000);
    assert!(server.terminate().success());
    let log = fs::read(server.scratch().path().join("strace")).unwrap();
    let found = check(&String::from_utf8_lossy(&log));
    assert_eq!(found, Ok((MESSAGES * 3 / 4, MESSAGES / 4)));
}

/// What the check above is worth: logs of servers that are too fast.
#[test]
fn a_reply_before_its_sync_is_found() {
    let row = "1 write(9</d/rows/0.jnl>, \"id abc for <u0> mark-1-\", 9) = 9\n";
    let sync = "1 fdatasync(9</d/rows/0.jnl>) = 0\n";
    let reply = "2 sendto(4<socket:[1]>, \"250 2.0.0 abc stored\\r\\n\", 9) = 9\n";
    assert_eq!(check(&[row, sync, reply].concat()), Ok((1, 0)));
    assert!(check(&[row, reply, sync].concat()).is_err());
    assert!(check(&[sync, row, reply].concat()).is_err());
    let begun = "1 fdatasync(9</d/rows/0.jnl> <unfinished ...>\n";
    let ended = "1 <... fdatasync resumed>) = 0\n";
    assert_eq!(check(&[row, begun, ended, reply].concat()), Ok((1, 0)));
    assert!(check(&[row, begun, reply, ended].concat()).is_err());
    let failed = "1 fdatasync(9</d/rows/0.jnl>) = -1 EIO (Input/output error)\n";
    assert!(check(&[row, failed, reply].concat()).is_err());
    let body = "3 writev(7</d/body/01/x>, [{iov_base=\"Subject: mark-1-\"}], 1) = 6\n";
    let file = "3 fdatasync(7</d/body/01/x>) = 0\n";
    let folder = "3 fsync(7</d/body/01>) = 0\n";
    assert_eq!(
        check(&[body, file, folder, row, sync, reply].concat()),
        Ok((0, 1))
    );
    assert!(check(&[body, folder, file, row, sync, reply].concat()).is_err());
    assert!(check(&[body, file, row, sync, reply].concat()).is_err());
    assert!(check(&[body, file, row, folder, sync, reply].concat()).is_err());
}
