//! `moxctl serve`: the server, from its configuration files.

use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mox_driver::{Bind, Runtime};
use mox_machine::Seed;
use mox_mailbox::RetiredAt;
use mox_node::{
    Config, ConnectionLimits, ListenerConfig, LoginLimits, Node, Outgoing, Receiving, Selection,
    Sending, Service, StartError, Wanted,
};
use mox_runtime_smol::SmolRuntime;
use mox_server::config::{Connections, Listener, Static, Tls};
use mox_store::Options;
use serde_json::Value;

use crate::args::{Args, Serve};
use crate::capture::CapturePlan;
use crate::cid::CidAnswer;
use crate::config_files::{ConfigFiles, modified, proposed_directory};
use crate::ctl::{
    Command, CtlError, Handler, Listening, QueueHistory, QueueItem, QueuePage, QueueRules,
    Rehearsal, RetiredPage, Suppressed, retired,
};
use crate::explain::ExplainAnswer;
use crate::failure::Failure;
use crate::handed::{About, Folder, Taking};
use crate::logging::{self, Levels};
use crate::offline::make_private_dir;
use crate::password::os_seed;
use crate::process::Process;
use crate::{backup, credentials, descriptors, https, privileges, tls_files, transports};

/// How often `domains.ron` is looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// Entries of the queue in one answer.
const QUEUE_PAGE: usize = 500;
/// Records of decisions in one answer.
const EXPLAINED_MAX: usize = 1_000;
/// Octets of them, without compression: as JSON they have several times as many.
const EXPLAINED_OCTETS_MAX: usize = 4 << 20;
/// Retired entries in one answer.
const RETIRED_PAGE: usize = 5_000;
/// Octets of a queued message in one answer.
const DUMP_PAGE: u32 = 4 << 20;

pub(crate) fn run(args: &Args, serve: &Serve) -> Result<(), Failure> {
    let mut plan = CapturePlan::of_flags(
        serve.capture.as_ref(),
        serve.capture_plain,
        serve.capture_files,
        serve.capture_octets,
    )?;
    let mut files = ConfigFiles::load(&ConfigFiles::locate(args))?;
    let fixed = files.fixed.clone();
    let fixed = &fixed;
    let levels = Levels {
        default: args.loglevel.unwrap_or(fixed.log_level),
        targets: fixed.log_levels.clone(),
    };
    let _log = logging::start(&levels)
        .map_err(|e| Failure::Failed(format!("cannot start logging: {e}")))?;
    let seed = os_seed()?;
    let data_dir = files.data_dir();
    make_private_dir(&data_dir)?;
    let runtime = SmolRuntime::start(0, seed.child("runtime", 0))
        .map_err(|e| Failure::Failed(format!("cannot start threads: {e}")))?;
    let config = config(&runtime, &files, &data_dir)?;
    add_captures(&mut plan, &files);
    let in_use =
        "another server has it; stop that one, or give the listener another port in mox.ron";
    let mut process = Process::bind(runtime, config, in_use)?;
    if privileges::is_root() {
        if privileges::exists(&fixed.user) {
            privileges::give_to(&data_dir, &fixed.user)?;
            for limits in plan.listeners.values().chain(&plan.all) {
                make_private_dir(&limits.dir)?;
                holds_recordings_only(&limits.dir)?;
                privileges::give_to(&limits.dir, &fixed.user)?;
            }
        }
        privileges::drop_to(&fixed.user)?;
        // What that user cannot read would keep every later change out: better to hear of it now.
        files.reload()?;
    }
    process.record(&plan, &seed)?;
    // The file belongs to the user the server has become.
    let socket = data_dir.join("ctl");
    let ctl = Listening::bind(&socket).map_err(|e| Failure::io("listen on", &socket, &e))?;
    let (directory, handed) = (files.directory(), folders(fixed, folder(&files), &data_dir));
    let size = About::of(fixed).size;
    process.serve(&data_dir, Options::default(), directory, |node| async move {
        for account in node.without_password().map_err(|e| Failure::Failed(e.to_string()))? {
            tracing::warn!(target: "process", account, "this account has no password: moxctl setaccountpassword {account}");
        }
        node.sign_with(files.signers.clone());
        for domain in unsigned(&files) {
            tracing::warn!(target: "config", %domain, "nothing signs for this domain: others will trust its mail less; see dkim in docs/sending.md");
        }
        node.admit();
        tracing::info!(target: "process", hostname = %files.fixed.hostname, "mox serves");
        let reloading = smol::lock::Mutex::default();
        let files = Arc::new(Mutex::new(files));
        let taking = Taking::new(handed, node.clone(), size);
        let admin = Admin { node, files: Some(files.clone()), reloading, seed };
        let asked = async {
            ctl.serve(&admin).await;
            Ok(())
        };
        let watching = futures_lite::future::or(admin.watch_files(&files), asked);
        futures_lite::future::or(watching, taking.run()).await
    })
}

