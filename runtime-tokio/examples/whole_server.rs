//! A whole mail server inside a tokio program: SMTP, IMAP, the outgoing queue, and a store in a directory.
//!
//! ```text
//! cargo run -p mox-runtime-tokio --example whole_server
//! printf 'Subject: hello\n\nIt works.\n' |
//!   curl --crlf --url smtp://127.0.0.1:2525 --mail-from me@localhost --mail-rcpt mox@localhost --upload-file -
//! curl --url 'imap://127.0.0.1:2143/INBOX;MAILINDEX=1' --user mox@localhost:moxmoxmox
//! ```
//!
//! `mox-node` is the server. It runs on anything that implements `mox_driver::Runtime`; here that is tokio.

use mox_address::Domain;
use mox_driver::{Bind, Runtime};
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Service};
use mox_runtime_tokio::{TokioRuntime, os_seed};
use mox_sasl::{Credentials, Iterations};
use mox_server::{Directory, encode_credentials};
use mox_store::{Options, Store};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What the functions here may fail with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let runtime = TokioRuntime::current(os_seed()?);
    let ports = [(Service::Smtp, 2525), (Service::Imap, 2143)];
    let (node, addresses) = start(&runtime, Path::new("mox-tokio"), &ports).await?;
    println!("serving on {addresses:?}; Ctrl-C stops");
    tokio::signal::ctrl_c().await?;
    // From here on a service may end. Then: no new work, everything accepted is synced, the store is closed.
    runtime.stopping();
    node.drain().await;
    Ok(())
}

/// Starts a server for localhost on 127.0.0.1 that keeps its mail in `dir`; where it listens. Its user is
/// `mox@localhost`, the password `moxmoxmox`.
pub async fn start(
    runtime: &TokioRuntime,
    dir: &Path,
    ports: &[(Service, u16)],
) -> Result<(Node<TokioRuntime>, Vec<SocketAddr>), Failure> {
    let config = config(ports)?;
    // Bind first: connections wait until the store is open.
    let bound = Bound::bind(runtime, &config)?;
    let addresses = bound.addresses(runtime)?;
    let dir = PathBuf::from(dir);
    let opening = move || Store::open_directory(&dir, Options::default());
    let (store, committer) = tokio::task::spawn_blocking(opening).await??;
    let directory = Directory::local(0);
    let starting = Node::start(runtime.clone(), config, directory, bound, store, committer);
    let node = starting.await?;

    for account in node.without_password()? {
        let salt = runtime.seed("password");
        let derive = move || Credentials::derive("moxmoxmox", &salt, Iterations::default());
        let credentials = tokio::task::spawn_blocking(derive).await??;
        let set = node.set_credentials(&account, encode_credentials(&credentials));
        set.await?;
    }
    let addresses = addresses.into_iter().map(|(_name, address)| address);
    Ok((node, addresses.collect()))
}

fn config(ports: &[(Service, u16)]) -> Result<Config, Failure> {
    let hostname = Domain::parse("localhost", false)?;
    let listener = |&(service, port): &(Service, u16)| ListenerConfig {
        name: service.name().to_owned(),
        bind: Bind::Addr(([127, 0, 0, 1], port).into()),
        service,
        hostname: hostname.clone(),
        max_size: mox_smtp::server::Config::MAX_SIZE,
        clear_auth: true, // on loopback, without a certificate
        tls: None,        // `mox_node::server_config` makes one of a certificate and its key
        offers: mox_node::Offers::default(),
        lists: Vec::new(),
        trusted_proxies: Vec::new(),
        require_starttls: false,
    };
    Ok(Config {
        listeners: ports.iter().map(listener).collect(),
        outgoing: Outgoing::Sink("mox".to_owned()), // `Outgoing::Direct` delivers to the world
        transports: std::collections::BTreeMap::new(),
        resolvers: Vec::new(),
        remote_port: 25,
        mta_sts: mox_node::MtaSts::default(),
        plan: mox_queue::Plan::default(),
        sending: mox_node::Sending::default(),
        connections: mox_node::ConnectionLimits::default(),
        failed_logins: mox_node::LoginLimits::default(),
        unlimited: Vec::new(),
        receiving: mox_node::Receiving::default(),
        hostname: hostname.clone(),
    })
}
