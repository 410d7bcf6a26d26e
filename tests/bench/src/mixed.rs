//! Many clients that do at once what people's mail programs do: read, flag, search, append, expunge, come and go. They work
//! against any server, several on each mailbox, and watch that what it says fits together.
//!
//! `mox-bench mixed HOST:PORT USER PASSWORD [CONNECTIONS [SECONDS [CPU [stay]]]]`: `{}` in USER is a number from 0 to 9, CPU a file
//! in which nanoseconds of the server's CPU stand (`cpuacct.usage` of its cgroup); with `stay` nobody comes and goes. What the clients do follows from their numbers,
//! so that every server gets the same kinds of commands in the same proportions.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use mox_machine::{Rng, Seed};

/// Mailboxes that the connections share.
const USERS: u64 = 10;
/// Messages a mailbox has at the beginning.
const MESSAGES: u32 = 100;
/// How long a server may take for one command.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kinds of commands, and how often each comes.
const MIX: [(Kind, u64); 11] = [
    (Kind::Envelopes, 20),
    (Kind::Body, 15),
    (Kind::Flag, 20),
    (Kind::Delete, 5),
    (Kind::Expunge, 4),
    (Kind::Append, 6),
    (Kind::SearchFlags, 5),
    (Kind::SearchText, 2),
    (Kind::Status, 5),
    (Kind::Noop, 15),
    (Kind::Again, 3),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Envelopes,
    Body,
    Flag,
    Delete,
    Expunge,
    Append,
    SearchFlags,
    SearchText,
    Status,
    Noop,
    /// LOGOUT, then a new connection, LOGIN and SELECT.
    Again,
}

/// What one client did and saw.
#[derive(Debug, Default)]
struct Tally {
    /// How long each command of a kind took, in seconds.
    took: BTreeMap<Kind, Vec<f64>>,
    /// NOs: a message that another client expunged.
    refused: u64,
    /// What a server must not do.
    faults: Vec<String>,
}

