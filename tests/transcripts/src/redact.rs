//! What is taken out of a recorded session before it is written.
//!
//! Always: what proves who somebody is. By default also local parts (each becomes another name of the same length, the
//! same one each time), and what messages say (filler of the same length and line breaks). Only what went *into* the
//! machine is changed; what came out is then made anew by the machine itself, so nothing of the original can be left in it,
//! and the file replays. Where it is not sure what octets are, they become filler.

mod hosts;
mod imap_arguments;
mod imap_commands;
mod imap_rows;
mod names;
mod smtp_commands;
mod smtp_paths;
mod smtp_replies;
mod words;

use mox_imap::server as imap;
use mox_smtp::wire::{base64_decode, xtext_encode};
use mox_smtp::{client, server};
use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::capture::{Capture, Item};
use crate::spelled::{SECRET_TOKEN, Spelled};
pub(crate) use words::Words;

/// What octets of the peer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// They prove who somebody is.
    Secret,
    /// The same where base64 was expected, and it is none.
    BrokenSecret,
    /// Digits that tell the length of a secret.
    SecretLength,
    /// A word where one of a few was expected, and none of them: perhaps it proves who somebody is.
    SecretWord,
    /// Part of a message; dots at the start of a line may be doubled.
    Body,
    /// Text that somebody wrote.
    Text,
    /// What nobody understands: its punctuation stays, so that it is refused as it was.
    Words,
    /// A local part, or another name that somebody gave.
    Local,
    /// Text that may hold addresses.
    Addresses,
    /// The address of a computer.
    Network,
}

/// What stands in the place of a secret that is no base64.
const NO_BASE64: &str = "???";

/// Octets of the stream of the peer, and what they are.
pub(crate) type Span = (Range<usize>, Class);

impl Class {
    fn is_secret(self) -> bool {
        matches!(
            self,
            Self::Secret | Self::BrokenSecret | Self::SecretLength | Self::SecretWord
        )
    }

    /// Of what was said to prove who somebody is.
    fn of_sasl(octets: &[u8]) -> Self {
        match base64_decode(octets) {
            Some(_) => Self::Secret,
            None => Self::BrokenSecret,
        }
    }
}

/// The protocol's part of redaction.
pub trait Redact: Spelled {
    /// An answer without what is private.
    fn redact_answer(answer: Self::Answer, words: &mut Redactor) -> Self::Answer;
    #[doc(hidden)]
    fn spans(stream: &[u8], events: &[Heard<'_>]) -> Vec<Spanned>;
}

/// Opaque to others.
#[derive(Debug)]
pub struct Spanned(Span);

/// What happened, as far as it tells which octets are what.
#[derive(Debug)]
#[doc(hidden)]
pub enum Heard<'a> {
    /// The peer's stream is known up to here.
    Until(usize),
    /// The machine sent this.
    Sent(&'a [u8]),
}

/// The names of one redaction.
#[derive(Debug)]
pub struct Redactor {
    words: Words,
    /// The next octet of the message that a client sends is at the start of a line.
    line_start: words::LineStart,
}

impl Redactor {
    /// The same key gives the same names.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            words: Words::new(key),
            line_start: words::LineStart::default(),
        }
    }
}

/// The received octets of all items as one stream, and what happened in between.
fn stream<W>(items: &[&Item<W>]) -> (Vec<u8>, Vec<Range<usize>>) {
    let mut stream = Vec::new();
    let mut places = Vec::new();
    for item in items {
        if let Item::Received(octets) = item {
            places.push(stream.len()..stream.len() + octets.len());
            stream.extend_from_slice(octets);
        }
    }
    (stream, places)
}

fn spans_of<S: Redact>(items: &[&Item<S::Answer>], stream: &[u8]) -> Vec<Span> {
    let mut until = 0;
    let heard: Vec<Heard<'_>> = items
        .iter()
        .filter_map(|item| match item {
            Item::Received(octets) => {
                until += octets.len();
                Some(Heard::Until(until))
            }
            Item::Sent(octets) => Some(Heard::Sent(octets)),
            _ => None,
        })
        .collect();
    let spans = S::spans(stream, &heard);
    spans.into_iter().map(|Spanned(span)| span).collect()
}

