//! The texts of a message with where each stands: what a filter learns from.
//!
//! Fields are decoded, parts converted from their charset, and HTML is read twice: as the text people see, and for what they
//! do not see, the targets of its links. Nothing recurses on the message, and all that is looked at is bounded.

use core::convert::Infallible;
use core::ops::Range;

use mox_mime::header::{self, Field};
use mox_mime::{Inside, Limits, Part, Structure, Walker, parts};

use crate::text::{decoded_text, file_name, header_text, params_text};
use mail_parser::decoders::html::html_to_text;

/// Octets of one field's value that are looked at.
pub const FIELD_OCTETS_MAX: usize = 4 * 1024;
/// Fields of a header that are looked at.
pub const FIELDS_MAX: usize = 200;
/// Octets of the bodies of parts, as they stand in the message, that are looked at, all parts together.
pub const BODY_OCTETS_MAX: usize = 256 * 1024;
/// Parts that are looked at.
pub const PARTS_MAX: usize = 100;
/// Octets of one link's target that are looked at.
pub const LINK_OCTETS_MAX: usize = 512;

/// Where a text stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place<'a> {
    /// In a header field of the message, by its name in lower case.
    Field(&'a str),
    /// In the text of a part, as people see it.
    Text,
    /// The target of a link or an image in HTML.
    Link,
    /// About a part: its media type, charset, transfer encoding, and the name of its file.
    Part,
}

/// Gives each text of a message, whose lines end in CRLF or LF, in the order it stands there.
pub fn pieces(message: &[u8], each: &mut dyn FnMut(Place<'_>, &str)) {
    let mut walker = Walker::new(Limits::default());
    walker.push(message);
    let structure = walker.finish();
    pieces_of(message, &structure, each);
}

/// [`pieces`] of a message whose structure is known.
pub fn pieces_of(message: &[u8], structure: &Structure, each: &mut dyn FnMut(Place<'_>, &str)) {
    let mut read = |range: Range<u64>| {
        let offset = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let octets = message.get(offset(range.start)..offset(range.end));
        Ok::<_, Infallible>(octets.unwrap_or_default())
    };
    let Ok(()) = pieces_read(&structure.header, &structure.part, &mut read, each);
}

/// [`pieces`] of a message that is not in memory: its header, its outermost part, and what `read` gives of its octets.
/// It is asked for at most [`BODY_OCTETS_MAX`] of them.
///
/// # Errors
/// Those of `read`.
pub fn pieces_read<E, B: AsRef<[u8]>>(
    header: &[u8],
    part: &Part,
    read: &mut dyn FnMut(Range<u64>) -> Result<B, E>,
    each: &mut dyn FnMut(Place<'_>, &str),
) -> Result<(), E> {
    for Field { name, value, .. } in header::split(header).take(FIELDS_MAX) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value = value.get(..FIELD_OCTETS_MAX).unwrap_or(value);
        each(Place::Field(&name), &header_text(value));
    }
    let mut left = BODY_OCTETS_MAX as u64;
    for part in parts(part).take(PARTS_MAX) {
        each(Place::Part, &about(part));
        if part.inside != Inside::Leaf || !part.media.eq_ignore_ascii_case(b"text") {
            continue;
        }
        let range = part.body..part.end.min(part.body.saturating_add(left));
        if range.is_empty() {
            continue;
        }
        left -= range.end - range.start;
        let body = read(range)?;
        let text = decoded_text(part, body.as_ref());
        if part.subtype.eq_ignore_ascii_case(b"html") {
            let html = Html::read(&text, each);
            each(Place::Text, &html_to_text(&html.spaced));
        } else {
            each(Place::Text, &text);
        }
    }
    Ok(())
}

/// A part in a few words.
fn about(part: &Part) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).to_ascii_lowercase();
    let mut out = format!("{}/{}", text(&part.media), text(&part.subtype));
    for (name, value) in params_text(&part.params) {
        if name == "charset" {
            out.push_str(" charset=");
            out.push_str(&value.trim().to_ascii_lowercase());
        }
    }
    out.push_str(" encoding=");
    out.push_str(text(&part.encoding).trim());
    if let Some(name) = file_name(part) {
        out.push_str(" file=");
        out.push_str(&name);
    }
    out
}

/// What is read of HTML beside its text.
struct Html {
    /// The same HTML with a space before each tag that ends a word, and without the head.
    spaced: String,
}

impl Html {
    /// Gives targets of links, the title and texts that stand for images as pieces.
    fn read(html: &str, each: &mut dyn FnMut(Place<'_>, &str)) -> Self {
        let mut spaced = String::with_capacity(html.len() + html.len() / 8);
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            let (before, tag) = rest.split_at(at);
            spaced.push_str(before);
            let end = match tag.starts_with("<!--") {
                true => tag.find("-->").map(|at| at + 3),
                false => tag.find('>').map(|at| at + 1),
            };
            let Some((tag, behind)) = end.and_then(|end| tag.split_at_checked(end)) else {
                rest = "";
                break;
            };
            rest = behind;
            if tag.starts_with("<!") {
                continue;
            }
            let name: String = tag
                .chars()
                .skip(1)
                .skip_while(|c| *c == '/')
                .take_while(char::is_ascii_alphanumeric)
                .take(12)
                .collect::<String>()
                .to_ascii_lowercase();
            if !INLINE.contains(&name.as_str()) {
                spaced.push(' ');
            }
            spaced.push_str(tag);
            if name == "title" && !tag.starts_with("</") {
                let title = rest.split('<').next().unwrap_or_default();
                each(Place::Text, &html_to_text(title));
            }
            for (attribute, value) in attributes(tag) {
                match attribute.as_str() {
                    "href" | "src" | "action" | "background" => {
                        let short: String = value.chars().take(LINK_OCTETS_MAX).collect();
                        each(Place::Link, &short);
                    }
                    "alt" | "title" => each(Place::Text, &html_to_text(value)),
                    _ => {}
                }
            }
        }
        spaced.push_str(rest);
        Self { spaced }
    }
}

/// Tags that may stand within a word.
const INLINE: [&str; 14] = [
    "a", "abbr", "b", "big", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "u",
];

/// Attributes with values, names in lower case, quotes taken off.
fn attributes(tag: &str) -> impl Iterator<Item = (String, &str)> {
    let mut rest = tag;
    core::iter::from_fn(move || {
        loop {
            let at = rest.find('=')?;
            let (before, value) = (rest.get(..at)?, rest.get(at + 1..)?);
            let mut words = before
                .trim_end()
                .rsplit(|c: char| !c.is_ascii_alphanumeric());
            let name = words.next().unwrap_or_default().to_ascii_lowercase();
            let value = value.trim_start();
            let (value, behind) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let inner = value.get(1..)?;
                    inner.split_once(quote).unwrap_or((inner, ""))
                }
                _ => {
                    let end = value.find(|c: char| c.is_whitespace() || c == '>');
                    value.split_at_checked(end.unwrap_or(value.len()))?
                }
            };
            rest = behind;
            if !name.is_empty() {
                return Some((name, value));
            }
        }
    })
}
