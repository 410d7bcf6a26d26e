//! The world of one IMAP session: what is in the mailboxes of its account.
//!
//! Reads are answered from the last published state, in the same poll. Changes are operations of the store; their
//! answers come when they are durable.

mod append;
mod body;
pub(crate) mod change;
mod read;
pub(crate) mod recent;
mod search;
mod shape;

use core::task::{Context, Poll};
use mox_driver::Runtime;
use mox_imap::server::{Answer, Ask, BoxId, Config, Event, Refusal, Server};
use mox_machine::{AskId, TlsFacts};
use mox_mailbox::{AccountId, MailboxId, Stop};
use mox_server::limiter::Limiter;
use mox_store::{StoreError, Topic, Watch};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::{self, Exchange, Login, Refused, Verdict};
use crate::config::ListenerConfig;
use crate::deflate::Compressed;
use crate::in_order::{self, Abandoned, Visit, World};
use crate::limiters::Caller;
use crate::node::Inner;
use append::Append;
use body::Made;
use shape::Shape;

/// Answers one IMAP session.
pub(crate) struct ImapHost<R: Runtime> {
    node: Arc<Inner<R>>,
    config: Arc<ListenerConfig>,
    peer: SocketAddr,
    exporter: Option<Box<[u8; 32]>>,
    login: Option<Box<Login>>,
    exchange: Option<Box<Exchange>>,
    append: Option<Box<Append>>,
    watch: Option<Box<Watching>>,
    /// NOTIFY: waits for anything in the account.
    observe: Option<Box<Watching>>,
    /// The selected mailbox, when its new messages are this session's.
    claims: Option<MailboxId>,
    /// The keyword list the session knows, as the modification sequence of its last growth.
    keywords_seen: u64,
    /// The section that pieces were asked for last, if it had to be made.
    made: Option<Box<Made>>,
    /// The stream is compressed.
    compressed: Option<Compressed>,
}

/// What all IMAP sessions of a listener share.
pub(crate) fn machine(config: &ListenerConfig) -> Config {
    let offers = &config.offers;
    let mut machine = Config {
        starttls: config.tls.is_some() && !config.service.is_implicit_tls(),
        clear_auth: config.clear_auth,
        mechanisms: offers.mechanisms.iter().map(|m| m.name().into()).collect(),
        without: offers.imap_without.clone(),
        compress: offers.imap_compress,
        ..Config::default()
    };
    machine.limits.messages = offers.imap_message_limit;
    machine.limits.append = config.max_size;
    machine
}

/// A `Watch` ask that stays open.
struct Watching {
    id: AskId,
    since: u64,
    watch: Watch,
}

/// What a piece of work comes back with.
pub(crate) enum Done {
    Sasl(Box<Exchange>, Verdict),
    Login(Verdict),
    Written(Box<Append>, Result<(), Refusal>),
    Made(Answer, Option<Box<Made>>),
    Answer(Answer),
}

impl<R: Runtime> ImapHost<R> {
    fn account(&self) -> AccountId {
        // The machine asks about mailboxes only after somebody logged in; account 0 is nobody's.
        self.login.as_ref().map_or(AccountId(0), |login| login.id)
    }

    fn caller(&self) -> Caller {
        Caller {
            peer: self.peer.ip(),
            service: self.config.service,
        }
    }

    fn authenticated(&mut self, verdict: Verdict) -> Answer {
        let (listener, peer) = (&self.config.name, self.peer);
        match verdict {
            Verdict::Authenticated(login) => {
                tracing::info!(target: "auth", listener, %peer, user = login.user, "authenticated");
                let user = login.user.clone();
                let without = self.node.directory().imap_without(&login.account).to_vec();
                self.login = Some(Box::new(login));
                match without.is_empty() {
                    true => Answer::Authenticated(user),
                    false => Answer::AuthenticatedWithout { user, without },
                }
            }
            Verdict::Refused(Refused::Unavailable) => {
                refusal(Some("UNAVAILABLE"), "authentication is not possible now")
            }
            Verdict::Refused(Refused::TooMany) => {
                tracing::info!(target: "auth", listener, %peer, "too many logins failed");
                refusal(Some("LIMIT"), Limiter::FailedLogins.text())
            }
            Verdict::Refused(why) => {
                tracing::info!(target: "auth", listener, %peer, ?why, "authentication failed");
                refusal(Some("AUTHENTICATIONFAILED"), "authentication failed")
            }
            // LOGIN has no challenges.
            Verdict::Challenge(_) => refusal(Some("SERVERBUG"), "authentication failed"),
        }
    }
}

type Response = in_order::Response<Answer, Done>;

impl Response {
    /// An answer that takes a while.
    fn answer_later(work: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self::later(async move { Done::Answer(work.await) })
    }

    fn no(code: Option<&'static str>, text: &str) -> Self {
        Self::Now(refusal(code, text))
    }
}

