//! One whole server of ours in a world, with an account `ann`, for tests of what surrounds it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_address::{Domain, LocalPart, Path};
use mox_dns::MasterFile;
use mox_driver::{Bind, Runtime, Timer};
use mox_machine::{Mono, Seed};
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Queued, Service, Transport};
use mox_sasl::{Credentials, Iterations};
use mox_server::routes::Routes;
use mox_server::{Directory, DomainRules, encode_credentials};
use mox_sim::{
    Dialogue, DnsManner, Knobs, Sim, SimDisk, SimKv, SimRuntime, SimStream, name_server,
};
use mox_store::{Options, Store};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const PASSWORD: &str = "correct horse";
pub const OURS: [u8; 4] = [10, 0, 0, 1];

/// Our server, with what survives its crashes.
pub struct One {
    pub runtime: SimRuntime,
    pub rows: SimKv,
    pub disk: SimDisk,
    pub node: Option<Node<SimRuntime>>,
    pub outgoing: Outgoing,
    pub transports: BTreeMap<String, Arc<Transport>>,
    pub routes: Routes,
    pub resolvers: Vec<SocketAddr>,
    pub mta_sts: mox_node::MtaSts,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub options: Options,
    pub plan: mox_queue::Plan,
    pub sending: mox_node::Sending,
    pub lists: Vec<mox_dns::Name>,
    pub trusted_proxies: Vec<mox_server::config::Network>,
    pub unlimited: Vec<mox_server::config::Network>,
    pub require_starttls: bool,
    pub max_size: u64,
    pub receiving: mox_node::Receiving,
    pub incoming: mox_server::config::Incoming,
    /// An alias stands for ann and mox; whether they may send with it.
    pub alias: Option<bool>,
    /// Accounts `u0` and so on, with addresses at localhost.
    pub accounts: u32,
    /// Its local part at ours.example: sales.
    pub alias_name: &'static str,
    /// Why the process ended by itself.
    exit: Arc<Mutex<Option<String>>>,
}

pub fn ours(port: u16) -> SocketAddr {
    (Ipv4Addr::from(OURS), port).into()
}

impl One {
    pub fn new(sim: &Sim, outgoing: Outgoing) -> Self {
        Self {
            runtime: sim.computer("ours", OURS),
            rows: SimKv::new(sim, "rows"),
            disk: SimDisk::new(sim, "disk"),
            node: None,
            outgoing,
            transports: BTreeMap::new(),
            routes: Routes::default(),
            resolvers: Vec::new(),
            mta_sts: mox_node::MtaSts::default(),
            tls: None,
            options: Options {
                low_percent: 0,
                low_octets: 0,
                ..Options::default()
            },
            plan: mox_queue::Plan::default(),
            sending: mox_node::Sending::default(),
            lists: Vec::new(),
            trusted_proxies: Vec::new(),
            unlimited: Vec::new(),
            require_starttls: false,
            max_size: mox_smtp::server::Config::MAX_SIZE,
            receiving: mox_node::Receiving::default(),
            incoming: mox_server::config::Incoming::default(),
            alias: None,
            accounts: 0,
            alias_name: "sales",
            exit: Arc::default(),
        }
    }

    /// From now on the end of a service ends the process on this computer, as in production, and not the world.
    pub fn supervise(&self) {
        let exit = self.exit.clone();
        self.runtime.on_exit(move |why| {
            exit.lock().unwrap().get_or_insert(why);
        });
    }

    /// Waits at most so long for the process to end by itself, and lets go of what it had. Why and when it did.
    pub async fn exited(&mut self, at_most: Duration) -> Option<(String, Mono)> {
        let until = self.runtime.now().mono + at_most;
        // Another computer's timer: ours end with the process.
        let clock = self.runtime.sim().computer("clock", [10, 0, 9, 9]);
        loop {
            let exit = self.exit.lock().unwrap().take();
            if let Some(why) = exit {
                self.runtime.kill();
                self.node = None;
                return Some((why, clock.now().mono));
            }
            if clock.now().mono >= until {
                return None;
            }
            sleep(&clock, Duration::from_millis(10)).await;
        }
    }

