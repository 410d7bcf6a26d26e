//! What reports are packed in, unpacked as a stream within limits.

use flate2::Compression;
use flate2::read::GzDecoder;
use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::rc::Rc;
use zip::ZipArchive;

use crate::{Limits, Refused};

/// Entries of a zip archive at most, folders included.
const ENTRIES_MAX: u16 = 16;
/// What may be unpacked whatever the ratio.
const RATIO_FREE: u64 = 1024 * 1024;

/// What octets are, by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Zip,
    Gzip,
    Xml,
    Json,
    Unknown,
}

impl Packing {
    pub(crate) fn of(octets: &[u8]) -> Self {
        match octets {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => return Self::Zip,
            [0x1f, 0x8b, ..] => return Self::Gzip,
            // In UTF-16, with its mark.
            [0xff, 0xfe, b'<', 0, ..] | [0xfe, 0xff, 0, b'<', ..] => return Self::Xml,
            _ => {}
        }
        let text = octets.strip_prefix(BOM).unwrap_or(octets);
        match text.trim_ascii_start().first() {
            Some(b'<') => Self::Xml,
            Some(b'{') => Self::Json,
            _ => Self::Unknown,
        }
    }
}

pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Why reading ended, when it ended before the end.
pub(crate) type Stopped = Rc<RefCell<Option<Refused>>>;

/// Gives `read` the octets of a report, unpacked as they are read: at most as many as are `left`, which they are taken from. What
/// is packed within is not unpacked again.
pub(crate) fn unpacked<T>(
    octets: &[u8],
    left: &Cell<u64>,
    limits: &Limits,
    read: impl FnOnce(&mut dyn BufRead, Stopped) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let packing = Packing::of(octets);
    let is_packed = matches!(packing, Packing::Gzip | Packing::Zip);
    if is_packed && octets.len() > limits.packed {
        return Err(Refused::TooLarge("the packed report"));
    }
    let bounded = |reader| {
        let stopped = Stopped::default();
        let bounded = Bounded {
            reader,
            packed: octets.len() as u64,
            out: 0,
            left,
            ratio: if is_packed { limits.ratio } else { u64::MAX },
            stopped: stopped.clone(),
        };
        let mut reader = BufReader::with_capacity(32 * 1024, bounded);
        if is_packed {
            let begin = match reader.fill_buf() {
                Ok(begin) => Packing::of(begin),
                Err(error) => return Err(why(&stopped, &error)),
            };
            if matches!(begin, Packing::Gzip | Packing::Zip) {
                return Err(Refused::Packing("it is packed again within".into()));
            }
        }
        read(&mut reader, stopped)
    };
    match packing {
        Packing::Gzip => bounded(&mut GzDecoder::new(octets) as &mut dyn Read),
        Packing::Zip => {
            let mut archive = archive(octets)?;
            let place = only_file(&mut archive)?;
            let mut file = archive
                .by_index(place)
                .map_err(|error| Refused::Packing(error.to_string()))?;
            bounded(&mut file)
        }
        Packing::Xml | Packing::Json | Packing::Unknown => bounded(&mut { octets }),
    }
}

/// All of it.
pub(crate) fn whole(octets: &[u8], left: &Cell<u64>, limits: &Limits) -> Result<Vec<u8>, Refused> {
    unpacked(octets, left, limits, |reader, stopped| {
        let mut out = Vec::new();
        match reader.read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(error) => Err(why(&stopped, &error)),
        }
    })
}

/// What an error of a reader means.
pub(crate) fn why(stopped: &Stopped, error: &io::Error) -> Refused {
    let ours = stopped.borrow_mut().take();
    ours.unwrap_or_else(|| Refused::Packing(error.to_string()))
}

/// Octets packed with gzip, as reports are sent.
pub fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(octets).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

fn archive(octets: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, Refused> {
    let bad = |what: &str| Refused::Packing(what.into());
    // How many entries there are is known before any is looked at.
    if directory_entries(octets).ok_or_else(|| bad("the zip archive has no directory"))?
        > ENTRIES_MAX
    {
        return Err(bad("the zip archive has more than one file"));
    }
    let archive = ZipArchive::new(Cursor::new(octets));
    let archive = archive.map_err(|error| Refused::Packing(error.to_string()))?;
    match archive.len() > usize::from(ENTRIES_MAX) {
        true => Err(bad("the zip archive has more than one file")),
        false => Ok(archive),
    }
}

/// Where the only file of an archive is.
fn only_file(archive: &mut ZipArchive<Cursor<&[u8]>>) -> Result<usize, Refused> {
    let mut only = None;
    for place in 0..archive.len() {
        let entry = archive
            .by_index_raw(place)
            .map_err(|error| Refused::Packing(error.to_string()))?;
        if entry.is_dir() || entry.name_raw().starts_with(b"__MACOSX/") {
            continue;
        }
        if only.replace(place).is_some() {
            return Err(Refused::Packing(
                "the zip archive has more than one file".into(),
            ));
        }
    }
    only.ok_or_else(|| Refused::Packing("the zip archive has no file".into()))
}

/// How many entries the end of an archive tells of; one over 4 GiB (zip64) tells elsewhere, and no report is one. An end
/// that is not in order is none: readers look for an earlier one then, which may tell of more.
fn directory_entries(octets: &[u8]) -> Option<u16> {
    const END: &[u8] = b"PK\x05\x06";
    let tail = octets.len().saturating_sub(22 + 65_535);
    let tail = octets.get(tail..)?;
    let place = tail.windows(END.len()).rposition(|window| window == END)?;
    let before = tail.get(..place)?;
    if before.len() >= 20 && before.get(before.len() - 20..)?.starts_with(b"PK\x06\x07") {
        return None;
    }
    let number = |at: usize| {
        let octets = tail.get(place + at..place + at + 2)?;
        Some(u16::from_le_bytes(octets.try_into().ok()?))
    };
    let long = |at: usize| Some(u64::from(number(at)?) | u64::from(number(at + 2)?) << 16);
    let end = octets.len().checked_sub(tail.len() - place)?;
    let behind = tail.len() - place;
    let is_one = (number(4)?, number(6)?) == (0, 0)
        && number(8)? == number(10)?
        && usize::from(number(20)?) <= behind.checked_sub(22)?
        && long(12)? + long(16)? == u64::try_from(end).ok()?;
    let directory = usize::try_from(long(16)?).ok()?;
    let is_there = octets.get(directory..)?.starts_with(b"PK\x01\x02");
    number(10).filter(|count| is_one && (*count == 0 || is_there))
}

/// Ends with an error where there is more than there may be.
struct Bounded<'l, R> {
    reader: R,
    packed: u64,
    out: u64,
    left: &'l Cell<u64>,
    ratio: u64,
    stopped: Stopped,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        self.out += count as u64;
        let is_bomb = self.out > RATIO_FREE && self.out / self.ratio > self.packed;
        let left = self.left.get().checked_sub(count as u64);
        self.left.set(left.unwrap_or(0));
        if left.is_none() || is_bomb {
            *self.stopped.borrow_mut() = Some(Refused::TooLarge("the unpacked report"));
            return Err(io::Error::other("too large"));
        }
        Ok(count)
    }
}
