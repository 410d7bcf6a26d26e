//! The world of one SMTP session: who may send, to whom, and where the message goes.

mod commit;
mod content;
mod departing;
mod first_time;
mod groups;
mod hand_in;
mod judge;
mod limit_notice;
mod lists;
mod notified;
mod receipt;
mod recipients;
mod record;
mod rejects;
mod replies;
mod reports;
mod sender;
mod sending;
mod summary;
mod trace;
mod transaction;
mod unfit;

use bytes::Bytes;
use mox_address::{Host as AddressHost, Path, Reply};
use mox_driver::Runtime;
use mox_machine::{AskId, Secret, TlsFacts, mutant};
use mox_mailbox::{AccountId, Room};
use mox_server::decision::{Connection, Recipient, Stage, Standing};
use mox_server::reports::ReportKind;
use mox_server::{Found, Member};
use mox_smtp::server::{Answer, Ask, Event, MailParams, Server};
use mox_smtp::wire::RcptDsn;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::{Exchange, Login, Verdict};
use crate::config::{ListenerConfig, Outgoing, Service};
use crate::in_order::{self, Abandoned, Visit, World};
use crate::limiters::{Caller, SlowPlace};
use crate::node::Inner;
pub(crate) use commit::mailboxes_at_once;
pub use hand_in::{HandIn, NotTaken};
use record::Beginning;
use transaction::{Outcome, Target, Transaction};
use unfit::Begun;

/// Failed logins of a session from which on it is answered slowly.
const SLOW_AFTER_FAILED: u32 = 3;
/// Mailboxes here that one message goes to at most, whatever aliases lead to them.
const MAILBOXES_MAX: usize = 1_000;

/// Answers one SMTP session. Nearly all asks are answered from memory in the same poll.
pub(crate) struct SmtpHost<R: Runtime> {
    node: Arc<Inner<R>>,
    config: Arc<ListenerConfig>,
    peer: SocketAddr,
    tls: Option<TlsFacts>,
    hello: Option<(Bytes, bool)>,
    login: Option<Login>,
    exchange: Option<Box<Exchange>>,
    transaction: Option<Box<Transaction>>,
    /// What is known of it while its message may turn out to be one that nobody judges.
    begun: Option<Box<Begun>>,
    /// Logins that failed since the last one that did not.
    failed_logins: u32,
    /// It is answered slowly.
    slow: Option<SlowPlace>,
}

/// What all SMTP sessions of a listener share.
pub(crate) fn machine(config: &ListenerConfig) -> mox_smtp::server::Config {
    use mox_smtp::server::{Config, Mode};
    let mut machine = Config::new(config.hostname.clone());
    machine.starttls = config.tls.is_some() && !config.service.is_implicit_tls();
    machine.max_size = config.max_size;
    machine.asks_about_size = true;
    if config.service != Service::Smtp {
        machine.mode = Mode::Submission;
        let mechanisms = config.offers.mechanisms.iter();
        machine.mechanisms = mechanisms.map(|m| m.name()).collect();
        machine.auth_required = true;
        machine.auth_in_clear = config.clear_auth;
        machine.tls_required = !config.clear_auth;
    }
    machine
}

/// What a piece of work comes back with.
pub(crate) enum Done {
    Sasl(Box<Exchange>, Verdict),
    /// The transaction with its spool, and how the write went.
    Written(Box<Transaction>, Result<(), Reply>),
    Committed(Outcome),
    Refused(Reply),
    /// The sender could be answered.
    Answerable(Path, MailParams),
}

type Response = in_order::Response<Answer, Done>;

impl Response {
    fn reply(code: u16, subject: u16, detail: u16, text: &'static str) -> Self {
        Self::Now(Answer::Reply(Reply::new(code, subject, detail, text)))
    }

    fn of(result: Result<(), Reply>) -> Self {
        Self::Now(said(result))
    }
}

fn begun(result: Result<Answer, Reply>) -> Answer {
    result.unwrap_or_else(Answer::Reply)
}

fn said(result: Result<(), Reply>) -> Answer {
    match result {
        Ok(()) => Answer::Accept,
        Err(reply) => Answer::Reply(reply),
    }
}

impl<R: Runtime> SmtpHost<R> {
    fn is_submission(&self) -> bool {
        self.config.service != Service::Smtp
    }

    fn caller(&self) -> Caller {
        Caller {
            peer: self.peer.ip(),
            service: self.config.service,
        }
    }

