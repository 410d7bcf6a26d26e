//! XML as it streams by, within limits: elements and texts, no declarations.

use encoding_rs::Encoding;
use quick_xml::Reader;
use quick_xml::encoding::{DecodingReader, EncodingError};
use quick_xml::events::{BytesStart, Event};
use std::io::{self, BufRead, Read};

use crate::unpack::{Stopped, why};
use crate::word::Kept;
use crate::{Limits, Refused};

/// What stands in a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A start tag, without the prefix of its namespace.
    Open(Name),
    /// An end tag.
    Close,
    /// A piece of text, which is in [`Xml::piece`].
    Text,
    /// The end.
    End,
}

/// The name of an element. One too long for this is none that anybody here knows, and empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    octets: [u8; 31],
    len: u8,
}

impl Name {
    fn of(name: &str) -> Self {
        let mut octets = [0; 31];
        let place = octets.get_mut(..name.len());
        let len = place.map_or(0, |place| {
            place.copy_from_slice(name.as_bytes());
            name.len()
        });
        Self {
            octets,
            len: u8::try_from(len).unwrap_or(0),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        let octets = self.octets.get(..usize::from(self.len));
        std::str::from_utf8(octets.unwrap_or_default()).unwrap_or_default()
    }
}

/// A document.
pub(crate) struct Xml<R: BufRead> {
    reader: Reader<Gauge<DecodingReader<R>>>,
    buffer: Vec<u8>,
    /// The last piece of text.
    piece: String,
    /// Tags, references and comments that may still come.
    tags: usize,
    /// The last tag was a start and an end in one.
    closes: bool,
    depth: usize,
    depth_max: usize,
    token_max: usize,
    /// Octets that may still be kept.
    room: usize,
    stopped: Stopped,
}

impl<R: BufRead> Xml<R> {
    /// `tags` are those that may come.
    pub(crate) fn new(mut reader: R, stopped: Stopped, limits: &Limits, tags: usize) -> Self {
        // An error comes again when the document is read.
        let declared = reader.fill_buf().ok().and_then(declared);
        let mut reader = DecodingReader::new(reader);
        if let Some(encoding) = declared {
            // A mark at the beginning (UTF-8, UTF-16) goes before it.
            reader.set_encoding(encoding);
        }
        let gauge = Gauge {
            reader,
            left: limits.token,
            stopped: stopped.clone(),
        };
        Self {
            reader: Reader::from_reader(gauge),
            buffer: Vec::new(),
            piece: String::new(),
            tags,
            closes: false,
            depth: 0,
            depth_max: limits.depth,
            token_max: limits.token,
            room: limits.kept,
            stopped,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Token, Refused> {
        if std::mem::take(&mut self.closes) {
            return Ok(Token::Close);
        }
        loop {
            self.buffer.clear();
            self.reader.get_mut().left = self.token_max;
            let event = match self.reader.read_event_into(&mut self.buffer) {
                Ok(event) => event,
                Err(quick_xml::Error::Io(error)) if is_encoding(&error) => {
                    return Err(Refused::Syntax(error.to_string()));
                }
                Err(quick_xml::Error::Io(error)) => return Err(why(&self.stopped, &error)),
                Err(error) => return Err(Refused::Syntax(error.to_string())),
            };
            // Texts stand between the others.
            if !matches!(event, Event::Text(_) | Event::End(_) | Event::Eof) {
                self.tags = self.tags.checked_sub(1).ok_or(TAGS)?;
            }
            let token = match event {
                Event::Start(tag) => {
                    self.depth += 1;
                    if self.depth > self.depth_max {
                        return Err(Refused::TooLarge("the depth of its elements"));
                    }
                    Token::Open(name(&tag)?)
                }
                Event::Empty(tag) => {
                    self.closes = true;
                    Token::Open(name(&tag)?)
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Token::Close
                }
                Event::Text(text) => {
                    self.piece.clear();
                    self.piece.push_str(&text);
                    Token::Text
                }
                Event::CData(text) => {
                    self.piece.clear();
                    self.piece.push_str(&text);
                    Token::Text
                }
                Event::GeneralRef(reference) => {
                    let character = match &*reference {
                        "amp" => Some('&'),
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => reference
                            .resolve_char_ref()
                            .map_err(|error| Refused::Syntax(error.to_string()))?,
                    };
                    self.piece.clear();
                    self.piece.push(character.ok_or(Refused::Declarations)?);
                    Token::Text
                }
                Event::DocType(_) => return Err(Refused::Declarations),
                Event::Eof if self.depth > 0 => {
                    return Err(Refused::Syntax("it is cut off".into()));
                }
                Event::Eof => Token::End,
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => continue,
            };
            return Ok(token);
        }
    }

    /// How many more may come.
    pub(crate) fn tags(&self) -> usize {
        self.tags
    }

    /// The first tag of the document.
    pub(crate) fn root(&mut self) -> Result<Name, Refused> {
        loop {
            match self.next()? {
                Token::Open(name) => return Ok(name),
                Token::Text if self.piece.trim().is_empty() => {}
                Token::Text => return Err(Refused::Syntax("it begins with text".into())),
                Token::Close | Token::End => return Err(Refused::Syntax("it is empty".into())),
            }
        }
    }

    /// Goes through the elements within the one that is open, up to its end. Texts between them are passed over.
    pub(crate) fn each(
        &mut self,
        mut element: impl FnMut(&mut Self, &str) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        loop {
            match self.next()? {
                Token::Open(name) => element(self, name.as_str())?,
                Token::Text => {}
                Token::Close | Token::End => return Ok(()),
            }
        }
    }

    /// Passes over the element that is open.
    pub(crate) fn skip(&mut self) -> Result<(), Refused> {
        let mut open = 1_usize;
        while open > 0 {
            match self.next()? {
                Token::Open(_) => open += 1,
                Token::Text => {}
                Token::Close | Token::End => open -= 1,
            }
        }
        Ok(())
    }

    /// The text of the element that is open, without the space around it, which is kept; elements within it are passed over.
    pub(crate) fn text(&mut self) -> Result<Box<str>, Refused> {
        let text = self.brief()?;
        self.keep(text.kept())?;
        Ok(text)
    }

    /// The same text, not to be kept as it is.
    pub(crate) fn brief(&mut self) -> Result<Box<str>, Refused> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Token::Open(_) => self.skip()?,
                Token::Text if text.len() + self.piece.len() > self.token_max => {
                    return Err(Refused::TooLarge("one of its texts"));
                }
                Token::Text => text.push_str(&self.piece),
                Token::Close | Token::End => break,
            }
        }
        // What may not stand in a document stands in none that we keep.
        if text.contains(is_forbidden) {
            text = text.replace(is_forbidden, "\u{fffd}");
        }
        Ok(text.trim().into())
    }

