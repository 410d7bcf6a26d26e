//! Text that headers encode: encoded words (RFC 2047) and extended parameters (RFC 2231).

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::transfer::{Base64Decoder, hex_pair};

/// Turns octets of a charset (in lower case) into text; `None` for a charset it does not know.
pub type Charsets<'a> = &'a dyn Fn(&str, &[u8]) -> Option<String>;

/// The charsets known without tables: UTF-8 and US-ASCII (broken sequences become U+FFFD), and ISO-8859-1.
pub fn basic_charset(charset: &str, octets: &[u8]) -> Option<String> {
    match charset {
        "utf-8" | "utf8" => Some(String::from_utf8_lossy(octets).into_owned()),
        // 8-bit octets in what calls itself ASCII are UTF-8 more often than not.
        "us-ascii" | "ascii" => Some(unlabelled(octets)),
        "iso-8859-1" | "latin1" | "iso8859-1" => {
            Some(octets.iter().copied().map(char::from).collect())
        }
        _ => None,
    }
}

/// A raw field value as text: unfolded by nobody, so line ends stay where no encoded word consumes them; white space at
/// its start goes.
///
/// White space between encoded words is dropped (RFC 2047 6.2), and octets of neighbours of one charset are put
/// together before they are converted, since some mailers cut characters in two. What is no encoded word stays as
/// it is: UTF-8, or, when it is not, ISO-8859-1. An unknown charset is treated the same way.
pub fn decode_words(value: &[u8], charsets: Charsets<'_>) -> String {
    let mut out = String::with_capacity(value.len());
    let mut pending = Pending::default();
    let text = value.trim_ascii_start();
    // Text since the last encoded word starts at `plain`; the search for the next one goes on at `from`.
    let (mut plain, mut from) = (0, 0);
    while let Some(at) = find_mark(text, from) {
        let Some(word) = text.get(at..).and_then(EncodedWord::parse) else {
            from = at + 2;
            continue;
        };
        let before = text.get(plain..at).unwrap_or_default();
        if !(pending.open && before.trim_ascii().is_empty()) {
            pending.flush(&mut out, charsets);
            out.push_str(&unlabelled(before));
        }
        pending.add(&word, &mut out, charsets);
        (plain, from) = (at + word.len, at + word.len);
    }
    pending.flush(&mut out, charsets);
    out.push_str(&unlabelled(text.get(plain..).unwrap_or_default()));
    out
}

/// Where an encoded word may begin, at `from` or behind it.
fn find_mark(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.windows(2).position(|w| w == b"=?").map(|at| from + at)
}

/// Octets of encoded words of one charset, not yet converted.
#[derive(Default)]
struct Pending {
    open: bool,
    charset: String,
    octets: Vec<u8>,
}

impl Pending {
    fn add(&mut self, word: &EncodedWord, out: &mut String, charsets: Charsets<'_>) {
        if self.charset != word.charset {
            self.flush(out, charsets);
            self.charset.clone_from(&word.charset);
        }
        self.open = true;
        self.octets.extend_from_slice(&word.octets);
    }

    fn flush(&mut self, out: &mut String, charsets: Charsets<'_>) {
        if core::mem::take(&mut self.open) {
            out.push_str(&convert(&self.charset, &self.octets, charsets));
            self.octets.clear();
        }
    }
}

struct EncodedWord {
    charset: String,
    octets: Vec<u8>,
    /// Octets of its written form.
    len: usize,
}

impl EncodedWord {
    /// `=?charset*language?Q or B?text?=` at the start. Each piece ends at the next `?`, so a failed attempt looks no
    /// further than the next possible start.
    fn parse(text: &[u8]) -> Option<Self> {
        let inner = text.strip_prefix(b"=?")?;
        let mut pieces = inner.splitn(4, |c| *c == b'?');
        let (charset, encoding, content) = (pieces.next()?, pieces.next()?, pieces.next()?);
        let named = !charset.is_empty() && charset.iter().all(u8::is_ascii_graphic);
        if !pieces.next()?.starts_with(b"=") || !named {
            return None;
        }
        let len = 2 + charset.len() + 1 + encoding.len() + 1 + content.len() + 2;
        let charset = charset.split(|c| *c == b'*').next()?;
        let charset = core::str::from_utf8(charset).ok()?.to_ascii_lowercase();
        let octets = match encoding {
            b"Q" | b"q" => q_decoded(content),
            b"B" | b"b" => {
                let mut octets = Vec::with_capacity(content.len() / 4 * 3 + 3);
                let mut decoder = Base64Decoder::new();
                decoder.push(content, &mut octets);
                decoder.finish(&mut octets);
                octets
            }
            _ => return None,
        };
        Some(Self {
            charset,
            octets,
            len,
        })
    }
}

