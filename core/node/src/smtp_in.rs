//! The world of one SMTP session: who may send, to whom, and where the message goes.

mod trace;
mod transaction;

use bytes::Bytes;
use core::task::{Context, Poll};
use mox_address::{Host as AddressHost, Path, Reply};
use mox_driver::{Fut, Host, Runtime};
use mox_machine::{AskId, Secret, TlsFacts, mutant};
use mox_server::Found;
use mox_smtp::server::{Answer, Ask, Event, MailParams, Server};
use mox_store::DiskSpace;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::{Exchange, Login, MECHANISMS, Verdict};
use crate::config::{ListenerConfig, Outgoing, Service};
use crate::listen::Secured;
use crate::node::Inner;
use crate::registry::Seat;
pub(crate) use transaction::mailboxes_at_once;
use transaction::{Outcome, Target, Transaction};

/// Answers one SMTP session.
///
/// Asks are answered in the order they came: one piece of work is under way at a time, the rest waits. Nearly all
/// of them are answered from memory in the same poll.
pub(crate) struct SmtpHost<R: Runtime> {
    node: Arc<Inner<R>>,
    config: Arc<ListenerConfig>,
    peer: SocketAddr,
    seat: Seat,
    tls: Option<TlsFacts>,
    hello: Option<(Bytes, bool)>,
    login: Option<Login>,
    exchange: Option<Box<Exchange>>,
    transaction: Option<Box<Transaction>>,
    working: Option<(AskId, Fut<Done>)>,
    waiting: VecDeque<(AskId, Ask)>,
    ready: VecDeque<(AskId, Answer)>,
}

/// What all SMTP sessions of a listener share.
pub(crate) fn machine(config: &ListenerConfig) -> mox_smtp::server::Config {
    use mox_smtp::server::{Config, Mode};
    let mut machine = Config::new(config.hostname.clone());
    machine.starttls = config.tls.is_some() && !config.service.is_implicit_tls();
    machine.max_size = config.max_size;
    if config.service != Service::Smtp {
        machine.mode = Mode::Submission;
        machine.mechanisms = MECHANISMS.iter().map(|m| m.name()).collect();
        machine.auth_required = true;
        machine.auth_in_clear = config.clear_auth;
        machine.tls_required = !config.clear_auth;
    }
    machine
}

/// What a piece of work comes back with.
enum Done {
    Sasl(Box<Exchange>, Verdict),
    /// The transaction with its spool, and how the write went.
    Written(Box<Transaction>, Result<(), Reply>),
    Committed(Outcome),
}

