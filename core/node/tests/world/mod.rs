//! A node over a store in memory, on real sockets of this machine, and a client that does what it is told.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "each test uses its part"
)]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the other side of a socket, and time to wait for it"
)]

use futures_lite::future::block_on;
use mox_address::Domain;
use mox_driver::Bind;
use mox_machine::Seed;
use mox_node::{
    Bound, Config, Greeting, ListenerConfig, MtaSts, Node, Offers, Outgoing, Service, Transport,
};
use mox_queue::Plan;
use mox_runtime_smol::SmolRuntime;
use mox_server::Directory;
use mox_server::routes::Routes;
use mox_store::{Kv, MemDisk, MemKv, Options, Store, durable_and_found};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node is started with; its store survives it.
#[derive(Clone)]
pub struct World {
    pub accounts: u32,
    pub outgoing: Outgoing,
    pub transports: BTreeMap<String, Arc<Transport>>,
    pub routes: Routes,
    pub plan: Plan,
    pub seed: u64,
    pub offers: Offers,
    pub resolvers: Vec<SocketAddr>,
    pub remote_port: u16,
    pub mta_sts: MtaSts,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    kv: MemKv,
    disk: MemDisk,
}

impl World {
    pub fn new(accounts: u32) -> Self {
        Self {
            accounts,
            outgoing: Outgoing::Sink("mox".into()),
            transports: BTreeMap::new(),
            routes: Routes::default(),
            plan: Plan::default(),
            seed: 1,
            offers: Offers::default(),
            resolvers: Vec::new(),
            remote_port: 25,
            mta_sts: MtaSts::default(),
            tls: None,
            kv: MemKv::new(),
            disk: MemDisk::new(),
        }
    }

    /// The store as it would be after the power failed now.
    ///
    /// Rows and files cannot be looked at in one moment while the server runs: what was marked durable between the two is looked at
    /// again.
    pub fn crash(&self) -> Self {
        loop {
            let (kv, disk) = (self.kv.crash(0), self.disk.crash());
            let (durable, found) = durable_and_found(&disk, kv.reads()).unwrap();
            if durable.unwrap_or(0) <= found.unwrap_or(0) {
                return Self {
                    kv,
                    disk,
                    ..self.clone()
                };
            }
        }
    }

    pub fn start(&self) -> Server {
        let server = self.greet().open();
        server.node.admit();
        server
    }

    /// Sockets that greet, over a store that is opened later.
    pub fn greet(&self) -> Greeter {
        let runtime = SmolRuntime::start(1, Seed::from_number(self.seed)).unwrap();
        let hostname = Domain::parse("localhost", false).unwrap();
        let listener = |service: Service| ListenerConfig {
            name: service.name().into(),
            bind: Bind::Addr("127.0.0.1:0".parse().unwrap()),
            service,
            hostname: hostname.clone(),
            max_size: 100_000_000,
            clear_auth: true,
            tls: self.tls.clone(),
            offers: self.offers.clone(),
            lists: Vec::new(),
            trusted_proxies: Vec::new(),
            require_starttls: false,
        };
        let config = Config {
            listeners: [Service::Smtp, Service::Submission, Service::Imap]
                .map(listener)
                .to_vec(),
            outgoing: self.outgoing.clone(),
            transports: self.transports.clone(),
            resolvers: self.resolvers.clone(),
            remote_port: self.remote_port,
            mta_sts: self.mta_sts.clone(),
            plan: self.plan.clone(),
            connections: mox_node::ConnectionLimits::default(),
            failed_logins: mox_node::LoginLimits::default(),
            unlimited: Vec::new(),
            sending: mox_node::Sending::default(),
            receiving: mox_node::Receiving::default(),
            hostname,
        };
        let bound = Bound::bind(&runtime, &config).unwrap();
        let addresses = bound.addresses(&runtime).unwrap().into_iter().collect();
        Greeter {
            greeting: bound.greet(runtime.clone(), config),
            runtime,
            addresses,
            world: self.clone(),
        }
    }
}

/// A node before its store is open.
pub struct Greeter {
    greeting: Greeting<SmolRuntime>,
    runtime: SmolRuntime,
    addresses: BTreeMap<String, SocketAddr>,
    world: World,
}