    fn sasl(&mut self, mechanism: &[u8], response: Option<Secret<Bytes>>, first: bool) -> Response {
        if first || self.exchange.is_none() {
            let exporter = self.tls.as_ref().map(|t| t.exporter);
            let offered = &self.config.offers.mechanisms;
            self.exchange = self.node.authority.exchange(offered, mechanism, exporter);
        }
        let Some(exchange) = self.exchange.take() else {
            return Response::reply(504, 5, 4, "this mechanism is not offered");
        };
        let step = crate::auth::step(self.node.clone(), self.caller(), exchange, response);
        Response::later(async move {
            let (exchange, verdict) = step.await;
            Done::Sasl(exchange, verdict)
        })
    }

    fn sender(&mut self, from: Option<Path>, params: MailParams) -> Result<Answer, Reply> {
        match self.lacks_room(&params) {
            Some(Standing::TooBig) => return Err(Reply::new(552, 3, 4, "Message too big")),
            Some(_) => {
                return Err(Reply::new(
                    452,
                    3,
                    1,
                    "not enough disk space, try again later",
                ));
            }
            None => {}
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
        let is_judged = !self.is_submission() && self.node.judges();
        self.begun = is_judged.then(|| {
            Box::new(Begun {
                id: id.clone(),
                from: from.clone(),
                to: Vec::new(),
            })
        });
        let answer = match is_judged {
            true => Answer::Begun { id: id.clone() },
            false => Answer::Accept,
        };
        let mut fresh = Transaction::new(id, from, params, !self.is_submission());
        if mutant!(ResetKeepsRecipients)
            && let Some(reset) = self.transaction.take()
        {
            (fresh.local, fresh.remote) = (reset.local, reset.remote);
        }
        self.transaction = Some(Box::new(fresh));
        Ok(answer)
    }

    /// What is known before there is a message.
    fn beginning(&self) -> Beginning {
        let hello = self.hello.as_ref().map(|(name, _)| &name[..]);
        Beginning {
            id: self.node.transaction_id(),
            connection: Connection {
                ip: self.peer.ip().to_canonical(),
                hello: record::shown(hello.unwrap_or_default()),
                tls: self.tls.is_some(),
                slow: self.slow.is_some(),
            },
            now: self.node.runtime.now().utc,
        }
    }

    /// A sender elsewhere must be one that could be answered.
    fn ask_for_sender(&mut self, from: Option<Path>, params: MailParams) -> Response {
        let from = match from {
            Some(from) if !self.is_submission() && self.node.judges() => from,
            from => {
                if let Some(response) = self.without_room(from.as_ref(), &params) {
                    return response;
                }
                return Response::Now(begun(self.sender(from, params)));
            }
        };
        if let Some(response) = self.wait_for_room() {
            return response;
        }
        if let Some(response) = self.without_room(Some(&from), &params) {
            return response;
        }
        let (node, beginning, peer) = (self.node.clone(), self.beginning(), self.peer.ip());
        Response::later(async move {
            match sender::check(&node, beginning, &from).await {
                Ok(()) => Done::Answerable(from, params),
                Err(reply) => {
                    let now = node.runtime.now();
                    node.limiters.count_early_refusal(peer, now);
                    Done::Refused(reply)
                }
            }
        })
    }

    /// The door for who had too much refused lately.
    fn wait_for_room(&self) -> Option<Response> {
        let now = self.node.runtime.now();
        let limiters = &self.node.limiters;
        let full = limiters.may_try(self.peer.ip(), self.config.service, now);
        full.err()
            .map(|full| Response::reply(421, 7, 0, full.limiter.text()))
    }

    /// Whether TLS is demanded for this recipient, and there is none. Who cannot do TLS may report so (RFC 8460 3).
    fn lacks_tls(&self, to: &Path) -> bool {
        self.config.require_starttls
            && self.config.tls.is_some()
            && self.tls.is_none()
            && !(self.node.directory().reports_at(to)).contains(&ReportKind::Tls)
    }

    /// Refuses a recipient of mail from elsewhere, with a record; `None` when it may be taken.
    fn refuse_recipient(&self, to: &Path) -> Option<Response> {
        if self.is_submission() {
            return None;
        }
        if let Some(response) = self.wait_for_room() {
            return Some(response);
        }
        let lacks_tls = self.lacks_tls(to);
        let begun = self.transaction.as_deref();
        let room = |accounts: &mut dyn Iterator<Item = AccountId>| match Self::room(
            &self.node, begun, accounts,
        ) {
            Room::Enough => None,
            Room::None => Some(Standing::MailboxFull),
            Room::Never => Some(Standing::TooBig),
        };
        let mut whose = None;
        let standing = match self.node.directory().find(to) {
            _ if lacks_tls => Standing::LacksTls,
            Found::UnknownLocalPart => Standing::UnknownLocalPart,
            Found::NotOurs => Standing::NotOurs,
            Found::Account { account, .. } => {
                let id = self.node.account_id(&account);
                whose = Some(account);
                match id {
                    Some(id) => room(&mut core::iter::once(id))?,
                    None => Standing::Unreachable,
                }
            }
            Found::Alias { members, .. } => match self.accounts_of(members) {
                Some(all) => room(&mut all.iter().map(|(id, _)| *id))?,
                None => Standing::Unreachable,
            },
        };
        let (peer, now) = (self.peer.ip(), self.node.runtime.now());
        let limiters = &self.node.limiters;
        match standing {
            Standing::UnknownLocalPart | Standing::NotOurs => {
                limiters.count_unknown_recipient(peer, now);
            }
            // What the other side can do nothing about.
            Standing::MailboxFull | Standing::TooBig => {
                if !limiters.records_full_mailbox(peer, self.config.service, now) {
                    let reply = match standing {
                        Standing::TooBig => replies::too_big(),
                        _ => replies::mailbox_full(),
                    };
                    return Some(Response::Now(Answer::Reply(reply)));
                }
            }
            // Where TLS is demanded nobody was told whether there is such an address.
            _ => limiters.count_early_refusal(peer, now),
        }
        if !self.node.judges() {
            return match standing {
                Standing::LacksTls => Some(Response::reply(530, 7, 0, "STARTTLS comes first")),
                Standing::MailboxFull => {
                    Some(Response::Now(Answer::Reply(replies::mailbox_full())))
                }
                Standing::TooBig => Some(Response::Now(Answer::Reply(replies::too_big()))),
                _ => None,
            };
        }
        let beginning = self.beginning();
        let from = self.transaction.as_ref();
        let from = from.and_then(|transaction| transaction.sender());
        let facts = beginning.facts(Stage::Recipient, from);
        let recipient = Recipient {
            account: whose,
            ..Recipient::new(to.to_string(), standing)
        };
        let (record, reply) = beginning.decide(facts, recipient, String::new())?;
        let node = self.node.clone();
        Some(Response::later(async move {
            record::keep(&node, &record).await;
            Done::Refused(reply)
        }))
    }

    /// What room there is for a message as large as its sender says, and for any at all, where there is most of these accounts. What an alias
    /// brings goes to all of its members then. Who gets it already, by another recipient, has room.
    fn room(
        node: &Inner<R>,
        transaction: Option<&Transaction>,
        accounts: impl IntoIterator<Item = AccountId>,
    ) -> Room {
        let size = transaction.and_then(|transaction| transaction.params.size);
        let published = node.store.published();
        let mut most = Room::Never;
        for account in accounts {
            let mut local = transaction
                .iter()
                .flat_map(|transaction| &transaction.local);
            let room = match local.any(|local| local.account == account) {
                true => Ok(Room::Enough),
                false => mox_mailbox::room_for(&*published.view, account, size.unwrap_or(0)),
            };
            match room {
                Ok(Room::Enough) => return Room::Enough,
                Ok(Room::None) => most = Room::None,
                Ok(Room::Never) => {}
                Err(error) => {
                    tracing::error!(target: "store", account = account.0, %error, "a quota cannot be read");
                    return Room::Enough;
                }
            }
        }
        most
    }

    /// The accounts of an alias; `None` when one cannot be reached now, since all of them get the message.
    fn accounts_of(&self, members: Vec<Member>) -> Option<Vec<(AccountId, Member)>> {
        let id = |member: Member| Some((self.node.account_id(&member.account)?, member));
        members.into_iter().map(id).collect()
    }

    /// transport.md 1.11: our own addresses are taken; others only from our own users.
    fn recipient(&mut self, to: Path, dsn: RcptDsn) -> Result<(), Reply> {
        let found = self.node.directory().find(&to);
        let submission = self.is_submission();
        let members = match &found {
            Found::Alias { members, .. } => self.accounts_of(members.clone()),
            _ => None,
        };
        let transaction = self
            .transaction
            .as_mut()
            .ok_or_else(|| Reply::new(503, 5, 1, "MAIL comes first"))?;
        let given = to.to_string();
        // transport.md 1.11: a notification is about one message of one sender.
        if !submission
            && transaction.from.is_none()
            && transaction.has_recipients()
            && !transaction.names(&to)
        {
            return Err(Reply::new(
                452,
                5,
                3,
                "a message without a sender is for one recipient at a time",
            ));
        }
        let target = match found {
            Found::Account {
                account: name,
                mailbox,
                ..
            } => {
                let account = self
                    .node
                    .account_id(&name)
                    .ok_or_else(|| Reply::new(451, 3, 0, "this account cannot be reached now"))?;
                Target::Local {
                    account,
                    name,
                    mailbox: mailbox.unwrap_or_else(|| "INBOX".into()),
                }
            }
            Found::Alias { .. } => {
                let members = members
                    .ok_or_else(|| Reply::new(451, 3, 0, "this account cannot be reached now"))?;
                Target::Members(members)
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
                Outgoing::Sink(name) => {
                    let account = self.node.account_id(name).ok_or_else(|| {
                        Reply::new(451, 3, 0, "this account cannot be reached now")
                    })?;
                    Target::Local {
                        account,
                        name: name.clone(),
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
        if transaction.mailboxes_with(&target) > MAILBOXES_MAX {
            return Err(replies::too_many());
        }
        let node = &self.node;
        let room = match &target {
            _ if !submission => Room::Enough,
            Target::Local { account, .. } => Self::room(node, Some(transaction), [*account]),
            Target::Members(members) => {
                let members = members.iter().map(|(id, _)| *id);
                Self::room(node, Some(transaction), members)
            }
            Target::Remote => Room::Enough,
        };
        match room {
            Room::Enough => {}
            Room::None => return Err(replies::mailbox_full()),
            Room::Never => return Err(replies::too_big()),
        }
        if let (Target::Remote, Some(login)) = (&target, &self.login) {
            // Whoever is named twice is one recipient.
            if !transaction.remote.contains(&to) {
                let so_far = transaction.new_remote;
                transaction.new_remote =
                    sending::check(&self.node, (login, self.peer.ip()), so_far, &to)?;
            }
        }
        match (&mut self.begun, &target) {
            (Some(begun), Target::Local { name, .. }) => begun.lead(&given, name, None),
            (Some(begun), Target::Members(members)) => {
                for (_, member) in members {
                    begun.lead(&given, &member.account, Some(member.address.to_string()));
                }
            }
            _ => {}
        }
        transaction.add(to, dsn, target);
        Ok(())
    }

    fn body(&mut self, piece: Bytes) -> Response {
        let Some(mut transaction) = self.transaction.take() else {
            return Response::reply(503, 5, 1, "MAIL comes first");
        };
        match transaction.push(&self.node, piece) {
            // A message with a hole is no message: the transaction is over, and what it held is given back.
            Err(reply) => self.refused_within(reply),
            Ok(false) => {
                self.transaction = Some(transaction);
                Response::Now(Answer::Accept)
            }
            Ok(true) => {
                let write = transaction.write(&self.node);
                Response::later(async move {
                    let (transaction, result) = write.await;
                    Done::Written(transaction, result)
                })
            }
        }
    }

    /// A refusal after which the session is answered slowly, if there is a place for one more of these.
    fn slowly(&mut self, reply: Reply) -> Answer {
        if self.slow.is_none() {
            self.slow = self.node.limiters.slow_place(self.peer.ip());
            if let Some(place) = &self.slow {
                tracing::info!(
                    target: "smtp",
                    listener = self.config.name,
                    peer = %self.peer,
                    %reply,
                    slow = place.count(),
                    "replies are slow from here on"
                );
            }
        }
        match self.slow {
            Some(_) => Answer::SlowReply(reply),
            None => Answer::Reply(reply),
        }
    }

    fn commit(&mut self) -> Response {
        let Some(transaction) = self.transaction.take() else {
            return Response::reply(503, 5, 1, "MAIL comes first");
        };
        self.begun = None;
        let (peer, service) = (self.peer.ip(), self.config.service);
        if !self.is_submission()
            && let Err(full) = self
                .node
                .limiters
                .message(peer, service, self.node.runtime.now())
        {
            let reply = Reply::new(452, 2, 2, full.limiter.text());
            return Response::Now(self.slowly(reply));
        }
        let arrival = transaction::Arrival {
            service: self.config.service,
            peer: self.peer,
            tls: self.tls.clone(),
            hello: self.hello.clone(),
            lists: self.config.lists.clone(),
            login: self.login.clone(),
            slow: self.slow.is_some(),
            file: None,
        };
        let commit = transaction.commit(self.node.clone(), arrival);
        Response::later(async move { Done::Committed(commit.await) })
    }
}

impl<R: Runtime> World for SmtpHost<R> {
    type Runtime = R;
    type Session = Server;
    type Done = Done;

    fn new(node: Arc<Inner<R>>, visit: Visit) -> Self {
        Self {
            node,
            config: visit.config,
            peer: visit.peer,
            tls: None,
            hello: None,
            login: None,
            exchange: None,
            transaction: None,
            begun: None,
            failed_logins: 0,
            slow: None,
        }
    }

    fn respond(&mut self, _id: AskId, ask: Ask) -> Response {
        match ask {
            Ask::Hello { name, extended } => {
                self.hello = Some((name, extended));
                Response::Now(Answer::Accept)
            }
            Ask::Sasl {
                mechanism,
                response,
                first,
            } => self.sasl(&mechanism, response, first),
            Ask::Sender { from, params } => self.ask_for_sender(from, params),
            Ask::Recipient { to, params } => match self.refuse_recipient(&to) {
                Some(response) => response,
                None => Response::of(self.recipient(to, params)),
            },
            Ask::Body(piece) => self.body(piece),
            Ask::Commit { .. } => self.commit(),
        }
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
                    (self.failed_logins, self.slow) = (0, None);
                    Answer::Authenticated(name)
                }
                Verdict::Refused(why) => {
                    tracing::info!(target: "auth", listener = self.config.name, peer = %self.peer, ?why, "authentication failed");
                    self.failed_logins += 1;
                    let reply = why.smtp_reply();
                    match self.failed_logins >= SLOW_AFTER_FAILED {
                        true => self.slowly(reply),
                        false => Answer::Reply(reply),
                    }
                }
            },
            Done::Written(transaction, Ok(())) => {
                self.transaction = Some(transaction);
                Answer::Accept
            }
            Done::Written(_, Err(reply)) => self.not_written(reply),
            Done::Committed(Outcome::Stored { id }) => {
                self.slow = None;
                Answer::Stored { id }
            }
            Done::Committed(Outcome::Refused(reply)) => Answer::Reply(reply),
            Done::Committed(Outcome::Unwanted(reply)) => self.slowly(reply),
            Done::Refused(reply) => Answer::Reply(reply),
            Done::Answerable(from, params) => match self.without_room_now(&from, &params) {
                Some(answer) => answer,
                None => begun(self.sender(Some(from), params)),
            },
        }
    }

    fn stopped(_: &Ask) -> Answer {
        Answer::Reply(Reply::new(451, 3, 2, "the server is stopping"))
    }

    /// RFC 3207 4.2: what was said in clear is forgotten.
    fn secured(&mut self, facts: &TlsFacts) {
        self.tls = Some(facts.clone());
        self.hello = None;
        self.login = None;
        self.exchange = None;
        self.transaction = None;
        self.begun = None;
    }

    fn abandons(event: &Event) -> Abandoned {
        match event {
            // A piece that is being written comes back to nobody; the machine ignores its answer.
            Event::Reset => Abandoned::All,
            _ => Abandoned::Nothing,
        }
    }

    fn log(visit: &Visit, event: &Event) {
        let (listener, peer) = (&visit.config.name, visit.peer);
        match event {
            Event::Reset | Event::Unfit { .. } => {}
            Event::Refused { verb, reply } => {
                tracing::debug!(target: "smtp", listener, %peer, ?verb, %reply, "refused");
            }
            Event::Protocol(violation) => {
                tracing::info!(target: "smtp", listener, %peer, ?violation, "protocol violation");
            }
            Event::Closed(reason) => {
                tracing::debug!(target: "smtp", listener, %peer, ?reason, "closed");
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Unfit { why, reply } => self.unfit(*why, reply),
            Event::Reset => {
                self.begun = None;
                if !mutant!(ResetKeepsRecipients) {
                    self.transaction = None;
                }
            }
            _ => {}
        }
    }
}
