//! Reads a folder of `.eml` files over IMAP: `std::net`, a thread for each connection, no runtime.
//!
//! ```text
//! cargo run -p mox-imap --example blocking -- path/to/folder
//! curl --url 'imap://127.0.0.1:2143/INBOX;MAILINDEX=1' --user me:secret
//! ```
//!
//! The folder is one mailbox, INBOX, that cannot be changed. Everything IMAP says about it (flags, envelopes,
//! structures, parts) comes from the answers to a handful of asks.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an example is a program: it has files, sockets, threads and clocks"
)]

use bytes::{Bytes, BytesMut};
use mox_imap::SearchKey;
use mox_imap::Server;
use mox_imap::server::{
    Answer, Ask, BodyPart, BodyWhat, BoxId, Config, MailboxInfo, Refusal, Row, Selected,
    StatusFigures, SystemFlags, Want,
};
use mox_machine::{Mono, Now, Seed, Session, Step, Utc};
use mox_mime::{Envelope, Limits, Part, Section, Walker, header, locate};
use mox_uids::{Uid, UidSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A client that takes nothing for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: blocking FOLDER")?;
    let messages = Arc::new(read_folder(Path::new(&folder))?);
    let listener = TcpListener::bind("127.0.0.1:2143")?;
    println!("{} messages on {}", messages.len(), listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, messages) = (stream?, messages.clone());
        std::thread::spawn(move || {
            if let Err(error) = serve(stream, &messages) {
                eprintln!("connection lost: {error}");
            }
        });
    }
    Ok(())
}

/// A message and what IMAP wants to know of it.
#[derive(Debug)]
pub struct Message {
    bytes: Bytes,
    date: Utc,
    envelope: Arc<Envelope>,
    structure: Arc<Part>,
}

impl Message {
    /// Looks at a message once.
    pub fn new(bytes: impl Into<Bytes>, date: Utc) -> Self {
        let bytes = bytes.into();
        let mut walker = Walker::new(Limits::default());
        walker.push(&bytes);
        let found = walker.finish();
        Self {
            bytes,
            date,
            envelope: Arc::new(found.envelope),
            structure: Arc::new(found.part),
        }
    }

    fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    fn row(&self, uid: Uid, want: Want) -> Row {
        let all = BodyPart {
            path: Vec::new(),
            what: BodyWhat::Header,
        };
        Row {
            uid,
            modseq: 1,
            size: self.size(),
            flags: SystemFlags::SEEN,
            keywords: 0,
            date: want.date.then_some(self.date),
            envelope: want.envelope.then(|| self.envelope.clone()),
            structure: want.structure.then(|| self.structure.clone()),
            header: self.section(&all).filter(|_| want.header),
            more: None,
        }
    }

    /// The bytes of a section; `None` when the message has no such part.
    fn section(&self, part: &BodyPart) -> Option<Bytes> {
        let section = match &part.what {
            BodyWhat::All => Section::All,
            BodyWhat::Header | BodyWhat::Fields(_) | BodyWhat::NotFields(_) => Section::Header,
            BodyWhat::Text => Section::Text,
            BodyWhat::Mime => Section::Mime,
            // BINARY is not served; `mox_mime::TransferDecoder` would decode.
            BodyWhat::Binary => return None,
        };
        let found = locate(&self.structure, &part.path, section)?;
        let (start, end) = (
            usize::try_from(found.start).ok()?,
            usize::try_from(found.end).ok()?,
        );
        let bytes = self.bytes.slice(start..end);
        Some(match &part.what {
            BodyWhat::Fields(names) => header::fields(&bytes, names, false).into(),
            BodyWhat::NotFields(names) => header::fields(&bytes, names, true).into(),
            _ => bytes,
        })
    }
}

fn read_folder(folder: &Path) -> io::Result<Vec<Message>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|e| e == "eml"));
    paths.sort();
    let read = |path| {
        let modified = std::fs::metadata(&path)?.modified()?;
        let since = modified.duration_since(SystemTime::UNIX_EPOCH);
        let date = Utc::default() + since.unwrap_or_default();
        Ok(Message::new(std::fs::read(path)?, date))
    };
    paths.into_iter().map(read).collect()
}

