//! Parts in the transfer encoding `binary`, as they are stored: IMAP4rev1 and IMAP4rev2 can show only what has no NUL
//! outside of BINARY (RFC 3516 4.4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mox_mime::{Inside, Part, parts};

/// Octets in a line of base64.
const LINE: usize = 57;

/// The message with all its leaves in the encoding `binary` that have a NUL in base64 instead; `None` when there is none.
pub fn without_binary(message: &[u8], structure: &Part) -> Option<Vec<u8>> {
    let leaves = parts(structure).filter(|part| {
        let body = octets(message, part.body, part.end);
        let is_leaf = matches!(part.inside, Inside::Leaf);
        is_leaf && part.encoding.eq_ignore_ascii_case(b"binary") && body.contains(&0)
    });
    let mut out = Vec::new();
    let mut at = 0;
    for part in leaves {
        out.extend_from_slice(octets(message, at, part.header));
        out.extend_from_slice(&header(octets(message, part.header, part.body)));
        for line in octets(message, part.body, part.end).chunks(LINE) {
            out.extend_from_slice(STANDARD.encode(line).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        at = part.end;
    }
    if at == 0 {
        return None;
    }
    out.extend_from_slice(octets(message, at, message.len() as u64));
    Some(out)
}

fn octets(message: &[u8], from: u64, to: u64) -> &[u8] {
    let index = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(message.len());
    message.get(index(from)..index(to)).unwrap_or_default()
}

/// A part's header with the other encoding in it.
fn header(block: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"Content-Transfer-Encoding";
    let mut out = mox_mime::header::fields(block, &[NAME], true);
    // The blank line comes last.
    let end = out.len() - if out.ends_with(b"\r\n") { 2 } else { 0 };
    out.truncate(end);
    out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_mime::{Limits, Walker};

    fn converted(message: &[u8]) -> Option<Vec<u8>> {
        let mut walker = Walker::new(Limits::default());
        walker.push(message);
        without_binary(message, &walker.finish().part)
    }

    #[test]
    fn a_binary_leaf_with_nul_becomes_base64_and_nothing_else_changes() {
        let message = b"A: b\r\nContent-Transfer-Encoding: binary\r\nC: d\r\n\r\n\0-\xe4\n\r\n\n";
        let expected = b"A: b\r\nC: d\r\nContent-Transfer-Encoding: base64\r\n\r\nAC3kCg0KCg==\r\n";
        assert_eq!(converted(message).unwrap(), expected);
        let parts = b"Content-Type: multipart/mixed; boundary=x\r\n\r\npre\r\n--x\r\nContent-Transfer-Encoding: BINARY\r\n\r\n\0\r\n--x\r\n\r\ntext\r\n--x--\r\nafter\r\n";
        let expected = b"Content-Type: multipart/mixed; boundary=x\r\n\r\npre\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n\r\n--x\r\n\r\ntext\r\n--x--\r\nafter\r\n";
        assert_eq!(converted(parts).unwrap(), expected);
        assert_eq!(
            converted(b"Content-Transfer-Encoding: binary\r\n\r\nx\r\n"),
            None
        );
        assert_eq!(converted(b"A: b\r\n\r\n\0\r\n"), None);
    }
}
