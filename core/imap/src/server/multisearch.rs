//! ESEARCH over several mailboxes, RFC 7377: one after the other, each answered where something is found.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mox_machine::AskId;
use mox_uids::UidSet;

use super::job::{Job, Next, Reply, Running};
use super::search::{Found, extended, few};
use super::{Answer, Ask, BoxId, Server};
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
    left: Vec<Place>,
    /// UIDVALIDITY of the one that is searched.
    validity: u32,
    /// The messages that the session knows of, if it is the selected one.
    among: Option<Arc<UidSet>>,
}

/// A mailbox to be searched.
#[derive(Debug)]
enum Place {
    /// The selected one, whatever its name is by now.
    Selected,
    Named(String),
}

impl Server {
    pub(super) fn multi_search(&mut self, args: MultiSearchArgs, tag: &[u8]) -> Next {
        if let Err(next) = self.tag_is_free(tag, args.search.returns) {
            return next;
        }
        let alone = args.sources[..] == [Source::Selected];
        let selected = args.sources.contains(&Source::Selected);
        match &self.selected {
            None if selected => return Next::bad("no mailbox is selected"),
            Some(selection) if selected && selection.vanished => {
                return Next::no("NONEXISTENT", "the selected mailbox was deleted");
            }
            _ => {}
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
        let left = selected.then_some(Place::Selected).into_iter().collect();
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
        multi.validity = 0;
        let id = match (multi.left.last(), &self.selected) {
            (Some(Place::Named(name)), _) => self.ask(Ask::Status {
                name: name.clone(),
                deleted_size: false,
            }),
            (Some(Place::Selected), Some(selection)) => {
                let (mailbox, validity) = (selection.mailbox, selection.validity);
                let among = Arc::clone(&selection.uids);
                self.search_mailbox(&mut multi, mailbox, validity, Some(among), 0)
            }
            _ => return Next::ok(),
        };
        Next::Wait(id, Job::MultiSearch(multi))
    }

    /// `known`: the messages of the selected mailbox, if it is that; `next`: the next UID of any other.
    fn search_mailbox(
        &mut self,
        multi: &mut MultiSearch,
        mailbox: BoxId,
        validity: u32,
        known: Option<Arc<UidSet>>,
        next: u32,
    ) -> AskId {
        let below = (next > 1).then(|| 1..=next - 1);
        let among = known.clone();
        let among = among.unwrap_or_else(|| Arc::new(UidSet::from_runs(below)));
        (multi.validity, multi.among) = (validity, known);
        self.ask(Ask::Search {
            mailbox,
            among,
            key: Arc::clone(&multi.key),
        })
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
                let mut names: Vec<Place> = wanted.map(|m| Place::Named(m.name)).collect();
                if names.len() >= self.config.limits.search_mailboxes as usize {
                    return Next::no("LIMIT", "too many mailboxes at once");
                }
                names.reverse();
                names.append(&mut multi.left);
                multi.left = names;
            }
            Answer::Status(figures) => {
                let selection = self.selected.as_ref();
                let own = selection.filter(|s| s.mailbox == figures.mailbox);
                if own.is_some() && multi.sources.contains(&Source::Selected) {
                    // It was searched first.
                    multi.left.pop();
                    return self.search_next(multi);
                }
                let known = own.map(|selection| Arc::clone(&selection.uids));
                let (mailbox, validity) = (figures.mailbox, figures.validity);
                let id = self.search_mailbox(&mut multi, mailbox, validity, known, figures.next);
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
            Answer::No(refusal) => {
                self.save_nothing(Some(multi.returns));
                return Next::Done(refusal.into());
            }
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
        let place = multi.left.pop();
        let returns = multi.returns;
        if returns.update {
            self.remember(None, &running.tag);
        }
        if let (true, Some(selection)) = (returns.save, &mut self.selected) {
            selection.saved = few(returns, &uids, None).unwrap_or_else(|| uids.clone());
        }
        if uids.is_empty() || !returns.tells() {
            return;
        }
        let shown = match (place, &self.selected) {
            (Some(Place::Named(name)), _) => self.on_wire(&name),
            // The name that its client knows it by.
            (_, Some(selection)) => self.on_wire(&selection.name),
            _ => return,
        };
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
