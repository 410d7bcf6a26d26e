//! Our server as a world runs it: the real node, with a configuration that fits.

use mox_driver::Bind;
use mox_machine::Seed;
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Service};
use mox_sasl::{Credentials, Iterations};
use mox_server::{Directory, DomainRules, Postmaster, encode_credentials};
use mox_store::{Disk, Kv, Options, Store};
use std::sync::Arc;

use super::peers;
use crate::{Sim, SimDisk, SimKv, SimRuntime, names};

/// One of our servers alone, for small scenarios: SMTP on port 25, submission on 587, IMAP on 143. It is number `which`
/// of `a.example`, `b.example`, `c.example`, at 10.0.0.1 and so on; its accounts are the first of `ann`, `bob`, `cid`,
/// with the password `correct horse`.
///
/// # Errors
/// Why it does not start.
pub async fn lone_server(
    sim: &Sim,
    which: usize,
    accounts: usize,
) -> Result<(SimRuntime, Node<SimRuntime>), String> {
    // Another server of the same world may have called it to life.
    let _ = peers::name_server_of(sim, None);
    let name = names::domain(which);
    let runtime = sim.computer(name, names::ip(which));
    let rows = Box::new(SimKv::new(sim, &format!("rows of {name}")));
    let files = Arc::new(SimDisk::new(sim, &format!("disk of {name}")));
    let node = start(&runtime, which, (accounts, false), (rows, files)).await?;
    Ok((runtime, node))
}

/// Starts a server over what is there, and gives everybody the password.
pub(super) async fn start(
    runtime: &SimRuntime,
    which: usize,
    (accounts, tls): (usize, bool),
    (rows, files): (Box<dyn Kv>, Arc<dyn Disk>),
) -> Result<Node<SimRuntime>, String> {
    let config = config(runtime, which, tls)?;
    let directory = directory(which, accounts)?;
    let bound = Bound::bind(runtime, &config).map_err(|e| e.to_string())?;
    let (store, committer) = Store::open(rows, files, options()).map_err(|e| e.to_string())?;
    let starting = Node::start(runtime.clone(), config, directory, bound, store, committer);
    let node = starting.await.map_err(|e| e.to_string())?;
    for account in node.without_password().map_err(|e| e.to_string())? {
        let seed = Seed::from_number(1).child("salt", 0);
        let derived = Credentials::derive(names::PASSWORD, &seed, Iterations::ONE);
        let derived = derived.map_err(|e| format!("{e:?}"))?;
        let set = node.set_credentials(&account, encode_credentials(&derived));
        set.await.map_err(|e| e.to_string())?;
    }
    Ok(node)
}

/// As in production, but for the room on the disk.
pub(super) fn options() -> Options {
    Options {
        low_percent: 0,
        low_octets: 0,
        ..Options::default()
    }
}

fn config(runtime: &SimRuntime, which: usize, tls: bool) -> Result<Config, String> {
    let hostname = names::parsed(which)?;
    let mut services = vec![
        (25, Service::Smtp),
        (587, Service::Submission),
        (143, Service::Imap),
    ];
    if tls {
        services.extend([(465, Service::Submissions), (993, Service::Imaps)]);
    }
    let tls = tls.then(|| runtime.server_tls(&[names::domain(which)]));
    let listeners = services.into_iter().map(|(port, service)| ListenerConfig {
        name: service.name().to_owned(),
        bind: Bind::Addr(names::socket(which, port)),
        service,
        hostname: hostname.clone(),
        max_size: mox_smtp::server::Config::MAX_SIZE,
        clear_auth: true,
        tls: tls.clone(),
        offers: mox_node::Offers::default(),
        lists: Vec::new(),
        trusted_proxies: Vec::new(),
        require_starttls: false,
    });
    Ok(Config {
        listeners: listeners.collect(),
        hostname,
        outgoing: Outgoing::Direct,
        transports: std::collections::BTreeMap::new(),
        resolvers: vec![peers::name_server_address()],
        remote_port: 25,
        mta_sts: mox_node::MtaSts::default(),
        plan: mox_queue::Plan::default(),
        connections: mox_node::ConnectionLimits::default(),
        failed_logins: mox_node::LoginLimits::default(),
        unlimited: Vec::new(),
        sending: mox_node::Sending::default(),
        receiving: mox_node::Receiving::default(),
    })
}

fn directory(which: usize, accounts: usize) -> Result<Directory, String> {
    let domain = names::parsed(which)?;
    let mut directory = Directory::empty(Postmaster {
        account: names::account(0).to_owned(),
        mailbox: "Inbox".to_owned(),
    });
    let rules = DomainRules {
        separators: vec!['+'],
        case_sensitive: false,
    };
    directory.add_domain(&domain, rules);
    for number in 0..accounts {
        let added = directory.add_address(names::account(number), &names::local(number)?, &domain);
        added.map_err(|e| format!("{e:?}"))?;
    }
    Ok(directory)
}
