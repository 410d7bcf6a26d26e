//! SEARCH, RFC 3501 6.4.4, with the answers of ESEARCH (RFC 4731), and what it saves (SEARCHRES, RFC 5182).

use alloc::boxed::Box;
use alloc::sync::Arc;
use mox_uids::{Uid, UidSet};

use super::job::{Job, Next, Reply};
use super::{Answer, Ask, Server, Want};
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
        if args.modseq {
            self.use_condstore();
        }
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let ask = Ask::Search {
            mailbox: selection.mailbox,
            among: Arc::clone(&selection.uids),
            key: Arc::new(args.key),
        };
        let job = Job::Search {
            returns: self.returns(args.returns),
            modseq: args.modseq,
        };
        Next::Wait(self.ask(ask), job)
    }

    /// IMAP4rev2 answers every SEARCH with ESEARCH (RFC 9051 6.4.4).
    fn returns(&self, asked: Option<SearchReturn>) -> Option<SearchReturn> {
        let all = SearchReturn {
            all: true,
            ..SearchReturn::default()
        };
        asked.or_else(|| self.modes.rev2.then_some(all))
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
            Answer::No(refusal) => {
                // RFC 5182 2.1: a SEARCH that fails saves that nothing was found.
                let saves = returns.is_some_and(|r| r.save);
                if let Some(selection) = self.selected.as_mut().filter(|_| saves) {
                    selection.saved = UidSet::new();
                }
                return Next::Done(refusal.into());
            }
            _ => return Next::Done(Reply::unexpected()),
        };
        let Some(selection) = &mut self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let uids = uids.intersection(&selection.uids);
        let ends = returns.filter(|r| (r.min || r.max) && !r.all && !r.count);
        let ends: Option<UidSet> = ends.map(|r| {
            let min = uids.first().filter(|_| r.min);
            min.into_iter()
                .chain(uids.last().filter(|_| r.max))
                .collect()
        });
        if returns.is_some_and(|r| r.save) {
            // RFC 5182 2.4: with MIN or MAX alone, only what they tell.
            selection.saved = ends.clone().unwrap_or_else(|| uids.clone());
        }
        if returns.is_some_and(|r| r.save && !(r.min || r.max || r.all || r.count)) {
            return Next::ok();
        }
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
        let mailbox = selection.mailbox;
        let found = Box::new(Found {
            numbers,
            written: 0,
            returns,
            modseq,
            uid,
        });
        match ends.filter(|ends| modseq.is_some() && !ends.is_empty()) {
            // RFC 4731 3.2: the modification sequence is that of the messages that are told.
            Some(uids) => {
                let id = self.ask(Ask::Rows {
                    mailbox,
                    uids,
                    want: Want::default(),
                    max: 2,
                });
                Next::Wait(id, Job::FoundModseq(found))
            }
            None => Next::Go(Job::Found(found)),
        }
    }

    pub(super) fn found_modseq(mut found: Box<Found>, answer: Answer) -> Next {
        if let Answer::Rows { rows, .. } = answer {
            let highest = rows.iter().map(|row| row.modseq).max();
            found.modseq = highest.or(found.modseq);
        }
        Next::Go(Job::Found(found))
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
