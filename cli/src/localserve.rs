//! `moxctl localserve`: a whole server on this machine, without configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::Duration;

use mox_address::{Domain, LocalPart};
use mox_driver::{Bind, Runtime};
use mox_machine::{Secret, Seed};
use mox_node::{
    Config, ConnectionLimits, ListenerConfig, LoginLimits, Offers, Outgoing, Receiving, Service,
};
use mox_runtime_smol::SmolRuntime;
use mox_server::config::LogLevel;
use mox_server::{Directory, DomainRules};
use mox_store::Options;

use crate::args::{Args, Localserve};
use crate::capture::CapturePlan;
use crate::credentials;
use crate::ctl::Listening;
use crate::descriptors;
use crate::failure::Failure;
use crate::https;
use crate::logging::{self, Levels};
use crate::offline::make_private_dir;
use crate::password::os_seed;
use crate::process::Process;
use crate::serve::Admin;
use crate::tls_files;

/// The password of every account.
const PASSWORD: &str = "moxmoxmox";
/// The standard ports and what is spoken on them.
const SERVICES: [(u16, Service); 5] = [
    (25, Service::Smtp),
    (587, Service::Submission),
    (465, Service::Submissions),
    (143, Service::Imap),
    (993, Service::Imaps),
];
/// Lists of addresses that are asked about a client at most, as in `mox.ron`.
const DNSBLS_MAX: usize = 10;
/// Free octets below which new mail is refused: enough for a server that is not meant to keep anything.
const LOW_OCTETS: u64 = 32 * 1024 * 1024;

pub(crate) fn run(args: &Args, local: &Localserve) -> Result<(), Failure> {
    let level = local.loglevel.or(args.loglevel).unwrap_or(LogLevel::Info);
    let levels = Levels {
        default: level,
        ..Levels::default()
    };
    let _log = logging::start(&levels)
        .map_err(|e| Failure::Failed(format!("cannot start logging: {e}")))?;
    let plan = CapturePlan::of_flags(
        local.capture.as_ref(),
        local.capture_plain,
        local.capture_files,
        local.capture_octets,
    )?;
    let seed = match local.seed {
        Some(number) => Seed::from_number(number),
        None => os_seed()?,
    };
    let lists = lists(local)?;
    make_private_dir(&local.dir)?;
    // Takes as long as all else together; one for all accounts, whose password is known anyway.
    let of_password = seed.child("credentials", 0);
    let derived = thread::spawn(move || {
        credentials::derive(&Secret::new(PASSWORD.to_owned()), false, &of_password)
    });
    let runtime = SmolRuntime::start(0, seed.child("runtime", 0))
        .map_err(|e| Failure::Failed(format!("cannot start threads: {e}")))?;
    let names = ["localhost".into(), "127.0.0.1".into(), "::1".into()];
    let certificate = tls_files::self_signed(&local.dir.join("tls"), &names, runtime.now().utc)
        .map_err(|e| Failure::Failed(e.to_string()))?;
    let tls = mox_node::server_config(&runtime, certificate.chain, certificate.key)
        .map_err(|e| Failure::Failed(e.to_string()))?;
    let hostname = domain("localhost")?;
    let config = Config {
        listeners: listeners(local.port_base, &hostname, &tls, &lists)?,
        outgoing: outgoing(local)?,
        transports: std::collections::BTreeMap::new(),
        resolvers: local.resolver.into_iter().collect(),
        remote_port: local.remote_port,
        mta_sts: https::mta_sts(),
        plan: retries(local),
        connections: ConnectionLimits::of_total(descriptors::connections_at_most(
            ConnectionLimits::default().total,
        )),
        failed_logins: LoginLimits::NONE,
        unlimited: Vec::new(),
        sending: mox_node::Sending::default(),
        receiving: Receiving::default(),
        hostname,
    };
    let in_use = "another localserve may run; --port-base 2000 takes 2025, 2143 and so on";
    let mut process = Process::bind(runtime, config, in_use)?;
    process.record(&plan, &seed)?;
    let socket = local.dir.join("ctl");
    // A path may be too long for a socket; everything else works without.
    let ctl = Listening::bind(&socket);
    if let Err(error) = &ctl {
        tracing::warn!(target: "process", %error, socket = %socket.display(), "this server cannot be asked anything");
    }
    let options = Options {
        low_percent: 0,
        low_octets: LOW_OCTETS,
        ..Options::default()
    };
    process.serve(&local.dir, options, directory(local)?, |node| async move {
        let missing = node
            .without_password()
            .map_err(|e| Failure::Failed(e.to_string()))?;
        if !missing.is_empty() {
            let stored = derived
                .join()
                .map_err(|_| Failure::Failed("the password's thread ended in a panic".into()))??;
            let set = node.set_same_credentials(missing.iter().map(String::as_str), stored);
            set.await.map_err(|e| Failure::Failed(e.to_string()))?;
        }
        node.admit();
        greet(local);
        if let Ok(ctl) = &ctl {
            let admin = Admin {
                node,
                files: None,
                reloading: smol::lock::Mutex::default(),
                seed,
            };
            ctl.serve(&admin).await;
        }
        Ok(())
    })
}

fn retries(local: &Localserve) -> mox_queue::Plan {
    let plan = mox_queue::Plan::default();
    let Some(seconds) = local.retry_after else {
        return plan;
    };
    mox_queue::Plan {
        pauses: Vec::new(),
        then_every: Duration::from_secs(u64::from(seconds.max(1))),
        jitter_percent: 0,
        ..plan
    }
}

