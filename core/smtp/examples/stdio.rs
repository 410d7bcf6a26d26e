//! A mail server on standard input and output, for inetd, ssh or a pipe: no runtime, no threads, no sockets.
//!
//! ```text
//! printf 'EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@localhost>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n' |
//!   cargo run -p mox-smtp --example stdio
//! ```
//!
//! It takes mail for anybody at localhost, and prints on standard error what it took.

#![expect(
    clippy::disallowed_types,
    reason = "an example is a program: it has a clock"
)]

use bytes::BytesMut;
use mox_address::{Domain, Reply};
use mox_machine::{Mono, Now, Session, Step, Utc};
use mox_smtp::server::{Answer, Ask, Config, Server};
use std::io::{self, Read, Write, stderr, stdin, stdout};
use std::time::{Instant, SystemTime};

/// What was received, where it goes, and the answers that follow from it.
struct Inbox<W> {
    message: Vec<u8>,
    taken: usize,
    kept: W,
}

impl<W: Write> Inbox<W> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Recipient { to, .. } => {
                if to
                    .domain()
                    .is_none_or(|domain| domain.as_str() != "localhost")
                {
                    return Answer::Reply(Reply::new(550, 7, 1, "Only localhost is served here"));
                }
            }
            Ask::Sender { .. } => self.message.clear(),
            Ask::Body(piece) => self.message.extend_from_slice(&piece),
            Ask::Commit { .. } => {
                // "250" promises that the message is safe: a server syncs it to disk before this.
                if self.kept.write_all(&self.message).is_err() {
                    return Answer::Reply(Reply::new(451, 3, 0, "Try again later"));
                }
                self.taken += 1;
                return Answer::Stored {
                    id: self.taken.to_string(),
                };
            }
            Ask::Hello { .. } | Ask::Sasl { .. } => {}
        }
        Answer::Accept
    }
}

/// Talks until the client quits or goes, and keeps what it sends.
pub fn serve(mut input: impl Read, mut output: impl Write, kept: impl Write) -> io::Result<()> {
    let start = Instant::now();
    let clock = || Now {
        mono: Mono::default() + start.elapsed(),
        utc: Utc::default()
            + SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
    };
    let name = Domain::parse("localhost", false).map_err(io::Error::other)?;
    let mut server = Server::new(Config::new(name), clock());
    let mut inbox = Inbox {
        message: Vec::new(),
        taken: 0,
        kept,
    };
    let mut came = BytesMut::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        // What came. A session that takes none of it may still have something to say.
        let before = came.len();
        server.recv(clock(), &mut came);
        let mut moved = came.len() < before;
        while let Some(step) = server.poll() {
            moved = true;
            match step {
                Step::Send(bytes) => output.write_all(&bytes)?,
                Step::Ask(id, ask) => {
                    let answer = inbox.answer(ask);
                    server.answer(clock(), id, answer);
                }
                Step::Close => return output.flush(),
                // Neither TLS nor compression is offered, and nothing is kept that an event would change.
                Step::Event(_) | Step::Cancel(_) | Step::StartTls | Step::Compress => {}
            }
        }
        output.flush()?;
        if moved {
            continue;
        }
        // Blocking reads cannot be woken by a deadline; it is looked at whenever something came.
        match input.read(&mut buffer)? {
            0 => server.eof(clock()),
            got => came.extend_from_slice(buffer.get(..got).unwrap_or_default()),
        }
        server.tick(clock());
    }
}

fn main() -> io::Result<()> {
    serve(stdin(), stdout(), stderr())
}
