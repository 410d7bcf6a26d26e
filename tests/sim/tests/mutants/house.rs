//! One server with one user, and a peer that is only a script.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::time::Duration;
use mox_address::{Domain, LocalPart};
use mox_driver::{Bind, Runtime, Timer};
use mox_machine::Seed;
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Service};
use mox_sasl::{Credentials, Iterations};
use mox_server::{Directory, DomainRules, encode_credentials};
use mox_sim::{Dialogue, Knobs, Sim, SimDisk, SimKv, SimRuntime, SimStream};
use mox_store::{Options, Store};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

pub const DOMAIN: &str = "a.example";
const USER: &str = "ann";
const PASSWORD: &str = "correct horse";
const HOUSE: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 9];

/// A running server, and a computer to talk to it from.
pub struct House {
    pub node: Node<SimRuntime>,
    pub observer: SimRuntime,
}

/// What went wrong, from wherever it is found.
pub type Wrong = Arc<Mutex<Vec<String>>>;

/// Runs a scenario in a world of its own, where the network takes whole pieces.
pub fn world<F: Future<Output = ()> + Send + 'static>(
    seed: u64,
    scenario: impl FnOnce(Sim, Wrong) -> F,
) -> Vec<String> {
    let knobs = Knobs {
        segment: 65_536,
        ..Knobs::fault_free()
    };
    let sim = Sim::new(seed, knobs);
    let wrong = Wrong::default();
    sim.run(scenario(sim.clone(), wrong.clone()));
    let mut found = core::mem::take(&mut *wrong.lock().unwrap());
    if sim.panics() > 0 {
        found.push("a session panicked".to_owned());
    }
    found
}

pub async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    core::future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl House {
    pub async fn new(sim: &Sim) -> Self {
        let runtime = sim.computer("house", HOUSE);
        let hostname = Domain::parse(DOMAIN, false).unwrap();
        let services = [
            (25, Service::Smtp),
            (587, Service::Submission),
            (143, Service::Imap),
        ];
        let listeners = services.map(|(port, service)| ListenerConfig {
            name: service.name().to_owned(),
            bind: Bind::Addr((HOUSE, port).into()),
            service,
            hostname: hostname.clone(),
            max_size: mox_smtp::server::Config::MAX_SIZE,
            clear_auth: true,
            tls: None,
            offers: mox_node::Offers::default(),
            lists: Vec::new(),
            trusted_proxies: Vec::new(),
            require_starttls: false,
        });
        let config = Config {
            hostname: hostname.clone(),
            listeners: listeners.into(),
            outgoing: Outgoing::Relay(vec![(PEER, 25).into()]),
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
        };
        let mut directory = Directory::local(0);
        directory.add_domain(&hostname, DomainRules::default());
        let local = LocalPart::parse(USER, false).unwrap();
        directory.add_address(USER, &local, &hostname).unwrap();
        let bound = Bound::bind(&runtime, &config).unwrap();
        let options = Options {
            low_percent: 0,
            low_octets: 0,
            ..Options::default()
        };
        let rows = Box::new(SimKv::new(sim, "rows"));
        let disk = Arc::new(SimDisk::new(sim, "disk"));
        let (store, committer) = Store::open(rows, disk, options).unwrap();
        let node = Node::start(runtime, config, directory, bound, store, committer);
        let node = node.await.unwrap();
        for account in node.without_password().unwrap() {
            let seed = Seed::from_number(1).child("salt", 0);
            let derived = Credentials::derive(PASSWORD, &seed, Iterations::ONE).unwrap();
            let stored = encode_credentials(&derived);
            node.set_credentials(&account, stored).await.unwrap();
        }
        Self {
            node,
            observer: sim.computer("observer", [10, 0, 2, 1]),
        }
    }

    pub async fn dial(&self, port: u16) -> Dialogue<SimStream> {
        let to: SocketAddr = (HOUSE, port).into();
        Dialogue::new(self.observer.connect(to, None).await.unwrap())
    }

    /// Ann, or the null sender, sends a mail to somebody.
    pub async fn submit(&self, from: &str, to: &str, subject: &str) -> io::Result<()> {
        let mut smtp = self.dial(587).await;
        smtp.expect("220").await?;
        smtp.say("EHLO client.example\r\n").await?;
        smtp.expect("250").await?;
        let response = STANDARD.encode(format!("\0{USER}@{DOMAIN}\0{PASSWORD}"));
        smtp.say(&format!("AUTH PLAIN {response}\r\n")).await?;
        smtp.expect("235").await?;
        smtp.say(&format!("MAIL FROM:<{from}>\r\n")).await?;
        smtp.expect("250").await?;
        smtp.say(&format!("RCPT TO:<{to}>\r\n")).await?;
        smtp.expect("250").await?;
        smtp.say("DATA\r\n").await?;
        smtp.expect("354").await?;
        let author = format!("From: {USER}@{DOMAIN}\r\n");
        smtp.say(&format!("{author}Subject: {subject}\r\n\r\nhello\r\n.\r\n"))
            .await?;
        smtp.expect("250").await?;
        smtp.say("QUIT\r\n").await?;
        smtp.expect("221").await.map(|_| ())
    }

    /// An IMAP session of Ann.
    pub async fn imap(&self) -> io::Result<Dialogue<SimStream>> {
        let mut imap = self.dial(143).await;
        imap.line().await?;
        let login = format!("LOGIN {USER}@{DOMAIN} \"{PASSWORD}\"");
        let said = imap.command(&login).await?;
        match said.contains(" OK ") {
            true => Ok(imap),
            false => Err(io::Error::other(said)),
        }
    }

    /// Everything in Ann's Inbox.
    pub async fn inbox(&self) -> io::Result<String> {
        let mut imap = self.imap().await?;
        let selected = imap.command("SELECT INBOX").await?;
        match selected.contains("* 0 EXISTS") {
            true => Ok(String::new()),
            false => imap.command("FETCH 1:* (BODY.PEEK[])").await,
        }
    }

    /// Waits until the queue is empty; false when that takes longer than this.
    pub async fn queue_empties(&self, within: Duration) -> bool {
        let end = self.observer.now().mono + within;
        while !self.node.queue(1).unwrap().is_empty() {
            if self.observer.now().mono > end {
                return false;
            }
            sleep(&self.observer, secs(10)).await;
        }
        true
    }
}

