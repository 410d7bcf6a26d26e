//! The IMAP server machine. One file holds one family of commands.

mod append;
mod ask;
mod auth;
mod capability;
mod context;
mod copy;
mod fetch;
mod idle;
mod job;
mod limits;
mod literal;
mod mailbox;
mod message_limit;
mod metadata;
mod multisearch;
mod notify;
mod output;
mod progress;
mod quota;
mod recorded;
mod report;
mod search;
mod select;
mod session;
mod store;
mod switched_off;
mod thread;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use mox_machine::{AskId, AskIds, Mono, Now, Seed, Step};
use mox_uids::UidSet;

pub use ask::{
    Answer, Ask, BodyPart, BodyWhat, BoxId, Changes, CloseReason, Event, Flag, MailboxEdit,
    MailboxInfo, MarkHow, More, Preview, Refusal, Row, Selected, SortField, SortKey, StatusFigures,
    SystemFlags, ThreadNode, Threading, Want,
};
pub use capability::{CAPABILITIES, is_capability};
pub use limits::{Config, Limits};

use self::capability::Modes;
use self::job::{Job, Next, Reply, Running};
use self::notify::Notify;
use self::output::Output;
use self::report::{Report, Selection};
use crate::wire::{Allowed, Command, Framer, Head, Known, Malformed, Numbers, Verb};

/// Octets of output not taken yet above which no further command is begun.
const OUTPUT_HIGH: usize = 64 * 1024;

/// One IMAP session, server side. See the crate's first page for how it is run.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    /// When it is, as far as the session knows.
    now: Option<Now>,
    /// When the client last did something that keeps it alive.
    active: Mono,
    ids: AskIds,
    out: Output,
    framer: Framer,
    phase: Phase,
    tls: bool,
    /// The TLS layer knows who the client is.
    certified: bool,
    greeted: bool,
    authenticated: bool,
    /// A command was understood.
    spoke: bool,
    modes: Modes,
    /// Capabilities that are off for the user.
    without: Vec<String>,
    /// What comes and goes is compressed.
    compressed: bool,
    /// The client will send nothing more.
    eof: bool,
    draining: bool,
    bad_commands: u16,
    auth_failures: u16,
    running: Option<Box<Running>>,
    selected: Option<Box<Selection>>,
    report: Option<Box<Report>>,
    notify: Option<Box<Notify>>,
    /// NOTIFY was used: nothing is told of the selected mailbox but what it asks for (RFC 5465 3.1).
    notified: bool,
    /// Why NOTIFY ended, until the client can be told.
    overflowed: Option<&'static str>,
    /// An IDLE that waits for what is told of new messages.
    parked: Option<Box<Running>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// STARTTLS was accepted.
    Upgrading,
    Closed,
}

impl Server {
    /// A session that has just been accepted. The greeting is its first output; on a port with implicit TLS call
    /// [`Session::secured`](mox_machine::Session::secured) before anything else.
    pub fn new(config: impl Into<Arc<Config>>, _seed: Seed) -> Self {
        Self {
            config: config.into(),
            now: None,
            active: Mono::default(),
            ids: AskIds::default(),
            out: Output::default(),
            framer: Framer::default(),
            phase: Phase::Open,
            tls: false,
            certified: false,
            greeted: false,
            authenticated: false,
            spoke: false,
            modes: Modes::default(),
            without: Vec::new(),
            compressed: false,
            eof: false,
            draining: false,
            bad_commands: 0,
            auth_failures: 0,
            running: None,
            selected: None,
            report: None,
            notify: None,
            notified: false,
            overflowed: None,
            parked: None,
        }
    }

    fn ask(&mut self, ask: Ask) -> AskId {
        let id = self.ids.next_id();
        self.out.push(Step::Ask(id, ask));
        id
    }

    fn clock(&mut self, now: Now) {
        if self.now.is_none() {
            self.active = now.mono;
        }
        self.now = Some(now);
    }

    /// The client did something: its time begins again. Before login it has one span for everything.
    fn is_active(&mut self) {
        if let (true, Some(now)) = (self.authenticated, self.now) {
            self.active = now.mono;
        }
    }

    fn greet(&mut self) {
        if !self.greeted {
            self.greeted = true;
            let capabilities = self.capabilities();
            let out = self.out.text();
            crate::wire::put!(
                out,
                "* OK [CAPABILITY {capabilities}] {} ready\r\n",
                self.config.product
            );
        }
    }

