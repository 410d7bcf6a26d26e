//! SELECT, EXAMINE, CLOSE, EXPUNGE.

use alloc::boxed::Box;
use alloc::string::String;

use super::job::{Job, Next, Reply};
use super::report::Selection;
use super::{Answer, Ask, Server, canonical};
use crate::wire::{SequenceSet, put};

impl Server {
    pub(super) fn select(&mut self, mailbox: &[u8], read_only: bool, condstore: bool) -> Next {
        self.condstore |= condstore;
        if self.selected.is_some() {
            // Even a SELECT that fails closes what was open (RFC 3501 6.3.1).
            self.unselect();
            self.out.line(b"* OK [CLOSED] the mailbox before is closed");
        }
        let name = match canonical(mailbox) {
            Ok(name) => name,
            Err(next) => return next,
        };
        let id = self.ask(Ask::Select {
            name: name.clone(),
            read_only,
        });
        Next::Wait(id, Job::Select { name, read_only })
    }

    pub(super) fn selected(&mut self, name: String, read_only: bool, answer: Answer) -> Next {
        let selected = match answer {
            Answer::Selected(selected) => selected,
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        let (validity, next, modseq) = (selected.validity, selected.next, selected.modseq);
        let first_unseen = selected.first_unseen;
        let writable = selected.writable && !read_only;
        let selection = Selection::new(name, writable, selected);
        let out = self.out.text();
        put!(out, "* {} EXISTS\r\n* 0 RECENT\r\n", selection.uids.len());
        selection.write_keywords(out);
        if let Some(number) = first_unseen.and_then(|uid| selection.number(uid)) {
            put!(
                out,
                "* OK [UNSEEN {number}] the first message without \\Seen\r\n"
            );
        }
        put!(out, "* OK [UIDVALIDITY {validity}] UIDs are valid\r\n");
        put!(out, "* OK [UIDNEXT {next}] the next UID\r\n");
        put!(out, "* OK [HIGHESTMODSEQ {modseq}] the last change\r\n");
        self.selected = Some(Box::new(selection));
        self.watch();
        Next::Done(Reply::ok_with(if writable {
            "READ-WRITE"
        } else {
            "READ-ONLY"
        }))
    }

    /// CLOSE: expunges without telling (RFC 3501 6.4.2).
    pub(super) fn close_mailbox(&mut self) -> Next {
        if let Some(selection) = self.selected.as_ref().filter(|s| s.writable && !s.vanished) {
            let only = Some((*selection.uids).clone());
            let ask = Ask::Expunge {
                mailbox: selection.mailbox,
                only,
            };
            return Next::Wait(self.ask(ask), Job::Close);
        }
        self.unselect();
        Next::ok()
    }

    /// EXPUNGE and UID EXPUNGE: of the messages that this client knows of.
    pub(super) fn expunge(&mut self, only: Option<&SequenceSet>) -> Next {
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        if !selection.writable {
            return Next::no("", "the mailbox is read-only");
        }
        let only = match only {
            Some(set) => set.uids(&selection.uids),
            None => (*selection.uids).clone(),
        };
        if only.is_empty() {
            return Next::ok();
        }
        let ask = Ask::Expunge {
            mailbox: selection.mailbox,
            only: Some(only),
        };
        Next::Wait(self.ask(ask), Job::Expunge)
    }

    pub(super) fn expunged(&mut self, answer: Answer) -> Next {
        match (answer, &mut self.selected) {
            (Answer::Expunged { uids, modseq }, Some(selection)) => {
                selection.expunge(self.out.text(), &uids);
                selection.changed_by_us(uids, modseq);
                if self.condstore {
                    return Next::Done(Reply::ok_with(alloc::format!("HIGHESTMODSEQ {modseq}")));
                }
                Next::ok()
            }
            (Answer::No(refusal), _) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }
}
