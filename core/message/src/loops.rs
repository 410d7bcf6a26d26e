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

/// Whom the Delivered-To fields of a header block name (RFC 9228). The header is read once, however many recipients there are.
#[derive(Debug, Clone, Default)]
pub struct Deliveries(BTreeSet<(String, String)>);

impl Deliveries {
    /// Those of a header block.
    pub fn of(block: &[u8]) -> Self {
        let paths = delivered_to_values(block).filter_map(|value| Path::parse(&value, true).ok());
        Self(paths.map(|path| form(&path)).collect())
    }

    /// Whether one of these recipients is named: delivering to it again would be a loop. Letter case and the form of the domain
    /// do not matter.
    pub fn name_any<'a>(&self, recipients: impl IntoIterator<Item = &'a Path>) -> bool {
        !self.0.is_empty() && recipients.into_iter().any(|to| self.0.contains(&form(to)))
    }
}

fn form(path: &Path) -> (String, String) {
    let host = match path.domain().and_then(|d| d.to_ascii().ok()) {
        Some(domain) => domain.to_string(),
        None => path.host.to_string(),
    };
    (path.local.folded(), host)
}
