//! What happened to each file and each name, and from when on it was safe.
//!
//! The model is the pessimist's reading of POSIX: what was written is safe when a sync of that file, begun after the
//! write had ended, has returned; that a name exists, changed or went is safe when a sync of its directory has, begun
//! after that. A sync that failed makes nothing safe, and what it should have covered never becomes so.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::trace::{Kind, Record, Trace};

/// Later than everything.
pub const NEVER: usize = usize::MAX;

const O_CREAT: i64 = 0o100;
const O_TRUNC: i64 = 0o1000;

/// A file or a directory, by its number in [`History::nodes`].
pub type NodeId = usize;

/// The root of what was recorded.
pub const ROOT: NodeId = 0;

/// A file or a directory.
#[derive(Debug, Default)]
pub struct Node {
    /// Whether it is a directory.
    pub directory: bool,
    /// The path, below the root, that it had first.
    pub path: String,
    /// What a file held before the record begins, without zeros behind.
    pub base: Vec<u8>,
    /// Its size then.
    pub base_size: u64,
    /// What was done to a file, by the time of its begin.
    pub changes: Vec<Change>,
    /// Begin and end of each sync that succeeded.
    pub syncs: Vec<(usize, usize)>,
    /// Begin of each sync that failed.
    pub failed: Vec<usize>,
}

impl Node {
    /// What a file holds at the end, without zeros behind.
    pub fn content_at_end(&self) -> Vec<u8> {
        let (mut octets, mut size) = (self.base.clone(), self.base_size);
        for change in &self.changes {
            change.what.apply(&mut octets, &mut size);
        }
        octets
    }
}

/// A write to a file.
#[derive(Debug)]
pub struct Change {
    /// The record at which it began: from then on it may be on disk.
    pub begin: usize,
    /// The record at which it ended; [`NEVER`] when the process ended before.
    pub end: usize,
    /// The record from which on it is safe.
    pub safe: usize,
    /// What it did.
    pub what: Written,
}

/// What a write did.
#[derive(Debug)]
pub enum Written {
    /// Octets from an offset on.
    Octets(u64, Vec<u8>),
    /// A new size.
    Size(u64),
}

impl Written {
    /// Does it to a file: its octets, without zeros behind, and its size.
    pub fn apply(&self, octets: &mut Vec<u8>, size: &mut u64) {
        match self {
            Self::Octets(at, new) => {
                let at = usize::try_from(*at).unwrap();
                let end = at + new.len();
                if octets.len() < end {
                    octets.resize(end, 0);
                }
                octets[at..end].copy_from_slice(new);
                *size = (*size).max(end as u64);
            }
            Self::Size(new) => {
                octets.truncate(usize::try_from(*new).unwrap().min(octets.len()));
                *size = *new;
            }
        }
    }
}

/// A name: directory and last part.
pub type Name = (NodeId, String);

/// A change of names.
#[derive(Debug)]
pub struct NameChange {
    /// The record at which it had been made.
    pub end: usize,
    /// The record from which on it is safe.
    pub safe: usize,
    /// What it did.
    pub what: Named,
}

/// What a change of names did.
#[derive(Debug)]
pub enum Named {
    /// The name stands for this from now on.
    Is(Name, NodeId),
    /// The name is no more.
    Gone(Name),
    /// The first name became the second.
    Moved(Name, Name),
}

/// Everything that was recorded of one run of the program.
#[derive(Debug, Default)]
pub struct History {
    /// Files and directories; the first is the root.
    pub nodes: Vec<Node>,
    /// The names there were before.
    pub base: BTreeMap<Name, NodeId>,
    /// What happened to names.
    pub names: Vec<NameChange>,
    /// Lines that left through a socket, with the record at which the last of each left.
    pub lines: HashMap<String, usize>,
    /// How many records there are.
    pub length: usize,
    /// When the first sync or write failed, if any did: its record and time.
    pub first_failure: Option<(usize, u64)>,
    current: BTreeMap<Name, NodeId>,
}

