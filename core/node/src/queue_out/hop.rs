//! One host's part in an attempt: connecting, encrypting, one SMTP session.

use futures_channel::oneshot;
use futures_lite::future;
use mox_address::{Host, Path};
use mox_driver::{Drive, End, Fut, Runtime};
use mox_machine::{Mono, Seed, Session, TlsFacts};
use mox_mailbox::{QueueMessage, QueueRecipient};
use mox_queue::Outcome;
use mox_server::config::SmarthostTls;
use mox_smtp::client::{Cause, Client, Config, Outcome as Reached, Stage, Tls, Transaction, Until};
use mox_smtp::wire::{MailDsn, RcptDsn};
use mox_tls_policy::{Level, Reason};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;

use super::attempt::{Result, ours};
use super::client::{ClientHost, IN_CLEAR, Spoken};
use super::connect::connect;
use super::dry_run::Probe;
use super::login::Login;
use super::policy::Went;
use super::route::{Hop, Way};
use super::seen::note;
use super::verdict::{said, words};
use crate::capture::{Captured, CapturedSession, Kept, Recording};
use crate::node::Inner;
use crate::registry::Seat;
use crate::{Conn, tls};

impl Hop {
    /// How the connection is encrypted, where its transport says so.
    fn smarthost_tls(&self) -> Option<SmarthostTls> {
        match &self.way {
            Way::Smarthost(_, transport) => transport.smarthost().map(|smarthost| smarthost.tls),
            Way::Plain | Way::Relay | Way::Socks5(..) => None,
        }
    }

    /// It takes mail for everybody, and not for its own domain: what it says of us is no verdict on a message.
    const fn is_for_everybody(&self) -> bool {
        matches!(self.way, Way::Relay | Way::Smarthost(..))
    }
}

/// What one address says for each recipient, and whether its answer to the final dot was lost.
pub(super) async fn try_hop<R: Runtime>(
    node: &Arc<Inner<R>>,
    seat: &Arc<Seat>,
    hop: &Hop,
    message: &Arc<QueueMessage>,
    to: &[(Path, &QueueRecipient)],
    probe: Option<&Arc<Probe>>,
    until: Mono,
) -> (Vec<Result>, bool) {
    let Some(probe) = probe else {
        return speak(node, seat, hop, message, to, None, until).await;
    };
    let (name, address) = (&hop.name, hop.address);
    probe.note(format!(
        "to {name} [{}], port {}",
        address.ip(),
        address.port()
    ));
    if let Some(policy) = &hop.policy {
        probe.note(format!("its policy: {}", policy.decision));
    }
    let spoken = speak(node, seat, hop, message, to, Some(probe), until).await;
    let refused = spoken.0.iter().filter(|r| r.outcome != Outcome::Delivered);
    refused.for_each(|result| probe.note(&result.text));
    spoken
}

