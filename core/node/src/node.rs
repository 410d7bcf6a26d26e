//! A whole server: its sockets, its store, its services.

use bytes::Bytes;
use core::future::poll_fn;
use core::task::Poll;
use mox_dns::stub::ResolverConfig;
use mox_driver::{Pool, Runtime};
use mox_machine::{Secret, Seed, fault};
use mox_mailbox::{AccountId, Batch, Dated, Progress, Reads, Stop};
use mox_server::{Directory, SentCounts, Signers};
use mox_store::{Committer, Store, StoreError, Topic};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::all::all;
use crate::auth::Authority;
use crate::capture::Captures;
use crate::config::Config;
use crate::front::{Bound, Front};
use crate::imap_in::change::undo_copy;
use crate::imap_in::recent::Told;
use crate::limiters::Limiters;
use crate::mta_sts::Policies;
use crate::registry::{Gate, Registry};
use crate::resolve::Resolver;
use crate::{junk, limiters, mta_sts, queue_out, reports_out, tls};

/// How long running transactions may go on after [`Node::drain`].
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Reports of other servers are kept this long.
const REPORTS_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// How often expunged messages and finished deliveries past their time are removed for good.
const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// Unfinished copies read at a time.
const COPIES_PAGE: usize = 100;
/// Accounts read at a time.
const ACCOUNTS_PAGE: usize = 500;
/// The high-water mark follows a group of commits by this.
const UPKEEP_AFTER: Duration = Duration::from_millis(50);
/// The disk is looked at this often even when nothing is committed.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);
/// Between two directories of a sweep.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);
/// Between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// A running server. Clones are handles to the same one.
pub struct Node<R: Runtime> {
    pub(crate) inner: Arc<Inner<R>>,
    front: Arc<Front<R>>,
}

impl<R: Runtime> Clone for Node<R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            front: self.front.clone(),
        }
    }
}

impl<R: Runtime> core::fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node")
            .field("hostname", &self.inner.config.hostname)
            .finish_non_exhaustive()
    }
}

/// What every session and service of a node reaches.
pub(crate) struct Inner<R: Runtime> {
    pub(crate) runtime: R,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authority: Authority,
    pub(crate) limiters: Arc<Limiters>,
    pub(crate) reported: reports_out::Reported,
    pub(crate) resolver: Resolver,
    pub(crate) policies: Policies,
    pub(crate) queue_changed: queue_out::Changed,
    /// Entries of the queue that are being tried.
    pub(crate) attempts: Arc<queue_out::Attempts>,
    /// Sessions of the queue that take leave.
    pub(crate) leaving: Arc<queue_out::Leaving>,
    /// What smarthosts said lately to who we are.
    pub(crate) logins: queue_out::Logins,
    /// Notifications that wait for attempts to end.
    pub(crate) notifications_waiting: AtomicUsize,
    pub(crate) bodies_in_flight: Arc<AtomicUsize>,
    /// Octets of sections that were made for IMAP sessions and are kept for them.
    pub(crate) made_bodies: Arc<AtomicUsize>,
    /// Octets that compressed sessions take.
    pub(crate) compressed: Arc<AtomicUsize>,
    pub(crate) told: Told,
    pub(crate) captures: Option<Arc<dyn Captures>>,
    /// Opened once the store is closed, or has failed.
    closed: Gate,
    /// Opened when a stop is to take no longer than it must.
    hurried: Gate,
    directory: RwLock<Arc<Directory>>,
    signers: RwLock<Arc<Signers>>,
    /// What accounts have sent lately, of those that have sent something since the start.
    pub(crate) sent: Mutex<SentCounts>,
    /// Messages that wait because they are the first of their authors.
    pub(crate) held_back: AtomicUsize,
    accounts: RwLock<Arc<BTreeMap<String, AccountId>>>,
    seed: Seed,
    transactions: AtomicU64,
    sessions: AtomicU64,
}

