//! Fetching an MTA-STS policy: one GET over TLS, with a certificate that has to be good, and nothing followed.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use mox_dns::Name;
use mox_node::MtaSts;
use mox_tls_policy::{FetchError, StsPolicy};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use smol::{Async, Timer};

use crate::failure::Failure;
use crate::files::read_at_most;

/// A whole fetch may take so long (RFC 8461 3.3 suggests a minute).
const WHOLE: Duration = Duration::from_secs(60);
/// A connection to one address may.
const CONNECT: Duration = Duration::from_secs(15);

/// Whose certificates are believed.
pub(crate) type Trust = Arc<ClientConfig>;

/// The public certificate authorities.
pub(crate) fn public_authorities() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// How a server fetches policies: with the public authorities.
pub(crate) fn mta_sts() -> MtaSts {
    MtaSts {
        authorities: Arc::new(public_authorities()),
        ..MtaSts::default()
    }
}

/// The authorities of a PEM file.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let wrong = |why: &dyn core::fmt::Display| {
        Failure::Failed(format!("{} has no certificate: {why}", path.display()))
    };
    let pem = read_at_most(path, 1 << 20)?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| wrong(&e))?;
        roots.add(certificate).map_err(|e| wrong(&e))?;
    }
    match roots.is_empty() {
        true => Err(wrong(&"the file is empty")),
        false => Ok(roots),
    }
}

/// The public authorities, or those of a file.
pub(crate) fn trust(ca: Option<&Path>) -> Result<Trust, Failure> {
    let roots = match ca {
        None => public_authorities(),
        Some(path) => authorities(path)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::Failed(format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Fetches a policy from the first of the addresses that can be connected to.
pub(crate) fn fetch_policy(
    host: &Name,
    addresses: &[SocketAddr],
    trust: Trust,
) -> Result<StsPolicy, FetchError> {
    smol::block_on(or_timeout(WHOLE, async {
        let stream = connect(addresses).await?;
        mox_node::fetch_policy(trust, host, stream).await
    }))
}

async fn connect(addresses: &[SocketAddr]) -> Result<Async<TcpStream>, FetchError> {
    let mut last = wrong("there is no address");
    for address in addresses {
        let one = async {
            Async::<TcpStream>::connect(*address)
                .await
                .map_err(|e: io::Error| FetchError::Fetch(format!("{address}: {e}")))
        };
        match or_timeout(CONNECT, one).await {
            Ok(stream) => return Ok(stream),
            Err(why) => last = why,
        }
    }
    Err(last)
}

async fn or_timeout<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    future::or(work, async {
        Timer::after(limit).await;
        Err(wrong("the server takes too long"))
    })
    .await
}

fn wrong(what: &str) -> FetchError {
    FetchError::Fetch(what.into())
}
