//! Recording sessions: who wants it, and where the tapes go.

use core::fmt;
use core::task::{Context, Poll};
use mox_driver::Host;
use mox_machine::{AskId, Now, Recordable, Recorded, Seed, Tape, TapeRoom, TlsFacts};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::in_order::Visitor;

/// Takes the tapes of sessions. Neither call may block: they are made on the path of the session.
pub trait Captures: fmt::Debug + Send + Sync {
    /// Octets one session may fill, and the room they are taken of; `None` when this session is not recorded.
    fn wanted(&self) -> Option<(usize, TapeRoom)>;
    /// A session is over.
    fn finished(&self, captured: Captured);
}

/// A session that is over.
#[derive(Debug)]
pub struct Captured {
    /// The listener's name, or `queue`.
    pub listener: String,
    /// The other side.
    pub peer: SocketAddr,
    /// The seed of the session.
    pub seed: Seed,
    /// What it was and what happened to it.
    pub session: CapturedSession,
}

/// A session that is over, with the configuration it had.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "made once a session and moved twice"
)]
pub enum CapturedSession {
    /// Mail that came in.
    SmtpServer(
        Arc<mox_smtp::server::Config>,
        Tape<mox_smtp::server::Server>,
    ),
    /// Mail that went out.
    SmtpClient(mox_smtp::client::Config, Tape<mox_smtp::client::Client>),
    /// Mail that was read.
    ImapServer(Arc<mox_imap::server::Config>, Tape<mox_imap::Server>),
}

/// A session that hands over its tape however it ends, also by a panic.
pub(crate) struct Kept<S: Recordable> {
    pub(crate) session: Recorded<S>,
    finish: Option<Finish<S>>,
}

type Finish<S> = Box<dyn FnOnce(Tape<S>) + Send>;

impl<S: Recordable> Kept<S> {
    /// Not recorded.
    pub(crate) fn plain(session: S) -> Self {
        Self {
            session: Recorded::new(session, None),
            finish: None,
        }
    }

    /// Recorded when it is wanted.
    pub(crate) fn new(
        session: S,
        now: Now,
        captures: Option<&Arc<dyn Captures>>,
        captured: impl FnOnce(Tape<S>) -> Captured + Send + 'static,
    ) -> Self {
        let Some(captures) = captures else {
            return Self::plain(session);
        };
        let Some((max, room)) = captures.wanted() else {
            return Self::plain(session);
        };
        let captures = captures.clone();
        Self {
            session: Recorded::new(session, Some(Tape::new(now, max, room))),
            finish: Some(Box::new(move |tape| captures.finished(captured(tape)))),
        }
    }
}

impl<S: Recordable> Drop for Kept<S> {
    fn drop(&mut self) {
        if let (Some(tape), Some(finish)) = (self.session.take_tape(), self.finish.take()) {
            finish(tape);
        }
    }
}

/// A host for a session that may be recorded.
#[derive(Debug)]
pub(crate) struct Recording<H>(pub(crate) H);

impl<S: Recordable, H: Host<S>> Host<Recorded<S>> for Recording<H> {
    fn ask(&mut self, id: AskId, ask: S::Ask) {
        self.0.ask(id, ask);
    }

    fn cancel(&mut self, id: AskId) {
        self.0.cancel(id);
    }

    fn event(&mut self, event: S::Event) {
        self.0.event(event);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, S::Answer)> {
        self.0.poll_answer(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_drain(cx)
    }
}

impl<H: Visitor> Visitor for Recording<H> {
    fn secured(&mut self, facts: &TlsFacts) {
        self.0.secured(facts);
    }
}
