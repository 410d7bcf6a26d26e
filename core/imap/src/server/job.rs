//! The command that is being run, and how it ends.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use mox_machine::{AskId, Mono, mutant};
use mox_uids::UidSet;

use super::append::Append;
use super::fetch::Fetch;
use super::mailbox::Listing;
use super::message_limit::Limited;
use super::multisearch::MultiSearch;
use super::search::{Found, Search};
use super::select::Resync;
use super::store::Store;
use super::{Refusal, Server};
use crate::wire::{GetMetadata, Malformed, Qresync, StatusItem, Verb, put};

/// A command between its first byte of effect and its tagged response.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) tag: Vec<u8>,
    pub(super) verb: Verb,
    /// Message numbers mean what they meant when it came, until it is answered (RFC 3501 7.4.1).
    pub(super) forbids_expunge: bool,
    /// The ask it waits for.
    pub(super) ask: Option<AskId>,
    pub(super) job: Job,
    /// When the client last heard of it.
    pub(super) since: Mono,
}

/// What is left to do.
#[derive(Debug)]
pub(super) enum Job {
    /// AUTHENTICATE: with no ask open, a line of the client is awaited.
    Sasl(Vec<u8>),
    Login,
    Edit,
    /// CREATE
    Create,
    Listing(Box<Listing>),
    Status {
        name: String,
        items: Vec<StatusItem>,
    },
    Select {
        name: String,
        read_only: bool,
        qresync: Option<Qresync>,
    },
    Resync(Box<Resync>),
    Compress,
    /// NOTIFY: the first look at all mailboxes is on its way.
    Notify,
    Unauthenticate,
    Close,
    Expunge(Limited),
    /// UID EXPUNGE: which of the many are to go.
    ExpungeWhich,
    Copy {
        remove: bool,
        own: bool,
        limited: Limited,
    },
    MultiSearch(Box<MultiSearch>),
    /// GETMETADATA: the canonical name.
    Metadata(Box<(Option<String>, GetMetadata)>),
    /// GETQUOTAROOT names a mailbox.
    Quota(Option<String>),
    Search(Box<Search>),
    Thread,
    /// The modification sequences of the few messages that are told.
    FoundModseq(Box<Found>),
    Found(Box<Found>),
    /// What is gone is told before the rows.
    FetchVanished(Box<Fetch>, UidSet),
    Fetch(Box<Fetch>),
    Store(Box<Store>),
    Append(Box<Append>),
    /// IDLE; true once the client said DONE.
    Idle(bool),
    /// Everything is done; untagged responses come before this one.
    Finish(Reply),
}

/// Where a command stands after a step.
#[derive(Debug)]
pub(super) enum Next {
    /// It waits for an answer.
    Wait(AskId, Job),
    /// It goes on when there is room for output, or when the client sends more.
    Go(Job),
    /// It is over.
    Done(Reply),
    /// It is over, and was answered already.
    Silent,
}

/// A tagged response.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: &'static str,
    /// Without brackets.
    pub(super) code: Option<Cow<'static, str>>,
    pub(super) text: Cow<'static, str>,
}

impl Reply {
    pub(super) const fn ok() -> Self {
        Self {
            status: "OK",
            code: None,
            text: Cow::Borrowed("completed"),
        }
    }

    pub(super) fn ok_with(code: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: Some(code.into()),
            ..Self::ok()
        }
    }

    pub(super) const fn bad(text: &'static str) -> Self {
        Self {
            status: "BAD",
            code: None,
            text: Cow::Borrowed(text),
        }
    }

    pub(super) const fn bad_with(code: &'static str, text: &'static str) -> Self {
        Self {
            status: "BAD",
            code: Some(Cow::Borrowed(code)),
            text: Cow::Borrowed(text),
        }
    }

    /// `code` may be empty.
    pub(super) fn no(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        let code = (!code.is_empty()).then_some(Cow::Borrowed(code));
        Self {
            status: "NO",
            code,
            text: text.into(),
        }
    }

    pub(super) const fn no_with(code: String, text: &'static str) -> Self {
        Self {
            status: "NO",
            code: Some(Cow::Owned(code)),
            text: Cow::Borrowed(text),
        }
    }

    /// The world answered something that does not belong to what was asked.
    pub(super) fn unexpected() -> Self {
        Self::no("SERVERBUG", "internal error")
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, tag: &[u8], verb: Option<Verb>) {
        out.extend_from_slice(tag);
        put!(out, " {} ", self.status);
        if let Some(code) = &self.code {
            put!(out, "[{code}] ");
        }
        if let (Some(verb), "OK") = (verb, self.status) {
            put!(out, "{} ", verb.name());
        }
        // What the world says must not be able to add a line of its own.
        out.extend(
            self.text
                .bytes()
                .map(|b| if matches!(b, b' '..=b'~') { b } else { b'?' }),
        );
        out.extend_from_slice(b"\r\n");
    }
}

