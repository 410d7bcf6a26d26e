//! A recorded session: from its tape, from a file, and as a file.

use core::time::Duration;
use mox_machine::{AskId, Civil, Mono, Now, Record, Seed, Tape, Utc};
use std::collections::VecDeque;
use std::fmt::Write;

use crate::escape::{escape, unescape};
use crate::format::{Entry, FormatError, Transcript};
use crate::spelled::{SECRET, SECRET_TOKEN, Spelled};

/// What a header says of where a session was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// For people: the listener.
    pub about: String,
    /// The address of the other side; nothing when it is not told.
    pub peer: String,
    /// `redacted` or `plain`.
    pub privacy: String,
    /// The machine's configuration as RON.
    pub config: String,
}

/// A recorded session. Secrets are gone from it: [`SECRET_TOKEN`] stands in their places.
#[derive(Debug)]
pub struct Capture<S: Spelled> {
    /// What its header says.
    pub about: About,
    /// When it began.
    pub clock: Utc,
    /// The seed of the session.
    pub seed: Seed,
    /// It ends before the session did.
    pub truncated: bool,
    /// Which octets of the peer are what, when that is known and nothing was hidden since.
    pub(crate) spans: Option<Vec<crate::redact::Span>>,
    /// What happened, each with its line in the file, from 1; 0 when it comes from no file.
    pub(crate) items: Vec<(usize, Item<S::Answer>)>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item<W> {
    /// Octets of the peer.
    Received(Vec<u8>),
    /// Octets for the peer.
    Sent(Vec<u8>),
    /// This ask was answered.
    Answered(String, W),
    /// The pieces of the message up to this octet were answered.
    Pieces(u64, W),
    /// An event, or what the machine wants of the stream (`starttls`, `close`).
    Fact(String),
    /// `tls`, `eof`, `drain`, `tick`, [`AT_ONCE`].
    Transport(String),
    /// Time passed.
    Wait(Duration),
    /// For people.
    Comment(String),
}

/// Between two answers: the machine was not asked for more in between.
pub(crate) const AT_ONCE: &str = "at once";

/// Times shorter than this are not told apart: no limit is that short.
const RESOLUTION: Duration = Duration::from_millis(1);

impl<S: crate::Redact> Capture<S> {
    /// From a tape, up to `max` octets. What proves who somebody is does not get in.
    pub fn of_tape(tape: &Tape<S>, about: About, seed: Seed, max: usize) -> Self {
        let mut builder = Builder::<S> {
            items: Vec::new(),
            open: Vec::new(),
            pieces: VecDeque::new(),
            message: 0,
            offset: 0,
            answered_in: 0,
            told: Vec::new(),
            challenges: Vec::new(),
            at: tape.start().mono,
            answered: None,
            taken: 0,
        };
        let mut truncated = tape.is_truncated();
        for (at, record, octets) in tape.records() {
            builder.take(at, record, octets);
            if builder.taken > max {
                truncated = true;
                break;
            }
        }
        let mut items = builder.items;
        let spans = crate::redact::hide_secrets::<S>(&mut items);
        Self {
            about,
            clock: tape.start().utc,
            seed,
            truncated,
            spans,
            items: items.into_iter().map(|item| (0, item)).collect(),
        }
    }
}

impl<S: Spelled> Capture<S> {
    /// From a file whose `machine` is this one.
    pub fn parse(transcript: &Transcript) -> Result<Self, FormatError> {
        let header = |name: &str| transcript.get(name).unwrap_or_default().to_owned();
        let wrong = |name: &str, reason| {
            let line = transcript.header.iter().position(|(n, _)| n == name);
            FormatError {
                line: line.map_or(1, |at| at + 1),
                reason,
            }
        };
        let seed = parse_seed(&header("seed"))
            .ok_or_else(|| wrong("seed", "the seed is 64 hexadecimal digits"))?;
        let clock = parse_clock(&header("clock"))
            .ok_or_else(|| wrong("clock", "the clock is like 2026-01-02T03:04:05Z"))?;
        let mut capture = Self {
            about: About {
                about: header("about"),
                peer: header("peer"),
                privacy: header("privacy"),
                config: transcript.get("config").unwrap_or("()").to_owned(),
            },
            clock,
            seed,
            truncated: transcript.get("truncated").is_some(),
            spans: None,
            items: Vec::new(),
        };
        let mut ask = None;
        for line in &transcript.body {
            let number = line.number;
            let mut place = number;
            let failed = |reason| FormatError {
                line: number,
                reason,
            };
            let octets = |text: &str| unescape(&text.replace(SECRET, SECRET_TOKEN));
            let item = match &line.entry {
                Entry::Text(who, text) => {
                    let mut octets = text.replace(SECRET, SECRET_TOKEN).into_bytes();
                    octets.extend_from_slice(b"\r\n");
                    said::<S>(*who, octets)
                }
                Entry::Exact(who, text) => {
                    said::<S>(*who, octets(text).map_err(|_| failed("no such escape"))?)
                }
                Entry::Ask(text) => {
                    ask = Some((number, text.clone()));
                    continue;
                }
                Entry::Answer(1, text) => {
                    let read = |text: &str| {
                        S::parse_answer(text).ok_or_else(|| failed("no answer that is known"))
                    };
                    match text.strip_prefix("piece-to ") {
                        Some(rest) => {
                            let (offset, rest) = rest
                                .split_once(' ')
                                .and_then(|(n, rest)| Some((n.parse().ok()?, rest)))
                                .ok_or_else(|| failed("`! piece-to <octets> <answer>`"))?;
                            Item::Pieces(offset, read(rest)?)
                        }
                        None => {
                            let (asked, ask) = ask.take().ok_or_else(|| {
                                failed("an answer stands behind the line of its ask")
                            })?;
                            place = asked;
                            Item::Answered(ask, read(text)?)
                        }
                    }
                }
                Entry::Fact(text) => Item::Fact(text.clone()),
                Entry::Transport(text) => Item::Transport(text.clone()),
                Entry::Wait(..) => Item::Wait(line.entry.wait().unwrap_or_default()),
                Entry::Comment(text) => Item::Comment(text.clone()),
                Entry::Attached(..) | Entry::Answer(..) => {
                    return Err(failed("this is not in a capture"));
                }
            };
            if !matches!(item, Item::Comment(_)) && ask.is_some() {
                return Err(failed("the answer to the ask before it is missing"));
            }
            // What the peer says in lines that follow each other goes in together.
            match (item, capture.items.last_mut()) {
                (Item::Received(more), Some((_, Item::Received(octets)))) => octets.extend(more),
                (item, _) => capture.items.push((place, item)),
            }
        }
        Ok(capture)
    }