fn refusal(code: Option<&'static str>, text: &str) -> Answer {
    Answer::No(Refusal {
        code,
        text: text.into(),
    })
}

/// What a client is told when an operation was refused (RFC 5530). `missing` is the code for a mailbox that is not
/// there: TRYCREATE where creating it would help.
fn refused(error: &StoreError<Stop>, missing: &'static str) -> Refusal {
    let code = match error {
        StoreError::Refused(stop) => match stop {
            Stop::NoSuchMailbox | Stop::MailboxGone => missing,
            Stop::MailboxExists => "ALREADYEXISTS",
            Stop::BadMailboxName(_) | Stop::Inbox | Stop::BadKeyword => "CANNOT",
            Stop::HasChildren => "HASCHILDREN",
            Stop::SpecialUseTaken => "USEATTR",
            Stop::OverQuota(_) => "OVERQUOTA",
            Stop::TooMany(_) => "LIMIT",
            _ => "SERVERBUG",
        },
        StoreError::TooBig | StoreError::NoRoom => "LIMIT",
        StoreError::Panicked => "SERVERBUG",
        StoreError::Dead => "UNAVAILABLE",
    };
    // What went wrong within is for the log, not for a client.
    let text = match code {
        "SERVERBUG" => "this failed, and the server's log says why".into(),
        "UNAVAILABLE" => "the store is not available now".into(),
        _ => error.to_string(),
    };
    if matches!(code, "SERVERBUG" | "UNAVAILABLE") {
        tracing::error!(target: "store", %error, "an operation for an IMAP session failed");
    }
    Refusal {
        code: Some(code),
        text,
    }
}

fn unreadable(error: impl core::fmt::Display) -> Answer {
    tracing::error!(target: "store", %error, "reading for an IMAP session failed");
    refusal(Some("SERVERBUG"), "the store cannot be read now")
}

const fn mailbox_of(id: BoxId) -> MailboxId {
    MailboxId(id.0)
}

impl<R: Runtime> World for ImapHost<R> {
    type Runtime = R;
    type Session = Server;
    type Done = Done;

    fn new(node: Arc<Inner<R>>, visit: Visit) -> Self {
        Self {
            node,
            config: visit.config,
            peer: visit.peer,
            exporter: None,
            login: None,
            exchange: None,
            append: None,
            watch: None,
            observe: None,
            claims: None,
            keywords_seen: 0,
            made: None,
            compressed: None,
        }
    }

    /// A watch waits for others, so nobody waits for it.
    fn at_once(ask: &Ask) -> bool {
        matches!(ask, Ask::Watch { .. } | Ask::Observe { .. })
    }

    fn respond(&mut self, id: AskId, ask: Ask) -> Response {
        let account = self.account();
        match ask {
            Ask::Sasl {
                mechanism,
                response,
                first,
            } => {
                if first || self.exchange.is_none() {
                    let exporter = self.exporter.as_deref().copied();
                    let offered = &self.config.offers.mechanisms;
                    self.exchange = self.node.authority.exchange(offered, &mechanism, exporter);
                }
                let Some(exchange) = self.exchange.take() else {
                    return Response::no(Some("CANNOT"), "this mechanism is not offered");
                };
                let step = auth::step(self.node.clone(), self.caller(), exchange, response);
                Response::later(async move {
                    let (exchange, verdict) = step.await;
                    Done::Sasl(exchange, verdict)
                })
            }
            Ask::Login { user, password } => {
                let login = auth::login(self.node.clone(), self.caller(), user, password);
                Response::later(async move { Done::Login(login.await) })
            }
            Ask::Watch { mailbox, since } => {
                let mailbox = MailboxId(mailbox.0);
                let watch =
                    self.node
                        .store
                        .watch(Topic::Mailbox { account, mailbox }, |published| {
                            match mox_mailbox::status(&*published.view, account, mailbox) {
                                Ok(Some(status)) => status.modseq,
                                Ok(None) => u64::MAX,
                                Err(_) => 0,
                            }
                        });
                self.watch = Some(Box::new(Watching { id, since, watch }));
                Response::Open
            }
            Ask::Observe { since } => {
                let topic = Topic::Account(account);
                // What happened before now is known at the latest commit.
                let watch = self.node.store.watch(topic, |published| published.number);
                self.observe = Some(Box::new(Watching { id, since, watch }));
                Response::Open
            }
            Ask::Annotations { mailbox } => self.annotations(mailbox.as_deref()),
            Ask::Annotate { mailbox, entries } => self.annotate(mailbox, entries),
            Ask::Quota { .. } => self.quota(),
            Ask::Append { .. } | Ask::Piece(_) | Ask::Insert { .. } | Ask::Commit { .. } => {
                self.append(ask)
            }
            Ask::Compress => {
                self.compressed = Compressed::take(&self.node.compressed);
                match self.compressed {
                    Some(_) => Response::Now(Answer::Accept),
                    None => Response::no(Some("LIMIT"), "too many streams are compressed"),
                }
            }
            Ask::Unauthenticate => {
                self.login = None;
                self.exchange = None;
                self.append = None;
                self.made = None;
                self.observe = None;
                Response::Now(Answer::Done)
            }
            Ask::Edit(edit) => self.edit(edit),
            Ask::Mark { .. } | Ask::Copy { .. } | Ask::Expunge { .. } => self.change(ask),
            Ask::Search {
                mailbox,
                among,
                key,
            } => self.search(mailbox, among, key, Shape::Set),
            Ask::Sort {
                mailbox,
                among,
                key,
                order,
            } => self.search(mailbox, among, key, Shape::Sorted(order)),
            Ask::Thread {
                mailbox,
                among,
                key,
                algorithm,
            } => self.search(mailbox, among, key, Shape::Threads(algorithm)),
            Ask::Body {
                mailbox,
                uid,
                part,
                range,
            } => self.body(mailbox, uid, part, range),
            Ask::Mailboxes
            | Ask::Status { .. }
            | Ask::Select { .. }
            | Ask::Changes { .. }
            | Ask::Vanished { .. }
            | Ask::Rows { .. } => self.read(ask),
        }
    }

