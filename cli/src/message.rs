//! A message given to a command: a file or stdin, its lines ended by LF or CRLF.

use std::path::Path;

use mox_address::Domain;
use mox_dmarc::AUTHORS_MAX;

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

    /// The domain of each address in each From field, in A-labels; an empty one stands for an address without, and for a
    /// field without addresses.
    pub(crate) fn authors(&self) -> Vec<Vec<u8>> {
        let mut domains = Vec::new();
        for field in mox_mime::header::find_all(self.header(), b"from") {
            let before = domains.len();
            // A group's begin and end are entries without a host.
            let entries = mox_mime::addresses(field, 4 * AUTHORS_MAX);
            domains.extend(
                entries
                    .into_iter()
                    .filter_map(|entry| entry.host)
                    .map(a_labels),
            );
            if domains.len() == before {
                domains.push(Vec::new());
            }
        }
        domains
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

/// What cannot be converted stays as it is.
fn a_labels(host: Vec<u8>) -> Vec<u8> {
    if host.is_ascii() {
        return host;
    }
    let domain = core::str::from_utf8(&host)
        .ok()
        .and_then(|text| Domain::parse(text, true).ok())
        .and_then(|domain| domain.to_ascii().ok());
    domain.map_or(host, |domain| domain.as_str().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authors(header: &str) -> Vec<String> {
        let message = Message::new(format!("{header}\n\nFrom: body@example.com\n").into_bytes());
        let authors = message.authors().into_iter();
        authors.map(|a| String::from_utf8(a).unwrap()).collect()
    }

    #[test]
    fn every_author_counts_and_one_that_cannot_be_read_is_not_left_out() {
        assert_eq!(authors("From: Ann <ann@example.org>"), ["example.org"]);
        assert_eq!(
            authors(
                "From: a@a.example, g: b@b.example;\nTo: x@x.example\nfrom: c@B\u{dc}cher.example"
            ),
            ["a.example", "b.example", "xn--bcher-kva.example"]
        );
        assert_eq!(authors("From: nobody"), [""]);
        assert_eq!(authors("From: a@a.example\nFrom: "), ["a.example", ""]);
        assert!(authors("To: a@a.example").is_empty());
    }

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
