//! What a disk may hold after the power failed: everything that was safe, and of the rest what chance left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::history::{Change, History, Name, Named, NodeId, ROOT, Written};
use crate::random::Random;

/// Octets that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What is kept of that which was not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// All: the process died and the disk did not.
    All,
    /// What began before a moment in the past.
    Before(usize),
    /// Any subset: each sector of each file in any state it had since it was last safe, each size likewise, names and
    /// removals by chance.
    Torn,
}

/// Makes images at ascending records of one history.
#[derive(Debug)]
pub struct Imager<'h> {
    history: &'h History,
    /// Of each file: content and size after the changes that are safe, and how many these are.
    files: Vec<(Vec<u8>, u64, usize)>,
    names: BTreeMap<Name, NodeId>,
    names_done: usize,
    at: usize,
}

impl<'h> Imager<'h> {
    /// For this history.
    pub fn new(history: &'h History) -> Self {
        let files = history.nodes.iter();
        Self {
            history,
            files: files
                .map(|node| (node.base.clone(), node.base_size, 0))
                .collect(),
            names: history.base.clone(),
            names_done: 0,
            at: 0,
        }
    }

    /// Writes what the disk may hold at a record into a directory, which is made. Returns how many operations were not
    /// safe at that moment.
    ///
    /// # Panics
    /// When the record is before that of the last call.
    pub fn write(&mut self, at: usize, keep: Keep, random: &mut Random, to: &Path) -> usize {
        assert!(at >= self.at);
        self.at = at;
        let mut unsafe_count = 0;
        let names = self.names_at(keep, random, &mut unsafe_count);
        let mut below: BTreeMap<NodeId, Vec<(&str, NodeId)>> = BTreeMap::new();
        for ((dir, name), node) in &names {
            below.entry(*dir).or_default().push((name, *node));
        }
        fs::create_dir_all(to).unwrap();
        let mut open = vec![(ROOT, to.to_owned())];
        while let Some((dir, path)) = open.pop() {
            for (name, node) in below.get(&dir).into_iter().flatten() {
                let path = path.join(name);
                if self.history.nodes[*node].directory {
                    fs::create_dir(&path).unwrap();
                    open.push((*node, path));
                    continue;
                }
                let (octets, size) = self.content(*node, keep, random, &mut unsafe_count);
                let mut file = File::create(&path).unwrap();
                file.write_all(&octets).unwrap();
                if size > octets.len() as u64 {
                    file.set_len(size).unwrap();
                }
            }
        }
        unsafe_count
    }

    fn names_at(
        &mut self,
        keep: Keep,
        random: &mut Random,
        unsafe_count: &mut usize,
    ) -> BTreeMap<Name, NodeId> {
        let changes = &self.history.names;
        while let Some(change) = changes.get(self.names_done).filter(|c| c.safe < self.at) {
            apply_name(&mut self.names, &change.what);
            self.names_done += 1;
        }
        let mut names = self.names.clone();
        for change in changes.iter().skip(self.names_done) {
            if change.end >= self.at {
                break;
            }
            let kept = change.safe < self.at || {
                *unsafe_count += 1;
                match keep {
                    Keep::Nothing => false,
                    Keep::All => true,
                    Keep::Before(moment) => change.end < moment,
                    Keep::Torn => random.below(2) == 0,
                }
            };
            if kept {
                apply_name(&mut names, &change.what);
            }
        }
        names
    }

    fn content(
        &mut self,
        node: NodeId,
        keep: Keep,
        random: &mut Random,
        unsafe_count: &mut usize,
    ) -> (Vec<u8>, u64) {
        let changes = &self.history.nodes[node].changes;
        let (octets, size, done) = &mut self.files[node];
        while let Some(change) = changes.get(*done).filter(|c| c.safe < self.at) {
            change.what.apply(octets, size);
            *done += 1;
        }
        let rest: Vec<&Change> = changes[*done..]
            .iter()
            .take_while(|change| change.begin < self.at)
            .collect();
        *unsafe_count += rest.iter().filter(|c| c.safe >= self.at).count();
        let (mut octets, mut size) = (octets.clone(), *size);
        if rest.is_empty() {
            return (octets, size);
        }
        if keep == Keep::Torn {
            return torn(&octets, size, &rest, self.at, random);
        }
        for change in rest {
            let kept = change.safe < self.at
                || match keep {
                    Keep::Nothing | Keep::Torn => false,
                    Keep::All => true,
                    Keep::Before(moment) => change.begin < moment,
                };
            if kept {
                change.what.apply(&mut octets, &mut size);
            }
        }
        (octets, size)
    }
}