    /// As a file.
    pub fn to_text(&self) -> String {
        self.to_text_within(usize::MAX)
    }

    /// As a file of at most `max` octets: what does not fit is left out at the end. The header is written in any case.
    pub fn to_text_within(&self, max: usize) -> String {
        let mut body = String::new();
        // For the line that says so.
        let max = max.saturating_sub(self.header(true).len() + 1);
        let mut whole = true;
        for (_, item) in &self.items {
            let before = body.len();
            write_item::<S>(&mut body, item);
            if body.len() > max {
                body.truncate(before);
                whole = false;
                break;
            }
        }
        let mut text = self.header(self.truncated || !whole);
        text.push('\n');
        text.push_str(&body);
        text
    }

    fn header(&self, truncated: bool) -> String {
        let mut text = String::new();
        let mut header = |name: &str, value: &str| {
            if !value.is_empty() {
                // One line each: a header cannot be continued.
                let value: String = value.chars().filter(|c| !c.is_control()).collect();
                let _ = writeln!(text, "{name}: {value}");
            }
        };
        header("machine", S::NAME);
        header("about", &self.about.about);
        header("peer", &self.about.peer);
        header("world", "captured");
        header("privacy", &self.about.privacy);
        header("clock", &clock_text(self.clock));
        let seed: String = self
            .seed
            .bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        header("seed", &seed);
        header("config", &self.about.config);
        if truncated {
            header("truncated", "the session went on; this is its beginning");
        }
        text
    }
}

fn said<S: Spelled>(who: char, octets: Vec<u8>) -> Item<S::Answer> {
    if who == S::SIDE {
        Item::Sent(octets)
    } else {
        Item::Received(octets)
    }
}

fn write_item<S: Spelled>(text: &mut String, item: &Item<S::Answer>) {
    let peer = if S::SIDE == 'S' { 'C' } else { 'S' };
    // Writing to a String cannot fail.
    let _ = match item {
        Item::Received(octets) => {
            write_octets(text, peer, octets);
            Ok(())
        }
        Item::Sent(octets) => {
            write_octets(text, S::SIDE, octets);
            Ok(())
        }
        Item::Answered(ask, answer) => {
            writeln!(text, "? {ask}\n! {}", S::answer_text(answer))
        }
        Item::Pieces(offset, answer) => {
            writeln!(text, "! piece-to {offset} {}", S::answer_text(answer))
        }
        Item::Fact(fact) => writeln!(text, "= {fact}"),
        Item::Transport(what) => writeln!(text, "@ {what}"),
        Item::Wait(time) => {
            let nanos = time.as_nanos();
            let (unit, name) = [
                (1_000_000_000, "s"),
                (1_000_000, "ms"),
                (1_000, "us"),
                (1, "ns"),
            ]
            .into_iter()
            .find(|(unit, _)| nanos.is_multiple_of(*unit))
            .unwrap_or((1, "ns"));
            writeln!(text, "+ {}{name}", nanos / unit)
        }
        Item::Comment(comment) => writeln!(text, "{comment}"),
    };
}

/// Lines of one side. What stands for a secret is written as such, and text that only looks so is not.
pub(crate) fn write_octets(text: &mut String, side: char, octets: &[u8]) {
    let mut rest = octets;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        // Nearly all lines are plain text without anything that could stand for a secret.
        match line
            .strip_suffix(b"\r\n")
            .map(|line| (is_plain(line), str::from_utf8(line)))
        {
            Some((true, Ok(plain))) => {
                text.push(side);
                text.push_str(": ");
                text.push_str(plain);
                text.push('\n');
            }
            _ => {
                text.push_str(&octets_line(side, line));
                text.push('\n');
            }
        }
    }
}

