//! Choosing fields out of a stored header, for BODY[HEADER.FIELDS (...)] and its opposite.

use alloc::vec::Vec;
use bytes::Bytes;

/// The fields of `header` whose names are (`not`: are not) among `names`, in their order, with their folded lines,
/// and the blank line that ends every header (RFC 3501 6.4.5). Names compare without regard to ASCII case.
pub fn select_fields(header: &[u8], names: &[Bytes], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut taking = false;
    for line in header.split_inclusive(|&b| b == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let end = line.iter().position(|&b| b == b':').unwrap_or(line.len());
            let name = line.get(..end).unwrap_or_default().trim_ascii_end();
            taking = names.iter().any(|n| n.eq_ignore_ascii_case(name)) != not;
        }
        if taking {
            out.extend_from_slice(line);
        }
    }
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] =
        b"From: a\r\nSubject: one\r\n two\r\nReceived: x\r\nTO : b\r\nreceived: y\r\n\r\n";

    fn select(names: &[&'static str], not: bool) -> Vec<u8> {
        let names: Vec<_> = names
            .iter()
            .map(|n| Bytes::from_static(n.as_bytes()))
            .collect();
        select_fields(HEADER, &names, not)
    }

    #[test]
    fn fields_keep_their_order_their_folds_and_their_blank_line() {
        assert_eq!(
            select(&["to", "SUBJECT"], false),
            b"Subject: one\r\n two\r\nTO : b\r\n\r\n"
        );
        assert_eq!(
            select(&["to", "SUBJECT", "from"], true),
            b"Received: x\r\nreceived: y\r\n\r\n"
        );
        assert_eq!(select(&["bcc"], false), b"\r\n");
        assert_eq!(
            select_fields(b"A: b", &[Bytes::from_static(b"a")], false),
            b"A: b\r\n\r\n"
        );
    }
}
