//! The smallest clients there are: lines said, lines heard.

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use std::io;

/// Bytes of one line or literal that a server may send.
const MOST: usize = 64 * 1024 * 1024;

/// A client that speaks line by line over any stream.
#[derive(Debug)]
pub struct Dialogue<IO> {
    stream: IO,
    heard: Vec<u8>,
    tags: u32,
}

/// A mail as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Address of the sender.
    pub from: String,
    /// Addresses of the recipients.
    pub to: Vec<String>,
    /// Header and body, lines ending in CRLF, not dot-stuffed.
    pub text: String,
}

impl<IO> Dialogue<IO> {
    /// What it speaks over.
    pub const fn stream(&self) -> &IO {
        &self.stream
    }

    /// What it spoke over. What was heard and not taken is forgotten, as STARTTLS wants it.
    pub fn into_stream(self) -> IO {
        self.stream
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Dialogue<IO> {
    /// Over a connected stream.
    pub fn new(stream: IO) -> Self {
        Self {
            stream,
            heard: Vec::new(),
            tags: 0,
        }
    }

    /// Says these bytes.
    pub async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await
    }

    /// Closes our direction and waits until the peer closes its own.
    pub async fn close(mut self) -> io::Result<()> {
        self.stream.close().await?;
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.map(|_| ())
    }

    /// The next line without its CRLF; `UnexpectedEof` when there is none.
    pub async fn line(&mut self) -> io::Result<String> {
        let mut searched = 0;
        loop {
            let fresh = self.heard.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.windows(2).position(|two| two == b"\r\n") {
                let mut line: Vec<u8> = self.heard.drain(..searched + at + 2).collect();
                line.truncate(line.len() - 2);
                return String::from_utf8(line).map_err(io::Error::other);
            }
            searched = self.heard.len().saturating_sub(1);
            self.hear().await?;
        }
    }

    /// The next SMTP reply, all its lines; an error with the reply if it does not begin with `code`.
    pub async fn expect(&mut self, code: &str) -> io::Result<String> {
        let reply = self.reply().await?;
        if reply.starts_with(code) {
            Ok(reply)
        } else {
            Err(io::Error::other(reply))
        }
    }

    /// The next SMTP reply, all its lines.
    pub async fn reply(&mut self) -> io::Result<String> {
        let mut reply = self.line().await?;
        let mut last = reply.clone();
        while last.as_bytes().get(3) == Some(&b'-') {
            last = self.line().await?;
            reply.push('\n');
            reply.push_str(&last);
        }
        Ok(reply)
    }

    /// Waits for the greeting, then sends a mail by SMTP and says goodbye; the reply to the mail.
    pub async fn send_mail(&mut self, name: &str, mail: &Mail) -> io::Result<String> {
        self.expect("220").await?;
        self.say(&format!("EHLO {name}\r\n")).await?;
        self.expect("250").await?;
        self.transaction(mail).await
    }

    /// Sends a mail by SMTP after the greetings, and says goodbye; the reply to the mail.
    pub async fn transaction(&mut self, mail: &Mail) -> io::Result<String> {
        let mut envelope = format!("MAIL FROM:<{}>\r\n", mail.from);
        for to in &mail.to {
            envelope.push_str(&format!("RCPT TO:<{to}>\r\n"));
        }
        self.say(&envelope).await?;
        for _ in 0..=mail.to.len() {
            self.expect("250").await?;
        }
        self.say("DATA\r\n").await?;
        self.expect("354").await?;
        let stuffed = mail.text.replace("\r\n.", "\r\n..");
        let dot = if stuffed.starts_with('.') { "." } else { "" };
        self.say(&format!("{dot}{stuffed}.\r\n")).await?;
        let reply = self.expect("250").await?;
        self.say("QUIT\r\n").await?;
        self.expect("221").await?;
        Ok(reply)
    }

    /// Gives an IMAP command and hears its answer: all lines up to the tagged one, literals in place.
    pub async fn command(&mut self, command: &str) -> io::Result<String> {
        self.tags += 1;
        let tag = format!("t{} ", self.tags);
        self.say(&format!("{tag}{command}\r\n")).await?;
        let mut answer = String::new();
        loop {
            let line = self.line().await?;
            answer.push_str(&line);
            answer.push_str("\r\n");
            if let Some(length) = literal(&line) {
                answer.push_str(&self.exactly(length).await?);
            } else if line.starts_with(&tag) {
                return Ok(answer);
            }
        }
    }

    /// The next octets, which must be UTF-8.
    pub async fn exactly(&mut self, length: usize) -> io::Result<String> {
        if length > MOST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        while self.heard.len() < length {
            self.hear().await?;
        }
        let bytes: Vec<u8> = self.heard.drain(..length).collect();
        String::from_utf8(bytes).map_err(io::Error::other)
    }

    async fn hear(&mut self) -> io::Result<()> {
        let mut piece = [0; 4_096];
        let got = self.stream.read(&mut piece).await?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.heard.len() > MOST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.heard
            .extend_from_slice(piece.get(..got).unwrap_or_default());
        Ok(())
    }
}

/// The length of the literal that follows a line.
fn literal(line: &str) -> Option<usize> {
    let (_, length) = line.strip_suffix('}')?.rsplit_once('{')?;
    length.parse().ok()
}
