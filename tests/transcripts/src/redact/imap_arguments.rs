//! Which arguments of a command say nothing about anybody. All others become filler.

use std::ops::Range;

use super::imap_commands::{Kind, Token, inside};
use super::names::{is_date, is_field, is_flag, is_set, is_word};
use super::{Class, Span};

/// Search keys and words around them; behind some stand a number, a day or a set, which show what they are.
const SEARCH: [&str; 45] = [
    "all",
    "answered",
    "before",
    "charset",
    "count",
    "deleted",
    "draft",
    "flagged",
    "fuzzy",
    "keyword",
    "larger",
    "max",
    "min",
    "modseq",
    "new",
    "not",
    "old",
    "older",
    "on",
    "or",
    "partial",
    "recent",
    "return",
    "save",
    "savedatesupported",
    "savedbefore",
    "savedon",
    "savedsince",
    "seen",
    "sentbefore",
    "senton",
    "sentsince",
    "since",
    "smaller",
    "uid",
    "unanswered",
    "undeleted",
    "undraft",
    "unflagged",
    "unkeyword",
    "unseen",
    "younger",
    "priv",
    "shared",
    "header",
];
/// Search keys whose argument is text.
const TEXTS: [&str; 10] = [
    "bcc", "body", "cc", "from", "subject", "text", "to", "emailid", "threadid", "header",
];
const CHARSETS: [&str; 5] = ["us-ascii", "utf-8", "utf8", "iso-8859-1", "iso-8859-15"];
/// What SORT sorts by, and how THREAD threads.
const ORDERS: [&str; 12] = [
    "arrival",
    "cc",
    "date",
    "displayfrom",
    "displayto",
    "from",
    "reverse",
    "size",
    "subject",
    "to",
    "orderedsubject",
    "references",
];
const ITEMS: [&str; 30] = [
    "all",
    "binary",
    "body",
    "bodystructure",
    "changedsince",
    "emailid",
    "envelope",
    "fast",
    "fields",
    "flags",
    "full",
    "header",
    "internaldate",
    "lazy",
    "mime",
    "modseq",
    "not",
    "partial",
    "peek",
    "preview",
    "rfc822",
    "savedate",
    "silent",
    "size",
    "structure",
    "text",
    "threadid",
    "uid",
    "unchangedsince",
    "vanished",
];
const CAPABILITIES: [&str; 8] = [
    "accept",
    "condstore",
    "imap4rev1",
    "imap4rev2",
    "metadata",
    "qresync",
    "uidonly",
    "utf8",
];

/// The arguments of one command.
pub(super) struct Arguments<'a> {
    pub(super) stream: &'a [u8],
    pub(super) spans: Vec<Span>,
}

