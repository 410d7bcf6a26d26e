//! A node in a process: from its bound sockets to the last sync after SIGTERM.

use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures_lite::future;
use mox_driver::{Pool, Runtime};
use mox_machine::Seed;
use mox_node::{Bound, Config, DRAIN_TIMEOUT, Greeting, Node};
use mox_runtime_smol::SmolRuntime;
use mox_server::Directory;
use mox_store::{OpenError, Options};

use crate::capture::{CapturePlan, Recorders};
use crate::failure::Failure;
use crate::offline::store_dir;
use crate::signals::Termination;

/// How long tasks that are left after the drain may take to end.
const GRACE: Duration = Duration::from_millis(500);

/// A runtime and the sockets of a node that does not serve yet.
pub(crate) struct Process {
    pub(crate) runtime: SmolRuntime,
    bound: Bound<SmolRuntime>,
    config: Config,
    recorders: Recorders,
}

impl Process {
    /// Binds. Ports below 1024 need the privileges that are given up afterwards. `in_use` is what to do where a port is
    /// somebody else's already.
    pub(crate) fn bind(
        runtime: SmolRuntime,
        config: Config,
        in_use: &str,
    ) -> Result<Self, Failure> {
        let bound = Bound::bind(&runtime, &config).map_err(|e| {
            let remedy = match e.kind() {
                ErrorKind::AddrInUse => in_use,
                ErrorKind::PermissionDenied => "ports below 1024 are for root: start the server as root, it becomes its user then",
                ErrorKind::AddrNotAvailable => "this machine has no such address",
                _ => return Failure::Failed(e.to_string()),
            };
            Failure::Failed(format!("{e}; {remedy}"))
        })?;
        Ok(Self {
            runtime,
            bound,
            config,
            recorders: Recorders::default(),
        })
    }

    /// Records sessions. Called by the user that will serve.
    pub(crate) fn record(&mut self, plan: &CapturePlan, seed: &Seed) -> Result<(), Failure> {
        self.recorders
            .start(plan, seed, &mut self.bound, &self.config)
    }

    /// Greets, opens the store behind that, and serves until SIGTERM or SIGINT. `beside` runs next to the node: it admits
    /// the sessions when all they need is there.
    pub(crate) fn serve<F: Future<Output = Result<(), Failure>>>(
        self,
        data_dir: &Path,
        options: Options,
        directory: Directory,
        beside: impl FnOnce(Node<SmolRuntime>) -> F,
    ) -> Result<(), Failure> {
        let Self {
            runtime,
            bound,
            config,
            recorders,
        } = self;
        let store = Claimed::of(data_dir)?;
        let result = runtime.run_until(async {
            let mut termination = Termination::watch()
                .map_err(|e| Failure::Failed(format!("cannot watch for signals: {e}")))?;
            let greeting = bound.greet(runtime.clone(), config);
            let mut opening = pin!(store.open(&runtime, &greeting, options, directory));
            let opened = async { Some(opening.as_mut().await) };
            let stopped = async {
                termination.stopping().await;
                None
            };
            let node = match future::or(opened, stopped).await {
                Some(Ok(node)) => node,
                Some(Err(failure)) => {
                    greeting.stop();
                    return Err(failure);
                }
                None => {
                    greeting.stop();
                    runtime.stopping();
                    return close_unserved(opening, &mut termination).await;
                }
            };
            let beside = beside(node.clone());
            let stopped = async {
                termination.stopping().await;
                Ok(())
            };
            // What runs beside ends only by failing.
            let result = future::or(stopped, async {
                beside.await?;
                std::future::pending().await
            })
            .await;
            runtime.stopping();
            drain(&node, &mut termination).await.and(result)
        });
        runtime.stop(GRACE);
        recorders.stop();
        result
    }
}

/// The store of a data directory, ours and not open yet.
struct Claimed {
    place: PathBuf,
    store: mox_store::Claimed,
}

impl Claimed {
    /// Before anybody is greeted: another server may have it.
    fn of(data_dir: &Path) -> Result<Self, Failure> {
        let place = store_dir(data_dir);
        let store = mox_store::Claimed::take(&place).map_err(|e| cannot_open(&place, &e))?;
        Ok(Self { place, store })
    }

    async fn open(
        self,
        runtime: &SmolRuntime,
        greeting: &Greeting<SmolRuntime>,
        options: Options,
        directory: Directory,
    ) -> Result<Node<SmolRuntime>, Failure> {
        let Self { place, store } = self;
        let work = Box::new(move || store.open(options));
        let opened = runtime.blocking(Pool::Commit, work).await;
        let (store, committer) = opened.map_err(|e| cannot_open(&place, &e))?;
        let node = greeting.open(directory, store, committer).await;
        node.map_err(|e| Failure::Failed(e.to_string()))
    }
}

fn cannot_open(place: &Path, error: &OpenError) -> Failure {
    Failure::Failed(format!(
        "cannot open the store {}: {error}",
        place.display()
    ))
}

/// Stops a node in order. A second signal ends the wait for other servers' replies.
async fn drain(node: &Node<SmolRuntime>, termination: &mut Termination) -> Result<(), Failure> {
    let again = async {
        let signal = termination.next().await;
        tracing::info!(target: "process", signal, "stopping without waiting for other servers");
        node.hurry();
        std::future::pending().await
    };
    let in_order = future::or(node.drain(), again).await;
    tracing::info!(target: "process", sessions_cut_off = !in_order, "stopped");
    match node.store().failed() {
        Some(why) => Err(Failure::Broken(format!("the store failed: {why}"))),
        None => Ok(()),
    }
}

/// The end of a server that was stopped before it served: a store that is open soon is closed in order. Any other is left
/// to the next start, as after a crash.
async fn close_unserved(
    opening: impl Future<Output = Result<Node<SmolRuntime>, Failure>>,
    termination: &mut Termination,
) -> Result<(), Failure> {
    let late = async {
        smol::Timer::after(DRAIN_TIMEOUT).await;
        None
    };
    if let Some(opened) = future::or(async { Some(opening.await) }, late).await {
        drain(&opened?, termination).await?;
    }
    tracing::info!(target: "process", "stopped before the store was open");
    Ok(())
}
