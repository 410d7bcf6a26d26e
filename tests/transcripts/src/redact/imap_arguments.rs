//! Which arguments of a command say nothing about anybody. All others become filler.

use std::ops::Range;

use super::imap_commands::{Kind, Token, inside};
use super::names::{is_date, is_entry_word, is_field, is_flag, is_set, is_span, is_word};
use super::{Class, Span};

/// Search keys and words around them; behind some stand a number, a day or a set, which show what they are.
const SEARCH: [&str; 49] = [
    "all",
    "answered",
    "before",
    "charset",
    "context",
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
    "uidafter",
    "uidbefore",
    "unanswered",
    "undeleted",
    "undraft",
    "unflagged",
    "unkeyword",
    "unseen",
    "update",
    "younger",
    "priv",
    "shared",
    "header",
];
/// Search keys whose argument is text.
const TEXTS: [&str; 10] = [
    "bcc", "body", "cc", "from", "subject", "text", "to", "emailid", "threadid", "header",
];
const CHARSETS: [&str; 6] = [
    "ascii",
    "us-ascii",
    "utf-8",
    "utf8",
    "iso-8859-1",
    "iso-8859-15",
];
/// What SORT sorts by.
const ORDERS: [&str; 10] = [
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
];
const THREADS: [&str; 2] = ["orderedsubject", "references"];
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

