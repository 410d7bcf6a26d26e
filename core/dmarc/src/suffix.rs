//! Public suffixes, for what is not DMARC: reputation and advice go by registered names. The list is compiled in.

use alloc::string::String;

/// The registered name: the public suffix and one label. `None` for a public suffix itself, for `local`, where nobody
/// registers (RFC 6762), and for what is no name.
pub fn registrable(domain: &str) -> Option<String> {
    let domain = prepared(domain)?;
    if domain == "local" || domain.ends_with(".local") {
        return None;
    }
    let found = psl::domain(domain.as_bytes())?;
    core::str::from_utf8(found.as_bytes())
        .ok()
        .map(String::from)
}

/// Lower case, without a final dot.
fn prepared(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
    let is_name = !domain.is_empty() && domain.split('.').all(|label| !label.is_empty());
    is_name.then_some(domain)
}