impl<R: Runtime> SmtpHost<R> {
    pub(crate) fn new(
        node: Arc<Inner<R>>,
        config: Arc<ListenerConfig>,
        peer: SocketAddr,
        seat: Seat,
    ) -> Self {
        Self {
            node,
            config,
            peer,
            seat,
            tls: None,
            hello: None,
            login: None,
            exchange: None,
            transaction: None,
            working: None,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    fn is_submission(&self) -> bool {
        self.config.service != Service::Smtp
    }

    fn handle(&mut self, id: AskId, ask: Ask) {
        let answer = match ask {
            Ask::Hello { name, extended } => {
                self.hello = Some((name, extended));
                Answer::Accept
            }
            Ask::Sasl {
                mechanism,
                response,
                first,
            } => {
                return self.sasl(id, &mechanism, response, first);
            }
            Ask::Sender { from, params } => match self.sender(from, params) {
                Ok(()) => Answer::Accept,
                Err(reply) => Answer::Reply(reply),
            },
            Ask::Recipient { to, .. } => match self.recipient(to) {
                Ok(()) => Answer::Accept,
                Err(reply) => Answer::Reply(reply),
            },
            Ask::Body(piece) => return self.body(id, piece),
            Ask::Commit { .. } => return self.commit(id),
        };
        self.ready.push_back((id, answer));
    }

    fn sasl(&mut self, id: AskId, mechanism: &[u8], response: Option<Secret<Bytes>>, first: bool) {
        if first || self.exchange.is_none() {
            let exporter = self.tls.as_ref().map(|t| t.exporter);
            self.exchange = self.node.authority.exchange(mechanism, exporter);
        }
        let Some(exchange) = self.exchange.take() else {
            let reply = Reply::new(504, 5, 4, "this mechanism is not offered");
            return self.ready.push_back((id, Answer::Reply(reply)));
        };
        let step = crate::auth::step(self.node.clone(), exchange, response);
        self.working = Some((
            id,
            Box::pin(async move {
                let (exchange, verdict) = step.await;
                Done::Sasl(exchange, verdict)
            }),
        ));
    }

    fn sender(&mut self, from: Option<Path>, params: MailParams) -> Result<(), Reply> {
        if self.node.store.space() == DiskSpace::Low {
            return Err(Reply::new(
                452,
                3,
                1,
                "not enough disk space, try again later",
            ));
        }
        if self.is_submission() {
            let Some(login) = &self.login else {
                return Err(Reply::new(530, 7, 0, "authentication required"));
            };
            let owned = from
                .as_ref()
                .is_none_or(|from| self.node.directory().owns(&login.account, from));
            if !owned {
                return Err(Reply::new(550, 7, 1, "this sender address is not yours"));
            }
        }
        let id = self.node.transaction_id();
        let mut fresh = Transaction::new(id, from, params);
        if mutant!(ResetKeepsRecipients)
            && let Some(reset) = self.transaction.take()
        {
            (fresh.local, fresh.remote) = (reset.local, reset.remote);
        }
        self.transaction = Some(Box::new(fresh));
        Ok(())
    }

    /// transport.md 1.11: our own addresses are taken; others only from our own users.
    fn recipient(&mut self, to: Path) -> Result<(), Reply> {
        let found = self.node.directory().find(&to);
        let submission = self.is_submission();
        let transaction = self
            .transaction
            .as_mut()
            .ok_or_else(|| Reply::new(503, 5, 1, "MAIL comes first"))?;
        let target = match found {
            Found::Account {
                account, mailbox, ..
            } => {
                let account = self
                    .node
                    .account_id(&account)
                    .ok_or_else(|| Reply::new(451, 3, 0, "this account cannot be reached now"))?;
                Target::Local {
                    account,
                    mailbox: mailbox.unwrap_or_else(|| "INBOX".into()),
                }
            }
            Found::UnknownLocalPart => {
                return Err(Reply::new(550, 1, 1, "no such user here"));
            }
            Found::NotOurs if !submission => {
                return Err(Reply::new(
                    550,
                    7,
                    1,
                    "relaying denied: this is not one of our domains",
                ));
            }
            Found::NotOurs => match &self.node.config.outgoing {
                Outgoing::Sink(account) => {
                    let account = self.node.account_id(account).ok_or_else(|| {
                        Reply::new(451, 3, 0, "this account cannot be reached now")
                    })?;
                    Target::Local {
                        account,
                        mailbox: "INBOX".into(),
                    }
                }
                Outgoing::Direct
                    if self.node.config.resolvers.is_empty()
                        && matches!(to.host, AddressHost::Domain(_)) =>
                {
                    return Err(Reply::new(
                        451,
                        4,
                        3,
                        "no name server is configured, so no other domain can be reached",
                    ));
                }
                Outgoing::Direct | Outgoing::Relay(_) => Target::Remote,
            },
        };
        transaction.add(to, target);
        Ok(())
    }

    fn body(&mut self, id: AskId, piece: Bytes) {
        let Some(mut transaction) = self.transaction.take() else {
            return self
                .ready
                .push_back((id, Answer::Reply(Reply::new(503, 5, 1, "MAIL comes first"))));
        };
        match transaction.push(&self.node, piece) {
            // A message with a hole is no message: the transaction is over, and what it held is given back.
            Err(reply) => self.ready.push_back((id, Answer::Reply(reply))),
            Ok(false) => {
                self.transaction = Some(transaction);
                self.ready.push_back((id, Answer::Accept));
            }
            Ok(true) => {
                let write = transaction.write(&self.node);
                let work = async move {
                    let (transaction, result) = write.await;
                    Done::Written(transaction, result)
                };
                self.working = Some((id, Box::pin(work)));
            }
        }
    }

    fn commit(&mut self, id: AskId) {
        let Some(transaction) = self.transaction.take() else {
            return self
                .ready
                .push_back((id, Answer::Reply(Reply::new(503, 5, 1, "MAIL comes first"))));
        };
        let arrival = transaction::Arrival {
            listener: self.config.clone(),
            peer: self.peer,
            tls: self.tls.clone(),
            hello: self.hello.clone(),
            login: self.login.clone(),
        };
        let commit = transaction.commit(self.node.clone(), arrival);
        self.working = Some((id, Box::pin(async move { Done::Committed(commit.await) })));
    }

    fn done(&mut self, done: Done) -> Answer {
        match done {
            Done::Sasl(exchange, verdict) => match verdict {
                Verdict::Challenge(bytes) => {
                    self.exchange = Some(exchange);
                    Answer::Challenge(bytes)
                }
                Verdict::Authenticated(login) => {
                    let name = login.user.clone();
                    tracing::info!(target: "auth", listener = self.config.name, peer = %self.peer, user = name, "authenticated");
                    self.login = Some(login);
                    Answer::Authenticated(name)
                }
                Verdict::Refused(why) => {
                    tracing::info!(target: "auth", listener = self.config.name, peer = %self.peer, ?why, "authentication failed");
                    Answer::Reply(why.smtp_reply())
                }
            },
            Done::Written(transaction, Ok(())) => {
                self.transaction = Some(transaction);
                Answer::Accept
            }
            Done::Written(_, Err(reply)) => Answer::Reply(reply),
            Done::Committed(outcome) => outcome.answer(),
        }
    }
}

impl<R: Runtime> Secured for SmtpHost<R> {
    /// RFC 3207 4.2: what was said in clear is forgotten.
    fn secured(&mut self, facts: &TlsFacts) {
        self.tls = Some(facts.clone());
        self.hello = None;
        self.login = None;
        self.exchange = None;
        self.transaction = None;
    }
}

impl<R: Runtime> Host<Server> for SmtpHost<R> {
    fn ask(&mut self, id: AskId, ask: Ask) {
        if self.working.is_some() || !self.waiting.is_empty() {
            self.waiting.push_back((id, ask));
        } else {
            self.handle(id, ask);
        }
    }

    fn cancel(&mut self, id: AskId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        // Work that reached the store goes on; only its answer is not wanted any more.
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Reset => {
                if !mutant!(ResetKeepsRecipients) {
                    self.transaction = None;
                }
                self.waiting.clear();
                // A piece that is being written comes back to nobody; the machine ignores its answer.
                if let Some((_, work)) = self.working.take() {
                    drop(work);
                }
            }
            Event::Refused { verb, reply } => {
                tracing::debug!(target: "smtp", listener = self.config.name, peer = %self.peer, ?verb, %reply, "refused");
            }
            Event::Protocol(violation) => {
                tracing::info!(target: "smtp", listener = self.config.name, peer = %self.peer, ?violation, "protocol violation");
            }
            Event::Closed(reason) => {
                tracing::debug!(target: "smtp", listener = self.config.name, peer = %self.peer, ?reason, "closed");
            }
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.seat.poll_stopping(cx)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, Answer)> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Poll::Ready(ready);
            }
            if let Some((id, work)) = &mut self.working {
                let id = *id;
                match work.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(done) => {
                        self.working = None;
                        let answer = self.done(done);
                        return Poll::Ready((id, answer));
                    }
                }
            }
            match self.waiting.pop_front() {
                Some((id, ask)) => self.handle(id, ask),
                None => return Poll::Pending,
            }
        }
    }
}
