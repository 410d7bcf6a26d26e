//! ENVELOPE and BODYSTRUCTURE, RFC 3501 7.4.2.

use alloc::vec::Vec;
use mox_mime::{Envelope, Inside, Mailbox, Part};

use super::encode::{put, write_nstring, write_string};

/// Parts within parts that are shown; deeper ones appear as plain data.
const DEPTH_MAX: u8 = 100;

type Params = [(Vec<u8>, Vec<u8>)];

/// Writes an envelope.
pub fn write_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    write_nstring(out, envelope.date.as_deref());
    out.push(b' ');
    write_nstring(out, envelope.subject.as_deref());
    for list in [
        &envelope.from,
        &envelope.sender,
        &envelope.reply_to,
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ] {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    write_nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    write_nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[Mailbox]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        write_nstring(out, address.name.as_deref());
        out.push(b' ');
        write_nstring(out, address.route.as_deref());
        out.push(b' ');
        write_nstring(out, address.local.as_deref());
        out.push(b' ');
        write_nstring(out, address.host.as_deref());
        out.push(b')');
    }
    out.push(b')');
}

/// Writes a structure: with the extension data for BODYSTRUCTURE, without for BODY.
pub fn write_structure(out: &mut Vec<u8>, part: &Part, extended: bool) {
    structure(out, part, extended, DEPTH_MAX);
}

fn structure(out: &mut Vec<u8>, part: &Part, extended: bool, depth: u8) {
    let Some(deeper) = depth.checked_sub(1) else {
        return opaque(out, part, extended);
    };
    let is = |media: &str| part.media.eq_ignore_ascii_case(media.as_bytes());
    match &part.inside {
        Inside::Multipart(children) => {
            out.push(b'(');
            for child in children {
                structure(out, child, extended, deeper);
            }
            if children.is_empty() {
                empty_text(out, extended);
            }
            out.push(b' ');
            write_string(out, &part.subtype);
            if extended {
                out.push(b' ');
                params(out, &part.params, false);
                extension(out, part);
            }
            out.push(b')');
        }
        Inside::Message(inner) => {
            let (envelope, inner) = &**inner;
            basic(out, &part.media, &part.subtype, part, false);
            out.push(b' ');
            write_envelope(out, envelope);
            out.push(b' ');
            structure(out, inner, extended, deeper);
            put!(out, " {}", part.lines);
            leaf_end(out, part, extended);
        }
        // A client would wait for the envelope or the children that such a type promises.
        Inside::Leaf if is("multipart") || (is("message") && is_message(&part.subtype)) => {
            opaque(out, part, extended);
        }
        Inside::Leaf => {
            let text = is("text");
            basic(out, &part.media, &part.subtype, part, text);
            if text {
                put!(out, " {}", part.lines);
            }
            leaf_end(out, part, extended);
        }
    }
}

fn is_message(subtype: &[u8]) -> bool {
    subtype.eq_ignore_ascii_case(b"rfc822") || subtype.eq_ignore_ascii_case(b"global")
}

/// A part whose inside is not shown.
fn opaque(out: &mut Vec<u8>, part: &Part, extended: bool) {
    basic(out, b"APPLICATION", b"OCTET-STREAM", part, false);
    leaf_end(out, part, extended);
}

/// The grammar demands a part in every multipart; this one stands for none.
fn empty_text(out: &mut Vec<u8>, extended: bool) {
    out.extend_from_slice(b"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0");
    if extended {
        out.extend_from_slice(b" NIL NIL NIL NIL");
    }
    out.push(b')');
}

/// Type, subtype, parameters, id, description, encoding and octets.
fn basic(out: &mut Vec<u8>, media: &[u8], subtype: &[u8], part: &Part, default_charset: bool) {
    out.push(b'(');
    write_string(out, media);
    out.push(b' ');
    write_string(out, subtype);
    out.push(b' ');
    params(out, &part.params, default_charset);
    out.push(b' ');
    write_nstring(out, part.id.as_deref());
    out.push(b' ');
    write_nstring(out, part.description.as_deref());
    out.push(b' ');
    write_string(
        out,
        if part.encoding.is_empty() {
            b"7BIT"
        } else {
            &part.encoding
        },
    );
    put!(out, " {}", part.end.saturating_sub(part.body));
}