    fn done(&mut self, done: Done) -> Answer {
        match done {
            Done::Answer(answer) => answer,
            Done::Made(answer, made) => {
                self.made = made;
                answer
            }
            Done::Sasl(exchange, Verdict::Challenge(bytes)) => {
                self.exchange = Some(exchange);
                Answer::Challenge(bytes)
            }
            Done::Sasl(_, verdict) | Done::Login(verdict) => self.authenticated(verdict),
            Done::Written(append, result) => {
                match result {
                    Ok(()) => {
                        self.append = Some(append);
                        Answer::Accept
                    }
                    // A message with a hole is no message.
                    Err(refusal) => Answer::No(refusal),
                }
            }
        }
    }

    fn stopped(_: &Ask) -> Answer {
        refusal(Some("UNAVAILABLE"), "the server is stopping")
    }

    fn secured(&mut self, facts: &TlsFacts) {
        self.exporter = Some(Box::new(facts.exporter));
        self.login = None;
        self.exchange = None;
    }

    fn cancel(&mut self, id: AskId) {
        for open in [&mut self.watch, &mut self.observe] {
            open.take_if(|watching| watching.id == id);
        }
    }

    fn abandons(event: &Event) -> Abandoned {
        match event {
            // A piece that is being written comes back to nobody: it would bring the APPEND back with it.
            Event::AppendDropped => Abandoned::Work,
            _ => Abandoned::Nothing,
        }
    }

    fn log(visit: &Visit, event: &Event) {
        if let Event::Closed(reason) = event {
            let (listener, peer) = (&visit.config.name, visit.peer);
            tracing::debug!(target: "imap", listener, %peer, ?reason, "closed");
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Unselected => {
                self.watch = None;
                self.made = None;
                if let Some(mailbox) = self.claims.take() {
                    recent::write(&self.node, (self.account(), mailbox));
                }
            }
            Event::AppendDropped => self.append = None,
            Event::Completed { .. } | Event::Authenticated(_) | Event::Closed(_) => {}
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, Answer)> {
        if let Some(watching) = &mut self.watch
            && let Poll::Ready(modseq) = watching.watch.poll_changed(cx, watching.since)
        {
            let id = watching.id;
            self.watch = None;
            let answer = if modseq == u64::MAX {
                Answer::Gone
            } else {
                Answer::Modseq(modseq)
            };
            return Poll::Ready((id, answer));
        }
        if let Some(watching) = &mut self.observe
            && let Poll::Ready(number) = watching.watch.poll_changed(cx, watching.since)
        {
            let id = watching.id;
            self.observe = None;
            return Poll::Ready((id, Answer::Modseq(number)));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_mailbox::ReadError;

    #[test]
    fn what_fails_within_is_not_shown_to_clients() {
        let read = Stop::Read(ReadError("row 7 of /var/lib/x is damaged".into()));
        for (error, code) in [
            (StoreError::Refused(read), "SERVERBUG"),
            (StoreError::Panicked, "SERVERBUG"),
            (StoreError::Dead, "UNAVAILABLE"),
        ] {
            let refusal = refused(&error, "NONEXISTENT");
            assert_eq!(refusal.code, Some(code));
            assert!(!refusal.text.contains(&error.to_string()), "{refusal:?}");
        }
        let told = refused(&StoreError::Refused(Stop::NoSuchMailbox), "NONEXISTENT");
        assert_eq!(told.text, Stop::NoSuchMailbox.to_string());
    }
}
