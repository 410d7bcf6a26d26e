//! A world from its beginning to its end: servers, clients, crashes, and what must hold.

mod ending;
mod node;
mod server;
mod zone;

use mox_driver::Fut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::mail::Sender;
use crate::client::reader::Reader;
use crate::client::{Stage, sleep};
use crate::oracle::Judge;
use crate::plan::{ClientPlan, Does, Plan, Then};
use crate::sim::said;
use crate::slot::lock;
use crate::summary::Summary;
use crate::{Sim, SimRuntime, Trace};
pub use node::lone_server;
use server::Server;

/// What became of a world.
#[derive(Debug)]
pub struct Outcome {
    /// What did not hold; empty is the only good outcome.
    pub wrong: Vec<String>,
    /// The hash over everything that could be seen.
    pub hash: [u8; 32],
    /// Everything that could be seen.
    pub trace: Trace,
    /// Figures.
    pub summary: Summary,
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    run_in(&Sim::new(plan.seed, plan.knobs.clone()), plan)
}

/// Runs a plan, and keeps in words everything that happens when asked to.
pub fn run_kept(plan: &Plan, keep: bool) -> Outcome {
    let sim = Sim::new(plan.seed, plan.knobs.clone());
    if keep {
        sim.keep_trace();
    }
    run_in(&sim, plan)
}

/// Runs a plan in a world that has not begun.
pub fn run_in(sim: &Sim, plan: &Plan) -> Outcome {
    let judge = Judge::default();
    judge.bench().patience.is_fault_free = plan.is_fault_free();
    let watching = judge.clone();
    sim.watch(move |kind, who, bytes| {
        let bench = &mut *watching.bench();
        bench.wires.fact(kind, who, bytes, &mut bench.wrong);
    });
    let main = whole(sim.clone(), plan.clone(), judge.clone());
    let ended = catch_unwind(AssertUnwindSafe(|| sim.run(main)));
    sim.unwatch();
    if let Err(panic) = ended {
        judge.wrong(said(&*panic));
    }
    if sim.panics() > 0 {
        let trace = sim.trace();
        let said = trace.first_panic().unwrap_or_default();
        judge.wrong(format!("a session panicked: {said}"));
    }
    let bench = &mut *judge.bench();
    Outcome {
        wrong: bench.wrong.take(),
        hash: sim.trace_hash(),
        trace: sim.trace(),
        summary: Summary::of(sim, plan, bench),
    }
}

async fn whole(sim: Sim, plan: Plan, judge: Judge) {
    zone::serve(&sim);
    let observer = sim.computer("observer", [10, 0, 2, 1]);
    let nodes = plan.servers.iter().map(|_| Mutex::new(None)).collect();
    let stage = Stage {
        judge,
        nodes: Arc::new(nodes),
    };
    let servers: Vec<Server> = plan
        .servers
        .iter()
        .enumerate()
        .map(|(n, server)| Server::new(&sim, n, server.accounts, &stage, &observer))
        .collect();
    for server in &servers {
        let downs = downs(&plan, server.which);
        observer.spawn("server", Box::pin(server.clone().live(downs)));
        let crashes = crashes(observer.clone(), &plan, server);
        observer.spawn("crashes", Box::pin(crashes));
    }
    let open = Arc::new(AtomicUsize::new(plan.clients.len()));
    for (number, client) in plan.clients.iter().enumerate() {
        let on = sim.computer(
            "client",
            [10, 0, 1, u8::try_from(number).unwrap_or(u8::MAX)],
        );
        let task = client_task(on.clone(), &stage, number, client.clone());
        let open = Arc::clone(&open);
        on.spawn(
            "client",
            Box::pin(async move {
                task.await;
                open.fetch_sub(1, Ordering::Relaxed);
            }),
        );
    }
    sleep(&observer, plan.heals_after()).await;
    sim.heal();
    for server in &servers {
        server.machine.secure();
    }
    ending::await_rest(&observer, &stage, &servers, &open).await;
    ending::check(&observer, &stage, &servers).await;
}

/// What a client does.
fn client_task(on: SimRuntime, stage: &Stage, number: usize, client: ClientPlan) -> Fut<()> {
    let (stage, server) = (stage.clone(), client.server);
    let begins = Duration::from_millis(client.begins_ms);
    Box::pin(async move {
        sleep(&on, begins).await;
        match client.does {
            Does::Relay(sends) => sender(on, stage, number, server, None).run(sends).await,
            Does::Submit(own, sends) => {
                sender(on, stage, number, server, Some(own))
                    .run(sends)
                    .await;
            }
            Does::Read(account, deeds) => {
                let reader = Reader {
                    on,
                    stage,
                    number,
                    server,
                    account,
                    mailbox: 0,
                };
                reader.run(deeds).await;
            }
        }
    })
}

const fn sender(
    on: SimRuntime,
    stage: Stage,
    number: usize,
    server: usize,
    account: Option<usize>,
) -> Sender {
    Sender {
        on,
        stage,
        number,
        server,
        account,
    }
}

/// How long a server stays down, each time the next that its plan says.
fn downs(plan: &Plan, which: usize) -> impl Fn() -> Duration + Send + use<> {
    let own = plan.crashes.iter().filter(move |c| c.server == which);
    let downs: Vec<u64> = own.map(|crash| crash.down_ms).collect();
    let next = Mutex::new(downs.into_iter());
    move || Duration::from_millis(lock(&next).next().unwrap_or(1_000))
}

/// Lets the power of a server fail as its plan says.
fn crashes(
    observer: SimRuntime,
    plan: &Plan,
    server: &Server,
) -> impl Future<Output = ()> + Send + use<> {
    let machine = server.machine.clone();
    let own = plan.crashes.iter().filter(|c| c.server == server.which);
    let crashes: Vec<_> = own.copied().collect();
    async move {
        let mut passed = 0;
        for crash in crashes {
            let pause = crash.at_ms.saturating_sub(passed);
            passed += pause;
            sleep(&observer, Duration::from_millis(pause)).await;
            match crash.then {
                Then::Call(calls) => machine.arm(calls),
                Then::Steps(steps) => {
                    let machine = machine.clone();
                    let fail = Box::new(move || machine.power_off());
                    observer.sim().after_steps(steps, fail);
                }
            }
        }
    }
}