/// Serves one connection until it closes.
pub fn serve(mut stream: TcpStream, messages: &[Message]) -> io::Result<()> {
    let started = Instant::now();
    let now = || Now {
        mono: Mono::default() + started.elapsed(),
        utc: Utc::default()
            + SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
    };
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let config = Config {
        clear_auth: true,
        mechanisms: Vec::new(),
        ..Config::default()
    };
    // The seed is for what a session makes up; a program draws 32 bytes from the system.
    let mut session = Server::new(config, Seed::from_number(1));
    let mut input = BytesMut::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        // Take what came.
        let before = input.len();
        session.recv(now(), &mut input);
        let mut moved = input.len() < before;
        // What the session wants done, in this order.
        while let Some(step) = session.poll() {
            moved = true;
            match step {
                Step::Send(bytes) => stream.write_all(&bytes)?,
                Step::Ask(id, ask) => {
                    if let Some(answer) = answer(messages, ask) {
                        session.answer(now(), id, answer);
                    }
                }
                Step::Close => return stream.shutdown(Shutdown::Write),
                // Neither TLS nor compression is offered, and nothing is kept that an event would change.
                Step::Event(_) | Step::Cancel(_) | Step::StartTls | Step::Compress => {}
            }
        }
        if moved {
            continue;
        }
        // Wait for more, but not for longer than the session does.
        let deadline = session.deadline().map(|(at, _why)| at);
        let left = deadline.map(|at| at.since(now().mono));
        if left == Some(Duration::ZERO) {
            session.tick(now());
            continue;
        }
        stream.set_read_timeout(left)?;
        match stream.read(&mut buffer) {
            Ok(0) => session.eof(now()),
            Ok(got) => input.extend_from_slice(buffer.get(..got).unwrap_or_default()),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

/// The world: one user, one mailbox. `None` leaves an ask open.
pub fn answer(messages: &[Message], ask: Ask) -> Option<Answer> {
    let uids = || {
        (1u32..)
            .zip(messages)
            .map(|(uid, _)| Uid(uid))
            .collect::<UidSet>()
    };
    let next = u32::try_from(messages.len()).map_or(u32::MAX, |count| count + 1);
    let message = |uid: Uid| messages.get(usize::try_from(uid.0).ok()?.checked_sub(1)?);
    Some(match ask {
        Ask::Login { user, password } if user == "me" && password.expose() == "secret" => {
            Answer::Authenticated("me".into())
        }
        Ask::Mailboxes => Answer::Mailboxes(vec![MailboxInfo {
            name: "INBOX".into(),
            subscribed: true,
            exists: true,
            special_use: None,
        }]),
        Ask::Status { name, .. } if name == "INBOX" => Answer::Status(StatusFigures {
            messages: next - 1,
            size: messages.iter().map(Message::size).sum(),
            next,
            validity: 1,
            modseq: 1,
            ..StatusFigures::default()
        }),
        Ask::Select { name, .. } if name == "INBOX" => Answer::Selected(Selected {
            mailbox: BoxId(1),
            validity: 1,
            next,
            modseq: 1,
            first_unseen: None,
            recent: Default::default(),
            uids: Arc::new(uids()),
            keywords: Vec::new(),
            writable: false,
        }),
        // Answered when the mailbox changes, which it never does.
        Ask::Watch { .. } => return None,
        Ask::Rows {
            uids, want, max, ..
        } => {
            let found: Vec<Uid> = uids.iter().collect();
            let max = usize::try_from(max).unwrap_or(usize::MAX).min(100);
            let page = found.iter().take(max);
            Answer::Rows {
                rows: page
                    .filter_map(|uid| Some(message(*uid)?.row(*uid, want)))
                    .collect(),
                next: found.get(max).copied(),
            }
        }
        Ask::Body {
            uid, part, range, ..
        } => match message(uid).and_then(|m| m.section(&part)) {
            Some(bytes) => {
                let clip = |at| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Answer::Piece {
                    total: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                    bytes: bytes.slice(clip(range.start)..clip(range.end)),
                }
            }
            None => Answer::Missing,
        },
        // Keys that look into messages are left to `mox_server::search`.
        Ask::Search { among, key, .. } => {
            let found = among.iter().filter(|uid| fits(&key, *uid));
            Answer::Found {
                uids: found.collect(),
                modseq: None,
            }
        }
        Ask::Sasl { .. } | Ask::Login { .. } => Answer::No(Refusal {
            code: Some("AUTHENTICATIONFAILED"),
            text: "wrong user or password".into(),
        }),
        Ask::Status { .. } | Ask::Select { .. } => Answer::No(Refusal {
            code: Some("NONEXISTENT"),
            text: "there is only INBOX".into(),
        }),
        _ => Answer::No(Refusal {
            code: Some("NOPERM"),
            text: "this mailbox cannot be changed".into(),
        }),
    })
}

fn fits(key: &SearchKey, uid: Uid) -> bool {
    match key {
        SearchKey::All => true,
        SearchKey::And(keys) => keys.iter().all(|key| fits(key, uid)),
        SearchKey::Or(a, b) => fits(a, uid) || fits(b, uid),
        SearchKey::Not(key) => !fits(key, uid),
        SearchKey::Uids(uids) => uids.contains(uid),
        SearchKey::Flags(flags) => SystemFlags::SEEN.contains(*flags),
        _ => false,
    }
}
