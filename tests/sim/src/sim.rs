//! The world: tasks, events, the clock.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use mox_driver::Fut;
use mox_machine::{Mono, Now, Rng, Seed, Utc};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;

use crate::datagram::Servers;
use crate::faults::Broken;
use crate::jobs::Pools;
use crate::knobs::Knobs;
use crate::net::Net;
use crate::plaintext::Told;
use crate::runtime::SimRuntime;
use crate::sites::{Hooked, Sites};
use crate::slot::{Slot, lock};
use crate::timer::Timers;
use crate::tls::Seeded;
use crate::trace::Trace;

/// Polls and events after which a world is said to run in circles.
const STEPS: u64 = 200_000_000;
/// Kinds of facts that a watcher sees.
const WATCHED: [&str; 7] = [
    "connect",
    "read",
    "write",
    "plain read",
    "plain write",
    "site",
    "store failed",
];
/// Where the clocks begin: 2026-01-02T03:04:05Z.
const BEGIN: Now = Now {
    mono: Mono(1_000_000_000),
    utc: Utc::from_secs(1_767_323_045),
};

/// A world. Clones are the same one.
#[derive(Clone)]
pub struct Sim(Arc<World>);

pub(crate) struct World {
    pub(crate) root: Seed,
    pub(crate) knobs: Knobs,
    pub(crate) net: Mutex<Net>,
    pub(crate) servers: Mutex<Servers>,
    pub(crate) timers: Mutex<Timers>,
    pub(crate) pools: Mutex<Pools>,
    pub(crate) broken: Mutex<Broken>,
    pub(crate) sites: Mutex<Sites>,
    /// The computer whose job runs; 0 between jobs.
    pub(crate) at_work: AtomicU64,
    core: Mutex<Core>,
    /// Nothing breaks any more.
    healed: AtomicBool,
    /// Who sees the record as it is written.
    watcher: Mutex<Option<Watcher>>,
    is_watched: AtomicBool,
    /// Apart from `core`, since wakers are called from everywhere.
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

struct Core {
    now: Now,
    events: BTreeMap<EventKey, Event>,
    tasks: BTreeMap<u64, Task>,
    /// Numbers for tasks, events, connections: never the same twice.
    last_number: u64,
    schedule: Rng,
    trace: Trace,
    panics: u64,
    /// Computers whose services may end.
    stopping: BTreeSet<u64>,
    /// Who is told that a service of a computer ended, by computer.
    watched: BTreeMap<u64, Exited>,
    /// What happens before anybody is polled again.
    soon: VecDeque<Event>,
    /// Polls and events so far, and what happens after so many of them.
    steps: u64,
    after_steps: BTreeMap<(u64, u64), Event>,
}

/// Sees what goes over wires: the kind of fact, the connection or its way, the bytes.
pub(crate) type Watcher = Box<dyn FnMut(&'static str, u64, &[u8]) + Send>;

/// Told that a process ended by itself: why.
pub(crate) type Exited = Arc<dyn Fn(String) + Send + Sync>;

/// When, and which of several at that time: in the order they were made.
pub(crate) type EventKey = (Mono, u64);
/// What happens then; run while nothing is locked.
pub(crate) type Event = Box<dyn FnOnce() + Send>;

struct Task {
    name: &'static str,
    computer: u64,
    kind: Kind,
    /// `None` while it is polled.
    future: Option<Fut<()>>,
}

/// What the end of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Main,
    Session,
    Service,
}

impl Sim {
    /// A world that has not begun.
    pub fn new(seed: u64, knobs: Knobs) -> Self {
        let root = Seed::from_number(seed);
        let core = Core {
            now: BEGIN,
            events: BTreeMap::new(),
            tasks: BTreeMap::new(),
            last_number: 0,
            schedule: root.child("schedule", 0).rng(),
            trace: Trace::default(),
            panics: 0,
            stopping: BTreeSet::new(),
            watched: BTreeMap::new(),
            soon: VecDeque::new(),
            steps: 0,
            after_steps: BTreeMap::new(),
        };
        let job_seed = root.child("jobs", 0);
        let broken = Broken::new(&root);
        let sites = Sites::new(&root);
        Self(Arc::new(World {
            root,
            knobs,
            net: Mutex::default(),
            servers: Mutex::default(),
            timers: Mutex::default(),
            pools: Mutex::new(Pools::new(&job_seed)),
            broken,
            sites,
            at_work: AtomicU64::new(0),
            core: Mutex::new(core),
            healed: AtomicBool::new(false),
            watcher: Mutex::new(None),
            is_watched: AtomicBool::new(false),
            ready: Arc::default(),
        }))
    }

