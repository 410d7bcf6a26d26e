//! MTA-STS policies of other domains (RFC 8461): found, fetched and kept.
//!
//! They are kept in the store, over restarts, and looked at again before they cease to hold: whoever can keep us from asking for an
//! hour, or while we start, cannot take them away (RFC 8461 10.2). One fetch serves all who wait for it.

mod refresh;
mod rows;

use core::future::poll_fn;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use futures_rustls::TlsConnector;
use mox_dns::{Facts, Failure, Missing, Name, Question, RecordType};
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_tls_policy::{
    Applied, Entry, FetchError, Kept, Next, Plan, PolicyResponse, StsLookup, StsPolicy,
    after_fetch, after_lookup, plan, policy_host, policy_request, sts_lookup,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::MtaSts;
use crate::node::Inner;
use crate::registry::Gate;
use crate::resolve::Resolver;
use crate::tls::{self, TlsError, within};

pub(crate) use refresh::service;

/// A whole fetch may take so long (RFC 8461 3.3 suggests a minute).
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection to one address may.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Addresses of a policy host that are tried.
const ADDRESSES_MAX: usize = 4;
/// Domains that are left alone because a fetch failed, at most; beyond it the one that is tried again first makes room.
const RESTING_MAX: usize = 10_000;
/// That a policy was needed is noted again after this.
const USED_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What is being done about other domains' policies; they themselves are in the store.
pub(crate) struct Policies {
    port: u16,
    client: Arc<ClientConfig>,
    /// Domains whose policy is being fetched: others wait there for the end of it.
    fetching: Mutex<BTreeMap<Name, Arc<Gate>>>,
    /// Domains whose policy could not be fetched a short while ago, and until when nobody tries again.
    resting: Mutex<BTreeMap<Name, Utc>>,
}

/// A fetch that runs. When it is dropped whoever waits for it goes on.
struct Turn<'a> {
    fetching: &'a Mutex<BTreeMap<Name, Arc<Gate>>>,
    domain: &'a Name,
    gate: Arc<Gate>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(self.fetching).remove(self.domain);
        self.gate.open();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held, so poison means nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Policies {
    pub(crate) fn new<R: Runtime>(runtime: &R, config: &MtaSts) -> Result<Self, TlsError> {
        Ok(Self {
            port: config.port,
            client: tls::public_client(runtime, config.authorities.clone())?,
            fetching: Mutex::default(),
            resting: Mutex::default(),
        })
    }

    /// The policy that holds for a delivery to a domain now, and what DNS was asked for that; an error when nothing can be known yet and
    /// the delivery has to wait.
    pub(crate) async fn of<R: Runtime>(
        &self,
        node: &Inner<R>,
        domain: &Name,
    ) -> (Result<Applied, Failure>, Facts) {
        let now = node.runtime.now().utc;
        let row = rows::read(node, domain);
        if row.is_some_and(|row| row.used + USED_EVERY <= now) {
            rows::note_use(node, domain).await;
        }
        if let Plan::Use(applied) = plan(self.stored(node, domain).as_ref(), now) {
            return (Ok(applied), Facts::default());
        }
        let (found, facts) = look_up(node, domain).await;
        (self.looked_up(node, domain, found).await, facts)
    }

    /// What follows from what DNS said.
    async fn looked_up<R: Runtime>(
        &self,
        node: &Inner<R>,
        domain: &Name,
        found: StsLookup,
    ) -> Result<Applied, Failure> {
        let now = || node.runtime.now().utc;
        let (id, stored, turn) = loop {
            // What another delivery learned meanwhile counts.
            let stored = self.stored(node, domain);
            if let Plan::Use(applied) = plan(stored.as_ref(), now()) {
                return Ok(applied);
            }
            let id = match after_lookup(stored.as_ref(), &found, now()) {
                Next::Use(applied) => return Ok(applied),
                Next::Defer(failure) => return Err(failure),
                Next::Fetch { id } => id,
            };
            match self.begin(domain) {
                Ok(turn) => break (id, stored, turn),
                Err(running) => poll_fn(|cx| running.poll(cx)).await,
            }
        };
        let fetched = self.fetch(node, domain).await;
        let (applied, entry) = after_fetch(stored.as_ref(), &id, fetched, now());
        match (&entry.kept, entry.not_before) {
            (Kept::Policy { policy, .. }, None) => {
                tracing::info!(target: "queue", %domain, mode = %policy.mode, id, "an MTA-STS policy is known");
                rows::keep(node, domain, &entry).await;
            }
            (Kept::Policy { .. }, Some(at)) => self.rest(domain, at),
            (Kept::Backoff, _) => self.rest(domain, entry.until),
        }
        drop(turn);
        if let Some(problem) = &applied.problem {
            tracing::info!(target: "queue", %domain, %problem, "there is an MTA-STS record, and no policy to be had");
        }
        Ok(applied)
    }

    /// What is known of a domain.
    fn stored<R: Runtime>(&self, node: &Inner<R>, domain: &Name) -> Option<Entry> {
        let now = node.runtime.now().utc;
        let rests = lock(&self.resting).get(domain).copied();
        let entry = rows::read(node, domain).and_then(|row| rows::entry_of(&row));
        match entry.filter(|entry| entry.holds(now)) {
            Some(entry) => Some(Entry {
                not_before: rests,
                ..entry
            }),
            None => rests.map(Entry::backoff),
        }
    }

    /// Begins to fetch the policy of a domain, where nobody does yet.
    ///
    /// # Errors
    /// Somebody does: the gate opens when that has ended.
    fn begin<'a>(&'a self, domain: &'a Name) -> Result<Turn<'a>, Arc<Gate>> {
        let mut fetching = lock(&self.fetching);
        if let Some(running) = fetching.get(domain) {
            return Err(running.clone());
        }
        let gate = Arc::<Gate>::default();
        fetching.insert(domain.clone(), gate.clone());
        Ok(Turn {
            fetching: &self.fetching,
            domain,
            gate,
        })
    }

    /// Nobody tries to fetch the policy of a domain before this.
    fn rest(&self, domain: &Name, until: Utc) {
        let mut resting = lock(&self.resting);
        if resting.len() >= RESTING_MAX && !resting.contains_key(domain) {
            let first = resting.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(domain, _)| domain.clone()) {
                resting.remove(&first);
            }
        }
        resting.insert(domain.clone(), until);
    }

    async fn fetch<R: Runtime>(
        &self,
        node: &Inner<R>,
        domain: &Name,
    ) -> Result<StsPolicy, FetchError> {
        let runtime = &node.runtime;
        future::or(self.fetch_now(runtime, &node.resolver, domain), async {
            tls::sleep(runtime, FETCH_TIMEOUT).await;
            Err(FetchError::Fetch("the server takes too long".into()))
        })
        .await
    }

    async fn fetch_now<R: Runtime>(
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
}

/// What DNS says of the policy of a domain.
async fn look_up<R: Runtime>(node: &Inner<R>, domain: &Name) -> (StsLookup, Facts) {
    let lookup = |facts: &Facts| sts_lookup(facts, domain);
    node.resolver
        .inquire(&node.runtime, Facts::default(), lookup)
        .await
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
