//! The structure of a message while its bytes stream by.
//!
//! Bytes are looked at by line. Lines of a header are gathered until the blank line; of lines in a body only the first
//! few bytes matter, and only where a boundary is awaited; elsewhere line feeds are counted and that is all. The parts
//! that are open stand on a stack, so nothing recurses on input.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::content::{content_type, disposition, languages, one_token};
use crate::header::{self, unfold};
use crate::limits::Budget;
use crate::scan::{count_lf, find_lf};
use crate::words::{basic_charset, decode_params};
use crate::{Envelope, Inside, Limits, Part, envelope};

/// What a walker found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The message and all within it.
    pub part: Part,
    /// The message's envelope.
    pub envelope: Envelope,
    /// The message's header block, blank line included; shorter than `header_len` when [`Limits::header`] cut it.
    pub header: Vec<u8>,
    /// Octets of the message's header, blank line included.
    pub header_len: u64,
    /// Octets of the whole message.
    pub len: u64,
}

/// Takes the bytes of a message in any pieces and finds its structure.
///
/// Both CRLF and a lone LF end a line. A part ends before the line end that stands before its boundary (RFC 2046 5.1.1).
/// What has a media type of multipart is [`Inside::Multipart`] with at least one child: when no boundary of it shows
/// up, a text/plain child covers its body. A message/rfc822 or message/global part is [`Inside::Message`], unless a
/// transfer encoding hides it. Over a limit both stay leaves: whoever shows a part goes by `inside`, not by `media`.
///
/// At most [`Limits::header`] + [`Limits::kept`] octets are held, and [`Limits::depth`] boundaries.
#[derive(Debug, Clone)]
pub struct Walker {
    limits: Limits,
    budget: Budget,
    /// Parts opened.
    parts: usize,
    /// Open parts, the innermost last. Never empty before `finish`.
    stack: Vec<Open>,
    /// Open multiparts whose boundary is awaited.
    awaited: usize,
    /// The header block of the innermost part, as far as it came.
    header: Vec<u8>,
    /// Octets of `header` at the start of the present line.
    header_at_line: usize,
    root: Option<(Envelope, Vec<u8>)>,
    line: Line,
    /// The first octets of the present line, where they matter.
    prefix: Vec<u8>,
    /// The rest of the present line does not matter.
    pass: bool,
}

/// Places and counts.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    /// Octets taken.
    offset: u64,
    /// Line feeds among them.
    feeds: u64,
    /// The last octet.
    last: u8,
    /// Octets of the last line end.
    eol: u64,
    /// Where the present line starts, with what was counted until there.
    start: u64,
    start_feeds: u64,
    /// Octets of the line end before the present line.
    start_eol: u64,
}

#[derive(Debug, Clone)]
struct Open {
    part: Part,
    feeds_at_body: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Its header is being read. The type it has when it does not say: that of a digest's child is message/rfc822.
    Header {
        in_digest: bool,
    },
    Leaf,
    Multipart {
        /// `None` when nothing delimits it, or when its last boundary has passed.
        boundary: Option<Vec<u8>>,
        digest: bool,
        children: Vec<Part>,
    },
    Message(Box<(Envelope, Option<Part>)>),
}

impl Walker {
    /// A walker at the start of a message's header.
    pub fn new(limits: Limits) -> Self {
        let mut walker = Self {
            budget: Budget::new(&limits),
            limits,
            parts: 0,
            stack: Vec::new(),
            awaited: 0,
            header: Vec::new(),
            header_at_line: 0,
            root: None,
            line: Line::default(),
            prefix: Vec::new(),
            pass: false,
        };
        walker.open(0, false);
        walker
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if !self.in_header() {
                if !self.watches() {
                    return self.line.count(rest);
                }
                if self.prefix.is_empty() && *first != b'-' {
                    self.pass = true;
                }
            }
            let len = find_lf(rest).map_or(rest.len(), |i| i + 1);
            let (piece, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = behind;
            self.line.take(piece);
            if self.in_header() {
                let room = self.limits.header.saturating_sub(self.header.len());
                self.header
                    .extend_from_slice(piece.get(..room).unwrap_or(piece));
            }
            if !self.pass {
                // A boundary, the hyphens around it, and one octet more, which shows whether it ends there.
                let most = self.limits.boundary.saturating_add(6);
                let room = most.saturating_sub(self.prefix.len());
                self.prefix
                    .extend_from_slice(piece.get(..room).unwrap_or(piece));
            }
            if piece.ends_with(b"\n") {
                self.end_of_line();
            }
        }
    }