    /// Writes a tagged response and counts what is wrong with the client.
    fn reply(&mut self, tag: &[u8], verb: Option<Verb>, reply: &Reply) {
        reply.write(self.out.text(), tag, verb);
        if let Some(verb) = verb {
            let command = verb.name();
            self.out.push(Step::Event(Event::Completed {
                command,
                status: reply.status,
            }));
        }
        self.spoke |= verb.is_some();
        if reply.status == "BAD" {
            self.bad_commands = self.bad_commands.saturating_add(1);
            if self.bad_commands >= self.config.limits.bad_commands {
                self.close(CloseReason::TooManyErrors, Some("too many bad commands"));
            }
        }
    }

    /// Nothing is being run any more.
    fn rest(&mut self) {
        if self.draining {
            return self.close(CloseReason::Drained, Some("the server is stopping"));
        }
        self.tell_selected();
    }

    fn close(&mut self, reason: CloseReason, bye: Option<&str>) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        if let Some(running) = self.running.take() {
            self.drop_append(&running.job);
        }
        if let Some(text) = bye {
            self.out.line(alloc::format!("* BYE {text}").as_bytes());
        }
        self.unselect();
        self.end_notify();
        self.parked = None;
        self.out.push(Step::Event(Event::Closed(reason)));
        self.out.push(Step::Close);
    }

    /// In the middle of a response nothing else can be said.
    fn in_response(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|r| match &r.job {
            Job::Fetch(fetch) => fetch.in_literal(),
            Job::Found(found) => found.in_line(),
            _ => false,
        })
    }

    fn closing(&mut self, reason: CloseReason, bye: &str) {
        let bye = (!self.in_response()).then_some(bye);
        self.close(reason, bye);
    }

    /// Why a command may not be obeyed now.
    fn refusal(&self, verb: Verb) -> Option<Malformed> {
        let wrong = match verb.allowed() {
            Allowed::Any => false,
            Allowed::NotAuthenticated => self.authenticated,
            Allowed::Authenticated => !self.authenticated,
            Allowed::Selected => self.selected.is_none(),
        };
        wrong.then_some(Malformed::Syntax(
            "this command is not allowed in this state",
        ))
    }

    /// What the arguments of the next command may refer to.
    fn known(&self) -> Known<'_> {
        let (utf8, charset) = (self.modes.is_utf8(), !self.modes.utf8);
        let limited = self.message_limit().is_some();
        match &self.selected {
            Some(selection) => Known {
                uids: &selection.uids,
                saved: &selection.saved,
                recent: &selection.recent,
                numbers: match self.modes.uid_only {
                    true => Numbers::UidsOnly,
                    false => Numbers::Messages,
                },
                utf8,
                charset,
                limited,
            },
            None => Known {
                utf8,
                charset,
                limited,
                ..Known::NOTHING
            },
        }
    }

    /// RFC 9586 3: message numbers are no more. Commands with them are refused.
    const fn needs_uids(&self, verb: Verb) -> bool {
        self.modes.uid_only && verb.has_numbers()
    }

    /// A command whose framing is done.
    fn command(&mut self, line: &Bytes, more_input: bool) {
        self.is_active();
        let head = Head::parse(line);
        let Some(tag) = head.tag else {
            return self.invalid(b"*", "a tag was expected");
        };
        let Some(verb) = head.verb.filter(|verb| self.knows(*verb)) else {
            return self.invalid(tag, "there is no such command");
        };
        if self.needs_uids(verb) {
            let reply = Reply::bad_with("UIDREQUIRED", "there are no message numbers any more");
            return self.reply(tag, Some(verb), &reply);
        }
        if verb.brings_message() && self.refusal(verb).is_none() {
            return self.append_whole(verb, line);
        }
        let parsed = match self.refusal(verb) {
            Some(why) => Err(why),
            None => Command::parse(verb, head.args, &self.known(), &self.config.limits.parse),
        };
        let command = match parsed {
            Ok(command) => match self.switched_off(&command) {
                None => command,
                Some(why) => return self.reply(tag, Some(verb), &why.into()),
            },
            Err(why) => return self.reply(tag, Some(verb), &why.into()),
        };
        // The tag is copied: a slice of the line would keep the driver's buffer alive through an IDLE.
        let running = Running {
            tag: tag.to_vec(),
            verb,
            forbids_expunge: verb.forbids_expunge() || command.searches_numbers(),
            ask: None,
            job: Job::Finish(Reply::ok()),
            since: self.now.unwrap_or_default().mono,
        };
        let next = self.start(&running, command, more_input);
        if self.phase == Phase::Open {
            self.proceed(Box::new(running), next);
        }
    }

    /// What is no command. Whoever begins with one does not speak IMAP.
    fn invalid(&mut self, tag: &[u8], text: &'static str) {
        let first = !self.spoke && !self.authenticated;
        self.reply(tag, None, &Reply::bad(text));
        if first {
            self.close(CloseReason::TooManyErrors, Some("this is an IMAP server"));
        }
    }

    fn start(&mut self, running: &Running, command: Command, more_input: bool) -> Next {
        let uid = running.verb.is_uid();
        if self.selected.as_ref().is_some_and(|s| s.vanished)
            && running.verb.allowed() == Allowed::Selected
            && !matches!(command, Command::Close | Command::Unselect)
        {
            return Next::no("NONEXISTENT", "the selected mailbox was deleted");
        }
        match command {
            Command::Capability => {
                let line = alloc::format!("* CAPABILITY {}", self.capabilities());
                self.out.line(line.as_bytes());
                Next::ok()
            }
            Command::Noop | Command::Check => Next::ok(),
            Command::Logout => {
                self.out.line(b"* BYE logging out");
                self.reply(&running.tag, Some(running.verb), &Reply::ok());
                self.close(CloseReason::Logout, None);
                Next::ok()
            }
            Command::Id(_) => self.id(),
            Command::StartTls => self.start_tls(running, more_input),
            Command::Authenticate { mechanism, initial } => self.authenticate(mechanism, initial),
            Command::Login { user, password } => self.login(user, password),
            Command::Enable(names) => self.enable(&names),
            Command::Select {
                mailbox,
                read_only,
                params,
            } => self.select(&mailbox, read_only, params),
            Command::Unauthenticate => self.unauthenticate(),
            Command::Notify(set) => self.notify(set),
            Command::Compress(algorithm) => self.compress(&algorithm, more_input),
            Command::Create {
                mailbox,
                special_use,
            } => self.create(&mailbox, &special_use),
            Command::Delete(mailbox) => self.delete(&mailbox),
            Command::Rename { from, to } => self.rename(&from, &to),
            Command::Subscribe { mailbox, on } => self.subscribe(&mailbox, on),
            Command::List(args) => self.list(args, false),
            Command::Lsub(args) => self.list(args, true),
            Command::Namespace => {
                self.out.line(b"* NAMESPACE ((\"\" \"/\")) NIL NIL");
                Next::ok()
            }
            Command::Status { mailbox, items } => self.status(&mailbox, items),
            Command::Idle => self.idle(),
            Command::Close => self.close_mailbox(),
            Command::Unselect => {
                self.unselect();
                Next::ok()
            }
            Command::Expunge(only) => self.expunge(only.as_ref()),
            Command::Search(args) => self.search(args, &running.tag),
            Command::MultiSearch(args) => self.multi_search(args, &running.tag),
            Command::Thread(args) => self.thread(args),
            Command::GetMetadata(args) => self.get_metadata(args),
            Command::SetMetadata(args) => self.set_metadata(args),
            Command::GetQuota(root) => self.get_quota(&root),
            Command::GetQuotaRoot(mailbox) => self.get_quota_root(&mailbox),
            // RFC 9208 3.1.2: without QUOTASET nobody may.
            Command::SetQuota => Next::no("NOPERM", "quotas are set by the administrator"),
            Command::CancelUpdate(tags) => self.cancel_update(&tags),
            Command::Fetch(args) => self.fetch(args, uid),
            Command::Store(args) => self.store(args, uid),
            Command::Copy {
                set,
                mailbox,
                remove,
            } => self.copy(&set, &mailbox, remove, uid),
        }
    }

    /// The answer a command waited for.
    fn step(&mut self, mut running: Box<Running>, answer: Answer) {
        running.ask = None;
        let job = core::mem::replace(&mut running.job, Job::Login);
        let next = match job {
            Job::Sasl(mechanism) => self.sasl_answer(Some(mechanism), answer),
            Job::Login => self.sasl_answer(None, answer),
            Job::Edit => mailbox::edited(answer),
            Job::Create => Self::created(answer),
            Job::Compress => self.compressed(&running, answer),
            Job::Unauthenticate => self.unauthenticated(answer),
            Job::Listing(listing) => self.listing_answer(listing, answer),
            Job::Status { name, items } => self.status_answer(&name, &items, answer),
            Job::Select {
                name,
                read_only,
                qresync,
            } => self.selected(name, read_only, qresync, answer),
            Job::Resync(resync) => self.resync_answer(resync, answer),
            Job::Close => {
                // RFC 7162 3.2.8: without HIGHESTMODSEQ, since the client was not told what went.
                self.unselect();
                Next::ok()
            }
            Job::Expunge(limited) => self.expunged(answer, limited),
            Job::ExpungeWhich => self.expunge_these(answer),
            Job::Copy {
                remove,
                own,
                limited,
            } => self.copied(answer, remove, own, limited),
            Job::Search(search) => self.found(*search, answer, &running),
            Job::MultiSearch(multi) => self.multi_search_answer(multi, answer, &running),
            Job::Metadata(asked) => self.metadata(&asked, answer),
            Job::Quota(mailbox) => self.quota(mailbox.as_ref(), answer),
            Job::Thread => self.threaded(answer, running.verb.is_uid()),
            Job::FoundModseq(found) => Self::found_modseq(found, answer),
            Job::FetchVanished(fetch, named) => self.fetch_vanished(fetch, &named, answer),
            Job::Fetch(fetch) => self.fetch_answer(fetch, answer),
            Job::Store(store) => self.stored(*store, answer),
            Job::Append(append) => self.append_answer(append, answer, running.verb.is_uid()),
            job @ (Job::Found(_) | Job::Idle(_) | Job::Notify | Job::Finish(_)) => Next::Go(job),
        };
        if self.phase != Phase::Closed {
            self.proceed(running, next);
        }
        if self.auth_failures >= self.config.limits.auth_failures && !self.authenticated {
            self.close(CloseReason::TooManyErrors, Some("too many failed logins"));
        }
    }

    /// Goes on with what waits for room in the output. True when something came of it.
    fn pump(&mut self) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        if self.report.is_some() {
            return self.pump_report();
        }
        let Some(mut running) = self
            .running
            .take_if(|r| r.ask.is_none() && r.job.is_pumped())
        else {
            return self.pump_notify();
        };
        let job = core::mem::replace(&mut running.job, Job::Login);
        let next = match job {
            Job::Fetch(fetch) => self.fetch_more(fetch),
            Job::Listing(listing) => self.list_more(listing),
            Job::Found(found) => self.found_more(found, &running.tag),
            job => Next::Go(job),
        };
        self.proceed(running, next);
        true
    }
}

