//! The lexical elements of RFC 3501 section 9, read from the front of a framed command.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use mox_uids::UidSet;

/// Why a framed command cannot be obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It breaks the grammar: a tagged BAD with this text.
    Syntax(&'static str),
    /// It is grammatical, but more than a limit allows, or something that does not exist: a tagged NO with this code
    /// (empty for none) and text.
    Refused(&'static str, &'static str),
    /// A tagged BAD with this code and text.
    Wrong(&'static str, &'static str),
}

/// What the arguments of a command may refer to.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The messages that sequence numbers count.
    pub uids: &'a UidSet,
    /// `$`: what the last SEARCH saved (RFC 5182).
    pub saved: &'a UidSet,
    /// Those with \Recent.
    pub recent: &'a UidSet,
    /// What message numbers mean.
    pub numbers: Numbers,
    /// UTF8=ACCEPT or IMAP4rev2 is enabled: names are UTF-8.
    pub utf8: bool,
    /// A SEARCH may name a charset: not once UTF8=ACCEPT is enabled (RFC 6855 3).
    pub charset: bool,
    /// MESSAGELIMIT is offered, and with it UIDAFTER and UIDBEFORE (RFC 9738 3.2).
    pub limited: bool,
}

/// What message numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Messages of the selected mailbox.
    Messages,
    /// Nothing any more, under UIDONLY (RFC 9586).
    UidsOnly,
    /// Nothing, in other mailboxes than the selected one.
    Elsewhere,
}

/// Nothing.
static NONE: UidSet = UidSet::new();

impl Known<'_> {
    /// No messages, and nothing enabled.
    pub const NOTHING: Known<'static> = Known {
        uids: &NONE,
        saved: &NONE,
        recent: &NONE,
        numbers: Numbers::Messages,
        utf8: false,
        charset: true,
        limited: false,
    };
}

/// Limits of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLimits {
    /// Parentheses within parentheses.
    pub nesting: u8,
    /// Ranges in all sequence sets of the command.
    pub ranges: u32,
    /// Search keys, data items, flags, patterns: entries of any other list.
    pub items: u32,
    /// Octets in a keyword.
    pub keyword: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            nesting: 50,
            ranges: 10_000,
            items: 1_000,
            keyword: 100,
        }
    }
}

pub(crate) type Parsed<T> = Result<T, Malformed>;

pub(crate) const fn syntax<T>(text: &'static str) -> Parsed<T> {
    Err(Malformed::Syntax(text))
}

