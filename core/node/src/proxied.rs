//! Connections that a proxy passes on: who is behind it says the header of the PROXY protocol, which is read before anything else.

use core::future::poll_fn;
use core::sync::atomic::{AtomicUsize, Ordering};
use futures_lite::{AsyncRead, AsyncReadExt, future};
use mox_driver::Runtime;
use mox_proxy::{HEADER_MAX, Parsed, Source, parse};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ListenerConfig;
use crate::front::Front;
use crate::tls::within;

/// How long a proxy may take for its header, which it sends at once.
const HEADER_WITHIN: Duration = Duration::from_secs(5);
/// Connections of a listener whose header is not there yet, at a time; more are closed.
const WAITING_MAX: usize = 256;

/// Connections of one listener whose headers are being read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<AtomicUsize>);

/// One of them; its place is free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Waiting {
    fn enter(&self) -> Option<Place> {
        let place = Place(self.0.clone());
        (self.0.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads who is behind a connection: the address that counts from here on. `None` when it is closed, which the log says.
pub(crate) async fn client<R: Runtime>(
    front: &Front<R>,
    config: &ListenerConfig,
    waiting: &Waiting,
    stream: &mut R::Stream,
    peer: SocketAddr,
) -> Option<SocketAddr> {
    let runtime = &front.runtime;
    let trusted = config.trusted_proxies.iter().any(|n| n.contains(peer.ip()));
    let why = match (trusted, waiting.enter()) {
        (false, _) => "it is no trusted proxy".to_owned(),
        (true, None) => "too many proxied connections have not said yet who they are".into(),
        (true, Some(_place)) => {
            let stopping = async {
                poll_fn(|cx| front.registry.poll_stopping(cx)).await;
                Err(io::ErrorKind::ConnectionAborted.into())
            };
            let header = within(runtime, HEADER_WITHIN, header(stream));
            match future::or(header, stopping).await {
                Ok(Source::Client(client)) => return Some(client),
                Ok(Source::Proxy) => return Some(peer),
                Err(error) => error.to_string(),
            }
        }
    };
    // Whoever floods a port must not flood the log too.
    let connections = &front.limiters.connections;
    connections.count_refused();
    if let Some(refused) = connections.due_in_log(runtime.now().mono) {
        tracing::warn!(target: "listen", listener = config.name, %peer, why, refused, "proxied connection closed");
    }
    None
}

/// Reads the header and not an octet more: what follows is the client's, most likely TLS.
async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Source> {
    let (mut octets, mut have) = (Vec::new(), 0);
    loop {
        match parse(&octets) {
            Parsed::Header(source) => return Ok(source),
            Parsed::Malformed(why) => return Err(io::Error::other(why.to_string())),
            Parsed::Incomplete { more } => {
                octets.resize((have + more).min(HEADER_MAX), 0);
                let room = octets.get_mut(have..).unwrap_or_default();
                let read = stream.read(room).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                have += read;
                octets.truncate(have);
            }
        }
    }
}
