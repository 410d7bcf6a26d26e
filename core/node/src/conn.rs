//! A connection, in clear or encrypted, as one type for every session.

use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsStream;
use std::io;

use crate::deflate::Deflate;

/// A byte stream that may have been upgraded to TLS, and be compressed.
#[derive(Debug)]
pub enum Conn<S> {
    /// In clear.
    Plain(S),
    /// Encrypted.
    Tls(Box<TlsStream<S>>),
    /// Compressed, over one of the others.
    Deflate(Box<Deflate<Self>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Conn<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, into),
            Self::Tls(s) => Pin::new(s).poll_read(cx, into),
            Self::Deflate(s) => Pin::new(s).poll_read(cx, into),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Conn<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, from),
            Self::Tls(s) => Pin::new(s).poll_write(cx, from),
            Self::Deflate(s) => Pin::new(s).poll_write(cx, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
            Self::Deflate(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_close(cx),
            Self::Tls(s) => Pin::new(s).poll_close(cx),
            Self::Deflate(s) => Pin::new(s).poll_close(cx),
        }
    }
}
