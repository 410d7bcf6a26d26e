//! Accepting connections and running a session on each.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use mox_driver::{Drive, End, Fut, Host, Runtime};
use mox_machine::Session;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{ListenerConfig, Service};
use crate::imap_in::ImapHost;
use crate::node::Inner;
use crate::registry::Seat;
use crate::smtp_in::SmtpHost;
use crate::{Conn, imap_in, smtp_in, tls};

/// How long to wait after `accept` failed, so that running out of descriptors is not a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the server stops.
pub(crate) async fn accept_loop<R: Runtime>(
    node: Arc<Inner<R>>,
    listener: R::Listener,
    config: Arc<ListenerConfig>,
) {
    let machine = Machine::of(&config);
    loop {
        let accepted = {
            let mut accept = pin!(node.runtime.accept(&listener));
            poll_fn(|cx| match node.registry.poll_stopping(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => accept.as_mut().poll(cx).map(Some),
            })
            .await
        };
        match accepted {
            None => break,
            Some(Ok((stream, peer))) => {
                let seat = node.registry.enter();
                let session = serve(node.clone(), config.clone(), &machine, stream, peer, seat);
                node.runtime.spawn_session(config.service.name(), session);
            }
            Some(Err(error)) => {
                tracing::warn!(target: "listen", listener = config.name, %error, "accept failed");
                tls::sleep(&node.runtime, ACCEPT_PAUSE).await;
            }
        }
    }
    // A service that ends is a fault of ours; this one waits for the process to end.
    drop(listener);
    core::future::pending::<()>().await;
}

/// What all sessions of a listener share.
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
    node: Arc<Inner<R>>,
    config: Arc<ListenerConfig>,
    machine: &Machine,
    stream: R::Stream,
    peer: SocketAddr,
    seat: Seat,
) -> Fut<()> {
    match machine {
        Machine::Smtp(machine) => {
            let session = mox_smtp::server::Server::new(machine.clone(), node.runtime.now());
            let host = SmtpHost::new(node.clone(), config.clone(), peer, seat);
            Box::pin(run(node, config, session, host, stream, peer))
        }
        Machine::Imap(machine) => {
            let session = mox_imap::Server::new(machine.clone(), node.session_seed("imap"));
            let host = ImapHost::new(node.clone(), config.clone(), peer, seat);
            Box::pin(run(node, config, session, host, stream, peer))
        }
    }
}

/// A host that learns about TLS itself, beside what the session is told.
pub(crate) trait Secured {
    /// The stream is encrypted from here on.
    fn secured(&mut self, facts: &mox_machine::TlsFacts);
}

/// Runs one session over its connection, through STARTTLS if it comes to that.
async fn run<R: Runtime, S: Session, H: Host<S> + Secured>(
    node: Arc<Inner<R>>,
    config: Arc<ListenerConfig>,
    mut session: S,
    mut host: H,
    stream: R::Stream,
    peer: SocketAddr,
) {
    let mut io = Conn::Plain(stream);
    let mut handshake = config.service.is_implicit_tls();
    loop {
        if handshake {
            let Some(tls) = config.tls.clone() else {
                return;
            };
            match Box::pin(tls::accept(&node.runtime, tls, io)).await {
                Ok((secured, facts)) => {
                    io = secured;
                    host.secured(&facts);
                    session.secured(node.runtime.now(), facts);
                }
                Err(error) => {
                    tracing::debug!(target: "tls", listener = config.name, %peer, %error, "handshake failed");
                    return;
                }
            }
        }
        match Drive::new(node.runtime.clone(), &mut session, io, &mut host).await {
            End::Upgrade(plain) => {
                io = plain;
                handshake = true;
            }
            End::Closed | End::Compress(_) => return,
            End::Reset(error) => {
                let error = io::Error::from(error);
                tracing::debug!(target: "session", listener = config.name, %peer, %error, "connection lost");
                return;
            }
        }
    }
}
