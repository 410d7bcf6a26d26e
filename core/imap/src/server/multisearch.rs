//! ESEARCH over several mailboxes, RFC 7377: one after the other, each answered where something is found.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mox_uids::UidSet;

use super::job::{Job, Next, Reply, Running};
use super::search::{Found, extended};
use super::{Answer, Ask, Server};
use crate::SearchKey;
use crate::wire::{MultiSearchArgs, SearchReturn, Source, put, write_string};

/// A search through several mailboxes.
#[derive(Debug)]
pub(super) struct MultiSearch {
    sources: Vec<Source>,
    key: Arc<SearchKey>,
    returns: SearchReturn,
    modseq: bool,
    /// Mailboxes still to be searched, last first.
    left: Vec<String>,
    /// UIDVALIDITY of the one that is searched.
    validity: u32,
    /// The messages that the session knows of, if it is the selected one.
    among: Option<Arc<UidSet>>,
}

impl Server {
    pub(super) fn multi_search(&mut self, args: MultiSearchArgs) -> Next {
        let alone = args.sources[..] == [Source::Selected];
        let selected = self.selected.as_ref().map(|s| s.name.clone());
        if selected.is_none() && args.sources.contains(&Source::Selected) {
            return Next::bad("no mailbox is selected");
        }
        let all = SearchReturn {
            all: true,
            ..SearchReturn::default()
        };
        let returns = args.search.returns.unwrap_or(all);
        if (returns.save || returns.update) && !alone {
            return Next::bad("SAVE and UPDATE are for the selected mailbox alone");
        }
        if args.search.modseq {
            self.use_condstore();
        }
        let left = match args.sources.contains(&Source::Selected) {
            true => selected.into_iter().collect(),
            false => Vec::new(),
        };
        let multi = Box::new(MultiSearch {
            sources: args.sources,
            key: Arc::new(args.search.key),
            returns,
            modseq: args.search.modseq,
            left,
            validity: 0,
            among: None,
        });
        if alone {
            return self.search_next(multi);
        }
        Next::Wait(self.ask(Ask::Mailboxes), Job::MultiSearch(multi))
    }

    fn search_next(&mut self, mut multi: Box<MultiSearch>) -> Next {
        let Some(name) = multi.left.last().cloned() else {
            return Next::ok();
        };
        multi.validity = 0;
        let id = self.ask(Ask::Status {
            name,
            deleted_size: false,
        });
        Next::Wait(id, Job::MultiSearch(multi))
    }

    pub(super) fn multi_search_answer(
        &mut self,
        mut multi: Box<MultiSearch>,
        answer: Answer,
        running: &Running,
    ) -> Next {
        match answer {
            Answer::Mailboxes(all) => {
                let wanted = all.into_iter().filter(|m| {
                    let sources = &multi.sources;
                    m.exists && sources.iter().any(|s| s.includes(&m.name, m.subscribed))
                });
                let mut names: Vec<String> = wanted.map(|m| m.name).collect();
                names.retain(|name| !multi.left.contains(name));
                if names.len() >= self.config.limits.search_mailboxes as usize {
                    return Next::no("LIMIT", "too many mailboxes at once");
                }
                names.reverse();
                names.append(&mut multi.left);
                multi.left = names;
            }
            Answer::Status(figures) => {
                let name = multi.left.last();
                let selection = self.selected.as_ref();
                let own = selection.filter(|s| name.is_some_and(|name| s.name == *name));
                let below = (figures.next > 1).then(|| 1..=figures.next - 1);
                let among = own.map_or_else(
                    || Arc::new(UidSet::from_runs(below)),
                    |selection| Arc::clone(&selection.uids),
                );
                multi.among = own.map(|_| Arc::clone(&among));
                multi.validity = figures.validity;
                let id = self.ask(Ask::Search {
                    mailbox: figures.mailbox,
                    among,
                    key: Arc::clone(&multi.key),
                });
                return Next::Wait(id, Job::MultiSearch(multi));
            }
            Answer::Found { uids, modseq } => {
                let uids = match &multi.among {
                    Some(known) => uids.intersection(known),
                    None => uids,
                };
                self.tell_mailbox(&mut multi, uids, modseq, running);
            }
            // It went meanwhile.
            Answer::No(_) if multi.validity == 0 && !multi.left.is_empty() => {
                multi.left.pop();
            }
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        }
        self.search_next(multi)
    }

    fn tell_mailbox(
        &mut self,
        multi: &mut MultiSearch,
        uids: UidSet,
        modseq: Option<u64>,
        running: &Running,
    ) {
        let name = multi.left.pop().unwrap_or_default();
        let returns = multi.returns;
        if returns.update {
            self.remember(None, &running.tag);
        }
        if let (true, Some(selection)) = (returns.save, &mut self.selected) {
            selection.saved = uids.clone();
        }
        if uids.is_empty() || !returns.tells() {
            return;
        }
        let shown = self.on_wire(&name);
        let out = self.out.text();
        out.extend_from_slice(b"* ESEARCH (TAG ");
        write_string(out, &running.tag);
        out.extend_from_slice(b" MAILBOX ");
        out.extend_from_slice(&shown);
        put!(out, " UIDVALIDITY {}) UID", multi.validity);
        let modseq = modseq.filter(|_| multi.modseq);
        extended(out, &Found::uids(uids, returns, modseq), returns);
    }
}