impl Job {
    const fn is_pumped(&self) -> bool {
        matches!(self, Self::Fetch(_) | Self::Listing(_) | Self::Found(_))
    }
}

/// Sequence numbers, or the BAD that RFC 3501 demands for those that do not exist.
fn numbered(set: &crate::wire::SequenceSet, known: &UidSet, uid: bool) -> Result<UidSet, Next> {
    if uid {
        return Ok(set.uids(known));
    }
    set.numbers(known)
        .map_err(|crate::wire::OutOfRange| Next::bad("there is no message with that number"))
}

impl Server {
    /// The canonical name, or the NO that says what is wrong with it.
    fn canonical(&self, raw: &[u8]) -> Result<String, Next> {
        let decoded = crate::wire::decode_name(raw, self.modes.is_utf8());
        decoded.map_err(|error| Next::no("CANNOT", error.text()))
    }

    /// A name as an astring of a response.
    fn on_wire(&self, name: &str) -> Vec<u8> {
        on_wire(name, self.modes)
    }
}

fn on_wire(name: &str, modes: Modes) -> Vec<u8> {
    let mut out = Vec::new();
    if modes.is_utf8() {
        crate::wire::write_utf8_astring(&mut out, name);
    } else {
        crate::wire::write_astring(&mut out, &crate::wire::encode_name(name));
    }
    out
}
