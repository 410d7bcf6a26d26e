//! An IMAP client that knows just enough: it sends commands and keeps what comes back, octet by octet.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::localserve::{Localserve, PASSWORD};

/// A connection that is logged in.
#[derive(Debug)]
pub struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
}

/// One line of a response, with the literals that it contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line, literals left out of it but for their `{size}`.
    pub text: String,
    /// The literals, in order.
    pub literals: Vec<Vec<u8>>,
}

impl Imap {
    /// Connects and logs in as this address.
    pub fn login(server: &Localserve, address: &str) -> Self {
        Self::login_at(server.port(143), address, PASSWORD)
    }

    /// The same with a server at this port of this machine.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn login_at(port: u16, address: &str, password: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut imap = Self {
            stream: BufReader::new(stream),
            tag: 0,
        };
        imap.line();
        imap.ok(&format!("LOGIN {address} {password}"));
        imap
    }

    /// Sends a command without waiting for the response; returns its tag.
    pub fn send(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.raw(&format!("{tag} {command}\r\n"));
        tag
    }

    /// Sends exactly this.
    pub fn raw(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends a command and demands OK; returns the untagged lines before it.
    ///
    /// # Panics
    /// When the answer is another.
    #[track_caller]
    pub fn ok(&mut self, command: &str) -> Vec<Line> {
        let tag = self.send(command);
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            match line.text.strip_prefix(&tag) {
                Some(rest) if rest.starts_with(" OK") => return lines,
                Some(_) => panic!("{command}: {}", line.text),
                None => lines.push(line),
            }
        }
    }

    /// All messages in a mailbox, as they are stored.
    pub fn all(&mut self, mailbox: &str) -> Vec<Vec<u8>> {
        self.ok(&format!("EXAMINE {mailbox}"));
        self.ok("UID FETCH 1:* BODY.PEEK[]")
            .into_iter()
            .flat_map(|line| line.literals)
            .collect()
    }

    /// The next line that the server sends.
    pub fn line(&mut self) -> Line {
        let mut line = Line {
            text: String::new(),
            literals: Vec::new(),
        };
        loop {
            let mut piece = Vec::new();
            self.stream.read_until(b'\n', &mut piece).unwrap();
            let piece = String::from_utf8_lossy(&piece).into_owned();
            assert!(piece.ends_with("\r\n"), "cut off: {}{piece}", line.text);
            let piece = piece.trim_end_matches("\r\n");
            line.text.push_str(piece);
            let size = piece
                .strip_suffix('}')
                .and_then(|rest| rest.rsplit_once('{'))
                .and_then(|(_, size)| size.parse::<usize>().ok());
            let Some(size) = size else {
                return line;
            };
            let mut literal = vec![0; size];
            self.stream.read_exact(&mut literal).unwrap();
            line.literals.push(literal);
        }
    }
}

/// All messages in the Inbox of this address, as they are stored.
pub fn inbox(server: &Localserve, address: &str) -> Vec<Vec<u8>> {
    Imap::login(server, address).all("INBOX")
}