    /// The end of the message.
    pub fn finish(mut self) -> Structure {
        if self.line.offset > self.line.start && !self.pass {
            // The last line may be a boundary without a line end.
            self.boundary_line();
        }
        let end = self.line.offset;
        let feeds = self.line.feeds;
        let mut root = Part::default();
        while let Some(part) = self.close(end, feeds) {
            match self.stack.last_mut() {
                Some(parent) => parent.adopt(part),
                None => root = part,
            }
        }
        let (envelope, header) = self.root.take().unwrap_or_default();
        Structure {
            envelope,
            header,
            header_len: root.body,
            len: end,
            part: root,
        }
    }

    fn in_header(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Open {
                kind: Kind::Header { .. },
                ..
            })
        )
    }

    /// Whether boundaries matter; once a limit is reached all that follows belongs to the innermost part.
    fn watches(&self) -> bool {
        self.awaited > 0 && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.parts >= self.limits.parts || self.budget.is_spent()
    }

    fn end_of_line(&mut self) {
        if self.in_header() && matches!(self.prefix.as_slice(), b"\n" | b"\r\n") {
            self.end_of_header(self.line.offset, self.line.feeds);
        } else if !self.pass {
            self.boundary_line();
        }
        self.line.next();
        self.prefix.clear();
        self.pass = false;
        self.header_at_line = self.header.len();
    }

    /// The present line is complete: acts on it when it is a boundary.
    fn boundary_line(&mut self) {
        if !self.watches() || !self.prefix.starts_with(b"--") {
            return;
        }
        let line = self.prefix.strip_suffix(b"\n").unwrap_or(&self.prefix);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let found = self.stack.iter().enumerate().rev().find_map(|(level, o)| {
            let Kind::Multipart {
                boundary: Some(boundary),
                ..
            } = &o.kind
            else {
                return None;
            };
            Some((level, delimits(line, boundary)?))
        });
        let Some((level, last)) = found else {
            return;
        };
        self.header.truncate(self.header_at_line);
        let (start, offset) = (self.line.start, self.line.offset);
        let child = self.stack.get_mut(level + 1).map(|open| &mut open.part);
        if let Some(child) = child
            && child.header == start
            && !last
        {
            // Boundaries in a row open one part: there is no line end between them that could be the second one's.
            child.header = offset;
            return;
        }
        let (end, feeds) = self.end_before_boundary();
        // Room for the part that begins here: what is closed may want some for an empty one in it.
        self.parts += usize::from(!last);
        while self.stack.len() > level + 1 {
            let (Some(part), Some(parent)) = (self.close(end, feeds), self.stack.last_mut()) else {
                break;
            };
            parent.adopt(part);
        }
        let Some(Open {
            kind: Kind::Multipart {
                boundary, digest, ..
            },
            ..
        }) = self.stack.last_mut()
        else {
            return;
        };
        let digest = *digest;
        if last {
            *boundary = None;
            self.awaited -= 1;
        } else {
            self.parts -= 1;
            self.open(self.line.offset, digest);
        }
    }

    /// Where what ends at the boundary of the present line ends, and the line feeds until there. The line end before the
    /// boundary is the boundary's, unless it already ended the header of an empty body.
    fn end_before_boundary(&self) -> (u64, u64) {
        let line = &self.line;
        let innermost = self.stack.last().map_or(0, |open| match open.kind {
            Kind::Header { .. } => open.part.header,
            _ => open.part.body,
        });
        let end = line.start.saturating_sub(line.start_eol);
        if end < innermost || line.start_eol == 0 {
            return (line.start, line.start_feeds);
        }
        (end, line.start_feeds.saturating_sub(1))
    }

    fn open(&mut self, header: u64, in_digest: bool) {
        self.parts += 1;
        self.budget.part();
        self.header.clear();
        self.header_at_line = 0;
        self.stack.push(Open {
            part: Part {
                header,
                ..Part::default()
            },
            feeds_at_body: 0,
            kind: Kind::Header { in_digest },
        });
    }

    /// The innermost part's header is complete; its body starts at `body`.
    fn end_of_header(&mut self, body: u64, feeds: u64) {
        let block = core::mem::take(&mut self.header);
        let depth = self.stack.len();
        let full = self.is_full() || depth > self.limits.depth;
        let Some((top, below)) = self.stack.split_last_mut() else {
            return;
        };
        let in_digest = matches!(top.kind, Kind::Header { in_digest: true });
        describe(
            &mut top.part,
            &block,
            in_digest,
            &self.limits,
            &mut self.budget,
        );
        top.part.body = body;
        top.feeds_at_body = feeds;
        let is = |text: &[u8], name: &[u8]| text.eq_ignore_ascii_case(name);
        let part = &top.part;
        let mut within = false;
        top.kind = if is(&part.media, b"multipart") && !full {
            let boundary = boundary_of(&part.params, &self.limits);
            self.awaited += usize::from(boundary.is_some());
            Kind::Multipart {
                boundary,
                digest: is(&part.subtype, b"digest"),
                children: Vec::new(),
            }
        } else if is(&part.media, b"message")
            && (is(&part.subtype, b"rfc822") || is(&part.subtype, b"global"))
            && !(is(&part.encoding, b"base64") || is(&part.encoding, b"quoted-printable"))
            && !full
        {
            within = true;
            Kind::Message(Box::default())
        } else {
            Kind::Leaf
        };
        let body = part.body;
        match below.last_mut() {
            None => {
                let envelope = envelope::within(&block, &self.limits, &mut self.budget);
                self.root = Some((envelope, block));
            }
            Some(Open {
                kind: Kind::Message(message),
                ..
            }) => {
                message.0 = envelope::within(&block, &self.limits, &mut self.budget);
                self.header = block;
            }
            Some(_) => self.header = block,
        }
        self.header.clear();
        if within {
            self.open(body, false);
        }
    }

    /// Takes the innermost part off the stack, complete. `feeds` are those before `end`.
    fn close(&mut self, end: u64, feeds: u64) -> Option<Part> {
        // A header that ends without a blank line; a message in it has an empty header, so this ends too.
        while self.in_header() {
            self.end_of_header(end, feeds);
        }
        let open = self.stack.pop()?;
        let mut part = open.part;
        part.end = end;
        part.lines = saturate(feeds.saturating_sub(open.feeds_at_body));
        part.inside = match open.kind {
            Kind::Header { .. } | Kind::Leaf => Inside::Leaf,
            Kind::Message(message) => match *message {
                (envelope, Some(inner)) => Inside::Message(Box::new((envelope, inner))),
                (_, None) => Inside::Leaf,
            },
            Kind::Multipart {
                boundary,
                mut children,
                ..
            } => {
                self.awaited -= usize::from(boundary.is_some());
                if children.is_empty() && self.is_full() {
                    part.inside = Inside::Leaf;
                    return Some(part);
                }
                if children.is_empty() {
                    self.parts += 1;
                    self.budget.part();
                    let mut child = Part {
                        header: part.body,
                        body: part.body,
                        end: part.end,
                        lines: part.lines,
                        ..Part::default()
                    };
                    describe(&mut child, &[], false, &self.limits, &mut self.budget);
                    children.push(child);
                }
                Inside::Multipart(children)
            }
        };
        Some(part)
    }
}