    fn config(&self) -> Config {
        let hostname = Domain::parse("ours.example", false).unwrap();
        let mut services = vec![
            (25, Service::Smtp),
            (587, Service::Submission),
            (143, Service::Imap),
        ];
        if self.tls.is_some() {
            services.extend([(465, Service::Submissions), (993, Service::Imaps)]);
        }
        let listeners = services.into_iter().map(|(port, service)| ListenerConfig {
            name: service.name().to_owned(),
            bind: Bind::Addr(ours(port)),
            service,
            hostname: hostname.clone(),
            max_size: self.max_size,
            clear_auth: true,
            tls: self.tls.clone(),
            offers: mox_node::Offers::default(),
            lists: self.lists.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            require_starttls: self.require_starttls,
        });
        Config {
            listeners: listeners.collect(),
            hostname,
            outgoing: self.outgoing.clone(),
            transports: self.transports.clone(),
            resolvers: self.resolvers.clone(),
            remote_port: 25,
            mta_sts: self.mta_sts.clone(),
            plan: self.plan.clone(),
            connections: mox_node::ConnectionLimits::default(),
            failed_logins: mox_node::LoginLimits::default(),
            unlimited: self.unlimited.clone(),
            sending: self.sending.clone(),
            receiving: self.receiving.clone(),
        }
    }

    pub async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    pub async fn try_start(&mut self) -> Result<(), String> {
        let config = self.config();
        let bound = Bound::bind(&self.runtime, &config).map_err(|e| e.to_string())?;
        let rows = Box::new(self.rows.clone());
        let disk = Arc::new(self.disk.clone());
        let (store, committer) =
            Store::open(rows, disk, self.options.clone()).map_err(|e| e.to_string())?;
        let domain = Domain::parse("ours.example", false).unwrap();
        let mut directory = Directory::local(self.accounts);
        directory.add_domain(&domain, DomainRules::default());
        let local = LocalPart::parse("ann", false).unwrap();
        directory.add_address("ann", &local, &domain).unwrap();
        if let Some(may_send) = self.alias {
            let members = ["ann@ours.example", "mox@localhost"].into_iter();
            let members = members.map(|address| Path::parse(address, false).unwrap());
            let members = members
                .map(|path| directory.member(path).unwrap())
                .collect();
            let alias = LocalPart::parse(self.alias_name, false).unwrap();
            let added = directory.add_alias(&alias, &domain, members, may_send);
            added.unwrap();
        }
        let numbered = (0..self.accounts).map(|n| format!("u{n}"));
        for account in numbered.chain(["ann".into()]) {
            directory.set_incoming(&account, self.incoming.clone());
        }
        directory.set_routes(self.routes.clone());
        let runtime = self.runtime.clone();
        let node = Node::start(runtime, config, directory, bound, store, committer)
            .await
            .map_err(|e| e.to_string())?;
        for account in node.without_password().map_err(|e| e.to_string())? {
            let seed = Seed::from_number(1).child("salt", 0);
            let derived = Credentials::derive(PASSWORD, &seed, Iterations::ONE).unwrap();
            node.set_credentials(&account, encode_credentials(&derived))
                .await
                .map_err(|e| e.to_string())?;
        }
        self.node = Some(node);
        Ok(())
    }

    /// The power fails.
    pub fn crash(&mut self) {
        self.runtime.kill();
        self.node = None;
        self.rows = self.rows.crash();
        self.disk = self.disk.crash();
    }

    pub fn node(&self) -> &Node<SimRuntime> {
        self.node.as_ref().unwrap()
    }

    pub fn queue(&self) -> Vec<Queued> {
        self.node().queue(1_000).unwrap()
    }

    /// Waits until the queue is empty, at most so long; whether it is.
    pub async fn settle(&self, at_most: Duration) -> bool {
        let until = self.runtime.now().mono + at_most;
        while !self.queue().is_empty() {
            if self.runtime.now().mono >= until {
                return false;
            }
            sleep(&self.runtime, Duration::from_secs(10)).await;
        }
        true
    }

    /// Stops in order, with everything consistent.
    pub async fn stop(self) {
        sleep(&self.runtime, Duration::from_secs(15)).await;
        assert_eq!(
            self.node().store().verify(true),
            mox_store::Verified::default()
        );
        self.runtime.stopping();
        self.node().drain().await;
    }
}