/// Puts [`SECRET_TOKEN`] in the place of what proves who somebody is. Where there is nothing of that kind, it returns what
/// the octets are.
pub(crate) fn hide_secrets<S: Redact>(items: &mut [Item<S::Answer>]) -> Option<Vec<Span>> {
    let all: Vec<_> = items.iter().collect();
    let (stream, places) = stream(&all);
    let spans = spans_of::<S>(&all, &stream);
    if !spans.iter().any(|(_, class)| class.is_secret()) {
        return Some(spans);
    }
    put_back(items.iter_mut(), &stream, &places, &spans);
    hide_echoes(items, &stream, &spans);
    None
}

/// IMAP repeats the first word of a line, also when that was no tag.
fn hide_echoes<W>(items: &mut [Item<W>], stream: &[u8], spans: &[Span]) {
    let secrets: BTreeSet<&[u8]> = spans
        .iter()
        .filter(|(_, class)| *class == Class::Secret)
        .filter_map(|(range, _)| stream.get(range.clone()))
        .filter(|secret| !secret.is_empty())
        .collect();
    for item in items {
        let Item::Sent(octets) = item else {
            continue;
        };
        let is_echo = |line: &[u8]| {
            let word = line.split(|&b| b == b' ').next().unwrap_or_default();
            let state = line.get(word.len() + 1..).unwrap_or_default();
            let known = [&b"OK "[..], b"NO ", b"BAD "];
            (secrets.contains(word) && known.iter().any(|known| state.starts_with(known)))
                .then_some(word.len())
        };
        let mut hidden = Vec::with_capacity(octets.len());
        for line in octets.split_inclusive(|&b| b == b'\n') {
            let echo = is_echo(line);
            if echo.is_some() {
                hidden.extend_from_slice(SECRET_TOKEN.as_bytes());
            }
            hidden.extend_from_slice(line.get(echo.unwrap_or(0)..).unwrap_or_default());
        }
        *octets = hidden;
    }
}

fn put_back<'a, W: 'a>(
    items: impl Iterator<Item = &'a mut Item<W>>,
    stream: &[u8],
    places: &[Range<usize>],
    spans: &[Span],
) {
    let received = items.filter_map(|item| match item {
        Item::Received(octets) => Some(octets),
        _ => None,
    });
    // Both are in order, so that nothing is looked at twice.
    let mut spans = spans;
    for (octets, place) in received.zip(places) {
        let before = spans
            .iter()
            .take_while(|(range, _)| range.end <= place.start);
        spans = spans.get(before.count()..).unwrap_or_default();
        let here = spans
            .iter()
            .take_while(|(range, _)| range.start < place.end);
        octets.clear();
        let mut at = place.start;
        for (range, class) in here {
            let by = match class {
                Class::Secret => SECRET_TOKEN.to_owned(),
                Class::BrokenSecret => NO_BASE64.to_owned(),
                Class::SecretLength => SECRET_TOKEN.len().to_string(),
                Class::SecretWord => "x".repeat(range.len()),
                _ => continue,
            };
            if range.end <= at {
                continue;
            }
            octets.extend_from_slice(stream.get(at..range.start.max(at)).unwrap_or_default());
            // A secret that came in two parts is written with its first.
            if range.start >= place.start {
                octets.extend_from_slice(by.as_bytes());
            }
            at = range.end.min(place.end);
        }
        octets.extend_from_slice(stream.get(at..place.end).unwrap_or_default());
    }
}

/// What was seen in a recording before it was changed.
struct Before {
    /// The kinds of its replies.
    outline: Vec<String>,
    /// A comment for each message, and where it ends in what the peer said.
    bodies: Vec<(usize, String)>,
}

impl<S: Redact> Capture<S> {
    /// Takes out what is private. The error says why the machine could not be run on what is left; what is there then is
    /// nothing to be shown.
    pub fn redact(&mut self, key: [u8; 32]) -> Result<(), String> {
        let mut redactor = Redactor::new(key);
        let before = self.redact_input(&mut redactor);
        self.answer_anew(|ask| redactor.words.text(ask))?;
        self.redacted(before);
        Ok(())
    }