fn leaf_end(out: &mut Vec<u8>, part: &Part, extended: bool) {
    if extended {
        out.push(b' ');
        write_nstring(out, part.md5.as_deref());
        extension(out, part);
    }
    out.push(b')');
}

fn extension(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    match &part.disposition {
        Some((kind, list)) => {
            out.push(b'(');
            write_string(out, kind);
            out.push(b' ');
            params(out, list, false);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    match &part.language[..] {
        [] => out.extend_from_slice(b"NIL"),
        [one] => write_string(out, one),
        several => {
            for (i, language) in several.iter().enumerate() {
                out.push(if i == 0 { b'(' } else { b' ' });
                write_string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    write_nstring(out, part.location.as_deref());
}

/// A text part without a charset is US-ASCII (RFC 2045 5.2).
fn params(out: &mut Vec<u8>, list: &Params, default_charset: bool) {
    let charset = default_charset
        && !list
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(b"charset"));
    if list.is_empty() && !charset {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (i, (name, value)) in list.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        write_string(out, name);
        out.push(b' ');
        write_string(out, value);
    }
    if charset {
        if !list.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(b"\"CHARSET\" \"US-ASCII\"");
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec;

    fn text(lines: u32, octets: u64) -> Part {
        Part {
            end: octets,
            lines,
            media: b"TEXT".to_vec(),
            subtype: b"PLAIN".to_vec(),
            encoding: b"7BIT".to_vec(),
            ..Part::default()
        }
    }

    fn shown(part: &Part, extended: bool) -> String {
        let mut out = Vec::new();
        write_structure(&mut out, part, extended);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_message_has_the_default_type_and_all_extension_fields() {
        assert_eq!(
            shown(&text(3, 40), true),
            r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 40 3 NIL NIL NIL NIL)"#
        );
        assert_eq!(
            shown(&text(3, 40), false),
            r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 40 3)"#
        );
    }

    #[test]
    fn multiparts_and_messages_nest() {
        let message = Part {
            media: b"message".to_vec(),
            subtype: b"rfc822".to_vec(),
            encoding: b"8bit".to_vec(),
            disposition: Some((
                b"attachment".to_vec(),
                vec![(b"filename".to_vec(), b"a \"b\"".to_vec())],
            )),
            language: vec![b"de".to_vec(), b"en".to_vec()],
            lines: 9,
            inside: Inside::Message(Box::new((Envelope::default(), text(1, 2)))),
            ..Part::default()
        };
        let whole = Part {
            media: b"multipart".to_vec(),
            subtype: b"mixed".to_vec(),
            params: vec![(b"boundary".to_vec(), b"x".to_vec())],
            inside: Inside::Multipart(vec![text(1, 2), message]),
            ..Part::default()
        };
        let leaf = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 2 1)"#;
        let nil = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
        assert_eq!(
            shown(&whole, false),
            alloc::format!(
                r#"({leaf}("message" "rfc822" NIL NIL NIL "8bit" 0 {nil} {leaf} 9) "mixed")"#
            )
        );
        assert!(shown(&whole, true).ends_with(
            r#" 9 NIL ("attachment" ("filename" "a \"b\"")) ("de" "en") NIL) "mixed" ("boundary" "x") NIL NIL NIL)"#
        ));
    }

    #[test]
    fn structures_deeper_than_the_limit_end_in_plain_data() {
        let mut part = text(1, 2);
        for _ in 0..1_000 {
            part = Part {
                media: b"multipart".to_vec(),
                subtype: b"mixed".to_vec(),
                inside: Inside::Multipart(vec![part]),
                ..Part::default()
            };
        }
        let shown = shown(&part, true);
        assert_eq!(shown.matches("mixed").count(), 100);
        assert_eq!(shown.matches("OCTET-STREAM").count(), 1);
    }
}
