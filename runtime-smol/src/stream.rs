//! Connected sockets.

use async_io::Async;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_lite::{AsyncRead, AsyncWrite};
use mox_driver::{Datagram, FutRef};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, TcpStream, UdpSocket};

/// A TCP connection. Closing it closes our direction; the peer's stays readable.
#[derive(Debug)]
pub struct SmolStream(pub(crate) Async<TcpStream>);

impl AsyncRead for SmolStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, into)
    }
}

impl AsyncWrite for SmolStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}

/// A connected UDP socket.
#[derive(Debug)]
pub struct SmolDatagram(pub(crate) Async<UdpSocket>);

impl Datagram for SmolDatagram {
    fn send<'a>(&'a mut self, bytes: &'a [u8]) -> FutRef<'a, io::Result<()>> {
        Box::pin(async move { self.0.send(bytes).await.map(|_| ()) })
    }

    fn recv<'a>(&'a mut self, into: &'a mut [u8]) -> FutRef<'a, io::Result<usize>> {
        Box::pin(self.0.recv(into))
    }
}
