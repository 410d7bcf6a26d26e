//! Listening, accepting, connecting.

use async_io::{Async, Timer};
use core::time::Duration;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::stream::{SmolDatagram, SmolStream};

/// Connections the kernel holds for us until they are accepted.
const BACKLOG: i32 = 1024;
/// First and longest pause while the process has no file descriptor or memory for another connection.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A listening socket. An IPv6 one takes IPv6 only, so that 0.0.0.0 and :: can both be listened on.
pub(crate) fn listen(on: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(on)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if on.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(on))?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(socket))
}

/// The next connection. What only concerns one connection, or passes, is waited out here.
pub(crate) async fn accept(on: &Async<TcpListener>) -> io::Result<(SmolStream, SocketAddr)> {
    let (mut pause, longest) = BACK_OFF;
    loop {
        let error = match on.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already shows at its first read.
                let _ = stream.get_ref().set_nodelay(true);
                return Ok((SmolStream(stream), peer));
            }
            Err(error) => error,
        };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                tracing::warn!(%error, "cannot accept, waiting");
                Timer::after(pause).await;
                pause = (pause * 2).min(longest);
            }
            Some(
                Errno::ECONNABORTED
                | Errno::EINTR
                | Errno::EPROTO
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::ENETDOWN
                | Errno::ETIMEDOUT
                | Errno::EPERM,
            ) => {}
            _ => return Err(error),
        }
    }
}

/// Connects, from a certain local address if one is given.
pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<SmolStream> {
    let socket = open(to)?;
    if let Some(from) = from {
        let local = SockaddrStorage::from(SocketAddr::new(from, 0));
        socket::bind(socket.as_raw_fd(), &local)?;
    }
    match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = Async::new_nonblocking(TcpStream::from(socket))?;
    stream.writable().await?;
    if let Some(error) = stream.get_ref().take_error()? {
        return Err(error);
    }
    stream.get_ref().set_nodelay(true)?;
    Ok(SmolStream(stream))
}

/// A UDP socket connected to `to`; the kernel picks a random port.
pub(crate) fn udp(to: SocketAddr) -> io::Result<SmolDatagram> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(SmolDatagram(Async::new(socket)?))
}

fn open(family_of: SocketAddr) -> io::Result<OwnedFd> {
    let family = match family_of {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket::socket(family, SockType::Stream, flags, None)?)
}
