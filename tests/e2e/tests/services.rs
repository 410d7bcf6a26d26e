//! A service that panics stops the process, a session that panics stops nothing else: for every service of a node, on
//! both runtimes, and once for the real program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::exit,
    missing_docs,
    reason = "tests"
)]

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use mox_address::Domain;
use mox_driver::{Bind, Fut, FutRef, Pool, Runtime};
use mox_e2e::crash::{Victim, Wire};
use mox_machine::{Now, Seed};
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Service};
use mox_runtime_smol::SmolRuntime;
use mox_runtime_tokio::TokioRuntime;
use mox_server::Directory;
use mox_store::{MemDisk, MemKv, Options, Store};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Everything a node spawns.
const SERVICES: [&str; 10] = [
    "commit", "queue", "purge", "upkeep", "sweep", "junk", "reports", "policies", "limiters",
    "listen",
];
/// In which the process of a test finds its part: `runtime service`.
const PART: &str = "MOX_TEST_PART";

/// A real runtime under which one service, or the first session, panics on demand.
#[derive(Clone)]
struct Sabotaged<R> {
    runtime: R,
    victim: String,
    bomb: Arc<Mutex<Bomb>>,
}

#[derive(Default)]
struct Bomb {
    lit: bool,
    waiting: Vec<Waker>,
    spawned: Vec<&'static str>,
}

impl<R> Sabotaged<R> {
    fn new(runtime: R, victim: &str) -> Self {
        Self {
            runtime,
            victim: victim.to_owned(),
            bomb: Arc::default(),
        }
    }

    fn light(&self) {
        let mut bomb = self.bomb.lock().unwrap();
        bomb.lit = true;
        let waiting = std::mem::take(&mut bomb.waiting);
        drop(bomb);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The task itself, until the bomb is lit: then it panics.
    fn mined(&self, task: Fut<()>) -> Fut<()> {
        let bomb = self.bomb.clone();
        Box::pin(Mined { task, bomb })
    }
}

struct Mined {
    task: Fut<()>,
    bomb: Arc<Mutex<Bomb>>,
}

impl Future for Mined {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut bomb = self.bomb.lock().unwrap();
        let lit = bomb.lit;
        bomb.waiting.push(cx.waker().clone());
        drop(bomb);
        assert!(!lit, "on purpose");
        self.task.as_mut().poll(cx)
    }
}

impl<R: Runtime> Runtime for Sabotaged<R> {
    type Stream = R::Stream;
    type Listener = R::Listener;
    type Datagram = R::Datagram;
    type Timer = R::Timer;

    fn now(&self) -> Now {
        self.runtime.now()
    }
    fn seed(&self, label: &'static str) -> Seed {
        self.runtime.seed(label)
    }
    fn timer(&self) -> R::Timer {
        self.runtime.timer()
    }
    fn spawn_session(&self, name: &'static str, task: Fut<()>) {
        let mined = self.victim == "session";
        let task = if mined { self.mined(task) } else { task };
        self.runtime.spawn_session(name, task);
    }
    fn spawn_service(&self, name: &'static str, task: Fut<()>) {
        self.bomb.lock().unwrap().spawned.push(name);
        let mined = self.victim == name;
        let task = if mined { self.mined(task) } else { task };
        self.runtime.spawn_service(name, task);
    }
    fn blocking<T: Send + 'static>(
        &self,
        class: Pool,
        work: Box<dyn FnOnce() -> T + Send>,
    ) -> Fut<T> {
        self.runtime.blocking(class, work)
    }
    fn listen(&self, on: Bind) -> io::Result<R::Listener> {
        self.runtime.listen(on)
    }
    fn local_addr(&self, on: &R::Listener) -> io::Result<SocketAddr> {
        self.runtime.local_addr(on)
    }
    fn accept<'a>(&self, on: &'a R::Listener) -> FutRef<'a, io::Result<(R::Stream, SocketAddr)>> {
        self.runtime.accept(on)
    }
    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Fut<io::Result<R::Stream>> {
        self.runtime.connect(to, from)
    }
    fn udp(&self, to: SocketAddr) -> Fut<io::Result<R::Datagram>> {
        self.runtime.udp(to)
    }
}

/// A node with its store in memory, serving SMTP; where.
async fn start<R: Runtime>(runtime: R) -> (Node<R>, SocketAddr) {
    let hostname = Domain::parse("localhost", false).unwrap();
    let config = Config {
        listeners: vec![ListenerConfig {
            name: "smtp".into(),
            bind: Bind::Addr(([127, 0, 0, 1], 0).into()),
            service: Service::Smtp,
            hostname: hostname.clone(),
            max_size: 1_000_000,
            clear_auth: true,
            tls: None,
            offers: mox_node::Offers::default(),
            lists: Vec::new(),
            trusted_proxies: Vec::new(),
            require_starttls: false,
        }],
        outgoing: Outgoing::Sink("mox".into()),
        transports: std::collections::BTreeMap::new(),
        resolvers: Vec::new(),
        remote_port: 25,
        mta_sts: mox_node::MtaSts::default(),
        plan: mox_queue::Plan::default(),
        connections: mox_node::ConnectionLimits::default(),
        failed_logins: mox_node::LoginLimits::default(),
        unlimited: Vec::new(),
        sending: mox_node::Sending::default(),
        receiving: mox_node::Receiving::default(),
        hostname,
    };
    let bound = Bound::bind(&runtime, &config).unwrap();
    let (_, address) = bound.addresses(&runtime).unwrap().remove(0);
    let disk = Arc::new(MemDisk::new());
    let (store, committer) = Store::open(Box::new(MemKv::new()), disk, Options::default()).unwrap();
    let directory = Directory::local(0);
    let node = Node::start(runtime, config, directory, bound, store, committer);
    (node.await.unwrap(), address)
}

