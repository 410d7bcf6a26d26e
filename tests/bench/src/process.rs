//! Numbers of a whole server: start, memory, mail in, mail out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::client::{Imap, Smtp, trusting};
use crate::server::{ACCOUNTS, Server};

/// How often a start or a FETCH is timed; the median is printed.
const TIMES: usize = 5;
/// Connections that idle.
const IDLE: usize = 1_000;
/// Messages in the mailbox that is fetched.
const MESSAGES: usize = 10_000;
/// Sessions that send at once.
const SESSIONS: usize = 10;
/// Time for a server to come to rest.
const REST: Duration = Duration::from_secs(1);

/// Prints a table of everything.
///
/// # Errors
/// When the server does not start, or refuses something.
pub(crate) fn print() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    println!("\n| `moxctl localserve`, {ACCOUNTS} accounts | |");
    println!("|---|---|");
    start()?;
    idle("in clear", false)?;
    idle("in TLS", true)?;
    large()?;
    receive("10 KB, one mailbox", 10 * 1024, 20_000, 1)?;
    receive("10 KB, 50 mailboxes", 10 * 1024, 20_000, 50)?;
    receive("1 MB, one mailbox", 1 << 20, 1_000, 1)?;
    fetch()
}

fn start() -> io::Result<()> {
    let mut server = Server::start()?;
    println!(
        "| first start to greeting, keys and accounts made, ms | {:.1} |",
        median(vec![server.cold_start])
    );
    send(&server, 10 * 1024, 1_000, 1)?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        server.restart()?;
        times.push(server.cold_start);
    }
    println!(
        "| start to greeting, 1,000 messages stored, ms | {:.1} |",
        median(times)
    );
    thread::sleep(REST);
    println!(
        "| memory when idle, PSS, MiB | {:.1} |",
        mib(server.memory()?.pss)
    );
    Ok(())
}

fn idle(how: &str, tls: bool) -> io::Result<()> {
    let server = Server::start()?;
    let tls = tls.then(|| trusting(&server)).transpose()?;
    thread::sleep(REST);
    let before = server.memory()?.pss;
    let mut open = Vec::new();
    for number in 0..IDLE {
        let mut imap = Imap::login(&server, tls.as_ref(), number % ACCOUNTS)?;
        imap.command("SELECT INBOX")?;
        imap.idle()?;
        open.push(imap);
    }
    thread::sleep(REST);
    let each = server.memory()?.pss.saturating_sub(before) as f64 / IDLE as f64;
    println!("| an IMAP connection that idles {how}, of {IDLE}, PSS, KiB | {each:.1} |");
    Ok(())
}

/// Ten messages of 50 MB at once.
fn large() -> io::Result<()> {
    let server = Server::start()?;
    thread::sleep(REST);
    let before = server.memory()?.resident;
    server.reset_peak()?;
    let (rate, _) = send(&server, 50 << 20, SESSIONS, 1)?;
    let above = server.memory()?.peak.saturating_sub(before);
    println!(
        "| {SESSIONS} messages of 50 MB at once: peak RSS above idle, MiB | {:.1} |",
        mib(above)
    );
    println!("| the same: MB/s | {:.0} |", rate * 52.4);
    Ok(())
}

fn receive(what: &str, octets: usize, messages: usize, mailboxes: usize) -> io::Result<()> {
    let server = Server::start()?;
    let (rate, cpu) = send(&server, octets, messages, mailboxes)?;
    println!(
        "| {messages} messages of {what}, {SESSIONS} sessions: messages/s, CPU s per 1,000 | {rate:.0}, {:.2} |",
        cpu / messages as f64 * 1_000.0
    );
    Ok(())
}

