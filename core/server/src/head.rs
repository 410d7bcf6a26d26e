//! The header of a message that comes in pieces.

/// Gathers pieces until the header is complete, and never more than it may have.
#[derive(Debug, Default)]
pub(crate) struct Head(Vec<u8>);

/// A header, or so much of one that is too long that this can be told.
#[derive(Debug)]
pub(crate) struct Whole<'p> {
    /// With the empty line that ends it, if there was one. Longer than it may be when it was cut.
    pub(crate) header: Vec<u8>,
    /// What was gathered behind it: the begin of the body.
    pub(crate) begun: Vec<u8>,
    /// What of the last piece was not gathered: it follows.
    pub(crate) behind: &'p [u8],
}

impl Head {
    /// The next piece of a message whose header has at most `max` octets. Once the header is complete, or too long, it is handed
    /// out; nothing may be pushed then.
    pub(crate) fn push<'p>(&mut self, piece: &'p [u8], max: usize) -> Option<Whole<'p>> {
        // The end may lie across two pieces.
        let from = self.0.len().saturating_sub(3);
        let room = (max + 1).saturating_sub(self.0.len());
        let (taken, behind) = piece.split_at(room.min(piece.len()));
        self.make_room(taken.len(), max);
        self.0.extend_from_slice(taken);
        let end = end_of_header(&self.0, from);
        if end.is_none() && behind.is_empty() {
            return None;
        }
        let mut header = core::mem::take(&mut self.0);
        let begun = end.map_or_else(Vec::new, |end| header.split_off(end));
        Some(Whole {
            header,
            begun,
            behind,
        })
    }

    /// What was gathered of a message that ended within its header.
    pub(crate) fn take(&mut self) -> Whole<'static> {
        Whole {
            header: core::mem::take(&mut self.0),
            begun: Vec::new(),
            behind: &[],
        }
    }

    /// Doubled as it grows, but never beyond what a header may have.
    fn make_room(&mut self, more: usize, max: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let wanted = (2 * needed).min(max + 1).max(needed);
            self.0.reserve_exact(wanted - self.0.len());
        }
    }
}

/// Where the body begins: behind the first empty line, searching from `from` on. SMTP ends lines in CRLF.
fn end_of_header(octets: &[u8], from: usize) -> Option<usize> {
    if from == 0 && octets.starts_with(b"\r\n") {
        return Some(2);
    }
    let tail = octets.get(from..)?;
    let mut at = 0;
    while let Some(cr) = tail.get(at..)?.iter().position(|b| *b == b'\r') {
        if tail.get(at + cr..)?.starts_with(b"\r\n\r\n") {
            return Some(from + at + cr + 4);
        }
        at += cr + 1;
    }
    None
}
