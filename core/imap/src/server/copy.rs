//! COPY and MOVE (RFC 3501 6.4.7, RFC 6851), with COPYUID (RFC 4315).

use super::job::{Job, Next, Reply};
use super::message_limit::Limited;
use super::{Answer, Ask, Server, numbered};
use crate::wire::{SequenceSet, put};

impl Server {
    pub(super) fn copy(
        &mut self,
        set: &SequenceSet,
        mailbox: &[u8],
        remove: bool,
        uid: bool,
    ) -> Next {
        let to = match self.canonical(mailbox) {
            Ok(name) => name,
            Err(next) => return next,
        };
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let uids = match numbered(set, &selection.uids, uid) {
            Ok(uids) => uids,
            Err(next) => return next,
        };
        if remove && !selection.writable {
            return Next::no("", "the mailbox is read-only");
        }
        let (uids, limited) = match remove {
            true => self.highest(uids),
            // RFC 9738 3.1: COPY is all or nothing.
            false => match self.all_or_none(uids.len()) {
                Ok(()) => (uids, None),
                Err(next) => return next,
            },
        };
        if uids.is_empty() {
            // RFC 3501 6.4.8: UIDs that do not exist are no error.
            return Next::ok();
        }
        let own = to == selection.name;
        let ask = Ask::Copy {
            mailbox: selection.mailbox,
            uids,
            to,
            remove,
        };
        let job = Job::Copy {
            remove,
            own,
            limited,
        };
        Next::Wait(self.ask(ask), job)
    }

    /// `own`: the destination is the selected mailbox.
    pub(super) fn copied(
        &mut self,
        answer: Answer,
        remove: bool,
        own: bool,
        limited: Limited,
    ) -> Next {
        let (validity, from, to) = match answer {
            Answer::Copied { validity, from, to } => (validity, from, to),
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        if from.is_empty() {
            return self.limited(limited, Reply::ok());
        }
        let code = alloc::format!("COPYUID {validity} {from} {to}");
        let Some(selection) = &mut self.selected else {
            return Next::Done(Reply::unexpected());
        };
        if own || remove {
            selection.touch();
        }
        if !remove {
            return Next::Done(Reply::ok_with(code));
        }
        // RFC 6851 4.3: before the EXPUNGEs, so that the client knows where the messages went.
        let out = self.out.text();
        put!(out, "* OK [{code}] moved\r\n");
        selection.expunge(out, &from, self.modes);
        self.limited(limited, Reply::ok())
    }
}