/// The unread rest of a framed command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes this byte if it is next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn expect(&mut self, byte: u8, text: &'static str) -> Parsed<()> {
        if self.eat(byte) { Ok(()) } else { syntax(text) }
    }

    pub(crate) fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "a space was expected")
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Parsed<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            syntax("unexpected text after the arguments")
        }
    }

    pub(crate) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self
            .rest
            .iter()
            .position(|&b| !wanted(b))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Letters, digits and the punctuation of keywords of the grammar; may be empty.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        self.take_while(|b| b.is_ascii_alphanumeric() || b"-.=_".contains(&b))
    }

    /// Takes this word, in any case, if it is next and ends here.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let mut ahead = *self;
        let found = ahead.word().eq_ignore_ascii_case(word.as_bytes());
        if found {
            *self = ahead;
        }
        found
    }

    pub(crate) fn atom(&mut self) -> Parsed<&'a [u8]> {
        match self.take_while(is_atom_char) {
            [] => syntax("an atom was expected"),
            atom => Ok(atom),
        }
    }

    pub(crate) fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{' | b'~') => match self.string() {
                // An atom may begin with a tilde.
                Err(_) if self.peek() == Some(b'~') => self.astring_atom(),
                other => other,
            },
            _ => self.astring_atom(),
        }
    }

    fn astring_atom(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.take_while(|b| is_atom_char(b) || b == b']') {
            [] => syntax("a string was expected"),
            atom => Ok(Cow::Borrowed(atom)),
        }
    }

    /// A quoted string or a literal.
    pub(crate) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            _ => self.literal().map(Cow::Borrowed),
        }
    }

    pub(crate) fn nstring(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.eat_word("NIL") {
            Ok(None)
        } else {
            self.string().map(Some)
        }
    }

    /// The pattern of LIST: wildcards are allowed in it.
    pub(crate) fn list_mailbox(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => match self.take_while(|b| is_atom_char(b) || b"]%*".contains(&b)) {
                [] => syntax("a mailbox pattern was expected"),
                atom => Ok(Cow::Borrowed(atom)),
            },
        }
    }

    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.expect(b'"', "a quoted string was expected")?;
        let mut out: Option<Vec<u8>> = None;
        loop {
            let plain = self.take_while(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0));
            let escaped = match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(match out {
                        None => Cow::Borrowed(plain),
                        Some(mut owned) => {
                            owned.extend_from_slice(plain);
                            Cow::Owned(owned)
                        }
                    });
                }
                [b'\\', byte @ (b'"' | b'\\'), rest @ ..] => {
                    self.rest = rest;
                    *byte
                }
                _ => return syntax("a quoted string is not well formed"),
            };
            let owned = out.get_or_insert_default();
            owned.extend_from_slice(plain);
            owned.push(escaped);
        }
    }

    fn literal(&mut self) -> Parsed<&'a [u8]> {
        const WHAT: &str = "a string was expected";
        let mut ahead = *self;
        let binary = ahead.eat(b'~');
        ahead.expect(b'{', WHAT)?;
        let length = ahead.number64()?;
        ahead.eat(b'+');
        ahead.expect(b'}', WHAT)?;
        ahead.expect(b'\r', WHAT)?;
        ahead.expect(b'\n', WHAT)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((taken, rest)) = ahead.rest.split_at_checked(length) else {
            return syntax("a literal is shorter than announced");
        };
        if !binary && taken.contains(&0) {
            return syntax("a literal contains NUL");
        }
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return syntax("a number was expected");
        }
        let value = digits.iter().try_fold(0u64, |n, d| {
            n.checked_mul(10)?.checked_add(u64::from(d - b'0'))
        });
        match value {
            Some(n) if n <= i64::MAX as u64 => Ok(n),
            _ => syntax("a number is too large"),
        }
    }

    pub(crate) fn number(&mut self) -> Parsed<u32> {
        let n = self.number64()?;
        u32::try_from(n).map_err(|_| Malformed::Syntax("a number is too large"))
    }

    pub(crate) fn nonzero(&mut self) -> Parsed<u32> {
        match self.number()? {
            0 => syntax("a number must not be zero"),
            n => Ok(n),
        }
    }
}

pub(crate) const fn is_atom_char(b: u8) -> bool {
    matches!(b, 0x21..=0x7e) && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_undo_both_escapes_and_no_other() {
        assert_eq!(
            Cursor::new(br#""a\\b\"c" x"#).string().unwrap().as_ref(),
            br#"a\b"c"#
        );
        assert_eq!(Cursor::new(br#""\\""#).string().unwrap().as_ref(), br"\");
        for bad in [&br#""\n""#[..], b"\"a\rb\"", b"\"a", b"\"a\0\"", b"\"a\\\""] {
            assert!(Cursor::new(bad).string().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_stop_at_the_first_byte_that_is_no_digit_and_do_not_wrap() {
        let mut cursor = Cursor::new(b"12 345");
        assert_eq!(cursor.number(), Ok(12));
        assert_eq!(cursor.rest(), b" 345");
        assert!(Cursor::new(b"4294967296").number().is_err());
        assert_eq!(
            Cursor::new(b"9223372036854775807").number64(),
            Ok(i64::MAX as u64)
        );
        assert!(Cursor::new(b"9223372036854775808").number64().is_err());
        assert!(Cursor::new(b"99999999999999999999999").number64().is_err());
    }

    #[test]
    fn literals_take_exactly_their_octets() {
        let mut cursor = Cursor::new(b"{3}\r\na\r\nb");
        assert_eq!(cursor.astring().unwrap().as_ref(), b"a\r\n");
        assert_eq!(cursor.rest(), b"b");
        assert!(Cursor::new(b"{4+}\r\nabc").astring().is_err());
        assert!(Cursor::new(b"{1}\r\n\0").astring().is_err());
        assert_eq!(
            Cursor::new(b"~{1}\r\n\0").astring().unwrap().as_ref(),
            b"\0"
        );
        assert_eq!(
            Cursor::new(b"~/Mail/").astring().unwrap().as_ref(),
            b"~/Mail/"
        );
    }
}
