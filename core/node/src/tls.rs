//! TLS: what a handshake needs and what it tells, for connections in and out.

use bytes::Bytes;
use core::fmt;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future;
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use mox_driver::{Runtime, Timer};
use mox_machine::{TlsFacts, fault};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::Conn;
use crate::peer::Inspector;

/// How long a handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// A certificate chain and its key could not be used.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this certificate and key cannot be used for TLS: {}",
            self.0
        )
    }
}

impl std::error::Error for TlsError {}

/// What servers of this node present: TLS 1.2 and 1.3, no client certificates, no session tickets (sessions that
/// are not resumed cost a handshake; resumed ones have interoperability problems on port 25).
pub fn server_config<R: Runtime>(
    runtime: &R,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config =
        ServerConfig::builder_with_details(provider(), Arc::new(Clock(runtime.clone())))
            .with_protocol_versions(VERSIONS)
            .map_err(|e| TlsError(e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| TlsError(e.to_string()))?;
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client for one handshake: it encrypts with whoever is there (RFC 7435), and the inspector tells what was presented, for
/// those who must be somebody.
pub(crate) fn inspecting_client<R: Runtime>(
    runtime: &R,
) -> Result<(Arc<ClientConfig>, Arc<Inspector>), TlsError> {
    let inspector = Arc::new(Inspector::new(provider()));
    let mut config =
        ClientConfig::builder_with_details(provider(), Arc::new(Clock(runtime.clone())))
            .with_protocol_versions(VERSIONS)
            .map_err(|e| TlsError(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(inspector.clone())
            .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok((Arc::new(config), inspector))
}

/// A client that speaks to nobody whom these authorities do not vouch for.
pub(crate) fn public_client<R: Runtime>(
    runtime: &R,
    authorities: Arc<RootCertStore>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_details(provider(), Arc::new(Clock(runtime.clone())))
        .with_protocol_versions(VERSIONS)
        .map_err(|e| TlsError(e.to_string()))?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The server's side of a handshake over a connection in clear.
pub(crate) async fn accept<R: Runtime>(
    runtime: &R,
    config: Arc<ServerConfig>,
    io: Conn<R::Stream>,
) -> io::Result<(Conn<R::Stream>, TlsFacts)> {
    let plain = plain(io)?;
    if fault!("node handshake refused") {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let handshake = async {
        let stream = TlsAcceptor::from(config).accept(plain).await?;
        Ok(TlsStream::from(stream))
    };
    finish(within(runtime, HANDSHAKE_TIMEOUT, handshake).await?)
}

/// The client's side of a handshake over a connection in clear.
pub(crate) async fn connect<R: Runtime>(
    runtime: &R,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: Conn<R::Stream>,
) -> io::Result<(Conn<R::Stream>, TlsFacts)> {
    let plain = plain(io)?;
    let handshake = async {
        let stream = TlsConnector::from(config).connect(name, plain).await?;
        Ok(TlsStream::from(stream))
    };
    finish(within(runtime, HANDSHAKE_TIMEOUT, handshake).await?)
}

/// Ends `work` with `TimedOut` when it takes longer than `limit`.
pub(crate) async fn within<R: Runtime, T>(
    runtime: &R,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    future::or(work, async {
        sleep(runtime, limit).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

/// Waits.
pub(crate) async fn sleep<R: Runtime>(runtime: &R, time: Duration) {
    let until = runtime.now().mono + time;
    let mut timer = runtime.timer();
    timer.arm(Some(until));
    future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

const BINDING: &[u8] = b"EXPORTER-Channel-Binding";

const VERSIONS: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Whoever runs this node may have installed another one for the process: the simulator's draws from its seed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let default = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(default)
}

fn plain<S>(io: Conn<S>) -> io::Result<S> {
    match io {
        Conn::Plain(s) => Ok(s),
        Conn::Tls(_) | Conn::Deflate(_) => Err(io::Error::other("TLS within TLS or compression")),
    }
}

fn finish<S: AsyncRead + AsyncWrite + Unpin>(
    stream: TlsStream<S>,
) -> io::Result<(Conn<S>, TlsFacts)> {
    let facts = {
        let (_, state) = stream.get_ref();
        let sni = match &stream {
            TlsStream::Server(s) => s.get_ref().1.server_name().map(str::to_owned),
            TlsStream::Client(_) => None,
        };
        let mut exporter = [0; 32];
        // RFC 9266 4: the binding is the exporter with this label and no context.
        let exported = match &stream {
            TlsStream::Server(s) => {
                s.get_ref()
                    .1
                    .export_keying_material(&mut exporter, BINDING, None)
            }
            TlsStream::Client(s) => {
                s.get_ref()
                    .1
                    .export_keying_material(&mut exporter, BINDING, None)
            }
        };
        exported.map_err(io::Error::other)?;
        TlsFacts {
            version: state.protocol_version().map_or(0, u16::from),
            cipher: state
                .negotiated_cipher_suite()
                .map_or(0, |c| u16::from(c.suite())),
            sni: sni.map(Bytes::from),
            exporter,
            peer_certificate: state
                .peer_certificates()
                .and_then(|c| c.first())
                .map(|c| Bytes::copy_from_slice(c)),
        }
    };
    Ok((Conn::Tls(Box::new(stream)), facts))
}

/// rustls asks the runtime for the time, so that the simulation's certificates are valid in its own year.
struct Clock<R>(R);

impl<R> fmt::Debug for Clock<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl<R: Runtime> TimeProvider for Clock<R> {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(self.0.now().utc.secs()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}
