//! NOTIFY, RFC 5465: what a client is told of mailboxes without asking, also of those that are not selected.
//!
//! `Observe` only says that something changed in the account. Then, between commands, the session looks at all mailboxes
//! that matter and tells how they differ from the last look. However much changes meanwhile, and however slowly the client
//! reads, there is one look at a time and one picture of what was told, of at most so many mailboxes; with more of them
//! NOTIFY ends (NOTIFICATIONOVERFLOW).

mod names;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use mox_machine::{AskId, Step};
use mox_uids::UidSet;

use super::fetch::Fetch;
use super::job::{Job, Next, Running};
use super::{Answer, Ask, MailboxInfo, OUTPUT_HIGH, Phase, Server, StatusFigures, on_wire};
use crate::wire::{
    Events, FetchItem, NotifySet, SelectedEvents, StatusItem, Verb, put, write_astring,
};

/// What the client asked for, and what it was told.
#[derive(Debug)]
pub(super) struct Notify {
    set: NotifySet,
    /// The picture it was told last; `None` before the first look.
    known: Option<Picture>,
    /// The annotations of the account that it was told last.
    account: Annotations,
    /// The account's number at the last look.
    since: u64,
    observe: Option<AskId>,
    /// Something changed since the last look began.
    dirty: bool,
    look: Option<Look>,
    /// New messages of the selected mailbox whose data items are still to be told.
    arrivals: UidSet,
}

type Picture = BTreeMap<String, Seen>;

/// A mailbox, or a subscription without one.
#[derive(Debug)]
struct Seen {
    exists: bool,
    subscribed: bool,
    special_use: Option<String>,
    /// `None` where nobody wants to know.
    figures: Option<StatusFigures>,
    annotations: Annotations,
}

/// Annotations by name, with a digest of each value; none where nobody wants to know.
type Annotations = BTreeMap<String, u64>;

/// A look at all mailboxes.
#[derive(Debug, Default)]
struct Look {
    ask: Option<AskId>,
    /// Still to be looked at, last first.
    left: Vec<MailboxInfo>,
    seen: Picture,
    /// The names are known.
    listed: bool,
    /// Of the mailbox whose annotations are asked for.
    figures: Option<StatusFigures>,
    /// Annotations of the account, once they are known.
    account: Option<Annotations>,
    /// Octets of the names of annotations so far.
    octets: usize,
}

impl Look {
    /// What is seen of the mailbox that is looked at.
    fn next_is(&mut self, exists: bool, annotations: Annotations) {
        let figures = self.figures.take();
        if let Some(info) = self.left.pop() {
            let seen = Seen {
                exists,
                subscribed: info.subscribed,
                special_use: info.special_use,
                figures,
                annotations,
            };
            self.seen.insert(info.name, seen);
        }
    }
}

