//! SEARCH, RFC 3501 6.4.4, with the answers of ESEARCH (RFC 4731).

use alloc::boxed::Box;
use alloc::sync::Arc;
use mox_uids::{Uid, UidSet};

use super::job::{Job, Next, Reply};
use super::{Answer, Ask, Server};
use crate::wire::{SearchArgs, SearchReturn, put, put_number, write_string};

/// Numbers written at a time.
const PAGE: u32 = 8_000;

/// What was found, as the numbers that are told.
#[derive(Debug)]
pub(super) struct Found {
    /// UIDs or sequence numbers.
    numbers: UidSet,
    /// How many of them are written.
    written: u32,
    returns: Option<SearchReturn>,
    modseq: Option<u64>,
    uid: bool,
}

impl Found {
    /// The response is half written.
    pub(super) const fn in_line(&self) -> bool {
        self.written > 0
    }
}

impl Server {
    pub(super) fn search(&mut self, args: SearchArgs) -> Next {
        self.condstore |= args.modseq;
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let ask = Ask::Search {
            mailbox: selection.mailbox,
            among: Arc::clone(&selection.uids),
            key: Arc::new(args.key),
        };
        let job = Job::Search {
            returns: args.returns,
            modseq: args.modseq,
        };
        Next::Wait(self.ask(ask), job)
    }

    pub(super) fn found(
        &mut self,
        answer: Answer,
        returns: Option<SearchReturn>,
        modseq: bool,
        uid: bool,
    ) -> Next {
        let (uids, highest) = match answer {
            Answer::Found { uids, modseq } => (uids, modseq),
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let uids = uids.intersection(&selection.uids);
        let numbers = if uid {
            uids
        } else {
            // A run of UIDs that are all known is a run of numbers.
            let number = |uid| selection.number(Uid(uid));
            UidSet::from_runs(
                uids.runs()
                    .filter_map(|run| Some(number(*run.start())?..=number(*run.end())?)),
            )
        };
        let modseq = highest.filter(|_| modseq && !numbers.is_empty());
        Next::Go(Job::Found(Box::new(Found {
            numbers,
            written: 0,
            returns,
            modseq,
            uid,
        })))
    }

    pub(super) fn found_more(&mut self, mut found: Box<Found>, tag: &[u8]) -> Next {
        let out = self.out.text();
        if let Some(returns) = found.returns {
            extended(out, &found, returns, tag);
            return Next::ok();
        }
        if found.written == 0 {
            out.extend_from_slice(b"* SEARCH");
        }
        let end = found.numbers.len().min(found.written.saturating_add(PAGE));
        for at in found.written..end {
            if let Some(Uid(number)) = found.numbers.at(at) {
                out.push(b' ');
                put_number(out, number.into());
            }
        }
        found.written = end;
        if end < found.numbers.len() {
            return Next::Go(Job::Found(found));
        }
        if let Some(modseq) = found.modseq {
            put!(out, " (MODSEQ {modseq})");
        }
        out.extend_from_slice(b"\r\n");
        Next::ok()
    }
}

fn extended(out: &mut alloc::vec::Vec<u8>, found: &Found, returns: SearchReturn, tag: &[u8]) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    write_string(out, tag);
    out.push(b')');
    if found.uid {
        out.extend_from_slice(b" UID");
    }
    if let (Some(min), Some(max)) = (found.numbers.first(), found.numbers.last()) {
        if returns.min {
            put!(out, " MIN {min}");
        }
        if returns.max {
            put!(out, " MAX {max}");
        }
        if returns.all {
            put!(out, " ALL {}", found.numbers);
        }
    }
    if returns.count {
        put!(out, " COUNT {}", found.numbers.len());
    }
    if let Some(modseq) = found.modseq {
        put!(out, " MODSEQ {modseq}");
    }
    out.extend_from_slice(b"\r\n");
}