async fn speak<R: Runtime>(
    node: &Arc<Inner<R>>,
    seat: &Arc<Seat>,
    hop: &Hop,
    message: &Arc<QueueMessage>,
    to: &[(Path, &QueueRecipient)],
    probe: Option<&Arc<Probe>>,
    until: Mono,
) -> (Vec<Result>, bool) {
    let host = format!("{} [{}]", hop.name, hop.address.ip());
    let count = to.len();
    let from = match message.reverse_path.as_str() {
        "" => None,
        path => Path::parse(path, true).ok().map(in_ascii),
    };
    let transaction = Transaction {
        from,
        to: to.iter().map(|(path, _)| in_ascii(path.clone())).collect(),
        size: message.size(),
        eight_bit: message.eight_bit,
        utf8: message.utf8,
        // RFC 8689 4.2.1: of a notification nothing is demanded.
        require_tls: message.require_tls && !message.reverse_path.is_empty(),
        dsn: MailDsn::parse(&message.dsn),
        until: probe.map_or(Until::Message, |probe| probe.until),
        rcpt_dsn: to.iter().map(|(_, to)| RcptDsn::parse(&to.dsn)).collect(),
    };
    let require_tls = transaction.require_tls;
    let unfit = |status, text: &str| Result {
        unfit: require_tls,
        ..ours(Outcome::Temporary, status, text, Some(host.clone()))
    };
    if let (Way::Smarthost(name, _), None) = (&hop.way, probe)
        && let Some(said) = node.logins.refused_lately(name, node.runtime.now().mono)
    {
        let text = format!("not tried: another message was told {said:?} at the login");
        let result = ours(Outcome::Temporary, "4.7.8", &text, Some(host));
        return (vec![result; count], false);
    }
    let level = hop.policy.as_ref().map(|policy| policy.decision.level);
    let smarthost = hop.smarthost_tls();
    let mut tls = match (level, smarthost) {
        (_, Some(SmarthostTls::Implicit | SmarthostTls::Starttls)) => Tls::Required,
        // Nobody says who has to be behind an address.
        (None, _) if require_tls => {
            let text = "the message demands TLS, and nothing proves who this host is";
            return (vec![unfit("5.7.10", text); count], false);
        }
        (_, Some(SmarthostTls::Off)) => Tls::Never,
        (Some(Level::Encrypted | Level::WebPki | Level::Dane), None) => Tls::Required,
        (Some(Level::Opportunistic | Level::Never) | None, None) => Tls::IfOffered,
    };
    let demanded = match (&hop.policy, smarthost) {
        (Some(policy), _) => policy.decision.to_string(),
        (None, Some(_)) => "Its transport demands TLS and a certificate for its name".into(),
        (None, None) => String::new(),
    };
    if level == Some(Level::Never) {
        note(node, hop, &Went::Never);
        let mut result = unfit("4.7.10", &demanded);
        let mut reasons = hop
            .policy
            .iter()
            .flat_map(|policy| &policy.decision.reasons);
        result.unfit &= !reasons.any(|reason| *reason == Reason::TlsaUnknown);
        return (vec![result; count], false);
    }
    loop {
        let login = Login::of(&hop.way, || node.session_seed("sasl"));
        let (tell, told) = oneshot::channel();
        let (transaction, probe) = (transaction.clone(), probe.cloned());
        let (here, at, shared) = (node.clone(), seat.clone(), message.clone());
        let world = ClientHost::new(here, at, shared, transaction, login, probe, tell);
        match session(node, hop, world, told, tls, until).await {
            Ok(Spoken {
                reached,
                tells,
                tls: shown,
            }) => {
                let ambiguous = reached.iter().flatten().any(|o| o.ambiguous);
                if shown == IN_CLEAR && tls != Tls::Never && may_have_offered(&reached) {
                    note(node, hop, &Went::Clear);
                }
                let refused = reached.iter().flatten();
                let mut refused = refused.filter(|o| o.stage == Stage::Auth);
                if let (Way::Smarthost(name, _), Some(refused)) = (&hop.way, refused.next()) {
                    let text = said(refused, &host).text;
                    node.logins.refused(name, &text, node.runtime.now().mono);
                }
                let said = |o: &Reached| match (o.cause, o.stage, &o.reply) {
                    // It is us that it does not like now, and no message: who set it up wrong loses none.
                    _ if hop.is_for_everybody() && is_about_us(o) => Result {
                        outcome: Outcome::Temporary,
                        unfit: false,
                        ..said(o, &host)
                    },
                    (Cause::NoTls, ..) => {
                        let text = format!("the host does not offer STARTTLS. {demanded}");
                        unfit("4.7.10", &text)
                    }
                    (Cause::Reply, Stage::StartTls, Some(reply)) => {
                        let text =
                            format!("the host refuses STARTTLS: {}. {demanded}", words(reply));
                        let refused = unfit("4.7.10", &text);
                        Result {
                            unfit: refused.unfit && reply.is_permanent(),
                            ..refused
                        }
                    }
                    _ => said(o, &host),
                };
                let too_many = || {
                    let text = "the host takes no more recipients in one session";
                    ours(Outcome::Temporary, "4.5.3", text, Some(host.clone()))
                };
                let results = reached.iter().map(|o| Result {
                    tls: shown.clone(),
                    tells,
                    ..o.as_ref().map_or_else(too_many, said)
                });
                return (results.collect(), ambiguous);
            }
            Err(Broken::Policy(text)) => {
                tracing::info!(target: "queue", host, text, "a host is not who it has to be");
                return (vec![unfit("4.7.5", &text); count], false);
            }
            Err(Broken::Tls(error)) if tls == Tls::Required => {
                note(node, hop, &Went::Failed);
                let text = format!("TLS failed: {error}. {demanded}");
                let result = unfit("4.7.5", &text);
                return (vec![result; count], false);
            }
            // Opportunistic: better in clear than not at all.
            Err(Broken::Tls(error)) if tls == Tls::IfOffered => {
                tracing::info!(target: "queue", host, %error, "TLS failed, trying in clear");
                note(node, hop, &Went::Failed);
                tls = Tls::Never;
            }
            Err(Broken::Login(failure)) => {
                let text = format!("AUTH failed: {failure}");
                if let Way::Smarthost(name, _) = &hop.way {
                    node.logins.refused(name, &text, node.runtime.now().mono);
                }
                let result = ours(Outcome::Temporary, "4.7.8", &text, Some(host));
                return (vec![result; count], false);
            }
            Err(Broken::Tls(error) | Broken::Connect(error)) => {
                let text = format!("no connection: {error}");
                let result = ours(Outcome::Temporary, "4.4.1", &text, Some(host));
                return (vec![result; count], false);
            }
        }
    }
}

