//! Which octets of an SMTP server are what. The client acts on codes and on what EHLO offers: these stay, texts do not.

use super::names::{is_mechanism, is_word};
use super::{Class, Spanned};

/// What a server may offer in its reply to EHLO, and, behind it, words that say nothing about anybody.
const OFFERS: [&str; 24] = [
    "8bitmime",
    "auth",
    "binarymime",
    "burl",
    "chunking",
    "deliverby",
    "dsn",
    "enhancedstatuscodes",
    "etrn",
    "expn",
    "help",
    "limits",
    "mt-priority",
    "pipelining",
    "requiretls",
    "rrvs",
    "size",
    "smtputf8",
    "starttls",
    "vrfy",
    "xclient",
    "xforward",
    "utf8smtp",
    "future-release",
];
const LIMITS: [&str; 3] = ["rcptmax", "mailmax", "rcptdomainmax"];

pub(super) fn spans(stream: &[u8]) -> Vec<Spanned> {
    let mut spans = Vec::new();
    let mut at = 0;
    for line in stream.split_inclusive(|&b| b == b'\n') {
        let text = line.trim_ascii_end();
        let (said, class) = said(text);
        if said < text.len() {
            spans.push(Spanned((at + said..at + text.len(), class)));
        }
        at += line.len();
    }
    spans
}

/// Where the text of a reply's line begins, and what it is.
fn said(line: &[u8]) -> (usize, Class) {
    let digits = line
        .iter()
        .take(3)
        .take_while(|b| b.is_ascii_digit())
        .count();
    let behind = line.get(digits + 1..).unwrap_or_default();
    if digits < 3 || !matches!(line.get(3), Some(b' ' | b'-')) {
        return (digits, Class::Words);
    }
    if line.starts_with(b"334") {
        return (4, Class::Secret);
    }
    if line.starts_with(b"250") && is_offer(behind) {
        return (line.len(), Class::Words);
    }
    (4 + enhanced(behind), Class::Words)
}

fn is_offer(text: &[u8]) -> bool {
    let mut words = text.split(|b| *b == b' ');
    let offer = words.next().unwrap_or_default();
    let is_known = |word: &[u8]| {
        let mut parts = word.split(|&b| b == b'=');
        let name = parts.next().unwrap_or_default();
        let is_number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
        (is_mechanism(name) || is_number(name) || is_word(name, &LIMITS)) && parts.all(is_number)
    };
    is_word(offer, &OFFERS) && words.all(is_known)
}

/// Octets of the enhanced status code (RFC 3463) and its blank.
fn enhanced(text: &[u8]) -> usize {
    let code = text.split(|&b| b == b' ').next().unwrap_or_default();
    let parts: Vec<_> = code.split(|&b| b == b'.').collect();
    let is_number = |p: &&[u8]| (1..=3).contains(&p.len()) && p.iter().all(u8::is_ascii_digit);
    match parts.len() == 3 && parts.iter().all(is_number) {
        true => (code.len() + 1).min(text.len()),
        false => 0,
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn codes_and_offers_stay_and_texts_do_not() {
        let stream = "220 mx.example Ann's server\r\n250-mx.example\r\n250-SIZE 5000\r\n250-AUTH PLAIN X-ANN\r\n\
            250-LIMITS RCPTMAX=5\r\n250 PIPELINING\r\n334 Y2hhbGxlbmdl\r\n550-5.1.1 Ann\r\n550 5.1.1\r\n25 Ann\r\n354 \r\n";
        let found: Vec<_> = spans(stream.as_bytes())
            .into_iter()
            .map(|Spanned((range, class))| (&stream[range], class))
            .collect();
        let expected = [
            ("mx.example Ann's server", Class::Words),
            ("mx.example", Class::Words),
            ("AUTH PLAIN X-ANN", Class::Words),
            ("Y2hhbGxlbmdl", Class::Secret),
            ("Ann", Class::Words),
            (" Ann", Class::Words),
        ];
        assert_eq!(found, expected);
    }
}