    /// The same, but where the machine cannot be run any further the recording ends, before what its peer said last there.
    /// What the machine does not survive is kept, as the last thing. False when it ends so.
    pub fn redact_to_where_it_fails(&mut self, key: [u8; 32]) -> bool {
        let mut redactor = Redactor::new(key);
        let before = self.redact_input(&mut redactor);
        let renamed = |ask: &str| redactor.words.text(ask);
        let run = AssertUnwindSafe(|| self.answer_anew(renamed));
        let ended = match catch_unwind(run) {
            Ok(Ok(())) => None,
            Ok(Err(_)) => {
                let is_said =
                    |(_, item): &(usize, Item<S::Answer>)| matches!(item, Item::Received(_));
                let last = self.items.iter().rposition(is_said).unwrap_or(0);
                self.items.truncate(last);
                Some("# what followed could not be redacted")
            }
            Err(_) => Some("# this is where the machine stops in a panic"),
        };
        self.truncated |= ended.is_some();
        self.redacted(before);
        let note = ended.map(|note| (0, Item::Comment(note.into())));
        self.items.extend(note);
        ended.is_none()
    }

    fn redact_input(&mut self, redactor: &mut Redactor) -> Before {
        let outline = outline(self.items.iter().map(|(_, item)| item));
        let (bodies, redacted) = {
            let all: Vec<_> = self.items.iter().map(|(_, item)| item).collect();
            let (mut stream, places) = stream(&all);
            let known = self.spans.take();
            let spans = known.unwrap_or_else(|| spans_of::<S>(&all, &stream));
            let bodies = bodies(&stream, &spans, &redactor.words);
            for (range, class) in &spans {
                let Some(octets) = stream.get_mut(range.clone()) else {
                    continue;
                };
                match class {
                    secret if secret.is_secret() => {}
                    Class::Body => words::fill(octets, &mut words::LineStart::default()),
                    Class::Text => words::fill_text(octets),
                    Class::Words => words::fill_words(octets),
                    Class::Local => redactor.words.rename(octets),
                    Class::Network => redactor.words.move_address(octets),
                    _ => redactor.words.rename_addresses(octets),
                }
            }
            (bodies, (stream, places, spans))
        };
        let (stream, places, spans) = redacted;
        let items = self.items.iter_mut().map(|(_, item)| item);
        put_back(items, &stream, &places, &spans);
        for (_, item) in &mut self.items {
            match item {
                Item::Answered(_, answer) | Item::Pieces(_, answer) => {
                    *answer = S::redact_answer(answer.clone(), redactor);
                }
                // What others wrote beside it is theirs to say again.
                Item::Comment(comment) if !is_about_tls(comment) => {
                    *comment = String::new();
                }
                _ => {}
            }
        }
        self.items
            .retain(|(_, item)| !matches!(item, Item::Comment(text) if text.is_empty()));
        Before { outline, bodies }
    }

    /// What came out was made anew.
    fn redacted(&mut self, before: Before) {
        let said = self.items.iter().map(|(_, item)| match item {
            Item::Received(octets) => octets.len(),
            _ => 0,
        });
        let said = said.sum();
        let after = outline(self.items.iter().map(|(_, item)| item));
        let bodies = before.bodies.into_iter();
        let bodies = bodies.filter(|(end, _)| !self.truncated || *end <= said);
        let bodies: Vec<_> = bodies.map(|(_, body)| (0, Item::Comment(body))).collect();
        self.items.extend(bodies);
        let ends_early = self.truncated && before.outline.starts_with(&after);
        if before.outline != after && !ends_early {
            let pairs = before.outline.iter().zip(&after);
            let differs = pairs.clone().position(|(b, a)| b != a);
            let differs = differs.unwrap_or_else(|| pairs.len());
            let note = format!("# redaction changed what is answered from reply {differs} on");
            self.items.push((0, Item::Comment(note)));
        }
        self.about.privacy = "redacted".into();
        self.about.peer = String::new();
        // Whatever else somebody wrote there.
        let listener = self.about.about.split(' ').next().unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        self.about.about = listener
            .split(|c| !is_plain(c))
            .next()
            .unwrap_or_default()
            .into();
    }
}

