//! An SMTP client that does what it is told, also what no client should do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::localserve::Localserve;

/// `user NUL password` of mox@localhost and u0@localhost, as AUTH PLAIN (RFC 4616) takes it.
const PLAIN: [(&str, &str); 2] = [
    ("mox", "AG1veEBsb2NhbGhvc3QAbW94bW94bW94"),
    ("u0", "AHUwQGxvY2FsaG9zdABtb3htb3htb3g="),
];

/// A connection in clear.
#[derive(Debug)]
pub struct Smtp(BufReader<TcpStream>);

impl Smtp {
    /// Connects to this port of 127.0.0.1, and greets.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut smtp = Self(BufReader::new(stream));
        smtp.expect("220");
        smtp.command("EHLO client.example", "250");
        smtp
    }

    /// Connects for submission as the account `mox` or `u0`.
    pub fn submission(server: &Localserve, account: &str) -> Self {
        let mut smtp = Self::connect(server.port(587));
        let (_, plain) = PLAIN.iter().find(|(name, _)| *name == account).unwrap();
        smtp.command(&format!("AUTH PLAIN {plain}"), "235");
        smtp
    }

    /// Connects for submission to this port of 127.0.0.1.
    pub fn login(port: u16, user: &str, password: &str) -> Self {
        let mut smtp = Self::connect(port);
        let plain = STANDARD.encode(format!("\0{user}\0{password}"));
        smtp.command(&format!("AUTH PLAIN {plain}"), "235");
        smtp
    }

    /// Sends these octets.
    pub fn raw(&mut self, octets: &[u8]) {
        // A server may have had enough and closed; what it said is still there to be read.
        let _ = self.0.get_mut().write_all(octets);
    }

    /// Sends a command and demands a reply that starts so.
    #[track_caller]
    pub fn command(&mut self, command: &str, reply: &str) -> String {
        self.raw(format!("{command}\r\n").as_bytes());
        self.expect(reply)
    }

    /// Demands that the next reply starts so; returns its last line.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(&mut self, reply: &str) -> String {
        let line = self.reply().unwrap_or_default();
        assert!(line.starts_with(reply), "{line:?} instead of {reply}");
        line
    }

    /// The last line of the next reply. `None` when the server has closed.
    pub fn reply(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.get(3..4) != Some("-") {
                return Some(line.trim_end().to_owned());
            }
        }
    }

    /// Sends a message, given with CRLF at its line ends and no dot at the start of a line.
    #[track_caller]
    pub fn send(&mut self, from: &str, to: &str, content: &str) {
        self.command(&format!("MAIL FROM:<{from}>"), "250");
        self.command(&format!("RCPT TO:<{to}>"), "250");
        self.command("DATA", "354");
        self.command(&format!("{content}."), "250");
    }
}
