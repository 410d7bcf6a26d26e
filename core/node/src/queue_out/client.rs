//! The world of one outgoing SMTP session: one message after another, each for some recipients.

use bytes::{Bytes, BytesMut};
use core::task::{Context, Poll};
use futures_channel::{mpsc, oneshot};
use futures_lite::StreamExt;
use mox_address::Reply;
use mox_driver::{Fut, Host, Pool, Runtime};
use mox_machine::{AskId, Mono, Secret, fault};
use mox_mailbox::QueueMessage;
use mox_sasl::{ClientExchange, Failure};
use mox_smtp::client::{
    Answer, Ask, Cause, Class, Client, Ending, Event, Offer, Outcome, Stage, Transaction,
};
use mox_smtp::wire::RcptDsn;
use std::io;
use std::sync::Arc;

use super::dry_run::Probe;
use super::login::Login;
use super::session::{Current, Secured};
use super::steps::Steps;
use super::verdict::words;
use crate::node::Inner;
use crate::registry::Seat;

/// A message that is to go through a session.
pub(super) struct Job {
    /// That of its attempt.
    pub(super) seat: Arc<Seat>,
    pub(super) message: Arc<QueueMessage>,
    /// With all recipients; the server may take them in several ones.
    pub(super) transaction: Transaction,
    /// How long it may take up to its final dot.
    pub(super) until: Mono,
    /// What is done is noted there.
    pub(super) steps: Arc<Steps>,
    /// Waits for what became of the recipients, not for QUIT.
    pub(super) told: oneshot::Sender<Spoken>,
}

/// Answers one session with another server, and collects what became of each recipient.
pub(super) struct ClientHost<R: Runtime> {
    node: Arc<Inner<R>>,
    /// Whose attempt it is at the moment, and how long that may take.
    pub(super) current: Current,
    message: Arc<QueueMessage>,
    /// What is done for it is noted there.
    steps: Arc<Steps>,
    /// With all recipients; the server may take them in several ones.
    transaction: Transaction,
    /// The places of those recipients that are to be in the next one.
    waiting: Vec<usize>,
    /// The same of the one that runs.
    running: Vec<usize>,
    /// How many were begun, with those of earlier messages.
    begun: usize,
    /// Which message it is, from 1.
    nth: usize,
    /// For each recipient, once it is known.
    outcomes: Vec<Option<Outcome>>,
    /// How the session ended, when it could not go on.
    pub(super) ended: Option<Outcome>,
    /// The session took longer than it may.
    pub(super) is_late: bool,
    /// The server offers to tell what becomes of recipients (RFC 3461).
    offers_dsn: bool,
    /// What there is of TLS.
    secured: Option<Arc<Secured>>,
    /// What the host said when it refused the TLS that it had offered.
    tls_refused: Option<String>,
    /// Waits for what became of the recipients, not for QUIT.
    told: Option<oneshot::Sender<Spoken>>,
    /// The next messages for this session come from here.
    jobs: mpsc::Receiver<Job>,
    /// The server may take another message, and nobody has said yet whether there is one.
    idle: Option<(AskId, Offer)>,
    /// Why we did not log in, when that was our own decision.
    pub(super) not_logged_in: Option<Failure>,
    login: Option<Login>,
    probe: Option<Arc<Probe>>,
    working: Option<(AskId, Fut<Worked>)>,
    ready: Option<(AskId, Answer)>,
}

/// What was done elsewhere.
enum Worked {
    /// A piece of the message was read.
    Piece(io::Result<Bytes>),
    /// A challenge was answered.
    Challenge(ClientExchange, Result<Secret<Bytes>, Failure>),
}

/// What a session came to.
pub(super) struct Spoken {
    /// What became of each recipient; nothing of those whom the host did not want to hear of in one session.
    pub(super) reached: Vec<Option<Outcome>>,
    /// The host will tell the sender what it wants to know.
    pub(super) tells: bool,
    /// What there was of TLS; nothing in clear.
    pub(super) secured: Option<Arc<Secured>>,
    /// What the host said when it refused the TLS that it had offered.
    pub(super) tls_refused: Option<String>,
    /// Which message of the session this was, from 1.
    pub(super) nth: usize,
    /// The server may take another one.
    pub(super) goes_on: bool,
}

impl<R: Runtime> ClientHost<R> {
    /// For a session that begins with this message; more may come.
    pub(super) fn new(
        node: Arc<Inner<R>>,
        first: Job,
        login: Option<Login>,
        probe: Option<Arc<Probe>>,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        let mut host = Self {
            node,
            current: Current::new(first.seat.clone(), first.until),
            message: first.message.clone(),
            steps: first.steps.clone(),
            transaction: Transaction::default(),
            waiting: Vec::new(),
            running: Vec::new(),
            begun: 0,
            nth: 0,
            outcomes: Vec::new(),
            ended: None,
            is_late: false,
            offers_dsn: false,
            secured: None,
            tls_refused: None,
            told: None,
            jobs,
            idle: None,
            not_logged_in: None,
            login,
            probe,
            working: None,
            ready: None,
        };
        host.begin(first);
        host
    }

