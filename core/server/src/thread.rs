//! Threads of messages, RFC 5256 3: ORDEREDSUBJECT and REFERENCES. Nothing here recurses: threads may be as deep as a
//! mailbox has messages.

use mox_imap::server::ThreadNode;
use mox_machine::Utc;
use mox_uids::Uid;
use std::collections::BTreeMap;

use crate::subject::BaseSubject;

/// References of a message that are looked at, the last ones.
pub const REFERENCES_MAX: usize = 100;

/// What threads are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threaded {
    /// The message.
    pub uid: Uid,
    /// Its sent date, or its internal date.
    pub sent: Utc,
    /// Its subject.
    pub subject: BaseSubject,
    /// Its Message-ID; empty when it has none.
    pub id: Vec<u8>,
    /// The messages it refers to, its parent last.
    pub references: Vec<Vec<u8>>,
}

/// Threads by subject alone. `messages` are in the order of the mailbox.
pub fn ordered_subject(messages: &[Threaded]) -> Vec<ThreadNode> {
    let mut threads: BTreeMap<&str, Vec<&Threaded>> = BTreeMap::new();
    for message in messages {
        threads
            .entry(&message.subject.text)
            .or_default()
            .push(message);
    }
    let mut threads: Vec<Vec<&Threaded>> = threads.into_values().collect();
    for thread in &mut threads {
        thread.sort_by_key(|m| (m.sent, m.uid));
    }
    threads.sort_by_key(|thread| thread.first().map(|m| (m.sent, m.uid)));
    let mut nodes = Vec::new();
    for thread in threads {
        for (at, message) in thread.iter().enumerate() {
            let below = if at == 0 { thread.len() - 1 } else { 0 };
            nodes.push(ThreadNode {
                uid: Some(message.uid),
                children: u32::try_from(below).unwrap_or(u32::MAX),
            });
        }
    }
    nodes
}

/// Threads by what refers to what, then by subject. `messages` are in the order of the mailbox.
pub fn references(messages: &[Threaded]) -> Vec<ThreadNode> {
    let mut forest = Forest::of(messages);
    forest.prune();
    forest.sort_roots();
    forest.gather_subjects();
    forest.flatten()
}

/// A message, or one that others refer to and that is not there.
struct Container<'m> {
    message: Option<&'m Threaded>,
    parent: Option<usize>,
    children: Vec<usize>,
}

struct Forest<'m> {
    all: Vec<Container<'m>>,
    roots: Vec<usize>,
}

impl<'m> Forest<'m> {
    /// Steps (1) and (2). A message's own parent comes before links that others tell of; either way no link is made that
    /// would close a ring.
    fn of(messages: &'m [Threaded]) -> Self {
        let mut forest = Self {
            all: Vec::new(),
            roots: Vec::new(),
        };
        let mut by_id: BTreeMap<&[u8], usize> = BTreeMap::new();
        let mut own = Vec::with_capacity(messages.len());
        for message in messages {
            let at = forest.add(Some(message));
            own.push(at);
            // Of two with the same identifier the first is meant by it.
            if !message.id.is_empty() {
                by_id.entry(&message.id).or_insert(at);
            }
        }
        let mut chains = Vec::with_capacity(messages.len());
        for message in messages {
            let skipped = message.references.len().saturating_sub(REFERENCES_MAX);
            let chain: Vec<usize> = message
                .references
                .iter()
                .skip(skipped)
                .map(|id| *by_id.entry(id).or_insert_with(|| forest.add(None)))
                .collect();
            chains.push(chain);
        }
        let mut rings = Rings((0..forest.all.len()).collect());
        for (at, chain) in own.iter().zip(&chains) {
            if let Some(parent) = chain.last() {
                forest.link(*parent, *at, &mut rings);
            }
        }
        for chain in &chains {
            for pair in chain.windows(2) {
                // The parent of a message that is there is what it says itself.
                if let &[parent, child] = pair
                    && forest
                        .get(child)
                        .is_some_and(|c| c.message.is_none() && c.parent.is_none())
                {
                    forest.link(parent, child, &mut rings);
                }
            }
        }
        forest.roots = (0..forest.all.len())
            .filter(|at| forest.get(*at).is_some_and(|c| c.parent.is_none()))
            .collect();
        forest
    }

