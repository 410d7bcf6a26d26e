//! A session with one address: from the connection to taking leave, with one message after another.

use futures_channel::{mpsc, oneshot};
use futures_lite::future;
use mox_address::Host;
use mox_driver::{Drive, End, Fut, Runtime};
use mox_machine::{Mono, Seed, Session, TlsFacts};
use mox_queue::NextHop;
use mox_server::config::SmarthostTls;
use mox_smtp::client::{Cause, Client, Config, Outcome as Reached, Stage, Tls};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::client::{ClientHost, Job, Spoken};
use super::connect::connect;
use super::dry_run::Probe;
use super::hop::shown;
use super::login::Login;
use super::policy::{HopPolicy, Went};
use super::route::{Hop, Way};
use super::seen::note;
use super::tls_memory;
use crate::capture::{Captured, CapturedSession, Kept, Recording};
use crate::node::Inner;
use crate::peer::Presented;
use crate::registry::Seat;
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::{Conn, tls};

/// Messages that go through one session, at most.
const MESSAGES_MAX: usize = 50;
/// How long a session takes new messages, from its beginning.
const OPEN_MAX: Duration = Duration::from_secs(300);
/// How often a session looks how long its message may take: the next one may have less time.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why there was no session.
pub(super) enum Broken {
    Connect(io::Error),
    Tls(io::Error),
    /// There is TLS, with somebody whom a policy does not admit; for people.
    Policy(String),
    /// We ended it ourselves before we were logged in.
    Login(mox_sasl::Failure),
}

/// What there is of TLS with a host.
pub(super) struct Secured {
    pub(super) facts: TlsFacts,
    /// The name that the host was asked for.
    asked: ServerName<'static>,
    /// What it presented, where that was kept: whether it is good enough is decided for each message.
    presented: Option<Presented>,
}

/// Whose attempt a session works for at the moment, and how long that may take.
#[derive(Clone)]
pub(super) struct Current(Arc<Mutex<(Option<Arc<Seat>>, Mono)>>);

impl Current {
    pub(super) fn new(seat: Arc<Seat>, until: Mono) -> Self {
        Self(Arc::new(Mutex::new((Some(seat), until))))
    }

    /// Another attempt's message follows.
    pub(super) fn set(&self, seat: Arc<Seat>, until: Mono) {
        *self.lock() = (Some(seat), until);
    }

    /// What became of the message is known.
    pub(super) fn leave(&self) {
        self.lock().0 = None;
    }

    /// The final dot is about to be sent.
    pub(super) fn pass_dot(&self) {
        if let Some(seat) = &self.lock().0 {
            seat.pass_dot();
        }
    }

    fn until(&self) -> Mono {
        self.lock().1
    }