/// Where programs of this machine leave mail, and whether one of these cannot be used. Those who may use a spool do not get to stop the
/// server with it.
fn folders(fixed: &Static, folder: &Path, data_dir: &Path) -> (Vec<Folder>, bool) {
    let mut all = vec![Folder::below(data_dir)];
    let mut lacks_some = false;
    if let Some(spool) = &fixed.sendmail_spool {
        let spool = folder.join(spool);
        match About::of(fixed).write(&spool) {
            Ok(()) => all.push(Folder::spool(spool)),
            Err(error) => {
                lacks_some = true;
                tracing::error!(
                    target: "handed",
                    %error,
                    "nothing is taken from the spool until it is mended and the server started anew"
                );
            }
        }
    }
    (all, lacks_some)
}

/// Domains whose mail leaves unsigned.
fn unsigned(files: &ConfigFiles) -> Vec<String> {
    let signs = |domain: &&mox_address::Domain| {
        let dkim = files.dynamic.dkim.get(*domain);
        dkim.is_some_and(|dkim| !dkim.sign.is_empty())
    };
    let all = files.dynamic.domains.keys();
    all.filter(|domain| !signs(domain))
        .map(|domain| domain.to_unicode())
        .collect()
}

/// What listeners want to be recorded; the command line goes before them.
fn add_captures(plan: &mut CapturePlan, files: &ConfigFiles) {
    if plan.all.is_some() {
        return;
    }
    let folder = folder(files);
    for (name, listener) in &files.fixed.listeners {
        let Some(capture) = &listener.capture else {
            continue;
        };
        let mut capture = capture.clone();
        capture.dir = folder.join(&capture.dir);
        for (service, _, _) in listener.services() {
            let name = format!("{name}-{service}");
            plan.listeners.insert(name, capture.clone());
        }
    }
}

/// The folder of `mox.ron`.
fn folder(files: &ConfigFiles) -> &Path {
    files.static_path.parent().unwrap_or_else(|| Path::new("."))
}

