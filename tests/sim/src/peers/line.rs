//! A connection of a peer, in clear or encrypted, read by lines.

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::{TlsAcceptor, TlsStream};
use mox_driver::{Runtime, Timer};
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::SimRuntime;
use crate::stream::{Receipt, SimStream};

/// Octets of a line or a message that a peer takes.
const MOST: usize = 64 * 1024 * 1024;

enum Io {
    Clear(SimStream),
    Tls(Box<TlsStream<SimStream>>),
    Gone,
}

/// What a peer speaks over.
pub(super) struct Line {
    io: Io,
    heard: Vec<u8>,
}

impl Line {
    pub(super) fn new(stream: SimStream) -> Self {
        Self {
            io: Io::Clear(stream),
            heard: Vec::new(),
        }
    }

    /// Says all of this.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.io {
            Io::Clear(io) => say(io, bytes).await,
            Io::Tls(io) => say(&mut **io, bytes).await,
            Io::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// For all that was said.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        match &self.io {
            Io::Clear(io) => Some(io.receipt()),
            Io::Tls(io) => Some(io.get_ref().0.receipt()),
            Io::Gone => None,
        }
    }

    /// More octets; false at the end.
    pub(super) async fn hear(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4_096];
        let got = match &mut self.io {
            Io::Clear(io) => io.read(&mut piece).await?,
            Io::Tls(io) => io.read(&mut piece).await?,
            Io::Gone => 0,
        };
        if self.heard.len() > MOST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.heard
            .extend_from_slice(piece.get(..got).unwrap_or_default());
        Ok(got > 0)
    }

    /// The octets up to `end`, which is taken and left out; `None` at the end of the stream.
    pub(super) async fn until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let fresh = self.heard.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.windows(end.len()).position(|part| part == end) {
                let mut found: Vec<u8> = self.heard.drain(..searched + at + end.len()).collect();
                found.truncate(searched + at);
                return Ok(Some(found));
            }
            searched = (self.heard.len() + 1).saturating_sub(end.len());
            if !self.hear().await? {
                return Ok(None);
            }
        }
    }

    /// A message up to its final dot, unstuffed; `None` if the stream ends before.
    pub(super) async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        loop {
            let Some(line) = self.until(b"\r\n").await? else {
                return Ok(None);
            };
            if line == b"." {
                return Ok(Some(message));
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            message.extend_from_slice(b"\r\n");
        }
    }

    /// Reads and forgets until the client goes.
    pub(super) async fn outlast(&mut self) {
        while let Ok(true) = self.hear().await {
            self.heard.clear();
        }
    }

    /// The server's side of a handshake.
    pub(super) async fn secure(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Io::Clear(stream) = core::mem::replace(&mut self.io, Io::Gone) else {
            return Err(io::Error::other("TLS within TLS"));
        };
        // What came in clear behind STARTTLS was not said inside it.
        self.heard.clear();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        self.io = Io::Tls(Box::new(TlsStream::from(stream)));
        Ok(())
    }

    pub(super) fn is_secured(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// Ends our direction, and waits until the client ends its own.
    pub(super) async fn close(mut self) {
        let closed = match &mut self.io {
            Io::Clear(io) => io.close().await,
            Io::Tls(io) => io.close().await,
            Io::Gone => return,
        };
        if closed.is_ok() {
            self.outlast().await;
        }
    }

    /// Breaks the connection.
    pub(super) fn reset(self) {
        match self.io {
            Io::Clear(io) => io.reset(),
            Io::Tls(io) => match *io {
                TlsStream::Server(io) => io.into_inner().0.reset(),
                TlsStream::Client(io) => io.into_inner().0.reset(),
            },
            Io::Gone => {}
        }
    }
}

async fn say<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

/// Waits.
pub(super) async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    core::future::poll_fn(|cx| timer.poll_fired(cx)).await;
}
