//! Searches whose results are kept up to date, CONTEXT=SEARCH of RFC 5267: `RETURN (UPDATE)` and CANCELUPDATE.
//!
//! A SORT with UPDATE is answered, but not kept (RFC 5267 4.3.1 allows to refuse).

use alloc::sync::Arc;
use alloc::vec::Vec;
use mox_machine::AskId;
use mox_uids::UidSet;

use super::job::Next;
use super::report::Selection;
use super::search::write_esearch;
use super::{Answer, Ask, Server};
use crate::SearchKey;
use crate::wire::{FetchItem, SearchReturn, put, write_string};

/// A search that is kept up to date.
#[derive(Debug)]
pub(super) struct Context {
    /// Of the command that began it.
    pub(super) tag: Vec<u8>,
    pub(super) key: Arc<SearchKey>,
    /// What is told of new messages that are found (RFC 5465 7).
    pub(super) items: Vec<FetchItem>,
    /// It tells UIDs.
    pub(super) uid: bool,
    /// What the client knows to be found.
    pub(super) found: UidSet,
}

/// All contexts of the selected mailbox.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    all: Vec<Context>,
    /// Messages that are new or changed since the contexts were looked at.
    changed: UidSet,
    /// Those of them that are new.
    arrived: UidSet,
    /// New messages that were found, and what of them is still to be told.
    due: Vec<(Vec<FetchItem>, UidSet)>,
    /// The search that is asked: for the context at this place, over these messages.
    asked: Option<(AskId, usize, UidSet)>,
}

impl Contexts {
    pub(super) fn note(&mut self, uids: &UidSet) {
        if !self.all.is_empty() {
            self.changed = self.changed.union(uids);
        }
    }

    pub(super) fn note_arrivals(&mut self, uids: &UidSet) {
        if self.all.iter().any(|context| !context.items.is_empty()) {
            self.arrived = self.arrived.union(uids);
        }
    }

    pub(super) fn open(&self) -> Option<AskId> {
        self.asked.as_ref().map(|(id, ..)| *id)
    }
}

impl Context {
    fn tell(&self, out: &mut Vec<u8>, selection: &Selection, what: &str, uids: &UidSet) {
        if uids.is_empty() {
            return;
        }
        write_esearch(out, &self.tag, self.uid);
        let numbers = match self.uid {
            true => uids.clone(),
            false => selection.numbers(uids),
        };
        // Position 0: in the order of the mailbox.
        put!(out, " {what} (0 {numbers})\r\n");
    }
}

impl Selection {
    /// Expunged messages leave the results before their numbers go (RFC 5267 4.3.4).
    pub(super) fn leave_contexts(&mut self, out: &mut Vec<u8>, gone: &UidSet) {
        let mut contexts = core::mem::take(&mut self.contexts.all);
        for context in &mut contexts {
            let left = context.found.intersection(gone);
            context.tell(out, self, "REMOVEFROM", &left);
            context.found = context.found.difference(gone);
        }
        self.contexts.all = contexts;
        self.contexts.changed = self.contexts.changed.difference(gone);
    }
}

impl Server {
    /// What is to be told of new messages that a search found. At most one entry a context and report is kept.
    pub(super) fn take_due(&mut self) -> Option<(Vec<FetchItem>, UidSet)> {
        let selection = self.selected.as_mut()?;
        let (items, uids) = selection.contexts.due.pop()?;
        Some((items, uids.intersection(&selection.uids)))
    }

    /// Keeps a search, or says that it will not.
    pub(super) fn remember(&mut self, context: Option<Context>, tag: &[u8]) {
        let most = self.config.limits.contexts as usize;
        let Some(selection) = &mut self.selected else {
            return;
        };
        let contexts = &mut selection.contexts.all;
        match context.filter(|_| contexts.len() < most) {
            Some(context) => contexts.push(context),
            None => {
                let out = self.out.text();
                out.extend_from_slice(b"* NO [NOUPDATE ");
                write_string(out, tag);
                out.extend_from_slice(b"] this search is not kept up to date\r\n");
            }
        }
    }

    /// RFC 5267 4.3: what is told later is known by its tag, so no other search may have it.
    pub(super) fn tag_is_free(
        &self,
        tag: &[u8],
        returns: Option<SearchReturn>,
    ) -> Result<(), Next> {
        let updates = returns.is_some_and(|returns| returns.update);
        let selection = self.selected.as_ref().filter(|_| updates);
        match selection.is_some_and(|s| s.contexts.all.iter().any(|c| c.tag == tag)) {
            true => Err(Next::bad("a search with this tag is kept up to date")),
            false => Ok(()),
        }
    }

    pub(super) fn cancel_update(&mut self, tags: &[Vec<u8>]) -> Next {
        let Some(selection) = &mut self.selected else {
            return Next::ok();
        };
        let contexts = &mut selection.contexts.all;
        let known = |tag: &Vec<u8>| contexts.iter().any(|context| context.tag == *tag);
        if !tags.iter().all(known) {
            return Next::bad("no search of that tag is kept up to date");
        }
        contexts.retain(|context| !tags.contains(&context.tag));
        Next::ok()
    }

    /// Looks at what changed for the next context. True when an answer must be waited for.
    pub(super) fn begin_contexts(&mut self) -> bool {
        self.next_context(0)
    }

    fn next_context(&mut self, place: usize) -> bool {
        let Some(selection) = &mut self.selected else {
            return false;
        };
        let contexts = &mut selection.contexts;
        if contexts.asked.is_some() {
            return true;
        }
        let changed = contexts.changed.intersection(&selection.uids);
        let Some(context) = contexts.all.get(place).filter(|_| !changed.is_empty()) else {
            contexts.changed = UidSet::new();
            contexts.arrived = UidSet::new();
            return false;
        };
        let ask = Ask::Search {
            mailbox: selection.mailbox,
            among: Arc::new(changed.clone()),
            key: Arc::clone(&context.key),
        };
        let id = self.ask(ask);
        if let Some(selection) = &mut self.selected {
            selection.contexts.asked = Some((id, place, changed));
        }
        true
    }

    /// Gives the answer back when it is not for a context.
    pub(super) fn context_answer(&mut self, id: AskId, answer: Answer) -> Option<Answer> {
        let Some(selection) = &mut self.selected else {
            return Some(answer);
        };
        let asked = selection.contexts.asked.take_if(|(asked, ..)| *asked == id);
        let Some((_, place, changed)) = asked else {
            return Some(answer);
        };
        if let Answer::Found { uids, .. } = answer {
            let mut contexts = core::mem::take(&mut selection.contexts.all);
            if let Some(context) = contexts.get_mut(place) {
                let changed = changed.intersection(&selection.uids);
                let now = uids.intersection(&changed);
                let before = context.found.intersection(&changed);
                let out = self.out.text();
                context.tell(out, selection, "REMOVEFROM", &before.difference(&now));
                let found = now.difference(&before);
                context.tell(out, selection, "ADDTO", &found);
                let new = found.intersection(&selection.contexts.arrived);
                if !context.items.is_empty() && !new.is_empty() {
                    selection.contexts.due.push((context.items.clone(), new));
                }
                context.found = context.found.difference(&changed).union(&now);
            }
            selection.contexts.all = contexts;
        }
        if !self.next_context(place + 1) {
            self.after_contexts();
        }
        None
    }
}
