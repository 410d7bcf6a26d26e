//! The base subject of RFC 5256 2.1, and the order of texts (i;unicode-casemap, RFC 5051).

use unicode_normalization::UnicodeNormalization;

/// A subject without what replies and forwards add to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BaseSubject {
    /// In the form in which texts are compared: see [`casemapped`].
    pub text: String,
    /// Something of a reply or a forward was taken off.
    pub is_reply: bool,
}

/// The base subject of a subject whose encoded words are decoded.
pub fn base_subject(subject: &str) -> BaseSubject {
    let words: Vec<&str> = subject.split_whitespace().collect();
    let whole = casemapped(&words.join(" "));
    let (mut text, mut is_reply) = (&whole[..], false);
    loop {
        // (2)
        loop {
            text = text.trim_end();
            match text.strip_suffix("(FWD)") {
                Some(rest) => (text, is_reply) = (rest, true),
                None => break,
            }
        }
        // (3) to (5)
        loop {
            text = text.trim_start();
            if let Some(rest) = without_refwd(text) {
                (text, is_reply) = (rest, true);
                continue;
            }
            // What was no reply behind all blobs is none behind some of them.
            let fuller = |text| without_blob(text).filter(|rest| !rest.is_empty());
            while let Some(rest) = fuller(text) {
                text = rest;
            }
            break;
        }
        // (6)
        match text.strip_prefix("[FWD:").and_then(|t| t.strip_suffix(']')) {
            Some(inside) => (text, is_reply) = (inside, true),
            None => break,
        }
    }
    BaseSubject {
        text: text.to_owned(),
        is_reply,
    }
}

/// `subj-refwd`, with blobs before it: `RE:`, `FW: `, `FWD [x] :`.
fn without_refwd(text: &str) -> Option<&str> {
    let mut text = text;
    while let Some(rest) = without_blob(text) {
        text = rest.trim_start();
    }
    let rest = ["RE", "FWD", "FW"]
        .iter()
        .find_map(|word| text.strip_prefix(word))?;
    let mut rest = rest.trim_start();
    if let Some(behind) = without_blob(rest) {
        rest = behind.trim_start();
    }
    rest.strip_prefix(':')
}

/// `subj-blob`: `[anything without brackets] `.
fn without_blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    inside.get(end..)?.strip_prefix(']').map(str::trim_start)
}

/// The form in which texts are compared, that of RFC 5051 2: each character in title case, then decomposed.
pub fn casemapped(text: &str) -> String {
    text.chars().map(title_case).nfkd().collect()
}

/// The simple mapping of `UnicodeData.txt`, which gives one character for one.
fn title_case(c: char) -> char {
    let offset = |by: u32| char::from_u32(u32::from(c) + by).unwrap_or(c);
    match c {
        // Digraphs: the first letter only.
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian has capitals, but no titles.
        '\u{10d0}'..='\u{10ff}' => c,
        // Greek with an iota, which stays below.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => offset(8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => offset(9),
        // Of the others what has no capital of one character has none (\u{df}).
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                _ => c,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replies_and_forwards_add_is_taken_off() {
        for (subject, base, is_reply) in [
            ("b", "B", false),
            ("[foo] Fwd: [bar] Re: fw: b (fWd)  (fwd)", "B", true),
            ("b (a)", "B (A)", false),
            ("Re: [FWD: c]", "C", true),
            ("[xyz]", "[XYZ]", false),
            ("[xyz] b", "B", false),
            ("re [x]: b", "B", true),
            ("[a] [b] re: \t c", "C", true),
            ("Fw:", "", true),
            ("", "", false),
            ("return", "RETURN", false),
            ("[fwd: [fwd: a] (fwd)]", "A", true),
            ("[a[b] c", "[A[B] C", false),
            ("\u{fc}ber", "U\u{308}BER", false),
        ] {
            let found = base_subject(subject);
            assert_eq!(
                (&found.text[..], found.is_reply),
                (base, is_reply),
                "{subject}"
            );
        }
    }

    #[test]
    fn texts_are_compared_as_their_collation_says() {
        for (text, mapped) in [
            ("stra\u{df}e", "STRA\u{df}E"),
            ("\u{1c6} \u{1c4}", "Dz\u{30c} Dz\u{30c}"),
            ("\u{10d0}", "\u{10d0}"),
            ("\u{fb01}", "fi"),
            ("\u{1fb3}\u{1f80}", "\u{391}\u{345}\u{391}\u{313}\u{345}"),
            ("i\u{131}\u{17f}", "IIS"),
            ("\u{e4}\u{2460}", "A\u{308}1"),
        ] {
            assert_eq!(casemapped(text), mapped, "{text}");
        }
    }

    #[test]
    fn a_hostile_subject_costs_no_more_than_its_length_allows() {
        let subject = "[a] ".repeat(10_000) + &"(fwd)".repeat(10_000);
        assert!(base_subject(&subject).is_reply);
        assert_eq!(base_subject(&"re: ".repeat(20_000)).text, "");
    }
}
