//! Plays a transcript against a machine, whole and cut in every way.

use std::collections::BTreeMap;
use std::time::Duration;

use mox_machine::Seed;

use crate::escape::{escape, unescape};
use crate::format::{Entry, Transcript};

/// A machine with its world, as a transcript sees it. Every call runs until nothing moves any more.
pub trait Machine {
    /// Who it is in the transcript: `S` for a server, `C` for a client.
    fn side(&self) -> char;
    /// Octets from the peer.
    fn feed(&mut self, bytes: &[u8]);
    /// `@ tls`, `@ eof`, `@ drain`; false when there is no such thing.
    fn transport(&mut self, what: &str) -> bool;
    /// Time passes; deadlines fire on the way.
    fn wait(&mut self, time: Duration);
    /// Answers the open ask of that place, from 0; false when there is none or the answer is not understood.
    fn answer(&mut self, place: usize, answer: &str) -> bool;
    /// What came out since the last call.
    fn take(&mut self) -> Vec<Fact>;
}

/// What comes out of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Octets for the peer.
    Sent(Vec<u8>),
    /// An open ask.
    Ask(String),
    /// An event, or what the machine wants of the stream (`starttls`, `close`).
    Event(String),
}

/// Plays a transcript in all its modes. The error names the line, what was expected and what came.
pub fn run<M: Machine>(
    transcript: &Transcript,
    make: impl Fn(&Transcript) -> Result<M, String>,
) -> Result<(), String> {
    let size = play(transcript, &mut make(transcript)?, &Cut::Whole)
        .map_err(|why| format!("{why} (whole)"))?;
    let modes = transcript.get("modes").unwrap_or("whole bytes splits");
    for mode in modes.split(' ') {
        match mode {
            "whole" => {}
            "bytes" => {
                play(transcript, &mut make(transcript)?, &Cut::Bytes)
                    .map_err(|why| format!("{why} (byte by byte)"))?;
            }
            "splits" => {
                for at in cuts(size) {
                    play(transcript, &mut make(transcript)?, &Cut::At(at))
                        .map_err(|why| format!("{why} (cut at {at})"))?;
                }
            }
            _ => return Err(format!("no mode {mode}")),
        }
    }
    Ok(())
}

/// Plays it whole and returns it with what really came out in place of its S, ? and = lines.
pub fn bless<M: Machine>(
    transcript: &Transcript,
    make: impl Fn(&Transcript) -> Result<M, String>,
) -> Result<Transcript, String> {
    let mut machine = make(transcript)?;
    let side = machine.side();
    let mut blessed = transcript.clone();
    blessed.body.clear();
    let mut number = transcript.header.len() + 1;
    for step in steps(transcript, side) {
        // Comments stay before what follows them.
        step.act(transcript, &mut machine, &mut 0, &Cut::Whole)?;
        let came = lines(machine.take(), side);
        let given = step.input.iter().map(|line| line.entry.clone());
        let mut entries: Vec<Entry> = given.collect();
        if play_matches(&step, &came, &mut BTreeMap::new()).is_ok() {
            entries.extend(step.expected.iter().map(|line| line.entry.clone()));
        } else {
            let comments = step.expected.iter().map(|line| &line.entry);
            let comments: Vec<_> = comments
                .filter(|entry| matches!(entry, Entry::Comment(_)))
                .cloned()
                .collect();
            entries.extend(came);
            entries.extend(comments);
        }
        for entry in entries {
            number += 1;
            blessed.body.push(crate::format::Line { number, entry });
        }
    }
    Ok(blessed)
}

pub(crate) enum Cut {
    Whole,
    Bytes,
    At(usize),
}

/// Every place in a short transcript, 200 random ones in a long one.
pub(crate) fn cuts(size: usize) -> Vec<usize> {
    if size < 4096 {
        return (1..size).collect();
    }
    let mut rng = Seed::from_number(1).rng();
    let mut place = || usize::try_from(rng.below(size as u64)).unwrap_or(0);
    (0..200).map(|_| place()).collect()
}

/// Lines that go in together, and what must come out before the next ones.
#[derive(Default)]
struct Exchange<'a> {
    input: Vec<&'a crate::format::Line>,
    expected: Vec<&'a crate::format::Line>,
}

fn steps(transcript: &Transcript, side: char) -> Vec<Exchange<'_>> {
    let mut steps = vec![Exchange::default()];
    let mut bytes = false;
    for line in &transcript.body {
        let (goes_in, is_bytes) = match &line.entry {
            Entry::Text(who, _) | Entry::Exact(who, _) | Entry::Attached(who, _) => {
                (*who != side, *who != side)
            }
            Entry::Answer(..) | Entry::Transport(_) | Entry::Wait(..) => (true, false),
            Entry::Ask(_) | Entry::Fact(_) | Entry::Comment(_) => (false, false),
        };
        let joins = is_bytes && bytes && steps.last().is_some_and(|s| s.expected.is_empty());
        if goes_in && !joins {
            steps.push(Exchange::default());
        }
        let step = steps.last_mut().expect("it starts with one");
        if goes_in {
            step.input.push(line);
            bytes = is_bytes;
        } else {
            step.expected.push(line);
        }
    }
    steps
}

fn play<M: Machine>(transcript: &Transcript, machine: &mut M, cut: &Cut) -> Result<usize, String> {
    let side = machine.side();
    let mut at = 0;
    let mut captures = BTreeMap::new();
    for step in steps(transcript, side) {
        step.act(transcript, machine, &mut at, cut)?;
        let came = lines(machine.take(), side);
        play_matches(&step, &came, &mut captures)?;
    }
    Ok(at)
}

