//! Bytes on their way to the peer.

use bytes::{Buf, Bytes, BytesMut};
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::AsyncWrite;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Sends below this size are copied together: one write, and under TLS one record, for a batch of replies.
const SMALL: usize = 2 * 1024;
/// Parts handed to the kernel in one vectored write.
const SLICES: usize = 16;

/// A queue of sends: small ones copied together, big ones kept as they are.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Bytes>,
    tail: BytesMut,
    length: usize,
}

impl Outgoing {
    /// Bytes queued.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        if bytes.len() < SMALL {
            self.tail.extend_from_slice(&bytes);
        } else {
            if !self.tail.is_empty() {
                self.parts.push_back(self.tail.split().freeze());
            }
            self.parts.push_back(bytes);
        }
    }

    /// Writes once, as much as the stream takes, and forgets what it took; the number of bytes taken.
    pub(crate) fn poll_write<IO: AsyncWrite>(
        &mut self,
        io: Pin<&mut IO>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let written = if self.parts.is_empty() {
            io.poll_write(cx, &self.tail)
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let queued = self.parts.iter().map(|part| part.as_ref());
            let all = queued.chain([self.tail.as_ref()]);
            let used = slices
                .iter_mut()
                .zip(all)
                .map(|(slice, part)| *slice = IoSlice::new(part))
                .count();
            io.poll_write_vectored(cx, slices.get(..used).unwrap_or_default())
        };
        written.map_ok(|taken| {
            self.advance(taken);
            taken
        })
    }

    /// Gives memory back when nothing is queued.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn advance(&mut self, taken: usize) {
        let mut left = taken.min(self.length);
        self.length -= left;
        while let Some(part) = self.parts.front_mut() {
            if part.len() > left {
                part.advance(left);
                return;
            }
            left -= part.len();
            self.parts.pop_front();
        }
        self.tail.advance(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::Waker;

    /// Takes at most `most` bytes a write and remembers each write.
    struct Sink {
        most: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.most);
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
            self.poll_write(cx, &all)
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn drain(out: &mut Outgoing, most: usize) -> Vec<Vec<u8>> {
        let mut sink = Sink {
            most,
            writes: Vec::new(),
        };
        while !out.is_empty() {
            let done = out.poll_write(Pin::new(&mut sink), &mut Context::from_waker(Waker::noop()));
            assert!(matches!(done, Poll::Ready(Ok(_))));
        }
        sink.writes
    }

    #[test]
    fn small_sends_leave_in_one_write() {
        let mut out = Outgoing::default();
        for _ in 0..100 {
            out.push(Bytes::from_static(b"250 ok\r\n"));
        }
        assert_eq!(out.len(), 800);
        assert_eq!(drain(&mut out, usize::MAX), [b"250 ok\r\n".repeat(100)]);
    }

    #[test]
    fn order_and_bytes_survive_any_mixture_and_any_write_size() {
        let mut expected = Vec::new();
        for most in [1, 7, 2_048, 5_000, usize::MAX] {
            let mut out = Outgoing::default();
            expected.clear();
            for (i, size) in [3, 4_000, 1, 0, 2_048, 2_047, 9_000, 5]
                .into_iter()
                .enumerate()
            {
                let part = vec![b'a' + i as u8; size];
                expected.extend_from_slice(&part);
                out.push(part.into());
            }
            assert_eq!(out.len(), expected.len());
            let writes = drain(&mut out, most);
            assert_eq!(writes.concat(), expected, "{most}");
            if most == usize::MAX {
                assert_eq!(writes.len(), 1, "a head, a body and a tail are one write");
            }
        }
    }
}