/// Runs the clients and prints what came of it.
///
/// # Errors
/// When the server cannot be reached or does not let them in, or breaks the protocol.
pub(crate) fn run(args: &[String]) -> io::Result<()> {
    let usage =
        || io::Error::other("mixed HOST:PORT USER PASSWORD [CONNECTIONS [SECONDS [CPU [stay]]]]");
    let [address, user, password, rest @ ..] = args else {
        return Err(usage());
    };
    let number = |place: usize, usual: u64| match rest.get(place) {
        Some(text) => text.parse().map_err(|_| usage()),
        None => Ok(usual),
    };
    let (connections, seconds) = (number(0, 50)?, number(1, 60)?);
    let stays = rest.get(3).is_some_and(|word| word == "stay");
    let login = |n: u64| Login {
        address: address.clone(),
        user: user.replace("{}", &(n % USERS).to_string()),
        password: password.clone(),
    };
    for n in 0..USERS {
        fill(&login(n))?;
    }
    let cpu = || -> Option<f64> {
        let text = fs::read_to_string(rest.get(2)?).ok()?;
        text.trim().parse::<f64>().ok().map(|ns| ns / 1e9)
    };
    let (before, start) = (cpu(), Instant::now());
    let until = start + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..connections)
        .map(|n| {
            let login = login(n);
            thread::spawn(move || work(&login, n, until, stays))
        })
        .collect();
    let mut all = Tally::default();
    for thread in threads {
        let tally = thread.join().unwrap_or_else(|_| Tally {
            faults: vec!["a client ended in a panic".into()],
            ..Tally::default()
        });
        for (kind, took) in tally.took {
            all.took.entry(kind).or_default().extend(took);
        }
        all.refused += tally.refused;
        all.faults.extend(tally.faults);
    }
    let elapsed = start.elapsed().as_secs_f64();
    let spent = before.zip(cpu()).map(|(before, after)| after - before);
    print(&mut all, connections, elapsed, spent);
    match all.faults.len() {
        0 => Ok(()),
        faults => Err(io::Error::other(format!(
            "{faults} faults of the protocol or disconnections"
        ))),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
fn print(all: &mut Tally, connections: u64, elapsed: f64, cpu: Option<f64>) {
    let commands = all.took.values().map(Vec::len).sum::<usize>();
    println!("| {connections} connections, {USERS} mailboxes, {elapsed:.0} s | |");
    println!("|---|---|");
    println!("| commands a second | {:.0} |", commands as f64 / elapsed);
    if let Some(cpu) = cpu {
        let each = cpu * 1e6 / commands as f64;
        println!("| CPU of the server, µs a command | {each:.0} |");
    }
    for (kind, took) in &mut all.took {
        took.sort_by(f64::total_cmp);
        let at = |percent: usize| took.get(took.len() * percent / 100).copied();
        let ms = |percent| at(percent).unwrap_or_default() * 1e3;
        let (count, middle, late) = (took.len(), ms(50), ms(99));
        println!("| {kind:?}: {count}, ms at 50 % and 99 % | {middle:.2}, {late:.2} |");
    }
    println!("| answered NO | {} |", all.refused);
    println!(
        "| faults of the protocol, disconnections | {} |",
        all.faults.len()
    );
    for fault in all.faults.iter().take(10) {
        println!("| | {fault} |");
    }
}

struct Login {
    address: String,
    user: String,
    password: String,
}

/// Empties a mailbox and gives it its first messages.
fn fill(login: &Login) -> io::Result<()> {
    let mut client = Client::open(login)?;
    // Some servers take no numbers where there are no messages.
    if client.messages > 0 {
        client.done("STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
        client.done("EXPUNGE")?;
    }
    let mut rng = Seed::from_number(0).rng();
    for _ in 0..MESSAGES {
        client.append(&mut rng)?;
    }
    client.done("LOGOUT")?;
    Ok(())
}

fn work(login: &Login, number: u64, until: Instant, stays: bool) -> Tally {
    let mut rng = Seed::from_number(1).child("mixed", number).rng();
    let mut tally = Tally::default();
    let mut open = None;
    while Instant::now() < until {
        let client = match &mut open {
            Some(client) => client,
            None => match Client::open(login) {
                Ok(client) => open.insert(client),
                Err(error) => {
                    tally.faults.push(format!("no login: {error}"));
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            },
        };
        let kind = match pick(&mut rng) {
            Kind::Again if stays => continue,
            kind => kind,
        };
        let start = Instant::now();
        let done = match kind {
            Kind::Again => client.done("LOGOUT").and_then(|_| {
                *client = Client::open(login)?;
                Ok(true)
            }),
            kind => client.one(kind, &mut rng),
        };
        let took = start.elapsed().as_secs_f64();
        match done {
            Ok(ok) => {
                tally.refused += u64::from(!ok);
                tally.took.entry(kind).or_default().push(took);
            }
            Err(error) => {
                tally.faults.push(format!("{kind:?}: {error}"));
                open = None;
            }
        }
    }
    tally
}

fn pick(rng: &mut Rng) -> Kind {
    let mut at = rng.below(MIX.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in MIX {
        match at.checked_sub(weight) {
            Some(rest) => at = rest,
            None => return kind,
        }
    }
    Kind::Noop
}

/// A connection that has INBOX selected, and knows how many messages there are.
struct Client {
    stream: BufReader<TcpStream>,
    messages: u64,
    selected: bool,
}

impl Client {
    fn open(login: &Login) -> io::Result<Self> {
        let stream = TcpStream::connect(&login.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream: BufReader::new(stream),
            messages: 0,
            selected: false,
        };
        client.response()?;
        client.done(&format!("LOGIN {} {}", login.user, login.password))?;
        client.done("SELECT INBOX")?;
        client.selected = true;
        Ok(client)
    }

    /// A command of a kind. False when the server says NO.
    fn one(&mut self, kind: Kind, rng: &mut Rng) -> io::Result<bool> {
        let is_of_messages = matches!(
            kind,
            Kind::Envelopes | Kind::Body | Kind::Flag | Kind::Delete
        );
        if is_of_messages && self.messages == 0 {
            return self.append(rng);
        }
        let one = rng.below(self.messages.max(1)) + 1;
        match kind {
            Kind::Envelopes => {
                let last = (one + 19).min(self.messages);
                self.done(&format!(
                    "FETCH {one}:{last} (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"
                ))
            }
            Kind::Body => self.done(&format!("FETCH {one} (UID BODY[])")),
            Kind::Flag => {
                let sign = if rng.one_in(2) { '+' } else { '-' };
                let flag = match rng.below(4) {
                    0 => "\\Seen",
                    1 => "\\Flagged",
                    2 => "\\Answered",
                    _ => "$Label1",
                };
                self.done(&format!("STORE {one} {sign}FLAGS ({flag})"))
            }
            Kind::Delete => self.done(&format!("STORE {one} +FLAGS (\\Deleted)")),
            Kind::Expunge => self.done("EXPUNGE"),
            Kind::Append => self.append(rng),
            Kind::SearchFlags => self.done("UID SEARCH UNSEEN UNDELETED"),
            Kind::SearchText => self.done("UID SEARCH TEXT \"word17\""),
            Kind::Status => self.done("STATUS INBOX (MESSAGES UNSEEN UIDNEXT)"),
            Kind::Noop | Kind::Again => self.done("NOOP"),
        }
    }

    /// A message of about 2 KB.
    fn append(&mut self, rng: &mut Rng) -> io::Result<bool> {
        let mut text = format!(
            "From: a{0}@example.org\r\nTo: b@example.org\r\nSubject: message {0}\r\n\
             Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{0}@example.org>\r\n\r\n",
            rng.next_u64()
        );
        while text.len() < 2_000 {
            for _ in 0..10 {
                text.push_str(&format!("word{} ", rng.below(1_000)));
            }
            text.push_str("\r\n");
        }
        self.send(format!("a APPEND INBOX {{{}}}\r\n", text.len()).as_bytes())?;
        let go = self.until("+ ")?;
        if !go.starts_with(b"+ ") {
            return Self::is_ok(&go);
        }
        self.send(format!("{text}\r\n").as_bytes())?;
        let end = self.until("a ")?;
        Self::is_ok(&end)
    }

    fn done(&mut self, command: &str) -> io::Result<bool> {
        self.send(format!("a {command}\r\n").as_bytes())?;
        let end = self.until("a ")?;
        Self::is_ok(&end).map_err(|error| io::Error::other(format!("{command}: {error}")))
    }

    fn is_ok(end: &[u8]) -> io::Result<bool> {
        match end {
            [b'a', b' ', b'O', b'K', ..] => Ok(true),
            [b'a', b' ', b'N', b'O', ..] => Ok(false),
            other => Err(io::Error::other(
                String::from_utf8_lossy(other).trim_end().to_owned(),
            )),
        }
    }

    /// Reads up to a line that begins so, or ends a command.
    fn until(&mut self, begin: &str) -> io::Result<Vec<u8>> {
        loop {
            let line = self.response()?;
            if line.starts_with(begin.as_bytes()) || line.starts_with(b"a ") {
                return Ok(line);
            }
            self.untagged(&line)?;
        }
    }

    /// Keeps count, and minds what cannot be.
    fn untagged(&mut self, line: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(line);
        let wrong = |what: &str| Err(io::Error::other(format!("{what}: {}", text.trim_end())));
        let mut words = text.split_ascii_whitespace();
        if words.next() != Some("*") {
            return wrong("neither tagged nor untagged");
        }
        let Some(Ok(number)) = words.next().map(str::parse::<u64>) else {
            return match text.starts_with("* BYE") && self.selected && !text.contains("ogging out")
            {
                true => wrong("thrown out"),
                false => Ok(()),
            };
        };
        match words.next() {
            Some("EXISTS") if self.selected && number < self.messages => wrong("fewer messages"),
            Some("EXISTS") => {
                self.messages = number;
                Ok(())
            }
            Some("EXPUNGE" | "FETCH") if number == 0 || number > self.messages => {
                wrong("no such number")
            }
            Some("EXPUNGE") => {
                self.messages -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A response with its literals; only its own lines are kept.
    fn response(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let from = all.len();
            if self.stream.read_until(b'\n', &mut all)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = all.get(from..).unwrap_or_default();
            let Some(octets) = literal(line) else {
                return Ok(all);
            };
            io::copy(&mut (&mut self.stream).take(octets), &mut io::sink())?;
        }
    }

    fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }
}

/// The length of the literal that follows a line.
fn literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}\r\n")?;
    let begin = line.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(line.get(begin + 1..)?)
        .ok()?
        .parse()
        .ok()
}
