//! The sockets, and what they answer while the store is being opened behind them.

use mox_driver::Runtime;
use mox_machine::Seed;
use mox_server::Directory;
use mox_store::{Committer, Store};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::capture::Captures;
use crate::config::{Config, ListenerConfig};
use crate::limiters::Limiters;
use crate::listen;
use crate::node::{Inner, Node, StartError};
use crate::registry::Registry;

/// Sockets that are bound and not served yet: so that a process may give up its privileges in between.
pub struct Bound<R: Runtime> {
    listeners: Vec<(R::Listener, Arc<ListenerConfig>)>,
    /// By listener.
    captures: BTreeMap<String, Arc<dyn Captures>>,
    outgoing_captures: Option<Arc<dyn Captures>>,
}

impl<R: Runtime> core::fmt::Debug for Bound<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bound")
            .field("listeners", &self.listeners.len())
            .finish()
    }
}

impl<R: Runtime> Bound<R> {
    /// Binds all listeners of a configuration, or none: the error names the one that could not be bound.
    pub fn bind(runtime: &R, config: &Config) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            let socket = runtime.listen(listener.bind.clone()).map_err(|error| {
                let text = format!(
                    "cannot listen on {} for {}: {error}",
                    listener.bind, listener.name
                );
                io::Error::new(error.kind(), text)
            })?;
            listeners.push((socket, Arc::new(listener.clone())));
        }
        Ok(Self {
            listeners,
            captures: BTreeMap::new(),
            outgoing_captures: None,
        })
    }

    /// Records the sessions of the listener of that name.
    pub fn capture(&mut self, listener: &str, captures: Arc<dyn Captures>) {
        self.captures.insert(listener.to_owned(), captures);
    }

    /// Records the sessions with other servers.
    pub fn capture_outgoing(&mut self, captures: Arc<dyn Captures>) {
        self.outgoing_captures = Some(captures);
    }

    /// Where each listener is bound, by its name.
    pub fn addresses(&self, runtime: &R) -> io::Result<Vec<(String, SocketAddr)>> {
        self.listeners
            .iter()
            .map(|(socket, config)| Ok((config.name.clone(), runtime.local_addr(socket)?)))
            .collect()
    }

    /// Accepts and greets. What sessions ask is answered once a store is there and [`Node::admit`] was called.
    pub fn greet(self, runtime: R, config: Config) -> Greeting<R> {
        let front = Arc::new(Front {
            seed: runtime.seed("node"),
            sessions: AtomicU64::new(0),
            registry: Arc::default(),
            limiters: Arc::new(Limiters::new(
                config.connections,
                config.failed_logins,
                config.unlimited.clone(),
                &config.receiving,
            )),
            outgoing_captures: self.outgoing_captures,
            node: OnceLock::new(),
            config: Arc::new(config),
            runtime,
        });
        for (listener, config) in self.listeners {
            let captures = self.captures.get(&config.name).cloned();
            let task = listen::accept_loop(front.clone(), listener, config, captures);
            front.runtime.spawn_service("listen", Box::pin(task));
        }
        Greeting { front }
    }
}

/// Sockets that greet, and a store that is not open yet.
pub struct Greeting<R: Runtime> {
    front: Arc<Front<R>>,
}

impl<R: Runtime> core::fmt::Debug for Greeting<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Greeting")
            .field("sessions", &self.front.registry.len())
            .finish()
    }
}

impl<R: Runtime> Greeting<R> {
    /// Makes a server of it. Its accounts are completed from the directory. Sessions wait until [`Node::admit`], so that
    /// whatever they must find can be put there first.
    ///
    /// # Errors
    /// When the store does not take the first operations. Nothing can be done then but to [`stop`](Self::stop).
    pub async fn open(
        &self,
        directory: Directory,
        store: Store,
        committer: Committer,
    ) -> Result<Node<R>, StartError> {
        Node::behind(self.front.clone(), directory, store, committer).await
    }

    /// Takes no more connections, and tells those that are there that the server stops.
    pub fn stop(&self) {
        self.front.registry.stop();
    }
}

/// What listeners need before there is a node, and the node once sessions may go in.
pub(crate) struct Front<R: Runtime> {
    pub(crate) runtime: R,
    pub(crate) config: Arc<Config>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) limiters: Arc<Limiters>,
    pub(crate) outgoing_captures: Option<Arc<dyn Captures>>,
    pub(crate) seed: Seed,
    sessions: AtomicU64,
    node: OnceLock<Arc<Inner<R>>>,
}

impl<R: Runtime> Front<R> {
    pub(crate) fn node(&self) -> Option<&Arc<Inner<R>>> {
        self.node.get()
    }

    pub(crate) fn admit(&self, node: &Arc<Inner<R>>) {
        if self.node.set(node.clone()).is_ok() {
            self.registry.wake_sessions();
        }
    }

    /// A seed for a new session.
    pub(crate) fn session_seed(&self, protocol: &str) -> Seed {
        self.seed
            .child(protocol, self.sessions.fetch_add(1, Ordering::Relaxed))
    }
}