/// Printable, and nothing in it that stands for a secret or looks so.
fn is_plain(line: &[u8]) -> bool {
    // Without a way out in between it is done many octets at a time.
    let printable = |all, &b: &u8| all & (b' '..=b'~').contains(&b) & (b != b'<');
    let may_be_token = || memchr::memchr(b'P', line).is_some();
    line.iter().fold(true, printable)
        && !(may_be_token() && memchr::memmem::find(line, SECRET_TOKEN.as_bytes()).is_some())
}

pub(crate) fn octets_line(side: char, line: &[u8]) -> String {
    let whole = line.strip_suffix(b"\r\n").map(str::from_utf8);
    match whole {
        Some(Ok(plain)) if !plain.contains(|c: char| c.is_control()) && !plain.contains(SECRET) => {
            format!("{side}: {}", plain.replace(SECRET_TOKEN, SECRET))
        }
        _ => {
            let escaped = escape(line).replace(SECRET, "\\x3csecret>");
            format!("{side}| {}", escaped.replace(SECRET_TOKEN, SECRET))
        }
    }
}

/// Turns what a tape holds into what a file says.
struct Builder<S: Spelled> {
    items: Vec<Item<S::Answer>>,
    open: Vec<(AskId, String)>,
    /// Unanswered pieces of messages: of which message, and where each ends in it.
    pieces: VecDeque<(AskId, u32, u64)>,
    message: u32,
    offset: u64,
    /// Of which message the last answered piece was.
    answered_in: u32,
    /// Which items are answers to which asks.
    told: Vec<(AskId, usize)>,
    /// What went to the peer to prove who somebody is, in base64.
    challenges: Vec<Vec<u8>>,
    /// Time as far as it was written.
    at: Mono,
    /// When the last record was made, if it was an answer.
    answered: Option<Mono>,
    /// Octets of what was said, asked, answered and told.
    taken: usize,
}