/// A path as servers without SMTPUTF8 take it too, where only its domain is not ASCII.
fn in_ascii(path: Path) -> Path {
    match path.domain().and_then(|domain| domain.to_ascii().ok()) {
        Some(domain) if path.local.as_str().is_ascii() => Path {
            host: Host::Domain(domain),
            ..path
        },
        _ => path,
    }
}

/// Why there was no session.
enum Broken {
    Connect(io::Error),
    Tls(io::Error),
    /// There is TLS, with somebody whom a policy does not admit; for people.
    Policy(String),
    /// We ended it ourselves before we were logged in.
    Login(mox_sasl::Failure),
}

/// The host got as far as to say whether it offers STARTTLS.
fn may_have_offered(reached: &[Option<Reached>]) -> bool {
    let is_early = |o: &Reached| matches!(o.stage, Stage::Greeting | Stage::Ehlo | Stage::Helo);
    reached
        .iter()
        .flatten()
        .any(|o| !is_early(o) || o.cause == Cause::NoTls)
}

/// A refusal of who we are, also by a server that wants a login (RFC 4954 6), or of any session at all.
fn is_about_us(reached: &Reached) -> bool {
    let code = reached.reply.as_ref().map(|reply| reply.code);
    matches!(
        reached.stage,
        Stage::Greeting | Stage::Ehlo | Stage::Helo | Stage::StartTls | Stage::Auth
    ) || matches!(code, Some(530 | 534 | 535 | 538))
}

/// One session with one address. Its results are here as soon as they are known: taking leave of the host is nothing that they wait
/// for, since a crash meanwhile would make everybody there get the message again.
async fn session<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    host: ClientHost<R>,
    told: oneshot::Receiver<Spoken>,
    tls: Tls,
    until: Mono,
) -> core::result::Result<Spoken, Broken> {
    // What was said to a host before is known by now.
    host.seat.before_dot();
    let (here, hop) = (node.clone(), hop.clone());
    let mut all: Fut<core::result::Result<Spoken, Broken>> =
        Box::pin(async move { talk(&here, &hop, host, tls, until).await });
    let early = async {
        match told.await {
            Ok(spoken) => Ok(spoken),
            // It ended without taking leave.
            Err(oneshot::Canceled) => core::future::pending().await,
        }
    };
    let whole = async { Err(all.as_mut().await) };
    match future::or(early, whole).await {
        Ok(spoken) => {
            let mut seat = node.registry.enter();
            let leave = async move {
                let stop = core::future::poll_fn(|cx| seat.poll_stopping(cx));
                future::or(stop, async { drop(all.await) }).await;
            };
            node.runtime.spawn_session("taking leave", Box::pin(leave));
            Ok(spoken)
        }
        Err(spoken) => spoken,
    }
}

