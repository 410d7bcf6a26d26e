//! Sends one message over `std::net`: the client as a blocking program.
//!
//! ```text
//! printf 'Subject: hello\r\n\r\nIt works.\r\n' |
//!   cargo run -p mox-smtp --example send -- 127.0.0.1:2525 me@localhost you@localhost
//! ```

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an example is a program: it has sockets and clocks"
)]

use bytes::{Bytes, BytesMut};
use mox_address::{Domain, Host, Path};
use mox_machine::{Mono, Now, Session, Step, Utc};
use mox_smtp::client::{Answer, Ask, Client, Config, Event, Outcome, Transaction};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, from, to] = arguments.as_slice() else {
        return Err("usage: send HOST:PORT SENDER RECIPIENT <message".into());
    };
    let mut message = Vec::new();
    io::stdin().read_to_end(&mut message)?;
    let transaction = Transaction {
        from: Some(Path::parse(from, false)?),
        to: vec![Path::parse(to, false)?],
        size: u64::try_from(message.len())?,
        eight_bit: !message.is_ascii(),
        utf8: false,
        ..Transaction::default()
    };
    let config = Config::new(Host::Domain(Domain::parse("localhost", false)?));
    for outcome in send(
        TcpStream::connect(address)?,
        config,
        transaction,
        message.into(),
    )? {
        println!("{outcome:?}");
    }
    Ok(())
}

/// Sends one message; what became of each recipient. A client with a TLS library sets `config.tls` otherwise and does
/// the handshake at `Step::StartTls`.
pub fn send(
    mut stream: TcpStream,
    mut config: Config,
    transaction: Transaction,
    message: Bytes,
) -> io::Result<Vec<Outcome>> {
    config.tls = mox_smtp::client::Tls::Never;
    let started = Instant::now();
    let now = || Now {
        mono: Mono::default() + started.elapsed(),
        utc: Utc::default()
            + SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
    };
    let mut client = Client::new(config, now());
    let mut next = Some(transaction);
    let mut outcomes = Vec::new();
    let mut input = BytesMut::new();
    let mut buffer = [0; 4 * 1024];
    loop {
        // What came. A session that takes none of it may still have something to say.
        let before = input.len();
        client.recv(now(), &mut input);
        let mut moved = input.len() < before;
        while let Some(step) = client.poll() {
            moved = true;
            match step {
                Step::Send(bytes) => stream.write_all(&bytes)?,
                Step::Ask(id, ask) => {
                    let answer = match ask {
                        Ask::Next(_) => next.take().map_or(Answer::Quit, Answer::Send),
                        Ask::Piece { offset, max } => {
                            let from = usize::try_from(offset).unwrap_or(usize::MAX);
                            let from = from.min(message.len());
                            let to = message.len().min(from.saturating_add(max));
                            Answer::Piece(message.slice(from..to))
                        }
                        Ask::Sasl { .. } => Answer::Failed,
                    };
                    client.answer(now(), id, answer);
                }
                Step::Event(Event::Recipient { outcome, .. }) => outcomes.push(outcome),
                Step::Event(_) | Step::Cancel(_) | Step::StartTls | Step::Compress => {}
                Step::Close => return Ok(outcomes),
            }
        }
        if moved {
            continue;
        }
        let deadline = client.deadline().map(|(at, _why)| at);
        let left = deadline.map(|at| at.since(now().mono));
        if left == Some(Duration::ZERO) {
            client.tick(now());
            continue;
        }
        stream.set_read_timeout(left)?;
        match stream.read(&mut buffer) {
            Ok(0) => client.eof(now()),
            Ok(got) => input.extend_from_slice(buffer.get(..got).unwrap_or_default()),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}