/// Another server: `answers` says for each command what it replies to it, `None` for what is usual.
pub fn peer(sim: &Sim, answers: impl FnMut(&str) -> Option<String> + Send + 'static) {
    let computer = sim.computer("peer", PEER);
    let listener = computer.listen(Bind::Addr((PEER, 25).into())).unwrap();
    let answers = Arc::new(Mutex::new(answers));
    let on = computer.clone();
    let accept = Box::pin(async move {
        loop {
            let Ok((stream, _)) = on.accept(&listener).await else {
                continue;
            };
            let answers = Arc::clone(&answers);
            let session = Box::pin(async move {
                let usual = |command: &str| {
                    answers.lock().unwrap()(command).unwrap_or_else(|| match command {
                        "DATA" => "354 go on".to_owned(),
                        "QUIT" => "221 bye".to_owned(),
                        _ => "250 yes".to_owned(),
                    })
                };
                // Whoever calls may leave at any time.
                let _ = serve(Dialogue::new(stream), usual).await;
            });
            on.spawn_session("peer", session);
        }
    });
    computer.spawn_service("peer", accept);
}

async fn serve(
    mut smtp: Dialogue<SimStream>,
    mut usual: impl FnMut(&str) -> String,
) -> io::Result<()> {
    smtp.say("220 peer.example ESMTP\r\n").await?;
    loop {
        let command = smtp.line().await?;
        let reply = usual(&command);
        smtp.say(&format!("{reply}\r\n")).await?;
        if reply.starts_with("354") {
            while smtp.line().await? != "." {}
            let verdict = usual(".");
            smtp.say(&format!("{verdict}\r\n")).await?;
        }
        if reply.starts_with("221") {
            return smtp.close().await;
        }
    }
}
