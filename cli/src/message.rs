//! A message given to a command: a file or stdin, its lines ended by LF or CRLF.

use std::path::Path;

use crate::failure::Failure;
use crate::files::read_at_most;

/// Octets of a message at most.
const MESSAGE_MAX: u64 = 1 << 30;

/// A message with CRLF line ends, as SMTP carries it.
pub(crate) struct Message {
    octets: Vec<u8>,
    /// Where the body begins, behind the blank line.
    body: usize,
    /// Lines ended in LF alone.
    pub(crate) was_lf: bool,
}

impl Message {
    /// Reads a file, stdin when there is none or it is `-`.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        read_at_most(path.unwrap_or_else(|| Path::new("-")), MESSAGE_MAX).map(Self::new)
    }

    pub(crate) fn new(octets: Vec<u8>) -> Self {
        let was_lf = octets
            .iter()
            .position(|b| *b == b'\n')
            .is_some_and(|at| at == 0 || octets.get(at - 1) != Some(&b'\r'));
        let octets = with_crlf(octets);
        let body = mox_mime::header::len(&octets);
        Self {
            octets,
            body,
            was_lf,
        }
    }

    /// The header, with the blank line behind it if there is one.
    pub(crate) fn header(&self) -> &[u8] {
        self.octets.get(..self.body).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.octets.get(self.body..).unwrap_or_default()
    }

    /// The domain of each author, in A-labels; an empty one stands for an author without an address.
    pub(crate) fn authors(&self) -> Vec<Vec<u8>> {
        let authors = mox_server::authors(self.header()).into_iter();
        authors.map(|author| author.domain).collect()
    }
}

/// Every line end made CRLF. A CR alone stays what it is.
fn with_crlf(octets: Vec<u8>) -> Vec<u8> {
    let is_bare = |(at, octet): (usize, &u8)| {
        *octet == b'\n' && (at == 0 || octets.get(at - 1) != Some(&b'\r'))
    };
    let bare = octets
        .iter()
        .enumerate()
        .filter(|line| is_bare(*line))
        .count();
    if bare == 0 {
        return octets;
    }
    let mut text = Vec::with_capacity(octets.len() + bare);
    for (at, octet) in octets.iter().enumerate() {
        if is_bare((at, octet)) {
            text.push(b'\r');
        }
        text.push(*octet);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_crlf_and_the_body_begins_behind_the_blank_line() {
        for (text, header, body, was_lf) in [
            ("A: b\nC: d\n\nx\ny", "A: b\r\nC: d\r\n\r\n", "x\r\ny", true),
            ("A: b\r\n\r\nx\n", "A: b\r\n\r\n", "x\r\n", false),
            ("A: b\rc\n", "A: b\rc\r\n", "", true),
            ("\nx", "\r\n", "x", true),
            ("", "", "", false),
        ] {
            let message = Message::new(text.into());
            assert_eq!(message.header(), header.as_bytes(), "{text:?}");
            assert_eq!(message.body(), body.as_bytes(), "{text:?}");
            assert_eq!(message.was_lf, was_lf, "{text:?}");
        }
    }
}