impl Open {
    fn adopt(&mut self, part: Part) {
        match &mut self.kind {
            Kind::Multipart { children, .. } => children.push(part),
            Kind::Message(message) => message.1 = Some(part),
            Kind::Header { .. } | Kind::Leaf => {}
        }
    }
}

impl Line {
    /// Takes a piece that has a line feed at its end or none.
    fn take(&mut self, piece: &[u8]) {
        self.offset += piece.len() as u64;
        match piece {
            [.., before, b'\n'] => self.feed(*before),
            [b'\n'] => self.feed(self.last),
            _ => {}
        }
        self.last = piece.last().copied().unwrap_or(self.last);
    }

    fn feed(&mut self, before: u8) {
        self.feeds += 1;
        self.eol = if before == b'\r' { 2 } else { 1 };
    }

    /// Takes bytes in which only line feeds count.
    fn count(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        self.feeds += count_lf(bytes);
    }

    fn next(&mut self) {
        self.start = self.offset;
        self.start_feeds = self.feeds;
        self.start_eol = self.eol;
    }
}

/// Whether a line is a boundary's: `Some(true)` for the last one (RFC 2046 5.1.1). White space may follow.
fn delimits(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let ends = |rest: &[u8]| matches!(rest, [] | [b' ' | b'\t', ..]);
    if ends(rest) {
        return Some(false);
    }
    ends(rest.strip_prefix(b"--")?).then_some(true)
}

