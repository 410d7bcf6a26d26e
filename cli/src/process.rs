//! A node in a process: from its bound sockets to the last sync after SIGTERM.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use mox_machine::Seed;
use mox_node::{Bound, Config, Node};
use mox_runtime_smol::SmolRuntime;
use mox_server::Directory;
use mox_store::{Options, Store};

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
    /// Starts a runtime and binds. Ports below 1024 need the privileges that are given up afterwards.
    pub(crate) fn bind(runtime: SmolRuntime, config: Config) -> Result<Self, Failure> {
        let bound = Bound::bind(&runtime, &config).map_err(|e| Failure::Failed(e.to_string()))?;
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

    /// Opens the store and serves until SIGTERM or SIGINT. `beside` runs next to the node, once it serves.
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
        let place = store_dir(data_dir);
        let (store, committer) = Store::open_directory(&place, options).map_err(|e| {
            Failure::Failed(format!("cannot open the store {}: {e}", place.display()))
        })?;
        let result = runtime.run_until(async {
            let mut termination = Termination::watch()
                .map_err(|e| Failure::Failed(format!("cannot watch for signals: {e}")))?;
            let starting = Node::start(runtime.clone(), config, directory, bound, store, committer);
            let node = starting.await.map_err(|e| Failure::Failed(e.to_string()))?;
            let beside = beside(node.clone());
            let stopped = async {
                let signal = termination.next().await;
                tracing::info!(target: "process", signal, "stopping");
                Ok(())
            };
            // What runs beside ends only by failing.
            let result = futures_lite::future::or(stopped, async {
                beside.await?;
                std::future::pending().await
            })
            .await;
            runtime.stopping();
            let in_order = node.drain().await;
            tracing::info!(target: "process", sessions_cut_off = !in_order, "stopped");
            result
        });
        runtime.stop(GRACE);
        recorders.stop();
        result
    }
}
