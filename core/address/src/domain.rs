//! Domain names as mail writes them.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// A domain name without a final dot, ASCII letters in lower case.
///
/// It holds A-labels or, in SMTPUTF8 transactions, U-labels, as they were written.
/// RFC 5321 4.1.2 and 4.5.3.1.2: letters, digits and hyphens, at most 255 octets, labels of at most 63.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<str>);

/// Why text is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainError {
    /// Nothing there, or an empty label.
    Empty,
    /// More than 255 octets, or a label of more than 63.
    TooLong,
    /// A character that no host name has, or a hyphen at a label's edge.
    BadCharacter,
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a domain name, or a label of it, is empty",
            Self::TooLong => "a domain name has at most 255 bytes and its labels at most 63",
            Self::BadCharacter => "a domain name has letters, digits and inner hyphens only",
        })
    }
}

impl core::error::Error for DomainError {}

impl Domain {
    /// The longest domain name, in octets.
    pub const MAX: usize = 255;

    /// Checks and lower-cases a name; non-ASCII characters only when `utf8` allows them (SMTPUTF8).
    pub fn parse(text: &str, utf8: bool) -> Result<Self, DomainError> {
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(DomainError::TooLong);
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(DomainError::Empty);
            }
            if label.len() > 63 && label.is_ascii() {
                return Err(DomainError::TooLong);
            }
            let fits = |c: char| {
                c.is_ascii_alphanumeric()
                    || c == '-'
                    || (utf8 && !c.is_ascii() && !c.is_control() && !c.is_whitespace())
            };
            if !label.chars().all(fits) || label.starts_with('-') || label.ends_with('-') {
                return Err(DomainError::BadCharacter);
            }
        }
        let mut name = String::from(text);
        name.make_ascii_lowercase();
        Ok(Self(name.into_boxed_str()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in A-labels, for DNS and for peers without SMTPUTF8.
    #[cfg(feature = "idna")]
    pub fn to_ascii(&self) -> Result<Self, DomainError> {
        let name = idna::domain_to_ascii_cow(self.0.as_bytes(), idna::AsciiDenyList::URL)
            .map_err(|_| DomainError::BadCharacter)?;
        Self::parse(&name, false)
    }

    /// The name in U-labels, for people; the name itself where it cannot be converted.
    #[cfg(feature = "idna")]
    pub fn to_unicode(&self) -> String {
        match idna::domain_to_unicode(&self.0) {
            (name, Ok(())) => name,
            _ => String::from(self.as_str()),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_and_bad_ones_refused() {
        assert_eq!(
            Domain::parse("Mail.EXAMPLE.org", false).unwrap().as_str(),
            "mail.example.org"
        );
        assert_eq!(Domain::parse("", false), Err(DomainError::Empty));
        assert_eq!(Domain::parse("a..b", false), Err(DomainError::Empty));
        assert_eq!(
            Domain::parse("a_b.c", false),
            Err(DomainError::BadCharacter)
        );
        assert_eq!(Domain::parse("-a.c", false), Err(DomainError::BadCharacter));
        assert_eq!(
            Domain::parse("bücher.example", false),
            Err(DomainError::BadCharacter)
        );
        assert_eq!(
            Domain::parse("bücher.example", true).unwrap().as_str(),
            "bücher.example"
        );
        assert_eq!(
            Domain::parse(&"a".repeat(64), false),
            Err(DomainError::TooLong)
        );
    }

    #[cfg(feature = "idna")]
    #[test]
    fn u_labels_and_a_labels_convert_both_ways() {
        let name = Domain::parse("bücher.example", true).unwrap();
        assert_eq!(name.to_ascii().unwrap().as_str(), "xn--bcher-kva.example");
        assert_eq!(name.to_ascii().unwrap().to_unicode(), "bücher.example");
    }
}