/// A session that was greeted.
fn greeted(address: SocketAddr) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("220 "), "{line:?}");
    stream
}

/// What the session answers; empty when the connection is lost.
fn answer(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let said = stream.get_mut().write_all(b"NOOP\r\n");
    let _ = said.and_then(|()| stream.read_line(&mut line));
    line
}

/// In a process of its own: one service panics while the server serves. It is expected to end by that.
fn play<R: Runtime>(runtime: &Sabotaged<R>, address: SocketAddr) -> ! {
    let mut stream = greeted(address);
    assert!(answer(&mut stream).starts_with("250 "));
    let mut spawned = runtime.bomb.lock().unwrap().spawned.clone();
    spawned.sort_unstable();
    let mut expected = SERVICES;
    expected.sort_unstable();
    assert_eq!(spawned, expected, "the list of this test is complete");
    runtime.light();
    match runtime.victim.as_str() {
        "none" => assert!(answer(&mut stream).starts_with("250 ")),
        // Only the sessions that were mined before are lost; the bomb goes out for the next ones.
        "session" => {
            // The poll that is under way may still answer.
            while !answer(&mut stream).is_empty() {}
            runtime.bomb.lock().unwrap().lit = false;
            assert!(answer(&mut greeted(address)).starts_with("250 "));
        }
        _ => std::thread::sleep(Duration::from_secs(60)),
    }
    std::process::exit(0)
}

fn part(runtime: &str, victim: &str) {
    match runtime {
        "smol" => {
            let smol = SmolRuntime::start(2, Seed::from_number(1)).unwrap();
            let runtime = Sabotaged::new(smol.clone(), victim);
            let (_node, address) = smol.run_until(start(runtime.clone()));
            play(&runtime, address)
        }
        _ => {
            let tokio = tokio::runtime::Runtime::new().unwrap();
            let _inside = tokio.enter();
            let runtime = TokioRuntime::current(Seed::from_number(1));
            let runtime = Sabotaged::new(runtime, victim);
            let (_node, address) = tokio.block_on(start(runtime.clone()));
            play(&runtime, address)
        }
    }
}

/// How a process ends in which `victim` panics under `runtime`.
fn exit_code(test: &str, runtime: &str, victim: &str) -> Option<i32> {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PART, format!("{runtime} {victim}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .code()
}

#[test]
fn a_panic_in_any_service_of_a_node_stops_the_process_with_70_and_one_in_a_session_does_not() {
    const NAME: &str =
        "a_panic_in_any_service_of_a_node_stops_the_process_with_70_and_one_in_a_session_does_not";
    if let Ok(text) = std::env::var(PART) {
        let (runtime, victim) = text.split_once(' ').unwrap();
        return part(runtime, victim);
    }
    for runtime in ["smol", "tokio"] {
        for victim in SERVICES {
            let code = exit_code(NAME, runtime, victim);
            assert_eq!(code, Some(70), "{victim} on {runtime}");
        }
        for victim in ["none", "session"] {
            let code = exit_code(NAME, runtime, victim);
            assert_eq!(code, Some(0), "{victim} on {runtime}");
        }
    }
}

/// Its files may not grow any more, so the committer fails, ends, and with it the process.
#[test]
fn the_real_program_ends_with_70_when_its_committer_does() {
    let shell = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let mut server = Victim::start_under(&shell, &[]);
    let mut wire = Wire::smtp(server.port(25)).unwrap();
    let pid = server.pid().to_string();
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=1"])
        .status();
    assert!(limited.unwrap().success());
    for command in ["MAIL FROM:<a@b.example>", "RCPT TO:<mox@localhost>", "DATA"] {
        let reply = wire.ask(command).unwrap();
        assert!(reply.starts_with(['2', '3']), "{reply}");
    }
    wire.send("Subject: lost\r\n\r\nbody\r\n.\r\n").unwrap();
    let reply = wire.reply();
    assert!(
        reply.as_ref().is_ok_and(|reply| reply.starts_with('4')) || reply.is_err(),
        "nothing is promised any more: {reply:?}"
    );
    assert_eq!(server.ended().code(), Some(70), "{}", server.log());
    server.restart();
    server.kill();
    server.verify_killed();
}
