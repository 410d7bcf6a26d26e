//! An SMTP server that takes mail, or refuses it, and keeps each transaction as it came over the wire.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One transaction that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The MAIL command.
    pub mail: String,
    /// The RCPT commands.
    pub rcpt: Vec<String>,
    /// When it was taken.
    pub at: Option<Instant>,
    /// What came after DATA, the dots still doubled, up to and with the CRLF before the final dot.
    pub wire: Vec<u8>,
}

impl Transaction {
    /// The message: the dots no longer doubled.
    pub fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.wire.len());
        for line in self.wire.split_inclusive(|octet| *octet == b'\n') {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        message
    }
}

/// A server on a port of 127.0.0.1 until the test ends.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Transaction>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// One that takes everything.
    pub fn taking() -> Self {
        Self::taking_at("127.0.0.1:0".parse().unwrap())
    }

    /// The same at this address.
    pub fn taking_at(address: SocketAddr) -> Self {
        Self::start(address, "", 0)
    }

    /// One that gives this reply to each RCPT.
    pub fn refusing(reply: &'static str) -> Self {
        Self::refusing_first(usize::MAX, reply)
    }

    /// One that gives this reply to the first so many RCPT, and takes the others.
    pub fn refusing_first(count: usize, reply: &'static str) -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), reply, count)
    }

    fn start(address: SocketAddr, refusal: &'static str, count: usize) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (all, commands) = (taken.clone(), heard.clone());
        let refusals = Arc::new(AtomicUsize::new(count));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (taken, heard) = (all.clone(), commands.clone());
                let refusals = refusals.clone();
                std::thread::spawn(move || session(stream, refusal, &refusals, &taken, &heard));
            }
        });
        Self {
            address,
            taken,
            heard,
        }
    }

    /// As `--relay` wants it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<Transaction> {
        self.taken.lock().unwrap().clone()
    }

    /// All commands so far, of all sessions.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// One connection, to its end; a connection that breaks is the other side's affair. `None` at its end.
fn session(
    stream: TcpStream,
    refusal: &str,
    refusals: &AtomicUsize,
    taken: &Mutex<Vec<Transaction>>,
    heard: &Mutex<Vec<String>>,
) -> Option<()> {
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    let mut reader = BufReader::new(stream);
    let mut transaction = Transaction::default();
    reader
        .get_mut()
        .write_all(b"220 stub.example ESMTP\r\n")
        .ok()?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        heard.lock().unwrap().push(line.clone());
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => "250-stub.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING",
            "MAIL" => {
                transaction = Transaction {
                    mail: line,
                    ..Transaction::default()
                };
                "250 2.1.0 ok"
            }
            "RCPT" => {
                let one_less = |left: usize| left.checked_sub(1);
                match refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
                    Ok(_) => refusal,
                    Err(_) => {
                        transaction.rcpt.push(line);
                        "250 2.1.5 ok"
                    }
                }
            }
            "DATA" if transaction.rcpt.is_empty() => "554 5.5.1 no recipients",
            "DATA" => {
                reader.get_mut().write_all(b"354 go on\r\n").ok()?;
                transaction.wire = data(&mut reader)?;
                transaction.at = Some(Instant::now());
                taken.lock().unwrap().push(std::mem::take(&mut transaction));
                "250 2.0.0 taken"
            }
            "RSET" | "NOOP" => "250 2.0.0 ok",
            "QUIT" => {
                let _ = reader.get_mut().write_all(b"221 2.0.0 bye\r\n");
                return None;
            }
            _ => "500 5.5.2 what?",
        };
        reader
            .get_mut()
            .write_all(format!("{reply}\r\n").as_bytes())
            .ok()?;
    }
}

/// Up to CRLF . CRLF and nothing that looks like it.
fn data(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    loop {
        let start = wire.len();
        if reader.read_until(b'\n', &mut wire).ok()? == 0 {
            return None;
        }
        let ended = start == 0
            || wire
                .get(..start)
                .is_some_and(|before| before.ends_with(b"\r\n"));
        if ended && wire.get(start..) == Some(b".\r\n") {
            wire.truncate(start);
            return Some(wire);
        }
    }
}
