//! What stands between the angle brackets.

use mox_address::{Domain, Host, LocalPart, Path};

/// Why the text between the angle brackets is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPath {
    /// It is not an address.
    Syntax,
    /// It has characters outside ASCII and SMTPUTF8 was not asked for.
    NeedsUtf8,
}

/// The path of MAIL; `None` is the null path.
pub fn reverse_path(text: &[u8], utf8: bool) -> Result<Option<Path>, NotPath> {
    if text.is_empty() {
        return Ok(None);
    }
    path(text, utf8).map(Some)
}

/// The path of RCPT. A bare `postmaster` is one at `host` (RFC 5321 4.5.1).
pub fn forward_path(text: &[u8], utf8: bool, host: &Domain) -> Result<Path, NotPath> {
    if text.eq_ignore_ascii_case(b"postmaster") {
        return Ok(Path {
            local: LocalPart::parse("postmaster", false).map_err(|_| NotPath::Syntax)?,
            host: Host::Domain(host.clone()),
        });
    }
    path(text, utf8)
}

fn path(text: &[u8], utf8: bool) -> Result<Path, NotPath> {
    if !utf8 && !text.is_ascii() {
        return Err(NotPath::NeedsUtf8);
    }
    let text = core::str::from_utf8(text).map_err(|_| NotPath::Syntax)?;
    Path::parse(without_route(text, utf8)?, utf8).map_err(|_| NotPath::Syntax)
}

/// Removes a source route, `@a,@b:`, which is obeyed by nobody (RFC 5321 appendix C).
fn without_route(text: &str, utf8: bool) -> Result<&str, NotPath> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, path) = text.split_once(':').ok_or(NotPath::Syntax)?;
    let hop = |hop: &str| {
        hop.strip_prefix('@')
            .is_some_and(|name| Domain::parse(name, utf8).is_ok())
    };
    if text.len() <= Path::MAX && route.split(',').all(hop) {
        Ok(path)
    } else {
        Err(NotPath::Syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn source_routes_are_read_and_dropped() {
        let shown =
            |text: &str| reverse_path(text.as_bytes(), false).map(|p| p.unwrap().to_string());
        assert_eq!(shown("@a.b,@c:x@y"), Ok("x@y".into()));
        assert_eq!(shown("@a,b:x@y"), Err(NotPath::Syntax));
        assert_eq!(shown("@a.b"), Err(NotPath::Syntax));
    }

    #[test]
    fn postmaster_needs_no_domain_and_nobody_else_may_omit_it() {
        let host = Domain::parse("mx.example", false).unwrap();
        assert_eq!(
            forward_path(b"PostMaster", false, &host)
                .unwrap()
                .to_string(),
            "postmaster@mx.example"
        );
        assert_eq!(forward_path(b"root", false, &host), Err(NotPath::Syntax));
        assert_eq!(forward_path(b"", false, &host), Err(NotPath::Syntax));
        assert_eq!(reverse_path(b"", false), Ok(None));
    }

    #[test]
    fn characters_outside_ascii_need_smtputf8() {
        assert_eq!(
            reverse_path("ü@b".as_bytes(), false),
            Err(NotPath::NeedsUtf8)
        );
        assert_eq!(
            reverse_path("a@bücher.example".as_bytes(), false),
            Err(NotPath::NeedsUtf8)
        );
        assert!(reverse_path("ü@bücher.example".as_bytes(), true).is_ok());
        assert_eq!(reverse_path(b"\xff@b", true), Err(NotPath::Syntax));
    }
}
