//! Files in memory, which know what a crash would leave of them.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::disk::{Capacity, Disk, check_name, parent};
use crate::lock::Lock;

/// A [`Disk`] in memory. A clone is another handle to the same files.
#[derive(Debug, Clone)]
pub struct MemDisk {
    files: Arc<Lock<Files>>,
}

impl MemDisk {
    /// An empty disk that is practically never full.
    pub fn new() -> Self {
        Self {
            files: Arc::new(Lock::new(Files {
                nodes: BTreeMap::new(),
                next: 0,
                live: BTreeMap::from([(String::new(), Entry::Dir)]),
                durable: BTreeMap::from([(String::new(), Entry::Dir)]),
                capacity: Capacity {
                    free: u64::MAX,
                    total: u64::MAX,
                },
            })),
        }
    }

    /// What a crash now would leave: content and names as of the last sync of each.
    pub fn crash(&self) -> Self {
        let files = self.files.lock();
        let mut nodes = files.nodes.clone();
        for node in nodes.values_mut() {
            node.live = Arc::clone(&node.durable);
        }
        let left = Files {
            nodes,
            next: files.next,
            live: files.durable.clone(),
            durable: files.durable.clone(),
            capacity: files.capacity,
        };
        Self {
            files: Arc::new(Lock::new(left)),
        }
    }

    /// Pretends that the disk is this full. Writing goes on: only who asks will know.
    pub fn set_capacity(&self, capacity: Capacity) {
        self.files.lock().capacity = capacity;
    }
}

impl Default for MemDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk for MemDisk {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        files.check_parent(name)?;
        match files.live.get(name) {
            Some(Entry::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            Some(Entry::Dir) => Ok(()),
            None => {
                files.live.insert(name.to_owned(), Entry::Dir);
                Ok(())
            }
        }
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        files.check_parent(name)?;
        files.check_free(name)?;
        let number = files.next;
        files.next += 1;
        files.nodes.insert(number, Node::default());
        files.live.insert(name.to_owned(), Entry::File(number));
        Ok(())
    }

    fn write_at(&self, name: &str, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        let mut files = self.files.lock();
        let content = Arc::make_mut(&mut files.node(name)?.live);
        let mut at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        for part in parts {
            let end = at + part.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            if let Some(place) = content.get_mut(at..end) {
                place.copy_from_slice(part);
            }
            at = end;
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let node = files.node(name)?;
        node.durable = Arc::clone(&node.live);
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        files.check_dir(dir)?;
        let files = &mut *files;
        let inside = |name: &String| !name.is_empty() && parent(name) == dir;
        files.durable.retain(|name, _| !inside(name));
        let now = files.live.iter().filter(|(name, _)| inside(name));
        files
            .durable
            .extend(now.map(|(name, entry)| (name.clone(), *entry)));
        files.drop_nameless();
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        files.check_parent(to)?;
        files.check_free(to)?;
        let entry = files.file(from)?;
        files.live.insert(to.to_owned(), Entry::File(entry));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        files.check_parent(to)?;
        let entry = files.file(from)?;
        files.live.remove(from);
        files.live.insert(to.to_owned(), Entry::File(entry));
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        files.file(name)?;
        files.live.remove(name);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        files.check_dir(dir)?;
        let inside = files
            .live
            .keys()
            .filter(|name| !name.is_empty() && parent(name) == dir);
        Ok(inside
            .map(|name| name.rsplit_once('/').map_or(name.as_str(), |(_, own)| own))
            .map(str::to_owned)
            .collect())
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut files = self.files.lock();
        let content = &files.node(name)?.live;
        let from = usize::try_from(offset).map_or(content.len(), |at| at.min(content.len()));
        let to = from.saturating_add(length).min(content.len());
        Ok(Bytes::copy_from_slice(
            content.get(from..to).unwrap_or_default(),
        ))
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(self.files.lock().node(name)?.live.len() as u64)
    }

    fn capacity(&self) -> io::Result<Capacity> {
        Ok(self.files.lock().capacity)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Dir,
    File(u64),
}

/// The content of a file, now and as last synced.
#[derive(Debug, Clone, Default)]
struct Node {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
}

#[derive(Debug)]
struct Files {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    live: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
    capacity: Capacity,
}

impl Files {
    fn file(&self, name: &str) -> io::Result<u64> {
        check_name(name)?;
        match self.live.get(name) {
            Some(Entry::File(number)) => Ok(*number),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn node(&mut self, name: &str) -> io::Result<&mut Node> {
        let number = self.file(name)?;
        let node = self.nodes.get_mut(&number);
        node.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Forgets content that no name leads to, before or after a crash.
    fn drop_nameless(&mut self) {
        let named: BTreeSet<Entry> = self
            .live
            .values()
            .chain(self.durable.values())
            .copied()
            .collect();
        self.nodes
            .retain(|number, _| named.contains(&Entry::File(*number)));
    }

    fn check_dir(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        match self.live.get(name) {
            Some(Entry::Dir) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn check_parent(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.check_dir(parent(name))
    }

    fn check_free(&self, name: &str) -> io::Result<()> {
        if self.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(())
    }
}
