//! Tag lists: RFC 6376 section 3.2.

use alloc::vec::Vec;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Tags of one list at most.
pub(crate) const TAGS_MAX: usize = 64;

/// Base64 as people write it: with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One `name=value`, outer white space removed, folding inside kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
}

/// Splits a list; names are checked, and that none stands twice.
pub(crate) fn parse(text: &str) -> Result<Vec<Tag<'_>>, &'static str> {
    let mut tags: Vec<Tag<'_>> = Vec::new();
    let mut specs = text.split(';').peekable();
    while let Some(spec) = specs.next() {
        let is_end = specs.peek().is_none() && trim(spec).is_empty() && !tags.is_empty();
        if is_end {
            break;
        }
        let (name, value) = spec.split_once('=').ok_or("a tag without an equals sign")?;
        let tag = Tag {
            name: trim(name),
            value: trim(value),
        };
        let mut letters = tag.name.bytes();
        let is_name = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            return Err("a tag whose name is none");
        }
        if tags.iter().any(|other| other.name == tag.name) {
            return Err("a tag that stands twice");
        }
        if tags.len() == TAGS_MAX {
            return Err("too many tags");
        }
        tags.push(tag);
    }
    Ok(tags)
}

/// The value of a tag.
pub(crate) fn get<'a>(tags: &[Tag<'a>], name: &str) -> Option<&'a str> {
    tags.iter()
        .find(|tag| tag.name == name)
        .map(|tag| tag.value)
}

/// Without folding white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// The parts of a list with colons, each trimmed.
pub(crate) fn colons(text: &str) -> impl Iterator<Item = &str> {
    text.split(':').map(trim)
}

/// Base64 with folding white space anywhere.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let dense: Vec<u8> = text.bytes().filter(|b| !b" \t\r\n".contains(b)).collect();
    LENIENT.decode(dense).ok()
}

/// A decimal number of at most so many digits; one too large for 64 bits is the largest there is.
pub(crate) fn number(text: &str, digits: usize) -> Option<u64> {
    let is_number =
        !text.is_empty() && text.len() <= digits && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Dkim-quoted-printable (RFC 6376 2.11) as octets.
pub(crate) fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes().filter(|b| !b" \t\r\n".contains(b));
    while let Some(octet) = octets.next() {
        if octet != b'=' {
            out.push(octet);
            continue;
        }
        let mut digit = || octets.next().and_then(|b| char::from(b).to_digit(16));
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).ok()?);
    }
    Some(out)
}

/// A name of at least `labels` labels as in d= and s=: letters, digits, hyphens and underscores, in A-labels.
pub(crate) fn is_domain(text: &str, labels: usize) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label) && text.split('.').count() >= labels
}