impl History {
    /// Understands a record of what happened below a directory; `before` is a copy of what was there when it began.
    ///
    /// The name of a file of lsm-tree's value log is taken for safe with its content, since lsm-tree does not sync their
    /// directory: on ext4, XFS and Btrfs that is so.
    ///
    /// # Panics
    /// When something happened that the laboratory does not understand: it could prove nothing then.
    pub fn read(trace: &Trace, root: &Path, before: Option<&Path>) -> Self {
        let mut history = Self {
            length: trace.records.len(),
            ..Self::default()
        };
        history.nodes.push(Node {
            directory: true,
            ..Node::default()
        });
        if let Some(before) = before {
            history.take_base(ROOT, before);
            history.current = history.base.clone();
        }
        let root = root.to_str().unwrap();
        let mut open: HashMap<i32, NodeId> = HashMap::new();
        let mut begun: HashMap<u64, (NodeId, usize)> = HashMap::new();
        let mut partial: HashMap<i32, String> = HashMap::new();
        for (index, record) in trace.records.iter().enumerate() {
            match record.kind {
                Kind::Open => {
                    let path = below(root, trace.paths(record).0);
                    let node = history.opened(index, path, record);
                    open.insert(i32::try_from(record.b).unwrap(), node);
                }
                Kind::Close => {
                    open.remove(&record.fd);
                }
                Kind::Dup => {
                    if let Some(node) = open.get(&record.fd) {
                        open.insert(i32::try_from(record.b).unwrap(), *node);
                    }
                }
                Kind::Write | Kind::Size if !record.ended => {
                    let node = open[&record.fd];
                    let at = u64::try_from(record.a).unwrap();
                    let what = match record.kind {
                        Kind::Write => Written::Octets(at, trace.data(record).to_vec()),
                        _ => Written::Size(at),
                    };
                    begun.insert(record.call, (node, history.nodes[node].changes.len()));
                    history.nodes[node].changes.push(Change {
                        begin: index,
                        end: NEVER,
                        safe: NEVER,
                        what,
                    });
                }
                Kind::Write | Kind::Size => {
                    let (node, number) = begun.remove(&record.call).unwrap();
                    let change = &mut history.nodes[node].changes[number];
                    change.end = index;
                    if record.b < 0 {
                        change.what = Written::Octets(0, Vec::new());
                        history.first_failure.get_or_insert((index, record.nanos));
                    } else if let Written::Octets(_, octets) = &mut change.what {
                        octets.truncate(usize::try_from(record.b).unwrap());
                    }
                }
                Kind::Sync if !record.ended => {
                    begun.insert(record.call, (open[&record.fd], index));
                }
                Kind::Sync => {
                    let (node, begin) = begun.remove(&record.call).unwrap();
                    if record.b < 0 {
                        history.nodes[node].failed.push(begin);
                        history.first_failure.get_or_insert((index, record.nanos));
                    } else {
                        history.nodes[node].syncs.push((begin, index));
                    }
                }
                Kind::MakeDir => {
                    let path = below(root, trace.paths(record).0);
                    if !path.is_empty() {
                        history.made(index, path, true);
                    }
                }
                Kind::Unlink => {
                    let name = history.name(below(root, trace.paths(record).0));
                    history.current.remove(&name);
                    history.renamed(index, Named::Gone(name));
                }
                Kind::Rename => {
                    let (from, to) = trace.paths(record);
                    let (from, to) = (
                        history.name(below(root, from)),
                        history.name(below(root, to)),
                    );
                    let node = history.current.remove(&from).unwrap();
                    history.current.insert(to.clone(), node);
                    history.renamed(index, Named::Moved(from, to));
                }
                Kind::Link => {
                    let (from, to) = trace.paths(record);
                    let (from, to) = (
                        history.name(below(root, from)),
                        history.name(below(root, to)),
                    );
                    let node = history.current[&from];
                    history.current.insert(to.clone(), node);
                    history.renamed(index, Named::Is(to, node));
                }
                Kind::Send => {
                    let text = partial.remove(&record.fd).unwrap_or_default()
                        + &String::from_utf8_lossy(trace.data(record));
                    let mut lines = text.split("\r\n").peekable();
                    while let Some(line) = lines.next() {
                        match lines.peek() {
                            Some(_) => drop(history.lines.insert(line.to_owned(), index)),
                            None => drop(partial.insert(record.fd, line.to_owned())),
                        }
                    }
                }
                Kind::Unsupported => panic!("not understood: operation {}", record.a),
            }
        }
        history.find_safe();
        history
    }

    /// Takes syncs of these files and directories for not made: what a program without them would leave.
    pub fn forget_syncs(&mut self, of: impl Fn(&Node) -> bool) {
        for node in self.nodes.iter_mut().filter(|node| of(node)) {
            node.syncs.clear();
        }
        self.find_safe();
    }

