//! Clients: what they do is in the plan, what they learn goes to the judge.

pub(crate) mod imap;
mod intruder;
pub(crate) mod mail;
pub(crate) mod reader;
pub(crate) mod view;

use mox_driver::{Runtime, Timer};
use mox_mailbox::{AccountId, MailboxId};
use mox_node::{Conn, Node};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::oracle::Judge;
use crate::plan::Secrecy;
use crate::slot::lock;
use crate::{Dialogue, SimRuntime, SimStream, names};

/// How long a client waits before it tries again.
pub(crate) const RETRY: Duration = Duration::from_secs(10);
/// How long a client waits for the server to say something.
const PATIENCE: Duration = Duration::from_secs(400);

/// A connection of a client, in clear or not.
pub(crate) type Wire = Dialogue<Conn<SimStream>>;

/// Who somebody is.
pub(crate) struct Client {
    pub(crate) on: SimRuntime,
    pub(crate) stage: Stage,
    /// Among all clients.
    pub(crate) number: usize,
    /// The server it talks to.
    pub(crate) server: usize,
    pub(crate) secrecy: Secrecy,
}

/// What every client knows of its world.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) judge: Judge,
    pub(crate) nodes: Arc<Vec<Mutex<Option<Node<SimRuntime>>>>>,
}

impl Stage {
    /// The server, when it is up.
    pub(crate) fn node(&self, server: usize) -> Option<Node<SimRuntime>> {
        let node = self.nodes.get(server)?;
        lock(node).clone()
    }

    pub(crate) fn set_node(&self, server: usize, node: Option<Node<SimRuntime>>) {
        if let Some(place) = self.nodes.get(server) {
            let old = core::mem::replace(&mut *lock(place), node);
            drop(old);
        }
    }

    /// HIGHESTMODSEQ of a mailbox as it is published, behind the back of the protocol.
    pub(crate) fn highest(
        &self,
        (server, account, mailbox): &(usize, String, String),
    ) -> Option<u64> {
        let published = self.node(*server)?.store().published();
        let view = &*published.view;
        let account: AccountId = mox_mailbox::account_id(view, account).ok()??;
        let name = match mailbox.as_str() {
            "INBOX" => mox_mailbox::INBOX,
            other => other,
        };
        let mailbox: MailboxId = mox_mailbox::mailbox_id(view, account, name).ok()??;
        Some(mox_mailbox::status(view, account, mailbox).ok()??.modseq)
    }
}

/// Lets virtual time pass.
pub(crate) async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    core::future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// A whole session, given up when the server keeps silent for too long.
pub(crate) async fn patiently<T>(
    on: &SimRuntime,
    session: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let timeout = async {
        sleep(on, PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    futures_lite::future::or(session, timeout).await
}

impl Client {
    /// Connects to a port of its server: to the second one, and by TLS from the first octet, if that is how it likes it.
    pub(crate) async fn connect(&self, clear: u16, secret: Option<u16>) -> io::Result<Wire> {
        let at_once = secret.filter(|_| self.secrecy == Secrecy::AtOnce);
        let port = at_once.unwrap_or(clear);
        let to: SocketAddr = names::socket(self.server, port);
        let stream = Conn::Plain(self.on.connect(to, None).await?);
        let wire = Dialogue::new(stream);
        match at_once {
            Some(_) => self.secure(wire).await,
            None => Ok(wire),
        }
    }

    /// Whether a connection is to be secured by STARTTLS.
    pub(crate) fn starts_tls(&self, wire: &Wire) -> bool {
        self.secrecy != Secrecy::None && !wire.is_secure()
    }

    /// The handshake.
    pub(crate) async fn secure(&self, wire: Wire) -> io::Result<Wire> {
        let Conn::Plain(stream) = wire.into_stream() else {
            return Err(io::Error::other("TLS within TLS"));
        };
        let name = names::domain(self.server);
        let stream = self.on.secure(stream, name).await?;
        Ok(Dialogue::new(Conn::Tls(Box::new(stream))))
    }
}

impl Wire {
    fn is_secure(&self) -> bool {
        matches!(self.stream(), Conn::Tls(_))
    }
}

/// A message with a mark: some headers, then lines of which some begin with a dot.
pub(crate) fn text(mark: &str, from: &str, to: &str, lines: u32) -> String {
    let mut text = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\nMessage-ID: <{mark}@sim.example>\r\nSubject: {mark}\r\n\r\n"
    );
    for n in 0..lines {
        let dot = if n % 5 == 1 { "." } else { "" };
        text.push_str(dot);
        text.push_str(mark);
        text.push_str(" all work and no play\r\n");
    }
    text
}
