//! What values of this crate take of memory.

use mox_address::{Host, Path};

/// Octets of memory of an address.
pub(crate) fn path(path: &Path) -> usize {
    let host = match &path.host {
        Host::Domain(domain) => domain.as_str().len(),
        Host::Literal(_) => 0,
    };
    size_of::<Path>() + path.local.as_str().len() + host
}

/// Octets of memory of text that may not be there.
pub(crate) fn text(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}