impl<'a> Arguments<'a> {
    fn octets(&self, range: Range<usize>) -> &'a [u8] {
        self.stream.get(range).unwrap_or_default()
    }

    fn word(&self, token: &Token) -> &'a [u8] {
        self.octets(token.range.clone())
    }

    fn span(&mut self, range: Range<usize>, class: Class) {
        if !range.is_empty() {
            self.spans.push((range, class));
        }
    }

    /// Texts in a search program; whatever is no key and no number is text as well.
    pub(super) fn search(&mut self, tokens: &[Token]) {
        let mut texts = 0;
        let mut before: &[u8] = b"";
        for token in tokens {
            let word = self.word(token);
            let is_atom = token.kind == Kind::Atom;
            let behind = core::mem::replace(&mut before, b"");
            if texts > 0 {
                match (texts, is_field(self.octets(inside(token)))) {
                    (2, true) => {}
                    // As it is called in the headers of messages.
                    (2, false) => self.span(inside(token), Class::Local),
                    _ => self.span(inside(token), Class::Text),
                }
                texts -= 1;
            } else if is_word(behind, &["keyword", "unkeyword"]) && is_atom {
                self.flag(token);
            } else if is_word(behind, &["modseq"]) && !is_atom {
                self.entry(token);
            } else if is_atom && is_word(word, &TEXTS) {
                texts = if is_word(word, &["header"]) { 2 } else { 1 };
            } else if is_atom && is_word(word, &SEARCH) {
                before = word;
            } else if !self.is_plain(token, behind) {
                self.span(inside(token), Class::Text);
            }
        }
    }

    /// A number, a set, a day, or behind CHARSET the name of one.
    fn is_plain(&self, token: &Token, behind: &[u8]) -> bool {
        let is_atom = token.kind == Kind::Atom;
        let word = self.octets(inside(token));
        (is_atom && is_set(word))
            || is_date(word)
            || (is_word(behind, &["charset"]) && is_word(word, &CHARSETS))
    }

    /// SORT and THREAD: in what order, then a character set, then a search program.
    pub(super) fn sort(&mut self, tokens: &[Token]) {
        let known = tokens
            .iter()
            .take_while(|token| is_word(self.word(token), &ORDERS));
        let mut at = 0;
        for token in known {
            at += 1;
            if self.octets(token.range.end..token.range.end + 1) == b")" {
                break;
            }
        }
        let mut rest = tokens.get(at..).unwrap_or_default();
        if let Some((charset, behind)) = rest.split_first()
            && is_word(self.octets(inside(charset)), &CHARSETS)
        {
            rest = behind;
        }
        self.search(rest);
    }

    /// `"/flags/\\draft" all` behind MODSEQ.
    fn entry(&mut self, token: &Token) {
        let range = inside(token);
        let name = self.octets(range.clone()).strip_prefix(b"/flags/");
        let name = name.map(|name| name.strip_prefix(b"\\").unwrap_or(name));
        if !name.is_some_and(is_flag) {
            self.span(range, Class::Text);
        }
    }

    /// FETCH: names of fields become the same other names as in messages.
    pub(super) fn fetch(&mut self, tokens: &[Token]) {
        for token in tokens {
            if token.kind == Kind::Atom {
                let is_known = |word: &[u8]| is_word(word, &ITEMS) || is_field(word);
                self.parts(token, is_known, Class::Local);
            } else if !is_field(self.octets(inside(token))) {
                self.span(inside(token), Class::Local);
            }
        }
    }

    /// STORE.
    pub(super) fn store(&mut self, tokens: &[Token]) {
        for token in tokens {
            let word = self.word(token);
            let action = word
                .strip_prefix(b"+")
                .or_else(|| word.strip_prefix(b"-"))
                .unwrap_or(word);
            let known = ["flags", "flags.silent", "unchangedsince"];
            if token.kind != Kind::Atom || !(is_set(word) || is_word(action, &known)) {
                self.flag(token);
            }
        }
    }

    /// APPEND: a name, then flags, a date and the message.
    pub(super) fn append(&mut self, tokens: &[Token]) {
        for (place, token) in tokens.iter().enumerate() {
            match token.kind {
                _ if place == 0 => self.span(token.range.clone(), Class::Addresses),
                Kind::Literal(_) => self.span(token.range.clone(), Class::Body),
                Kind::Quoted if is_date(self.octets(inside(token))) => {}
                Kind::Quoted => self.span(inside(token), Class::Text),
                Kind::Atom => self.flag(token),
            }
        }
    }

    /// ENABLE, COMPRESS, EXPUNGE.
    pub(super) fn named(&mut self, tokens: &[Token]) {
        for token in tokens {
            let known = |word: &[u8]| is_word(word, &CAPABILITIES) || is_word(word, &["deflate"]);
            let is_atom = token.kind == Kind::Atom;
            if !(is_atom && is_set(self.word(token))) {
                match is_atom {
                    true => self.parts(token, known, Class::Words),
                    false => self.span(inside(token), Class::Text),
                }
            }
        }
    }

    /// ID: what a program calls itself.
    pub(super) fn id(&mut self, tokens: &[Token]) {
        for token in tokens {
            if !is_word(self.word(token), &["nil"]) {
                self.span(inside(token), Class::Text);
            }
        }
    }

    /// A keyword that somebody thought of becomes another one.
    fn flag(&mut self, token: &Token) {
        if !is_flag(self.word(token)) {
            let from = usize::from(matches!(self.word(token), [b'\\' | b'$', ..]));
            let range = inside(token);
            self.span(range.start + from..range.end, Class::Local);
        }
    }

    /// The words of an item like `BODY.PEEK[HEADER.FIELDS`.
    fn parts(&mut self, token: &Token, is_known: impl Fn(&[u8]) -> bool, class: Class) {
        let mut at = token.range.start;
        let splits = |b: &u8| b.is_ascii() && !b.is_ascii_alphanumeric() && !b"-_".contains(b);
        for part in self.word(token).split(splits) {
            if !is_known(part) && !part.iter().all(u8::is_ascii_digit) {
                self.span(at..at + part.len(), class);
            }
            at += part.len() + 1;
        }
    }
}
