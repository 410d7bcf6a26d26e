//! MESSAGELIMIT, RFC 9738: how many messages one command may take. Of more, those with the highest UIDs are taken, and the
//! client is told where to go on; what can only be done to all or none is refused.
//!
//! It is off unless a limit is configured: clients that do not know it take what they get for everything.

use alloc::format;
use alloc::string::String;
use mox_uids::UidSet;

use super::job::{Next, Reply};
use super::{Answer, Ask, Job, Server};
use crate::SearchKey;
use crate::server::SystemFlags;
use crate::wire::put;

/// The response code for a command that did not take all messages.
pub(super) type Limited = Option<String>;

impl Server {
    pub(super) fn message_limit(&self) -> Option<u32> {
        let limit = self.config.limits.messages;
        (limit > 0 && self.offers("MESSAGELIMIT")).then_some(limit)
    }

    /// The messages of these that a command takes (RFC 9738 3.1): the highest ones.
    pub(super) fn highest(&self, uids: UidSet) -> (UidSet, Limited) {
        let lowest = self.message_limit().and_then(|limit| {
            let too_many = uids.len().checked_sub(limit).filter(|more| *more > 0)?;
            Some((limit, uids.at(too_many)?))
        });
        match lowest {
            Some((limit, lowest)) => {
                let taken = UidSet::from_runs([lowest.0..=u32::MAX]).intersection(&uids);
                (taken, Some(format!("MESSAGELIMIT {limit} {lowest}")))
            }
            None => (uids, None),
        }
    }

    /// Refuses what is for all of so many messages or none.
    pub(super) fn all_or_none(&self, messages: u32) -> Result<(), Next> {
        match self.message_limit().filter(|limit| messages > *limit) {
            Some(limit) => Err(Next::Done(Reply::no_with(
                format!("MESSAGELIMIT {limit}"),
                "too many messages at once, name fewer",
            ))),
            None => Ok(()),
        }
    }

    /// Tells a client that not all messages were taken: in the tagged response, or before it where that has another code.
    pub(super) fn limited(&mut self, limited: Limited, mut reply: Reply) -> Next {
        let Some(code) = limited else {
            return Next::Done(reply);
        };
        if reply.code.is_none() {
            reply.code = Some(code.into());
        } else {
            put!(
                self.out.text(),
                "* NO [{code}] only the highest messages were taken\r\n"
            );
        }
        Next::Done(reply)
    }

    /// The messages that a search may have to look at, all others being ruled out by their UIDs.
    pub(super) fn searched(among: &UidSet, key: &SearchKey) -> UidSet {
        match key {
            SearchKey::Uids(uids) => among.intersection(uids),
            SearchKey::And(keys) => keys
                .iter()
                .fold(among.clone(), |among, key| Self::searched(&among, key)),
            _ => among.clone(),
        }
    }

    /// UID EXPUNGE of many: which of them have \Deleted, since only those count.
    pub(super) fn expunge_which(&mut self, only: &UidSet) -> Option<Next> {
        let mailbox = self.selected.as_ref()?.mailbox;
        self.message_limit().filter(|limit| only.len() > *limit)?;
        let id = self.ask(Ask::Search {
            mailbox,
            among: only.clone().into(),
            key: SearchKey::Flags(SystemFlags::DELETED).into(),
        });
        Some(Next::Wait(id, Job::ExpungeWhich))
    }

    pub(super) fn expunge_these(&mut self, answer: Answer) -> Next {
        let found = match answer {
            Answer::Found { uids, .. } => uids,
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        let (only, limited) = self.highest(found);
        let Some(selection) = self.selected.as_ref().filter(|_| !only.is_empty()) else {
            return Next::ok();
        };
        let ask = Ask::Expunge {
            mailbox: selection.mailbox,
            only: Some(only),
        };
        Next::Wait(self.ask(ask), Job::Expunge(limited))
    }
}