    /// The record at which a line left.
    pub fn sent(&self, line: &str) -> Option<usize> {
        self.lines.get(line).copied()
    }

    fn take_base(&mut self, dir: NodeId, from: &Path) {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let directory = entry.file_type().unwrap().is_dir();
            let mut node = Node {
                directory,
                path: join(&self.nodes[dir].path, &name),
                ..Node::default()
            };
            // Sockets of a server that was killed are not files.
            if !directory && !entry.file_type().unwrap().is_file() {
                continue;
            }
            if !directory {
                node.base = std::fs::read(entry.path()).unwrap();
                node.base_size = node.base.len() as u64;
                let used = node.base.iter().rposition(|octet| *octet != 0);
                node.base.truncate(used.map_or(0, |used| used + 1));
            }
            self.nodes.push(node);
            let number = self.nodes.len() - 1;
            self.base.insert((dir, name), number);
            if directory {
                self.take_base(number, &entry.path());
            }
        }
    }

    fn name(&self, path: &str) -> Name {
        let (dir, last) = path.rsplit_once('/').unwrap_or(("", path));
        (self.find(dir).unwrap(), last.to_owned())
    }

    /// What a path below the root stands for when the record ends.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        let mut node = ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            node = *self.current.get(&(node, part.to_owned()))?;
        }
        Some(node)
    }

    fn made(&mut self, index: usize, path: &str, directory: bool) -> NodeId {
        let name = self.name(path);
        self.nodes.push(Node {
            directory,
            path: path.to_owned(),
            ..Node::default()
        });
        let node = self.nodes.len() - 1;
        self.current.insert(name.clone(), node);
        self.renamed(index, Named::Is(name, node));
        node
    }

    fn renamed(&mut self, end: usize, what: Named) {
        self.names.push(NameChange {
            end,
            safe: NEVER,
            what,
        });
    }

    fn opened(&mut self, index: usize, path: &str, record: &Record) -> NodeId {
        let Some(node) = self.find(path) else {
            assert!(record.a & O_CREAT != 0, "{path} was opened but never made");
            return self.made(index, path, false);
        };
        if record.a & O_TRUNC != 0 {
            self.nodes[node].changes.push(Change {
                begin: index,
                end: index,
                safe: NEVER,
                what: Written::Size(0),
            });
        }
        node
    }

    fn find_safe(&mut self) {
        for node in &mut self.nodes {
            let Node {
                changes,
                syncs,
                failed,
                ..
            } = node;
            for change in changes {
                change.safe = safe(change.end, syncs, failed);
            }
        }
        for change in &mut self.names {
            let of = |dir: NodeId| {
                let node = &self.nodes[dir];
                safe(change.end, &node.syncs, &node.failed)
            };
            change.safe = match &change.what {
                Named::Is((dir, _), node) if is_value_log(&self.nodes[*node]) => {
                    let node = &self.nodes[*node];
                    of(*dir).min(safe(change.end, &node.syncs, &node.failed))
                }
                Named::Is((dir, _), _) | Named::Gone((dir, _)) => of(*dir),
                Named::Moved((from, _), (to, _)) => of(*from).max(of(*to)),
            };
        }
    }
}

/// Whether it is a file of lsm-tree's value log. lsm-tree syncs these and not their directory, so that their names are
/// safe only on file systems that make the name of a new file durable with its content.
fn is_value_log(node: &Node) -> bool {
    !node.directory && node.path.contains("/rows/") && node.path.contains("/blobs/")
}

/// When the first sync returned that covers what ended then.
fn safe(end: usize, syncs: &[(usize, usize)], failed: &[usize]) -> usize {
    let lost = failed.iter().copied().filter(|begin| *begin > end).min();
    let covering = syncs
        .iter()
        .filter(|(begin, _)| *begin > end && lost.is_none_or(|lost| *begin < lost));
    covering.map(|(_, end)| *end).min().unwrap_or(NEVER)
}

fn below<'p>(root: &str, path: &'p str) -> &'p str {
    path.strip_prefix(root).unwrap().trim_start_matches('/')
}

fn join(dir: &str, name: &str) -> String {
    match dir {
        "" => name.to_owned(),
        dir => format!("{dir}/{name}"),
    }
}