/// All that is said to one address.
async fn talk<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    host: ClientHost<R>,
    tls: Tls,
    until: Mono,
) -> core::result::Result<Spoken, Broken> {
    let runtime = &node.runtime;
    let stream = connect(node, hop).await.map_err(Broken::Connect)?;
    let mut config = Config::new(Host::Domain(node.config.hostname.clone()));
    config.tls = tls;
    config.mechanisms = host.connected();
    let behind_dot = config.limits.end;
    let now = runtime.now();
    let client = Client::new(config.clone(), now);
    let (peer, seed) = (hop.address, Seed::from_number(0));
    let mut kept = Kept::new(client, now, node.captures.as_ref(), move |tape| Captured {
        listener: "queue".into(),
        peer,
        seed,
        session: CapturedSession::SmtpClient(config, tape),
    });
    let client = &mut kept.session;
    let mut host = Recording(host);
    let mut io = Conn::Plain(stream);
    if hop.smarthost_tls() == Some(SmarthostTls::Implicit) {
        let (secured, facts) = Box::pin(secure(node, hop, io)).await?;
        host.0.secured(&facts, shown(&facts, hop));
        client.secured(runtime.now(), facts);
        io = secured;
    }
    loop {
        let seat = host.0.seat.clone();
        let drive = Drive::new(runtime.clone(), &mut *client, io, &mut host);
        let late = async {
            tls::sleep(runtime, until.since(runtime.now().mono)).await;
            // What the host says to the dot is waited for: it may have the message.
            if seat.is_behind_dot() {
                tls::sleep(runtime, behind_dot).await;
            }
            None
        };
        match future::or(async { Some(drive.await) }, late).await {
            Some(End::Upgrade(plain)) => {
                let (secured, facts) = Box::pin(secure(node, hop, plain)).await?;
                host.0.secured(&facts, shown(&facts, hop));
                client.secured(runtime.now(), facts);
                io = secured;
            }
            // The machine learned of the end as EOF or not at all; it has an outcome for each recipient, or none.
            Some(End::Closed | End::Compress(_)) => break,
            ended @ (Some(End::Reset(_)) | None) => {
                host.0.is_late = ended.is_none();
                client.eof(runtime.now());
                drain_events(client, &mut host.0);
                break;
            }
        }
    }
    let mut host = host.0;
    if let Some(failure) = host.not_logged_in.take() {
        return Err(Broken::Login(failure));
    }
    // Whatever goes wrong between STARTTLS and the handshake is a failure of TLS, unless the server said so in a reply.
    if let Some(lost) = &host.ended
        && lost.stage == Stage::StartTls
        && !matches!(lost.cause, Cause::Reply | Cause::NoTls)
    {
        let text = format!("{} failed: {:?}", lost.stage, lost.cause);
        return Err(Broken::Tls(io::Error::other(text)));
    }
    let spoken = host.spoken();
    if host.ended.is_none() && spoken.reached.iter().all(Option::is_none) {
        return Err(Broken::Connect(io::ErrorKind::ConnectionReset.into()));
    }
    Ok(spoken)
}

/// What there is of TLS with a host, and what is known of who that is, for people.
fn shown(facts: &TlsFacts, hop: &Hop) -> String {
    let level = hop.policy.as_ref().map(|policy| policy.decision.level);
    let proven = match level {
        Some(Level::Dane) => "proven by a TLSA record",
        Some(Level::WebPki) => "proven by a certificate for its name",
        _ if hop.smarthost_tls().is_some() => "proven by a certificate for its name",
        _ => "with anybody",
    };
    format!("{}, {proven}", facts.version_name())
}

/// Encrypts a connection, and looks whom it leads to where that matters.
async fn secure<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    plain: Conn<R::Stream>,
) -> core::result::Result<(Conn<R::Stream>, TlsFacts), Broken> {
    let runtime = &node.runtime;
    if let Way::Smarthost(_, transport) = &hop.way {
        let usual = &node.config.mta_sts.authorities;
        let authorities = transport.authorities.as_ref().unwrap_or(usual);
        let config = tls::public_client(runtime, authorities.clone())
            .map_err(|e| Broken::Tls(io::Error::other(e)))?;
        let name =
            ServerName::try_from(hop.name.clone()).map_err(|e| Broken::Tls(io::Error::other(e)))?;
        let secured = tls::connect(runtime, config, name, plain).await;
        return secured.map_err(Broken::Tls);
    }
    let (config, inspector) =
        tls::inspecting_client(runtime).map_err(|e| Broken::Tls(io::Error::other(e)))?;
    let ip = hop.address.ip();
    let name = match &hop.policy {
        Some(policy) => policy.server_name(ip),
        None => ServerName::try_from(hop.name.clone()).unwrap_or_else(|_| ServerName::from(ip)),
    };
    let secured = tls::connect(runtime, config, name, plain)
        .await
        .map_err(Broken::Tls)?;
    note(node, hop, &Went::Secured(inspector.presented().as_ref()));
    if let Some(policy) = hop.policy.as_ref().filter(|policy| policy.is_choosy()) {
        let authorities = &node.config.mta_sts.authorities;
        policy
            .judge(inspector.presented().as_ref(), authorities)
            .map_err(Broken::Policy)?;
    }
    Ok(secured)
}

/// After the stream broke under it, a machine still tells what that means for each recipient.
fn drain_events<R: Runtime>(client: &mut mox_machine::Recorded<Client>, host: &mut ClientHost<R>) {
    use mox_driver::Host as _;
    while let Some(step) = client.poll() {
        if let mox_machine::Step::Event(event) = step {
            host.event(event);
        }
    }
}