    fn get(&self, at: usize) -> Option<&Container<'m>> {
        self.all.get(at)
    }

    fn add(&mut self, message: Option<&'m Threaded>) -> usize {
        self.all.push(Container {
            message,
            parent: None,
            children: Vec::new(),
        });
        self.all.len() - 1
    }

    fn link(&mut self, parent: usize, child: usize, rings: &mut Rings) {
        if rings.root(parent) == child {
            return;
        }
        rings.join(child, parent);
        self.adopt(parent, child);
    }

    fn adopt(&mut self, parent: usize, child: usize) {
        if let Some(container) = self.all.get_mut(child) {
            container.parent = Some(parent);
        }
        if let Some(container) = self.all.get_mut(parent) {
            container.children.push(child);
        }
    }

    /// Step (3): what is not there goes, and its children take its place; but several roots stay together.
    fn prune(&mut self) {
        // From the leaves up: children come after their parents in this order.
        let mut order = self.roots.clone();
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            next += 1;
            if let Some(container) = self.get(at) {
                order.extend_from_slice(&container.children.clone());
            }
        }
        for &at in order.iter().rev() {
            let children = self
                .all
                .get_mut(at)
                .map(|c| core::mem::take(&mut c.children));
            let mut kept = Vec::new();
            for child in children.unwrap_or_default() {
                match self.all.get_mut(child) {
                    Some(gone) if gone.message.is_none() => kept.append(&mut gone.children),
                    _ => kept.push(child),
                }
            }
            self.sort(&mut kept);
            if let Some(container) = self.all.get_mut(at) {
                container.children = kept;
            }
        }
        let mut roots = Vec::new();
        for &root in &self.roots {
            match self.all.get(root) {
                Some(container) if container.message.is_none() && container.children.len() < 2 => {
                    roots.extend_from_slice(&container.children);
                }
                _ => roots.push(root),
            }
        }
        for &root in &roots {
            if let Some(container) = self.all.get_mut(root) {
                container.parent = None;
            }
        }
        self.roots = roots;
    }

    /// By sent date; one that is not there by its first child's.
    fn sort(&self, siblings: &mut [usize]) {
        siblings.sort_by_key(|at| self.first(*at).map(|m| (m.sent, m.uid)));
    }

    /// Step (4).
    fn sort_roots(&mut self) {
        let mut roots = core::mem::take(&mut self.roots);
        self.sort(&mut roots);
        self.roots = roots;
    }

    /// The message of a root, or of its first child.
    fn first(&self, at: usize) -> Option<&'m Threaded> {
        let container = self.get(at)?;
        let child = || self.get(*container.children.first()?)?.message;
        container.message.or_else(child)
    }

    /// Step (5): threads with the same base subject become one. Then (6).
    fn gather_subjects(&mut self) {
        let mut table: BTreeMap<&'m str, usize> = BTreeMap::new();
        let is_dummy =
            |forest: &Self, at: usize| forest.get(at).is_none_or(|c| c.message.is_none());
        let is_reply =
            |forest: &Self, at: usize| forest.first(at).is_some_and(|m| m.subject.is_reply);
        for &root in &self.roots {
            let Some(subject) = self.first(root).map(|m| &m.subject.text[..]) else {
                continue;
            };
            if subject.is_empty() {
                continue;
            }
            let known = table.get(subject).copied();
            let better = known.is_none_or(|known| {
                // (5)(B)(iv): one that is not there stays where it stands.
                let replies = is_reply(self, known) && !is_reply(self, root);
                !is_dummy(self, known) && (is_dummy(self, root) || replies)
            });
            if better {
                table.insert(subject, root);
            }
        }
        let mut roots = Vec::new();
        for root in core::mem::take(&mut self.roots) {
            // It was put under another already.
            if self.get(root).is_none_or(|c| c.parent.is_some()) {
                continue;
            }
            let subject = self.first(root).map_or("", |m| &m.subject.text[..]);
            let known = table.get(subject).copied().filter(|_| !subject.is_empty());
            let Some(known) = known.filter(|known| *known != root) else {
                roots.push(root);
                continue;
            };
            if is_dummy(self, known) && is_dummy(self, root) {
                let children = self
                    .all
                    .get_mut(root)
                    .map(|c| core::mem::take(&mut c.children));
                for child in children.unwrap_or_default() {
                    self.adopt(known, child);
                }
            } else if is_dummy(self, known) || (is_reply(self, root) && !is_reply(self, known)) {
                self.adopt(known, root);
            } else {
                let both = self.add(None);
                self.adopt(both, known);
                self.adopt(both, root);
                match roots.iter_mut().find(|at| **at == known) {
                    Some(place) => *place = both,
                    None => roots.push(both),
                }
                table.insert(subject, both);
            }
        }
        // One that was put under another before it came up itself is no root.
        roots.retain(|at| self.get(*at).is_some_and(|c| c.parent.is_none()));
        self.roots = roots;
        for at in 0..self.all.len() {
            let children = self
                .all
                .get_mut(at)
                .map(|c| core::mem::take(&mut c.children));
            let mut children = children.unwrap_or_default();
            self.sort(&mut children);
            if let Some(container) = self.all.get_mut(at) {
                container.children = children;
            }
        }
        self.sort_roots();
    }

    fn flatten(&self) -> Vec<ThreadNode> {
        let mut nodes = Vec::new();
        let mut open: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(at) = open.pop() {
            let Some(container) = self.get(at) else {
                continue;
            };
            nodes.push(ThreadNode {
                uid: container.message.map(|m| m.uid),
                children: u32::try_from(container.children.len()).unwrap_or(u32::MAX),
            });
            open.extend(container.children.iter().rev());
        }
        nodes
    }
}

