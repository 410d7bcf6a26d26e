//! The side that answers.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use serde::Deserialize;
use serde_json::Value;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Executor, Timer};

use super::{Code, Command, CtlError, REQUEST_MAX, RESPONSE_MAX, Request, Response, VERSION};

/// Connections at a time.
pub const PEERS_MAX: usize = 16;
/// How long a connection may be silent, or refuse to read.
pub const IDLE: Duration = Duration::from_secs(60);

/// What does the work behind a ctl socket.
pub trait Handler: Send + Sync + 'static {
    /// Does what is asked; the value is the answer.
    fn handle(
        &self,
        command: Command,
    ) -> Pin<Box<dyn Future<Output = Result<Value, CtlError>> + Send + '_>>;
}

/// A bound ctl socket. The file is removed when it is dropped.
#[derive(Debug)]
pub struct Listening {
    listener: Async<UnixListener>,
    path: PathBuf,
    /// The file we made: another server's is not ours to remove.
    inode: u64,
}

impl Listening {
    /// Binds the socket, mode 0600. A file left over by a server that is gone is replaced;
    /// a server that still listens is an error. Bind after privileges are dropped: the file belongs to the user.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(
                    ErrorKind::AlreadyExists,
                    "it is there and is no socket",
                ));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(io::Error::new(
                    ErrorKind::AddrInUse,
                    "another server listens on it",
                ));
            }
            Ok(_) => fs::remove_file(path)?,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let listener = Async::new(UnixListener::bind(path)?)?;
        // Whoever is faster than this is stopped by the kernel's word on who connects.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(path)?.ino();
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
        })
    }

    /// Answers requests until the future is dropped.
    pub async fn serve(&self, handler: &dyn Handler) {
        let executor = Executor::new();
        let peers = Arc::<AtomicUsize>::default();
        executor
            .run(async {
                loop {
                    match self.listener.accept().await {
                        Ok((stream, _)) => {
                            let peer = Peer::new(stream, &peers);
                            executor.spawn(peer.converse(handler)).detach();
                        }
                        Err(e) => {
                            // Out of descriptors, most likely: others must close some first.
                            tracing::warn!("the ctl socket accepts nobody at the moment: {e}");
                            Timer::after(Duration::from_millis(200)).await;
                        }
                    }
                }
            })
            .await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// One connection.
struct Peer {
    stream: Async<UnixStream>,
    unread: Vec<u8>,
    peers: Arc<AtomicUsize>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.peers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    fn new(stream: Async<UnixStream>, peers: &Arc<AtomicUsize>) -> Self {
        peers.fetch_add(1, Ordering::Relaxed);
        Self {
            stream,
            unread: Vec::new(),
            peers: peers.clone(),
        }
    }

    async fn converse(mut self, handler: &dyn Handler) {
        // Whoever breaks the conversation off is not told why, nor is the log: it is a local command.
        let _ = self.try_converse(handler).await;
    }

    async fn try_converse(&mut self, handler: &dyn Handler) -> io::Result<()> {
        if self.peers.load(Ordering::Relaxed) > PEERS_MAX {
            return self
                .refuse(0, Code::Busy, "too many are connected; try again")
                .await;
        }
        if !is_allowed(&self.stream)? {
            return self
                .refuse(
                    0,
                    Code::Forbidden,
                    "only root and the server's own user may ask",
                )
                .await;
        }
        loop {
            let line = match self.line().await? {
                Line::Whole(line) => line,
                Line::End => return Ok(()),
                Line::TooLong => {
                    let why = format!("a request has at most {REQUEST_MAX} bytes");
                    return self.refuse(0, Code::TooLong, &why).await;
                }
            };
            let request = match read_request(&line) {
                Ok(request) => request,
                Err((id, error)) => return self.respond(id, Err(error)).await,
            };
            let result = handler.handle(request.command).await;
            self.respond(request.id, result).await?;
        }
    }

    async fn line(&mut self) -> io::Result<Line> {
        let mut searched = 0;
        loop {
            let fresh = self.unread.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|b| *b == b'\n') {
                let rest = self.unread.split_off(searched + at + 1);
                return Ok(Line::Whole(std::mem::replace(&mut self.unread, rest)));
            }
            searched = self.unread.len();
            if searched >= REQUEST_MAX {
                return Ok(Line::TooLong);
            }
            let mut piece = [0; 4096];
            let count = within(IDLE, self.stream.read(&mut piece)).await?;
            match piece.get(..count) {
                None | Some([]) => return Ok(Line::End),
                Some(read) => self.unread.extend_from_slice(read),
            }
        }
    }

    async fn refuse(&mut self, id: u64, code: Code, message: &str) -> io::Result<()> {
        self.respond(
            id,
            Err(CtlError {
                code,
                message: message.into(),
            }),
        )
        .await
    }

    async fn respond(&mut self, id: u64, result: Result<Value, CtlError>) -> io::Result<()> {
        let (ok, error) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        let mut line = serde_json::to_vec(&Response {
            v: VERSION,
            id,
            ok,
            error,
        })?;
        if line.len() >= RESPONSE_MAX {
            line = serde_json::to_vec(&Response {
                v: VERSION,
                id,
                ok: None,
                error: Some(too_much(line.len())),
            })?;
        }
        line.push(b'\n');
        within(IDLE, self.stream.write_all(&line)).await
    }
}

/// What is said in place of an answer that is too large.
fn too_much(octets: usize) -> CtlError {
    CtlError {
        code: Code::TooLong,
        message: format!(
            "the answer has {octets} bytes, and at most {RESPONSE_MAX} are given: ask for less, with --max where there is such"
        ),
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// The envelope comes first: a request of another version may have commands that this one cannot even read.
fn read_request(line: &[u8]) -> Result<Request, (u64, CtlError)> {
    #[derive(Deserialize)]
    struct Envelope {
        v: u32,
        #[serde(default)]
        id: u64,
    }
    let malformed = |id, e: serde_json::Error| {
        // The kind of error only: its text may quote a password.
        let kind = if e.is_data() {
            "unknown command or wrong arguments"
        } else {
            "no JSON"
        };
        let message = format!(
            "this request cannot be read ({kind}, column {})",
            e.column()
        );
        (
            id,
            CtlError {
                code: Code::Malformed,
                message,
            },
        )
    };
    let envelope: Envelope = serde_json::from_slice(line).map_err(|e| malformed(0, e))?;
    if envelope.v != VERSION {
        let message = format!(
            "this server speaks version {VERSION} of the ctl protocol, not {}; use the moxctl it was installed with",
            envelope.v
        );
        return Err((
            envelope.id,
            CtlError {
                code: Code::Version,
                message,
            },
        ));
    }
    serde_json::from_slice(line).map_err(|e| malformed(envelope.id, e))
}

/// Root and our own user, as the kernel says.
fn is_allowed(stream: &Async<UnixStream>) -> io::Result<bool> {
    let peer = getsockopt(stream.get_ref(), PeerCredentials)?;
    Ok(peer.uid() == 0 || peer.uid() == Uid::effective().as_raw())
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    futures_lite::future::or(work, async {
        Timer::after(limit).await;
        Err(ErrorKind::TimedOut.into())
    })
    .await
}