/// FNV-1a of a value: enough to see that a user's own value is another one.
fn digest(value: &[u8]) -> u64 {
    value.iter().fold(0xcbf2_9ce4_8422_2325, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Notify {
    fn events(&self, name: &str, subscribed: bool) -> Events {
        // RFC 5465 6: several groups may be about one mailbox.
        let groups = self.set.others.iter();
        let groups = groups.filter(|(source, _)| source.includes(name, subscribed));
        groups.fold(Events::default(), |all, (_, events)| all.union(*events))
    }

    /// Whether annotations of the account are of interest, whichever mailboxes stand beside.
    fn wants_account(&self) -> bool {
        self.set
            .others
            .iter()
            .any(|(_, events)| events.server_metadata)
    }
}

impl Server {
    pub(super) fn notify(&mut self, set: Option<NotifySet>) -> Next {
        self.end_notify();
        self.notified = true;
        let Some(set) = set else {
            return Next::ok();
        };
        let observe = self.ask(Ask::Observe { since: 0 });
        self.notify = Some(Box::new(Notify {
            set,
            known: None,
            account: Annotations::new(),
            since: 0,
            observe: Some(observe),
            dirty: false,
            look: None,
            arrivals: UidSet::new(),
        }));
        Next::Go(Job::Notify)
    }

    /// Nothing is told any more but what every client is told.
    pub(super) fn end_notify(&mut self) {
        let Some(notify) = self.notify.take() else {
            return;
        };
        let look = notify.look.and_then(|look| look.ask);
        for ask in [notify.observe, look].into_iter().flatten() {
            self.out.push(Step::Cancel(ask));
        }
    }

    /// What is wanted of the selected mailbox.
    pub(super) fn selected_events(&self) -> Option<&SelectedEvents> {
        self.notify.as_ref()?.set.selected.as_ref()
    }

    /// Which events of the selected mailbox are told: all that are ever told, until NOTIFY is used; from then on those it asks
    /// for, in IDLE too (RFC 5465 3.1 and 4).
    pub(super) fn told_events(&self) -> Events {
        let wanted = self.selected_events().map(|wanted| wanted.events);
        match self.notified {
            true => wanted.unwrap_or_default(),
            false => Events {
                new: true,
                expunge: true,
                flags: true,
                ..Events::default()
            },
        }
    }

    /// Between two commands something may be told. The answer to NOTIFY itself waits for the first look.
    fn is_between(&self) -> bool {
        let running = self.running.as_ref().map(|running| &running.job);
        let free = matches!(running, None | Some(Job::Idle(false) | Job::Notify));
        free && self.phase == Phase::Open && self.report.is_none()
    }

    /// Gives the answer back when it is not for NOTIFY.
    pub(super) fn notify_answer(&mut self, id: AskId, answer: Answer) -> Option<Answer> {
        let most = self.config.limits.notify_mailboxes as usize;
        let most_octets = self.config.limits.notify_annotations as usize;
        let Some(notify) = &mut self.notify else {
            return Some(answer);
        };
        if notify.observe == Some(id) {
            notify.observe = None;
            match answer {
                Answer::Modseq(number) => {
                    notify.since = number;
                    notify.dirty = true;
                }
                _ => self.overflow("mailboxes cannot be observed now"),
            }
            return None;
        }
        let Some(look) = notify.look.as_mut().filter(|look| look.ask == Some(id)) else {
            return Some(answer);
        };
        look.ask = None;
        match answer {
            Answer::Mailboxes(all) if all.len() > most => self.overflow("too many mailboxes"),
            Answer::Mailboxes(mut all) => {
                all.reverse();
                look.left = all;
                look.listed = true;
            }
            // One that went meanwhile has no figures: the next look will not see it.
            Answer::Status(_) | Answer::No(_) if look.listed && !look.left.is_empty() => {
                match answer {
                    Answer::Status(figures) => look.figures = Some(figures),
                    _ => look.next_is(look.figures.is_some(), Annotations::new()),
                }
            }
            Answer::Annotations(all) if look.listed => {
                look.octets += all.iter().map(|(name, _)| name.len()).sum::<usize>();
                if look.octets > most_octets {
                    self.overflow("too many annotations");
                    return None;
                }
                let digests = all.into_iter().map(|(name, value)| (name, digest(&value)));
                match look.left.is_empty() {
                    true => look.account = Some(digests.collect()),
                    false => look.next_is(true, digests.collect()),
                }
            }
            _ => self.overflow("mailboxes cannot be looked at now"),
        }
        None
    }

    /// It cannot be told what the client wants to know (RFC 5465 5.8).
    fn overflow(&mut self, text: &'static str) {
        self.end_notify();
        if let Some(running) = self.running.take_if(|r| matches!(r.job, Job::Notify)) {
            return self.proceed(running, Next::no("LIMIT", text));
        }
        self.overflowed = Some(text);
        // In the middle of a response there is no place for it.
        if !self.in_response() {
            self.tell_overflow();
        }
    }

    /// Says that NOTIFY ended, if that is still to be said.
    pub(super) fn tell_overflow(&mut self) {
        if let Some(text) = self.overflowed.take() {
            put!(
                self.out.text(),
                "* OK [NOTIFICATIONOVERFLOW] {text}, nothing is told any more\r\n"
            );
        }
    }

    /// Goes on with what is to be told. True when something came of it.
    pub(super) fn pump_notify(&mut self) -> bool {
        if !self.is_between() || self.out.octets() >= OUTPUT_HIGH {
            return false;
        }
        if let Some((items, uids)) = self.take_due() {
            self.fetch_unasked(items, uids);
            return true;
        }
        let Some(notify) = &mut self.notify else {
            return false;
        };
        if !notify.arrivals.is_empty() {
            self.fetch_arrivals();
            return true;
        }
        let look = match &mut notify.look {
            None if notify.dirty => {
                notify.dirty = false;
                notify.look = Some(Look::default());
                let id = self.ask(Ask::Mailboxes);
                self.looks_at(id);
                return true;
            }
            None => return false,
            Some(look) if look.ask.is_some() => return false,
            Some(look) => look,
        };
        let (has_figures, has_account) = (look.figures.is_some(), look.account.is_some());
        let Some(info) = look.left.last().cloned() else {
            if notify.wants_account() && !has_account {
                let id = self.ask(Ask::Annotations { mailbox: None });
                self.looks_at(id);
            } else {
                self.tell_look();
            }
            return true;
        };
        let wanted = self.wants(&info.name, info.subscribed);
        let ask = match info.exists && !wanted.is_empty() {
            true if !has_figures => Some(Ask::Status {
                name: info.name,
                deleted_size: false,
            }),
            true if wanted.metadata => Some(Ask::Annotations {
                mailbox: Some(info.name),
            }),
            _ => None,
        };
        if let Some(ask) = ask {
            let id = self.ask(ask);
            self.looks_at(id);
        } else if let Some(look) = self.notify.as_mut().and_then(|n| n.look.as_mut()) {
            look.next_is(info.exists, Annotations::new());
        }
        true
    }

    fn wants(&self, name: &str, subscribed: bool) -> Events {
        let notify = self.notify.as_ref();
        notify.map_or_else(Events::default, |notify| notify.events(name, subscribed))
    }

    fn looks_at(&mut self, id: AskId) {
        if let Some(look) = self.notify.as_mut().and_then(|n| n.look.as_mut()) {
            look.ask = Some(id);
        }
    }

    /// The look is complete.
    fn tell_look(&mut self) {
        let Some(mut notify) = self.notify.take() else {
            return;
        };
        let (seen, account) = match notify.look.take() {
            Some(look) => (look.seen, look.account.unwrap_or_default()),
            None => Default::default(),
        };
        match &notify.known {
            Some(known) => {
                self.tell_changes(&notify, known, &seen);
                self.tell_annotations("", &notify.account, &account);
            }
            None if notify.set.status => {
                for (name, seen) in &seen {
                    let events = notify.events(name, seen.subscribed);
                    if let (true, Some(figures)) = (events.of_messages(), &seen.figures) {
                        self.tell_figures(name, events, figures);
                    }
                }
            }
            None => {}
        }
        notify.known = Some(seen);
        notify.account = account;
        let since = notify.since;
        notify.observe = Some(self.ask(Ask::Observe { since }));
        self.notify = Some(notify);
        if let Some(running) = self.running.take_if(|r| matches!(r.job, Job::Notify)) {
            self.proceed(running, Next::ok());
        }
    }

    fn tell_changes(&mut self, notify: &Notify, known: &Picture, seen: &Picture) {
        for (name, before) in names::changed(notify, known, seen) {
            self.tell_name(seen, name, before);
        }
        for (name, new) in seen {
            let events = notify.events(name, new.subscribed);
            let old = known.get(name).filter(|old| old.is_same(new));
            if let Some(old) = old {
                self.tell_annotations(name, &old.annotations, &new.annotations);
            }
            if let Some(figures) = &new.figures {
                let old = old.and_then(|old| old.figures.as_ref());
                if is_news(events, old, figures) {
                    self.tell_figures(name, events, figures);
                }
            }
        }
    }

    /// All attributes, as LIST would tell them (RFC 5465 5.4, 5.5).
    fn tell_name(&mut self, seen: &Picture, name: &str, before: Option<&str>) {
        let modes = self.modes;
        let attributes = names::attributes(seen, name).join(" ");
        let out = self.out.text();
        put!(out, "* LIST ({attributes}) \"/\" ");
        out.extend_from_slice(&on_wire(name, modes));
        if let Some(before) = before {
            out.extend_from_slice(b" (\"OLDNAME\" (");
            out.extend_from_slice(&on_wire(before, modes));
            out.extend_from_slice(b"))");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Which annotations are others now, or gone: their names (RFC 5464 4.4.2).
    fn tell_annotations(&mut self, name: &str, known: &Annotations, now: &Annotations) {
        let changed = now
            .iter()
            .filter(|(name, value)| known.get(*name) != Some(value));
        let gone = known.keys().filter(|name| !now.contains_key(*name));
        let names: Vec<&String> = changed.map(|(name, _)| name).chain(gone).collect();
        if names.is_empty() {
            return;
        }
        let shown = on_wire(name, self.modes);
        let out = self.out.text();
        out.extend_from_slice(b"* METADATA ");
        out.extend_from_slice(&shown);
        for name in names {
            out.push(b' ');
            write_astring(out, name.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The selected mailbox is told of in its own way.
    fn tell_figures(&mut self, name: &str, events: Events, figures: &StatusFigures) {
        let selected = self.selected.as_ref();
        if selected.is_some_and(|s| s.mailbox == figures.mailbox) {
            return;
        }
        use StatusItem::{HighestModseq, Messages, UidNext, UidValidity};
        let items = [UidValidity, UidNext, Messages, HighestModseq];
        // RFC 5465 5.2 and 5.3: also of messages, for who caches.
        let modseq = events.flags || self.modes.condstore;
        let count = if modseq { 4 } else { 3 };
        self.write_status(name, items.get(..count).unwrap_or_default(), figures);
    }

    /// Messages came into the selected mailbox: what the client wants to know of them, if it is more than usual.
    pub(super) fn arrived(&mut self, added: &UidSet) -> bool {
        let Some(notify) = &mut self.notify else {
            return false;
        };
        let wanted = notify.set.selected.as_ref();
        let wanted = wanted.is_some_and(|wanted| !wanted.items.is_empty());
        if wanted {
            notify.arrivals = notify.arrivals.union(added);
        }
        wanted
    }

    fn fetch_arrivals(&mut self) {
        let Some(notify) = &mut self.notify else {
            return;
        };
        let arrivals = core::mem::take(&mut notify.arrivals);
        let Some(selection) = &self.selected else {
            return;
        };
        let uids = arrivals.intersection(&selection.uids);
        let items: Vec<FetchItem> = match &notify.set.selected {
            Some(selected) => selected.items.clone(),
            None => return,
        };
        self.fetch_unasked(items, uids);
    }

    /// Fetches what is to be told of new messages, in a command that nobody gave. An IDLE waits that long.
    fn fetch_unasked(&mut self, items: Vec<FetchItem>, uids: UidSet) {
        self.parked = self.running.take();
        self.running = Some(Box::new(Running {
            tag: Vec::new(),
            verb: Verb::UidFetch,
            forbids_expunge: false,
            ask: None,
            job: Job::Fetch(Box::new(Fetch::of_arrivals(items, uids))),
            since: self.now.unwrap_or_default().mono,
        }));
    }

    /// The mailbox is closed: nothing of it is to be told any more.
    pub(super) fn forget_arrivals(&mut self) {
        if let Some(notify) = &mut self.notify {
            notify.arrivals = UidSet::new();
        }
    }
}

/// Whether something happened to the messages that the client wants to know. `old` is `None` for a mailbox that is new.
fn is_news(events: Events, old: Option<&StatusFigures>, new: &StatusFigures) -> bool {
    let Some(old) = old else {
        return events.new && new.messages > 0;
    };
    let arrived = new.next.saturating_sub(old.next);
    let expunged = old.messages.saturating_add(arrived) > new.messages;
    (events.new && arrived > 0)
        || (events.expunge && expunged)
        || (events.flags && new.modseq != old.modseq)
}