/// Which containers are in one tree: links are only added while these are asked.
struct Rings(Vec<usize>);

impl Rings {
    fn root(&mut self, at: usize) -> usize {
        let mut root = at;
        while let Some(&up) = self.0.get(root).filter(|up| **up != root) {
            root = up;
        }
        // Every container on the way points to the root from now on.
        let mut at = at;
        while let Some(up) = self.0.get_mut(at).filter(|up| **up != root) {
            at = core::mem::replace(up, root);
        }
        root
    }

    /// `child` is the root of its tree; it goes under `parent`.
    fn join(&mut self, child: usize, parent: usize) {
        let root = self.root(parent);
        if let Some(up) = self.0.get_mut(child) {
            *up = root;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::base_subject;

    fn message(uid: u32, sent: i64, id: &str, references: &[&str], subject: &str) -> Threaded {
        Threaded {
            uid: Uid(uid),
            sent: Utc::from_secs(sent),
            subject: base_subject(subject),
            id: id.into(),
            references: references.iter().map(|r| r.as_bytes().to_vec()).collect(),
        }
    }

    fn shown(nodes: &[ThreadNode]) -> String {
        let node = |n: &ThreadNode| format!("{}/{}", n.uid.map_or(0, |u| u.0), n.children);
        nodes.iter().map(node).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn replies_are_below_what_they_answer() {
        let chain = [
            message(1, 10, "a", &[], ""),
            message(2, 20, "b", &["a"], ""),
            message(3, 30, "c", &["a"], ""),
            message(4, 40, "d", &["a", "b"], ""),
        ];
        assert_eq!(shown(&references(&chain)), "1/2 2/1 4/0 3/0");
    }

    #[test]
    fn a_ring_is_not_closed_and_the_own_parent_counts() {
        let ring = [
            message(1, 30, "a", &[], ""),
            message(2, 10, "b", &["a", "c"], ""),
            message(3, 20, "c", &["b"], ""),
        ];
        assert_eq!(shown(&references(&ring)), "3/1 2/0 1/0");
        assert_eq!(shown(&references(&[message(1, 1, "a", &["a"], "")])), "1/0");
    }

    #[test]
    fn what_is_not_there_holds_its_answers_together() {
        let answers = [message(1, 1, "", &["x"], ""), message(2, 2, "", &["x"], "")];
        assert_eq!(shown(&references(&answers)), "0/2 1/0 2/0");
        assert_eq!(shown(&references(&answers[..1])), "1/0");
        let deeper = [
            message(1, 1, "a", &[], ""),
            message(2, 2, "b", &["a", "x"], ""),
        ];
        assert_eq!(shown(&references(&deeper)), "1/1 2/0");
    }

    #[test]
    fn equal_subjects_are_one_thread() {
        let reply = [
            message(1, 2, "a", &[], "foo"),
            message(2, 1, "b", &["x"], "Re: foo"),
        ];
        assert_eq!(shown(&references(&reply)), "1/1 2/0");
        let equals = [
            message(1, 1, "a", &[], "foo"),
            message(2, 2, "b", &[], "foo"),
        ];
        assert_eq!(shown(&references(&equals)), "0/2 1/0 2/0");
        // The place of what is not there is kept, though what comes later is no reply.
        let kept = [
            message(1, 1, "a", &["x"], "Re: foo"),
            message(2, 2, "b", &["x"], "Re: foo"),
            message(3, 3, "c", &[], "foo"),
        ];
        assert_eq!(shown(&references(&kept)), "0/3 1/0 2/0 3/0");
        let none = [message(1, 1, "a", &[], ""), message(2, 2, "b", &[], "")];
        assert_eq!(shown(&references(&none)), "1/0 2/0");
    }

    #[test]
    fn ordered_subject_has_two_levels() {
        let messages = [
            message(1, 30, "", &[], "b"),
            message(2, 10, "", &[], "Re: a"),
            message(3, 20, "", &[], "a"),
            message(4, 40, "", &[], "fwd: a"),
        ];
        assert_eq!(shown(&ordered_subject(&messages)), "2/2 3/0 4/0 1/0");
    }

    #[test]
    fn a_deep_thread_and_a_hostile_one_take_no_longer_than_others() {
        let deep: Vec<_> = (1..50_000u32)
            .map(|n| message(n, n.into(), &n.to_string(), &[&(n - 1).to_string()], ""))
            .collect();
        assert_eq!(references(&deep).len(), deep.len());
        let backwards: Vec<_> = (1..50_000u32)
            .map(|n| message(n, n.into(), &n.to_string(), &[&(n + 1).to_string()], ""))
            .collect();
        assert_eq!(references(&backwards).len(), backwards.len());
    }
}
