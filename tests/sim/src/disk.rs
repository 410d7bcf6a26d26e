//! Files that lose what was not synced: content in sectors, names by directory.

use bytes::Bytes;
use mox_machine::Rng;
use mox_store::{Capacity, Disk, MemDisk};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use crate::sim::Sim;
use crate::slot::lock;

/// What a disk writes whole or not at all, in octets.
const SECTOR: usize = 512;

/// How a disk errs. All `one_in` are 0 for never, 1 for always; a healed world knows none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskManner {
    /// A read fails with an I/O error.
    pub read_error_one_in: u64,
    /// A write fails with an I/O error; nothing of it is written.
    pub write_error_one_in: u64,
    /// A sync fails; what it was to make durable may be there or not, and no later sync makes it durable: who wants that
    /// writes it again, as on Linux.
    pub sync_error_one_in: u64,
    /// A name cannot be made, changed, removed or listed.
    pub name_error_one_in: u64,
}

/// A [`Disk`] of a world. A clone is another handle to the same files.
#[derive(Debug, Clone)]
pub struct SimDisk {
    files: MemDisk,
    sim: Sim,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    last: u64,
    /// What each name leads to: now, and if the power failed.
    live: Names,
    durable: Names,
    /// The content of each file when it was last synced.
    synced: BTreeMap<u64, Bytes>,
    /// Sectors of each file that a failed sync gave up, and nobody wrote since.
    given_up: BTreeMap<u64, BTreeSet<usize>>,
    broken: bool,
    manner: DiskManner,
    /// Apart from `rng`, so that faults do not change what a crash leaves.
    luck: Rng,
    /// Octets it holds at most.
    space: Option<u64>,
}

type Names = BTreeMap<String, Entry>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Dir,
    File(u64),
}

impl State {
    fn number(&self, name: &str) -> Option<u64> {
        match self.live.get(name) {
            Some(Entry::File(number)) => Some(*number),
            _ => None,
        }
    }

    /// What was given up is written again.
    fn written(&mut self, name: &str, offset: u64, length: usize) {
        let number = self.number(name);
        if let Some(given_up) = number.and_then(|number| self.given_up.get_mut(&number)) {
            let first = usize::try_from(offset).unwrap_or(usize::MAX);
            let sectors = first / SECTOR..first.saturating_add(length).div_ceil(SECTOR);
            given_up.retain(|sector| !sectors.contains(sector));
        }
    }

