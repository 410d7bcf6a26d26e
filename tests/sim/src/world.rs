//! A world from its beginning to its end: servers, clients, crashes, and what must hold.

mod ending;
mod node;
mod peers;
mod server;
mod troubles;

use mox_driver::Fut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::mail::Sender;
use crate::client::reader::Reader;
use crate::client::{Client, Stage, sleep};
use crate::oracle::Judge;
use crate::plan::{ClientPlan, Does, Plan, Secrecy, Then};
use crate::sim::said;
use crate::slot::lock;
use crate::summary::Summary;
use crate::{Sim, SimRuntime, Trace};
pub use node::lone_server;
use server::Server;
use troubles::Computers;

/// How often a world that lasts long is looked at.
const DAY: Duration = Duration::from_secs(86_400);

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
    let observer = sim.computer("observer", [10, 0, 2, 1]);
    let Ok(names) = peers::name_server_of(&sim, plan.names.clone()) else {
        return judge.wrong("there is no name server".to_owned());
    };
    let mut strangers = Vec::new();
    for (n, peer) in plan.peers.iter().enumerate() {
        match peers::begin(&sim, n, peer) {
            Ok((on, ledger)) => {
                judge.bench().peers.enter(peer, ledger);
                strangers.push(on);
            }
            Err(error) => return judge.wrong(format!("peer {n} does not start: {error}")),
        }
    }
    judge.bench().ledger.has_jumps = plan.has_jumps();
    judge.bench().ledger.breaks_for_days = plan.breaks_for_days();
    let nodes = plan.servers.iter().map(|_| Mutex::new(None)).collect();
    let stage = Stage {
        judge,
        nodes: Arc::new(nodes),
    };
    let servers: Vec<Server> = plan
        .servers
        .iter()
        .enumerate()
        .map(|(n, server)| Server::new(&sim, n, server, &stage, &observer))
        .collect();
    for server in &servers {
        let computer = server.machine.runtime().number();
        stage.judge.bench().wires.runs_on(computer, server.which);
        let downs = downs(&plan, server.which);
        observer.spawn("server", Box::pin(server.clone().live(downs)));
        let crashes = crashes(observer.clone(), &plan, server);
        observer.spawn("crashes", Box::pin(crashes));
    }
    let open = Arc::new(AtomicUsize::new(plan.clients.len()));
    let mut clients = Vec::new();
    for (number, client) in plan.clients.iter().enumerate() {
        let on = sim.computer(
            "client",
            [10, 0, 1, u8::try_from(number).unwrap_or(u8::MAX)],
        );
        clients.push(on.clone());
        let is_secret = plan.servers.get(client.server).is_some_and(|s| s.tls);
        let task = client_task(on.clone(), &stage, number, client.clone(), is_secret);
        let open = Arc::clone(&open);
        on.spawn(
            "client",
            Box::pin(async move {
                task.await;
                open.fetch_sub(1, Ordering::Relaxed);
            }),
        );
    }
    let computers = Computers {
        servers: servers.clone(),
        clients,
        peers: strangers,
        names,
    };
    troubles::begin(&observer, &plan, &computers);
    pass(&observer, plan.heals_after(), &servers).await;
    servers.iter().for_each(Server::settle);
    sim.heal();
    for server in &servers {
        troubles::mend(server);
        server.machine.secure();
    }
    ending::await_rest(&observer, &stage, &servers, &open).await;
    if plan.has_silence() {
        ending::await_silence(&observer, &stage, &servers).await;
    }
    ending::check(&observer, &stage, &servers).await;
}

/// Lets time pass until everything heals. What left a queue is remembered for days only: it is looked at every day.
async fn pass(observer: &SimRuntime, mut left: Duration, servers: &[Server]) {
    while left > DAY {
        sleep(observer, DAY).await;
        left -= DAY;
        for server in servers {
            server.survey(false);
        }
    }
    sleep(observer, left).await;
}

/// What a client does.
fn client_task(
    on: SimRuntime,
    stage: &Stage,
    number: usize,
    client: ClientPlan,
    is_secret: bool,
) -> Fut<()> {
    let (stage, server) = (stage.clone(), client.server);
    let secrecy = match is_secret {
        true => client.secrecy,
        false => Secrecy::None,
    };
    let begins = Duration::from_millis(client.begins_ms);
    Box::pin(async move {
        sleep(&on, begins).await;
        let who = Client {
            on,
            stage,
            number,
            server,
            secrecy,
        };
        match client.does {
            Does::Relay(sends) => Sender::new(who, None).run(sends).await,
            Does::Submit(own, sends) => Sender::new(who, Some(own)).run(sends).await,
            Does::Read(account, deeds) => Reader::new(who, account).run(deeds).await,
            Does::Intrude(visits) => who.intrude(visits).await,
        }
    })
}

/// How long a server stays down, and how many batches less it is shown, each time the next that its plan says.
fn downs(plan: &Plan, which: usize) -> impl Fn() -> (Duration, usize) + Send + use<> {
    let own = plan.crashes.iter().filter(move |c| c.server == which);
    let downs: Vec<(u64, usize)> = own.map(|crash| (crash.down_ms, crash.cut)).collect();
    let next = Mutex::new(downs.into_iter());
    move || {
        let (ms, cut) = lock(&next).next().unwrap_or((1_000, 0));
        (Duration::from_millis(ms), cut)
    }
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
