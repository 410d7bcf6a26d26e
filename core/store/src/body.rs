//! Where bodies are, and reading them.

use bytes::Bytes;
use mox_mailbox::{BodyHeader, BodyId, BodyRef, Reads, Space};
use std::io;
use std::ops::Range;

use crate::Disk;

/// Directories that hold body files.
pub const SHARDS: u16 = 256;

/// The directory that holds the shards.
pub(crate) const BODIES: &str = "body";

/// The directory of a shard.
pub(crate) fn shard_dir(shard: u8) -> String {
    format!("{BODIES}/{shard:02x}")
}

/// The shard of a body. Counters spread evenly.
pub(crate) const fn shard_of(id: BodyId) -> u8 {
    id.counter.to_be_bytes()[7]
}

/// The name of a body's file.
pub(crate) fn file_of(id: BodyId) -> String {
    format!(
        "{BODIES}/{:02x}/{:08x}-{:016x}",
        shard_of(id),
        id.boot,
        id.counter
    )
}

/// The body whose file has this name within a shard.
pub(crate) fn body_of(shard: u8, name: &str) -> Option<BodyId> {
    let (boot, counter) = name.split_once('-')?;
    let id = BodyId {
        boot: u32::from_str_radix(boot, 16).ok()?,
        counter: u64::from_str_radix(counter, 16).ok()?,
    };
    (file_of(id) == format!("{BODIES}/{shard:02x}/{name}")).then_some(id)
}

/// Reads octets of a body, counted without its header; what lies beyond its end is left out.
///
/// Blocks when the body is a file.
///
/// # Errors
/// `NotFound` when there is no such body, `InvalidData` when it is not the body it should be, `UnexpectedEof` when it
/// is shorter than it should be.
pub fn read_body(
    disk: &dyn Disk,
    view: &dyn Reads,
    body: &BodyRef,
    range: Range<u64>,
) -> io::Result<Bytes> {
    let end = range.end.min(body.length);
    let start = range.start.min(end);
    let skipped = BodyHeader::LEN as u64;
    let wanted = usize::try_from(end - start).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let octets = if body.is_inline() {
        let row = view
            .get(Space::Bodies, &mox_mailbox::body_key(body.id))
            .map_err(io::Error::other)?
            .ok_or(io::ErrorKind::NotFound)?;
        let header = BodyHeader::decode(&row).map_err(invalid)?;
        if header.body != *body {
            return Err(invalid("another body's row"));
        }
        let from = BodyHeader::LEN + usize::try_from(start).map_err(invalid)?;
        if row.len() < from + wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        row.slice(from..from + wanted)
    } else {
        disk.read_at(&file_of(body.id), skipped + start, wanted)?
    };
    if octets.len() < wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(octets)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_found_again_from_its_file_name() {
        let id = BodyId {
            boot: 7,
            counter: 0x1234,
        };
        assert_eq!(file_of(id), "body/34/00000007-0000000000001234");
        assert_eq!(body_of(0x34, "00000007-0000000000001234"), Some(id));
        assert_eq!(body_of(0x35, "00000007-0000000000001234"), None);
        assert_eq!(body_of(0x34, "7-1234"), None);
        assert_eq!(body_of(0x34, "notes.txt"), None);
    }
}