impl<S: Spelled> Builder<S> {
    fn take(&mut self, at: Mono, record: &Record<S::Ask, S::Answer, S::Event>, octets: &[u8]) {
        let answered = self.answered.take();
        self.taken += octets.len() + size_of::<Item<S::Answer>>();
        match record {
            Record::Received(_) => {
                self.pass(at, false);
                self.items.push(Item::Received(octets.to_vec()));
            }
            Record::Eof => self.transport(at, "eof"),
            Record::Secured(version, cipher) => {
                self.transport(at, "tls");
                self.items.push(Item::Comment(format!(
                    "# TLS {version:04x}, cipher {cipher:04x}"
                )));
            }
            Record::Tick => self.transport(at, "tick"),
            Record::Drain => self.transport(at, "drain"),
            Record::Answered(id, answer) => {
                self.taken += S::answer_weight(answer);
                self.answered(at, *id, answer, answered == Some(at));
                self.answered = Some(at);
            }
            Record::Asked(id, ask) => {
                self.offset = 0;
                self.message += 1;
                let text = S::ask_text(ask);
                self.taken += text.len();
                self.open.push((*id, text));
            }
            Record::Piece(id, length) => {
                self.offset += *length as u64;
                self.pieces.push_back((*id, self.message, self.offset));
            }
            Record::Cancelled(id) => {
                self.open.retain(|(open, _)| open != id);
                self.pieces.retain(|(piece, ..)| piece != id);
                // The answer came when the machine did not want it any more.
                if let Some((_, place)) = self.told.iter().find(|(told, _)| told == id) {
                    let note = "# an answer that was not wanted any more";
                    let before = place.checked_sub(1).and_then(|at| self.items.get_mut(at));
                    if let Some(item) = before
                        && matches!(item, Item::Transport(what) if what == AT_ONCE)
                    {
                        *item = Item::Comment(note.into());
                    }
                    if let Some(item) = self.items.get_mut(*place) {
                        *item = Item::Comment(note.into());
                    }
                }
            }
            Record::Sent(_) => self.sent(octets),
            Record::Event(event) => {
                if let Some(text) = S::event_text(event) {
                    // An event of any text stays on its line.
                    let text = text.replace(['\r', '\n'], " ");
                    self.taken += text.len();
                    self.items.push(Item::Fact(text));
                }
            }
            Record::StartTls => self.items.push(Item::Fact("starttls".into())),
            Record::Compress => self.items.push(Item::Fact("compress".into())),
            Record::Closed => self.items.push(Item::Fact("close".into())),
        }
    }

    fn transport(&mut self, at: Mono, what: &str) {
        // A deadline must have come when the machine is told so.
        self.pass(at, what == "tick");
        self.items.push(Item::Transport(what.into()));
    }

    fn pass(&mut self, at: Mono, exactly: bool) {
        let time = at.since(self.at);
        if time >= RESOLUTION || (exactly && !time.is_zero()) {
            let time = match exactly {
                true => time,
                false => Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            };
            self.at = self.at + time;
            self.items.push(Item::Wait(time));
        }
    }

    /// `at_once`: right behind another answer, the machine was not asked for more in between.
    fn answered(&mut self, at: Mono, id: AskId, answer: &S::Answer, at_once: bool) {
        if let Some(place) = self.open.iter().position(|(open, _)| *open == id) {
            let (_, ask) = self.open.remove(place);
            self.pass(at, false);
            let mut told = answer.clone();
            if let Some(octets) = S::challenge(answer).filter(|octets| !octets.is_empty()) {
                self.challenges.push(crate::base64::encode(octets));
                // As a file says it, without what it really was.
                let Some(hidden) = S::parse_answer(&S::answer_text(answer)) else {
                    return;
                };
                told = hidden;
            }
            if at_once && matches!(self.items.last(), Some(Item::Answered(..))) {
                self.items.push(Item::Transport(AT_ONCE.into()));
            }
            self.told.push((id, self.items.len()));
            self.items.push(Item::Answered(ask, told));
        } else if let Some(place) = self.pieces.iter().position(|(piece, ..)| *piece == id) {
            let Some((_, message, end)) = self.pieces.remove(place) else {
                return;
            };
            let goes_on = core::mem::replace(&mut self.answered_in, message) == message;
            let is_accept = S::answer_text(answer) == S::answer_text(&S::accept());
            if let Some(Item::Pieces(last, before)) = self.items.last_mut()
                && is_accept
                && goes_on
                && S::answer_text(before) == S::answer_text(answer)
                && *last < end
            {
                *last = end;
                return;
            }
            self.pass(at, false);
            self.items.push(Item::Pieces(end, answer.clone()));
        }
    }

