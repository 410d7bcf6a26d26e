//! Connecting to a host, also by way of a proxy.

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use mox_driver::Runtime;
use mox_server::config::Transport as Kind;
use mox_socks::{Connect, Do, Login};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::route::{Hop, Way};
use crate::node::Inner;
use crate::tls;
use crate::transports::Transport;

/// How long connecting to one address may take, with all that a proxy says to it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a hop.
pub(super) async fn connect<R: Runtime>(node: &Inner<R>, hop: &Hop) -> io::Result<R::Stream> {
    let runtime = &node.runtime;
    let own = hop.addresses(node);
    let Way::Socks5(transport, proxies) = &hop.way else {
        let connect = runtime.connect(hop.address, own.to(hop.address.ip()));
        return tls::within(runtime, CONNECT_TIMEOUT, connect).await;
    };
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for proxy in &**proxies {
        let from = own.to(proxy.ip());
        let through = through(runtime, transport, (*proxy, from), hop.address);
        match tls::within(runtime, CONNECT_TIMEOUT, through).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = io::Error::other(format!("by way of {proxy}: {error}")),
        }
    }
    Err(failed)
}

async fn through<R: Runtime>(
    runtime: &R,
    transport: &Transport,
    (proxy, from): (SocketAddr, Option<IpAddr>),
    to: SocketAddr,
) -> io::Result<R::Stream> {
    let user = match &transport.kind {
        Kind::Socks5(socks) => socks.login.as_ref().map(|login| login.user.clone()),
        Kind::Smarthost(_) | Kind::Fail(_) => None,
    };
    let login = user.zip(transport.password.clone());
    let login = login.map(|(user, password)| Login { user, password });
    let mut connect = Connect::new(to, login);
    let mut stream = runtime.connect(proxy, from).await?;
    loop {
        match connect.next() {
            Do::Write(octets) => {
                stream.write_all(&octets).await?;
                stream.flush().await?;
            }
            Do::Read(count) => {
                let mut octets = vec![0; count];
                stream.read_exact(&mut octets).await?;
                connect.read(&octets).map_err(io::Error::other)?;
            }
            Do::Open => return Ok(stream),
        }
    }
}
