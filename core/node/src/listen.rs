//! Accepting connections and running a session on each.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use futures_lite::future;
use mox_driver::{Drive, End, Fut, Host, Runtime};
use mox_machine::{Recordable, Recorded, Seed, Session as _, fault};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::capture::{Captured, CapturedSession, Captures, Kept, Recording};
use crate::config::{ListenerConfig, Service};
use crate::connections::{Place, refuse};
use crate::deflate::Deflate;
use crate::front::Front;
use crate::imap_in::ImapHost;
use crate::in_order::{InOrder, Visit, Visitor};
use crate::proxied::{self, Waiting};
use crate::registry::Seat;
use crate::smtp_in::SmtpHost;
use crate::{Conn, imap_in, smtp_in, tls};

/// How long to wait after `accept` failed, so that running out of descriptors is not a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the server stops.
pub(crate) async fn accept_loop<R: Runtime>(
    front: Arc<Front<R>>,
    listener: R::Listener,
    config: Arc<ListenerConfig>,
    captures: Option<Arc<dyn Captures>>,
) {
    let door = Door {
        machine: Machine::of(&config),
        front: front.clone(),
        config: config.clone(),
        captures,
    };
    let waiting = Waiting::default();
    loop {
        let accepted = {
            let mut accept = pin!(front.runtime.accept(&listener));
            poll_fn(|cx| match front.registry.poll_stopping(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => accept.as_mut().poll(cx).map(Some),
            })
            .await
        };
        match accepted {
            None => break,
            Some(Ok((stream, _))) if fault!("node accepted session refused") => drop(stream),
            Some(Ok((stream, peer))) if config.trusted_proxies.is_empty() => {
                door.admit(stream, peer);
            }
            Some(Ok((mut stream, peer))) => {
                let (door, waiting) = (door.clone(), waiting.clone());
                let name = config.service.name();
                let reading = async move {
                    let (front, config) = (&door.front, &door.config);
                    let client = proxied::client(front, config, &waiting, &mut stream, peer).await;
                    if let Some(client) = client {
                        door.admit(stream, client);
                    }
                };
                front.runtime.spawn_session(name, Box::pin(reading));
            }
            Some(Err(error)) => {
                tracing::warn!(target: "listen", listener = config.name, %error, "accept failed");
                tls::sleep(&front.runtime, ACCEPT_PAUSE).await;
            }
        }
    }
    // A service that ends is a fault of ours; this one waits for the process to end.
    drop(listener);
    core::future::pending::<()>().await;
}

/// Where connections of a listener come in.
struct Door<R: Runtime> {
    front: Arc<Front<R>>,
    config: Arc<ListenerConfig>,
    machine: Machine,
    captures: Option<Arc<dyn Captures>>,
}

impl<R: Runtime> Clone for Door<R> {
    fn clone(&self) -> Self {
        Self {
            front: self.front.clone(),
            config: self.config.clone(),
            machine: self.machine.clone(),
            captures: self.captures.clone(),
        }
    }
}

impl<R: Runtime> Door<R> {
    /// Begins a session with who is known to be there, or says why not.
    fn admit(&self, stream: R::Stream, peer: SocketAddr) {
        let Self { front, config, .. } = self;
        let (runtime, limiters) = (&front.runtime, &front.limiters);
        let place = match limiters.enter(peer.ip(), config.service, runtime.now()) {
            Ok(place) => place,
            Err(why) => {
                let connections = &limiters.connections;
                return refuse(runtime, connections, config, stream, peer.ip(), why);
            }
        };
        let visit = Visit {
            config: config.clone(),
            peer,
        };
        let seat = (front.registry.enter(), place);
        let captures = self.captures.as_ref();
        let session = serve(front, visit, seat, &self.machine, captures, stream);
        runtime.spawn_session(config.service.name(), session);
    }
}

/// What all sessions of a listener share.
#[derive(Clone)]
pub(crate) enum Machine {
    Smtp(Arc<mox_smtp::server::Config>),
    Imap(Arc<mox_imap::server::Config>),
}

impl Machine {
    fn of(config: &ListenerConfig) -> Self {
        match config.service {
            Service::Smtp | Service::Submission | Service::Submissions => {
                Self::Smtp(Arc::new(smtp_in::machine(config)))
            }
            Service::Imap | Service::Imaps => Self::Imap(Arc::new(imap_in::machine(config))),
        }
    }
}

fn serve<R: Runtime>(
    front: &Arc<Front<R>>,
    visit: Visit,
    seat: (Seat, Place),
    machine: &Machine,
    captures: Option<&Arc<dyn Captures>>,
    stream: R::Stream,
) -> Fut<()> {
    let (runtime, now) = (front.runtime.clone(), front.runtime.now());
    let captured = |visit: &Visit, seed| {
        let (listener, peer) = (visit.config.name.clone(), visit.peer);
        move |session| Captured {
            listener,
            peer,
            seed,
            session,
        }
    };
    match machine {
        Machine::Smtp(machine) => {
            let session = mox_smtp::server::Server::new(machine.clone(), now);
            let (machine, captured) = (machine.clone(), captured(&visit, Seed::from_number(0)));
            let kept = Kept::new(session, now, captures, move |tape| {
                captured(CapturedSession::SmtpServer(machine, tape))
            });
            let host = InOrder::<SmtpHost<R>>::new(front, visit.clone(), seat);
            Box::pin(run(runtime, visit, kept, Recording(host), stream))
        }
        Machine::Imap(machine) => {
            let seed = front.session_seed("imap");
            let session = mox_imap::Server::new(machine.clone(), seed.clone());
            let (machine, captured) = (machine.clone(), captured(&visit, seed));
            let kept = Kept::new(session, now, captures, move |tape| {
                captured(CapturedSession::ImapServer(machine, tape))
            });
            let host = InOrder::<ImapHost<R>>::new(front, visit.clone(), seat);
            Box::pin(run(runtime, visit, kept, Recording(host), stream))
        }
    }
}

/// Runs one session over its connection, through STARTTLS and COMPRESS if it comes to that.
async fn run<R: Runtime, S: Recordable, H: Host<Recorded<S>> + Visitor + Send>(
    runtime: R,
    Visit { config, peer }: Visit,
    mut kept: Kept<S>,
    mut host: H,
    stream: R::Stream,
) {
    let session = &mut kept.session;
    let mut io = Conn::Plain(stream);
    let mut handshake = config.service.is_implicit_tls();
    loop {
        if handshake {
            let Some(tls) = config.tls.clone() else {
                return;
            };
            // Nobody has begun anything: a handshake may hang for as long as it likes.
            let stopping = async {
                poll_fn(|cx| host.poll_drain(cx)).await;
                Err(io::ErrorKind::ConnectionAborted.into())
            };
            let accepted = Box::pin(future::or(tls::accept(&runtime, tls, io), stopping)).await;
            match accepted {
                Ok((secured, facts)) => {
                    io = secured;
                    host.secured(&facts);
                    session.secured(runtime.now(), facts);
                }
                Err(error) => {
                    tracing::debug!(target: "tls", listener = config.name, %peer, %error, "handshake failed");
                    return;
                }
            }
        }
        match Drive::new(runtime.clone(), &mut *session, io, &mut host).await {
            End::Upgrade(plain) => {
                io = plain;
                handshake = true;
            }
            End::Compress(below) => {
                io = Conn::Deflate(Box::new(Deflate::new(below)));
                handshake = false;
            }
            End::Closed => return,
            End::Reset(error) => {
                let error = io::Error::from(error);
                tracing::debug!(target: "session", listener = config.name, %peer, %error, "connection lost");
                return;
            }
        }
    }
}