fn config(runtime: &SmolRuntime, files: &ConfigFiles, data_dir: &Path) -> Result<Config, Failure> {
    let fixed = &files.fixed;
    let mut listeners = Vec::new();
    for (name, listener) in &fixed.listeners {
        let tls = tls(runtime, files, data_dir, name, listener)?;
        for (service, port, _) in listener.services() {
            let kind = match service {
                "smtp" => Service::Smtp,
                "submission" => Service::Submission,
                "submissions" => Service::Submissions,
                "imap" => Service::Imap,
                _ => Service::Imaps,
            };
            let in_clear = match kind {
                Service::Submission => listener.submission.is_some_and(|s| s.no_require_starttls),
                Service::Imap => listener.imap.is_some_and(|s| s.no_require_starttls),
                _ => false,
            };
            for ip in &listener.ips {
                listeners.push(ListenerConfig {
                    name: format!("{name}-{service}"),
                    bind: Bind::Addr(SocketAddr::new(*ip, port)),
                    service: kind,
                    hostname: listener.hostname.clone(),
                    max_size: listener.max_message_size,
                    clear_auth: in_clear,
                    tls: tls.clone(),
                    offers: listener.offers.clone(),
                    lists: listener.dnsbls.clone(),
                    trusted_proxies: listener.trusted_proxies.clone(),
                    require_starttls: listener.smtp.is_some_and(|s| s.require_starttls),
                });
            }
        }
    }
    Ok(Config {
        hostname: fixed.hostname.clone(),
        listeners,
        outgoing: outgoing(fixed)?,
        transports: transports::load(&files.static_path, fixed)?,
        resolvers: resolvers(fixed)?,
        remote_port: 25,
        mta_sts: https::mta_sts(),
        plan: fixed.queue.plan(),
        connections: connections(fixed),
        failed_logins: failed_logins(fixed),
        unlimited: fixed.unlimited_networks.clone(),
        sending: sending(fixed),
        receiving: Receiving {
            first_time_delay: fixed.first_time_sender_delay,
            records_kept: Duration::from_secs(u64::from(fixed.decision_records.days) * 24 * 3600),
            records_octets: u64::from(fixed.decision_records.megabytes) << 20,
        },
    })
}

fn sending(fixed: &Static) -> Sending {
    Sending {
        addresses: fixed.outgoing,
        limits: fixed.queue.limits(),
        kept: fixed.queue.kept(),
    }
}

fn connections(fixed: &Static) -> ConnectionLimits {
    let kinds = match fixed.unlimited_networks.is_empty() {
        true => descriptors::FROM_ANYWHERE,
        false => descriptors::WITH_UNLIMITED,
    };
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let Connections {
        total,
        per_address,
        per_minute,
    } = fixed.connections;
    ConnectionLimits {
        total: descriptors::connections(size(total), kinds),
        per_address: Some(size(per_address)).filter(|most| *most > 0),
        per_minute: limit(per_minute),
    }
}

fn failed_logins(fixed: &Static) -> LoginLimits {
    LoginLimits {
        per_minute: limit(fixed.failed_logins.per_minute),
        per_day: limit(fixed.failed_logins.per_day),
    }
}

/// 0 is no limit.
fn limit(number: u32) -> Option<u32> {
    Some(number).filter(|most| *most > 0)
}

fn tls(
    runtime: &SmolRuntime,
    files: &ConfigFiles,
    data_dir: &Path,
    name: &str,
    listener: &Listener,
) -> Result<Option<Arc<rustls::ServerConfig>>, Failure> {
    let failed = |e: tls_files::TlsFileError| Failure::Failed(e.to_string());
    let loaded = match &listener.tls {
        Tls::Off => return Ok(None),
        Tls::SelfSigned => {
            tracing::warn!(
                target: "tls",
                listener = name,
                "this listener has a certificate of its own making, which clients will warn about: name files in mox.ron"
            );
            let names = [listener.hostname.to_string()];
            tls_files::self_signed(&data_dir.join("tls"), &names, runtime.now().utc)
        }
        Tls::Files(certificates) => {
            let Some(first) = certificates.first() else {
                return Ok(None);
            };
            let folder = folder(files);
            tls_files::load(&folder.join(&first.certificate), &folder.join(&first.key))
        }
    };
    let loaded = loaded.map_err(failed)?;
    mox_node::server_config(runtime, loaded.chain, loaded.key)
        .map(Some)
        .map_err(|e| Failure::Failed(format!("listener {name}: {e}")))
}

fn outgoing(fixed: &Static) -> Result<Outgoing, Failure> {
    let Some(relay) = &fixed.relay else {
        return Ok(Outgoing::Direct);
    };
    let found = (relay.host.as_str(), relay.port)
        .to_socket_addrs()
        .map_err(|e| {
            Failure::Failed(format!(
                "the relay {}:{} cannot be found: {e}",
                relay.host, relay.port
            ))
        })?;
    Ok(Outgoing::Relay(found.collect()))
}