    /// A world whose knobs are drawn from its seed.
    pub fn drawn(seed: u64) -> Self {
        Self::new(seed, Knobs::drawn(&Seed::from_number(seed)))
    }

    /// A computer on the network, with this address and one for IPv6 made of it.
    pub fn computer(&self, name: &'static str, address: impl Into<Ipv4Addr>) -> SimRuntime {
        SimRuntime::new(self.clone(), name, address.into())
    }

    /// Runs the world until this future is done, then drops whatever still runs in it.
    ///
    /// # Panics
    /// With `deadlock` if nobody can run and nothing will happen (somebody lost a wakeup), if virtual time or steps go
    /// on without end, and if a service panics or ends.
    pub fn run<T: Send + 'static>(&self, main: impl Future<Output = T> + Send + 'static) -> T {
        let slot = Slot::new();
        let done = slot.clone();
        let task = Box::pin(async move { done.put(main.await) });
        let main = self.spawn("main", 0, Kind::Main, task);
        let _seeded = Seeded::by(&self.0.root);
        let _hooked = Hooked::to(self);
        let _told = Told::to(self);
        for _ in 0..STEPS {
            if !lock(&self.0.core).tasks.contains_key(&main) {
                break;
            }
            self.step();
        }
        self.end_all(|_| true);
        self.forget_events();
        match slot.poll_take(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => self.fail("the world runs in circles"),
        }
    }

    /// The clocks of the world.
    pub fn now(&self) -> Now {
        lock(&self.0.core).now
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now().mono.since(BEGIN.mono)
    }

    /// Sets the wall clock forward; the monotonic one does not notice.
    pub fn jump_utc(&self, by: Duration) {
        self.fault("clock forward", by.as_secs());
        let mut core = lock(&self.0.core);
        core.now.utc = core.now.utc + by;
    }

    /// Sets the wall clock back.
    pub fn jump_utc_back(&self, by: Duration) {
        self.fault("clock back", by.as_secs());
        let mut core = lock(&self.0.core);
        core.now.utc = core.now.utc - by;
    }

    /// From now on nothing breaks: every cut is mended, the wall clock is right again. The network stays as slow as it
    /// is.
    pub fn heal(&self) {
        self.fact("heal", 0, &[]);
        {
            let mut core = lock(&self.0.core);
            let passed = core.now.mono.since(BEGIN.mono);
            core.now.utc = BEGIN.utc + passed;
        }
        self.0.healed.store(true, Ordering::Relaxed);
    }

    /// Sessions that ended by a panic.
    pub fn panics(&self) -> u64 {
        lock(&self.0.core).panics
    }