impl<R: Runtime> Node<R> {
    /// Starts serving: [`Bound::greet`], [`Greeting::open`](crate::Greeting::open) and [`admit`](Self::admit) in one, for a store that is open.
    ///
    /// # Errors
    /// When the store does not take the first operations.
    pub async fn start(
        runtime: R,
        config: Config,
        directory: Directory,
        bound: Bound<R>,
        store: Store,
        committer: Committer,
    ) -> Result<Self, StartError> {
        let greeting = bound.greet(runtime, config);
        let node = greeting.open(directory, store, committer).await;
        let node = node.inspect_err(|_| greeting.stop())?;
        node.admit();
        Ok(node)
    }

    /// The server behind a front. The store's accounts are completed from the directory; nobody is admitted yet.
    pub(crate) async fn behind(
        front: Arc<Front<R>>,
        directory: Directory,
        store: Store,
        committer: Committer,
    ) -> Result<Self, StartError> {
        let (runtime, config) = (front.runtime.clone(), front.config.clone());
        let seed = front.seed.clone();
        let inner = Arc::new(Inner {
            authority: Authority::new(seed.child("authority", 0)),
            resolver: Resolver::new(
                ResolverConfig::of(config.resolvers.clone()),
                seed.child("resolver", 0),
            ),
            policies: Policies::new(&runtime, &config.mta_sts)
                .map_err(|e| StartError(e.to_string()))?,
            queue_changed: queue_out::Changed::default(),
            attempts: Arc::default(),
            leaving: Arc::default(),
            logins: queue_out::Logins::default(),
            notifications_waiting: AtomicUsize::new(0),
            bodies_in_flight: Arc::default(),
            made_bodies: Arc::default(),
            compressed: Arc::default(),
            told: Told::default(),
            captures: front.outgoing_captures.clone(),
            directory: RwLock::new(Arc::new(directory)),
            signers: RwLock::default(),
            sent: Mutex::default(),
            held_back: AtomicUsize::new(0),
            accounts: RwLock::default(),
            // After a restart within a second ids must not come again.
            transactions: AtomicU64::new(seed.child("transactions", 0).rng().next_u64()),
            sessions: AtomicU64::new(0),
            registry: front.registry.clone(),
            limiters: front.limiters.clone(),
            reported: reports_out::Reported::default(),
            closed: Gate::default(),
            hurried: Gate::default(),
            seed,
            store,
            config,
            runtime,
        });
        let runtime = &inner.runtime;
        runtime.spawn_service("commit", Box::pin(commit_service(inner.clone(), committer)));
        let node = Self { inner, front };
        let initialised = node.inner.store.run(mox_mailbox::initialise).await;
        initialised.map_err(|e| StartError(e.to_string()))?;
        let fresh = Secret::new(*node.inner.seed.child("store secret", 0).bytes());
        let op = move |reads: &dyn Reads| mox_mailbox::store_secret(reads, &fresh);
        let secret = node.inner.store.run(op).await;
        let secret = secret.map_err(|e| StartError(e.to_string()))?;
        node.inner.authority.set_secret(&secret);
        node.undo_copies().await?;
        let directory = node.inner.directory();
        node.complete_accounts(&directory).await?;
        let (inner, runtime) = (&node.inner, &node.inner.runtime);
        runtime.spawn_service("queue", Box::pin(queue_out::service(inner.clone())));
        runtime.spawn_service("purge", Box::pin(purge_service(inner.clone())));
        runtime.spawn_service("upkeep", Box::pin(upkeep_service(inner.clone())));
        runtime.spawn_service("sweep", Box::pin(sweep_service(inner.clone())));
        runtime.spawn_service("junk", Box::pin(junk::service(inner.clone())));
        runtime.spawn_service("reports", Box::pin(reports_out::service(inner.clone())));
        runtime.spawn_service("policies", Box::pin(mta_sts::service(inner.clone())));
        runtime.spawn_service("limiters", Box::pin(limiters::service(inner.clone())));
        Ok(node)
    }

    /// Answers what sessions ask, also what they asked while the store was being opened.
    pub fn admit(&self) {
        self.front.admit(&self.inner);
    }

    /// Replaces the directory: new sessions and transactions see the new one. Its accounts are there before it is in force.
    pub async fn reload(&self, directory: Directory) -> Result<(), StartError> {
        self.complete_accounts(&directory).await?;
        *self
            .inner
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
        Ok(())
    }