/// RFC 2047 4.2. What is no hexadecimal pair behind a `=` stays.
fn q_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return out,
            [b'_', tail @ ..] => {
                out.push(b' ');
                tail
            }
            [mark @ b'=', tail @ ..] => match hex_pair(tail) {
                Some(octet) => {
                    out.push(octet);
                    tail.get(2..).unwrap_or_default()
                }
                None => {
                    out.push(*mark);
                    tail
                }
            },
            [c, tail @ ..] => {
                out.push(*c);
                tail
            }
        }
    }
}

/// Parameters as text, names in lower case, continuations and percent-encoding of RFC 2231 undone, and encoded words in
/// values too, which RFC 2047 5 forbids and many mailers write. In order of first appearance; the first of a name counts.
pub fn decode_params(
    params: &[(Vec<u8>, Vec<u8>)],
    charsets: Charsets<'_>,
) -> Vec<(String, String)> {
    // By name, then by section; the plain form of a name is worth less than its extended one.
    let mut sections: BTreeMap<String, (usize, Pieces<'_>)> = BTreeMap::new();
    let mut plain: BTreeMap<String, (usize, &[u8])> = BTreeMap::new();
    for (order, (name, value)) in params.iter().enumerate() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        match Section::of(&name) {
            Some((base, section)) => {
                let entry = sections.entry(String::from(base));
                let (_, pieces) = entry.or_insert_with(|| (order, BTreeMap::new()));
                pieces
                    .entry(section.number)
                    .or_insert((section.extended, value));
            }
            None => {
                plain.entry(name).or_insert((order, value));
            }
        }
    }
    let mut out: Vec<(usize, String, String)> = Vec::new();
    for (name, (order, pieces)) in &sections {
        out.push((*order, name.clone(), joined(pieces, charsets)));
    }
    for (name, (order, value)) in plain {
        if !sections.contains_key(&name) {
            out.push((order, name, decode_words(value, charsets)));
        }
    }
    out.sort_by_key(|(order, ..)| *order);
    out.into_iter()
        .map(|(_, name, value)| (name, value))
        .collect()
}

/// The sections of one parameter by number: whether extended, and the value.
type Pieces<'a> = BTreeMap<u16, (bool, &'a [u8])>;

struct Section {
    number: u16,
    extended: bool,
}

impl Section {
    /// `name*`, `name*1` and `name*1*`, split.
    fn of(name: &str) -> Option<(&str, Self)> {
        let (base, tail) = name.split_once('*')?;
        let (number, extended) = match tail.strip_suffix('*') {
            Some(number) => (number, true),
            None => (tail, tail.is_empty()),
        };
        let number = match number.is_empty() {
            true => 0,
            false => number.parse().ok()?,
        };
        Some((base, Self { number, extended }))
    }
}

/// Sections 0, 1, 2, ... up to the first that is missing.
fn joined(pieces: &Pieces<'_>, charsets: Charsets<'_>) -> String {
    let mut charset = None;
    let mut octets = Vec::new();
    for (expected, (number, (extended, value))) in (0u16..).zip(pieces) {
        if expected != *number {
            break;
        }
        if !extended {
            octets.extend_from_slice(value);
            continue;
        }
        // `charset'language'` belongs to section 0 (RFC 2231 4.1), but is seen at the first extended one.
        let mut parts = value.splitn(3, |c| *c == b'\'');
        let text = match (charset.is_none(), parts.next(), parts.next(), parts.next()) {
            (true, Some(name), Some(_), Some(text)) => {
                charset = Some(String::from_utf8_lossy(name).to_ascii_lowercase());
                text
            }
            _ => value,
        };
        percent_decode(text, &mut octets);
    }
    match charset {
        Some(charset) if !charset.is_empty() => convert(&charset, &octets, charsets).into_owned(),
        _ => unlabelled(&octets),
    }
}

fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [c, tail @ ..] = rest {
        rest = match hex_pair(tail).filter(|_| *c == b'%') {
            Some(octet) => {
                out.push(octet);
                tail.get(2..).unwrap_or_default()
            }
            None => {
                out.push(*c);
                tail
            }
        }
    }
}

fn convert<'a>(charset: &str, octets: &'a [u8], charsets: Charsets<'_>) -> Cow<'a, str> {
    match charsets(charset, octets).or_else(|| basic_charset(charset, octets)) {
        Some(text) => Cow::Owned(text),
        None => Cow::Owned(unlabelled(octets)),
    }
}

/// Octets of no known charset.
fn unlabelled(octets: &[u8]) -> String {
    match core::str::from_utf8(octets) {
        Ok(text) => String::from(text),
        Err(_) => octets.iter().copied().map(char::from).collect(),
    }
}
