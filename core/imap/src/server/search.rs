//! SEARCH (RFC 3501 6.4.4) and SORT (RFC 5256), with the answers of ESEARCH (RFC 4731, RFC 5267), parts of them (PARTIAL,
//! RFC 9394), and what they save (SEARCHRES, RFC 5182).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mox_uids::{Uid, UidSet};

use super::context::Context;
use super::fetch::at_positions;
use super::job::{Job, Next, Reply, Running};
use super::message_limit::Limited;
use super::report::Selection;
use super::{Answer, Ask, Server, Want};
use crate::SearchKey;
use crate::wire::{
    FetchItem, SearchArgs, SearchReturn, put, put_number, write_numbers, write_string,
};

/// Numbers written at a time.
const PAGE: u32 = 8_000;

/// A search that is being answered by the world.
#[derive(Debug)]
pub(super) struct Search {
    returns: Option<SearchReturn>,
    modseq: bool,
    key: Arc<SearchKey>,
    /// What UPDATE tells of new messages.
    update: Vec<FetchItem>,
    limited: Limited,
}

/// What was found, as the numbers that are told.
#[derive(Debug)]
pub(super) struct Found {
    /// UIDs or sequence numbers.
    numbers: Numbers,
    /// How many of them are written.
    written: u32,
    returns: Option<SearchReturn>,
    modseq: Option<u64>,
    uid: bool,
    limited: Limited,
}

/// In the order of the mailbox, or in another one.
#[derive(Debug)]
enum Numbers {
    Set(UidSet),
    List(Vec<u32>),
}

impl Numbers {
    fn len(&self) -> u32 {
        match self {
            Self::Set(set) => set.len(),
            Self::List(list) => u32::try_from(list.len()).unwrap_or(u32::MAX),
        }
    }

    fn at(&self, index: u32) -> Option<u32> {
        match self {
            Self::Set(set) => set.at(index).map(|uid| uid.0),
            Self::List(list) => list.get(index as usize).copied(),
        }
    }

    fn last(&self) -> Option<u32> {
        self.at(self.len().checked_sub(1)?)
    }

    /// As a sequence set.
    fn write(&self, out: &mut Vec<u8>, span: core::ops::Range<u32>) {
        match self {
            Self::Set(set) if span == (0..set.len()) => put!(out, "{set}"),
            _ => write_numbers(out, span.filter_map(|index| self.at(index))),
        }
    }
}

impl Found {
    /// UIDs in the order of their mailbox.
    pub(super) fn uids(uids: UidSet, returns: SearchReturn, modseq: Option<u64>) -> Self {
        Self {
            numbers: Numbers::Set(uids),
            written: 0,
            returns: Some(returns),
            modseq,
            uid: true,
            limited: None,
        }
    }

    /// The response is half written.
    pub(super) const fn in_line(&self) -> bool {
        self.written > 0
    }
}

impl Server {
    pub(super) fn search(&mut self, args: SearchArgs, tag: &[u8]) -> Next {
        if let Err(next) = self.tag_is_free(tag, args.returns) {
            return next;
        }
        if args.modseq {
            self.use_condstore();
        }
        let returns = self.returns(args.returns, args.order.is_some());
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let (mailbox, mut among) = (selection.mailbox, Arc::clone(&selection.uids));
        let key = Arc::new(args.key);
        let mut limited = None;
        if self.message_limit().is_some() {
            // RFC 9738 3.1: what counts is what is looked at, not what is found.
            let searched = Self::searched(&among, &key);
            if args.order.is_some()
                && let Err(next) = self.all_or_none(searched.len())
            {
                self.save_nothing(returns);
                return next;
            }
            let (highest, rest) = self.highest(searched);
            (among, limited) = (Arc::new(highest), rest);
        }
        let search = Search {
            returns,
            modseq: args.modseq,
            key: Arc::clone(&key),
            update: args.update,
            limited,
        };
        let ask = match args.order {
            Some(order) => Ask::Sort {
                mailbox,
                among,
                key,
                order,
            },
            None => Ask::Search {
                mailbox,
                among,
                key,
            },
        };
        Next::Wait(self.ask(ask), Job::Search(Box::new(search)))
    }

    /// IMAP4rev2 answers every SEARCH with ESEARCH (RFC 9051 6.4.4).
    fn returns(&self, asked: Option<SearchReturn>, sort: bool) -> Option<SearchReturn> {
        let all = SearchReturn {
            all: true,
            ..SearchReturn::default()
        };
        asked.or_else(|| (self.modes.rev2 && !sort).then_some(all))
    }

    /// RFC 5182 2.1: a SEARCH that fails saves that nothing was found.
    pub(super) fn save_nothing(&mut self, returns: Option<SearchReturn>) {
        let saves = returns.is_some_and(|r| r.save);
        if let Some(selection) = self.selected.as_mut().filter(|_| saves) {
            selection.saved = UidSet::new();
        }
    }

