//! Which octets of an IMAP client are what.

use mox_imap::wire::Verb;
use std::collections::BTreeSet;
use std::ops::Range;

use super::imap_arguments::Arguments;
use super::names::is_mechanism;
use super::{Class, Heard, Span, Spanned};

/// What the next octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A line: a command, or the rest of one behind a literal.
    Line,
    /// A literal of the command.
    Literal(usize),
    /// A synchronising literal that the server has not asked for yet.
    HoldLiteral(usize),
    /// AUTHENTICATE: the server speaks next.
    HoldSasl,
    Sasl,
}

struct Scan<'a> {
    stream: &'a [u8],
    until: usize,
    at: usize,
    mode: Mode,
    /// The tag of the command that waits for the server.
    held: Range<usize>,
    /// The command so far.
    tokens: Vec<Token>,
    /// Tags of searches, which CANCELUPDATE names.
    searches: BTreeSet<&'a [u8]>,
    /// Reads what the server sends: the line that is not complete, and octets of a literal still to come.
    line: Vec<u8>,
    skip: usize,
    spans: Vec<Span>,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Without quotes.
    Atom,
    /// With its quotes.
    Quoted,
    /// The octets; before them stand the digits of their number.
    Literal(Range<usize>),
}

pub(super) fn spans(stream: &[u8], events: &[Heard<'_>]) -> Vec<Spanned> {
    let mut scan = Scan {
        stream,
        until: 0,
        at: 0,
        mode: Mode::Line,
        held: 0..0,
        tokens: Vec::new(),
        searches: BTreeSet::new(),
        line: Vec::new(),
        skip: 0,
        spans: Vec::new(),
    };
    for event in events {
        match event {
            Heard::Until(until) => scan.until = *until,
            Heard::Sent(octets) => scan.sent(octets),
        }
        while scan.step() {}
    }
    scan.rest();
    scan.spans.sort_by_key(|(range, _)| range.start);
    scan.spans.into_iter().map(Spanned).collect()
}

impl<'a> Scan<'a> {
    fn sent(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            if self.skip > 0 {
                let (_, rest) = octets.split_at(self.skip.min(octets.len()));
                self.skip -= octets.len() - rest.len();
                octets = rest;
                continue;
            }
            let end = octets
                .iter()
                .position(|&b| b == b'\n')
                .map_or(octets.len(), |at| at + 1);
            let (line, rest) = octets.split_at(end);
            octets = rest;
            self.line.extend_from_slice(line);
            if self.line.ends_with(b"\n") {
                let line = core::mem::take(&mut self.line);
                if let Some((_, size, _)) = literal(line.trim_ascii_end()) {
                    self.skip = size;
                }
                self.heard(&line);
                while self.step() {}
            }
        }
    }

    fn heard(&mut self, line: &[u8]) {
        let goes_on = line.starts_with(b"+");
        match self.mode {
            Mode::HoldLiteral(size) if goes_on => self.mode = Mode::Literal(size),
            Mode::HoldSasl if goes_on => self.mode = Mode::Sasl,
            // It was refused: the command is over.
            Mode::HoldLiteral(_) | Mode::HoldSasl if self.ends_wait(line) => {
                self.command();
                self.mode = Mode::Line;
            }
            _ => {}
        }
    }

    /// The reply to the command that waits, not to one before it; without a tag when the server could read none.
    fn ends_wait(&self, line: &[u8]) -> bool {
        let mut words = line.trim_ascii_end().split(|&b| b == b' ');
        let (tag, state) = (words.next(), words.next().unwrap_or_default());
        if tag == Some(b"*") {
            return state.eq_ignore_ascii_case(b"BAD");
        }
        // Nobody accepts a command whose literal is not there.
        let early = self.mode != Mode::HoldSasl && state.eq_ignore_ascii_case(b"OK");
        tag == self.stream.get(self.held.clone()) && !early
    }

    fn ahead(&self) -> &'a [u8] {
        self.stream.get(self.at..self.until).unwrap_or_default()
    }

    fn step(&mut self) -> bool {
        match self.mode {
            Mode::HoldLiteral(_) | Mode::HoldSasl => false,
            Mode::Literal(size) => {
                if self.ahead().len() < size {
                    return false;
                }
                let range = self.at..self.at + size;
                self.at += size;
                if let Some(token) = self.tokens.last_mut() {
                    token.range = range;
                }
                self.mode = Mode::Line;
                true
            }
            Mode::Line | Mode::Sasl => {
                let Some(end) = self.ahead().iter().position(|&b| b == b'\n') else {
                    return false;
                };
                let start = self.at;
                self.at += end + 1;
                let line = self.stream.get(start..self.at).unwrap_or_default();
                let text = line.trim_ascii_end();
                if self.mode == Mode::Sasl {
                    if !matches!(text, b"" | b"*") {
                        let class = Class::of_sasl(text);
                        self.spans.push((start..start + text.len(), class));
                    }
                    self.mode = Mode::HoldSasl;
                    return true;
                }
                self.line(start, text);
                true
            }
        }
    }

    fn line(&mut self, start: usize, text: &[u8]) {
        let announced = literal(text);
        let length = announced.as_ref().map_or(text.len(), |(digits, ..)| {
            // What opens it: `{` or `~{`.
            let open = digits.start - 1;
            open - usize::from(open > 0 && text.get(open - 1) == Some(&b'~'))
        });
        tokens(
            start,
            text.get(..length).unwrap_or_default(),
            &mut self.tokens,
        );
        if let Some((digits, size, waits)) = announced {
            let digits = start + digits.start..start + digits.end;
            self.tokens.push(Token {
                range: self.at..self.at,
                kind: Kind::Literal(digits),
            });
            self.hold();
            self.mode = match waits {
                true => Mode::HoldLiteral(size),
                false => Mode::Literal(size),
            };
            return;
        }
        if self.verb() == Some(Verb::Authenticate) {
            self.hold();
            self.mode = Mode::HoldSasl;
            // What it begins with is secret at once; the rest waits.
        }
        self.command();
    }

    fn hold(&mut self) {
        if let Some(tag) = self.tokens.first() {
            self.held = tag.range.clone();
        }
    }

    fn word(&self, place: usize) -> Vec<u8> {
        let range = self.tokens.get(place).map(|token| token.range.clone());
        let word = range.and_then(|range| self.stream.get(range));
        word.unwrap_or_default().to_ascii_uppercase()
    }

    /// The command that begins here, however it goes on.
    fn verb(&self) -> Option<Verb> {
        let (first, second) = (self.word(1), self.word(2));
        if first != b"UID" {
            return Verb::find(&first);
        }
        let whole = [&first, &b" "[..], &second].concat();
        // A word that has no UID before it is refused; what stands behind it is the same.
        Verb::find(&whole).or_else(|| Verb::find(&second))
    }

    /// The command is complete. There is no other arm for commands that are not named: a new one is named here, or this is
    /// not compiled.
    fn command(&mut self) {
        let verb = self.verb();
        let arguments = 2 + usize::from(self.word(1) == b"UID");
        let all = core::mem::take(&mut self.tokens);
        let rest = all.get(arguments..).unwrap_or_default();
        let Some(verb) = verb else {
            return self.unknown(&all);
        };
        match verb {
            Verb::Login => rest.iter().for_each(|token| self.secret(token)),
            Verb::Authenticate => self.sasl(rest),
            Verb::Append => self.arguments(|all| all.append(rest)),
            Verb::Replace | Verb::UidReplace => self.arguments(|all| all.replace(rest)),
            Verb::Search | Verb::UidSearch => {
                self.searches(&all);
                self.arguments(|all| all.search(rest));
            }
            Verb::MultiSearch => {
                self.searches(&all);
                self.arguments(|all| all.search_in(rest));
            }
            Verb::Sort | Verb::UidSort => {
                self.searches(&all);
                self.arguments(|all| all.sort(rest));
            }
            Verb::Thread | Verb::UidThread => self.arguments(|all| all.thread(rest)),
            Verb::CancelUpdate => self.cancelled(rest),
            Verb::Fetch | Verb::UidFetch => self.arguments(|all| all.fetch(rest)),
            Verb::Store | Verb::UidStore => self.arguments(|all| all.store(rest)),
            Verb::Enable | Verb::Expunge | Verb::UidExpunge | Verb::Compress => {
                self.arguments(|all| all.named(rest));
            }
            Verb::Id => self.arguments(|all| all.id(rest)),
            Verb::Notify => self.arguments(|all| all.notify(rest)),
            Verb::GetMetadata => self.arguments(|all| all.metadata(rest)),
            Verb::SetMetadata => self.arguments(|all| all.set_metadata(rest)),
            Verb::SetQuota => self.arguments(|all| all.set_quota(rest)),
            // They name mailboxes, which may look like addresses; options beside them are words of the protocol.
            Verb::Select
            | Verb::Examine
            | Verb::Create
            | Verb::Delete
            | Verb::Rename
            | Verb::Subscribe
            | Verb::Unsubscribe
            | Verb::List
            | Verb::Lsub
            | Verb::Status
            | Verb::Copy
            | Verb::UidCopy
            | Verb::Move
            | Verb::UidMove
            | Verb::GetQuotaRoot
            | Verb::GetQuota => {
                for token in rest {
                    self.spans.push((token.range.clone(), Class::Addresses));
                }
            }
            // They have no arguments: what stands there is something else.
            Verb::Capability
            | Verb::Noop
            | Verb::Logout
            | Verb::StartTls
            | Verb::Namespace
            | Verb::Idle
            | Verb::Check
            | Verb::Close
            | Verb::Unselect
            | Verb::Unauthenticate => rest.iter().for_each(|token| self.secret(token)),
        }
    }

    /// Not a command: perhaps a message, perhaps a password that was sent too late or without a tag.
    fn unknown(&mut self, all: &[Token]) {
        if let [token] = all
            && self.is_done(token)
        {
            return;
        }
        let (tag, rest) = all.split_at(all.len().min(1));
        tag.iter().for_each(|token| self.secret_tag(token));
        rest.iter().for_each(|token| self.secret(token));
    }

    /// The tag of a search, as far as it is one that stays.
    fn searches(&mut self, all: &[Token]) {
        let tag = all
            .first()
            .and_then(|tag| self.stream.get(tag.range.clone()));
        self.searches.extend(tag);
    }

    /// CANCELUPDATE: tags of searches stay, as they do there.
    fn cancelled(&mut self, tokens: &[Token]) {
        for token in tokens {
            let tag = self.stream.get(inside(token)).unwrap_or_default();
            if !self.searches.contains(tag) {
                self.spans.push((inside(token), Class::Text));
            }
        }
    }

    fn arguments(&mut self, look: impl FnOnce(&mut Arguments<'a>)) {
        let mut arguments = Arguments {
            stream: self.stream,
            spans: core::mem::take(&mut self.spans),
        };
        look(&mut arguments);
        self.spans = arguments.spans;
    }

    /// A mechanism and what the client begins with.
    fn sasl(&mut self, tokens: &[Token]) {
        let word = |token: &Token| self.stream.get(token.range.clone()).unwrap_or_default();
        let is_letters = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
        for (place, token) in tokens.iter().enumerate() {
            let octets = word(token);
            match place {
                0 if is_mechanism(octets) => {}
                0 if token.kind == Kind::Atom && octets.iter().all(is_letters) => {
                    self.spans.push((token.range.clone(), Class::SecretWord));
                }
                _ if octets == b"=" => {}
                1 if token.kind == Kind::Atom => {
                    self.spans
                        .push((token.range.clone(), Class::of_sasl(octets)));
                }
                _ => self.secret(token),
            }
        }
    }

    fn is_done(&self, token: &Token) -> bool {
        let word = self.stream.get(token.range.clone()).unwrap_or_default();
        word.eq_ignore_ascii_case(b"DONE")
    }

    /// What makes it no tag stays, so that it still is none.
    fn secret_tag(&mut self, token: &Token) {
        let word = self.stream.get(token.range.clone()).unwrap_or_default();
        let strange = |b: &u8| !b.is_ascii_graphic() || b"+{%*\"\\".contains(b);
        let Some(at) = word.iter().position(strange) else {
            return self.secret(token);
        };
        if token.kind != Kind::Atom {
            return self.secret(token);
        }
        let at = token.range.start + at;
        for part in [token.range.start..at, at + 1..token.range.end] {
            if !part.is_empty() {
                self.spans.push((part, Class::Secret));
            }
        }
    }

    fn secret(&mut self, token: &Token) {
        if let Kind::Literal(digits) = &token.kind {
            self.spans.push((digits.clone(), Class::SecretLength));
        }
        self.spans.push((token.range.clone(), Class::Secret));
    }

    /// What never became a whole command.
    fn rest(&mut self) {
        self.until = self.stream.len();
        let class = match self.mode {
            Mode::Literal(_) if self.verb().is_some_and(Verb::brings_message) => Class::Body,
            _ => Class::Secret,
        };
        // A literal whose octets are not all there.
        if let Some(Token { range, .. }) = self.tokens.last_mut()
            && range.start == self.at
        {
            range.end = self.until;
            self.tokens.pop();
        }
        let range = self.at..self.until;
        self.command();
        if !range.is_empty() {
            self.spans.push((range, class));
        }
    }
}

