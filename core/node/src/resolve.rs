//! Asking DNS: the resolver machine of `mox_dns` over this node's sockets.

use core::future::poll_fn;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mox_dns::stub::{Cache, CacheLimits, Do, Lookup, ResolverConfig};
use mox_dns::{Answer, Facts, Failure, Inquiry, MxPlan, Name, Progress, Question, mail_hosts};
use mox_driver::{Datagram, Runtime, Timer};
use mox_machine::{Mono, Seed, fault};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::all::all;
use crate::tls::within;

/// How long one inquiry may take in all (E1).
const INQUIRY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a name server may take over TCP.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of a datagram: more than EDNS asks for.
const DATAGRAM: usize = 4_096;

/// The name servers, and what they said lately.
pub struct Resolver {
    config: ResolverConfig,
    seed: Seed,
    lookups: AtomicU64,
    cache: Mutex<Cache>,
}

impl Resolver {
    /// Asks these servers; ids, ports and letter case come from `seed`.
    pub fn new(config: ResolverConfig, seed: Seed) -> Self {
        Self {
            config,
            seed,
            lookups: AtomicU64::new(0),
            cache: Mutex::new(Cache::new(CacheLimits::default())),
        }
    }

    /// Where mail for a domain goes, and what says so.
    pub(crate) async fn mail_hosts<R: Runtime>(
        &self,
        runtime: &R,
        domain: &Name,
    ) -> (MxPlan, Facts) {
        let seed = self
            .seed
            .child("mail hosts", self.lookups.fetch_add(1, Ordering::Relaxed));
        let decide = |facts: &Facts| mail_hosts(facts, domain, &seed);
        self.inquire(runtime, Facts::default(), decide).await
    }

    /// Runs a function of facts, asking what it lacks beyond the facts that are known already. Gives its verdict, and
    /// all facts for the next function that judges the same message. After 30 seconds what is missing is a timeout.
    pub async fn inquire<R: Runtime, T>(
        &self,
        runtime: &R,
        facts: Facts,
        mut function: impl FnMut(&Facts) -> Result<T, mox_dns::Missing>,
    ) -> (T, Facts) {
        let deadline = runtime.now().mono + INQUIRY_TIMEOUT;
        let mut inquiry = Inquiry::new(facts, deadline);
        loop {
            match inquiry.run(runtime.now(), &mut function) {
                Progress::Done(verdict) => return (verdict, inquiry.into_facts()),
                Progress::Wait => wait_until(runtime, deadline).await,
                Progress::Ask(questions) => {
                    // What a slow name server has not answered by then is a timeout; the others' answers are kept.
                    let late = || async {
                        wait_until(runtime, deadline).await;
                        Answer::failure(Failure::Timeout, 0)
                    };
                    let lookups = questions.into_iter().map(|question| async move {
                        let lookup = self.lookup(runtime, question.clone());
                        let answer = future::or(lookup, late()).await;
                        (question, answer)
                    });
                    for (question, answer) in all(lookups).await {
                        inquiry.answer(&question, answer);
                    }
                }
            }
        }
    }

    async fn lookup<R: Runtime>(&self, runtime: &R, question: Question) -> Answer {
        if let Some(known) = self.cache().get(&question, runtime.now().mono) {
            return known;
        }
        let n = self.lookups.fetch_add(1, Ordering::Relaxed);
        let lookup = Lookup::new(
            question.clone(),
            &self.config,
            &self.seed.child("lookup", n),
        );
        let answer = run(runtime, lookup).await;
        self.cache()
            .put(&question, answer.clone(), runtime.now().mono);
        answer
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl core::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Resolver")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Drives one lookup to its answer.
async fn run<R: Runtime>(runtime: &R, mut lookup: Lookup) -> Answer {
    let mut socket: Option<(R::Datagram, SocketAddr)> = None;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match lookup.next(runtime.now().mono) {
            Do::Finished(answer) => return answer,
            Do::SendUdp { server, bytes } => {
                // The old socket goes first: its port is not to be guessed twice.
                socket = None;
                let sent = async {
                    if fault!("node no datagram socket") {
                        return Err(io::ErrorKind::AddrNotAvailable.into());
                    }
                    let mut fresh = runtime.udp(server).await?;
                    fresh.send(&bytes).await?;
                    io::Result::Ok(fresh)
                };
                match sent.await {
                    Ok(fresh) => socket = Some((fresh, server)),
                    Err(_) => lookup.failed(runtime.now().mono),
                }
            }
            Do::SendTcp { server, bytes } => {
                socket = None;
                match within(runtime, TCP_TIMEOUT, over_tcp(runtime, server, &bytes)).await {
                    Ok(reply) => lookup.tcp(runtime.now().mono, &reply),
                    Err(_) => lookup.failed(runtime.now().mono),
                }
            }
            Do::WaitUntil(deadline) => {
                let Some((socket, server)) = &mut socket else {
                    wait_until(runtime, deadline).await;
                    continue;
                };
                let received = future::or(async { Some(socket.recv(&mut buffer).await) }, async {
                    wait_until(runtime, deadline).await;
                    None
                });
                match received.await {
                    Some(Ok(length)) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        lookup.datagram(runtime.now().mono, *server, datagram);
                    }
                    Some(Err(_)) => lookup.failed(runtime.now().mono),
                    None => {}
                }
            }
        }
    }
}

async fn over_tcp<R: Runtime>(
    runtime: &R,
    server: SocketAddr,
    query: &[u8],
) -> io::Result<Vec<u8>> {
    let mut stream = runtime.connect(server, None).await?;
    stream.write_all(query).await?;
    stream.flush().await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

async fn wait_until<R: Runtime>(runtime: &R, until: Mono) {
    let mut timer = runtime.timer();
    timer.arm(Some(until));
    poll_fn(|cx| timer.poll_fired(cx)).await;
}