impl From<Malformed> for Reply {
    fn from(why: Malformed) -> Self {
        match why {
            Malformed::Syntax(text) => Self::bad(text),
            Malformed::Refused(code, text) => Self::no(code, text),
            Malformed::Wrong(code, text) => Self::bad_with(code, text),
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::no(refusal.code.unwrap_or_default(), refusal.text)
    }
}

impl Next {
    pub(super) const fn ok() -> Self {
        Self::Done(Reply::ok())
    }

    pub(super) fn no(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self::Done(Reply::no(code, text))
    }

    pub(super) const fn bad(text: &'static str) -> Self {
        Self::Done(Reply::bad(text))
    }
}

impl Server {
    /// Puts a command back, or ends it.
    pub(super) fn proceed(&mut self, mut running: Box<Running>, next: Next) {
        match next {
            Next::Wait(ask, job) => {
                running.ask = Some(ask);
                running.job = job;
                self.running = Some(running);
            }
            Next::Go(job) => {
                running.ask = None;
                running.job = job;
                self.running = Some(running);
            }
            Next::Done(reply) => self.complete(running, reply),
            Next::Silent => {}
        }
    }

    /// Ends a command: what may be told about the selected mailbox comes first.
    fn complete(&mut self, mut running: Box<Running>, reply: Reply) {
        self.tell_overflow();
        self.tell_vanished();
        if running.tag.is_empty() {
            // Nobody gave this command: new messages are told.
            self.running = self.parked.take();
            return self.rest();
        }
        let full = !running.forbids_expunge || mutant!(ExpungeDuringFetch);
        let reports = running.verb.reports() || self.told_events().of_messages();
        if (reports && self.begin_report(full)) || self.begin_contexts() {
            running.ask = None;
            running.job = Job::Finish(reply);
            self.running = Some(running);
            return;
        }
        self.conclude(&running, reply);
    }

    /// Writes the tagged response. Of a command that took messages away it tells how far the client knows the mailbox now
    /// (RFC 6851 4.4, RFC 8508 4.5): all that went before is told, that of others too.
    fn conclude(&mut self, running: &Running, mut reply: Reply) {
        if let Some(selection) = &self.selected
            && self.modes.qresync
            && running.verb.moves()
            && reply.status == "OK"
        {
            let code = alloc::format!("HIGHESTMODSEQ {}", selection.modseq);
            match reply.code {
                None => reply.code = Some(code.into()),
                Some(_) => put!(self.out.text(), "* OK [{code}] the last change\r\n"),
            }
        }
        self.reply(&running.tag, Some(running.verb), &reply);
        self.rest();
    }

    /// The report that a command waited for is written.
    pub(super) fn after_report(&mut self) {
        // In the middle of a FETCH nothing but its own responses can be said.
        let job = self.running.as_ref().map(|running| &running.job);
        let between = job.is_none_or(|job| matches!(job, Job::Finish(_) | Job::Idle(_)));
        if !(between && self.begin_contexts()) {
            self.after_contexts();
        }
    }

    /// All untagged responses that a command waited for are written.
    pub(super) fn after_contexts(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        match running.job {
            Job::Finish(ref reply) => {
                let reply = reply.clone();
                self.conclude(&running, reply);
            }
            Job::Idle(true) => self.complete(running, Reply::ok()),
            _ => self.running = Some(running),
        }
    }
}
