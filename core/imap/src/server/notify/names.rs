//! Which names of mailboxes a client is told of, and with which attributes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::ops::Bound;

use super::{Notify, Picture, Seen};
use crate::server::BoxId;

impl Seen {
    fn id(&self) -> Option<BoxId> {
        self.figures.as_ref().map(|figures| figures.mailbox)
    }

    /// Whether it is the mailbox that was there before under its name.
    pub(super) fn is_same(&self, now: &Self) -> bool {
        self.exists && self.id() == now.id()
    }
}

/// What differs between two pictures, each name once: those that came, went, were renamed or have another subscription, and the
/// direct parents of what came and went (RFC 5465 5.4, 5.5). Renamed ones with the name they had.
pub(super) fn changed<'p>(
    notify: &Notify,
    known: &'p Picture,
    seen: &'p Picture,
) -> BTreeMap<&'p str, Option<&'p str>> {
    let was: BTreeMap<BoxId, &str> = known
        .iter()
        .filter_map(|(name, seen)| Some((seen.id()?, &name[..])))
        .collect();
    let (mut told, mut renamed) = (BTreeMap::new(), BTreeSet::new());
    // Names that came or went, whoever wants to know of them.
    let mut moved: Vec<&'p str> = Vec::new();
    for (name, new) in seen {
        let events = notify.events(name, new.subscribed);
        let old = known.get(name);
        if new.exists && !old.is_some_and(|old| old.is_same(new)) {
            moved.push(name);
            if events.name {
                // Under which name it was known.
                let before = new.id().and_then(|id| was.get(&id)).copied();
                let before = before.filter(|before| {
                    let there = seen.get(*before);
                    there.is_none_or(|there| there.id() != new.id())
                });
                renamed.extend(before);
                told.insert(&name[..], before);
            }
        }
        let subscribed = old.is_some_and(|old| old.subscribed);
        if events.subscription && new.subscribed != subscribed {
            told.entry(name).or_default();
        }
    }
    for (name, old) in known {
        let there = seen.get(name);
        let events = notify.events(name, old.subscribed);
        let gone = old.exists && there.is_none_or(|there| !there.exists);
        if gone {
            moved.push(name);
        }
        let is_told = events.name && gone && !renamed.contains(&name[..])
            || events.subscription && old.subscribed && there.is_none();
        if is_told {
            told.entry(name).or_default();
        }
    }
    for name in moved {
        let parent = name.rsplit_once('/').map(|(parent, _)| parent);
        let there = parent.and_then(|parent| Some((parent, seen.get(parent)?)));
        if let Some((parent, there)) = there
            && notify.events(parent, there.subscribed).name
        {
            told.entry(parent).or_default();
        }
    }
    told
}

/// What LIST says of a name.
pub(super) fn attributes<'p>(seen: &'p Picture, name: &str) -> Vec<&'p str> {
    let there = seen.get(name);
    let exists = there.is_some_and(|there| there.exists);
    let below = format!("{name}/");
    let from = (Bound::Excluded(&below[..]), Bound::Unbounded);
    let mut children = seen
        .range::<str, _>(from)
        .take_while(|(other, _)| other.starts_with(&below));
    let mut attributes = Vec::new();
    if !exists {
        attributes.push("\\NonExistent");
    }
    match children.any(|(_, child)| child.exists) {
        true => attributes.push("\\HasChildren"),
        false if exists => attributes.push("\\HasNoChildren"),
        false => {}
    }
    if there.is_some_and(|there| there.subscribed) {
        attributes.push("\\Subscribed");
    }
    attributes.extend(there.and_then(|there| there.special_use.as_deref()));
    attributes
}
