//! Mailbox addresses: what stands between the angle brackets of MAIL and RCPT.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use crate::{Domain, DomainError};

/// A mailbox address, RFC 5321 4.1.2 `Mailbox`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Before the `@`, decoded.
    pub local: LocalPart,
    /// After the `@`.
    pub host: Host,
}

/// A local part, decoded: without quotes and backslashes of its quoted form. At most 128 octets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPart(Box<str>);

/// What stands behind the `@`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A domain name.
    Domain(Domain),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

/// Why text is not a mailbox address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// No `@`, or nothing on one side of it.
    Incomplete,
    /// The local part has more than 128 octets, or the whole more than 254.
    TooLong,
    /// A character that needs quotes, or one that no local part has.
    BadLocalPart,
    /// The local part has non-ASCII characters and SMTPUTF8 was not asked for.
    NeedsUtf8,
    /// The domain is not one.
    Domain(DomainError),
    /// The address literal is not one.
    BadLiteral,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("an address is local-part@domain"),
            Self::TooLong => {
                f.write_str("an address has at most 254 bytes, its local part at most 128")
            }
            Self::BadLocalPart => {
                f.write_str("the part before the @ has characters that need quotes")
            }
            Self::NeedsUtf8 => {
                f.write_str("the part before the @ is not ASCII, which needs SMTPUTF8")
            }
            Self::Domain(e) => e.fmt(f),
            Self::BadLiteral => f.write_str("an address literal is [1.2.3.4] or [IPv6:...]"),
        }
    }
}

impl core::error::Error for PathError {}

impl Path {
    /// The longest address, in octets (RFC 5321 erratum 1690: 256 with the brackets).
    pub const MAX: usize = 254;

    /// Parses `local@domain`, `"quoted local"@domain` or `local@[literal]`, without angle brackets.
    pub fn parse(text: &str, utf8: bool) -> Result<Self, PathError> {
        if text.len() > Self::MAX {
            return Err(PathError::TooLong);
        }
        let at = text.rfind('@').ok_or(PathError::Incomplete)?;
        let (local, host) = (
            &text.get(..at).unwrap_or_default(),
            text.get(at + 1..).unwrap_or_default(),
        );
        if host.is_empty() {
            return Err(PathError::Incomplete);
        }
        Ok(Self {
            local: LocalPart::parse(local, utf8)?,
            host: Host::parse(host, utf8)?,
        })
    }

    /// The domain, when it is not an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Domain(d) => Some(d),
            Host::Literal(_) => None,
        }
    }

    /// False when writing this address needs SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.0.is_ascii() && self.domain().is_none_or(|d| d.as_str().is_ascii())
    }
}

impl LocalPart {
    /// The longest local part we take, in octets (RFC 5321 says 64; longer ones are seen).
    pub const MAX: usize = 128;

    /// Parses the written form: a dot-string or a quoted string.
    pub fn parse(text: &str, utf8: bool) -> Result<Self, PathError> {
        let decoded = match text.strip_prefix('"') {
            Some(inner) => unquote(inner.strip_suffix('"').ok_or(PathError::BadLocalPart)?)?,
            None => {
                if text.is_empty() {
                    return Err(PathError::Incomplete);
                }
                if !is_dot_string(text) {
                    return Err(PathError::BadLocalPart);
                }
                String::from(text)
            }
        };
        if decoded.len() > Self::MAX {
            return Err(PathError::TooLong);
        }
        if !utf8 && !decoded.is_ascii() {
            return Err(PathError::NeedsUtf8);
        }
        Ok(Self(decoded.into_boxed_str()))
    }

    /// The decoded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form used to compare local parts without regard to case: NFC, folded to lower case.
    #[cfg(feature = "idna")]
    pub fn folded(&self) -> String {
        use unicode_normalization::UnicodeNormalization;
        self.0.nfc().flat_map(char::to_lowercase).collect()
    }
}

impl Host {
    /// Parses a domain or an address literal in brackets.
    pub fn parse(text: &str, utf8: bool) -> Result<Self, PathError> {
        let Some(literal) = text.strip_prefix('[') else {
            return Domain::parse(text, utf8)
                .map(Self::Domain)
                .map_err(PathError::Domain);
        };
        let literal = literal.strip_suffix(']').ok_or(PathError::BadLiteral)?;
        let tagged = literal
            .get(..5)
            .filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let ip = match tagged {
            Some(_) => literal.get(5..).unwrap_or_default().parse().map(IpAddr::V6),
            None => literal.parse().map(IpAddr::V4),
        };
        ip.map(Self::Literal).map_err(|_| PathError::BadLiteral)
    }
}

/// RFC 5322 atext, with any non-ASCII character beside it (RFC 6531).
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control())
}

fn is_dot_string(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn unquote(inner: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '"' => return Err(PathError::BadLocalPart),
            '\\' => chars.next().ok_or(PathError::BadLocalPart)?,
            c => c,
        };
        if c.is_control() {
            return Err(PathError::BadLocalPart);
        }
        out.push(c);
    }
    Ok(out)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

/// Quoted only when it must be.
impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use core::fmt::Write;
        if is_dot_string(&self.0) {
            return f.write_str(&self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(d) => d.fmt(f),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn written_and_decoded_forms_are_inverse() {
        for text in [
            "a@b.example",
            "a.b+c@d",
            "\"a b\"@c",
            "\"a\\\"b\\\\\"@c",
            "\"\"@c",
            "\"a..b\"@c",
            "x@[192.0.2.1]",
            "x@[IPv6:2001:db8::1]",
        ] {
            assert_eq!(Path::parse(text, false).unwrap().to_string(), text);
        }
        assert_eq!(
            Path::parse("\"simple\"@C", false).unwrap().to_string(),
            "simple@c"
        );
        assert_eq!(
            Path::parse("\"a@b\"@c", false).unwrap().local.as_str(),
            "a@b"
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let error = |text| Path::parse(text, false).unwrap_err();
        assert_eq!(error("ab"), PathError::Incomplete);
        assert_eq!(error("@b"), PathError::Incomplete);
        assert_eq!(error("a@"), PathError::Incomplete);
        assert_eq!(error("a b@c"), PathError::BadLocalPart);
        assert_eq!(error("a..b@c"), PathError::BadLocalPart);
        assert_eq!(error("ü@c"), PathError::NeedsUtf8);
        assert_eq!(error("a@[1.2.3]"), PathError::BadLiteral);
        assert_eq!(error("a@[IPv6:1.2.3.4]"), PathError::BadLiteral);
        assert_eq!(error("a@b_c"), PathError::Domain(DomainError::BadCharacter));
        assert!(Path::parse("ü@bücher.example", true).is_ok_and(|p| !p.is_ascii()));
    }
}