/// Without quotes.
pub(super) fn inside(token: &Token) -> Range<usize> {
    match token.kind {
        Kind::Quoted => token.range.start + 1..token.range.end.max(token.range.start + 2) - 1,
        _ => token.range.clone(),
    }
}

/// The digits, the size, and whether the client waits, when a line ends in `{5}` or `{5+}`.
fn literal(line: &[u8]) -> Option<(Range<usize>, usize, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, waits) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let open = inner.iter().rposition(|&b| b == b'{')?;
    let digits = inner.get(open + 1..)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = str::from_utf8(digits).ok()?.parse().ok()?;
    Some((open + 1..open + 1 + digits.len(), size, waits))
}

/// Atoms and quoted strings of a line that begins at `start`.
fn tokens(start: usize, line: &[u8], into: &mut Vec<Token>) {
    let mut at = 0;
    while let Some(&octet) = line.get(at) {
        let from = at;
        match octet {
            b' ' | b'(' | b')' | b'\r' | b'\n' | b'\t' => {
                at += 1;
                continue;
            }
            b'"' => {
                at += 1;
                while let Some(&octet) = line.get(at) {
                    at += 1;
                    match octet {
                        b'\\' => at += 1,
                        b'"' => break,
                        _ => {}
                    }
                }
                at = at.min(line.len());
            }
            _ => {
                while line.get(at).is_some_and(|b| !b" ()\r\n\t\"".contains(b)) {
                    at += 1;
                }
            }
        }
        let kind = if octet == b'"' {
            Kind::Quoted
        } else {
            Kind::Atom
        };
        into.push(Token {
            range: start + from..start + at,
            kind,
        });
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn classes(talk: &[(&str, &str)]) -> Vec<(String, Class)> {
        let stream: String = talk.iter().map(|(client, _)| *client).collect();
        let mut until = 0;
        let mut events = vec![Heard::Sent(b"* OK ready\r\n")];
        for (client, server) in talk {
            until += client.len();
            events.push(Heard::Until(until));
            events.push(Heard::Sent(server.as_bytes()));
        }
        spans(stream.as_bytes(), &events)
            .into_iter()
            .map(|Spanned((range, class))| (stream[range].to_owned(), class))
            .collect()
    }

    fn is(found: &[(String, Class)], expected: &[(&str, Class)]) {
        let found: Vec<_> = found.iter().map(|(t, c)| (t.as_str(), *c)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_way_to_log_in_is_secret() {
        use Class::{Secret, SecretLength};
        is(
            &classes(&[
                ("a LOGIN jo \"p \\\" w\"\r\n", "a NO x\r\n"),
                ("b login {2}\r\n", "+ go\r\n"),
                ("jo {4+}\r\npass\r\n", "b OK x\r\n"),
                ("c AUTHENTICATE PLAIN AGpv\r\n", "c NO x\r\n"),
                ("d AUTHENTICATE SCRAM-SHA-256\r\n", "+ \r\n"),
                ("biws\r\n", "+ cj0x\r\n"),
                ("Yz1i\r\n", "d OK x\r\n"),
                ("e LOGIN {9}\r\n", "e BAD x\r\n"),
                ("f NOOP\r\n", "f OK x\r\n"),
                ("g LOGIN jo pa", ""),
            ]),
            &[
                ("jo", Secret),
                ("\"p \\\" w\"", Secret),
                ("2", SecretLength),
                ("jo", Secret),
                ("4", SecretLength),
                ("pass", Secret),
                ("AGpv", Secret),
                ("biws", Secret),
                ("Yz1i", Secret),
                ("9", SecretLength),
                ("", Secret),
                ("g LOGIN jo pa", Secret),
            ],
        );
    }

    #[test]
    fn messages_and_what_is_searched_for_are_found() {
        use Class::{Addresses, Body, Local, Secret, Text};
        is(
            &classes(&[
                ("a APPEND \"to/jo@x\" (\\Seen) {5}\r\n", "+ go\r\n"),
                ("b X\r\n\r\n", "a OK x\r\n"),
                (
                    "c UID SEARCH CHARSET UTF-8 UNSEEN SUBJECT hello HEADER X-Y \"zz\" 1:5 FROM {2+}\r\njo\r\n",
                    "* SEARCH\r\nc OK x\r\n",
                ),
                (
                    "d FETCH 1 BODY[]\r\n",
                    "* 1 FETCH (BODY[] {6}\r\n+ a\r\nb)\r\nd OK x\r\n",
                ),
                ("e IDLE\r\n", "+ idling\r\n"),
                ("done\r\n", "e OK x\r\n"),
                ("Dear all\r\n", "Dear BAD x\r\n"),
            ]),
            &[
                ("\"to/jo@x\"", Addresses),
                ("b X\r\n", Body),
                ("hello", Text),
                ("X-Y", Local),
                ("zz", Text),
                ("jo", Text),
                ("Dear", Secret),
                ("all", Secret),
            ],
        );
    }

    #[test]
    fn of_arguments_only_what_is_known_stays() {
        use Class::{Addresses, Body, Local, SecretWord, Text, Words};
        let ok = "x OK x\r\n";
        is(
            &classes(&[
                (
                    "x SEARCH RETURN (MIN COUNT) OR ann (NOT 1:* $ ANN) SINCE 1-Feb-2026 SMALLER ann\r\n",
                    ok,
                ),
                (
                    "x UID SEARCH CHARSET ann HEADER Subject ann KEYWORD ann UNKEYWORD $Junk ON ann\r\n",
                    ok,
                ),
                (
                    "x SEARCH MODSEQ \"/flags/\\\\draft\" all 5 MODSEQ \"ann\" all 5 \"ann\"\r\n",
                    ok,
                ),
                (
                    "x SORT (REVERSE FROM) utf-8 FROM ann\r\nx THREAD REFERENCES ann TEXT ann\r\n",
                    ok,
                ),
                (
                    "x FETCH 1:3 (UID BODY.PEEK[1.2.HEADER.FIELDS (Subject X-Ann)]<0.5> \"ann\" ann)\r\n",
                    ok,
                ),
                (
                    "x STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen $Junk $ann ann)\r\n",
                    ok,
                ),
                (
                    "x ENABLE UTF8=ACCEPT UTF8=ANN CONDSTORE\r\nx UID EXPUNGE 1:3 ann\r\n",
                    ok,
                ),
                ("x ID (\"name\" \"ann\" NIL)\r\n", ok),
                (
                    "x APPEND INBOX (\\Seen ann) \" 1-Feb-2026 01:02:03 +0100\" \"ann\" {3+}\r\nann\r\n",
                    ok,
                ),
                ("x AUTHENTICATE hunter2\r\n", "x NO x\r\n"),
            ]),
            &[
                ("ann", Text),
                ("ANN", Text),
                ("ann", Text),
                ("ann", Text),
                ("ann", Text),
                ("ann", Local),
                ("ann", Text),
                ("ann", Text),
                ("ann", Text),
                ("ann", Text),
                ("ann", Text),
                ("ann", Text),
                ("X-Ann", Local),
                ("ann", Local),
                ("ann", Local),
                ("ann", Local),
                ("ann", Local),
                ("ANN", Words),
                ("ann", Words),
                ("name", Text),
                ("ann", Text),
                ("INBOX", Addresses),
                ("ann", Local),
                ("ann", Text),
                ("ann", Body),
                ("hunter2", SecretWord),
            ],
        );
    }

    #[test]
    fn every_command_of_the_server_is_known() {
        for verb in Verb::all() {
            for name in [verb.name().to_owned(), verb.name().to_lowercase()] {
                let line = format!("tag {name}\r\n");
                assert_eq!(classes(&[(&line, "tag OK x\r\n")]), [], "{name}");
            }
        }
    }

    #[test]
    fn what_extensions_put_around_a_search_stays() {
        use Class::{Addresses, Text};
        let ok = "x OK x\r\n";
        is(
            &classes(&[
                (
                    "x SORT RETURN (ALL PARTIAL -1:-100) (REVERSE SIZE DISPLAYFROM) UTF-8 SUBJECT ann\r\n",
                    ok,
                ),
                (
                    "x SORT RETURN () (SIZE) \"us-ascii\" ALL\r\nx SORT (SIZE) ann ALL\r\n",
                    ok,
                ),
                (
                    "x THREAD ORDEREDSUBJECT UTF-8 UNSEEN\r\nx THREAD ann UTF-8 UNSEEN\r\n",
                    ok,
                ),
                (
                    "x UID SEARCH RETURN (UPDATE CONTEXT SAVE) UIDAFTER 5 UIDBEFORE 7 FROM -1:-100\r\n",
                    ok,
                ),
                (
                    "x SEARCH RETURN (PARTIAL -1:-100 COUNT) SINCE -1:-100\r\n",
                    ok,
                ),
                (
                    "y ESEARCH IN (selected subtree (\"a/jo@x\" {1+}\r\nc) mailboxes all) RETURN (UPDATE) TO ann\r\n",
                    "y OK x\r\n",
                ),
                (
                    "z ESEARCH UNSEEN\r\nx CANCELUPDATE \"y\" \"z\" \"ann\"\r\n",
                    ok,
                ),
            ]),
            &[
                ("ann", Text),
                ("ann", Text),
                ("ann", Text),
                ("UTF-8", Text),
                ("-1:-100", Text),
                ("-1:-100", Text),
                ("selected", Addresses),
                ("subtree", Addresses),
                ("\"a/jo@x\"", Addresses),
                ("c", Addresses),
                ("mailboxes", Addresses),
                ("all", Addresses),
                ("ann", Text),
                ("ann", Text),
            ],
        );
    }

    #[test]
    fn what_extensions_put_around_messages_stays() {
        use Class::{Addresses, Body, Local, Text};
        let ok = "x OK x\r\n";
        is(
            &classes(&[
                (
                    "x FETCH 1:* (PREVIEW (LAZY) BINARY.SIZE[1.2]) (PARTIAL -1:-100 CHANGEDSINCE 3 VANISHED)\r\n",
                    ok,
                ),
                ("x UID REPLACE 7 INBOX (\\Seen ann) {3+}\r\nann\r\n", ok),
                (
                    "x APPEND a (text) \" 1-Feb-2026 01:02:03 +0100\" UTF8 (~{3+}\r\nann) () {2+}\r\nhi\r\n",
                    ok,
                ),
                (
                    "x APPEND a CATENATE (URL \"/b/;uid=1/;section=1.HEADER.FIELDS%20(Date%20X-Ann)/;PARTIAL=0.5\" TEXT {3+}\r\nann URL {8+}\r\n/c;UID=1 URL /d/;uid=2)\r\n",
                    ok,
                ),
                ("x replace ann INBOX {9}\r\n", "+ go\r\n"),
                ("ann", ""),
            ]),
            &[
                ("INBOX", Addresses),
                ("ann", Local),
                ("ann", Body),
                ("a", Addresses),
                ("ann", Body),
                ("hi", Body),
                ("a", Addresses),
                ("/b/;uid=1/;section=", Addresses),
                ("X-Ann", Local),
                ("ann", Body),
                ("/c;UID=1", Addresses),
                ("/d/;uid=2", Addresses),
                ("ann", Text),
                ("INBOX", Addresses),
                ("ann", Body),
            ],
        );
    }

    #[test]
    fn of_what_mailboxes_have_only_names_and_words_stay() {
        use Class::{Addresses, Local, Text};
        let ok = "x OK x\r\n";
        is(
            &classes(&[
                (
                    "x NOTIFY NONE\r\nx NOTIFY SET STATUS (selected-delayed (MessageNew (FLAGS BODY.PEEK[HEADER.FIELDS (Subject X-Ann)]) MessageExpunge FlagChange)) (subtree (a {1+}\r\nb) MailboxName) (mailboxes c (MessageNew ann))\r\n",
                    ok,
                ),
                (
                    "x GETMETADATA (DEPTH infinity MAXSIZE 5) INBOX (/private/comment \"/Shared/ann\")\r\n",
                    ok,
                ),
                (
                    "x GETMETADATA \"\" (DEPTH 1) /shared/vendor/ann/x\r\nx GETMETADATA depth /shared/comment\r\n",
                    ok,
                ),
                (
                    "x SETMETADATA INBOX (/private/comment \"nil\" /private/Comment NIL /shared/comment {3+}\r\nann)\r\n",
                    ok,
                ),
                (
                    "x SETQUOTA \"\" (STORAGE 512 ANN 5)\r\nx UNAUTHENTICATE\r\nx COMPRESS DEFLATE\r\n",
                    ok,
                ),
            ]),
            &[
                ("X-Ann", Local),
                ("a", Addresses),
                ("b", Addresses),
                ("c", Addresses),
                ("ann", Local),
                ("INBOX", Addresses),
                ("ann", Local),
                ("\"\"", Addresses),
                ("ann", Local),
                ("x", Local),
                ("/shared/comment", Addresses),
                ("INBOX", Addresses),
                ("nil", Text),
                ("ann", Text),
                ("ANN", Text),
            ],
        );
    }

    #[test]
    fn a_literal_and_an_exchange_wait_for_the_reply_to_their_own_command() {
        use Class::{Addresses, Body, Secret, SecretLength};
        is(
            &classes(&[
                ("a IDLE\r\n", "+ idling\r\n"),
                ("DONE\r\nb APPEND INBOX {9}\r\n", "a OK x\r\n"),
                ("", "+ go\r\n"),
                ("c NOOP x\n\r\n", "b OK x\r\n"),
                (
                    "a CAPABILITY\r\nb AUTHENTICATE PLAIN\r\n",
                    "* CAPABILITY x\r\na OK x\r\n+ \r\n",
                ),
                ("AGpvAHB3\r\n", "b OK x\r\n"),
                ("a NOOP\r\na LOGIN {2}\r\n", "a OK x\r\n+ go\r\n"),
                ("jo {4}\r\n", "+ go\r\n"),
                ("pass\r\n", "a NO x\r\n"),
                ("a LOGIN {999}\r\n", "* BAD x\r\n"),
                ("b NOOP\r\n", "b OK x\r\n"),
            ]),
            &[
                ("INBOX", Addresses),
                ("c NOOP x\n", Body),
                ("AGpvAHB3", Secret),
                ("2", SecretLength),
                ("jo", Secret),
                ("4", SecretLength),
                ("pass", Secret),
                ("999", SecretLength),
                ("", Secret),
            ],
        );
    }

    #[test]
    fn what_is_no_command_may_be_a_password() {
        use Class::{Secret, SecretWord};
        is(
            &classes(&[
                ("login jo pw\r\n", "login BAD x\r\n"),
                ("a AUTHENTICATE X\r\nAGpvAHB3\r\n", "a NO x\r\n"),
                ("a NOOP pw\r\n", "a BAD x\r\n"),
                ("b OGIN jo pw", ""),
            ]),
            &[
                ("login", Secret),
                ("jo", Secret),
                ("pw", Secret),
                ("X", SecretWord),
                ("AGpvAHB3", Secret),
                ("pw", Secret),
                ("b OGIN jo pw", Secret),
            ],
        );
    }
}