impl Greeter {
    pub fn connect(&self, service: Service) -> Client {
        Client::to(self.addresses[service.name()])
    }

    /// The node with its store; nobody is admitted yet.
    pub fn open(self) -> Server {
        let World {
            kv,
            disk,
            accounts,
            routes,
            ..
        } = self.world;
        let mut directory = Directory::local(accounts);
        directory.set_routes(routes);
        let options = Options {
            low_percent: 0,
            low_octets: 0,
            ..Options::default()
        };
        let (store, committer) = Store::open(Box::new(kv), Arc::new(disk), options).unwrap();
        let opening = self.greeting.open(directory, store, committer);
        Server {
            node: block_on(opening).unwrap(),
            runtime: self.runtime,
            addresses: self.addresses,
        }
    }

    pub fn stop(&self) {
        self.runtime.stopping();
        self.greeting.stop();
    }
}

/// A running node.
pub struct Server {
    pub node: Node<SmolRuntime>,
    runtime: SmolRuntime,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Server {
    pub fn connect(&self, service: Service) -> Client {
        Client::to(self.addresses[service.name()])
    }

    /// A greeted SMTP session.
    pub fn smtp(&self, service: Service) -> Client {
        let mut client = self.connect(service);
        client.expect("220 ");
        client.ask("EHLO client.example", "250 ");
        client
    }

    /// A session that is to be encrypted now.
    pub fn start_tls(&self, service: Service) -> Client {
        let mut client = self.smtp(service);
        client.ask("STARTTLS", "220 ");
        client
    }

    /// A session of a user who may send.
    pub fn submission(&self, credentials: &mox_sasl::Credentials) -> Client {
        let row = mox_server::encode_credentials(credentials);
        block_on(self.node.set_credentials("mox", row)).unwrap();
        let mut client = self.smtp(Service::Submission);
        // NUL mox@localhost NUL secret
        client.ask("AUTH PLAIN AG1veEBsb2NhbGhvc3QAc2VjcmV0", "235 ");
        client
    }

    /// Messages in the Inbox of an account.
    pub fn messages(&self, account: &str) -> u32 {
        let published = self.node.store().published();
        let view = &*published.view;
        let id = mox_mailbox::account(view, account).unwrap().unwrap().id;
        let inbox = mox_mailbox::mailbox_id(view, id, "INBOX").unwrap().unwrap();
        let status = mox_mailbox::status(view, id, inbox).unwrap().unwrap();
        status.messages
    }

    pub fn stop(self) {
        self.runtime.stopping();
        block_on(self.node.drain());
        self.runtime.stop(Duration::from_secs(1));
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One connection in clear.
pub struct Client(BufReader<TcpStream>);

impl Client {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The stream itself, when everything that came was read.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.0.buffer().is_empty());
        self.0.into_inner()
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends much, without waiting for what comes back meanwhile.
    pub fn send_beside(&self, text: String) {
        let mut stream = self.0.get_ref().try_clone().unwrap();
        std::thread::spawn(move || stream.write_all(text.as_bytes()));
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The last line of the next SMTP reply.
    pub fn reply(&mut self) -> String {
        loop {
            let line = self.line();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    #[track_caller]
    pub fn expect(&mut self, start: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(start), "{reply:?} instead of {start:?}");
        reply
    }

    #[track_caller]
    pub fn ask(&mut self, command: &str, start: &str) -> String {
        self.send(&format!("{command}\r\n"));
        self.expect(start)
    }

    /// An IMAP command, and all that comes back, to its tagged OK.
    #[track_caller]
    pub fn imap(&mut self, command: &str) -> String {
        self.send(&format!("a {command}\r\n"));
        let mut all = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty() || all.ends_with('\n'), "closed: {all}");
            let octets = literal(&line);
            all.push_str(&line);
            all.push('\n');
            if let Some(octets) = octets {
                let mut text = vec![0; octets];
                self.0.read_exact(&mut text).unwrap();
                all.push_str(&String::from_utf8_lossy(&text));
                all.push('\n');
            }
            if line.starts_with("a ") {
                assert!(line.starts_with("a OK "), "{command}: {line}");
                return all;
            }
        }
    }
}

fn literal(line: &str) -> Option<usize> {
    let (_, count) = line.strip_suffix('}')?.rsplit_once('{')?;
    count.parse().ok()
}