fn boundary_of(params: &[(Vec<u8>, Vec<u8>)], limits: &Limits) -> Option<Vec<u8>> {
    let plain = params
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"boundary"));
    let boundary = match plain {
        Some((_, value)) => value.clone(),
        // In sections (RFC 2231 3): rare, but what it delimits would be lost.
        None => decode_params(params, &basic_charset)
            .into_iter()
            .find(|(name, _)| name == "boundary")?
            .1
            .into_bytes(),
    };
    // A boundary does not end with white space, RFC 2046 5.1.1.
    let boundary = boundary.trim_ascii_end();
    let fits = !boundary.is_empty() && boundary.len() <= limits.boundary;
    fits.then(|| boundary.to_vec())
}

/// Fills in what a part's header says about it, and the defaults of RFC 2045 5.2 and 2046 5.1.5.
fn describe(part: &mut Part, block: &[u8], in_digest: bool, limits: &Limits, budget: &mut Budget) {
    let mut kind = None;
    let mut encoding = None;
    for field in header::split(block).take(limits.fields) {
        let name = field.name;
        let content = name
            .get(..8)
            .is_some_and(|n| n.eq_ignore_ascii_case(b"content-"));
        if !content {
            continue;
        }
        let value = field.value;
        match name
            .get(8..)
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_slice()
        {
            b"type" if kind.is_none() => kind = content_type(value, limits.params),
            b"transfer-encoding" if encoding.is_none() => encoding = one_token(value),
            b"id" if part.id.is_none() => part.id = budget.keep(unfold(value)),
            b"description" if part.description.is_none() => {
                part.description = budget.keep(unfold(value));
            }
            b"md5" if part.md5.is_none() => part.md5 = budget.keep(unfold(value)),
            b"location" if part.location.is_none() => part.location = budget.keep(unfold(value)),
            b"disposition" if part.disposition.is_none() => {
                part.disposition = disposition(value, limits.params)
                    .and_then(|(kind, params)| Some((budget.keep(kind)?, budget.params(params))));
            }
            b"language" if part.language.is_empty() => {
                let tags = languages(value, limits.params).into_iter();
                part.language = tags.map_while(|tag| budget.keep(tag)).collect();
            }
            _ => {}
        }
    }
    let (media, subtype, mut params) = kind.unwrap_or_else(|| {
        let (media, subtype): (&[u8], &[u8]) = match in_digest {
            true => (b"MESSAGE", b"RFC822"),
            false => (b"TEXT", b"PLAIN"),
        };
        (media.to_vec(), subtype.to_vec(), Vec::new())
    });
    let has_charset = params
        .iter()
        .any(|(name, _)| name.to_ascii_lowercase().starts_with(b"charset"));
    if media.eq_ignore_ascii_case(b"text") && !has_charset {
        params.push((b"CHARSET".to_vec(), b"US-ASCII".to_vec()));
    }
    part.media = media;
    part.subtype = subtype;
    part.params = budget.params(params);
    part.encoding = encoding.unwrap_or_else(|| b"7BIT".to_vec());
    budget.names(part);
}

fn saturate(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