    /// So many octets more are kept.
    pub(crate) fn keep(&mut self, octets: usize) -> Result<(), Refused> {
        self.room = self
            .room
            .checked_sub(octets)
            .ok_or(Refused::TooLarge("what is to be kept of it"))?;
        Ok(())
    }
}

const TAGS: Refused = Refused::TooLarge("the number of its tags");

/// The name of a tag, which must be one: what looks like a tag is often a text nobody escaped.
fn name(tag: &BytesStart<'_>) -> Result<Name, Refused> {
    let name = tag.name();
    let name = name.as_ref();
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let is_name = |part: &str| {
        part.starts_with(is_start)
            && part
                .chars()
                .all(|c| is_start(c) || c.is_ascii_digit() || "-.".contains(c))
    };
    let local = name.split_once(':').map_or(name, |(_, local)| local);
    if !name.split(':').all(is_name) || local.contains(':') || tag.attributes_raw().contains('<') {
        return Err(Refused::Syntax("a tag has a name that is none".into()));
    }
    Ok(Name::of(local))
}

/// The document is not in its encoding.
fn is_encoding(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<EncodingError>())
}

/// The encoding that a document says it is in (XML 1.0 4.3.3), where that is said in ASCII. Some senders write the names of
/// their organizations in ISO-8859-1.
fn declared(beginning: &[u8]) -> Option<&'static Encoding> {
    let rest = beginning.strip_prefix(b"<?xml")?;
    let end = rest.windows(2).position(|two| two == b"?>")?;
    let declaration = std::str::from_utf8(rest.get(..end)?).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (label, _) = value.get(1..)?.split_once(quote)?;
    // One in which this text could not stand is a mistake.
    Encoding::for_label(label.as_bytes()).filter(|encoding| encoding.is_ascii_compatible())
}

/// XML 1.0 2.2.
fn is_forbidden(c: char) -> bool {
    let is_space = matches!(c, '\t' | '\n' | '\r');
    matches!(c, '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}') && !is_space
}

/// Text as it stands in a document: what means something is escaped, and what may not stand there (XML 1.0 2.2) replaced.
pub(crate) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            c if is_forbidden(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// Ends with an error when one token has more octets than it may.
struct Gauge<R> {
    reader: R,
    left: usize,
    stopped: Stopped,
}

impl<R: BufRead> BufRead for Gauge<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let octets = self.reader.fill_buf()?;
        if self.left == 0 && !octets.is_empty() {
            *self.stopped.borrow_mut() = Some(Refused::TooLarge("one of its tags or texts"));
            return Err(io::Error::other("too large"));
        }
        Ok(octets
            .get(..octets.len().min(self.left))
            .unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
        self.reader.consume(count);
    }
}

impl<R: BufRead> Read for Gauge<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut octets = self.fill_buf()?;
        let count = octets.read(out)?;
        self.consume(count);
        Ok(count)
    }
}