    fn sent(&mut self, octets: &[u8]) {
        let mut octets = octets.to_vec();
        for challenge in &self.challenges {
            octets = replace(&octets, challenge, SECRET_TOKEN.as_bytes());
        }
        match self.items.last_mut() {
            Some(Item::Sent(before)) => before.extend(octets),
            _ => self.items.push(Item::Sent(octets)),
        }
    }
}

/// Every occurrence of `what` replaced.
pub(crate) fn replace(octets: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some(at) = memchr::memmem::find(rest, what).filter(|_| !what.is_empty()) {
        let (before, behind) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(by);
        rest = behind.get(what.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// 64 hexadecimal digits; a plain number, as in files written by hand; nothing is the number 0.
fn parse_seed(text: &str) -> Option<Seed> {
    if text.len() < 64 {
        return match text {
            "" => Some(Seed::from_number(0)),
            number => Some(Seed::from_number(number.parse().ok()?)),
        };
    }
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Seed::new(bytes))
}

/// RFC 3339 in UTC, with microseconds where it is not a whole second: replies may have the time in them, and a session that crosses a
/// second does so in its replay too.
fn clock_text(clock: Utc) -> String {
    let whole = clock.to_string();
    match clock.0.rem_euclid(1_000_000) {
        0 => whole,
        micros => format!("{}.{micros:06}Z", whole.trim_end_matches('Z')),
    }
}

/// The same; nothing is 2026-01-02T03:04:05Z.
fn parse_clock(text: &str) -> Option<Utc> {
    if text.is_empty() {
        return Some(Utc::from_secs(1_767_323_045));
    }
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, micros) = match time.split_once('.') {
        Some((time, fraction)) => (time, micros(fraction)?),
        None => (time, 0),
    };
    let mut date = date.split('-');
    let mut time = time.split(':');
    let civil = Civil {
        year: date.next()?.parse().ok()?,
        month: date.next()?.parse().ok()?,
        day: date.next()?.parse().ok()?,
        hour: time.next()?.parse().ok()?,
        minute: time.next()?.parse().ok()?,
        second: time.next()?.parse().ok()?,
    };
    let is_all = date.next().is_none() && time.next().is_none();
    is_all.then(|| Utc(Utc::from_civil(&civil).0 + micros))
}

/// Up to six digits behind the point of seconds.
fn micros(fraction: &str) -> Option<i64> {
    let is_number = fraction.bytes().all(|b| b.is_ascii_digit());
    ((1..=6).contains(&fraction.len()) && is_number)
        .then(|| format!("{fraction:0<6}").parse().ok())?
}

/// Where the monotonic clock of a replay begins.
pub(crate) fn start_of(clock: Utc) -> Now {
    Now {
        mono: Mono(1_000_000_000),
        utc: clock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_as_it_was_written() {
        let start = Utc::from_secs(1_767_323_045);
        for (micros, text) in [
            (0, "2026-01-02T03:04:05Z"),
            (1, "2026-01-02T03:04:05.000001Z"),
            (999_999, "2026-01-02T03:04:05.999999Z"),
        ] {
            let clock = Utc(start.0 + micros);
            assert_eq!(clock_text(clock), text);
            assert_eq!(parse_clock(text), Some(clock));
        }
        assert_eq!(
            parse_clock("2026-01-02T03:04:05.25Z"),
            Some(Utc(start.0 + 250_000))
        );
        for wrong in [
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.1234567Z",
            "2026-01-02T03:04:05.-1Z",
        ] {
            assert_eq!(parse_clock(wrong), None, "{wrong}");
        }
    }
}
