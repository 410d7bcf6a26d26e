//! How fast a server passes mail on: it takes messages over several sessions, and gives them to another server that counts them.
//!
//! `mox-bench relay HOST:PORT FROM SINK [DOMAINS [MESSAGES [CPU [USER PASSWORD]]]]`: SINK is the file into which `smtp-sink -c` writes, CPU one in which
//! nanoseconds of the server's CPU stand (`cpuacct.usage` of its cgroup), `-` for none. Recipients are at `d0.test` and so on: that their mail goes to the sink
//! is for the server's configuration.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Sessions that send.
const SESSIONS: usize = 10;
/// Octets of a message.
const OCTETS: usize = 10 * 1024;
/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends and waits until all has arrived; prints how fast that was.
///
/// # Errors
/// When the server does not take a message, or not all of them arrive.
pub(crate) fn run(args: &[String]) -> io::Result<()> {
    let usage = || {
        io::Error::other(
            "relay HOST:PORT FROM SINK [DOMAINS [MESSAGES [CPU [USER PASSWORD]]]]: a file for SINK and CPU",
        )
    };
    let [address, from, sink, rest @ ..] = args else {
        return Err(usage());
    };
    let number = |place: usize, usual: usize| match rest.get(place) {
        Some(text) => text.parse().map_err(|_| usage()),
        None => Ok(usual),
    };
    let (domains, messages) = (number(0, 1)?.max(1), number(1, 2_000)?);
    let login = match rest.get(3..) {
        Some([user, password]) => Some(STANDARD.encode(format!("\0{user}\0{password}"))),
        Some([]) | None => None,
        _ => return Err(usage()),
    };
    let cpu = || -> Option<f64> {
        let text = fs::read_to_string(rest.get(2)?).ok()?;
        text.trim().parse::<f64>().ok().map(|ns| ns / 1e9)
    };
    let (before, spent, start) = (arrived(sink)?, cpu(), Instant::now());
    let threads: Vec<_> = (0..SESSIONS)
        .map(|session| {
            let (address, from, login) = (address.clone(), from.clone(), login.clone());
            let numbers = (session..messages).step_by(SESSIONS);
            thread::spawn(move || send(&address, &from, login.as_deref(), numbers, domains))
        })
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| io::Error::other("a client ended in a panic"))??;
    }
    let accepted = start.elapsed().as_secs_f64();
    let (mut last, mut since) = (0, Instant::now());
    while last < messages {
        thread::sleep(Duration::from_millis(2));
        let now = arrived(sink)?.saturating_sub(before);
        if now > last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "{last} of {messages} arrived, then no more"
            )));
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let spent = spent.zip(cpu()).map(|(before, after)| after - before);
    print(messages, domains, (accepted, elapsed), spent);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages")]
fn print(messages: usize, domains: usize, (accepted, elapsed): (f64, f64), cpu: Option<f64>) {
    let messages = messages as f64;
    let cpu = cpu.map_or_else(String::new, |cpu| format!("{:.2}", cpu * 1e3 / messages));
    println!(
        "| {messages} messages to {domains} domains | accepted {:.0}/s | arrived {:.0}/s | CPU s per 1,000: {cpu} |",
        messages / accepted,
        messages / elapsed
    );
}

/// Messages that the sink counted.
fn arrived(sink: &str) -> io::Result<usize> {
    let text = fs::read(sink)?;
    let text = String::from_utf8_lossy(&text);
    let last = text.rsplit_once("mesg=").map(|(_, rest)| rest);
    let digits = last.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    Ok(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0))
}

fn send(
    address: &str,
    from: &str,
    login: Option<&str>,
    numbers: impl Iterator<Item = usize>,
    domains: usize,
) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut smtp = BufReader::new(stream);
    expect(&mut smtp, "220")?;
    say(&mut smtp, "EHLO client.example\r\n", "250")?;
    if let Some(login) = login {
        say(&mut smtp, &format!("AUTH PLAIN {login}\r\n"), "235")?;
    }
    let line = format!("{}\r\n", "x".repeat(70));
    for n in numbers {
        let to = format!("r{n}@d{}.test", n % domains);
        let mut text = format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: message {n}\r\n\r\n");
        while text.len() < OCTETS {
            text.push_str(&line);
        }
        text.push_str(".\r\n");
        say(&mut smtp, &format!("MAIL FROM:<{from}>\r\n"), "250")?;
        say(&mut smtp, &format!("RCPT TO:<{to}>\r\n"), "250")?;
        say(&mut smtp, "DATA\r\n", "354")?;
        say(&mut smtp, &text, "250")?;
    }
    say(&mut smtp, "QUIT\r\n", "221")
}

fn say(smtp: &mut BufReader<TcpStream>, text: &str, code: &str) -> io::Result<()> {
    smtp.get_mut().write_all(text.as_bytes())?;
    expect(smtp, code)
}

fn expect(smtp: &mut BufReader<TcpStream>, code: &str) -> io::Result<()> {
    loop {
        let mut line = String::new();
        if smtp.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line.starts_with(code) {
            return Err(io::Error::other(line.trim_end().to_owned()));
        }
        if line.get(3..4) != Some("-") {
            return Ok(());
        }
    }
}
