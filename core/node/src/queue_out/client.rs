//! The world of one outgoing SMTP session: one message for some recipients.

use bytes::{Bytes, BytesMut};
use core::task::{Context, Poll};
use mox_driver::{Fut, Host, Pool, Runtime};
use mox_machine::{AskId, fault};
use mox_mailbox::QueueMessage;
use mox_smtp::client::{Answer, Ask, Client, Ending, Event, Outcome, Transaction};
use std::io;
use std::sync::Arc;

use crate::node::Inner;
use crate::registry::Seat;

/// Answers one session with another server, and collects what became of each recipient.
pub(super) struct ClientHost<R: Runtime> {
    node: Arc<Inner<R>>,
    seat: Arc<Seat>,
    message: Arc<QueueMessage>,
    transaction: Option<Transaction>,
    /// For each recipient of the transaction, once it is known.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// How the session ended, when it could not go on.
    pub(super) ended: Option<Outcome>,
    /// The server offers to tell what becomes of recipients (RFC 3461).
    pub(super) offers_dsn: bool,
    working: Option<(AskId, Fut<io::Result<Bytes>>)>,
    ready: Option<(AskId, Answer)>,
}

impl<R: Runtime> ClientHost<R> {
    pub(super) fn new(
        node: Arc<Inner<R>>,
        seat: Arc<Seat>,
        message: Arc<QueueMessage>,
        transaction: Transaction,
    ) -> Self {
        Self {
            node,
            seat,
            message,
            outcomes: vec![None; transaction.to.len()],
            transaction: Some(transaction),
            ended: None,
            offers_dsn: false,
            working: None,
            ready: None,
        }
    }

    fn piece(&mut self, id: AskId, offset: u64, max: usize) {
        if fault!("node piece not read") {
            self.ready = Some((id, Answer::Failed));
            return;
        }
        let message = self.message.clone();
        let store = self.node.store.clone();
        let published = self.node.store.published();
        let read = move || {
            let prefix = message.prefix.len() as u64;
            let end = offset.saturating_add(max as u64).min(message.size());
            let mut out = BytesMut::new();
            if offset < prefix {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let to = usize::try_from(end.min(prefix)).unwrap_or(usize::MAX);
                out.extend_from_slice(message.prefix.get(from..to).unwrap_or_default());
            }
            let body = offset.max(prefix) - prefix..end.max(prefix) - prefix;
            if !body.is_empty() {
                let octets = store.read_body(&*published.view, &message.body, body)?;
                if out.is_empty() {
                    return Ok(octets);
                }
                out.extend_from_slice(&octets);
            }
            Ok(out.freeze())
        };
        match self.message.body.is_inline() {
            true => self.ready = Some((id, answer(read()))),
            false => {
                let work = self.node.runtime.blocking(Pool::Bodies, Box::new(read));
                self.working = Some((id, work));
            }
        }
    }
}

fn answer(read: io::Result<Bytes>) -> Answer {
    match read {
        Ok(bytes) => Answer::Piece(bytes),
        Err(error) => {
            tracing::error!(target: "queue", %error, "a queued message cannot be read");
            Answer::Failed
        }
    }
}

impl<R: Runtime> Host<Client> for ClientHost<R> {
    fn ask(&mut self, id: AskId, ask: Ask) {
        match ask {
            Ask::Next(offer) => {
                self.offers_dsn = offer.dsn;
                let next = self.transaction.take().map_or(Answer::Quit, Answer::Send);
                self.ready = Some((id, next));
            }
            Ask::Piece { offset, max } => self.piece(id, offset, max),
            // No mechanism is configured, so none is asked about.
            Ask::Sasl { .. } => self.ready = Some((id, Answer::Failed)),
        }
    }

    fn cancel(&mut self, id: AskId) {
        self.working.take_if(|(working, _)| *working == id);
        self.ready.take_if(|(ready, _)| *ready == id);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Recipient { index, outcome } => {
                if let Some(slot) = self.outcomes.get_mut(index) {
                    *slot = Some(outcome);
                }
            }
            Event::Closed(Ending::Failed(outcome)) => self.ended = Some(outcome),
            Event::TlsRefused(reply) => {
                tracing::info!(target: "queue", %reply, "the other server refused TLS it had offered");
            }
            // Told before the dot is written: whoever stops the server waits for what the peer says to it.
            Event::Ending { .. } => self.seat.pass_dot(),
            Event::Greeted(_) | Event::Finished | Event::Closed(_) => {}
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, Answer)> {
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(ready);
        }
        let Some((id, work)) = &mut self.working else {
            return Poll::Pending;
        };
        let id = *id;
        let read = core::task::ready!(work.as_mut().poll(cx));
        self.working = None;
        Poll::Ready((id, answer(read)))
    }
}