    /// Names of the tasks that still run.
    pub fn tasks(&self) -> Vec<&'static str> {
        let core = lock(&self.0.core);
        core.tasks.values().map(|task| task.name).collect()
    }

    /// Names of the sessions that still run on a computer; services are not among them.
    pub(crate) fn sessions_on(&self, computer: u64) -> Vec<&'static str> {
        let core = lock(&self.0.core);
        let on = core.tasks.values().filter(|task| task.computer == computer);
        on.filter(|task| task.kind == Kind::Session)
            .map(|task| task.name)
            .collect()
    }

    /// Polls and events so far.
    pub fn steps(&self) -> u64 {
        lock(&self.0.core).steps
    }

    /// Records a fact of the scenario.
    pub fn record(&self, kind: &'static str, bytes: &[u8]) {
        self.fact(kind, 0, bytes);
    }

    /// The record so far.
    pub fn trace(&self) -> Trace {
        lock(&self.0.core).trace.clone()
    }

    /// From now on the record keeps everything in words.
    pub fn keep_trace(&self) {
        lock(&self.0.core).trace.keep_all();
    }

    /// Octets that the record takes ([`Trace::octets`]).
    pub fn trace_octets(&self) -> usize {
        lock(&self.0.core).trace.octets()
    }

    /// The hash over the record so far.
    pub fn trace_hash(&self) -> [u8; 32] {
        lock(&self.0.core).trace.hash()
    }

    pub(crate) fn world(&self) -> &World {
        &self.0
    }

    /// How likely a fault is now: as the knob says until the world is healed.
    pub(crate) fn odds(&self, one_in: u64) -> u64 {
        if self.0.healed.load(Ordering::Relaxed) {
            0
        } else {
            one_in
        }
    }

    pub(crate) fn fact(&self, kind: &'static str, who: u64, bytes: &[u8]) {
        {
            let mut core = lock(&self.0.core);
            let at = core.now.mono;
            core.trace.record(at, kind, who, bytes);
        }
        if self.0.is_watched.load(Ordering::Relaxed)
            && WATCHED.contains(&kind)
            && let Some(watcher) = &mut *lock(&self.0.watcher)
        {
            watcher(kind, who, bytes);
        }
    }

    /// Lets somebody see the facts about wires as they are recorded.
    pub(crate) fn watch(&self, watcher: impl FnMut(&'static str, u64, &[u8]) + Send + 'static) {
        *lock(&self.0.watcher) = Some(Box::new(watcher));
        self.0.is_watched.store(true, Ordering::Relaxed);
    }

    /// Nobody sees them any more.
    pub(crate) fn unwatch(&self) {
        self.0.is_watched.store(false, Ordering::Relaxed);
        *lock(&self.0.watcher) = None;
    }

    pub(crate) fn number(&self) -> u64 {
        lock(&self.0.core).number()
    }

    /// Makes something happen at a time, not before now; the key takes it back.
    pub(crate) fn at(&self, time: Mono, event: Event) -> EventKey {
        let mut core = lock(&self.0.core);
        let key = (time.max(core.now.mono), core.number());
        core.events.insert(key, event);
        key
    }

    /// Makes something happen before anybody is polled again.
    pub(crate) fn soon(&self, event: Event) {
        lock(&self.0.core).soon.push_back(event);
    }

    /// Makes something happen after this many more polls and events.
    pub(crate) fn after_steps(&self, steps: u64, event: Event) {
        let mut core = lock(&self.0.core);
        let key = (core.steps.saturating_add(steps), core.number());
        core.after_steps.insert(key, event);
    }

    /// From now on a service of this computer that ends or panics ends the computer's tasks, and this is told why,
    /// instead of ending the world.
    pub(crate) fn watch_exit(&self, computer: u64, told: Exited) {
        lock(&self.0.core).watched.insert(computer, told);
    }

    pub(crate) fn take_back(&self, key: EventKey) {
        let event = lock(&self.0.core).events.remove(&key);
        drop(event);
    }

    pub(crate) fn spawn(
        &self,
        name: &'static str,
        computer: u64,
        kind: Kind,
        future: Fut<()>,
    ) -> u64 {
        let mut core = lock(&self.0.core);
        let number = core.number();
        let task = Task {
            name,
            computer,
            kind,
            future: Some(future),
        };
        core.tasks.insert(number, task);
        drop(core);
        self.fact("spawn", number, name.as_bytes());
        lock(&self.0.ready).insert(number);
        number
    }

    /// Drops all tasks of a computer.
    pub(crate) fn end_tasks_of(&self, computer: u64) {
        self.end_all(|task| task.computer == computer);
        let jobs = lock(&self.0.pools).forget(|other| other == computer);
        drop(jobs);
        lock(&self.0.core).stopping.remove(&computer);
    }

    pub(crate) fn stopping(&self, computer: u64) {
        lock(&self.0.core).stopping.insert(computer);
    }

    /// Events hold the world, which holds them: without this no world would ever be freed.
    fn forget_events(&self) {
        let jobs = lock(&self.0.pools).forget(|_| true);
        drop(jobs);
        let others = {
            let core = &mut *lock(&self.0.core);
            core.watched.clear();
            (
                core::mem::take(&mut core.soon),
                core::mem::take(&mut core.after_steps),
            )
        };
        drop(others);
        loop {
            let next = lock(&self.0.core).events.pop_first();
            if next.is_none() {
                return;
            }
            drop(next);
        }
    }

    fn end_all(&self, which: impl Fn(&Task) -> bool) {
        let mut core = lock(&self.0.core);
        let ended: Vec<_> = core.tasks.extract_if(.., |_, task| which(task)).collect();
        drop(core);
        // Outside the lock, and in order: what a task holds has things to say when it goes.
        for (number, task) in ended {
            lock(&self.0.ready).remove(&number);
            drop(task);
        }
    }

    /// Polls a ready task, or else lets the next event happen.
    fn step(&self) {
        if let Some(event) = self.urgent() {
            return event();
        }
        if let Some(number) = self.pick() {
            self.perhaps_jump();
            self.poll(number);
            return;
        }
        let next = {
            let mut core = lock(&self.0.core);
            let next = core.events.pop_first();
            if let Some(((at, _), _)) = &next {
                let passed = at.since(core.now.mono);
                core.now.mono = (*at).max(core.now.mono);
                core.now.utc = core.now.utc + passed;
            }
            next
        };
        match next {
            Some((_, event)) => event(),
            None => self.fail("deadlock: nobody can run and nothing will happen"),
        }
        if self.elapsed() > self.0.knobs.end_of_time {
            self.fail("the end of time has come");
        }
    }

    /// What must not wait, if there is something; else counts one more step.
    fn urgent(&self) -> Option<Event> {
        let core = &mut *lock(&self.0.core);
        if let Some(event) = core.soon.pop_front() {
            return Some(event);
        }
        core.steps += 1;
        let due = core.after_steps.first_entry()?;
        (due.key().0 <= core.steps).then(|| due.remove())
    }

    /// One of the tasks that can run, all equally likely.
    fn pick(&self) -> Option<u64> {
        let mut ready = lock(&self.0.ready);
        if ready.is_empty() {
            return None;
        }
        let chosen = lock(&self.0.core).schedule.below(ready.len() as u64);
        let number = *ready.iter().nth(usize::try_from(chosen).ok()?)?;
        ready.remove(&number);
        Some(number)
    }

    fn poll(&self, number: u64) {
        let (mut future, kind, name, computer) = {
            let mut core = lock(&self.0.core);
            let Some(task) = core.tasks.get_mut(&number) else {
                return;
            };
            let Some(future) = task.future.take() else {
                return;
            };
            (future, task.kind, task.name, task.computer)
        };
        let waker = Waker::from(Arc::new(TaskWaker {
            number,
            ready: Arc::clone(&self.0.ready),
        }));
        let polled = poll_caught(future.as_mut(), &mut Context::from_waker(&waker));
        if matches!(polled, Ok(Poll::Pending)) {
            let mut core = lock(&self.0.core);
            if let Some(task) = core.tasks.get_mut(&number) {
                task.future = Some(future);
                return;
            }
            // It ended the computer it runs on.
            drop(core);
            drop(future);
            return;
        }
        lock(&self.0.core).tasks.remove(&number);
        drop(future);
        match (kind, polled) {
            (Kind::Session, Err(panic)) => {
                lock(&self.0.core).panics += 1;
                let what = format!("{name}: {}", said(&*panic));
                self.fact("panic", number, what.as_bytes());
            }
            (Kind::Main, Err(panic)) => resume_unwind(panic),
            (Kind::Service, polled) if !lock(&self.0.core).stopping.contains(&computer) => {
                self.service_ended(computer, name, polled.err());
            }
            (Kind::Service, Err(panic)) => resume_unwind(panic),
            (_, Ok(_)) => self.fact("end", number, name.as_bytes()),
        }
    }

    /// A process whose service ends exits.
    fn service_ended(
        &self,
        computer: u64,
        name: &'static str,
        panic: Option<Box<dyn core::any::Any + Send>>,
    ) {
        let told = lock(&self.0.core).watched.get(&computer).cloned();
        match (told, panic) {
            (None, Some(panic)) => resume_unwind(panic),
            (None, None) => self.fail(&format!("the service {name:?} ended")),
            (Some(told), panic) => {
                let why = match panic {
                    Some(panic) => format!("the service {name:?} panicked: {}", said(&*panic)),
                    None => format!("the service {name:?} ended"),
                };
                self.fact("exit", computer, why.as_bytes());
                told(why);
            }
        }
    }

    #[expect(clippy::panic, reason = "a world that went wrong fails its test")]
    fn fail(&self, why: &str) -> ! {
        let tasks = self.tasks();
        panic!("{why}; tasks: {tasks:?}; {:?}", self.trace())
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("elapsed", &self.elapsed())
            .field("tasks", &self.tasks())
            .finish_non_exhaustive()
    }
}

impl Core {
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

fn poll_caught(
    future: Pin<&mut (dyn Future<Output = ()> + Send)>,
    cx: &mut Context<'_>,
) -> Result<Poll<()>, Box<dyn core::any::Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| future.poll(cx)))
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("something that is no text").to_owned()
}

struct TaskWaker {
    number: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).insert(self.number);
    }
}

/// The address of the other family that belongs to an IPv4 address.
pub(crate) fn both_families(four: Ipv4Addr) -> [IpAddr; 2] {
    let [a, b, c, d] = four.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    [
        four.into(),
        core::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, high, low).into(),
    ]
}
