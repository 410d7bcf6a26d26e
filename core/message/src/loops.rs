//! Whether a message has been here before, by its header.

use mox_address::Path;
use mox_mime::header;

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

/// Whether a Delivered-To field names this recipient (RFC 9228): delivering to it again would be a loop. Letter case and
/// the form of the domain do not matter.
pub fn is_delivered_to(block: &[u8], recipient: &Path) -> bool {
    let form = |path: &Path| {
        let host = match path.domain().and_then(|d| d.to_ascii().ok()) {
            Some(domain) => domain.to_string(),
            None => path.host.to_string(),
        };
        (path.local.folded(), host)
    };
    let wanted = form(recipient);
    delivered_to_values(block).any(|v| Path::parse(&v, true).is_ok_and(|p| form(&p) == wanted))
}
