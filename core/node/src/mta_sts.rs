//! MTA-STS policies of other domains (RFC 8461): found, fetched and remembered.
//!
//! They are remembered while the process runs. After a start the first message for a domain finds its policy anew.

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use futures_rustls::TlsConnector;
use mox_dns::{Facts, Failure, Missing, Name, Question, RecordType};
use mox_driver::Runtime;
use mox_tls_policy::{
    Applied, Entry, FetchError, Next, Plan, PolicyResponse, StsLookup, StsPolicy, after_fetch,
    after_lookup, plan, policy_host, policy_request, sts_lookup,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::MtaSts;
use crate::resolve::Resolver;
use crate::tls::{self, TlsError, within};

/// Domains that are remembered; beyond it the one whose entry ceases to hold first is forgotten.
const REMEMBERED_MAX: usize = 10_000;
/// A whole fetch may take so long (RFC 8461 3.3 suggests a minute).
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection to one address may.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Addresses of a policy host that are tried.
const ADDRESSES_MAX: usize = 4;

/// What is known of other domains' policies.
pub(crate) struct Policies {
    port: u16,
    client: Arc<ClientConfig>,
    known: Mutex<BTreeMap<Name, Entry>>,
}

impl Policies {
    pub(crate) fn new<R: Runtime>(runtime: &R, config: &MtaSts) -> Result<Self, TlsError> {
        Ok(Self {
            port: config.port,
            client: tls::public_client(runtime, config.authorities.clone())?,
            known: Mutex::new(BTreeMap::new()),
        })
    }

    /// The policy that holds for a delivery to a domain now, and what DNS was asked for that; an error when nothing can be known yet and
    /// the delivery has to wait.
    pub(crate) async fn of<R: Runtime>(
        &self,
        runtime: &R,
        resolver: &Resolver,
        domain: &Name,
    ) -> (Result<Applied, Failure>, Facts) {
        let stored = self.stored(domain);
        if let Plan::Use(applied) = plan(stored.as_ref(), runtime.now().utc) {
            return (Ok(applied), Facts::default());
        }
        let (found, facts) = resolver
            .inquire(runtime, Facts::default(), |facts| sts_lookup(facts, domain))
            .await;
        let applied = self
            .looked_up(runtime, resolver, (domain, stored), found)
            .await;
        (applied, facts)
    }

    /// What follows from what DNS said.
    async fn looked_up<R: Runtime>(
        &self,
        runtime: &R,
        resolver: &Resolver,
        (domain, stored): (&Name, Option<Entry>),
        found: StsLookup,
    ) -> Result<Applied, Failure> {
        let id = match after_lookup(stored.as_ref(), &found, runtime.now().utc) {
            Next::Use(applied) => return Ok(applied),
            Next::Defer(failure) => return Err(failure),
            Next::Fetch { id } => id,
        };
        let fetched = future::or(self.fetch(runtime, resolver, domain), async {
            tls::sleep(runtime, FETCH_TIMEOUT).await;
            Err(FetchError::Fetch("the server takes too long".into()))
        })
        .await;
        let now = runtime.now().utc;
        let (applied, entry) = after_fetch(stored.as_ref(), &id, fetched, now);
        if let Some(entry) = entry {
            self.remember(domain, entry);
        }
        if let Some(problem) = &applied.problem {
            tracing::info!(target: "queue", %domain, %problem, "there is an MTA-STS record, and no policy to be had");
        }
        Ok(applied)
    }

    async fn fetch<R: Runtime>(
        &self,
        runtime: &R,
        resolver: &Resolver,
        domain: &Name,
    ) -> Result<StsPolicy, FetchError> {
        let host = policy_host(domain).ok_or(FetchError::NoPolicy)?;
        let (addresses, _) = resolver
            .inquire(runtime, Facts::default(), |facts| addresses(facts, &host))
            .await;
        let mut connected = Err(FetchError::NoPolicy);
        for ip in addresses?.into_iter().take(ADDRESSES_MAX) {
            let address = SocketAddr::new(ip, self.port);
            match within(runtime, CONNECT_TIMEOUT, runtime.connect(address, None)).await {
                Ok(stream) => {
                    connected = Ok(stream);
                    break;
                }
                Err(e) => connected = Err(FetchError::Fetch(format!("{address}: {e}"))),
            }
        }
        fetch_policy(self.client.clone(), &host, connected?).await
    }

    fn stored(&self, domain: &Name) -> Option<Entry> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(domain).cloned()
    }

    fn remember(&self, domain: &Name, entry: Entry) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX && !known.contains_key(domain) {
            let first = known.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(first) = first.map(|(domain, _)| domain.clone()) {
                known.remove(&first);
            }
        }
        known.insert(domain.clone(), entry);
    }
}

/// Fetches a policy over a connection to its host: one GET over TLS, and nothing followed.
///
/// # Errors
/// Why there is none; time is the caller's to limit.
pub async fn fetch_policy<S: AsyncRead + AsyncWrite + Unpin>(
    client: Arc<ClientConfig>,
    host: &Name,
    stream: S,
) -> Result<StsPolicy, FetchError> {
    let failed = |e: std::io::Error| FetchError::Fetch(e.to_string());
    let name = ServerName::try_from(host.to_string())
        .map_err(|_| FetchError::Fetch("the name of its host is none".into()))?;
    let mut stream = TlsConnector::from(client)
        .connect(name, stream)
        .await
        .map_err(|e| FetchError::Fetch(format!("TLS: {e}")))?;
    let request = policy_request(host);
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut response = PolicyResponse::default();
    let mut octets = vec![0; 4 * 1024];
    loop {
        let count = stream.read(&mut octets).await.map_err(failed)?;
        let piece = octets.get(..count).unwrap_or_default();
        if count == 0 || response.push(piece)? {
            return response.finish();
        }
    }
}

/// The addresses of a policy host. A host that does not exist has no policy.
fn addresses(
    facts: &Facts,
    host: &Name,
) -> Result<Result<Vec<std::net::IpAddr>, FetchError>, Missing> {
    let questions = [RecordType::A, RecordType::Aaaa].map(|kind| Question::of(host.clone(), kind));
    let answers = facts.all(&questions)?;
    let addresses: Vec<_> = answers
        .iter()
        .flat_map(|answer| answer.addresses())
        .collect();
    if !addresses.is_empty() {
        return Ok(Ok(addresses));
    }
    let mut failures = answers.iter().filter_map(|answer| answer.why());
    Ok(Err(failures
        .find(|failure| failure.is_temporary())
        .map_or(FetchError::NoPolicy, FetchError::Dns)))
}
