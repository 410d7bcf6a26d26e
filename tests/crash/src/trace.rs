//! What the shim wrote down, record by record.

use std::ops::Range;
use std::path::Path;

/// Octets of a record before its data.
const HEAD: usize = 48;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file was opened, and perhaps made or cut to nothing.
    Open,
    /// A descriptor is closed.
    Close,
    /// A descriptor got a copy.
    Dup,
    /// Octets are written.
    Write,
    /// A file is made shorter or longer.
    Size,
    /// A file or a directory is synced.
    Sync,
    /// A name was changed.
    Rename,
    /// A file got another name.
    Link,
    /// A name was removed, of a file or a directory.
    Unlink,
    /// A directory was made.
    MakeDir,
    /// Octets leave through a socket.
    Send,
    /// Something that the laboratory does not understand.
    Unsupported,
}

/// One operation, at its begin or at its end.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Whether it has ended.
    pub ended: bool,
    /// The descriptor, if it is about one.
    pub fd: i32,
    /// The same number at begin and end.
    pub call: u64,
    /// When, in nanoseconds of the monotonic clock.
    pub nanos: u64,
    /// Flags of an open, the offset of a write, a size.
    pub a: i64,
    /// The result at the end, or minus the error number.
    pub b: i64,
    data: Range<usize>,
}

/// All records, in the order in which things happened.
#[derive(Debug, Default)]
pub struct Trace {
    /// The records.
    pub records: Vec<Record>,
    octets: Vec<u8>,
}

impl Trace {
    /// Reads what the shim wrote. A record cut off by the end of the process is left out.
    pub fn read(path: &Path) -> Self {
        let octets = std::fs::read(path).unwrap();
        let mut records = Vec::new();
        let mut at = 0;
        while let Some(head) = octets.get(at..at + HEAD) {
            let number = |from: usize| u64::from_ne_bytes(head[from..from + 8].try_into().unwrap());
            let small = |from: usize| u32::from_ne_bytes(head[from..from + 4].try_into().unwrap());
            let length = small(0) as usize;
            if at + length > octets.len() {
                break;
            }
            let kind = small(4) & 0xffff;
            records.push(Record {
                kind: kind_of(kind),
                ended: small(4) >> 16 == 1,
                fd: small(12).cast_signed(),
                call: number(16),
                nanos: number(24),
                a: number(32).cast_signed(),
                b: number(40).cast_signed(),
                data: at + HEAD..at + length,
            });
            at += length;
        }
        Self { records, octets }
    }

    /// How many whole records a log holds so far.
    pub fn count(path: &Path) -> usize {
        Self::read(path).records.len()
    }

    /// The data of a record.
    pub fn data(&self, record: &Record) -> &[u8] {
        &self.octets[record.data.clone()]
    }

    /// The one or two paths that are the data of a record.
    pub fn paths(&self, record: &Record) -> (&str, &str) {
        let text = std::str::from_utf8(self.data(record)).unwrap();
        let mut parts = text.split('\0');
        (parts.next().unwrap(), parts.next().unwrap())
    }
}

fn kind_of(number: u32) -> Kind {
    match number {
        1 => Kind::Open,
        2 => Kind::Close,
        3 => Kind::Dup,
        4 => Kind::Write,
        5 => Kind::Size,
        6 => Kind::Sync,
        7 => Kind::Rename,
        8 => Kind::Link,
        9 => Kind::Unlink,
        10 => Kind::MakeDir,
        11 => Kind::Send,
        12 => Kind::Unsupported,
        other => panic!("the shim wrote a record of kind {other}"),
    }
}
