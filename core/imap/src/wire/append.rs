//! The arguments of APPEND and REPLACE, read piece by piece between the literals that stream: several messages
//! (RFC 3502), each whole or put together (CATENATE, RFC 4469), in UTF-8 or not (RFC 6855 4).

use alloc::vec::Vec;
use mox_machine::Utc;

use super::cursor::{Cursor, Known, Malformed, ParseLimits, Parsed, syntax};
use super::date::date_time;
use super::flags::flag_list;
use super::sequence::SequenceSet;
use crate::server::Flag;

/// Where in the grammar the last piece ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendReader {
    place: Place,
    replace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before everything.
    Start,
    /// Before a message's flags.
    Message,
    /// Behind a message's literal.
    Whole,
    /// Behind the literal of UTF8 (...
    Utf8,
    /// Before a part of CATENATE (...
    Part,
    /// Behind the literal of a part UTF8 (...
    Utf8Part,
    /// Behind one.
    AfterPart,
    /// Behind a message.
    After,
}

/// What a piece says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendStep {
    /// Where to, as typed; and for REPLACE which message goes.
    Mailbox(Option<SequenceSet>, Vec<u8>),
    /// A message begins.
    Message {
        /// Its flags.
        flags: Vec<Flag>,
        /// Its internal date.
        date: Option<Utc>,
        /// It is put together of parts.
        parts: bool,
        /// Its header may have UTF-8.
        utf8: bool,
    },
    /// A part of it is what this URL names.
    Url(Vec<u8>),
    /// The announced literal belongs to it.
    Literal,
    /// It is complete.
    End,
}

impl AppendReader {
    /// Before the arguments of a command; REPLACE names a message first.
    pub const fn new(replace: bool) -> Self {
        Self {
            place: Place::Start,
            replace,
        }
    }