/// Those of the configuration, else those of the system.
fn resolvers(fixed: &Static) -> Result<Vec<SocketAddr>, Failure> {
    if !fixed.resolvers.is_empty() {
        return Ok(fixed.resolvers.clone());
    }
    let path = PathBuf::from("/etc/resolv.conf");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(mox_dns::stub::ResolverConfig::parse_resolv_conf(&text).servers),
        Err(e) => {
            // As the C library does: who takes mail unjudged for a file that is missing would not know.
            let servers = mox_dns::stub::ResolverConfig::parse_resolv_conf("").servers;
            tracing::warn!(target: "dns", error = %e, ?servers, "/etc/resolv.conf cannot be read: the name server on this machine is asked");
            Ok(servers)
        }
    }
}

/// A folder that is given to the server's user with all that is in it holds nothing else: it may be a slip of the hand.
fn holds_recordings_only(dir: &Path) -> Result<(), Failure> {
    let read = |e| Failure::io("read the folder", dir, &e);
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        let is_file = entry.file_type().map_err(read)?.is_file();
        if !is_file || !entry.file_name().to_string_lossy().contains(".session") {
            return Err(Failure::Failed(format!(
                "the folder for recordings {} holds {:?}, which is no recording: name a folder of its own",
                dir.display(),
                entry.file_name()
            )));
        }
    }
    Ok(())
}

/// What an administrator asks over the ctl socket.
pub(crate) struct Admin {
    pub(crate) node: Node<SmolRuntime>,
    /// `None` for a server without configuration.
    pub(crate) files: Option<Arc<Mutex<ConfigFiles>>>,
    /// Held while a directory is taken into force: the one read last is in force last.
    pub(crate) reloading: smol::lock::Mutex<()>,
    pub(crate) seed: Seed,
}

impl Admin {
    /// Takes `domains.ron` into force when it changed. A file with mistakes changes nothing.
    async fn watch_files(&self, files: &Mutex<ConfigFiles>) -> Result<(), Failure> {
        let (path, mut seen) = {
            let files = files.lock().unwrap_or_else(PoisonError::into_inner);
            (files.dynamic_path.clone(), files.read)
        };
        loop {
            smol::Timer::after(RELOAD_EVERY).await;
            let now = modified(&path);
            if now == seen {
                continue;
            }
            seen = now;
            match self.take_into_force(files, ConfigFiles::reload).await {
                Ok(_) => tracing::info!(target: "config", "domains.ron is in force"),
                Err(error) => tracing::error!(
                    target: "config",
                    %error,
                    "domains.ron is not in force: what was before goes on, with its keys"
                ),
            }
        }
    }

    /// What `change` makes of the files, in the server.
    async fn take_into_force<T>(
        &self,
        files: &Mutex<ConfigFiles>,
        change: impl FnOnce(&mut ConfigFiles) -> Result<T, Failure>,
    ) -> Result<T, CtlError> {
        let _turn = self.reloading.lock().await;
        let (made, directory, signers) = {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            let made = change(&mut files).map_err(CtlError::failed)?;
            (made, files.directory(), files.signers.clone())
        };
        // Before there is a domain, so that none of its mail leaves without.
        self.node.sign_with(signers);
        let reloaded = self.node.reload(directory).await;
        reloaded.map_err(CtlError::failed)?;
        Ok(made)
    }