fn apply_name(names: &mut BTreeMap<Name, NodeId>, what: &Named) {
    match what {
        Named::Is(name, node) => drop(names.insert(name.clone(), *node)),
        Named::Gone(name) => drop(names.remove(name)),
        Named::Moved(from, to) => {
            // Where the first name was never safe there is nothing to move.
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

/// Every sector in a state of its own.
fn torn(
    safe: &[u8],
    safe_size: u64,
    changes: &[&Change],
    at: usize,
    random: &mut Random,
) -> (Vec<u8>, u64) {
    let must = |of: &[usize]| {
        of.iter()
            .rposition(|number| changes[*number].safe < at)
            .map_or(0, |last| last + 1)
    };
    let mut touched: BTreeSet<u64> = BTreeSet::new();
    let (mut end, mut sizes) = (safe.len() as u64, vec![safe_size]);
    for change in changes {
        let (from, to) = match &change.what {
            Written::Octets(at, octets) => (*at, at + octets.len() as u64),
            Written::Size(size) => (*size, end),
        };
        if from < to {
            touched.extend(from / SECTOR..to.div_ceil(SECTOR));
            end = end.max(to);
        }
        let size = *sizes.last().unwrap();
        sizes.push(match &change.what {
            Written::Octets(_, octets) if octets.is_empty() => size,
            Written::Octets(..) => size.max(to),
            Written::Size(size) => *size,
        });
    }
    let mut octets = safe.to_vec();
    octets.resize(usize::try_from(end).unwrap(), 0);
    for sector in touched {
        let (from, to) = (sector * SECTOR, (sector * SECTOR + SECTOR).min(end));
        let of: Vec<usize> = (0..changes.len())
            .filter(|number| match &changes[*number].what {
                Written::Octets(at, octets) => *at < to && at + octets.len() as u64 > from,
                Written::Size(size) => *size < to,
            })
            .collect();
        let least = must(&of);
        let count = least + random.below(of.len() - least + 1);
        for number in &of[..count] {
            match &changes[*number].what {
                Written::Octets(at, new) => {
                    let (first, last) = ((*at).max(from), (at + new.len() as u64).min(to));
                    let source =
                        usize::try_from(first - at).unwrap()..usize::try_from(last - at).unwrap();
                    let target = usize::try_from(first).unwrap()..usize::try_from(last).unwrap();
                    octets[target].copy_from_slice(&new[source]);
                }
                Written::Size(size) => {
                    let first = usize::try_from((*size).max(from)).unwrap();
                    octets[first..usize::try_from(to).unwrap()].fill(0);
                }
            }
        }
    }
    let all: Vec<usize> = (0..changes.len()).collect();
    let least = must(&all);
    let size = sizes[least + random.below(changes.len() - least + 1)];
    octets.truncate(usize::try_from(size).unwrap().min(octets.len()));
    (octets, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{NEVER, NameChange, Node};

    fn change(begin: usize, safe: usize, at: u64, octet: u8, count: usize) -> Change {
        Change {
            begin,
            end: begin + 1,
            safe,
            what: Written::Octets(at, vec![octet; count]),
        }
    }

    /// A file `f` of 2 safe sectors, then two writes over its second sector and one behind it.
    fn history() -> History {
        let mut history = History::default();
        history.nodes.push(Node {
            directory: true,
            ..Node::default()
        });
        history.nodes.push(Node {
            changes: vec![
                change(1, 4, 0, b'a', 1024),
                change(10, NEVER, 512, b'b', 512),
                change(20, NEVER, 512, b'c', 1024),
            ],
            ..Node::default()
        });
        history.names.push(NameChange {
            end: 0,
            safe: 6,
            what: Named::Is((ROOT, "f".to_owned()), 1),
        });
        history
    }

    fn image(at: usize, keep: Keep, seed: u64) -> Option<Vec<u8>> {
        let place = mox_e2e::Scratch::new();
        let to = place.path().join("image");
        Imager::new(&history()).write(at, keep, &mut Random::new(seed), &to);
        fs::read(to.join("f")).ok()
    }

    #[test]
    fn what_is_safe_is_always_there_and_the_rest_as_chance_has_it() {
        assert_eq!(image(5, Keep::Nothing, 1), None);
        assert_eq!(image(7, Keep::Nothing, 1).unwrap(), [b'a'; 1024]);
        assert_eq!(image(30, Keep::Nothing, 1).unwrap(), [b'a'; 1024]);
        let all = [vec![b'a'; 512], vec![b'c'; 1024]].concat();
        assert_eq!(image(30, Keep::All, 1).unwrap(), all);
        let before = [vec![b'a'; 512], vec![b'b'; 512]].concat();
        assert_eq!(image(30, Keep::Before(20), 1).unwrap(), before);
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let found = image(30, Keep::Torn, seed).unwrap();
            assert_eq!(found[..512], [b'a'; 512]);
            let state: Vec<u8> = found.chunks(512).map(|sector| sector[0]).collect();
            assert!(
                found
                    .chunks(512)
                    .all(|s| s.iter().all(|octet| *octet == s[0]))
            );
            seen.insert(state);
        }
        // Each state of the second sector, with the third absent, empty or written.
        let mut expected = BTreeSet::new();
        for second in *b"abc" {
            expected.insert(vec![b'a', second]);
            expected.insert(vec![b'a', second, 0]);
            expected.insert(vec![b'a', second, b'c']);
        }
        assert_eq!(seen, expected);
    }
}
