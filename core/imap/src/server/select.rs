//! SELECT, EXAMINE, CLOSE, EXPUNGE; and what a client missed since an earlier session (QRESYNC, RFC 7162 3.2.5).

use alloc::boxed::Box;
use alloc::string::String;
use mox_uids::UidSet;

use super::job::{Job, Next, Reply};
use super::message_limit::Limited;
use super::report::Selection;
use super::{Answer, Ask, BoxId, Changes, Server};
use crate::wire::{Qresync, SelectParams, SequenceSet, put};

/// Rows of `Changes` asked for at a time.
const PAGE: u32 = 500;

/// A SELECT that tells what the client missed.
#[derive(Debug)]
pub(super) struct Resync {
    /// The messages it knows of.
    uids: UidSet,
    /// Everything up to here is told.
    since: u64,
    reply: Reply,
}

/// MAILBOXID of RFC 8474 4: the number of a mailbox is never given to another one.
pub(super) fn mailbox_id(mailbox: BoxId) -> String {
    alloc::format!("b{}", mailbox.0)
}

impl Server {
    pub(super) fn select(&mut self, mailbox: &[u8], read_only: bool, params: SelectParams) -> Next {
        let qresync = params.qresync;
        if qresync.is_some() && !self.modes.qresync {
            return Next::bad("QRESYNC is not enabled");
        }
        if self.selected.is_some() {
            // Even a SELECT that fails closes what was open (RFC 3501 6.3.1).
            self.unselect();
            self.out.line(b"* OK [CLOSED] the mailbox before is closed");
        }
        if params.condstore {
            self.use_condstore();
        }
        let name = match self.canonical(mailbox) {
            Ok(name) => name,
            Err(next) => return next,
        };
        let id = self.ask(Ask::Select {
            name: name.clone(),
            read_only,
        });
        let job = Job::Select {
            name,
            read_only,
            qresync,
        };
        Next::Wait(id, job)
    }

    pub(super) fn selected(
        &mut self,
        name: String,
        read_only: bool,
        qresync: Option<Qresync>,
        answer: Answer,
    ) -> Next {
        let selected = match answer {
            Answer::Selected(selected) => selected,
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        let (validity, next, modseq) = (selected.validity, selected.next, selected.modseq);
        let (mailbox, first_unseen) = (selected.mailbox, selected.first_unseen);
        let writable = selected.writable && !read_only;
        let shown = self.on_wire(&name);
        let selection = Selection::new(name, writable, selected);
        let out = self.out.text();
        put!(out, "* {} EXISTS\r\n", selection.uids.len());
        if !self.modes.rev2 {
            put!(out, "* {} RECENT\r\n", selection.recent.len());
        }
        selection.write_keywords(out);
        let first_unseen = first_unseen.filter(|_| !self.modes.rev2 && !self.modes.uid_only);
        if let Some(number) = first_unseen.and_then(|uid| selection.number(uid)) {
            put!(
                out,
                "* OK [UNSEEN {number}] the first message without \\Seen\r\n"
            );
        }
        put!(out, "* OK [UIDVALIDITY {validity}] UIDs are valid\r\n");
        put!(out, "* OK [UIDNEXT {next}] the next UID\r\n");
        put!(out, "* OK [HIGHESTMODSEQ {modseq}] the last change\r\n");
        put!(
            out,
            "* OK [MAILBOXID ({})] its identifier\r\n",
            mailbox_id(mailbox)
        );
        if self.modes.rev2 {
            // RFC 9051 6.3.2.
            out.extend_from_slice(b"* LIST () \"/\" ");
            out.extend_from_slice(&shown);
            out.extend_from_slice(b"\r\n");
        }
        self.selected = Some(Box::new(selection));
        self.watch();
        let reply = Reply::ok_with(if writable { "READ-WRITE" } else { "READ-ONLY" });
        // With another UIDVALIDITY nothing that the client knows means anything (RFC 7162 3.2.5.1).
        match qresync.filter(|q| q.validity == validity && q.modseq < modseq) {
            Some(known) => {
                let below = (next > 1).then(|| 1..=next - 1);
                let resync = Resync {
                    uids: known.uids.unwrap_or_else(|| UidSet::from_runs(below)),
                    since: known.modseq,
                    reply,
                };
                let since = resync.since;
                let id = self.ask(Ask::Vanished { mailbox, since });
                Next::Wait(id, Job::Resync(Box::new(resync)))
            }
            None => Next::Done(reply),
        }
    }

    pub(super) fn resync_answer(&mut self, mut resync: Box<Resync>, answer: Answer) -> Next {
        match answer {
            Answer::Vanished(gone) => self.write_vanished(&gone, &resync.uids),
            Answer::Changes(changes) => {
                let more = changes.more && changes.upto > resync.since;
                resync.since = changes.upto;
                self.missed(&resync.uids, changes);
                if !more {
                    return Next::Done(resync.reply);
                }
            }
            // The rest is told as what changes now.
            _ => return Next::Done(resync.reply),
        }
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let (mailbox, since) = (selection.mailbox, resync.since);
        let id = self.ask(Ask::Changes {
            mailbox,
            since,
            max: PAGE,
        });
        Next::Wait(id, Job::Resync(resync))
    }

    /// What is gone, of the messages that a client names, and that this session does not know.
    pub(super) fn write_vanished(&mut self, gone: &UidSet, named: &UidSet) {
        let Some(selection) = &self.selected else {
            return;
        };
        let gone = gone.intersection(named).difference(&selection.uids);
        if !gone.is_empty() {
            put!(self.out.text(), "* VANISHED (EARLIER) {gone}\r\n");
        }
    }

    /// Flags that changed, of the messages that the client knows.
    fn missed(&mut self, uids: &UidSet, changes: Changes) {
        let Some(selection) = &mut self.selected else {
            return;
        };
        let out = self.out.text();
        if !changes.keywords.is_empty() && changes.keywords != selection.keywords {
            selection.keywords = changes.keywords;
            selection.write_keywords(out);
        }
        for row in changes.rows.iter().filter(|row| uids.contains(row.uid)) {
            selection.write_row(out, row, self.modes);
        }
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
        let mailbox = selection.mailbox;
        // RFC 9738 3.1: EXPUNGE itself is not limited.
        let only = match only {
            Some(set) => {
                let only = set.uids(&selection.uids);
                if let Some(next) = self.expunge_which(&only) {
                    return next;
                }
                only
            }
            None => (*selection.uids).clone(),
        };
        if only.is_empty() {
            return Next::ok();
        }
        let ask = Ask::Expunge {
            mailbox,
            only: Some(only),
        };
        Next::Wait(self.ask(ask), Job::Expunge(None))
    }

    pub(super) fn expunged(&mut self, answer: Answer, limited: Limited) -> Next {
        match (answer, &mut self.selected) {
            (Answer::Expunged { uids, modseq }, Some(selection)) => {
                selection.expunge(self.out.text(), &uids, self.modes);
                selection.changed_by_us(uids, modseq);
                let reply = match self.modes.condstore && modseq > 0 {
                    true => Reply::ok_with(alloc::format!("HIGHESTMODSEQ {modseq}")),
                    false => Reply::ok(),
                };
                self.limited(limited, reply)
            }
            (Answer::No(refusal), _) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }
}
