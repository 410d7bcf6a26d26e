//! The data items of FETCH, RFC 3501 6.4.5.

use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

use super::cursor::{Cursor, Known, Malformed, ParseLimits, Parsed, syntax};
use super::encode::{put, write_astring};
use super::sequence::SequenceSet;
use super::span::Span;
use crate::server::{BodyPart, BodyWhat};

/// The arguments of FETCH and UID FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchArgs {
    /// Which messages.
    pub set: SequenceSet,
    /// What of them, in the order wanted.
    pub items: Vec<FetchItem>,
    /// CONDSTORE: only messages that changed after this.
    pub changed_since: Option<u64>,
    /// QRESYNC: tell also what is gone since then.
    pub vanished: bool,
    /// PARTIAL (RFC 9394 3.3): only these of them.
    pub partial: Option<Span>,
}

/// A data item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// ENVELOPE
    Envelope,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// BODYSTRUCTURE, or BODY, which is the same without extension data.
    Structure {
        /// BODYSTRUCTURE
        extended: bool,
    },
    /// UID
    Uid,
    /// MODSEQ
    Modseq,
    /// SAVEDATE (RFC 8514)
    SaveDate,
    /// EMAILID (RFC 8474)
    EmailId,
    /// THREADID (RFC 8474)
    ThreadId,
    /// PREVIEW (RFC 8970)
    Preview {
        /// LAZY: only where it costs nothing.
        lazy: bool,
    },
    /// BINARY.SIZE[...] (RFC 3516)
    BinarySize {
        /// Which part.
        part: BodyPart,
        /// The item's name as the response has it.
        label: Bytes,
    },
    /// BODY[...], BODY.PEEK[...], RFC822, RFC822.HEADER and RFC822.TEXT, BINARY[...] and BINARY.PEEK[...].
    Body {
        /// Does not set \Seen.
        peek: bool,
        /// Which bytes.
        part: BodyPart,
        /// First octet and number of octets.
        partial: Option<(u64, u64)>,
        /// The item's name as the response has it.
        label: Bytes,
    },
}

