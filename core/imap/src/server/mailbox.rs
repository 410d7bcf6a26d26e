//! CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, STATUS.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::capability::Modes;
use super::job::{Job, Next, Reply};
use super::select::mailbox_id;
use super::{Answer, Ask, MailboxEdit, MailboxInfo, Server, StatusFigures, on_wire};
use crate::wire::{ListArgs, ListSelect, Patterns, StatusItem, put};

const INBOX: &str = "INBOX";

/// The attributes CREATE may ask for, RFC 6154 2 and RFC 8457.
const SPECIAL_USES: [&str; 8] = [
    "\\All",
    "\\Archive",
    "\\Drafts",
    "\\Flagged",
    "\\Important",
    "\\Junk",
    "\\Sent",
    "\\Trash",
];

/// A LIST or LSUB.
#[derive(Debug)]
pub(super) struct Listing {
    args: ListArgs,
    lsub: bool,
    /// What is still to be told, last first.
    entries: Vec<Entry>,
    /// The mailbox whose figures are asked for.
    status: Option<String>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    attributes: Vec<&'static str>,
    special_use: Option<String>,
    /// CHILDINFO: shown for what is below it and meets these (RFC 5258 3.5).
    child_info: ListSelect,
    exists: bool,
}

pub(super) fn edited(answer: Answer) -> Next {
    match answer {
        Answer::Done => Next::ok(),
        Answer::No(refusal) => Next::Done(refusal.into()),
        _ => Next::Done(Reply::unexpected()),
    }
}

impl Server {
    fn edit(&mut self, edit: MailboxEdit) -> Next {
        Next::Wait(self.ask(Ask::Edit(edit)), Job::Edit)
    }

    pub(super) fn create(&mut self, mailbox: &[u8], special_use: &[Vec<u8>]) -> Next {
        // A final separator says that children will come (RFC 3501 6.3.3); they may always.
        let mailbox = mailbox.strip_suffix(b"/").unwrap_or(mailbox);
        let name = match self.canonical(mailbox) {
            Ok(name) => name,
            Err(next) => return next,
        };
        if name == INBOX {
            return Next::no("ALREADYEXISTS", "INBOX is always there");
        }
        let special_use = match special_use {
            [] => None,
            [one] => {
                let known = SPECIAL_USES
                    .iter()
                    .find(|u| u.as_bytes().eq_ignore_ascii_case(one));
                match known {
                    Some(known) => Some((*known).to_string()),
                    None => return Next::no("USEATTR", "there is no such special use"),
                }
            }
            _ => return Next::no("USEATTR", "a mailbox has one special use at most"),
        };
        let ask = Ask::Edit(MailboxEdit::Create { name, special_use });
        Next::Wait(self.ask(ask), Job::Create)
    }

