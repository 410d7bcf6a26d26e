//! Listening, accepting, connecting.

use core::time::Duration;
use mox_driver::{Datagram, FutRef};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::sleep;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Connections the kernel holds for us until they are accepted.
const BACKLOG: i32 = 1024;
/// First and longest pause while the process has no file descriptor or memory for another connection.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A listening socket. An IPv6 one takes IPv6 only, so that 0.0.0.0 and :: can both be listened on.
pub(crate) fn listen(on: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(on), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if on.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(on))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The next connection. What only concerns one connection, or passes, is waited out here.
pub(crate) async fn accept(on: &TcpListener) -> io::Result<(Compat<TcpStream>, SocketAddr)> {
    use io::ErrorKind::*;
    let (mut pause, longest) = BACK_OFF;
    loop {
        match on.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already shows at its first read.
                let _ = stream.set_nodelay(true);
                return Ok((stream.compat(), peer));
            }
            Err(error) => match error.kind() {
                ConnectionAborted | Interrupted | TimedOut | PermissionDenied => {}
                HostUnreachable | NetworkUnreachable | NetworkDown => {}
                InvalidInput => return Err(error),
                _ => {
                    tracing::warn!(%error, "cannot accept, waiting");
                    sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            },
        }
    }
}

/// Connects, from a certain local address if one is given.
pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Compat<TcpStream>> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream.compat())
}

/// A UDP socket connected to `to`; the kernel picks a random port.
pub(crate) async fn udp(to: SocketAddr) -> io::Result<TokioDatagram> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(TokioDatagram(socket))
}

/// A connected UDP socket.
#[derive(Debug)]
pub struct TokioDatagram(UdpSocket);

impl Datagram for TokioDatagram {
    fn send<'a>(&'a mut self, bytes: &'a [u8]) -> FutRef<'a, io::Result<()>> {
        Box::pin(async move { self.0.send(bytes).await.map(|_| ()) })
    }

    fn recv<'a>(&'a mut self, into: &'a mut [u8]) -> FutRef<'a, io::Result<usize>> {
        Box::pin(self.0.recv(into))
    }
}
