//! Looking at every body there is: for `moxctl verify`, and to salvage them when rows are lost (S9).

use bytes::Bytes;
use mox_mailbox::{BodyHeader, BodyId, Reads, Space};
use std::fmt;
use std::io;
use std::ops::ControlFlow;

use crate::body::{BODIES, SHARDS, body_of, file_of, shard_dir};
use crate::{Disk, mark};

/// A body that was found, with what its header says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBody {
    /// Where.
    pub place: Place,
    /// What it is, or what is wrong with it.
    pub state: Result<BodyHeader, BodyFault>,
}

/// Where a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A row.
    Row(BodyId),
    /// A file of this name.
    File(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(id) => write!(f, "row {:08x}-{:016x}", id.boot, id.counter),
            Self::File(name) => f.write_str(name),
        }
    }
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyFault {
    /// Its key or file name is none of a body.
    Name,
    /// Its header is not one, or that of another body.
    Header(String),
    /// It has not as many octets as its header says.
    Length {
        /// By the header.
        expected: u64,
        /// In fact.
        found: u64,
    },
    /// Its octets are not those that were stored.
    Hash,
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("its name is not that of a body"),
            Self::Header(what) => f.write_str(what),
            Self::Length { expected, found } => {
                write!(f, "{expected} octets expected, {found} found")
            }
            Self::Hash => f.write_str("its content has changed"),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

/// Visits every body, those in rows first, reading each to its end.
///
/// # Errors
/// When rows or directories cannot be read; a body that cannot is a [`FoundBody`] that says so.
pub fn each_body(
    disk: &dyn Disk,
    view: &dyn Reads,
    visit: &mut dyn FnMut(FoundBody),
) -> io::Result<()> {
    each_row(view, visit)?;
    each_file(disk, visit)
}

/// Visits every body that is a file: what is left when there are no rows.
///
/// # Errors
/// When a directory cannot be read.
pub fn each_file(disk: &dyn Disk, visit: &mut dyn FnMut(FoundBody)) -> io::Result<()> {
    for shard in 0..SHARDS {
        let shard = shard.to_be_bytes()[1];
        let names = match disk.list(&shard_dir(shard)) {
            Ok(names) => names,
            // A directory lost is bodies lost, which the rows will tell.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for name in names {
            let id = body_of(shard, &name);
            let state = id
                .ok_or(BodyFault::Name)
                .and_then(|id| check_file(disk, id, true));
            let place = Place::File(format!("{BODIES}/{shard:02x}/{name}"));
            visit(FoundBody { place, state });
        }
    }
    Ok(())
}

pub(crate) fn each_row(view: &dyn Reads, visit: &mut dyn FnMut(FoundBody)) -> io::Result<()> {
    let beyond = [0xff; 13];
    view.scan(Space::Bodies, &[], &beyond, &mut |key, row| {
        if key != mark::KEY {
            let id = id_of(key);
            let state = if key.len() == 12 {
                check_row(id, &row)
            } else {
                Err(BodyFault::Name)
            };
            let place = Place::Row(id);
            visit(FoundBody { place, state });
        }
        ControlFlow::Continue(())
    })
    .map_err(io::Error::other)
}

fn id_of(key: &[u8]) -> BodyId {
    let octets = |from: usize, count: usize| {
        let part = key.get(from..).unwrap_or_default();
        part.iter()
            .take(count)
            .fold(0, |n, b| n << 8 | u64::from(*b))
    };
    BodyId {
        boot: u32::try_from(octets(0, 4)).unwrap_or(u32::MAX),
        counter: octets(4, 8),
    }
}

fn check_row(id: BodyId, row: &Bytes) -> Result<BodyHeader, BodyFault> {
    let header = check_header(id, row)?;
    let octets = row.get(BodyHeader::LEN..).unwrap_or_default();
    check_length(&header, octets.len() as u64)?;
    if blake3::hash(octets).as_bytes() != &header.body.blake3 {
        return Err(BodyFault::Hash);
    }
    Ok(header)
}

/// Octets read at a time.
const PIECE: usize = 1 << 20;

/// Whether the file of a body is what its header says; with `full` also its octets.
pub(crate) fn check_file(disk: &dyn Disk, id: BodyId, full: bool) -> Result<BodyHeader, BodyFault> {
    let unreadable = |e: io::Error| BodyFault::Unreadable(e.to_string());
    let name = file_of(id);
    let skipped = BodyHeader::LEN as u64;
    let first = disk
        .read_at(&name, 0, BodyHeader::LEN)
        .map_err(unreadable)?;
    let header = check_header(id, &first)?;
    let length = disk.length(&name).map_err(unreadable)?;
    check_length(&header, length.saturating_sub(skipped))?;
    if !full {
        return Ok(header);
    }
    let mut hasher = blake3::Hasher::new();
    let mut at = skipped;
    while at < length {
        let piece = disk.read_at(&name, at, PIECE).map_err(unreadable)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        at += piece.len() as u64;
    }
    if hasher.finalize().as_bytes() != &header.body.blake3 {
        return Err(BodyFault::Hash);
    }
    Ok(header)
}

fn check_header(id: BodyId, octets: &[u8]) -> Result<BodyHeader, BodyFault> {
    let header = BodyHeader::decode(octets).map_err(|e| BodyFault::Header(e.to_string()))?;
    if header.body.id != id {
        return Err(BodyFault::Header("it is another body".to_owned()));
    }
    Ok(header)
}

const fn check_length(header: &BodyHeader, found: u64) -> Result<(), BodyFault> {
    if header.body.length == found {
        Ok(())
    } else {
        Err(BodyFault::Length {
            expected: header.body.length,
            found,
        })
    }
}