    pub(super) fn found(&mut self, search: Search, answer: Answer, running: &Running) -> Next {
        let uid = running.verb.is_uid();
        let returns = search.returns;
        let (set, list, highest) = match answer {
            Answer::Found { uids, modseq } => (uids, None, modseq),
            Answer::Sorted { uids, modseq } => (uids.iter().copied().collect(), Some(uids), modseq),
            Answer::No(refusal) => {
                self.save_nothing(returns);
                return Next::Done(refusal.into());
            }
            _ => return Next::Done(Reply::unexpected()),
        };
        let Some(selection) = &mut self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let set = set.intersection(&selection.uids);
        let list = list.map(|uids| {
            let known = |uid: &Uid| selection.uids.contains(*uid);
            uids.into_iter().filter(known).collect::<Vec<Uid>>()
        });
        let few = returns.and_then(|r| few(r, &set, list.as_deref()));
        if returns.is_some_and(|r| r.save) {
            selection.saved = few.clone().unwrap_or_else(|| set.clone());
        }
        let limited = search.limited;
        if returns.is_some_and(|r| r.save && !r.tells() && !r.update) {
            return self.limited(limited, Reply::ok());
        }
        let numbers = match &list {
            Some(list) if uid => Numbers::List(list.iter().map(|uid| uid.0).collect()),
            Some(list) => Numbers::List(
                list.iter()
                    .filter_map(|uid| selection.number(*uid))
                    .collect(),
            ),
            None if uid => Numbers::Set(set.clone()),
            None => Numbers::Set(selection.numbers(&set)),
        };
        let modseq = highest.filter(|_| search.modseq && numbers.len() > 0);
        let mailbox = selection.mailbox;
        if returns.is_some_and(|r| r.update) {
            let context = (list.is_none() && limited.is_none()).then(|| Context {
                tag: running.tag.clone(),
                key: search.key,
                items: search.update,
                uid,
                found: set,
            });
            self.remember(context, &running.tag);
        }
        let found = Box::new(Found {
            numbers,
            written: 0,
            returns,
            modseq,
            uid,
            limited,
        });
        match few.filter(|few| modseq.is_some() && !few.is_empty() && few.len() <= 2) {
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
            write_esearch(out, tag, found.uid);
            extended(out, &found, returns);
            return self.limited(found.limited, Reply::ok());
        }
        if found.written == 0 {
            out.extend_from_slice(match found.numbers {
                Numbers::Set(_) => b"* SEARCH",
                Numbers::List(_) => b"* SORT",
            });
        }
        let end = found.numbers.len().min(found.written.saturating_add(PAGE));
        for at in found.written..end {
            if let Some(number) = found.numbers.at(at) {
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
        self.limited(found.limited, Reply::ok())
    }
}

/// The messages that are told where not all are: what SAVE saves then (RFC 5182 2.4, RFC 9394 3.2).
pub(super) fn few(returns: SearchReturn, set: &UidSet, list: Option<&[Uid]>) -> Option<UidSet> {
    let partial = returns.partial;
    if returns.all || returns.count || !(returns.min || returns.max || partial.is_some()) {
        return None;
    }
    let (first, last) = match list {
        Some(list) => (list.first().copied(), list.last().copied()),
        None => (set.first(), set.last()),
    };
    let first = first.filter(|_| returns.min);
    let ends: UidSet = first
        .into_iter()
        .chain(last.filter(|_| returns.max))
        .collect();
    let part = partial.map(|span| match list {
        Some(list) => {
            let range = span.of(u32::try_from(list.len()).unwrap_or(u32::MAX));
            let range = range.start as usize..range.end as usize;
            list.get(range)
                .unwrap_or_default()
                .iter()
                .copied()
                .collect()
        }
        None => at_positions(set, span),
    });
    Some(match part {
        Some(part) => part.union(&ends),
        None => ends,
    })
}

/// `* ESEARCH (TAG "a") UID`
pub(super) fn write_esearch(out: &mut Vec<u8>, tag: &[u8], uid: bool) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    write_string(out, tag);
    out.push(b')');
    if uid {
        out.extend_from_slice(b" UID");
    }
}

/// What is told of it, to the end of the line.
pub(super) fn extended(out: &mut Vec<u8>, found: &Found, returns: SearchReturn) {
    let numbers = &found.numbers;
    if let (Some(min), Some(max)) = (numbers.at(0), numbers.last()) {
        if returns.min {
            put!(out, " MIN {min}");
        }
        if returns.max {
            put!(out, " MAX {max}");
        }
        if returns.all {
            out.extend_from_slice(b" ALL ");
            numbers.write(out, 0..numbers.len());
        }
    }
    if let Some(span) = returns.partial {
        let range = span.of(numbers.len());
        put!(out, " PARTIAL ({span} ");
        match range.is_empty() {
            true => out.extend_from_slice(b"NIL"),
            false => numbers.write(out, range),
        }
        out.push(b')');
    }
    if returns.count {
        put!(out, " COUNT {}", numbers.len());
    }
    if let Some(modseq) = found.modseq {
        put!(out, " MODSEQ {modseq}");
    }
    out.extend_from_slice(b"\r\n");
}

impl Selection {
    /// The sequence numbers of messages that are known.
    pub(super) fn numbers(&self, uids: &UidSet) -> UidSet {
        // A run of UIDs that are all known is a run of numbers.
        let number = |uid| self.number(Uid(uid));
        let runs = uids.runs();
        UidSet::from_runs(runs.filter_map(|run| Some(number(*run.start())?..=number(*run.end())?)))
    }
}
