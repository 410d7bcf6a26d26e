//! What is refused because it belongs to a capability that is switched off. Whole commands are refused where they are named;
//! here are the arguments that extensions give to commands of others.

use alloc::vec::Vec;

use super::{BodyWhat, Server, SortField};
use crate::SearchKey;
use crate::wire::{Announced, Command, FetchArgs, FetchItem, Malformed, SearchArgs, StatusItem};

impl Server {
    /// Why a command is not obeyed, though it is well formed.
    pub(super) fn switched_off(&self, command: &Command) -> Option<Malformed> {
        if self.config.without.is_empty() && self.without.is_empty() {
            return None;
        }
        let refused = uses(command).into_iter().any(|one_of| {
            let mut one_of = one_of.iter();
            !one_of.any(|capability| self.offers(capability))
        });
        refused.then_some(Malformed::Syntax(
            "the extension that this belongs to is switched off",
        ))
    }

    /// RFC 7888 and RFC 3516: literals that nobody was offered.
    pub(super) fn literal_off(&self, literal: &Announced) -> Option<Malformed> {
        let unasked = !literal.waits && !self.offers("LITERAL+");
        let binary = literal.binary && !self.offers("BINARY");
        (unasked || binary).then_some(Malformed::Syntax("this kind of literal is switched off"))
    }
}

/// Capabilities that a command needs beside that of its name. Of each group one is enough.
type Uses = Vec<&'static [&'static str]>;

fn uses(command: &Command) -> Uses {
    let mut uses = Uses::new();
    let mut note = |is_used: bool, one_of: &'static [&'static str]| {
        if is_used {
            uses.push(one_of);
        }
    };
    match command {
        Command::Authenticate { initial, .. } => note(initial.is_some(), &["SASL-IR"]),
        Command::Select { params, .. } => {
            note(params.condstore, &["CONDSTORE"]);
            note(params.qresync.is_some(), &["QRESYNC"]);
        }
        Command::Create { special_use, .. } => {
            note(!special_use.is_empty(), &["CREATE-SPECIAL-USE"]);
        }
        Command::List(list) => {
            note(list.extended, &["LIST-EXTENDED"]);
            note(list.select.special_use, &["SPECIAL-USE"]);
            note(!list.returns.status.is_empty(), &["LIST-STATUS"]);
            list.returns
                .status
                .iter()
                .for_each(|item| status(*item, &mut note));
        }
        Command::Status { items, .. } => items.iter().for_each(|item| status(*item, &mut note)),
        Command::Search(args) => {
            let extended: &'static [&'static str] = match args.order {
                Some(_) => &["ESORT"],
                None => &["ESEARCH"],
            };
            note(args.returns.is_some(), extended);
            search(args, &mut note);
        }
        Command::MultiSearch(args) => search(&args.search, &mut note),
        Command::Thread(args) => keys(&args.key, &mut note),
        Command::Fetch(args) => fetch(args, &mut note),
        Command::Store(args) => note(args.unchanged_since.is_some(), &["CONDSTORE"]),
        _ => {}
    }
    uses
}

fn status(item: StatusItem, note: &mut impl FnMut(bool, &'static [&'static str])) {
    note(item == StatusItem::Size, &["STATUS=SIZE"]);
    note(item == StatusItem::HighestModseq, &["CONDSTORE"]);
    note(item == StatusItem::AppendLimit, &["APPENDLIMIT"]);
    note(item == StatusItem::MailboxId, &["OBJECTID"]);
    note(item == StatusItem::DeletedStorage, &["QUOTA=RES-STORAGE"]);
}

fn search(args: &SearchArgs, note: &mut impl FnMut(bool, &'static [&'static str])) {
    let returns = args.returns.unwrap_or_default();
    note(returns.save, &["SEARCHRES"]);
    note(!args.update.is_empty(), &["NOTIFY"]);
    let display = |field| matches!(field, SortField::DisplayFrom | SortField::DisplayTo);
    match &args.order {
        Some(order) => {
            note(returns.partial.is_some(), &["PARTIAL", "CONTEXT=SORT"]);
            note(returns.update, &["CONTEXT=SORT"]);
            note(
                order.iter().any(|key| display(key.field)),
                &["SORT=DISPLAY"],
            );
        }
        None => {
            note(returns.partial.is_some(), &["PARTIAL", "CONTEXT=SEARCH"]);
            note(returns.update, &["CONTEXT=SEARCH"]);
        }
    }
    note(args.modseq, &["CONDSTORE"]);
    keys(&args.key, note);
}

/// How deep keys are nested is limited where they are read.
fn keys(key: &SearchKey, note: &mut impl FnMut(bool, &'static [&'static str])) {
    let mut open = Vec::from([key]);
    while let Some(key) = open.pop() {
        match key {
            SearchKey::And(keys) => open.extend(keys),
            SearchKey::Or(one, other) => open.extend([&**one, &**other]),
            SearchKey::Not(key) => open.push(key),
            SearchKey::Within(..) => note(true, &["WITHIN"]),
            SearchKey::SavedDay { .. } => note(true, &["SAVEDATE"]),
            SearchKey::EmailId(_) => note(true, &["OBJECTID"]),
            SearchKey::Modseq(_) => note(true, &["CONDSTORE"]),
            _ => {}
        }
    }
}

fn fetch(args: &FetchArgs, note: &mut impl FnMut(bool, &'static [&'static str])) {
    note(args.changed_since.is_some(), &["CONDSTORE"]);
    note(args.vanished, &["QRESYNC"]);
    note(args.partial.is_some(), &["PARTIAL"]);
    for item in &args.items {
        let capability: &'static [&'static str] = match item {
            FetchItem::Modseq => &["CONDSTORE"],
            FetchItem::SaveDate => &["SAVEDATE"],
            FetchItem::EmailId | FetchItem::ThreadId => &["OBJECTID"],
            FetchItem::Preview { .. } => &["PREVIEW"],
            FetchItem::BinarySize { .. } => &["BINARY"],
            FetchItem::Body { part, .. } if part.what == BodyWhat::Binary => &["BINARY"],
            _ => continue,
        };
        note(true, capability);
    }
}