    /// Has what leaves signed by these, from the next message on. Without it nothing is signed.
    pub fn sign_with(&self, signers: Signers) {
        let mut current = (self.inner.signers.write()).unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(signers);
    }

    /// Stops: no new work, 421 and BYE to sessions, running transactions get [`DRAIN_TIMEOUT`]. Attempts that have sent a
    /// final dot get until the other server's reply, or until their own time is over: a message whose reply nobody waited
    /// for would be sent again. Then everything accepted is durable and the store is closed.
    ///
    /// True when all sessions ended by themselves. When the store failed meanwhile, [`Store::failed`] says so.
    pub async fn drain(&self) -> bool {
        let inner = &self.inner;
        inner.registry.stop();
        let wait = async {
            poll_fn(|cx| inner.registry.poll_empty(cx)).await;
            Ok(())
        };
        let emptied = tls::within(&inner.runtime, DRAIN_TIMEOUT, wait)
            .await
            .is_ok();
        let in_order = emptied || self.settle().await;
        let refused = inner.limiters.connections.refused();
        if refused > 0 {
            tracing::info!(target: "listen", refused, "connections were refused since the start");
        }
        limiters::write_all(inner).await;
        inner.store.close();
        poll_fn(|cx| inner.closed.poll(cx)).await;
        in_order
    }

    /// Has [`drain`](Self::drain) wait for no other server's reply any more.
    pub fn hurry(&self) {
        self.inner.hurried.open();
    }

    /// Waits for attempts behind the final dot, and ends the others. True when nothing was cut off.
    async fn settle(&self) -> bool {
        let inner = &self.inner;
        let nothing_else = inner.registry.cut();
        let limits = mox_smtp::client::Limits::default();
        let settled = async {
            poll_fn(|cx| inner.registry.poll_settled(cx)).await;
            Ok(true)
        };
        // A store that failed records no reply.
        let given_up = async {
            poll_fn(|cx| match inner.closed.poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => inner.hurried.poll(cx),
            })
            .await;
            Ok(false)
        };
        let wait = futures_lite::future::or(settled, given_up);
        let settled = tls::within(&inner.runtime, limits.end + limits.quit, wait).await;
        nothing_else && settled.unwrap_or(false)
    }

    /// How many sessions live.
    pub fn sessions(&self) -> usize {
        self.inner.registry.len()
    }

    /// Octets of messages that sessions hold in memory just now; new ones are refused above [`BODIES_IN_FLIGHT_MAX`](crate::BODIES_IN_FLIGHT_MAX).
    pub fn octets_in_flight(&self) -> usize {
        self.inner.bodies_in_flight.load(Ordering::Relaxed)
    }

    /// The store, for whoever administers the server.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Takes back what COPYs put into mailboxes that a stop cut short, before anybody sees it.
    async fn undo_copies(&self) -> Result<(), StartError> {
        let inner = &self.inner;
        let failed = |e: &dyn core::fmt::Display| StartError(e.to_string());
        loop {
            let view = inner.store.published();
            let some = mox_mailbox::unfinished_copies(&*view.view, COPIES_PAGE);
            let some = some.map_err(|e| failed(&e))?;
            if some.is_empty() {
                return Ok(());
            }
            tracing::info!(target: "store", copies = some.len(), "undoing copies that were not finished");
            let now = inner.runtime.now().utc;
            for unfinished in some {
                let undone = undo_copy(&inner.store, unfinished, now).await;
                undone.map_err(|e| failed(&e))?;
            }
        }
    }

    /// Every account of the directory has a row in the store, with its quota. Two of these may run at once: each
    /// operation looks for itself what is still to be done.
    async fn complete_accounts(&self, directory: &Directory) -> Result<(), StartError> {
        let inner = &self.inner;
        let failed = |e: &dyn core::fmt::Display| StartError(e.to_string());
        let now = inner.runtime.now().utc;
        let published = inner.store.published();
        let mut missing = Vec::new();
        for name in directory.accounts() {
            let quota = directory.quota(&name);
            let row = mox_mailbox::account(&*published.view, &name).map_err(|e| failed(&e))?;
            if row.is_none_or(|row| row.quota != quota) {
                missing.push((name, quota));
            }
        }
        drop(published);
        // Side by side: one sync serves many of them.
        let ops = missing.into_iter().map(|(name, quota)| {
            let op = move |reads: &dyn Reads| match mox_mailbox::account(reads, &name)? {
                Some(row) => mox_mailbox::set_quota(reads, row.id, quota),
                None => {
                    let none = Secret::new(Bytes::new());
                    mox_mailbox::create_account(reads, &name, &none, quota, now)
                        .map(|(batch, _)| (batch, ()))
                }
            };
            inner.store.run(op)
        });
        for done in all(ops).await {
            let done: Result<(), StoreError> = done;
            done.map_err(|e| failed(&e))?;
        }
        let known = inner.known_accounts().map_err(|e| failed(&e))?;
        let mut accounts = inner
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *accounts = Arc::new(known);
        Ok(())
    }
}

