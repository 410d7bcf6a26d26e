//! The high-water mark: how far the store is known to be durable, kept outside the rows (S8).

use bytes::Bytes;
use mox_mailbox::{Batch, Reads, Space};
use std::io;

use crate::Disk;

/// What was durable at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Mark {
    /// The start of the store that wrote it; body numbers begin with it.
    pub(crate) boot: u32,
    /// The last published commit.
    pub(crate) number: u64,
}

/// The last commit that the mark on a disk calls durable, and the last that rows have. Rows with less than the mark have lost
/// data, and [`Store::open`](crate::Store::open) refuses them. `None` for what is not there; rows that say nothing have commit 0.
///
/// # Errors
/// The disk or the rows cannot be read.
pub fn durable_and_found(
    disk: &dyn Disk,
    reads: &dyn Reads,
) -> io::Result<(Option<u64>, Option<u64>)> {
    let durable = Mark::read(disk)?.map(|mark| mark.number);
    let found = RowMark::read(reads).map_err(io::Error::other)?;
    Ok((durable, found.map(|found| found.mark.number)))
}

/// Two copies, written in turns in place: one torn by a crash leaves the other.
const FILES: [&str; 2] = ["mark.a", "mark.b"];
const MAGIC: &[u8; 8] = b"mox mark";
const LEN: usize = 64;

impl Mark {
    fn encode(self) -> Bytes {
        let mut out = Vec::with_capacity(LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.boot.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        let sum = blake3::hash(&out);
        out.extend_from_slice(sum.as_bytes());
        out.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let boot = u32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        let number = u64::from_be_bytes(*bytes.get(16..)?.first_chunk()?);
        let mark = Self { boot, number };
        (mark.encode() == bytes).then_some(mark)
    }

    /// Makes the two files, or makes them anew.
    pub(crate) fn create(self, disk: &dyn Disk) -> io::Result<()> {
        for name in FILES {
            match disk.create(name) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        self.write_both(disk)
    }

    /// Writes it over the older of the two: those of equal numbers of calls alternate.
    pub(crate) fn write(self, disk: &dyn Disk, turn: u64) -> io::Result<()> {
        let name = if turn.is_multiple_of(2) {
            FILES[0]
        } else {
            FILES[1]
        };
        disk.write_at(name, 0, &[self.encode()])?;
        disk.sync(name)
    }

    /// Writes it over both.
    pub(crate) fn write_both(self, disk: &dyn Disk) -> io::Result<()> {
        self.write(disk, 0)?;
        self.write(disk, 1)
    }

    /// The newest that is whole; `None` if none is.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let mut newest = None;
        for name in FILES {
            let content = crate::disk::read_small(disk, name, LEN)?;
            newest = newest.max(content.and_then(|c| Self::decode(&c)));
        }
        Ok(newest)
    }
}

/// The store's own row in each keyspace; tables of the engine have other first octets, bodies longer keys.
pub(crate) const KEY: &[u8] = &[0];

/// What the rows say of themselves; each group of ops ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RowMark {
    /// As in [`Mark`].
    pub(crate) mark: Mark,
    /// The last commit that touched [`Space::Bodies`], which holds the same number itself.
    pub(crate) bodies: u64,
}

impl RowMark {
    /// The batch that says so.
    pub(crate) fn batch(self, bodies_touched: bool) -> Batch {
        let mut value = Vec::with_capacity(20);
        value.extend_from_slice(&self.mark.boot.to_be_bytes());
        value.extend_from_slice(&self.mark.number.to_be_bytes());
        value.extend_from_slice(&self.bodies.to_be_bytes());
        let mut batch = Batch::default();
        batch
            .writes
            .push((Space::Rows, KEY.to_vec(), Some(value.into())));
        if bodies_touched {
            let value = Bytes::copy_from_slice(&self.bodies.to_be_bytes());
            batch
                .writes
                .push((Space::Bodies, KEY.to_vec(), Some(value)));
        }
        batch
    }

    /// What the rows say; `None` when they never said anything.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn read(reads: &dyn Reads) -> Result<Option<Self>, String> {
        let text = |e: mox_mailbox::ReadError| e.to_string();
        let own = reads.get(Space::Rows, KEY).map_err(text)?;
        let bodies = reads.get(Space::Bodies, KEY).map_err(text)?;
        let Some(own) = own else {
            return match bodies {
                None => Ok(None),
                Some(_) => Err("all rows are gone, bodies are not".to_owned()),
            };
        };
        let parsed = Self::decode(&own).ok_or("the store's own row is damaged")?;
        let of_bodies = match &bodies {
            None => 0,
            Some(b) => u64::from_be_bytes(**b.first_chunk::<8>().as_ref().ok_or("damaged row")?),
        };
        if of_bodies != parsed.bodies {
            return Err(format!(
                "bodies are those of commit {of_bodies}, rows name commit {}",
                parsed.bodies
            ));
        }
        Ok(Some(parsed))
    }

    /// What the row itself says; that of [`Space::Bodies`] is too short for it.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        Some(Self {
            mark: Mark {
                boot: u32::from_be_bytes(*value.first_chunk()?),
                number: u64::from_be_bytes(*value.get(4..)?.first_chunk()?),
            },
            bodies: u64::from_be_bytes(*value.get(12..)?.first_chunk()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemDisk;

    #[test]
    fn the_newest_whole_mark_counts() {
        let disk = MemDisk::new();
        assert_eq!(Mark::read(&disk).unwrap(), None);
        let mark = |number| Mark { boot: 3, number };
        mark(5).create(&disk).unwrap();
        mark(6).write(&disk, 0).unwrap();
        mark(7).write(&disk, 1).unwrap();
        assert_eq!(Mark::read(&disk).unwrap(), Some(mark(7)));
        disk.write_at("mark.b", 20, &[Bytes::from_static(b"torn")])
            .unwrap();
        assert_eq!(Mark::read(&disk).unwrap(), Some(mark(6)));
        disk.write_at("mark.a", 0, &[Bytes::from_static(b"M")])
            .unwrap();
        assert_eq!(Mark::read(&disk).unwrap(), None);
    }
}