/// What NOTIFY and ESEARCH call mailboxes without naming them.
const SOURCES: [&str; 5] = [
    "selected",
    "selected-delayed",
    "inboxes",
    "personal",
    "subscribed",
];
/// Behind these stand names of mailboxes.
const NAMED_SOURCES: [&str; 3] = ["subtree", "subtree-one", "mailboxes"];
/// Events of NOTIFY, and what stands around them.
const EVENTS: [&str; 11] = [
    "set",
    "none",
    "status",
    "messagenew",
    "messageexpunge",
    "flagchange",
    "annotationchange",
    "mailboxname",
    "subscriptionchange",
    "mailboxmetadatachange",
    "servermetadatachange",
];
const RESOURCES: [&str; 4] = ["storage", "message", "mailbox", "annotation-storage"];

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
        let mut rest = tokens;
        while let Some((token, others)) = rest.split_first() {
            rest = others;
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
                // UPDATE (...): what is told of messages, as in FETCH.
                let next = rest.first().map(|next| self.between(token, next));
                if is_word(word, &["update"]) && next.is_some_and(|next| next.starts_with(b" (")) {
                    let (items, behind) = self.enclosed(rest);
                    self.fetch(items);
                    rest = behind;
                }
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
            || (is_atom && is_word(behind, &["partial"]) && is_span(word))
            || is_date(word)
            || (is_word(behind, &["charset"]) && is_word(word, &CHARSETS))
    }

    /// SORT: what is wanted, in what order, then a character set, then a search program.
    pub(super) fn sort(&mut self, tokens: &[Token]) {
        let mut rest = tokens;
        if rest
            .first()
            .is_some_and(|t| is_word(self.word(t), &["return"]))
        {
            let (options, behind) = self.enclosed(rest);
            self.search(options);
            rest = behind;
        }
        let (orders, behind) = self.enclosed(rest);
        let all_known = orders.iter().all(|t| is_word(self.word(t), &ORDERS));
        match all_known && !orders.is_empty() {
            true => self.in_charset(behind),
            false => self.search(rest),
        }
    }

    /// THREAD: how, then a character set, then a search program.
    pub(super) fn thread(&mut self, tokens: &[Token]) {
        match tokens.split_first() {
            Some((how, rest)) if is_word(self.word(how), &THREADS) => self.in_charset(rest),
            _ => self.search(tokens),
        }
    }

    fn in_charset(&mut self, tokens: &[Token]) {
        match tokens.split_first() {
            Some((charset, rest)) if is_word(self.octets(inside(charset)), &CHARSETS) => {
                self.search(rest);
            }
            _ => self.search(tokens),
        }
    }

    /// ESEARCH: `IN (...)` with names of mailboxes, then as in SEARCH.
    pub(super) fn search_in(&mut self, tokens: &[Token]) {
        if !tokens
            .first()
            .is_some_and(|t| is_word(self.word(t), &["in"]))
        {
            return self.search(tokens);
        }
        let (sources, rest) = self.enclosed(tokens);
        for token in sources.iter().skip(1) {
            self.span(token.range.clone(), Class::Addresses);
        }
        self.search(rest);
    }

    /// What is between two tokens: blanks and parentheses, and the announcement of a literal.
    fn between(&self, before: &Token, behind: &Token) -> &'a [u8] {
        let end = match &behind.kind {
            Kind::Literal(digits) => digits.start,
            _ => behind.range.start,
        };
        self.octets(before.range.end..end)
    }

    /// The tokens up to the end of the first list among them, and those behind it.
    fn enclosed<'t>(&self, tokens: &'t [Token]) -> (&'t [Token], &'t [Token]) {
        // The list may begin before the first token.
        let first = tokens.first().map_or(0, |token| token.range.start);
        let mut depth = i32::from(first > 0 && self.octets(first - 1..first) == b"(");
        for (at, pair) in tokens.windows(2).enumerate() {
            let [before, behind] = pair else { break };
            for octet in self.between(before, behind) {
                match octet {
                    b'(' => depth += 1,
                    b')' if depth == 1 => return tokens.split_at(at + 1),
                    b')' => depth -= 1,
                    _ => {}
                }
            }
        }
        (tokens, &[])
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
        tokens.iter().for_each(|token| self.item(token));
    }

    fn item(&mut self, token: &Token) {
        if token.kind != Kind::Atom {
            if !is_field(self.octets(inside(token))) {
                self.span(inside(token), Class::Local);
            }
        } else if !is_span(self.word(token)) {
            let is_known = |word: &[u8]| is_word(word, &ITEMS) || is_field(word);
            self.parts(token, is_known, Class::Local);
        }
    }

    /// NOTIFY: of which mailboxes, which events, and what is told of messages.
    pub(super) fn notify(&mut self, tokens: &[Token]) {
        /// Whether names of mailboxes stand here.
        #[derive(PartialEq)]
        enum Names {
            No,
            One,
            List,
        }
        let mut names = Names::No;
        let mut before: Option<&Token> = None;
        for token in tokens {
            let between = before.map_or(&b""[..], |before| self.between(before, token));
            let is_known =
                |words: &[&str]| token.kind == Kind::Atom && is_word(self.word(token), words);
            if names == Names::List && between.contains(&b')') {
                names = Names::No;
            }
            if names == Names::One && between.contains(&b'(') {
                names = Names::List;
            }
            before = Some(token);
            if names != Names::No {
                self.span(token.range.clone(), Class::Addresses);
                if names == Names::One {
                    names = Names::No;
                }
            } else if is_known(&NAMED_SOURCES) {
                names = Names::One;
            } else if !is_known(&SOURCES) && !is_known(&EVENTS) {
                self.item(token);
            }
        }
    }

    /// GETMETADATA: a mailbox and names of annotations; options before or behind the mailbox.
    pub(super) fn metadata(&mut self, tokens: &[Token]) {
        let (mut named, mut behind) = (false, &b""[..]);
        for token in tokens {
            let word = self.word(token);
            let is_atom = token.kind == Kind::Atom;
            let is_value = is_atom && (is_set(word) || is_word(word, &["infinity"]));
            let is_option = is_atom && is_word(word, &["maxsize", "depth"]);
            let option = core::mem::replace(&mut behind, if is_option { word } else { b"" });
            if is_option || (is_value && !option.is_empty()) {
                continue;
            }
            if named {
                self.annotation(token);
            } else {
                named = true;
                self.span(token.range.clone(), Class::Addresses);
            }
        }
    }

    /// SETMETADATA: a mailbox, then names of annotations, each with its value.
    pub(super) fn set_metadata(&mut self, tokens: &[Token]) {
        for (place, token) in tokens.iter().enumerate() {
            match place {
                0 => self.span(token.range.clone(), Class::Addresses),
                _ if place % 2 == 1 => self.annotation(token),
                _ if token.kind == Kind::Atom && is_word(self.word(token), &["nil"]) => {}
                _ => self.span(inside(token), Class::Text),
            }
        }
    }

    /// `/private/comment`: what is not well known of it becomes another name, the same one as in answers.
    fn annotation(&mut self, token: &Token) {
        let range = inside(token);
        let mut at = range.start;
        for part in self.octets(range).split(|&b| b == b'/') {
            if !is_entry_word(part) {
                self.span(at..at + part.len(), Class::Local);
            }
            at += part.len() + 1;
        }
    }

    /// SETQUOTA: a root, then resources and numbers.
    pub(super) fn set_quota(&mut self, tokens: &[Token]) {
        for token in tokens {
            let word = self.word(token);
            let is_plain = is_set(word) || is_word(word, &RESOURCES);
            if token.kind != Kind::Atom || !is_plain {
                self.span(inside(token), Class::Text);
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

    /// APPEND: a name, then flags, a date and the message or its parts; all but the name may come again.
    pub(super) fn append(&mut self, tokens: &[Token]) {
        let mut before: &[u8] = b"";
        for (place, token) in tokens.iter().enumerate() {
            let behind = core::mem::replace(&mut before, b"");
            let word = self.word(token);
            match token.kind {
                _ if place == 0 => self.span(token.range.clone(), Class::Addresses),
                _ if is_word(behind, &["url"]) => self.url(inside(token)),
                Kind::Literal(_) => self.span(token.range.clone(), Class::Body),
                Kind::Quoted if is_date(self.octets(inside(token))) => {}
                Kind::Quoted => self.span(inside(token), Class::Text),
                Kind::Atom if is_word(word, &["catenate", "text", "url", "utf8"]) => before = word,
                Kind::Atom => self.flag(token),
            }
        }
    }

    /// REPLACE: a message, then as in APPEND.
    pub(super) fn replace(&mut self, tokens: &[Token]) {
        let Some((set, rest)) = tokens.split_first() else {
            return;
        };
        if set.kind != Kind::Atom || !is_set(self.word(set)) {
            self.span(inside(set), Class::Text);
        }
        self.append(rest);
    }

    /// `/INBOX;UIDVALIDITY=7/;UID=20/;SECTION=1.2.MIME`: names of fields in it are as in FETCH.
    fn url(&mut self, range: Range<usize>) {
        let octets = self.octets(range.clone());
        let word = b";section=";
        let found = octets
            .windows(word.len())
            .rposition(|w| w.eq_ignore_ascii_case(word));
        let section = found.map_or(octets.len(), |at| at + word.len());
        self.span(range.start..range.start + section, Class::Addresses);
        let mut at = section;
        while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
            // What is encoded stands between words: a blank, a parenthesis.
            if rest.starts_with(b"%") {
                at += 3;
                continue;
            }
            let is_part = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b) || !b.is_ascii();
            let length = rest.iter().take_while(|b| is_part(b)).count();
            let part = rest.get(..length).unwrap_or_default();
            let is_known = is_word(part, &ITEMS)
                || is_field(part)
                || is_word(part, &["partial"])
                || part.iter().all(u8::is_ascii_digit);
            if !is_known {
                let from = range.start + at;
                self.span(from..from + length, Class::Local);
            }
            at += length.max(1);
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