/// A world in which our server judges mail: a name server knows `zone`, and a client is at 10.0.2.1. The server is set up, started, and
/// handed to the scenario.
pub fn judged<F: Future<Output = ()> + Send>(
    (zone, manner): (&str, DnsManner),
    set: impl FnOnce(&mut One) + Send + 'static,
    scenario: impl FnOnce(One, SimRuntime) -> F + Send + 'static,
) {
    let zone = MasterFile::parse(zone).unwrap();
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let client = world.computer("client", [10, 0, 2, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, manner).unwrap()];
        set(&mut one);
        one.start().await;
        scenario(one, client).await;
    });
    assert_eq!(sim.panics(), 0);
}

pub async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    std::future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// A message with a mark in its subject and so many lines of text.
pub fn text(mark: &str, lines: usize) -> String {
    let filler = "All work and no play.\r\n".repeat(lines);
    format!(
        "From: <ann@ours.example>\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\nSubject: {mark}\r\n\r\n{filler}"
    )
}

/// Ann sends a message by submission; the reply to it.
pub async fn submit(from: &SimRuntime, to: &[&str], text: &str) -> io::Result<String> {
    submit_with(from, "", to, text).await
}

/// The same with parameters of MAIL, a space before each.
pub async fn submit_with(
    from: &SimRuntime,
    params: &str,
    to: &[&str],
    text: &str,
) -> io::Result<String> {
    let mut smtp = Dialogue::new(from.connect(ours(587), None).await?);
    smtp.expect("220").await?;
    smtp.say("EHLO client.example\r\n").await?;
    smtp.expect("250").await?;
    let response = STANDARD.encode(format!("\0ann@ours.example\0{PASSWORD}"));
    smtp.say(&format!("AUTH PLAIN {response}\r\n")).await?;
    smtp.expect("235").await?;
    begun(
        &mut smtp,
        &format!("MAIL FROM:<ann@ours.example>{params}"),
        to,
        text,
    )
    .await
}

/// Somebody else sends a message to us; the reply to it.
pub async fn arrive(from: &SimRuntime, text: &str) -> io::Result<String> {
    let mut smtp = Dialogue::new(from.connect(ours(25), None).await?);
    smtp.expect("220").await?;
    smtp.say("EHLO client.example\r\n").await?;
    smtp.expect("250").await?;
    transaction(
        &mut smtp,
        "bob@elsewhere.example",
        &["ann@ours.example"],
        text,
    )
    .await
}

/// One transaction in an open session.
pub async fn transaction<IO: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin>(
    smtp: &mut Dialogue<IO>,
    from: &str,
    to: &[&str],
    text: &str,
) -> io::Result<String> {
    begun(smtp, &format!("MAIL FROM:<{from}>"), to, text).await
}

async fn begun<IO: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin>(
    smtp: &mut Dialogue<IO>,
    mail: &str,
    to: &[&str],
    text: &str,
) -> io::Result<String> {
    smtp.say(&format!("{mail}\r\n")).await?;
    smtp.expect("250").await?;
    for to in to {
        smtp.say(&format!("RCPT TO:<{to}>\r\n")).await?;
        smtp.expect("250").await?;
    }
    smtp.say("DATA\r\n").await?;
    smtp.expect("354").await?;
    smtp.say(&format!("{text}.\r\n")).await?;
    smtp.expect("250").await
}

/// Ann's Inbox, all of it, over any stream.
pub async fn inbox(from: &SimRuntime) -> io::Result<String> {
    let stream: SimStream = from.connect(ours(143), None).await?;
    let mut imap = Dialogue::new(stream);
    imap.line().await?;
    let said = imap
        .command(&format!("LOGIN ann@ours.example \"{PASSWORD}\""))
        .await?;
    if !said.contains(" OK ") {
        return Err(io::Error::other(said));
    }
    let selected = imap.command("SELECT INBOX").await?;
    if selected.contains("* 0 EXISTS") {
        return Ok(String::new());
    }
    let text = imap.command("FETCH 1:* (BODY.PEEK[])").await?;
    imap.command("LOGOUT").await?;
    Ok(text)
}
