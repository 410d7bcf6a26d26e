//! One of our servers: the real node on a machine that loses its power, starts again, and is compared with what was
//! promised each time.

use mox_node::Node;
use mox_store::Kv;
use std::time::Duration;

use super::node;
use crate::client::{Stage, sleep};
use crate::machine::{Down, Machine};
use crate::survey::Survey;
use crate::{Sim, SimRuntime, names};

/// How long a process that ended by itself stays away.
const RESTART: Duration = Duration::from_secs(2);

/// A server of a world.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) which: usize,
    pub(crate) machine: Machine,
    accounts: usize,
    stage: Stage,
    observer: SimRuntime,
}

impl Server {
    pub(crate) fn new(
        sim: &Sim,
        which: usize,
        accounts: usize,
        stage: &Stage,
        observer: &SimRuntime,
    ) -> Self {
        let name = names::domain(which);
        let runtime = sim.computer(name, names::ip(which));
        Self {
            which,
            machine: Machine::new(runtime, name),
            accounts,
            stage: stage.clone(),
            observer: observer.clone(),
        }
    }

    /// Lives, dies and lives again until the world ends. `downs`: how long it stays down each time.
    pub(crate) async fn live(self, downs: impl Fn() -> Duration + Send) {
        loop {
            match self.start().await {
                Ok(node) if !self.machine.is_down() => {
                    self.verify(&node);
                    self.stage.set_node(self.which, Some(node));
                }
                Ok(_) => {}
                Err(why) => {
                    if !self.machine.is_down() {
                        self.stage
                            .judge
                            .wrong(format!("server {} does not start: {why}", self.which));
                        return;
                    }
                }
            }
            let down = self.machine.downfall().await;
            self.stage.set_node(self.which, None);
            // A start that went on while the power failed may have left tasks behind, with its sockets.
            self.machine.runtime().kill();
            self.machine.revive();
            self.survey(true);
            match down {
                // Never at once: those tasks end before anybody is polled again, and not within this poll.
                Down::Power => sleep(&self.observer, downs().max(Duration::from_millis(1))).await,
                Down::Exit(why) => {
                    self.stage
                        .judge
                        .wrong(format!("server {} ended: {why}", self.which));
                    sleep(&self.observer, RESTART).await;
                }
            }
        }
    }

    /// Compares the rows as they are now with what was promised.
    pub(crate) fn survey(&self, crashed: bool) -> Option<Survey> {
        let rows = self.machine.rows();
        match Survey::of(rows.reads()) {
            Ok(survey) => {
                self.stage
                    .judge
                    .bench()
                    .compare(self.which, &survey, crashed);
                Some(survey)
            }
            Err(error) => {
                let what = format!(
                    "the rows of server {} cannot be read: {}",
                    self.which, error.0
                );
                self.stage.judge.wrong(what);
                None
            }
        }
    }

    /// The store agrees with itself (S1 to S13). Files that the crash left and the sweeper takes are no findings.
    fn verify(&self, node: &Node<SimRuntime>) {
        for finding in node.store().verify(true).findings {
            self.stage
                .judge
                .wrong(format!("server {} after its start: {finding}", self.which));
        }
    }

    async fn start(&self) -> Result<Node<SimRuntime>, String> {
        let starting = node::start(
            self.machine.runtime(),
            self.which,
            self.accounts,
            self.machine.place(),
        );
        // The power may fail while it waits for what then never comes.
        let fell = async {
            self.machine.downfall().await;
            Err("the power failed".to_owned())
        };
        futures_lite::future::or(starting, fell).await
    }
}