    /// Reads a piece: up to the announcement of a literal, which it ends with then, or to the end of the command.
    ///
    /// `Ok(None)`: what is announced is an argument, not a part of a message: come again when it is there.
    pub fn read(
        &mut self,
        text: &[u8],
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Result<Option<Vec<AppendStep>>, Malformed> {
        let mut cursor = Cursor::new(text);
        let mut place = self.place;
        let mut steps = Vec::new();
        let done = loop {
            place = match place {
                Place::Start => {
                    let set = match self.replace {
                        true => {
                            let set = SequenceSet::parse(&mut cursor, known, limits)?;
                            cursor.space()?;
                            Some(set)
                        }
                        false => None,
                    };
                    if at_announcement(&cursor) {
                        break false;
                    }
                    let mailbox = cursor.astring()?.into_owned();
                    cursor.space()?;
                    steps.push(AppendStep::Mailbox(set, mailbox));
                    Place::Message
                }
                Place::Message => {
                    let next = message(&mut cursor, limits, &mut steps)?;
                    if next != Place::Part {
                        place = next;
                        break true;
                    }
                    next
                }
                Place::Whole => {
                    steps.push(AppendStep::End);
                    Place::After
                }
                Place::Utf8 => {
                    cursor.expect(b')', "the message is not closed")?;
                    steps.push(AppendStep::End);
                    Place::After
                }
                Place::Part if cursor.eat_word("TEXT") => {
                    cursor.space()?;
                    if !at_announcement(&cursor) {
                        return syntax("a literal was expected");
                    }
                    steps.push(AppendStep::Literal);
                    place = Place::AfterPart;
                    break true;
                }
                Place::Part if cursor.eat_word("URL") => {
                    cursor.space()?;
                    if at_announcement(&cursor) {
                        break false;
                    }
                    steps.push(AppendStep::Url(cursor.astring()?.into_owned()));
                    Place::AfterPart
                }
                // RFC 6855 4: `cat-part =/ utf8-literal`.
                Place::Part if known.utf8 && cursor.eat_word("UTF8") => {
                    utf8_literal(&mut cursor)?;
                    steps.push(AppendStep::Literal);
                    place = Place::Utf8Part;
                    break true;
                }
                Place::Utf8Part => {
                    cursor.expect(b')', "the part is not closed")?;
                    Place::AfterPart
                }
                Place::Part => return syntax("TEXT or URL was expected"),
                Place::AfterPart if cursor.eat(b')') => {
                    steps.push(AppendStep::End);
                    Place::After
                }
                Place::AfterPart => {
                    cursor.space()?;
                    Place::Part
                }
                Place::After if cursor.rest().is_empty() => break true,
                // REPLACE is one message for another (RFC 8508 3).
                Place::After if self.replace => return syntax("nothing may follow the message"),
                Place::After => {
                    cursor.space()?;
                    Place::Message
                }
            };
            // As many as there can be in a piece of an allowed length, but not more than other lists have.
            if steps.len() as u64 > u64::from(limits.items) {
                return Err(Malformed::Refused("LIMIT", "too many parts"));
            }
        };
        if !done {
            return Ok(None);
        }
        self.place = place;
        Ok(Some(steps))
    }

    /// The last message is complete: nothing need follow.
    pub fn is_complete(&self) -> bool {
        self.place == Place::After
    }
}

/// `[flags] [date] {n}`, `[flags] [date] CATENATE (`, `[flags] [date] UTF8 (~{n}`
fn message(
    cursor: &mut Cursor<'_>,
    limits: &ParseLimits,
    steps: &mut Vec<AppendStep>,
) -> Parsed<Place> {
    let mut flags = Vec::new();
    if cursor.peek() == Some(b'(') {
        flags = flag_list(cursor, limits)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date_time(cursor)?);
        cursor.space()?;
    }
    let (mut parts, mut utf8) = (false, false);
    let place = if at_announcement(cursor) {
        Place::Whole
    } else if cursor.eat_word("CATENATE") {
        cursor.space()?;
        cursor.expect(b'(', "a list of parts was expected")?;
        parts = true;
        Place::Part
    } else if cursor.eat_word("UTF8") {
        utf8_literal(cursor)?;
        utf8 = true;
        Place::Utf8
    } else {
        return syntax("a message literal was expected");
    };
    steps.push(AppendStep::Message {
        flags,
        date,
        parts,
        utf8,
    });
    if !parts {
        steps.push(AppendStep::Literal);
    }
    Ok(place)
}

/// ` (` and a literal8.
fn utf8_literal(cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.space()?;
    cursor.expect(b'(', "a literal8 in parentheses was expected")?;
    match cursor.peek() == Some(b'~') && at_announcement(cursor) {
        true => Ok(()),
        false => syntax("a literal8 was expected"),
    }
}

