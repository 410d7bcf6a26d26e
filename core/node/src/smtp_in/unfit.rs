//! Mail from elsewhere that nobody judges: it is too big, no message by its lines or octets, or there is no room for it. It has a
//! record like what is judged, and the reply carries its id.

use mox_address::{Path, Reply};
use mox_driver::Runtime;
use mox_server::decision::{Recipient, Record, Stage, Standing};
use mox_smtp::server::{Answer, MailParams, Unfit};
use mox_store::DiskSpace;

use super::record::{self, Beginning};
use super::{Done, Response, SmtpHost};
use crate::connections::Full;

/// A transaction as its record needs it.
pub(super) struct Begun {
    pub(super) id: String,
    pub(super) from: Option<Path>,
    /// Each recipient, whose it is, and the own address of who is there by an alias.
    pub(super) to: Vec<(String, String, Option<String>)>,
}

/// Recipients that the record of what nobody judges names.
const NAMED_MAX: usize = 200;

impl Begun {
    /// One more recipient, if there is room in the record; an account is named once.
    pub(super) fn lead(&mut self, to: &str, account: &str, member: Option<String>) {
        let is_known = self.to.iter().any(|(_, known, _)| known == account);
        if !is_known && self.to.len() < NAMED_MAX {
            self.to.push((to.to_owned(), account.to_owned(), member));
        }
    }
}

impl<R: Runtime> SmtpHost<R> {
    /// What a listener takes of nobody: RFC 1870 6.1, and a disk that is nearly full.
    pub(super) fn lacks_room(&self, params: &MailParams) -> Option<Standing> {
        let is_too_big = params.size.is_some_and(|size| size > self.config.max_size);
        let is_full = self.node.store.space() == DiskSpace::Low;
        match (is_too_big, is_full) {
            (true, _) => Some(Standing::TooBig),
            (false, true) => Some(Standing::NoRoom),
            (false, false) => None,
        }
    }

    /// Refuses at MAIL what there is no room for, with a record. `None` where it has none, and when there is room.
    pub(super) fn without_room(
        &self,
        from: Option<&Path>,
        params: &MailParams,
    ) -> Option<Response> {
        self.lacks_room(params)
            .filter(|_| !self.is_submission() && self.node.judges())?;
        if let Some(response) = self.wait_for_room() {
            return Some(response);
        }
        match self.lacking_room(from, params)? {
            (Some(record), reply) => Some(self.kept(record, reply)),
            (None, reply) => Some(Response::Now(Answer::Reply(reply))),
        }
    }

    /// The same at the end of what was asked about the sender meanwhile.
    pub(super) fn without_room_now(&self, from: &Path, params: &MailParams) -> Option<Answer> {
        let (record, reply) = self.lacking_room(Some(from), params)?;
        if let Some(record) = record {
            self.keep_beside(record);
        }
        Some(Answer::Reply(reply))
    }

    /// The record of mail that there is no room for, if it has one, and the reply.
    fn lacking_room(
        &self,
        from: Option<&Path>,
        params: &MailParams,
    ) -> Option<(Option<Record>, Reply)> {
        let standing = self.lacks_room(params)?;
        if let Err(full) = self.count() {
            return Some((None, Reply::new(452, 2, 2, full.limiter.text())));
        }
        let begun = Begun {
            id: self.node.transaction_id(),
            from: from.cloned(),
            to: Vec::new(),
        };
        let (record, reply) = self.unjudged(begun, standing, Stage::Sender, None)?;
        Some((Some(record), reply))
    }

    /// A piece of the message cannot be taken.
    pub(super) fn refused_within(&mut self, reply: Reply) -> Response {
        match self.within(reply) {
            (None, reply) => Response::Now(Answer::Reply(reply)),
            (Some(record), reply) => self.kept(record, reply),
        }
    }

    /// The same when it was found out by a piece of work, behind which no other can be.
    pub(super) fn not_written(&mut self, reply: Reply) -> Answer {
        let (record, reply) = self.within(reply);
        if let Some(record) = record {
            self.keep_beside(record);
        }
        Answer::Reply(reply)
    }

    /// The protocol refuses the message.
    pub(super) fn unfit(&mut self, why: Unfit, reply: &Reply) {
        let standing = match why {
            Unfit::TooBig => Standing::TooBig,
            Unfit::BareLineEnd => Standing::BareLineEnd,
            Unfit::Nul => Standing::Nul,
        };
        let begun = self.begun.take().filter(|_| self.count().is_ok());
        let record =
            begun.and_then(|begun| self.unjudged(*begun, standing, Stage::Message, Some(reply)));
        if let Some((record, _)) = record {
            self.keep_beside(record);
        }
    }

    fn kept(&self, record: Record, reply: Reply) -> Response {
        let node = self.node.clone();
        Response::later(async move {
            record::keep(&node, &record).await;
            Done::Refused(reply)
        })
    }

    fn keep_beside(&self, record: Record) {
        let node = self.node.clone();
        let keep = async move { record::keep(&node, &record).await };
        let runtime = &self.node.runtime;
        runtime.spawn_session("record of an unfit message", Box::pin(keep));
    }

    /// The record of a message that there is no room for, if it has one, and the reply.
    fn within(&mut self, reply: Reply) -> (Option<Record>, Reply) {
        let Some(begun) = self.begun.take() else {
            return (None, reply);
        };
        let said = Reply {
            text: format!("{} (id {})", reply.text, begun.id).into(),
            ..reply
        };
        let record = match self.count() {
            Ok(()) => self.unjudged(*begun, Standing::NoRoom, Stage::Message, Some(&said)),
            Err(_) => None,
        };
        (record.map(|(record, _)| record), said)
    }

    /// What is refused so is one of the messages of its address: beyond their budget there are no records of it.
    fn count(&self) -> Result<(), Full> {
        let (ip, now) = (self.peer.ip(), self.node.runtime.now());
        self.node.limiters.message(ip, self.config.service, now)
    }

    /// A record of what nobody judges, and the reply: the one that was decided on already, or that of the rule.
    fn unjudged(
        &self,
        begun: Begun,
        standing: Standing,
        stage: Stage,
        reply: Option<&Reply>,
    ) -> Option<(Record, Reply)> {
        let beginning = Beginning {
            id: begun.id,
            ..self.beginning()
        };
        let facts = beginning.facts(stage, begun.from.as_ref());
        let recipients = match begun.to.is_empty() {
            true => vec![Recipient::new(String::new(), standing)],
            false => (begun.to.into_iter())
                .map(|(address, account, member)| Recipient {
                    account: Some(account),
                    member,
                    ..Recipient::new(address, standing)
                })
                .collect(),
        };
        beginning.refuse(facts, recipients, reply)
    }
}