    /// A sync made durable what nobody gave up, or gave up what was not durable.
    fn synced(&mut self, name: &str, content: &Bytes, holds: bool) {
        let Some(number) = self.number(name) else {
            return;
        };
        let old = self.synced.get(&number).cloned().unwrap_or_default();
        let given_up = self.given_up.entry(number).or_default();
        let sectors = 0..content.len().div_ceil(SECTOR);
        if !holds {
            given_up.extend(sectors.filter(|n| sector(content, *n) != sector(&old, *n)));
            return;
        }
        let mut durable = Vec::with_capacity(content.len());
        for n in sectors {
            let now = sector(content, n);
            let kept = match given_up.contains(&n) {
                true => sector(&old, n),
                false => now,
            };
            let end = durable.len() + now.len();
            durable.extend_from_slice(kept.get(..now.len()).unwrap_or(kept));
            durable.resize(end, 0);
        }
        self.synced.insert(number, durable.into());
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(sim: &Sim, name: &str) -> Self {
        let seed = sim.world().root.child(name, 0);
        let luck = seed.child("luck", 0).rng();
        Self::holding(sim, seed.rng(), (DiskManner::default(), luck, None))
    }

    /// What the power leaves when it fails now. Of each file every sector written since its last sync is there or is
    /// not; so is every name made, changed or removed since its directory was synced.
    pub fn crash(&self) -> Self {
        let mut state = lock(&self.state);
        let State {
            rng,
            live,
            durable,
            synced,
            manner,
            luck,
            space,
            ..
        } = &mut *state;
        let left = Self::holding(&self.sim, rng.clone(), (*manner, luck.clone(), *space));
        let mut names = Names::new();
        // Sorted, so a directory comes before what is in it.
        let all: BTreeSet<&String> = live.keys().chain(durable.keys()).collect();
        for name in all {
            let (now, then) = (live.get(name), durable.get(name));
            let entry = if now == then || rng.one_in(2) {
                now
            } else {
                then
            };
            let parent = name.rsplit_once('/').map_or("", |(dir, _)| dir);
            if let Some(entry) = entry
                && (parent.is_empty() || names.get(parent) == Some(&Entry::Dir))
            {
                names.insert(name.clone(), *entry);
            }
        }
        let mut contents = BTreeMap::new();
        for (name, entry) in &names {
            let Entry::File(number) = entry else {
                continue;
            };
            let old = synced.get(number).cloned().unwrap_or_default();
            let new = live
                .iter()
                .find(|(_, entry)| **entry == Entry::File(*number))
                .and_then(|(now_called, _)| whole(&self.files, now_called).ok());
            let torn = contents.entry(*number).or_insert_with(|| match new {
                Some(new) => torn(rng, &old, &new),
                None => old,
            });
            self.sim
                .fact("crash file", torn.len() as u64, name.as_bytes());
        }
        drop(state);
        left.fill(&names, &contents);
        left
    }

    /// From now on every sync fails, as after an I/O error.
    pub fn fail_syncs(&self) {
        lock(&self.state).broken = true;
    }

    /// Syncs work again; errors happen as the manner says.
    pub fn repair(&self) {
        lock(&self.state).broken = false;
    }

    /// From now on it errs like this.
    pub fn set_manner(&self, manner: DiskManner) {
        lock(&self.state).manner = manner;
    }

    /// From now on it holds so many octets of content, what is there included; more is `StorageFull`. `None` for no end.
    pub fn set_space(&self, octets: Option<u64>) {
        lock(&self.state).space = octets;
    }

    /// Nothing goes wrong while an oracle looks at it.
    pub(crate) fn calmly<T>(&self, look: impl FnOnce() -> T) -> T {
        let manner = core::mem::take(&mut lock(&self.state).manner);
        let seen = look();
        lock(&self.state).manner = manner;
        seen
    }

    /// Octets of content.
    pub fn used(&self) -> u64 {
        let state = lock(&self.state);
        let files = state.live.iter().filter(|(_, e)| **e != Entry::Dir);
        files
            .map(|(name, _)| self.files.length(name).unwrap_or(0))
            .sum()
    }

    /// Pretends that the disk is this full.
    pub fn set_capacity(&self, capacity: Capacity) {
        self.files.set_capacity(capacity);
    }

    fn holding(sim: &Sim, rng: Rng, (manner, luck, space): (DiskManner, Rng, Option<u64>)) -> Self {
        Self {
            files: MemDisk::new(),
            sim: sim.clone(),
            state: Arc::new(Mutex::new(State {
                rng,
                last: 0,
                live: Names::new(),
                durable: Names::new(),
                synced: BTreeMap::new(),
                given_up: BTreeMap::new(),
                broken: false,
                manner,
                luck,
                space,
            })),
        }
    }

    /// Puts on an empty disk what a crash left, all of it durable.
    fn fill(&self, names: &Names, contents: &BTreeMap<u64, Bytes>) {
        let (manner, space) = {
            let mut state = lock(&self.state);
            let manner = core::mem::take(&mut state.manner);
            (manner, state.space.take())
        };
        let mut first_names = BTreeMap::<u64, &str>::new();
        for (name, entry) in names {
            let made = match entry {
                Entry::Dir => self.create_dir(name),
                Entry::File(number) => match first_names.get(number) {
                    Some(first) => self.link(first, name),
                    None => {
                        first_names.insert(*number, name);
                        let content = contents.get(number).cloned().unwrap_or_default();
                        self.create(name)
                            .and_then(|()| self.write_at(name, 0, &[content]))
                            .and_then(|()| self.sync(name))
                    }
                },
            };
            debug_assert!(made.is_ok(), "{name}: {made:?}");
        }
        let mut state = lock(&self.state);
        state.durable = state.live.clone();
        state.manner = manner;
        state.space = space;
    }

    fn check_sync(&self, kind: &'static str, name: &str) -> io::Result<()> {
        let broken = lock(&self.state).broken;
        self.sim.fact(kind, u64::from(broken), name.as_bytes());
        let errs = |manner: &DiskManner| manner.sync_error_one_in;
        if broken || self.happens("disk sync error", errs) {
            return Err(io::Error::other("the simulated disk failed to sync"));
        }
        Ok(())
    }

    fn happens(&self, fault: &'static str, one_in: impl Fn(&DiskManner) -> u64) -> bool {
        let happens = {
            let mut state = lock(&self.state);
            let odds = self.sim.odds(one_in(&state.manner));
            state.luck.one_in(odds)
        };
        if happens {
            self.sim.fault(fault, 0);
        }
        happens
    }

    fn check_name(&self) -> io::Result<()> {
        match self.happens("disk name error", |manner| manner.name_error_one_in) {
            true => Err(io::Error::other("the simulated disk failed")),
            false => Ok(()),
        }
    }

    /// Whether a file may become so long.
    fn check_space(&self, name: &str, end: u64) -> io::Result<()> {
        let space = lock(&self.state).space;
        let grows = end.saturating_sub(self.files.length(name).unwrap_or(0));
        if grows > 0 && space.is_some_and(|space| self.used() + grows > space) {
            self.sim.fault("disk full", 0);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.check_name()?;
        self.files.create_dir(name)?;
        self.sim.fact("create dir", 0, name.as_bytes());
        lock(&self.state).live.insert(name.to_owned(), Entry::Dir);
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.check_name()?;
        self.files.create(name)?;
        self.sim.fact("create", 0, name.as_bytes());
        let mut state = lock(&self.state);
        state.last += 1;
        let entry = Entry::File(state.last);
        state.live.insert(name.to_owned(), entry);
        Ok(())
    }

    fn write_at(&self, name: &str, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        self.check_space(name, offset + length as u64)?;
        if self.happens("disk write error", |manner| manner.write_error_one_in) {
            return Err(io::Error::other("the simulated disk failed to write"));
        }
        self.files.write_at(name, offset, parts)?;
        lock(&self.state).written(name, offset, length);
        self.sim.fact("write file", offset, name.as_bytes());
        for part in parts {
            self.sim.fact("content", 0, part);
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let checked = self.check_sync("sync", name);
        if checked.is_ok() {
            self.files.sync(name)?;
        }
        let content = whole(&self.files, name)?;
        lock(&self.state).synced(name, &content, checked.is_ok());
        checked
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.check_sync("sync dir", dir)?;
        self.files.sync_dir(dir)?;
        let state = &mut *lock(&self.state);
        let inside = |name: &str| name.rsplit_once('/').map_or("", |(parent, _)| parent) == dir;
        state.durable.retain(|name, _| !inside(name));
        let now = state.live.iter().filter(|(name, _)| inside(name));
        state
            .durable
            .extend(now.map(|(name, entry)| (name.clone(), *entry)));
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_name()?;
        self.files.link(from, to)?;
        self.sim.fact("link", 0, to.as_bytes());
        let mut state = lock(&self.state);
        if let Some(entry) = state.live.get(from).copied() {
            state.live.insert(to.to_owned(), entry);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_name()?;
        self.files.rename(from, to)?;
        self.sim.fact("rename", 0, to.as_bytes());
        let mut state = lock(&self.state);
        if let Some(entry) = state.live.remove(from) {
            state.live.insert(to.to_owned(), entry);
        }
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.check_name()?;
        self.files.unlink(name)?;
        self.sim.fact("unlink", 0, name.as_bytes());
        lock(&self.state).live.remove(name);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.check_name()?;
        self.sim.fact("list", 0, dir.as_bytes());
        self.files.list(dir)
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        if self.happens("disk read error", |manner| manner.read_error_one_in) {
            return Err(io::Error::other("the simulated disk failed to read"));
        }
        self.sim.fact("read file", offset, name.as_bytes());
        self.files.read_at(name, offset, length)
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        self.sim.fact("length", 0, name.as_bytes());
        self.files.length(name)
    }

    fn capacity(&self) -> io::Result<Capacity> {
        let space = lock(&self.state).space;
        if let Some(total) = space {
            let free = total.saturating_sub(self.used());
            return Ok(Capacity { free, total });
        }
        self.files.capacity()
    }
}

/// A sector of a file, as far as it goes.
fn sector(content: &[u8], n: usize) -> &[u8] {
    let start = (n * SECTOR).min(content.len());
    let end = (start + SECTOR).min(content.len());
    content.get(start..end).unwrap_or_default()
}

fn whole(files: &MemDisk, name: &str) -> io::Result<Bytes> {
    let length = usize::try_from(files.length(name)?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    files.read_at(name, 0, length)
}

/// Each sector as it is or as it was; what was never written reads as zeros, and the end is where some write put it.
fn torn(rng: &mut Rng, old: &Bytes, new: &Bytes) -> Bytes {
    if old == new {
        return new.clone();
    }
    let mut left = Vec::with_capacity(new.len());
    for start in (0..new.len()).step_by(SECTOR) {
        let end = (start + SECTOR).min(new.len());
        let source = if rng.one_in(2) { new } else { old };
        let sector = source.get(start..end.min(source.len()));
        left.extend_from_slice(sector.unwrap_or_default());
        left.resize(end, 0);
    }
    let written = new.len().saturating_sub(old.len()) as u64;
    let lost = if rng.one_in(2) {
        rng.below(written + 1)
    } else {
        0
    };
    left.truncate(new.len() - lost as usize);
    left.into()
}
