//! One of our servers: the real node on a machine that loses its power, starts again, and is compared with what was
//! promised each time.

use mox_driver::Bind;
use mox_machine::Seed;
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Service};
use mox_sasl::{Credentials, Iterations};
use mox_server::{Directory, DomainRules, Postmaster, encode_credentials};
use mox_store::{Kv, Options, Store};
use std::time::Duration;

use super::zone;
use crate::client::{Stage, sleep};
use crate::machine::{Down, Machine};
use crate::survey::Survey;
use crate::{Sim, SimRuntime, names};

/// How long a process that ended by itself stays away.
const RESTART: Duration = Duration::from_secs(2);
/// What `verify` says of a file left by a crash until the sweeper comes.
const LEFT_OVER: &str = "nothing refers to it";

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
                Down::Power => sleep(&self.observer, downs()).await,
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

    /// The store agrees with itself (S1 to S13), but for files that the crash left and the sweeper takes.
    fn verify(&self, node: &Node<SimRuntime>) {
        for finding in node.store().verify(true) {
            if !finding.0.ends_with(LEFT_OVER) {
                self.stage
                    .judge
                    .wrong(format!("server {} after its start: {finding}", self.which));
            }
        }
    }

    async fn start(&self) -> Result<Node<SimRuntime>, String> {
        let runtime = self.machine.runtime();
        let config = self.config()?;
        let bound = Bound::bind(runtime, &config).map_err(|e| e.to_string())?;
        let (rows, files) = self.machine.place();
        let (store, committer) = Store::open(rows, files, options()).map_err(|e| e.to_string())?;
        let starting = Node::start(
            runtime.clone(),
            config,
            self.directory()?,
            bound,
            store,
            committer,
        );
        // The power may fail while it waits for what then never comes.
        let fell = async {
            self.machine.downfall().await;
            Err("the power failed".to_owned())
        };
        let starting = async { starting.await.map_err(|e| e.to_string()) };
        let node = futures_lite::future::or(starting, fell).await?;
        for account in node.without_password().map_err(|e| e.to_string())? {
            let seed = Seed::from_number(1).child("salt", 0);
            let derived = Credentials::derive(names::PASSWORD, &seed, Iterations::ONE);
            let derived = derived.map_err(|e| format!("{e:?}"))?;
            let set = node.set_credentials(&account, encode_credentials(&derived));
            let fell = async {
                self.machine.downfall().await;
                Ok(())
            };
            futures_lite::future::or(set, fell)
                .await
                .map_err(|e| e.to_string())?;
        }
        Ok(node)
    }

    fn config(&self) -> Result<Config, String> {
        let hostname = names::parsed(self.which)?;
        let services = [
            (25, Service::Smtp),
            (587, Service::Submission),
            (143, Service::Imap),
        ];
        let listeners = services.map(|(port, service)| ListenerConfig {
            name: service.name().to_owned(),
            bind: Bind::Addr(names::socket(self.which, port)),
            service,
            hostname: hostname.clone(),
            max_size: mox_smtp::server::Config::MAX_SIZE,
            clear_auth: true,
            tls: None,
        });
        Ok(Config {
            hostname,
            listeners: listeners.into(),
            outgoing: Outgoing::Direct,
            resolvers: vec![zone::address()],
            remote_port: 25,
            plan: mox_queue::Plan::default(),
        })
    }

    fn directory(&self) -> Result<Directory, String> {
        let domain = names::parsed(self.which)?;
        let mut directory = Directory::empty(Postmaster {
            account: names::account(0).to_owned(),
            mailbox: "Inbox".to_owned(),
        });
        let rules = DomainRules {
            separators: vec!['+'],
            case_sensitive: false,
        };
        directory.add_domain(&domain, rules);
        for number in 0..self.accounts {
            let added =
                directory.add_address(names::account(number), &names::local(number)?, &domain);
            added.map_err(|e| format!("{e:?}"))?;
        }
        Ok(directory)
    }
}

/// As in production, but for the room on the disk.
pub(super) fn options() -> Options {
    Options {
        low_percent: 0,
        low_octets: 0,
        ..Options::default()
    }
}