impl FetchArgs {
    pub(crate) fn parse(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Self> {
        let set = SequenceSet::parse(cursor, known, limits)?;
        cursor.space()?;
        let items = if cursor.eat(b'(') {
            FetchItem::rest_of_list(cursor, limits)?
        } else if let Some(items) = macro_items(cursor) {
            items
        } else {
            vec![item(cursor, limits)?]
        };
        let mut args = Self {
            set,
            items,
            changed_since: None,
            vanished: false,
            partial: None,
        };
        if cursor.eat(b' ') {
            args.modifiers(cursor)?;
        }
        cursor.end()?;
        Ok(args)
    }

    /// `(CHANGEDSINCE 12 VANISHED)`, each at most once.
    fn modifiers(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        cursor.expect(b'(', "a fetch modifier was expected")?;
        loop {
            if self.changed_since.is_none() && cursor.eat_word("CHANGEDSINCE") {
                cursor.space()?;
                self.changed_since = Some(cursor.number64()?);
            } else if !self.vanished && cursor.eat_word("VANISHED") {
                self.vanished = true;
            } else if self.partial.is_none() && cursor.eat_word("PARTIAL") {
                cursor.space()?;
                self.partial = Some(Span::parse(cursor)?);
            } else {
                return syntax("there is no such fetch modifier");
            }
            if !cursor.eat(b' ') {
                break;
            }
        }
        cursor.expect(b')', "the list of fetch modifiers is not closed")?;
        // RFC 7162 3.2.6.
        if self.vanished && self.changed_since.is_none() {
            return syntax("VANISHED needs CHANGEDSINCE");
        }
        Ok(())
    }
}

impl FetchItem {
    /// Data items in parentheses.
    pub(crate) fn list(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Vec<Self>> {
        cursor.expect(b'(', "a list of data items was expected")?;
        Self::rest_of_list(cursor, limits)
    }

    fn rest_of_list(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<Vec<Self>> {
        let mut items = Vec::new();
        loop {
            if items.len() as u64 >= u64::from(limits.items) {
                return Err(Malformed::Refused("LIMIT", "too many data items"));
            }
            items.push(item(cursor, limits)?);
            if !cursor.eat(b' ') {
                break;
            }
        }
        cursor.expect(b')', "the list of data items is not closed")?;
        Ok(items)
    }
}

fn macro_items(cursor: &mut Cursor<'_>) -> Option<Vec<FetchItem>> {
    use FetchItem::{Envelope, Flags, InternalDate, Size, Structure};
    for (name, length) in [("FAST", 3), ("ALL", 4), ("FULL", 5)] {
        if cursor.eat_word(name) {
            let full = [
                Flags,
                InternalDate,
                Size,
                Envelope,
                Structure { extended: false },
            ];
            return Some(full.into_iter().take(length).collect());
        }
    }
    None
}

fn item(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<FetchItem> {
    let word = cursor.word();
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let whole = |what, name: &'static str, peek| FetchItem::Body {
        peek,
        part: BodyPart {
            path: Vec::new(),
            what,
        },
        partial: None,
        label: Bytes::from_static(name.as_bytes()),
    };
    Ok(if is("FLAGS") {
        FetchItem::Flags
    } else if is("UID") {
        FetchItem::Uid
    } else if is("ENVELOPE") {
        FetchItem::Envelope
    } else if is("INTERNALDATE") {
        FetchItem::InternalDate
    } else if is("RFC822.SIZE") {
        FetchItem::Size
    } else if is("BODYSTRUCTURE") {
        FetchItem::Structure { extended: true }
    } else if is("MODSEQ") {
        FetchItem::Modseq
    } else if is("SAVEDATE") {
        FetchItem::SaveDate
    } else if is("EMAILID") {
        FetchItem::EmailId
    } else if is("THREADID") {
        FetchItem::ThreadId
    } else if is("PREVIEW") {
        let mut ahead = *cursor;
        let lazy = ahead.eat(b' ') && ahead.eat(b'(');
        if lazy {
            if !(ahead.eat_word("LAZY") && ahead.eat(b')')) {
                return syntax("there is no such preview modifier");
            }
            *cursor = ahead;
        }
        FetchItem::Preview { lazy }
    } else if is("BINARY") {
        binary(cursor, limits, false)?
    } else if is("BINARY.PEEK") {
        binary(cursor, limits, true)?
    } else if is("BINARY.SIZE") {
        let mut label = b"BINARY.SIZE[".to_vec();
        let part = binary_part(cursor, &mut label, limits)?;
        FetchItem::BinarySize {
            part,
            label: label.into(),
        }
    } else if is("RFC822") {
        whole(BodyWhat::All, "RFC822", false)
    } else if is("RFC822.HEADER") {
        whole(BodyWhat::Header, "RFC822.HEADER", true)
    } else if is("RFC822.TEXT") {
        whole(BodyWhat::Text, "RFC822.TEXT", false)
    } else if is("BODY.PEEK") {
        section(cursor, true, limits)?
    } else if is("BODY") {
        if cursor.peek() == Some(b'[') {
            section(cursor, false, limits)?
        } else {
            FetchItem::Structure { extended: false }
        }
    } else {
        return syntax("there is no such data item");
    })
}

const WHAT: &str = "a section is not well formed";

/// `1.2.`: the numbers, and whether a dot follows the last.
fn part_numbers(
    cursor: &mut Cursor<'_>,
    label: &mut Vec<u8>,
    limits: &ParseLimits,
) -> Parsed<(Vec<u32>, bool)> {
    let mut path = Vec::new();
    let mut more = false;
    while cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        if path.len() >= usize::from(limits.nesting) {
            return Err(Malformed::Refused("LIMIT", "too many part numbers"));
        }
        let number = cursor.nonzero()?;
        put!(label, "{}{number}", if path.is_empty() { "" } else { "." });
        path.push(number);
        more = cursor.eat(b'.');
        if !more {
            break;
        }
    }
    Ok((path, more))
}

/// `[1.2]`, RFC 3516 4.2.
fn binary_part(
    cursor: &mut Cursor<'_>,
    label: &mut Vec<u8>,
    limits: &ParseLimits,
) -> Parsed<BodyPart> {
    cursor.expect(b'[', WHAT)?;
    let (path, more) = part_numbers(cursor, label, limits)?;
    if more {
        return syntax(WHAT);
    }
    cursor.expect(b']', WHAT)?;
    label.push(b']');
    Ok(BodyPart {
        path,
        what: BodyWhat::Binary,
    })
}

fn binary(cursor: &mut Cursor<'_>, limits: &ParseLimits, peek: bool) -> Parsed<FetchItem> {
    let mut label = b"BINARY[".to_vec();
    let part = binary_part(cursor, &mut label, limits)?;
    let partial = partial(cursor, &mut label)?;
    Ok(FetchItem::Body {
        peek,
        part,
        partial,
        label: label.into(),
    })
}

/// `<first.count>`
fn partial(cursor: &mut Cursor<'_>, label: &mut Vec<u8>) -> Parsed<Option<(u64, u64)>> {
    if !cursor.eat(b'<') {
        return Ok(None);
    }
    let first = cursor.number64()?;
    cursor.expect(b'.', WHAT)?;
    let count = cursor.number64()?;
    cursor.expect(b'>', WHAT)?;
    if count == 0 {
        return syntax("a partial fetch of nothing");
    }
    put!(label, "<{first}>");
    Ok(Some((first, count)))
}

fn section(cursor: &mut Cursor<'_>, peek: bool, limits: &ParseLimits) -> Parsed<FetchItem> {
    cursor.expect(b'[', WHAT)?;
    let mut label = b"BODY[".to_vec();
    let part = section_text(cursor, &mut label, limits)?;
    cursor.expect(b']', WHAT)?;
    label.push(b']');
    let partial = partial(cursor, &mut label)?;
    Ok(FetchItem::Body {
        peek,
        part,
        partial,
        label: label.into(),
    })
}

/// The section of a URL, decoded.
pub(crate) fn section_of_url(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<BodyPart> {
    section_text(cursor, &mut Vec::new(), limits)
}

/// What stands between the brackets.
fn section_text(
    cursor: &mut Cursor<'_>,
    label: &mut Vec<u8>,
    limits: &ParseLimits,
) -> Parsed<BodyPart> {
    let (path, more) = part_numbers(cursor, label, limits)?;
    if !path.is_empty() && !more {
        let what = BodyWhat::All;
        return Ok(BodyPart { path, what });
    }
    let word = cursor.word();
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let (name, what) = if word.is_empty() && path.is_empty() {
        ("", BodyWhat::All)
    } else if is("HEADER") {
        ("HEADER", BodyWhat::Header)
    } else if is("TEXT") {
        ("TEXT", BodyWhat::Text)
    } else if is("MIME") && !path.is_empty() {
        ("MIME", BodyWhat::Mime)
    } else if is("HEADER.FIELDS") {
        ("HEADER.FIELDS", BodyWhat::Fields(Vec::new()))
    } else if is("HEADER.FIELDS.NOT") {
        ("HEADER.FIELDS.NOT", BodyWhat::NotFields(Vec::new()))
    } else {
        return syntax(WHAT);
    };
    if more {
        label.push(b'.');
    }
    label.extend_from_slice(name.as_bytes());
    let what = match what {
        BodyWhat::Fields(_) => BodyWhat::Fields(names(cursor, label, limits)?),
        BodyWhat::NotFields(_) => BodyWhat::NotFields(names(cursor, label, limits)?),
        what => what,
    };
    Ok(BodyPart { path, what })
}

/// Names of header fields; the label repeats them as they were typed.
fn names(cursor: &mut Cursor<'_>, label: &mut Vec<u8>, limits: &ParseLimits) -> Parsed<Vec<Bytes>> {
    const WHAT: &str = "a list of header fields was expected";
    cursor.space()?;
    cursor.expect(b'(', WHAT)?;
    let mut names = Vec::new();
    loop {
        if names.len() as u64 >= u64::from(limits.items) {
            return Err(Malformed::Refused("LIMIT", "too many header fields"));
        }
        let name = cursor.astring()?;
        label.extend_from_slice(if names.is_empty() { b" (" } else { b" " });
        write_astring(label, &name);
        names.push(Bytes::copy_from_slice(&name));
        if !cursor.eat(b' ') {
            break;
        }
    }
    cursor.expect(b')', WHAT)?;
    label.push(b')');
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn parse(text: &str) -> Parsed<FetchArgs> {
        let mut cursor = Cursor::new(text.as_bytes());
        FetchArgs::parse(&mut cursor, &Known::NOTHING, &ParseLimits::default())
    }

    fn labels(text: &str) -> Vec<String> {
        let items = parse(text).unwrap().items;
        let label = |item| match item {
            FetchItem::Body { label, peek, .. } => {
                alloc::format!(
                    "{}{}",
                    String::from_utf8_lossy(&label),
                    if peek { "" } else { "!" }
                )
            }
            other => alloc::format!("{other:?}"),
        };
        items.into_iter().map(label).collect()
    }

    #[test]
    fn items_are_read_and_labelled_as_responses_show_them() {
        assert_eq!(
            labels(
                "1 (body[] BODY.PEEK[header.fields (Date \"fRom\" \"x y\")]<0.10> Rfc822.text BODY[1.2.mime])"
            ),
            [
                "BODY[]!",
                "BODY[HEADER.FIELDS (Date fRom \"x y\")]<0>",
                "RFC822.TEXT!",
                "BODY[1.2.MIME]!"
            ]
        );
        assert_eq!(
            labels("1 (BINARY[1.2]<3.4> binary.peek[] PREVIEW (LAZY) PREVIEW UID)"),
            [
                "BINARY[1.2]<3>!",
                "BINARY[]",
                "Preview { lazy: true }",
                "Preview { lazy: false }",
                "Uid"
            ]
        );
        assert_eq!(labels("1 rfc822.header"), ["RFC822.HEADER"]);
        assert_eq!(
            labels("1 BODY[3.HEADER.FIELDS.NOT (a)]"),
            ["BODY[3.HEADER.FIELDS.NOT (a)]!"]
        );
        assert_eq!(labels("1 FAST"), ["Flags", "InternalDate", "Size"]);
        assert_eq!(labels("1 full").len(), 5);
        assert_eq!(
            parse("1 FLAGS (CHANGEDSINCE 12)").unwrap().changed_since,
            Some(12)
        );
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for bad in [
            "1",
            "1 ",
            "1 ()",
            "1 (FLAGS",
            "1 (FLAGS )",
            "1 (ALL)",
            "1 FLAGS UID",
            "0 FLAGS",
            "1 BODY[MIME]",
            "1 BODY[0]",
            "1 BODY[1.]",
            "1 BODY[.1]",
            "1 BODY[1.2.3.X]",
            "1 BODY[HEADER.FIELDS]",
            "1 BODY[HEADER.FIELDS ()]",
            "1 BODY[]<0.0>",
            "1 BODY[]<1>",
            "1 BODY[TEXT",
            "1 BODY.PEEK",
            "1 FLAGS (VANISHED)",
            "1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
            "1 BINARY",
            "1 BINARY[1.]",
            "1 BINARY[TEXT]",
            "1 BINARY.SIZE[1]<0.1>",
            "1 (PREVIEW (FOO))",
            "1 XYZ",
        ] {
            assert!(matches!(parse(bad), Err(Malformed::Syntax(_))), "{bad}");
        }
        let deep = alloc::format!("1 BODY[{}1]", "1.".repeat(60));
        assert!(matches!(parse(&deep), Err(Malformed::Refused(..))));
    }
}