/// What recording every session costs: the same mail with and without, by turns, in one run.
///
/// # Errors
/// When the server does not start, or refuses something.
pub(crate) fn capture() -> io::Result<()> {
    println!(
        "\n| recording all sessions, {SESSIONS} at once, CPU of the server | without, s | with, s | ratio |"
    );
    println!("|---|---|---|---|");
    captured("20,000 messages of 10 KB, 10 sessions", 20_000, usize::MAX)?;
    captured("4,000 messages of 10 KB, 20 to a session", 4_000, 20)?;
    captured("4,000 messages of 10 KB, 1 to a session", 4_000, 1)
}

fn captured(what: &str, messages: usize, each: usize) -> io::Result<()> {
    let dir = std::env::temp_dir().join(format!("mox-bench-captures-{}", std::process::id()));
    let dir = dir.to_string_lossy().into_owned();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        for (options, seconds) in [(&[][..], &mut without), (&["--capture", &dir], &mut with)] {
            let server = Server::start_with(options)?;
            // What a start costs is no part of it.
            send(&server, 10 * 1024, 500, 1)?;
            let cpu = server.cpu_seconds()?;
            let mut left = messages;
            while left > 0 {
                let now = left.min(each.saturating_mul(SESSIONS));
                send(&server, 10 * 1024, now, 1)?;
                left -= now;
            }
            // The writer works on for a while.
            thread::sleep(REST);
            seconds.push(server.cpu_seconds()? - cpu);
        }
        let _ = std::fs::remove_dir_all(&dir);
    }
    let middle = |seconds: &mut Vec<f64>| {
        seconds.sort_unstable_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or_default()
    };
    let (without, with) = (middle(&mut without), middle(&mut with));
    println!(
        "| {what} | {without:.2} | {with:.2} | {:.3} |",
        with / without
    );
    Ok(())
}

fn fetch() -> io::Result<()> {
    let server = Server::start()?;
    send(&server, 2 * 1024, MESSAGES, 1)?;
    let mut imap = Imap::login(&server, None, 0)?;
    imap.command("SELECT INBOX")?;
    for items in ["UID FLAGS", "UID FLAGS ENVELOPE"] {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let started = Instant::now();
            imap.command(&format!("FETCH 1:* ({items})"))?;
            times.push(started.elapsed());
        }
        println!("| FETCH {MESSAGES} ({items}), ms | {:.1} |", median(times));
    }
    Ok(())
}

/// Sends as many messages, in all, over ten sessions. Returns messages a second and the seconds of CPU of the server.
fn send(
    server: &Server,
    octets: usize,
    messages: usize,
    mailboxes: usize,
) -> io::Result<(f64, f64)> {
    send_message(server, &message(octets), messages, mailboxes)
}

/// The same with this message.
pub(crate) fn send_message(
    server: &Server,
    message: &[u8],
    messages: usize,
    mailboxes: usize,
) -> io::Result<(f64, f64)> {
    let message = Arc::new(message.to_vec());
    let next = Arc::new(AtomicUsize::new(0));
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(Smtp::connect(server)?);
    }
    let (cpu, started) = (server.cpu_seconds()?, Instant::now());
    let threads: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            let (message, next) = (message.clone(), next.clone());
            thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return Ok::<(), io::Error>(());
                    }
                    session.send(number % mailboxes, &message)?;
                }
            })
        })
        .collect();
    for thread in threads {
        let ended = thread.join();
        ended.map_err(|_| io::Error::other("a session panicked"))??;
    }
    let rate = messages as f64 / started.elapsed().as_secs_f64();
    Ok((rate, server.cpu_seconds()? - cpu))
}

/// A message of about so many octets.
pub(crate) fn message(octets: usize) -> Vec<u8> {
    let mut message = b"From: Some One <sender@client.example>\r\nTo: Another <u0@localhost>\r\n\
        Subject: a message to measure\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\
        Message-ID: <1@client.example>\r\n\r\n"
        .to_vec();
    let line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n";
    while message.len() < octets {
        message.extend_from_slice(line);
    }
    message
}

/// Milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    middle.as_secs_f64() * 1e3
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