impl Exchange<'_> {
    fn act<M: Machine>(
        &self,
        transcript: &Transcript,
        machine: &mut M,
        at: &mut usize,
        cut: &Cut,
    ) -> Result<(), String> {
        let mut bytes = Vec::new();
        for line in &self.input {
            let wrong = |what: &str| format!("{}: {what}", line.number);
            match &line.entry {
                Entry::Text(_, text) => {
                    bytes.extend_from_slice(text.as_bytes());
                    bytes.extend_from_slice(b"\r\n");
                }
                Entry::Exact(_, text) => bytes.extend(unescape(text).map_err(|e| wrong(&e))?),
                Entry::Attached(_, name) => {
                    let text = transcript.attachment(name);
                    let text = text.ok_or_else(|| wrong("no such attachment"))?;
                    for line in text.split_inclusive(|&b| b == b'\n') {
                        if line.starts_with(b".") {
                            bytes.push(b'.');
                        }
                        bytes.extend_from_slice(line);
                    }
                }
                Entry::Answer(place, answer) => {
                    if !machine.answer(place.saturating_sub(1), answer) {
                        return Err(wrong("no such ask is open, or no such answer"));
                    }
                }
                Entry::Transport(what) => {
                    if !machine.transport(what) {
                        return Err(wrong("this cannot happen to the stream now"));
                    }
                }
                entry => machine.wait(entry.wait().unwrap_or_default()),
            }
        }
        match cut {
            Cut::Bytes => bytes.chunks(1).for_each(|byte| machine.feed(byte)),
            Cut::At(place) if (*at + 1..*at + bytes.len()).contains(place) => {
                let (one, two) = bytes.split_at(*place - *at);
                machine.feed(one);
                machine.feed(two);
            }
            _ if bytes.is_empty() => {}
            _ => machine.feed(&bytes),
        }
        *at += bytes.len();
        Ok(())
    }
}

/// What came out as lines of a transcript: octets first, then asks, then events. How they interleave inside one
/// exchange depends on how the input was cut; the order among octets, asks and events does not.
fn lines(facts: Vec<Fact>, side: char) -> Vec<Entry> {
    let (mut sent, mut asks, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for fact in facts {
        match fact {
            Fact::Sent(bytes) => sent.extend(bytes),
            Fact::Ask(text) => asks.push(Entry::Ask(text)),
            Fact::Event(text) => events.push(Entry::Fact(text)),
        }
    }
    let line = |line: &[u8]| {
        let text = line.strip_suffix(b"\r\n").map(str::from_utf8);
        match text {
            Some(Ok(text)) if !text.contains(|c: char| c.is_control()) => {
                Entry::Text(side, text.into())
            }
            _ => Entry::Exact(side, escape(line)),
        }
    };
    let sent = sent.split_inclusive(|&b| b == b'\n').map(line);
    sent.chain(asks).chain(events).collect()
}

fn play_matches(
    step: &Exchange<'_>,
    came: &[Entry],
    captures: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let expected: Vec<_> = step
        .expected
        .iter()
        .filter(|line| !matches!(line.entry, Entry::Comment(_)))
        .collect();
    let mut came = came.iter().peekable();
    let mut last = step.input.last().map_or(0, |line| line.number);
    for (at, line) in expected.iter().enumerate() {
        last = line.number;
        let wanted = line.entry.to_string();
        let got = came.next();
        let text = got.map_or_else(|| "nothing".into(), Entry::to_string);
        if got.is_none() || !matches(&wanted, &text, captures) {
            let number = line.number;
            return Err(format!("{number}: expected `{wanted}`, got `{text}`"));
        }
        // `250-...` takes lines until the next expected one matches.
        if wanted.ends_with("-...") {
            let next = expected.get(at + 1).map(|line| line.entry.to_string());
            while let Some(entry) = came.peek() {
                let text = entry.to_string();
                let ends = next
                    .as_ref()
                    .is_some_and(|next| matches(next, &text, &mut captures.clone()));
                if ends || !matches(&wanted, &text, captures) {
                    break;
                }
                came.next();
            }
        }
    }
    match came.next() {
        None => Ok(()),
        Some(entry) => Err(format!("{last}: after it nothing expected, got `{entry}`")),
    }
}

/// Whether a line fits: `...` stands for anything, `$name` for a word that is the same each time.
fn matches(pattern: &str, text: &str, captures: &mut BTreeMap<String, String>) -> bool {
    let special = pattern
        .char_indices()
        .find(|&(at, _)| {
            let rest = pattern.get(at..).unwrap_or("");
            rest.starts_with("...") || capture(rest).is_some()
        })
        .map(|(at, _)| at);
    let Some(at) = special else {
        return pattern == text;
    };
    let (literal, pattern) = pattern.split_at(at);
    let Some(text) = text.strip_prefix(literal) else {
        return false;
    };
    if let Some(pattern) = pattern.strip_prefix("...") {
        let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        return pattern.is_empty()
            || ends.any(|at| matches(pattern, text.get(at..).unwrap_or(""), captures));
    }
    let Some(name) = capture(pattern) else {
        return false;
    };
    let pattern = pattern.get(1 + name.len()..).unwrap_or("");
    if let Some(value) = captures.get(name).cloned() {
        return text
            .strip_prefix(value.as_str())
            .is_some_and(|text| matches(pattern, text, captures));
    }
    let end = text.find([' ', ']', ')']).unwrap_or(text.len());
    let (value, text) = text.split_at(end);
    captures.insert(name.into(), value.into());
    !value.is_empty() && matches(pattern, text, captures)
}

/// The name of a capture at the start: `$` and lower-case letters. IMAP's own `$Junk` and the like are none.
fn capture(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('$')?;
    let end = rest.find(|c: char| !c.is_ascii_lowercase());
    let (name, _) = rest.split_at(end.unwrap_or(rest.len()));
    (!name.is_empty()).then_some(name)
}
