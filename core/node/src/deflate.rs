//! A stream that is compressed in both directions, RFC 4978.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use futures_io::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets that all compressed sessions together may take; more are refused compression.
pub const COMPRESSION_MAX: usize = 64 * 1024 * 1024;
/// Octets one compressed session takes: the windows and tables of both directions, and the buffers here.
const SESSION: usize = 400 * 1024;
/// Octets of each buffer.
const BUFFER: usize = 8 * 1024;
/// What comes may be so many octets long, however few it was made of.
const EXPANSION_FREE: u64 = 16 * 1024 * 1024;
/// Beyond that it may be so many times as long as what it was made of. Text and base64 stay below 10; DEFLATE could do 1,032.
const EXPANSION_MAX: u64 = 100;

/// The memory of one compressed session; given back when dropped.
pub(crate) struct Compressed(Arc<AtomicUsize>);

impl Compressed {
    /// `None` when too many sessions are compressed already. `taken` counts octets.
    pub(crate) fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let before = taken.fetch_add(SESSION, Ordering::Relaxed);
        let place = Self(taken.clone());
        (before + SESSION <= COMPRESSION_MAX).then_some(place)
    }
}

impl Drop for Compressed {
    fn drop(&mut self) {
        self.0.fetch_sub(SESSION, Ordering::Relaxed);
    }
}

/// A compressed stream over another one.
pub struct Deflate<S> {
    io: S,
    inflate: Decompress,
    deflate: Compress,
    /// What came and is not expanded yet.
    incoming: Buffer,
    /// What is compressed and not written yet.
    outgoing: Buffer,
    /// Something was compressed behind the last flush.
    dirty: bool,
    /// The other side ended its stream.
    over: bool,
}

struct Buffer {
    octets: Box<[u8; BUFFER]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            octets: Box::new([0; BUFFER]),
            start: 0,
            end: 0,
        }
    }

    fn filled(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        self.octets.get_mut(self.end..).unwrap_or_default()
    }
}

impl<S> Deflate<S> {
    /// Compresses from here on.
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            inflate: Decompress::new(false),
            deflate: Compress::new(Compression::fast(), false),
            incoming: Buffer::new(),
            outgoing: Buffer::new(),
            dirty: false,
            over: false,
        }
    }

    /// Expands some of what came.
    fn expand(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let from = self.incoming.filled();
        let status = self
            .inflate
            .decompress(from, into, FlushDecompress::Sync)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.over |= status == Status::StreamEnd;
        let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
        // Both fit: they are lengths of buffers.
        self.incoming.start += (taken - before.0) as usize;
        if made > EXPANSION_FREE && made / EXPANSION_MAX > taken {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((made - before.1) as usize)
    }

    /// Compresses some; tells how much was taken, and whether there may be more to come out.
    fn shrink(&mut self, from: &[u8], flush: FlushCompress) -> io::Result<(usize, bool)> {
        let before = (self.deflate.total_in(), self.deflate.total_out());
        let room = self.outgoing.room();
        let space = room.len();
        self.deflate
            .compress(from, room, flush)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let taken = (self.deflate.total_in() - before.0) as usize;
        let made = (self.deflate.total_out() - before.1) as usize;
        self.outgoing.end += made;
        Ok((taken, made == space))
    }
}

impl<S: AsyncWrite + Unpin> Deflate<S> {
    /// Writes all that is compressed.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.filled().is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, self.outgoing.filled()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.start += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deflate<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if this.over || into.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let left = this.incoming.filled().len();
            let made = this.expand(into)?;
            if made > 0 {
                return Poll::Ready(Ok(made));
            }
            match this.incoming.filled().len() {
                0 => {}
                // It took nothing and gave nothing: it never will.
                same if same == left => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                _ => continue,
            }
            let room = this.incoming.room();
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, room))?;
            this.incoming.end += read;
            this.over = read == 0;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deflate<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            // With room for what comes out, something is always taken.
            ready!(this.poll_drain(cx))?;
            let (taken, _) = this.shrink(from, FlushCompress::None)?;
            if taken > 0 || from.is_empty() {
                this.dirty |= taken > 0;
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.dirty {
            ready!(this.poll_drain(cx))?;
            // Full to the brim: there may be more, and it must be asked for in the same way.
            (_, this.dirty) = this.shrink(&[], FlushCompress::Sync)?;
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

impl<S> fmt::Debug for Deflate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate")
            .field("received", &self.inflate.total_in())
            .field("sent", &self.deflate.total_out())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use futures_lite::io::Cursor;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    fn shrunk(text: &[u8]) -> Vec<u8> {
        block_on(async {
            let mut stream = Deflate::new(Cursor::new(Vec::new()));
            stream.write_all(text).await.unwrap();
            stream.flush().await.unwrap();
            let once = stream.io.get_ref().len();
            stream.flush().await.unwrap();
            assert_eq!(stream.io.get_ref().len(), once, "nothing new to tell");
            stream.io.into_inner()
        })
    }

    fn expanded(octets: Vec<u8>) -> io::Result<Vec<u8>> {
        block_on(async {
            let mut text = Vec::new();
            let mut stream = Deflate::new(Cursor::new(octets));
            stream.read_to_end(&mut text).await.map(|_| text)
        })
    }

    #[test]
    fn what_goes_in_comes_out_at_every_flush() {
        let noise: Vec<u8> = (0..200_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let plain = b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n".repeat(5_000);
        for text in [&b"* OK\r\n"[..], &plain, &noise] {
            let octets = shrunk(text);
            assert_eq!(expanded(octets).unwrap(), text);
        }
        assert!(shrunk(&plain).len() < plain.len() / 20);
    }

    #[test]
    fn what_is_no_deflate_breaks_the_stream() {
        assert_eq!(
            expanded(b"a1 NOOP\r\n".repeat(100)).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn what_expands_beyond_measure_breaks_the_stream_in_time() {
        let bomb = shrunk(&vec![0; 40 * 1024 * 1024]);
        assert!(bomb.len() < 400 * 1024);
        let mut stream = Deflate::new(Cursor::new(bomb));
        let mut sum = 0;
        let end = block_on(async {
            let mut octets = [0; 16 * 1024];
            loop {
                match stream.read(&mut octets).await {
                    Ok(0) => break None,
                    Ok(some) => sum += some,
                    Err(error) => break Some(error.kind()),
                }
            }
        });
        assert_eq!(end, Some(io::ErrorKind::InvalidData));
        assert!(sum <= EXPANSION_FREE as usize + 16 * 1024, "{sum}");
        // The same is fine where there is less of it.
        assert!(expanded(shrunk(&vec![0; 10 * 1024 * 1024])).is_ok());
    }

    #[test]
    fn memory_is_counted_and_given_back() {
        let taken = Arc::default();
        let mut places = Vec::new();
        while let Some(place) = Compressed::take(&taken) {
            places.push(place);
        }
        assert_eq!(places.len(), COMPRESSION_MAX / SESSION);
        places.pop();
        assert!(Compressed::take(&taken).is_some());
        places.clear();
        assert_eq!(taken.load(Ordering::Relaxed), 0);
    }
}
