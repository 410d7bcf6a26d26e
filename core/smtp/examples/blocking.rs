//! A mail server over `std::net`: a thread for each connection, blocking reads, no runtime.
//!
//! ```text
//! cargo run -p mox-smtp --example blocking
//! printf 'Subject: hello\n\nIt works.\n' |
//!   curl --crlf --url smtp://127.0.0.1:2525 --mail-from me@localhost --mail-rcpt you@localhost --upload-file -
//! ```
//!
//! It takes mail for anybody at localhost and prints it. The session's deadline is the timeout of the next read, so
//! clients that stay silent are sent away as RFC 5321 4.5.3.2 wants it.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an example is a program: it has sockets, threads and clocks"
)]

use bytes::BytesMut;
use mox_address::{Domain, Reply};
use mox_machine::{Mono, Now, Session, Step, Utc};
use mox_smtp::server::{Answer, Ask, Config, Server};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

/// A client that takes nothing for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:2525"))?;
    let config = Config::new(Domain::parse("localhost", false)?);
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, config) = (stream?, config.clone());
        std::thread::spawn(move || {
            let print = |message: &[u8]| io::stdout().write_all(message);
            if let Err(error) = serve(stream, config, print) {
                eprintln!("connection lost: {error}");
            }
        });
    }
    Ok(())
}

/// Serves one connection until it closes. `take` gets each message; when it succeeds, the sender is told 250.
pub fn serve(
    mut stream: TcpStream,
    config: Config,
    take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let started = Instant::now();
    let now = || Now {
        mono: Mono::default() + started.elapsed(),
        utc: Utc::default()
            + SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
    };
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut inbox = Inbox {
        domain: config.hostname.clone(),
        message: Vec::new(),
        taken: 0,
        take,
    };
    let mut server = Server::new(config, now());
    let mut input = BytesMut::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        // What came. A session that takes none of it may still have something to say.
        let before = input.len();
        server.recv(now(), &mut input);
        let mut moved = input.len() < before;
        // What the session wants done, in this order.
        while let Some(step) = server.poll() {
            moved = true;
            match step {
                Step::Send(bytes) => stream.write_all(&bytes)?,
                Step::Ask(id, ask) => server.answer(now(), id, inbox.answer(ask)),
                Step::Close => return stream.shutdown(Shutdown::Write),
                // Neither TLS nor compression is offered, and nothing is kept that an event would change.
                Step::Event(_) | Step::Cancel(_) | Step::StartTls | Step::Compress => {}
            }
        }
        if moved {
            continue;
        }
        // More, but not for longer than the session waits.
        let deadline = server.deadline().map(|(at, _why)| at);
        let left = deadline.map(|at| at.since(now().mono));
        if left == Some(Duration::ZERO) {
            server.tick(now());
            continue;
        }
        stream.set_read_timeout(left)?;
        match stream.read(&mut buffer) {
            Ok(0) => server.eof(now()),
            Ok(got) => input.extend_from_slice(buffer.get(..got).unwrap_or_default()),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

/// The world of one session.
struct Inbox<T> {
    domain: Domain,
    message: Vec<u8>,
    taken: usize,
    take: T,
}

impl<T: FnMut(&[u8]) -> io::Result<()>> Inbox<T> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Recipient { to, .. } if to.domain() != Some(&self.domain) => {
                return Answer::Reply(Reply::new(550, 7, 1, "Not served here"));
            }
            Ask::Sender { .. } => self.message.clear(),
            Ask::Body(piece) => self.message.extend_from_slice(&piece),
            Ask::Commit { .. } => {
                // "250" promises that the message is safe: a server syncs it to disk before this.
                if (self.take)(&self.message).is_err() {
                    return Answer::Reply(Reply::new(451, 3, 0, "Try again later"));
                }
                self.taken += 1;
                return Answer::Stored {
                    id: self.taken.to_string(),
                };
            }
            Ask::Hello { .. } | Ask::Sasl { .. } | Ask::Recipient { .. } => {}
        }
        Answer::Accept
    }
}
