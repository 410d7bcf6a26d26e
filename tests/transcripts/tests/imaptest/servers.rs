//! The servers that scripts are played against: each time a new one.

use crate::play::{Place, play};
use crate::script::Script;
use futures_lite::future::block_on;
use mox_address::Domain;
use mox_driver::Bind;
use mox_machine::Seed;
use mox_node::{Bound, Config, ConnectionLimits, ListenerConfig, Node, Outgoing, Service};
use mox_queue::Plan;
use mox_runtime_smol::SmolRuntime;
use mox_sasl::{Credentials, Iterations};
use mox_server::{Directory, encode_credentials};
use mox_sim::{Knobs, Sim, SimRuntime, lone_server};
use mox_store::{MemDisk, MemKv, Options, Store};
use std::sync::Arc;
use std::time::Duration;

/// In the simulator, where nothing goes wrong.
pub fn in_memory(script: &Arc<Script>) -> Result<(), String> {
    let script = script.clone();
    in_simulator(|place| async move { play(place, &script).await })
}

/// Does something with a server in the simulator.
pub fn in_simulator<F>(
    client: impl FnOnce(Place<SimRuntime>) -> F + Send + 'static,
) -> Result<(), String>
where
    F: Future<Output = Result<(), String>> + Send,
{
    let sim = Sim::new(1, Knobs::fault_free());
    let within = sim.clone();
    sim.run(async move {
        let (_, _node) = lone_server(&within, 0, 1).await?;
        client(Place {
            runtime: within.computer("client", [10, 0, 1, 1]),
            address: ([10, 0, 0, 1], 143).into(),
            user: "ann@a.example",
            password: "correct horse",
            literal_plus: false,
        })
        .await
    })
}

/// On sockets of this machine.
pub fn on_a_socket(script: &Script) -> Result<(), String> {
    let runtime = SmolRuntime::start(1, Seed::from_number(1)).unwrap();
    let hostname = Domain::parse("localhost", false).unwrap();
    let listener = ListenerConfig {
        name: "imap".into(),
        bind: Bind::Addr(([127, 0, 0, 1], 0).into()),
        service: Service::Imap,
        hostname: hostname.clone(),
        max_size: 1_000_000,
        clear_auth: true,
        tls: None,
        offers: mox_node::Offers::default(),
        lists: Vec::new(),
        trusted_proxies: Vec::new(),
        require_starttls: false,
    };
    let config = Config {
        listeners: vec![listener],
        outgoing: Outgoing::Sink("mox".into()),
        transports: std::collections::BTreeMap::new(),
        resolvers: Vec::new(),
        remote_port: 25,
        mta_sts: mox_node::MtaSts::default(),
        plan: Plan::default(),
        connections: ConnectionLimits::default(),
        failed_logins: mox_node::LoginLimits::default(),
        unlimited: Vec::new(),
        sending: mox_node::Sending::default(),
        receiving: mox_node::Receiving::default(),
        hostname,
    };
    let bound = Bound::bind(&runtime, &config).unwrap();
    let address = bound.addresses(&runtime).unwrap().remove(0).1;
    let options = Options {
        low_percent: 0,
        low_octets: 0,
        ..Options::default()
    };
    let disk = Arc::new(MemDisk::new());
    let (store, committer) = Store::open(Box::new(MemKv::new()), disk, options).unwrap();
    let starting = Node::start(
        runtime.clone(),
        config,
        Directory::local(1),
        bound,
        store,
        committer,
    );
    let node = block_on(starting).unwrap();
    let seed = Seed::from_number(1);
    let derived = Credentials::derive("secret", &seed, Iterations::ONE).unwrap();
    block_on(node.set_credentials("mox", encode_credentials(&derived))).unwrap();
    let place = Place {
        runtime: runtime.clone(),
        address,
        user: "mox@localhost",
        password: "secret",
        literal_plus: true,
    };
    let played = block_on(play(place, script));
    runtime.stopping();
    block_on(node.drain());
    runtime.stop(Duration::from_secs(1));
    played
}