/// Why a node could not start or take a new directory.
#[derive(Debug)]
pub struct StartError(pub String);

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl<R: Runtime> Inner<R> {
    /// The directory as of now.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Who signs what leaves, as of now.
    pub(crate) fn signers(&self) -> Arc<Signers> {
        self.signers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The store's number of an account of the directory.
    pub(crate) fn account_id(&self, name: &str) -> Option<AccountId> {
        self.accounts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
    }

    /// The store's numbers of all accounts of the directory.
    pub(crate) fn account_ids(&self) -> Vec<AccountId> {
        let accounts = self.accounts.read();
        let accounts = accounts.unwrap_or_else(PoisonError::into_inner);
        accounts.values().copied().collect()
    }

    /// Whether mail from elsewhere is judged: without name servers nothing can be known of it.
    pub(crate) fn judges(&self) -> bool {
        !self.config.resolvers.is_empty()
    }

    /// The id of a new transaction: opaque to others, unique here.
    pub(crate) fn transaction_id(&self) -> String {
        let n = self.transactions.fetch_add(1, Ordering::Relaxed);
        let second = self.runtime.now().utc.secs();
        self.authority.transaction_ids().id(second, n)
    }

    /// A seed for a new session.
    pub(crate) fn session_seed(&self, protocol: &str) -> Seed {
        self.seed
            .child(protocol, self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    fn known_accounts(&self) -> Result<BTreeMap<String, AccountId>, mox_mailbox::ReadError> {
        let published = self.store.published();
        let mut known = BTreeMap::new();
        let mut from = String::new();
        loop {
            let page = mox_mailbox::accounts(&*published.view, &from, ACCOUNTS_PAGE)?;
            let is_last = page.len() < ACCOUNTS_PAGE;
            if let Some((name, _)) = page.last() {
                from = format!("{name}\0");
            }
            known.extend(page);
            if is_last {
                return Ok(known);
            }
        }
    }
}

/// Writes the store's high-water mark soon after each group of commits (S8), and looks at the disk.
async fn upkeep_service<R: Runtime>(node: Arc<Inner<R>>) {
    let mut watch = node
        .store
        .watch(Topic::Commit, |published| published.number);
    let mut seen = 0;
    loop {
        let changed = async {
            seen = watch.changed(seen).await;
        };
        let pause = tls::sleep(&node.runtime, UPKEEP_EVERY);
        futures_lite::future::or(changed, pause).await;
        tls::sleep(&node.runtime, UPKEEP_AFTER).await;
        let store = node.store.clone();
        let upkeep = node
            .runtime
            .blocking(Pool::Bodies, Box::new(move || store.upkeep()));
        if let Err(error) = upkeep.await {
            tracing::error!(target: "store", %error, "the high-water mark could not be written");
        }
    }
}

/// Removes body files that nothing refers to, one directory at a time (S6).
async fn sweep_service<R: Runtime>(node: Arc<Inner<R>>) {
    loop {
        let (mut removed, mut whole) = (0, true);
        for shard in 0..=u8::MAX {
            let store = node.store.clone();
            let sweep = node
                .runtime
                .blocking(Pool::Bodies, Box::new(move || store.sweep(shard)));
            match sweep.await {
                Ok(swept) => removed += swept.removed,
                Err(error) => {
                    whole = false;
                    tracing::warn!(target: "store", shard, %error, "sweeping body files failed");
                }
            }
            tls::sleep(&node.runtime, SWEEP_PAUSE).await;
        }
        if whole {
            tracing::info!(target: "store", removed, "body files are swept");
        }
        tls::sleep(&node.runtime, SWEEP_EVERY).await;
    }
}

/// Runs the committer: groups of ops on the pool that may block, one at a time.
async fn commit_service<R: Runtime>(node: Arc<Inner<R>>, mut committer: Committer) {
    while let Some(group) = committer.collect().await {
        let turn = Box::new(move || {
            committer.turn(group);
            committer
        });
        committer = node.runtime.blocking(Pool::Commit, turn).await;
        if node.store.failed().is_some() {
            break;
        }
    }
    // Here, or where the high-water mark is written.
    if let Some(why) = node.store.failed() {
        // S10: nothing more can be promised. The service ends, so the process does.
        tracing::error!(target: "store", %why, "the store failed; the server stops");
        node.registry.stop();
        // Unless it stops already: then whoever waits for the end learns why from the store.
        node.closed.open();
        return;
    }
    // Closed by `drain`: what was accepted is durable, and the store says that it was closed in order.
    let closing = node
        .runtime
        .blocking(Pool::Commit, Box::new(move || committer.close()))
        .await;
    if let Err(error) = closing {
        tracing::error!(target: "store", %error, "the store could not be closed in order");
    }
    node.closed.open();
    core::future::pending::<()>().await;
}

/// Runs an operation that removes a part of something, until nothing is left of it. `what` it is, for the log.
async fn purge<R: Runtime>(
    node: &Inner<R>,
    what: &str,
    op: impl Fn(&dyn Reads) -> Result<(Batch, Progress), Stop> + Clone + Send + 'static,
) {
    loop {
        if fault!("node purge stops early") {
            return;
        }
        match node.store.run(op.clone()).await {
            Ok(Progress::More(())) => {}
            Ok(Progress::Done) => return,
            Err(error) => {
                tracing::warn!(target: "store", %error, "purging {what} failed");
                return;
            }
        }
    }
}

/// Removes for good what was expunged, left the queue, or is kept for a time, once that is over.
async fn purge_service<R: Runtime>(node: Arc<Inner<R>>) {
    loop {
        let now = node.runtime.now().utc;
        let op = move |reads: &dyn Reads| mox_mailbox::purge(reads, now);
        purge(&node, "expunged messages", op).await;
        let before = now - Duration::from_secs(mox_mailbox::REJECT_SECS.unsigned_abs());
        for account in node.account_ids() {
            let op =
                move |reads: &dyn Reads| mox_mailbox::purge_rejects(reads, account, before, now);
            purge(&node, "copies of refused mail", op).await;
        }
        let receiving = &node.config.receiving;
        let budget = mox_mailbox::DecisionBudget::of(receiving.records_octets);
        let before = now - receiving.records_kept;
        let op = move |reads: &dyn Reads| mox_mailbox::purge_decisions(reads, before, budget);
        purge(&node, "records of decisions", op).await;
        for (kind, before) in [
            (Dated::Refused, before),
            (Dated::DmarcReport, now - REPORTS_KEPT),
            (Dated::TlsReport, now - REPORTS_KEPT),
        ] {
            let op = move |reads: &dyn Reads| mox_mailbox::purge_dated(reads, kind, before);
            purge(&node, "counts and reports", op).await;
        }
        let before = now - node.config.sending.kept;
        let op = move |reads: &dyn Reads| mox_mailbox::purge_retired(reads, before);
        purge(&node, "finished deliveries", op).await;
        let before = now - queue_out::TLS_REMEMBERED;
        let op = move |reads: &dyn Reads| mox_mailbox::purge_tls_hosts(reads, before);
        purge(&node, "hosts that had TLS", op).await;
        for account in node.account_ids() {
            let op = move |reads: &dyn Reads| mox_mailbox::purge_suppressions(reads, account, now);
            purge(&node, "failures of addresses", op).await;
        }
        tls::sleep(&node.runtime, PURGE_EVERY).await;
    }
}
