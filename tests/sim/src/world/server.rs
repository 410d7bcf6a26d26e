//! One of our servers: the real node on a machine that loses its power, starts again, and is compared with what was
//! promised each time.

use mox_node::Node;
use mox_store::{Kv, Store, durable_and_found};
use std::sync::Arc;
use std::time::Duration;

use super::node;
use crate::client::{Stage, sleep};
use crate::machine::{Down, Machine};
use crate::plan::ServerPlan;
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
    tls: bool,
    stage: Stage,
    observer: SimRuntime,
}

impl Server {
    pub(crate) fn new(
        sim: &Sim,
        which: usize,
        plan: &ServerPlan,
        stage: &Stage,
        observer: &SimRuntime,
    ) -> Self {
        let name = names::domain(which);
        let runtime = sim.computer(name, names::ip(which));
        Self {
            which,
            machine: Machine::new(runtime, which),
            accounts: plan.accounts,
            tls: plan.tls,
            stage: stage.clone(),
            observer: observer.clone(),
        }
    }

    /// Lives, dies and lives again until the world ends. `downs`: how long it stays down each time.
    pub(crate) async fn live(self, downs: impl Fn() -> (Duration, usize) + Send) {
        loop {
            let mut is_up = false;
            match self.start().await {
                Ok(node) if !self.machine.is_down() => {
                    self.verify(&node);
                    self.stage.set_node(self.which, Some(node));
                    is_up = true;
                }
                Ok(_) => {}
                Err(why) => {
                    // A disk that fails may keep it from starting. Whoever supervises it tries again.
                    if !self.machine.is_down() {
                        self.machine.exit(why);
                    }
                }
            }
            let down = self.machine.downfall().await;
            self.stage.set_node(self.which, None);
            let excused = self.excuse(&down, is_up);
            // A start that went on while the power failed may have left tasks behind, with its sockets.
            self.machine.runtime().kill();
            self.machine.revive();
            self.survey(true);
            if !excused {
                return;
            }
            match down {
                // Never at once: those tasks end before anybody is polled again, and not within this poll.
                Down::Power(_) => {
                    let (down, cut) = downs();
                    self.refuses_less(cut);
                    sleep(&self.observer, down.max(Duration::from_millis(1))).await;
                }
                Down::Exit(_) => sleep(&self.observer, RESTART).await,
            }
        }
    }

    /// Counts an end of the process. One that ended by itself must have had a reason: its store failed, or was made to.
    fn excuse(&self, down: &Down, is_up: bool) -> bool {
        let (kind, excused) = match down {
            Down::Power(_) if !is_up => ("the power failed while it started", true),
            Down::Power(when) => (*when, true),
            Down::Exit(why) if why.contains("panicked") => ("", false),
            Down::Exit(_) if self.machine.errors() > 0 => {
                ("the process ended, its store had failed", true)
            }
            Down::Exit(_) if !is_up && self.machine.unread() > 0 => (
                "the process did not start, its store could not be read",
                true,
            ),
            Down::Exit(_) => {
                let made_to = self
                    .observer
                    .sim()
                    .take_death(self.machine.runtime().number());
                ("the process ended, its store was made to", made_to)
            }
        };
        let bench = &mut *self.stage.judge.bench();
        match down {
            Down::Exit(why) if !excused => {
                let what = if is_up { "ended" } else { "does not start" };
                bench
                    .wrong
                    .found(format!("server {} {what}: {why}", self.which));
            }
            _ => *bench.crashes.entry(kind).or_default() += 1,
        }
        excused
    }

    /// With durable batches gone a store must not open as if nothing had happened: what it had marked as durable is there,
    /// or it says that data is lost. Afterwards all of it is there again.
    fn refuses_less(&self, cut: usize) {
        if cut == 0 {
            return;
        }
        let (rows, disk) = self.machine.parts();
        let whole = Survey::of(rows.reads()).map(|s| s.messages.len());
        let less = rows.crash_cut(cut);
        let left = Survey::of(less.reads()).map(|s| s.messages.len());
        let (marks, opened) = disk.calmly(|| {
            let disk = disk.crash();
            let marks = durable_and_found(&disk, less.reads()).ok();
            let opened = Store::open(Box::new(less), Arc::new(disk), node::options());
            (marks, opened.map(drop))
        });
        // What no mark calls durable may be gone: nobody can tell that from a crash.
        let is_less = matches!(marks, Some((Some(durable), found)) if found.unwrap_or(0) < durable);
        let (kind, fine) = match &opened {
            Ok(()) => ("taken", !is_less),
            Err(error) => (
                "refused",
                is_less && error.to_string().contains("lost data"),
            ),
        };
        self.observer.sim().record("less rows", kind.as_bytes());
        if !fine {
            self.stage.judge.wrong(format!(
                "server {} with {cut} batches less ({left:?} messages, not {whole:?}; durable and found: {marks:?}): {opened:?}",
                self.which
            ));
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

    /// Learns what left its queue, before the clock is set and it may forget that.
    pub(crate) fn settle(&self) {
        if let Ok(survey) = Survey::of(self.machine.rows().reads()) {
            self.stage.judge.bench().ledger.settle(self.which, &survey);
        }
    }

    /// The store agrees with itself (S1 to S13). Files that the crash left and the sweeper takes are no findings.
    fn verify(&self, node: &Node<SimRuntime>) {
        let (_, disk) = self.machine.parts();
        let verified = disk.calmly(|| node.store().verify(true));
        for finding in verified.findings {
            self.stage
                .judge
                .wrong(format!("server {} after its start: {finding}", self.which));
        }
    }

    async fn start(&self) -> Result<Node<SimRuntime>, String> {
        let starting = node::start(
            self.machine.runtime(),
            self.which,
            (self.accounts, self.tls),
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
