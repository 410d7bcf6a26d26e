//! Mailbox names: modified UTF-7 on the wire (RFC 3501 5.1.3), canonical UTF-8 inside.

use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Octets in a canonical name at most.
const NAME_MAX: usize = 1_000;
/// Levels in a canonical name at most.
const DEPTH_MAX: usize = 32;

/// RFC 3501's base64: a comma for the slash, no padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);

/// Why a mailbox name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Neither modified UTF-7 nor UTF-8.
    Encoding,
    /// Empty, or with an empty, `.` or `..` level.
    Level,
    /// With a wildcard, a leading `#`, or a control or line-separating character.
    Character,
    /// Longer or deeper than allowed.
    TooLong,
}

impl NameError {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Encoding => "the mailbox name is not valid modified UTF-7",
            Self::Level => "the mailbox name has an empty, . or .. level",
            Self::Character => "the mailbox name has a character that is not allowed",
            Self::TooLong => "the mailbox name is too long or too deep",
        }
    }
}

/// The canonical name for one from the wire: UTF-8, `/` between levels, a first level INBOX in upper case.
///
/// With `utf8` (UTF8=ACCEPT or IMAP4rev2 is enabled) the wire has UTF-8, otherwise modified UTF-7.
pub fn decode_name(raw: &[u8], utf8: bool) -> Result<String, NameError> {
    let name = match utf8 {
        true => core::str::from_utf8(raw).ok().map(String::from),
        false => decode(raw),
    };
    let name = name.ok_or(NameError::Encoding)?;
    if name.len() > NAME_MAX || name.split('/').count() > DEPTH_MAX {
        return Err(NameError::TooLong);
    }
    if name
        .split('/')
        .any(|level| matches!(level, "" | "." | ".."))
    {
        return Err(NameError::Level);
    }
    let refused = |c: char| c.is_control() || matches!(c, '%' | '*' | '\u{2028}' | '\u{2029}');
    if name.starts_with('#') || name.contains(refused) {
        return Err(NameError::Character);
    }
    Ok(with_inbox(name))
}

/// A pattern of LIST or its reference: decoded, but neither checked nor completed. What is no modified UTF-7 is
/// taken as it is.
pub fn decode_pattern(raw: &[u8], utf8: bool) -> String {
    let decoded = (!utf8).then(|| decode(raw)).flatten();
    decoded.unwrap_or_else(|| String::from_utf8_lossy(raw).into_owned())
}

/// Upper-cases a first level that is INBOX in any case (RFC 3501 5.1).
pub(crate) fn with_inbox(mut name: String) -> String {
    const INBOX: &str = "INBOX";
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case(INBOX) {
        name.replace_range(..INBOX.len(), INBOX);
    }
    name
}

/// Modified UTF-7 of a canonical name.
pub fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut shifted = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut out, &mut shifted);
            out.push(c as u8);
            if c == '&' {
                out.push(b'-');
            }
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shifted.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    flush(&mut out, &mut shifted);
    out
}

fn flush(out: &mut Vec<u8>, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        out.push(b'&');
        out.extend_from_slice(BASE64.encode(&*shifted).as_bytes());
        out.push(b'-');
        shifted.clear();
    }
}

/// `None` when a shift is not closed, not base64, not UTF-16, or hides what needs no shift.
fn decode(raw: &[u8]) -> Option<String> {
    let mut text = core::str::from_utf8(raw).ok()?;
    let mut out = String::with_capacity(raw.len());
    let mut just_unshifted = false;
    while let Some((plain, rest)) = text.split_once('&') {
        out.push_str(plain);
        let (inside, rest) = rest.split_once('-')?;
        if inside.is_empty() {
            out.push('&');
            just_unshifted = false;
        } else {
            // Two shifts in a row would be a second spelling of one name.
            if just_unshifted && plain.is_empty() {
                return None;
            }
            unshift(inside, &mut out)?;
            just_unshifted = true;
        }
        text = rest;
    }
    out.push_str(text);
    Some(out)
}

fn unshift(inside: &str, out: &mut String) -> Option<()> {
    let bytes = BASE64.decode(inside).ok()?;
    let (pairs, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    for unit in char::decode_utf16(pairs.iter().map(|&p| u16::from_be_bytes(p))) {
        let c = unit.ok()?;
        if matches!(c, ' '..='~') {
            return None;
        }
        out.push(c);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn known_names_decode() {
        for (raw, name) in [
            ("inbox", "INBOX"),
            ("InBox/a", "INBOX/a"),
            ("inboxes", "inboxes"),
            ("a/inbox", "a/inbox"),
            ("&Jjo-", "\u{263a}"),
            ("R&-D", "R&D"),
            (
                "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
                "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}",
            ),
            ("&2D3eAA-", "\u{1f600}"),
            ("gr\u{fc}n", "gr\u{fc}n"),
        ] {
            assert_eq!(
                decode_name(raw.as_bytes(), false),
                Ok(name.to_string()),
                "{raw}"
            );
        }
    }

    #[test]
    fn names_that_could_be_spelled_otherwise_or_hurt_somebody_are_refused() {
        for (raw, error) in [
            ("&Jjo", NameError::Encoding),
            ("&AGE-", NameError::Encoding),
            ("&Jjo-&Jjo-", NameError::Encoding),
            ("&2D0-", NameError::Encoding),
            ("&Jjp-", NameError::Encoding),
            ("a&", NameError::Encoding),
            ("", NameError::Level),
            ("/a", NameError::Level),
            ("a//b", NameError::Level),
            ("a/", NameError::Level),
            ("a/../b", NameError::Level),
            ("a%b", NameError::Character),
            ("*", NameError::Character),
            ("#news", NameError::Character),
            ("a\tb", NameError::Character),
            ("&IAGE-", NameError::Encoding),
            ("&ICg-", NameError::Character),
        ] {
            assert_eq!(decode_name(raw.as_bytes(), false), Err(error), "{raw}");
        }
        assert_eq!(decode_name(&[b'a'; 1_001], false), Err(NameError::TooLong));
        assert_eq!(
            decode_name("a/".repeat(32).as_bytes(), false),
            Err(NameError::TooLong)
        );
        assert_eq!(decode_name(b"\xff", false), Err(NameError::Encoding));
    }

    #[test]
    fn where_names_are_utf8_an_ampersand_is_one() {
        assert_eq!(decode_name(b"R&D/&Jjo-", true), Ok("R&D/&Jjo-".into()));
        assert_eq!(
            decode_name("gr\u{fc}n".as_bytes(), true),
            Ok("gr\u{fc}n".into())
        );
        assert_eq!(decode_name(b"\xfc", true), Err(NameError::Encoding));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(name in "\\PC{0,40}") {
            let wire = encode_name(&name);
            prop_assert!(wire.iter().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(decode(&wire), Some(name));
        }

        #[test]
        fn ascii_that_decodes_encodes_to_itself(raw in "[a-c&,+A-Z0-9-]{0,20}") {
            if let Some(name) = decode(raw.as_bytes()) {
                prop_assert_eq!(encode_name(&name), raw.as_bytes());
            }
        }
    }
}
