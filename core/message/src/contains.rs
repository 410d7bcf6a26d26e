//! Whether a message's texts contain what somebody looks for, letter case aside. A search looks through every message of a
//! mailbox, so text that is plain ASCII, which most is, is compared as the octets that are there.

use memchr::memmem;
use mox_mime::{Part, header};

use crate::text::{header_text, shown_text};

/// The form in which texts are compared: without regard to case.
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Whether a raw field value, decoded, contains `needle`, which is [`folded`].
pub fn value_contains(value: &[u8], needle: &str) -> bool {
    let mut text = String::new();
    push_folded(value, &mut text);
    is_in(needle, text.as_bytes())
}

/// Whether any field of a header block, decoded, contains `needle`, which is [`folded`]: its name, a colon, a space, its
/// value.
pub fn header_contains(block: &[u8], needle: &str) -> bool {
    // Fields are looked through together, a line each: in unfolded text there is no line end, but for what somebody encoded.
    let by_field = needle.contains('\n');
    let mut text = String::new();
    for field in header::split(block) {
        text.push_str(&folded(&String::from_utf8_lossy(field.name)));
        text.push_str(": ");
        push_folded(field.value, &mut text);
        if by_field {
            if is_in(needle, text.as_bytes()) {
                return true;
            }
            text.clear();
        } else {
            text.push('\n');
        }
    }
    is_in(needle, text.as_bytes())
}

/// Which of `needles`, all [`folded`], a leaf's text contains, out of the octets of its body as stored; those found are set
/// to true.
pub fn part_contains(part: &Part, body: &[u8], needles: &[&str], found: &mut [bool]) {
    text_contains(&shown_text(part, body), needles, found);
}

fn text_contains(text: &str, needles: &[&str], found: &mut [bool]) {
    // With ASCII needles only the Kelvin sign and the dotted capital I are more than what ASCII's own cases say: they fold
    // to `k`, and to `i` with a dot above.
    let ascii = text.is_ascii()
        || needles.iter().all(|needle| needle.is_ascii())
            && !text.contains(['\u{212a}', '\u{130}']);
    let text = match ascii {
        true => text.to_ascii_lowercase(),
        false => folded(text),
    };
    for (needle, found) in needles.iter().zip(found) {
        *found |= is_in(needle, text.as_bytes());
    }
}

/// Appends [`header_text`] of a value, [`folded`].
fn push_folded(value: &[u8], out: &mut String) {
    let plain = |c: &u8| matches!(c, b'\t' | b' '..=b'~');
    match value.iter().all(plain) && memmem::find(value, b"=?").is_none() {
        // Nothing to decode, nothing to unfold.
        true => out.push_str(&String::from_utf8_lossy(value.trim_ascii()).to_ascii_lowercase()),
        false => out.push_str(&folded(&header_text(value))),
    }
}

fn is_in(needle: &str, octets: &[u8]) -> bool {
    memmem::find(octets, needle.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_way_finds_what_comparing_folded_texts_finds(
            text in "[a-cK\u{212a}\u{130}\u{e4}\u{c4} ]{0,12}", needle in "[a-cKk\u{e4}\u{130}i ]{0,3}",
        ) {
            let needle = folded(&needle);
            let slow: String = text.chars().flat_map(char::to_lowercase).collect();
            let mut found = [false, false];
            text_contains(&text, &[needle.as_str(), ""], &mut found);
            prop_assert_eq!(found, [slow.contains(&needle), true]);
            let value = format!(" {text}\r\n {text}=?utf-8?q?=C3=84?=");
            let slow: String = header_text(value.as_bytes()).chars().flat_map(char::to_lowercase).collect();
            prop_assert_eq!(value_contains(value.as_bytes(), &needle), slow.contains(&needle));
            prop_assert_eq!(value_contains(text.as_bytes(), &needle), folded(&header_text(text.as_bytes())).contains(&needle));
        }
    }

    #[test]
    fn what_is_looked_for_lies_within_one_field() {
        let block = "Subject: One\r\n two\r\nX-More: =?utf-8?q?Gr=C3=9C=C3=9Fe=0Aend?=\r\n\r\n";
        for found in [
            "subject: one two",
            "one t",
            "grüße",
            "e\nend",
            "x-more: g",
            "",
        ] {
            assert!(header_contains(block.as_bytes(), found), "{found}");
        }
        for not in ["two\nx-more", "one\r\n two", "twox", "end\n", "GRÜ"] {
            assert!(!header_contains(block.as_bytes(), not), "{not}");
        }
    }
}