    fn is_behind_dot(&self) -> bool {
        self.lock()
            .0
            .as_ref()
            .is_some_and(|seat| seat.is_behind_dot())
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Arc<Seat>>, Mono)> {
        // Nothing panics while it is held, so poison means nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a message in a session, and the session, where that goes on.
pub(super) type Carried<R> = (Result<Spoken, Broken>, Option<Open<R>>);

/// A session that may take another message. Nobody drives it meanwhile: that the host has closed it shows when it is used.
pub(super) struct Open<R: Runtime> {
    hop: Hop,
    /// For whom it counts.
    next_hop: Option<NextHop>,
    all: Fut<Result<Spoken, Broken>>,
    jobs: mpsc::Sender<Job>,
    secured: Option<Arc<Secured>>,
    /// Messages that it had.
    messages: usize,
    began: Mono,
    node: Arc<Inner<R>>,
}

impl<R: Runtime> Open<R> {
    /// It leads to the same place in the same way.
    pub(super) fn leads_to(&self, hop: &Hop) -> bool {
        self.hop.name == hop.name
            && self.hop.address == hop.address
            && match (&self.hop.way, &hop.way) {
                (Way::Plain, Way::Plain) | (Way::Relay, Way::Relay) => true,
                (Way::Smarthost(one, _), Way::Smarthost(other, _)) => one == other,
                (Way::Socks5(one, _), Way::Socks5(other, _)) => Arc::ptr_eq(one, other),
                _ => false,
            }
    }

    /// A message that goes to this hop may go through it: what holds for a connection of its own holds for this one.
    pub(super) fn may_carry(&self, hop: &Hop, tls: Tls) -> bool {
        let is_choosy = |policy: &&Arc<HopPolicy>| policy.is_choosy();
        let is_proven = |policy: &Arc<HopPolicy>| {
            let authorities = &self.node.config.mta_sts.authorities;
            self.secured.as_ref().is_some_and(|secured| {
                secured.asked == policy.server_name(hop.address.ip())
                    && policy
                        .judge(secured.presented.as_ref(), authorities)
                        .is_ok()
            })
        };
        let proven = hop.policy.as_ref().filter(is_choosy).map(is_proven);
        self.leads_to(hop) && is_enough(tls, self.secured.is_some(), proven)
    }

    /// It had its messages, or its time.
    fn is_over(&self) -> bool {
        let now = self.node.runtime.now().mono;
        self.messages >= MESSAGES_MAX || now >= self.began + OPEN_MAX
    }

    /// Sends one more message through it. `None` when there was no session for it any more: of that nothing is the message's fault.
    pub(super) async fn carry(
        mut self,
        job: Job,
        told: oneshot::Receiver<Spoken>,
    ) -> Option<(Spoken, Option<Self>)> {
        self.messages += 1;
        // It is closed when the session has ended.
        self.jobs.try_send(job).ok()?;
        let nth = self.messages;
        let (spoken, open) = self.wait(told).await;
        // What an ended session says may be of the message before.
        let spoken = spoken.ok().filter(|spoken| spoken.nth == nth)?;
        if spoken.reached.iter().flatten().all(wants_another_session) {
            if let Some(open) = open {
                open.leave();
            }
            return None;
        }
        Some((spoken, open))
    }

    /// Waits for what becomes of a message. That is here as soon as it is known: taking leave of the host is nothing to wait for,
    /// since a crash meanwhile would make everybody there get the message again.
    async fn wait(mut self, told: oneshot::Receiver<Spoken>) -> Carried<R> {
        let early = async {
            match told.await {
                Ok(spoken) => Ok(spoken),
                // It ended without taking leave.
                Err(oneshot::Canceled) => core::future::pending().await,
            }
        };
        let whole = async { Err(self.all.as_mut().await) };
        let first = future::or(early, whole).await;
        match first {
            Ok(spoken) => {
                self.secured.clone_from(&spoken.secured);
                if spoken.goes_on && !self.is_over() {
                    return (Ok(spoken), Some(self));
                }
                self.leave();
                (Ok(spoken), None)
            }
            Err(ended) => (ended, None),
        }
    }

    /// Says QUIT, and waits a little for the answer; a server that stops does not.
    pub(super) fn leave(self) {
        let Self {
            all,
            jobs,
            node,
            next_hop,
            ..
        } = self;
        // Nothing more comes.
        drop(jobs);
        let place = next_hop.map(|of| node.leaving.begin(of));
        let mut seat = node.registry.enter();
        let leave = async move {
            let stop = core::future::poll_fn(|cx| seat.poll_stopping(cx));
            future::or(stop, async { drop(all.await) }).await;
            drop(place);
        };
        node.runtime.spawn_session("taking leave", Box::pin(leave));
    }
}

/// What is demanded of TLS for a message holds in a session that is encrypted or not; `proven` says whether the host is who it
/// has to be, where that is asked.
fn is_enough(tls: Tls, is_secured: bool, proven: Option<bool>) -> bool {
    let is_as_wanted = match tls {
        Tls::Required => is_secured,
        Tls::Never => !is_secured,
        Tls::IfOffered => true,
    };
    is_as_wanted && proven != Some(false)
}

/// What a session says that had its messages before: a new one may take this one.
fn wants_another_session(reached: &Reached) -> bool {
    let is_leaving = reached
        .reply
        .as_ref()
        .is_some_and(|reply| reply.code == 421);
    let is_refused = matches!(reached.stage, Stage::Rset | Stage::Mail)
        && matches!(
            reached.cause,
            Cause::Reply | Cause::Lost | Cause::Timeout | Cause::Unexpected | Cause::Protocol(_)
        );
    !reached.ambiguous && (is_leaving || is_refused || reached.cause == Cause::Lost)
}

/// One session with one address, which counts for a next hop, with its first message and where that is told of.
pub(super) async fn session<R: Runtime>(
    node: &Arc<Inner<R>>,
    (hop, next_hop): (&Hop, Option<&NextHop>),
    (job, told): (Job, oneshot::Receiver<Spoken>),
    login: Option<Login>,
    probe: Option<Arc<Probe>>,
    tls: Tls,
) -> Carried<R> {
    let (jobs, more) = mpsc::channel(0);
    let host = ClientHost::new(node.clone(), job, login, probe, more);
    let (here, to) = (node.clone(), hop.clone());
    let open = Open {
        hop: hop.clone(),
        next_hop: next_hop.cloned(),
        all: Box::pin(async move { talk(&here, &to, host, tls).await }),
        jobs,
        secured: None,
        messages: 1,
        began: node.runtime.now().mono,
        node: node.clone(),
    };
    open.wait(told).await
}

/// All that is said to one address.
async fn talk<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    host: ClientHost<R>,
    tls: Tls,
) -> Result<Spoken, Broken> {
    let runtime = &node.runtime;
    let stream = connect(node, hop).await.map_err(Broken::Connect)?;
    let mut config = Config::new(Host::Domain(node.config.hostname.clone()));
    config.tls = tls;
    config.transcribes = true;
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
        io = secure(node, hop, io, client, &mut host.0).await?;
    }
    loop {
        let current = host.0.current.clone();
        let drive = Drive::new(runtime.clone(), &mut *client, io, &mut host);
        let late = async {
            loop {
                let until = current.until();
                let left = until.since(runtime.now().mono);
                if left > Duration::ZERO {
                    tls::sleep(runtime, left.min(LOOK_EVERY)).await;
                    continue;
                }
                // What the host says to the dot is waited for: it may have the message.
                if current.is_behind_dot() {
                    tls::sleep(runtime, behind_dot).await;
                }
                // Unless it did, and another message follows.
                if current.until() == until {
                    return None;
                }
            }
        };
        match future::or(async { Some(drive.await) }, late).await {
            Some(End::Upgrade(plain)) => {
                io = secure(node, hop, plain, client, &mut host.0).await?;
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

/// Encrypts a connection, and tells session and host so.
async fn secure<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    plain: Conn<R::Stream>,
    client: &mut mox_machine::Recorded<Client>,
    host: &mut ClientHost<R>,
) -> Result<Conn<R::Stream>, Broken> {
    let (io, secured) = Box::pin(encrypt(node, hop, plain)).await?;
    if !host.is_rehearsal() {
        tls_memory::note(node, hop, secured.presented.as_ref()).await;
    }
    let facts = secured.facts.clone();
    host.secured(secured, &shown(&facts, hop));
    client.secured(node.runtime.now(), facts);
    Ok(io)
}

/// Encrypts a connection, and looks whom it leads to where that matters.
async fn encrypt<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    plain: Conn<R::Stream>,
) -> Result<(Conn<R::Stream>, Secured), Broken> {
    let runtime = &node.runtime;
    if let Way::Smarthost(_, transport) = &hop.way {
        let usual = &node.config.mta_sts.authorities;
        let authorities = transport.authorities.as_ref().unwrap_or(usual);
        let config = tls::public_client(runtime, authorities.clone())
            .map_err(|e| Broken::Tls(io::Error::other(e)))?;
        let name =
            ServerName::try_from(hop.name.clone()).map_err(|e| Broken::Tls(io::Error::other(e)))?;
        let secured = tls::connect(runtime, config, name.clone(), plain).await;
        let (io, facts) = secured.map_err(Broken::Tls)?;
        let secured = Secured {
            facts,
            asked: name,
            presented: None,
        };
        return Ok((io, secured));
    }
    let (config, inspector) =
        tls::inspecting_client(runtime).map_err(|e| Broken::Tls(io::Error::other(e)))?;
    let ip = hop.address.ip();
    let name = match &hop.policy {
        Some(policy) => policy.server_name(ip),
        None => ServerName::try_from(hop.name.clone()).unwrap_or_else(|_| ServerName::from(ip)),
    };
    let (io, facts) = tls::connect(runtime, config, name.clone(), plain)
        .await
        .map_err(Broken::Tls)?;
    let presented = inspector.presented();
    note(node, hop, &Went::Secured(presented.as_ref()));
    if let Some(policy) = hop.policy.as_ref().filter(|policy| policy.is_choosy()) {
        let authorities = &node.config.mta_sts.authorities;
        policy
            .judge(presented.as_ref(), authorities)
            .map_err(Broken::Policy)?;
    }
    let secured = Secured {
        facts,
        asked: name,
        presented,
    };
    Ok((io, secured))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_carries_what_its_tls_is_enough_for() {
        for (tls, is_secured, proven, enough) in [
            // What was sent in clear to whom it may be is no precedent.
            (Tls::Required, false, None, false),
            (Tls::Required, true, None, true),
            (Tls::Required, true, Some(true), true),
            // The message before was one that is to arrive whatever policies say (RFC 8689 4.2.2).
            (Tls::Required, true, Some(false), false),
            (Tls::IfOffered, false, None, true),
            (Tls::IfOffered, true, None, true),
            (Tls::Never, false, None, true),
            (Tls::Never, true, None, false),
        ] {
            assert_eq!(
                is_enough(tls, is_secured, proven),
                enough,
                "{tls:?} {is_secured} {proven:?}"
            );
        }
    }

    #[test]
    fn only_what_is_about_the_session_is_tried_in_another_one() {
        let of = |cause, stage, code: Option<u16>, ambiguous| Reached {
            class: mox_smtp::client::Class::Temporary,
            cause,
            stage,
            reply: code.map(|code| mox_address::Reply {
                code,
                enhanced: None,
                text: "no".into(),
            }),
            tls: false,
            ambiguous,
        };
        let reply = |stage, code| of(Cause::Reply, stage, Some(code), false);
        assert!(wants_another_session(&reply(Stage::Mail, 451)));
        assert!(wants_another_session(&reply(Stage::Rcpt, 421)));
        assert!(wants_another_session(&of(
            Cause::Lost,
            Stage::Data,
            None,
            false
        )));
        for about_the_message in [
            reply(Stage::Rcpt, 451),
            reply(Stage::Message, 250),
            of(Cause::NoUtf8, Stage::Mail, None, false),
            of(Cause::TooBig, Stage::Mail, None, false),
            // It may have the message.
            of(Cause::Lost, Stage::Message, None, true),
            of(Cause::SourceFailed, Stage::Message, None, false),
        ] {
            assert!(
                !wants_another_session(&about_the_message),
                "{about_the_message:?}"
            );
        }
    }
}
