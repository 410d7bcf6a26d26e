//! Header values and parts as text, whatever their charset: what SEARCH looks through and people read.
//!
//! Only the single decoders of mail-parser are used here. Its whole-message parser recurses into messages within
//! messages and must not see mail from outside.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mox_mime::{Inside, Params, Part, TransferDecoder, basic_charset, decode_params, decode_words};

/// A raw field value as text on one line: unfolded, encoded words decoded.
pub fn header_text(value: &[u8]) -> String {
    decode_words(&mox_mime::header::unfold(value), &charset_text)
}

/// Parameters as text, RFC 2231 and encoded words decoded; names in lower case.
pub fn params_text(params: &Params) -> Vec<(String, String)> {
    decode_params(params, &charset_text)
}

/// The file name of a part: that of its Content-Disposition, or else the `name` of its Content-Type.
pub fn file_name(part: &Part) -> Option<String> {
    let find = |params: &Params, wanted: &str| {
        let all = params_text(params).into_iter();
        all.filter(|(name, _)| name == wanted)
            .map(|(_, value)| value)
            .find(|v| !v.is_empty())
    };
    let disposition = part.disposition.as_ref();
    disposition
        .and_then(|(_, params)| find(params, "filename"))
        .or_else(|| find(&part.params, "name"))
}

/// Whether [`part_text`] has anything to show of a part: text, and leaves that are messages or status reports.
pub fn is_text(part: &Part) -> bool {
    let is = |name: &[u8]| part.media.eq_ignore_ascii_case(name);
    part.inside == Inside::Leaf && (is(b"text") || is(b"message"))
}

/// The text of a leaf, out of the bytes of its body as stored: transfer encoding undone, charset converted, HTML without
/// its tags. Empty when [`is_text`] is false.
///
/// What cannot be converted is kept as well as it can be: an unknown charset is taken for UTF-8 or ISO-8859-1, an
/// unknown transfer encoding for none.
pub fn part_text(part: &Part, body: &[u8]) -> String {
    shown_text(part, body).into_owned()
}

/// [`part_text`], borrowed where the octets are the text.
pub(crate) fn shown_text<'b>(part: &Part, body: &'b [u8]) -> Cow<'b, str> {
    if !is_text(part) {
        return Cow::Borrowed("");
    }
    let text = decoded_text(part, body);
    match part.subtype.eq_ignore_ascii_case(b"html") {
        true => html_to_text(&text).into(),
        false => text,
    }
}

/// The characters of a part, HTML with its tags; see [`part_text`].
pub(crate) fn decoded_text<'b>(part: &Part, body: &'b [u8]) -> Cow<'b, str> {
    let octets = match TransferDecoder::new(&part.encoding) {
        None | Some(TransferDecoder::Identity) => Cow::Borrowed(body),
        Some(mut decoder) => {
            let mut octets = Vec::new();
            decoder.push(body, &mut octets);
            decoder.finish(&mut octets);
            Cow::Owned(octets)
        }
    };
    let charset = params_text(&part.params)
        .into_iter()
        .find(|(name, _)| name == "charset")
        .map_or_else(String::new, |(_, value)| value);
    let charset = charset.trim().to_ascii_lowercase();
    if let Cow::Borrowed(octets) = octets
        && matches!(
            charset.as_str(),
            "" | "utf-8" | "utf8" | "us-ascii" | "ascii"
        )
        && let Ok(text) = core::str::from_utf8(octets)
    {
        return text.into();
    }
    charset_text(&charset, &octets)
        .or_else(|| basic_charset("us-ascii", &octets))
        .unwrap_or_default()
        .into()
}

/// Characters of a [`preview`] at most (RFC 8970 3.2).
pub const PREVIEW_MAX: usize = 200;

/// How a text begins, on one line and without what it quotes: for lists of messages.
pub fn preview(text: &str) -> String {
    let own = text.lines().filter(|line| !line.starts_with('>'));
    let words = own.flat_map(str::split_whitespace);
    let mut out = String::new();
    let mut left = PREVIEW_MAX;
    for word in words {
        let space = usize::from(!out.is_empty());
        if left <= space {
            break;
        }
        out.push_str(if space == 1 { " " } else { "" });
        left -= space;
        let visible = word.chars().filter(|c| !c.is_control());
        for c in visible.take(left) {
            out.push(c);
            left -= 1;
        }
    }
    out
}

/// Octets of a charset (in lower case) as text; `None` when it is not known.
pub fn charset_text(charset: &str, octets: &[u8]) -> Option<String> {
    match charset {
        // What calls itself one of these is often something else: see there.
        "utf-8" | "utf8" | "us-ascii" | "ascii" => basic_charset(charset, octets),
        "" => None,
        _ => charset_decoder(charset.as_bytes()).map(|decode| decode(octets)),
    }
}
#[test]
fn a_preview_is_one_short_line_without_quotations() {
    assert_eq!(
        preview("> old\r\n\r\n Hello,\tyou\0!\r\n>x\r\nBye"),
        "Hello, you! Bye"
    );
    assert_eq!(preview(""), "");
    assert_eq!(preview(&"w ".repeat(300)).chars().count(), 199);
    assert_eq!(preview(&"\u{fc}".repeat(300)).chars().count(), 200);
}
