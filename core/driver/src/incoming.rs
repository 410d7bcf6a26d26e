//! Bytes from the peer that the session has not taken yet.

use bytes::BytesMut;
use core::cell::Cell;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use futures_io::AsyncRead;
use std::io;

/// Read at once when no body is read, into memory shared by all sessions of a thread.
pub(crate) const SCRATCH: usize = 16 * 1024;
/// Read at once inside a body, into the session's own buffer.
pub(crate) const BULK: usize = 64 * 1024;
/// What is left of a bulk buffer is not worth a read below this size.
const BULK_LEFT: usize = 8 * 1024;
/// A remainder up to this size is moved out of a bulk buffer when the session sleeps.
const REMAINDER: usize = 4 * 1024;

thread_local! {
    /// So that a connection that waits holds no buffer.
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The read buffer of one stream.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// What the session has not taken.
    pub(crate) buffer: BytesMut,
    /// Zeroed memory right behind `buffer` (or nothing): bytes read into it join without a copy.
    bulk: BytesMut,
    /// The last read filled what it was given, so there is probably more.
    filled: bool,
}

impl Incoming {
    /// Reads once; the number of bytes added, 0 at the end of the stream.
    ///
    /// `in_bulk` asks for big reads without a copy, which a stream gets once it has shown that it is fast.
    pub(crate) fn poll_read<IO: AsyncRead>(
        &mut self,
        io: Pin<&mut IO>,
        in_bulk: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if in_bulk && self.filled {
            if self.bulk.len() < BULK_LEFT {
                self.bulk = BytesMut::zeroed(BULK);
            }
            let got = ready!(io.poll_read(cx, &mut self.bulk))?.min(self.bulk.len());
            self.filled = got >= SCRATCH;
            self.buffer.unsplit(self.bulk.split_to(got));
            return Poll::Ready(Ok(got));
        }
        let (got, scratch) = ready!(poll_scratch(io, cx))?;
        let read = scratch.get(..got).unwrap_or(&scratch);
        self.buffer.extend_from_slice(read);
        let got = read.len();
        self.filled = got == SCRATCH;
        READ.set(scratch);
        Poll::Ready(Ok(got))
    }

    /// Gives memory back before a sleep.
    pub(crate) fn rest(&mut self) {
        self.filled = false;
        let had_bulk = self.bulk.capacity() > 0;
        self.bulk = BytesMut::new();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        } else if had_bulk && self.buffer.len() <= REMAINDER {
            self.buffer = BytesMut::from(self.buffer.as_ref());
        }
    }
}

/// Reads once and forgets what was read; the number of bytes.
pub(crate) fn poll_discard<IO: AsyncRead>(
    io: Pin<&mut IO>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let (got, scratch) = ready!(poll_scratch(io, cx))?;
    READ.set(scratch);
    Poll::Ready(Ok(got))
}

/// Reads into the thread's scratch, taken out of its place so that nothing is borrowed while the stream runs.
fn poll_scratch<IO: AsyncRead>(
    io: Pin<&mut IO>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(usize, Vec<u8>)>> {
    let mut scratch = READ.take();
    scratch.resize(SCRATCH, 0);
    match io.poll_read(cx, &mut scratch) {
        Poll::Ready(Ok(got)) => Poll::Ready(Ok((got, scratch))),
        Poll::Ready(Err(error)) => {
            READ.set(scratch);
            Poll::Ready(Err(error))
        }
        Poll::Pending => {
            READ.set(scratch);
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::Waker;

    fn read(incoming: &mut Incoming, bytes: &[u8], in_bulk: bool) -> usize {
        let mut from = bytes;
        let mut cx = Context::from_waker(Waker::noop());
        match incoming.poll_read(Pin::new(&mut from), in_bulk, &mut cx) {
            Poll::Ready(Ok(got)) => got,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fast_body_is_read_in_big_pieces_that_join_without_a_copy() {
        let body: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let mut incoming = Incoming::default();
        assert_eq!(read(&mut incoming, &body, true), SCRATCH);
        incoming.buffer.clear();
        assert_eq!(read(&mut incoming, &body[..20_000], true), 20_000);
        let at = incoming.buffer.as_ptr();
        assert_eq!(read(&mut incoming, &body[20_000..], true), BULK - 20_000);
        assert_eq!(incoming.buffer.as_ptr(), at);
        assert_eq!(incoming.buffer, body[..BULK]);
    }

    #[test]
    fn a_slow_body_and_commands_take_no_big_buffer() {
        let mut incoming = Incoming::default();
        for _ in 0..100 {
            assert_eq!(read(&mut incoming, b"x", true), 1);
        }
        assert_eq!(incoming.bulk.capacity(), 0);
        assert!(incoming.buffer.capacity() < 1_000);
        assert_eq!(read(&mut incoming, &[b'x'; BULK], false), SCRATCH);
        assert_eq!(read(&mut incoming, &[b'x'; BULK], false), SCRATCH);
        assert_eq!(incoming.bulk.capacity(), 0);
    }

    #[test]
    fn a_sleeping_stream_holds_no_memory_but_what_is_not_taken() {
        let mut incoming = Incoming::default();
        read(&mut incoming, &[b'x'; BULK], true);
        read(&mut incoming, &[b'y'; 1_000], true);
        let _taken = incoming.buffer.split_to(SCRATCH + 990);
        incoming.rest();
        assert_eq!(incoming.bulk.capacity(), 0);
        assert!(
            incoming.buffer.capacity() < 100,
            "{}",
            incoming.buffer.capacity()
        );
        assert_eq!(incoming.buffer, [b'y'; 10].as_slice());
        incoming.buffer.clear();
        incoming.rest();
        assert_eq!(incoming.buffer.capacity(), 0);
    }
}