/// The comment with which a recording tells version and cipher.
fn is_about_tls(comment: &str) -> bool {
    let numbers = comment
        .strip_prefix("# TLS ")
        .and_then(|rest| rest.split_once(", cipher "));
    let is_number = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
    numbers.is_some_and(|(version, cipher)| is_number(version) && is_number(cipher))
}

/// Length and hash of each message.
fn bodies(stream: &[u8], spans: &[Span], words: &Words) -> Vec<(usize, String)> {
    spans
        .iter()
        .filter(|(_, class)| *class == Class::Body)
        .filter_map(|(range, _)| Some((range.end, stream.get(range.clone())?)))
        .map(|(end, body)| {
            let (length, hash) = (body.len(), words.hash(body));
            let comment = format!("# a message of {length} octets as sent, hash {hash}");
            (end, comment)
        })
        .collect()
}

/// The kinds of the replies: codes in SMTP, tags and OK, NO, BAD in IMAP.
fn outline<'a, W: 'a>(items: impl Iterator<Item = &'a Item<W>>) -> Vec<String> {
    let mut sent = Vec::new();
    for item in items {
        if let Item::Sent(octets) = item {
            sent.extend_from_slice(octets);
        }
    }
    let mut replies = Vec::new();
    for line in sent.split(|&b| b == b'\n') {
        let mut words = line.split(|&b| b == b' ' || b == b'\r');
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        let code = first.get(..3).filter(|c| c.iter().all(u8::is_ascii_digit));
        if let Some(code) = code {
            replies.push(String::from_utf8_lossy(code).into_owned());
        } else if matches!(second, Some(b"OK" | b"NO" | b"BAD")) {
            let second = second.unwrap_or_default();
            replies.push(format!(
                "{} {}",
                String::from_utf8_lossy(first),
                String::from_utf8_lossy(second)
            ));
        }
    }
    replies
}

impl Redact for server::Server {
    fn redact_answer(answer: server::Answer, redactor: &mut Redactor) -> server::Answer {
        let words = &redactor.words;
        match answer {
            server::Answer::Reply(reply) => server::Answer::Reply(words.reply(reply)),
            server::Answer::SlowReply(reply) => server::Answer::SlowReply(words.reply(reply)),
            server::Answer::Each(replies) => {
                server::Answer::Each(replies.into_iter().map(|r| words.reply(r)).collect())
            }
            server::Answer::Authenticated(user) => server::Answer::Authenticated(words.user(&user)),
            other => other,
        }
    }

    fn spans(stream: &[u8], events: &[Heard<'_>]) -> Vec<Spanned> {
        smtp_commands::spans(stream, events)
    }
}

impl Redact for client::Client {
    fn redact_answer(answer: client::Answer, redactor: &mut Redactor) -> client::Answer {
        match answer {
            client::Answer::Send(mut transaction) => {
                let words = &redactor.words;
                redactor.line_start = words::LineStart::default();
                transaction.from = transaction.from.map(|path| words.path(&path));
                transaction.to = transaction.to.iter().map(|path| words.path(path)).collect();
                let id = transaction.dsn.envelope_id.take();
                transaction.dsn.envelope_id = id.map(|id| "x".repeat(id.len()).into());
                for (dsn, to) in transaction.rcpt_dsn.iter_mut().zip(&transaction.to) {
                    let address = |_| format!("rfc822;{}", xtext_encode(to.to_string().as_bytes()));
                    dsn.original = dsn.original.take().map(address).map(Into::into);
                }
                client::Answer::Send(transaction)
            }
            client::Answer::Piece(octets) => {
                let mut octets = octets.to_vec();
                words::fill(&mut octets, &mut redactor.line_start);
                client::Answer::Piece(octets.into())
            }
            other => other,
        }
    }

    fn spans(stream: &[u8], _: &[Heard<'_>]) -> Vec<Spanned> {
        smtp_replies::spans(stream)
    }
}

impl Redact for imap::Server {
    fn redact_answer(answer: imap::Answer, redactor: &mut Redactor) -> imap::Answer {
        imap_rows::answer(answer, &redactor.words)
    }

    fn spans(stream: &[u8], events: &[Heard<'_>]) -> Vec<Spanned> {
        imap_commands::spans(stream, events)
    }
}