    pub(super) fn created(answer: Answer) -> Next {
        match answer {
            // RFC 8474 4.1.
            Answer::Created(mailbox) => Next::Done(Reply::ok_with(format!(
                "MAILBOXID ({})",
                mailbox_id(mailbox)
            ))),
            Answer::No(refusal) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }

    pub(super) fn delete(&mut self, mailbox: &[u8]) -> Next {
        match self.canonical(mailbox) {
            Ok(name) if name == INBOX => Next::no("CANNOT", "INBOX cannot be deleted"),
            Ok(name) => self.edit(MailboxEdit::Delete { name }),
            Err(next) => next,
        }
    }

    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> Next {
        let to = to.strip_suffix(b"/").unwrap_or(to);
        match (self.canonical(from), self.canonical(to)) {
            (Ok(_), Ok(to)) if to == INBOX => Next::no("ALREADYEXISTS", "INBOX is always there"),
            (Ok(from), Ok(to)) => self.edit(MailboxEdit::Rename { from, to }),
            (Err(next), _) | (_, Err(next)) => next,
        }
    }

    pub(super) fn subscribe(&mut self, mailbox: &[u8], on: bool) -> Next {
        match self.canonical(mailbox) {
            Ok(name) => self.edit(MailboxEdit::Subscribe { name, on }),
            Err(next) => next,
        }
    }

    pub(super) fn list(&mut self, args: ListArgs, lsub: bool) -> Next {
        let verb = if lsub { "LSUB" } else { "LIST" };
        if !args.extended && args.patterns.iter().all(String::is_empty) {
            // RFC 3501 6.3.8: asks for the separator and the root of the reference, which is empty here.
            let line = format!("* {verb} (\\Noselect) \"/\" \"\"");
            self.out.line(line.as_bytes());
            return Next::ok();
        }
        let listing = Listing {
            args,
            lsub,
            entries: Vec::new(),
            status: None,
        };
        Next::Wait(self.ask(Ask::Mailboxes), Job::Listing(Box::new(listing)))
    }

    pub(super) fn listing_answer(&mut self, mut listing: Box<Listing>, answer: Answer) -> Next {
        match (answer, listing.status.take()) {
            (Answer::Mailboxes(mailboxes), None) => {
                listing.entries = if listing.lsub {
                    lsub_entries(&listing.args, &mailboxes)
                } else {
                    list_entries(&listing.args, &mailboxes)
                };
                // Taken from the end.
                listing.entries.reverse();
                Next::Go(Job::Listing(listing))
            }
            (Answer::Status(figures), Some(name)) => {
                self.write_status(&name, &listing.args.returns.status, &figures);
                Next::Go(Job::Listing(listing))
            }
            // It went meanwhile: it has no figures (RFC 5819 2).
            (Answer::No(_), Some(_)) => Next::Go(Job::Listing(listing)),
            (Answer::No(refusal), None) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }

    pub(super) fn list_more(&mut self, mut listing: Box<Listing>) -> Next {
        while let Some(entry) = listing.entries.pop() {
            entry.write(self.out.text(), listing.lsub, self.modes);
            if entry.exists && !listing.args.returns.status.is_empty() {
                let id = self.ask(Ask::Status {
                    name: entry.name.clone(),
                    deleted_size: listing
                        .args
                        .returns
                        .status
                        .contains(&StatusItem::DeletedStorage),
                });
                listing.status = Some(entry.name);
                return Next::Wait(id, Job::Listing(listing));
            }
            if self.out.octets() >= super::OUTPUT_HIGH {
                return Next::Go(Job::Listing(listing));
            }
        }
        Next::ok()
    }

    pub(super) fn status(&mut self, mailbox: &[u8], items: Vec<StatusItem>) -> Next {
        if items.contains(&StatusItem::HighestModseq) {
            self.use_condstore();
        }
        match self.canonical(mailbox) {
            Ok(name) => {
                let deleted_size = items.contains(&StatusItem::DeletedStorage);
                let id = self.ask(Ask::Status {
                    name: name.clone(),
                    deleted_size,
                });
                Next::Wait(id, Job::Status { name, items })
            }
            Err(next) => next,
        }
    }

    pub(super) fn status_answer(
        &mut self,
        name: &str,
        items: &[StatusItem],
        answer: Answer,
    ) -> Next {
        match answer {
            Answer::Status(figures) => {
                self.write_status(name, items, &figures);
                Next::ok()
            }
            Answer::No(refusal) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }

    pub(super) fn write_status(
        &mut self,
        name: &str,
        items: &[StatusItem],
        figures: &StatusFigures,
    ) {
        let shown = self.on_wire(name);
        let limit = self.config.limits.append;
        let out = self.out.text();
        out.extend_from_slice(b"* STATUS ");
        out.extend_from_slice(&shown);
        for (i, item) in items.iter().enumerate() {
            put!(out, "{}{} ", if i == 0 { " (" } else { " " }, item.name());
            let value = match item {
                StatusItem::Messages => figures.messages.into(),
                StatusItem::Recent => figures.recent.into(),
                StatusItem::UidNext => figures.next.into(),
                StatusItem::UidValidity => figures.validity.into(),
                StatusItem::Unseen => figures.unseen.into(),
                StatusItem::Deleted => figures.deleted.into(),
                StatusItem::Size => figures.size,
                StatusItem::DeletedStorage => figures.deleted_size,
                StatusItem::HighestModseq => figures.modseq,
                StatusItem::AppendLimit => limit,
                StatusItem::MailboxId => {
                    put!(out, "({})", mailbox_id(figures.mailbox));
                    continue;
                }
            };
            put!(out, "{value}");
        }
        out.extend_from_slice(b")\r\n");
    }
}

impl Entry {
    fn write(&self, out: &mut Vec<u8>, lsub: bool, modes: Modes) {
        put!(out, "* {} (", if lsub { "LSUB" } else { "LIST" });
        let attributes = self
            .attributes
            .iter()
            .copied()
            .chain(self.special_use.as_deref());
        for (i, attribute) in attributes.enumerate() {
            put!(out, "{}{attribute}", if i == 0 { "" } else { " " });
        }
        out.extend_from_slice(b") \"/\" ");
        out.extend_from_slice(&on_wire(&self.name, modes));
        let criteria: &[u8] = match (self.child_info.subscribed, self.child_info.special_use) {
            (true, true) => b" (\"CHILDINFO\" (\"SUBSCRIBED\" \"SPECIAL-USE\"))",
            (true, false) => b" (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            (false, true) => b" (\"CHILDINFO\" (\"SPECIAL-USE\"))",
            (false, false) => b"",
        };
        out.extend_from_slice(criteria);
        out.extend_from_slice(b"\r\n");
    }
}

fn patterns(args: &ListArgs) -> Patterns {
    // An empty pattern among several names nothing (RFC 5258 3).
    let patterns = args.patterns.iter().filter(|p| !p.is_empty());
    Patterns::new(&args.reference, patterns.map(|pattern| &pattern[..]))
}

/// Every name above these, with `/` in between.
fn parents<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names
        .flat_map(|name| name.match_indices('/').filter_map(|(at, _)| name.get(..at)))
        .collect()
}

fn list_entries(args: &ListArgs, mailboxes: &[MailboxInfo]) -> Vec<Entry> {
    let patterns = patterns(args);
    let with_children = parents(mailboxes.iter().filter(|m| m.exists).map(|m| &*m.name));
    let select = args.select;
    // A name without a mailbox is shown for its subscription only.
    let is_selected = |mailbox: &MailboxInfo| {
        let there = match select.subscribed {
            true => mailbox.subscribed,
            false => mailbox.exists,
        };
        there && (!select.special_use || mailbox.special_use.is_some())
    };
    let selected = mailboxes
        .iter()
        .filter(|m| select.recursive && is_selected(m));
    let with_selected = parents(selected.map(|m| &*m.name));
    let nowhere = |name: &str| MailboxInfo {
        name: name.to_string(),
        subscribed: false,
        exists: false,
        special_use: None,
    };
    let names: BTreeSet<&str> = mailboxes.iter().map(|m| &*m.name).collect();
    // RFC 5258 3.5: parents that do not exist are shown for what is below them too.
    let between: Vec<MailboxInfo> = with_selected
        .difference(&names)
        .map(|name| nowhere(name))
        .collect();
    let mut entries = Vec::new();
    for mailbox in mailboxes.iter().chain(&between) {
        let child_info = with_selected.contains(&*mailbox.name);
        if !(child_info || is_selected(mailbox)) || !patterns.matches(&mailbox.name) {
            continue;
        }
        let mut attributes = Vec::new();
        if !mailbox.exists {
            attributes.push("\\NonExistent");
        }
        if with_children.contains(&*mailbox.name) {
            attributes.push("\\HasChildren");
        } else if mailbox.exists {
            attributes.push("\\HasNoChildren");
        }
        if mailbox.subscribed && (select.subscribed || args.returns.subscribed) {
            attributes.push("\\Subscribed");
        }
        entries.push(Entry {
            name: mailbox.name.clone(),
            attributes,
            special_use: mailbox.special_use.clone(),
            child_info: match child_info {
                true => select,
                false => ListSelect::default(),
            },
            exists: mailbox.exists,
        });
    }
    if !between.is_empty() {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    entries
}

fn lsub_entries(args: &ListArgs, mailboxes: &[MailboxInfo]) -> Vec<Entry> {
    let patterns = patterns(args);
    let subscribed: BTreeSet<&str> = mailboxes
        .iter()
        .filter(|m| m.subscribed)
        .map(|m| &*m.name)
        .collect();
    let entry = |name: &str, attributes| Entry {
        name: name.to_string(),
        attributes,
        special_use: None,
        child_info: ListSelect::default(),
        exists: false,
    };
    let matching = |name: &&&str| patterns.matches(name);
    let mut entries: Vec<_> = subscribed
        .iter()
        .filter(matching)
        .map(|name| entry(name, Vec::new()))
        .collect();
    // RFC 3501 6.3.9: a name that `%` cuts off is shown though it is not subscribed itself.
    let above = parents(subscribed.iter().copied());
    for name in above.difference(&subscribed) {
        if patterns.ends_in_percent() && patterns.matches(name) {
            entries.push(entry(name, [r"\Noselect"].into()));
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}
