//! Whether a message has been here before, by its header.

use mox_address::Path;
use mox_mime::header;
use std::collections::BTreeSet;

/// How many Received fields a header block has: RFC 5321 6.3 takes a large number for a loop.
pub fn received_count(block: &[u8]) -> usize {
    header::find_all(block, b"Received").count()
}

/// The addresses of the Delivered-To fields of a header block, as written.
pub fn delivered_to_values(block: &[u8]) -> impl Iterator<Item = String> {
    header::find_all(block, b"Delivered-To").map(|value| {
        let value = String::from_utf8_lossy(&header::unfold(value)).into_owned();
        let inner = value.strip_prefix('<').and_then(|v| v.strip_suffix('>'));
        match inner {
            Some(inner) => inner.to_owned(),
            None => value,
        }
    })
}

/// Whether a Delivered-To field names one of these recipients (RFC 9228): delivering to it again would be a loop. Letter case
/// and the form of the domain do not matter.
pub fn is_delivered_to<'a>(block: &[u8], recipients: impl IntoIterator<Item = &'a Path>) -> bool {
    let form = |path: &Path| {
        let host = match path.domain().and_then(|d| d.to_ascii().ok()) {
            Some(domain) => domain.to_string(),
            None => path.host.to_string(),
        };
        (path.local.folded(), host)
    };
    // The header is read once, however many recipients there are.
    let before: BTreeSet<_> = delivered_to_values(block)
        .filter_map(|value| Path::parse(&value, true).ok())
        .map(|path| form(&path))
        .collect();
    !before.is_empty() && recipients.into_iter().any(|to| before.contains(&form(to)))
}