/// Nothing but `{n}`, `{n+}` or `~{n}` and CRLF is left.
fn at_announcement(cursor: &Cursor<'_>) -> bool {
    let rest = cursor.rest();
    let rest = rest.strip_prefix(b"~").unwrap_or(rest);
    let inside = rest
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}\r\n"));
    inside.is_some_and(|n| {
        let n = n.strip_suffix(b"+").unwrap_or(n);
        !n.is_empty() && n.iter().all(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use AppendStep::{End, Literal, Mailbox, Url};
    use alloc::vec;

    fn read(reader: &mut AppendReader, text: &[u8]) -> Result<Option<Vec<AppendStep>>, Malformed> {
        reader.read(text, &Known::NOTHING, &ParseLimits::default())
    }

    fn message(flags: usize, date: bool, parts: bool) -> impl Fn(&AppendStep) -> bool {
        move |step| matches!(step, AppendStep::Message { flags: f, date: d, parts: p, .. } if (f.len(), d.is_some(), *p) == (flags, date, parts))
    }

    #[test]
    fn a_message_is_read_up_to_its_literal_and_may_be_followed_by_others() {
        let mut reader = AppendReader::new(false);
        assert_eq!(read(&mut reader, b"{5}\r\n"), Ok(None));
        let steps = read(
            &mut reader,
            b"{1}\r\na (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" ~{310+}\r\n",
        );
        let steps = steps.unwrap().unwrap();
        assert_eq!(steps[0], Mailbox(None, b"a".to_vec()));
        assert!(message(1, true, false)(&steps[1]));
        assert_eq!(steps[2..], [Literal]);
        assert!(!reader.is_complete());
        let steps = read(&mut reader, b" (x y) {3}\r\n").unwrap().unwrap();
        assert_eq!((&steps[0], &steps[2]), (&End, &Literal));
        assert!(message(2, false, false)(&steps[1]));
        assert_eq!(read(&mut reader, b""), Ok(Some(vec![End])));
        assert!(reader.is_complete());
    }

    #[test]
    fn parts_are_read_in_order_and_urls_may_be_literals() {
        let mut reader = AppendReader::new(false);
        let steps = read(&mut reader, b"a CATENATE (URL \"/b;uid=1\" TEXT {42}\r\n").unwrap();
        let steps = steps.unwrap();
        assert!(message(0, false, true)(&steps[1]));
        assert_eq!(steps[2..], [Url(b"/b;uid=1".to_vec()), Literal]);
        assert_eq!(read(&mut reader, b" URL {9}\r\n"), Ok(None));
        let steps = read(&mut reader, b" URL {9}\r\n/c;uid=12)");
        assert_eq!(steps, Ok(Some(vec![Url(b"/c;uid=12".to_vec()), End])));
        assert!(reader.is_complete());
    }

    #[test]
    fn a_part_may_be_utf8_once_that_is_enabled() {
        let enabled = Known {
            utf8: true,
            ..Known::NOTHING
        };
        let read = |reader: &mut AppendReader, text: &[u8]| {
            reader.read(text, &enabled, &ParseLimits::default())
        };
        let mut reader = AppendReader::new(false);
        let first = b"a CATENATE (UTF8 (~{3}\r\n";
        assert!(
            AppendReader::new(false)
                .read(first, &Known::NOTHING, &ParseLimits::default())
                .is_err()
        );
        let steps = read(&mut reader, first).unwrap().unwrap();
        assert_eq!(steps[2..], [Literal]);
        let steps = read(&mut reader, b") TEXT {3}\r\n");
        assert_eq!(steps, Ok(Some(vec![Literal])));
        assert_eq!(read(&mut reader, b")"), Ok(Some(vec![End])));
        assert!(reader.is_complete());
        for bad in [
            &b"a CATENATE (UTF8 ({3}\r\n"[..],
            b"a CATENATE (UTF8 ~{3}\r\n",
        ] {
            assert!(read(&mut AppendReader::new(false), bad).is_err());
        }
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for bad in [
            &b"a b {3}\r\n"[..],
            b"a () () {3}\r\n",
            b"a (\\Seen {3}\r\n",
            b"a \"x\" {3}\r\n",
            b"a  {3}\r\n",
            b"a",
            b"a ",
            b"a CATENATE ()",
            b"a CATENATE (TEXT x)",
            b"a CATENATE (FOO {1}\r\n",
            b"a CATENATE (URL x",
            b"a UTF8 ({3}\r\n",
            b"a UTF8 (~{3}",
        ] {
            let mut reader = AppendReader::new(false);
            let steps = read(&mut reader, bad);
            assert!(
                steps.is_err() || !reader.is_complete(),
                "{}",
                bad.escape_ascii()
            );
            assert!(!matches!(steps, Ok(None)), "{}", bad.escape_ascii());
        }
        let mut reader = AppendReader::new(true);
        assert!(read(&mut reader, b"4 a {3}\r\n").is_ok());
        assert!(read(&mut reader, b" {3}\r\n").is_err());
    }
}