fn domain(name: &str) -> Result<Domain, Failure> {
    Domain::parse(name, true)
        .map_err(|e| Failure::Usage(format!("{name:?} is not a domain name: {e}")))
}

fn directory(local: &Localserve) -> Result<Directory, Failure> {
    let mut directory = Directory::local(local.accounts);
    for name in &local.domain {
        let domain = domain(name)?;
        let failed = |e| Failure::Usage(format!("--domain {name}: {e:?}"));
        directory.add_domain(&domain, DomainRules::usual());
        directory.add_catch_all("mox", &domain).map_err(failed)?;
        let numbered = (0..local.accounts).map(|n| format!("u{n}"));
        for account in numbered.chain(["mox".to_owned()]) {
            let part = LocalPart::parse(&account, false)
                .map_err(|e| Failure::Usage(format!("{account}: {e}")))?;
            directory
                .add_address(&account, &part, &domain)
                .map_err(failed)?;
        }
    }
    Ok(directory)
}

/// Lists of addresses that are asked: name servers have to be there.
fn lists(local: &Localserve) -> Result<Vec<mox_dns::Name>, Failure> {
    if !local.dnsbl.is_empty() && local.resolver.is_none() {
        let text = "--dnsbl needs a name server to ask: give --resolver IP:PORT";
        return Err(Failure::Usage(text.into()));
    }
    if local.dnsbl.len() > DNSBLS_MAX {
        let text = format!("--dnsbl: at most {DNSBLS_MAX} lists are asked");
        return Err(Failure::Usage(text));
    }
    let lists = local.dnsbl.iter().map(|zone| {
        mox_dns::Name::parse(zone.as_bytes())
            .map_err(|e| Failure::Usage(format!("--dnsbl {zone:?}: {e}")))
    });
    lists.collect()
}

fn listeners(
    base: u16,
    hostname: &Domain,
    tls: &std::sync::Arc<rustls::ServerConfig>,
    lists: &[mox_dns::Name],
) -> Result<Vec<ListenerConfig>, Failure> {
    let mut listeners = Vec::new();
    for (port, service) in SERVICES {
        let port = base.checked_add(port).ok_or_else(|| {
            Failure::Usage(format!(
                "--port-base {base} is too high: port {port} is added to it"
            ))
        })?;
        for ip in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            // A machine may have no IPv6 at all.
            if ip.is_ipv6() && !Path::new("/proc/net/if_inet6").exists() {
                continue;
            }
            listeners.push(ListenerConfig {
                name: format!(
                    "{}-{}",
                    service.name(),
                    if ip.is_ipv4() { "v4" } else { "v6" }
                ),
                bind: Bind::Addr(SocketAddr::new(ip, port)),
                service,
                hostname: hostname.clone(),
                max_size: mox_smtp::server::Config::MAX_SIZE,
                clear_auth: true,
                tls: Some(tls.clone()),
                offers: Offers::default(),
                lists: lists.to_vec(),
                trusted_proxies: Vec::new(),
                require_starttls: false,
            });
        }
    }
    Ok(listeners)
}

fn outgoing(local: &Localserve) -> Result<Outgoing, Failure> {
    match &local.relay {
        Some(relay) => {
            let found = relay.to_socket_addrs().map_err(|e| {
                Failure::Usage(format!("--relay {relay}: {e}; write it as host:port"))
            })?;
            Ok(Outgoing::Relay(found.collect()))
        }
        None if local.resolver.is_some() => Ok(Outgoing::Direct),
        None => Ok(Outgoing::Sink("mox".into())),
    }
}

/// What one can paste, and where things are.
fn greet(local: &Localserve) {
    let port = |standard: u16| local.port_base.saturating_add(standard);
    let (smtp, submission, submissions) = (port(25), port(587), port(465));
    let (imap, imaps) = (port(143), port(993));
    let accounts = match local.accounts {
        0 => String::new(),
        n => format!(", u0@localhost to u{}@localhost", n - 1),
    };
    let outside = match (&local.relay, &local.resolver) {
        (Some(relay), _) => format!("goes to {relay}"),
        (None, Some(resolver)) => format!("goes to the servers that {resolver} names"),
        (None, None) => "lands in mox@localhost's Inbox".to_owned(),
    };
    println!(
        "\
mox runs on 127.0.0.1 and ::1.

  SMTP        {smtp}
  submission  {submission} (STARTTLS), {submissions} (TLS)
  IMAP        {imap} (STARTTLS), {imaps} (TLS)
  accounts    mox@localhost{accounts}; password {PASSWORD}
              every other address at localhost is mox's too
  outgoing    submitted mail for other domains {outside}
  data        {dir}

Send a message:

  printf 'From: me@localhost\\nTo: mox@localhost\\nSubject: hello\\n\\nIt works.\\n' |
    curl --silent --show-error --crlf --url smtp://127.0.0.1:{smtp} --mail-from me@localhost --mail-rcpt mox@localhost --upload-file -

Read it:

  curl --silent --url 'imap://127.0.0.1:{imap}/INBOX;MAILINDEX=1' --user mox@localhost:{PASSWORD}

Send with a password over TLS:

  printf 'From: mox@localhost\\nTo: you@example.org\\nSubject: hello\\n\\nIt works.\\n' |
    curl --silent --show-error --crlf --insecure --url smtps://127.0.0.1:{submissions} --user mox@localhost:{PASSWORD} --mail-from mox@localhost --mail-rcpt you@example.org --upload-file -

Ctrl-C stops it.",
        dir = std::path::absolute(&local.dir).unwrap_or_else(|_| local.dir.clone()).display(),
    );
}