    /// Long reads of the store are not for the threads of the sessions.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Node<SmolRuntime>) -> Result<T, StartError> + Send + 'static,
    ) -> Result<T, CtlError> {
        let node = self.node.clone();
        smol::unblock(move || read(&node))
            .await
            .map_err(CtlError::failed)
    }

    async fn run(&self, command: Command) -> Result<Value, CtlError> {
        match command {
            Command::Config(edit) => {
                let Some(files) = &self.files else {
                    return Err(CtlError::failed(
                        "this server runs without configuration: start it with other options, or use moxctl quickstart",
                    ));
                };
                let notes = self.take_into_force(files, |files| files.edit(&edit));
                Ok(Value::from(notes.await?))
            }
            Command::SetPassword { account, password } => {
                let seed = self.seed.child("credentials", now_micros());
                let secret = password.0;
                let cram_md5 = self.files.as_ref().is_some_and(|files| {
                    let files = files.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut listeners = files.fixed.listeners.values();
                    listeners.any(|listener| listener.offers.needs_cram_md5())
                });
                let stored =
                    smol::unblock(move || credentials::derive(&secret, cram_md5, &seed)).await;
                let stored = stored.map_err(CtlError::failed)?;
                let set = self.node.set_credentials(&account, stored);
                set.await.map_err(CtlError::failed)?;
                tracing::info!(target: "auth", account, "password set");
                Ok(Value::Null)
            }
            Command::Backup { destination } => {
                let store = self.node.store().clone();
                let made = smol::unblock(move || backup::make(&store, &destination)).await;
                let made = made.map_err(CtlError::failed)?;
                tracing::info!(target: "store", commit = made.commit, octets = made.octets, "backed up");
                serde_json::to_value(made).map_err(CtlError::failed)
            }
            Command::Retrain { account } => {
                let count = self.node.relearn_junk(account.as_deref()).await;
                let count = count.map_err(CtlError::failed)?;
                tracing::info!(target: "junk", account = account.as_deref().unwrap_or("all"), "a junk filter will learn anew");
                Ok(Value::from(count))
            }
            Command::Retraining { account } => {
                let look = move |node: &Node<_>| node.relearning_junk(account.as_deref());
                serde_json::to_value(self.read(look).await?).map_err(CtlError::failed)
            }
            Command::Explain { what, max, account } => {
                let most = (max.min(EXPLAINED_MAX), EXPLAINED_OCTETS_MAX);
                let look = move |node: &Node<_>| node.explained(account.as_deref(), &what, most);
                let found = self.read(look).await?;
                if found.records.is_empty() && !self.node.judges() {
                    return Err(CtlError::failed(
                        "this server takes everything and records nothing, since it has no name servers to ask; \
                         moxctl localserve --resolver IP:PORT names one",
                    ));
                }
                let answer = ExplainAnswer {
                    records: found.records,
                    is_cut: found.is_cut,
                };
                serde_json::to_value(answer).map_err(CtlError::failed)
            }
            Command::Cid { id } => {
                let read = move |node: &Node<SmolRuntime>| {
                    let most = (EXPLAINED_MAX, EXPLAINED_OCTETS_MAX);
                    let mut records = node.explained(None, &id, most)?.records;
                    // Others write Message-IDs and addresses, which may look like an id.
                    records.retain(|record| record.id.eq_ignore_ascii_case(id.trim()));
                    let at = node.transaction_time(&id).map(|at| at.secs());
                    Ok(CidAnswer { at, records })
                };
                serde_json::to_value(self.read(read).await?).map_err(CtlError::failed)
            }
            Command::Refused { max } => {
                let max = max.min(EXPLAINED_MAX);
                let found = self.read(move |node| node.refused(max)).await?;
                serde_json::to_value(found).map_err(CtlError::failed)
            }
            Command::Reports { kind, domain, max } => {
                let max = max.min(EXPLAINED_MAX);
                let found = self.read(move |node| node.reports(kind, domain.as_deref(), max));
                serde_json::to_value(found.await?).map_err(CtlError::failed)
            }
            Command::ReportsSent { kind, domain, max } => {
                let max = max.min(EXPLAINED_MAX);
                let found = self.read(move |node| node.reports_sent(kind, domain.as_deref(), max));
                serde_json::to_value(found.await?).map_err(CtlError::failed)
            }
            Command::Backtest { account, under } => {
                let under = match under {
                    Some((fixed, dynamic)) => {
                        let directory = proposed_directory(&fixed, &dynamic);
                        Some(directory.map_err(CtlError::failed)?)
                    }
                    None => None,
                };
                let run = self.read(move |node| node.backtest(&account, under.as_ref()));
                serde_json::to_value(run.await?).map_err(CtlError::failed)
            }
            Command::QueueList { from, select } => {
                let select = select.into();
                let page = self.read(move |node| node.queue_from(&select, from, QUEUE_PAGE));
                let (entries, next) = page.await?;
                let items = entries.into_iter().map(QueueItem::from).collect();
                serde_json::to_value(QueuePage { items, next }).map_err(CtlError::failed)
            }
            Command::QueueRules => {
                let (limits, plan) = self.node.queue_rules();
                serde_json::to_value(QueueRules { limits, plan }).map_err(CtlError::failed)
            }
            Command::QueueChange { select, change } => {
                let changed = self.node.change_queue(&select.into(), change.into()).await;
                changed.map(Value::from).map_err(CtlError::failed)
            }
            Command::QueueShow { wanted } => {
                let which = match wanted.parse() {
                    Ok(id) => Wanted::Entry(id),
                    Err(_) => Wanted::Transaction(wanted.clone()),
                };
                let history = self.read(move |node| node.queue_history(&which)).await?;
                let history = history.ok_or_else(|| no_entry(&wanted))?;
                serde_json::to_value(QueueHistory::from(history)).map_err(CtlError::failed)
            }
            Command::QueueDump { id, offset } => {
                let octets = self.node.queue_octets(id, offset, DUMP_PAGE).await;
                let octets = octets
                    .map_err(CtlError::failed)?
                    .ok_or_else(|| no_entry(&id.to_string()))?;
                Ok(Value::from(BASE64_STANDARD.encode(octets)))
            }
            Command::DryRun {
                from,
                to,
                octets,
                to_rcpt,
            } => {
                let run = self.node.dry_run(from.as_deref(), &to, octets, to_rcpt);
                let run = run.await.map_err(CtlError::failed)?;
                serde_json::to_value(Rehearsal::from(run)).map_err(CtlError::failed)
            }
            Command::Suppressions { account } => {
                let read = self.read(move |node| node.suppressions(account.as_deref()));
                let found: Vec<Suppressed> = read.await?.into_iter().map(Into::into).collect();
                serde_json::to_value(found).map_err(CtlError::failed)
            }
            Command::Suppress {
                account,
                address,
                reason,
            } => {
                let done = self.node.suppress(&account, &address, &reason).await;
                done.map(|()| Value::Null).map_err(CtlError::failed)
            }
            Command::Unsuppress { account, address } => {
                let done = self.node.unsuppress(&account, &address).await;
                done.map(Value::from).map_err(CtlError::failed)
            }
            Command::QueueRetired { from, select } => {
                let select: Selection = select.into();
                let page = self.read(move |node| retired_page(node, &select, from));
                let page = page.await?;
                serde_json::to_value(page).map_err(CtlError::failed)
            }
        }
    }
}