    /// Takes a message.
    fn begin(&mut self, job: Job) {
        // What was said to a host before is known by now.
        job.seat.before_dot();
        self.current.set(job.seat, job.until);
        let count = job.transaction.to.len();
        self.message = job.message;
        self.steps = job.steps;
        self.transaction = job.transaction;
        self.waiting = (0..count).collect();
        self.running = Vec::new();
        self.outcomes = vec![None; count];
        self.told = Some(job.told);
        self.nth += 1;
    }

    /// There is a connection. The SASL mechanisms that may be used, best first.
    pub(super) fn connected(&self) -> Vec<&'static str> {
        if let Some(probe) = &self.probe {
            probe.note("connected");
        }
        self.login.iter().flat_map(Login::mechanisms).collect()
    }

    /// Nothing is to be sent or changed.
    pub(super) const fn is_rehearsal(&self) -> bool {
        self.probe.is_some()
    }

    /// There is TLS now; in words `shown` to people.
    pub(super) fn secured(&mut self, secured: Secured, shown: &str) {
        if let Some(probe) = &self.probe {
            probe.note(format!("TLS: {shown}"));
        }
        self.steps.note(format_args!("TLS: {shown}"));
        if let Some(login) = &mut self.login {
            login.secured(&secured.facts);
        }
        self.secured = Some(Arc::new(secured));
    }

    fn sasl(&mut self, id: AskId, mechanism: &str, challenge: Option<Secret<Bytes>>) {
        let failed = (id, Answer::Failed);
        let Some(login) = &mut self.login else {
            // No mechanism is configured, so none is asked about.
            self.ready = Some(failed);
            return;
        };
        let Some(challenge) = challenge else {
            self.ready = Some(match login.begin(mechanism) {
                Ok(first) => (id, Answer::Response(first)),
                Err(failure) => {
                    self.not_logged_in = Some(failure);
                    failed
                }
            });
            return;
        };
        let Some(mut exchange) = login.take() else {
            self.ready = Some(failed);
            return;
        };
        let answer = move || {
            let answer = exchange.step(challenge.expose());
            Worked::Challenge(exchange, answer)
        };
        let work = self.node.runtime.blocking(Pool::Compute, Box::new(answer));
        self.working = Some((id, work));
    }

    fn worked(&mut self, worked: Worked) -> Answer {
        match worked {
            Worked::Piece(read) => answer(read),
            Worked::Challenge(exchange, Ok(response)) => {
                if let Some(login) = &mut self.login {
                    login.put(exchange, &response);
                }
                Answer::Response(Some(response))
            }
            Worked::Challenge(_, Err(failure)) => {
                self.not_logged_in = Some(failure);
                Answer::Failed
            }
        }
    }

    /// What follows in a session that may take mail: nothing, if the server is not who it has to be. `None` while that is not
    /// known: what became of the message is to be written down before there is another one.
    fn go_on(&mut self, id: AskId, offer: &Offer) -> Option<Answer> {
        self.offers_dsn = offer.dsn;
        if let Some(probe) = self.probe.as_ref().filter(|_| self.begun == 0) {
            probe.offer(offer);
        }
        if let Some(Err(failure)) = self.login.as_mut().map(Login::finish) {
            // Nothing is told early: that there was no login decides.
            self.not_logged_in = Some(failure);
            return Some(Answer::Quit);
        }
        if let Some(next) = self.next(offer) {
            return Some(Answer::Send(next));
        }
        let goes_on = self.probe.is_none() && !self.is_over(offer) && self.was_heard();
        let spoken = Spoken {
            goes_on,
            ..self.spoken()
        };
        // Whoever waited may have gone.
        let is_heard = (self.told.take()).is_some_and(|told| told.send(spoken).is_ok());
        // From here on the attempt is not this session's any more.
        self.current.leave();
        if goes_on && is_heard {
            self.idle = Some((id, offer.clone()));
            return None;
        }
        Some(Answer::Quit)
    }

    /// The server says how many transactions it takes, and had them (RFC 9422).
    fn is_over(&self, offer: &Offer) -> bool {
        offer.messages.is_some_and(|max| self.begun >= max.max(1))
    }

    /// The server took MAIL: one that refuses that is not asked again and again in one session.
    fn was_heard(&self) -> bool {
        let mut outcomes = self.outcomes.iter().flatten();
        outcomes.any(|outcome| !matches!(outcome.stage, Stage::Rset | Stage::Mail))
    }

    /// Whether there is another message.
    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, Answer)> {
        let job = core::task::ready!(self.jobs.poll_next(cx));
        let Some((id, offer)) = self.idle.take() else {
            return Poll::Pending;
        };
        let next = job.and_then(|job| {
            self.begin(job);
            self.next(&offer)
        });
        Poll::Ready((id, next.map_or(Answer::Quit, Answer::Send)))
    }

    /// The next transaction: as many recipients as the server takes in one (RFC 9422), as long as it takes another one.
    fn next(&mut self, offer: &Offer) -> Option<Transaction> {
        if self.waiting.is_empty() || self.is_over(offer) {
            return None;
        }
        self.begun += 1;
        let most = offer.recipients.unwrap_or(usize::MAX).max(1);
        let rest = self.waiting.split_off(most.min(self.waiting.len()));
        self.running = core::mem::replace(&mut self.waiting, rest);
        let all = &self.transaction;
        let dsn = |nth: &usize| all.rcpt_dsn.get(*nth).cloned().unwrap_or_default();
        Some(Transaction {
            to: (self.running.iter())
                .filter_map(|nth| all.to.get(*nth).cloned())
                .collect(),
            rcpt_dsn: self.running.iter().map(dsn).collect::<Vec<RcptDsn>>(),
            ..all.clone()
        })
    }

    /// Whoever was only one too many is in the next transaction, as long as each reaches somebody.
    fn finished(&mut self) {
        let running = core::mem::take(&mut self.running);
        let outcome = |nth: &usize| self.outcomes.get(*nth).and_then(Option::as_ref);
        let mut reached = running.iter().filter_map(outcome);
        if reached.any(|outcome| outcome.class == Class::Delivered) {
            let again = |nth: &usize| {
                outcome(nth).is_some_and(|o| o.class == Class::Temporary && o.is_one_too_many())
            };
            let again: Vec<usize> = running.into_iter().filter(again).collect();
            self.waiting.splice(0..0, again);
        }
    }

    /// All that the session can tell. What was decided stays decided, whatever became of the rest.
    pub(super) fn spoken(&self) -> Spoken {
        let rest = self.ended.as_ref().map(|ended| Outcome {
            ambiguous: false,
            ..ended.clone()
        });
        let late = |outcome: Outcome| match outcome.cause {
            Cause::Lost if self.is_late => Outcome {
                cause: Cause::Timeout,
                ..outcome
            },
            _ => outcome,
        };
        let reached = self.outcomes.iter().cloned();
        Spoken {
            reached: reached
                .map(|o| o.or_else(|| rest.clone()).map(late))
                .collect(),
            tells: self.offers_dsn,
            secured: self.secured.clone(),
            tls_refused: self.tls_refused.clone(),
            nth: self.nth,
            goes_on: false,
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
                let read = Box::new(move || Worked::Piece(read()));
                let work = self.node.runtime.blocking(Pool::Bodies, read);
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
            Ask::Next(offer) => self.ready = self.go_on(id, &offer).map(|answer| (id, answer)),
            Ask::Piece { offset, max } => self.piece(id, offset, max),
            Ask::Sasl {
                mechanism,
                challenge,
            } => self.sasl(id, mechanism, challenge),
        }
    }

    fn cancel(&mut self, id: AskId) {
        self.working.take_if(|(working, _)| *working == id);
        self.ready.take_if(|(ready, _)| *ready == id);
        self.idle.take_if(|(idle, _)| *idle == id);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Recipient { index, outcome } => {
                let nth = self.running.get(index);
                if let Some(slot) = nth.and_then(|nth| self.outcomes.get_mut(*nth)) {
                    *slot = Some(outcome);
                }
            }
            Event::Closed(Ending::Failed(mut outcome)) => {
                if let (Stage::Auth, Some(reply)) = (outcome.stage, &mut outcome.reply)
                    && self
                        .login
                        .as_ref()
                        .is_some_and(|login| login.is_repeated_in(&reply.text))
                {
                    reply.text = "what it says repeats what was said to it, and is not kept".into();
                }
                self.ended = Some(outcome);
            }
            Event::Greeted(reply) => {
                if let Some(probe) = &self.probe {
                    probe.note(format!("greeting: {}", words(&reply)));
                }
            }
            Event::Exchanged { command, reply } => {
                let is_secret = |reply: &Reply| {
                    let mut login = self.login.iter();
                    login.any(|login| login.is_repeated_in(&reply.text))
                };
                match &reply {
                    Some(reply) if is_secret(reply) => {
                        let code = reply.code;
                        (self.steps)
                            .note(format_args!("{command}: {code}, and repeats what was said"));
                    }
                    reply => self.steps.exchanged(&command, reply.as_ref()),
                }
            }
            Event::TlsRefused(reply) => {
                if let Some(probe) = &self.probe {
                    probe.note(format!("STARTTLS is refused: {}", words(&reply)));
                }
                tracing::info!(target: "queue", %reply, "the other server refused TLS it had offered");
                self.tls_refused = Some(words(&reply));
            }
            // Told before the dot is written: whoever stops the server waits for what the peer says to it.
            Event::Ending { .. } => self.current.pass_dot(),
            Event::Finished => self.finished(),
            Event::Closed(_) => {}
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, Answer)> {
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(ready);
        }
        if self.idle.is_some() {
            return self.poll_job(cx);
        }
        let Some((id, work)) = &mut self.working else {
            return Poll::Pending;
        };
        let id = *id;
        let worked = core::task::ready!(work.as_mut().poll(cx));
        self.working = None;
        Poll::Ready((id, self.worked(worked)))
    }
}
