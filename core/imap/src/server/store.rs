//! STORE, RFC 3501 6.4.6 and RFC 7162 3.1.3.

use alloc::boxed::Box;
use mox_uids::UidSet;

use super::fetch::Fetch;
use super::job::{Job, Next, Reply};
use super::message_limit::Limited;
use super::{Answer, Ask, Server, numbered};
use crate::wire::{FetchItem, StoreArgs};

#[derive(Debug)]
pub(super) struct Store {
    uids: UidSet,
    uid: bool,
    silent: bool,
    conditional: bool,
    limited: Limited,
}

impl Server {
    pub(super) fn store(&mut self, args: StoreArgs, uid: bool) -> Next {
        let conditional = args.unchanged_since.is_some();
        if conditional {
            self.use_condstore();
        }
        let Some(selection) = &self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let uids = match numbered(&args.set, &selection.uids, uid) {
            Ok(uids) => uids,
            Err(next) => return next,
        };
        if !selection.writable {
            return Next::no("", "the mailbox is read-only");
        }
        if uids.is_empty() {
            return Next::ok();
        }
        let mailbox = selection.mailbox;
        let (uids, limited) = self.highest(uids);
        let ask = Ask::Mark {
            mailbox,
            uids: uids.clone(),
            how: args.how,
            flags: args.flags,
            unchanged_since: args.unchanged_since,
            known: selection.modseq,
        };
        let store = Store {
            uids,
            uid,
            silent: args.silent,
            conditional,
            limited,
        };
        Next::Wait(self.ask(ask), Job::Store(Box::new(store)))
    }

    /// The flags as they are now are told like those of a FETCH, also of messages that had them before.
    pub(super) fn stored(&mut self, store: Store, answer: Answer) -> Next {
        let (rows, others, modified, changed) = match answer {
            Answer::Marked {
                rows,
                others,
                modified,
                changed,
            } => (rows, others, modified, changed),
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        };
        let Some(selection) = &mut self.selected else {
            return Next::Done(Reply::unexpected());
        };
        let nameless = !store.silent && !selection.names_all(rows.iter());
        let told: UidSet = rows.iter().map(|row| row.uid).collect();
        selection.contexts.note(&told.union(&others));
        for (modseq, uids) in changed {
            selection.changed_by_us(uids, modseq);
        }
        let reply = if modified.is_empty() {
            Reply::ok()
        } else {
            let named = if store.uid {
                modified.clone()
            } else {
                modified
                    .iter()
                    .filter_map(|uid| selection.number(uid))
                    .map(mox_uids::Uid)
                    .collect()
            };
            Reply::ok_with(alloc::format!("MODIFIED {named}"))
        };
        let mut items = alloc::vec::Vec::new();
        if (store.uid || self.modes.condstore) && !self.modes.uid_only {
            items.push(FetchItem::Uid);
        }
        if !store.silent {
            items.push(FetchItem::Flags);
        }
        if store.conditional || self.modes.condstore {
            items.push(FetchItem::Modseq);
        }
        if store.silent && !self.modes.condstore {
            return self.limited(store.limited, reply);
        }
        let left = if store.silent {
            others
        } else {
            store.uids.difference(&modified).difference(&told)
        };
        let mut fetch = Fetch::of_stored(items, left, rows, reply);
        fetch.nameless = nameless;
        fetch.limited = store.limited;
        Next::Go(Job::Fetch(Box::new(fetch)))
    }
}