fn no_entry(id: &str) -> CtlError {
    CtlError::failed(format!(
        "the queue has no entry {id}; moxctl queue list says what it has, moxctl queue retired what it had"
    ))
}

fn retired_page(
    node: &Node<SmolRuntime>,
    select: &Selection,
    from: RetiredAt,
) -> Result<RetiredPage, StartError> {
    let (found, next) = node.retired_selected(select, from, RETIRED_PAGE)?;
    let items = found.into_iter().flat_map(retired).collect();
    Ok(RetiredPage { items, next })
}

impl Handler for Admin {
    fn handle(
        &self,
        command: Command,
    ) -> Pin<Box<dyn Future<Output = Result<Value, CtlError>> + Send + '_>> {
        Box::pin(self.run(command))
    }
}

fn now_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{folders, holds_recordings_only, sending};
    use mox_server::config::{Family, OutgoingAddresses, Static};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    fn fixed(more: &str) -> Static {
        let text = format!(
            r#"(data_dir: "d", hostname: "mail.example.org", listeners: {{"a": (ips: ["0.0.0.0"], smtp: ())}},
            postmaster: (account: "jo"), {more})"#
        );
        Static::parse("mox.ron", &text).expect("a configuration")
    }

    #[test]
    fn each_setting_of_the_queue_reaches_it() {
        let fixed = fixed(
            r#"outgoing: (ipv4: "192.0.2.1", ipv6: "2001:db8::1", prefer: ipv6),
            queue: (attempts: 20, per_domain: 2, per_transport: 3, lifetime_hours: 48, delay_notice_hours: 1, kept_days: 30)"#,
        );
        let sending = sending(&fixed);
        let addresses = OutgoingAddresses {
            ipv4: Some([192, 0, 2, 1].into()),
            ipv6: "2001:db8::1".parse().ok(),
            prefer: Family::Ipv6,
        };
        assert_eq!(sending.addresses, addresses);
        let limits = mox_queue::Limits {
            total: 20,
            retries: 14,
            per_domain: 2,
            per_transport: 3,
            ..mox_queue::Limits::default()
        };
        assert_eq!(sending.limits, limits);
        assert_eq!(sending.kept, Duration::from_secs(30 * 86_400));
        let plan = mox_queue::Plan {
            lifetime: Duration::from_secs(48 * 3_600),
            delay_notice_after: Duration::from_secs(3_600),
            ..mox_queue::Plan::default()
        };
        assert_eq!(fixed.queue.plan(), plan);
    }

    #[test]
    fn without_settings_the_queue_does_what_is_usual() {
        let fixed = fixed("");
        let (sending, usual) = (sending(&fixed), mox_node::Sending::default());
        assert_eq!(
            (sending.addresses, sending.limits, sending.kept),
            (usual.addresses, usual.limits, usual.kept)
        );
        assert_eq!(fixed.queue.plan(), mox_queue::Plan::default());
    }

    #[test]
    fn a_spool_that_cannot_be_used_is_left_out() {
        let dir = std::env::temp_dir().join(format!("mox-folders-{}", std::process::id()));
        let spool = dir.join("spool");
        std::fs::create_dir_all(&spool).expect("a folder");
        let fixed = fixed(r#"sendmail_spool: "spool""#);
        let paths = || -> Vec<_> {
            let (folders, lacks_some) = folders(&fixed, &dir, Path::new("data"));
            assert_eq!(lacks_some, folders.len() == 1);
            folders.iter().map(|f| f.path().to_owned()).collect()
        };
        let handed = Path::new("data/handed").to_owned();
        assert_eq!(paths(), std::slice::from_ref(&handed));
        let mode = std::fs::Permissions::from_mode(0o1730);
        std::fs::set_permissions(&spool, mode).expect("a mode");
        assert_eq!(paths(), [handed.clone(), spool.clone()]);
        std::fs::remove_dir_all(&dir).expect("removed");
        assert_eq!(paths(), [handed]);
    }

    #[test]
    fn a_folder_with_anything_but_recordings_is_not_given_away() {
        let dir = std::env::temp_dir().join(format!("mox-recordings-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join("smtp-1.session"), "").expect("a recording");
        assert_eq!(holds_recordings_only(&dir), Ok(()));
        std::fs::write(dir.join("passwd"), "").expect("another file");
        let why = holds_recordings_only(&dir).map_err(|failure| failure.to_string());
        assert!(why.is_err_and(|why| {
            why.contains("\"passwd\", which is no recording: name a folder of its own")
        }));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
