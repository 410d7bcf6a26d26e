//! Takes fields out of a message on its way in that claim to be ours: RFC 8601 section 5, and the short form of our decisions.

use bytes::Bytes;
use mox_address::Domain;
use mox_message::{AUTHSERV_ID_WITHIN, AuthservId, authserv_id};

const RESULTS: &[u8] = b"authentication-results";
/// Only we write it: whoever looks for it in mail means ours.
const DECISION: &[u8] = b"x-mox-decision";
const NAMES: [&[u8]; 2] = [RESULTS, DECISION];
/// Octets of such a field that are held at most.
const HELD_MAX: usize = AUTHSERV_ID_WITHIN + RESULTS.len();

/// Passes a message on without the Authentication-Results fields that carry our own name, and without X-Mox-Decision: those who read it
/// later could not tell them from ours. One whose name cannot be read goes too if ours is in it. Nothing else is changed.
///
/// What may be such a field is held until its name is known, at most about 4 KiB; the body is passed on as it comes.
#[derive(Debug)]
pub struct Scrub {
    /// Our names, in lower case.
    names: Vec<Vec<u8>>,
    state: State,
    held: Vec<u8>,
    removed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line of the header; what is held are its first octets.
    Start,
    /// Within a line that is passed on.
    Pass,
    /// Within a field that may be one of ours.
    Candidate,
    /// Within a field that is taken out; what is held is the start of the line that shows whether it goes on.
    Remove,
    /// Behind the header.
    Body,
}

impl Scrub {
    /// For a host of this name.
    pub fn new(hostname: &Domain) -> Self {
        let mut names = vec![hostname.as_str().to_ascii_lowercase().into_bytes()];
        for name in [
            hostname.to_ascii().map(|name| name.to_string()),
            Ok(hostname.to_unicode()),
        ]
        .into_iter()
        .flatten()
        {
            let name = name.to_lowercase().into_bytes();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self {
            names,
            state: State::Start,
            held: Vec::new(),
            removed: 0,
        }
    }

    /// The next piece; what is to be passed on is appended to `out`.
    pub fn push(&mut self, piece: &Bytes, out: &mut Vec<Bytes>) {
        let mut at = 0;
        // Where what is passed on of this piece begins.
        let mut from = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            if self.state == State::Body {
                break;
            }
            let line = match rest.iter().position(|b| *b == b'\n') {
                Some(feed) => rest.get(..=feed).unwrap_or(rest),
                None => rest,
            };
            let ends = line.last() == Some(&b'\n');
            match self.state {
                State::Pass => {
                    if ends {
                        self.state = State::Start;
                    }
                    at += line.len();
                }
                State::Start if self.held.is_empty() && !may_be_candidate(line) => {
                    self.state = match (ends, line) {
                        (true, b"\n" | b"\r\n") => State::Body,
                        (true, _) => State::Start,
                        (false, _) => State::Pass,
                    };
                    at += line.len();
                }
                State::Start | State::Candidate | State::Remove => {
                    emit(piece, from, at, out);
                    // What is decided must not depend on how the message was cut.
                    let room = match self.state {
                        State::Remove => line.len(),
                        _ => HELD_MAX.saturating_sub(self.held.len()),
                    };
                    let taken = self.hold(line.get(..room).unwrap_or(line), out);
                    at += taken;
                    from = at;
                }
                State::Body => break,
            }
        }
        emit(piece, from, piece.len(), out);
    }

    /// The message is complete: what is still held.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        if self.state == State::Candidate && self.is_ours() {
            self.removed += 1;
            self.held.clear();
        }
        if self.state != State::Remove {
            self.release(out);
        }
        self.held.clear();
        self.state = State::Body;
    }

    /// Fields taken out so far.
    pub const fn removed(&self) -> u32 {
        self.removed
    }

    /// Takes octets of one line into what is held, and decides where it can. Returns how many it took.
    fn hold(&mut self, line: &[u8], out: &mut Vec<Bytes>) -> usize {
        match self.state {
            State::Start => {
                self.held.extend_from_slice(line);
                let ends = line.last() == Some(&b'\n');
                if is_candidate(&self.held) {
                    self.state = State::Candidate;
                    if self.held.len() >= HELD_MAX {
                        self.decide_within(out);
                    }
                } else if !may_be_candidate(&self.held) || ends {
                    self.state = match (ends, &*self.held) {
                        (true, b"\n" | b"\r\n") => State::Body,
                        (true, _) => State::Start,
                        (false, _) => State::Pass,
                    };
                    self.release(out);
                }
                line.len()
            }
            State::Candidate => {
                let at_line_start = self.held.last() == Some(&b'\n');
                let goes_on = matches!(line.first(), Some(b' ' | b'\t'));
                if at_line_start && !goes_on {
                    self.decide(out);
                    return 0;
                }
                self.held.extend_from_slice(line);
                if self.held.len() >= HELD_MAX {
                    self.decide_within(out);
                }
                line.len()
            }
            State::Remove => {
                let at_line_start = self.held.last() == Some(&b'\n');
                let goes_on = matches!(line.first(), Some(b' ' | b'\t'));
                if at_line_start && !goes_on {
                    self.held.clear();
                    self.state = State::Start;
                    return 0;
                }
                self.held.clear();
                self.held.extend(line.last());
                line.len()
            }
            State::Pass | State::Body => 0,
        }
    }

    /// The field is complete.
    fn decide(&mut self, out: &mut Vec<Bytes>) {
        if self.is_ours() {
            self.removed += 1;
            self.held.clear();
        }
        self.release(out);
        self.state = State::Start;
    }

    /// The field goes on, but its name is known.
    fn decide_within(&mut self, out: &mut Vec<Bytes>) {
        let ends = self.held.last() == Some(&b'\n');
        if self.is_ours() {
            self.removed += 1;
            let last = self.held.last().copied();
            self.held.clear();
            self.held.extend(last);
            self.state = State::Remove;
        } else {
            self.release(out);
            self.state = if ends { State::Start } else { State::Pass };
        }
    }

    fn release(&mut self, out: &mut Vec<Bytes>) {
        if !self.held.is_empty() {
            out.push(Bytes::from(std::mem::take(&mut self.held)));
        }
    }

    fn is_ours(&self) -> bool {
        if is_named(&self.held, DECISION) {
            return true;
        }
        let colon = self.held.iter().position(|b| *b == b':');
        let value = colon.and_then(|colon| self.held.get(colon + 1..));
        let value = value.unwrap_or_default();
        match authserv_id(value) {
            AuthservId::Name(id) => self.names.iter().any(|name| {
                *name == id || String::from_utf8_lossy(&id).to_lowercase().as_bytes() == *name
            }),
            AuthservId::Unreadable => {
                let text = String::from_utf8_lossy(value).to_lowercase();
                self.names
                    .iter()
                    .any(|name| text.contains(&*String::from_utf8_lossy(name)))
            }
        }
    }
}

fn emit(piece: &Bytes, from: usize, to: usize, out: &mut Vec<Bytes>) {
    if from < to {
        out.push(piece.slice(from..to));
    }
}

/// Whether a line that begins so is such a field: its name, and a colon behind white space that old messages have there.
fn is_candidate(line: &[u8]) -> bool {
    NAMES.iter().any(|name| is_named(line, name))
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    let (begin, behind) = line.split_at_checked(name.len()).unwrap_or_default();
    begin.eq_ignore_ascii_case(name) && behind.trim_ascii_start().starts_with(b":")
}

/// Whether it may still become one.
fn may_be_candidate(line: &[u8]) -> bool {
    // Long runs of white space are nobody's.
    let is_blank = |behind: &[u8]| behind.len() < 200 && behind.iter().all(u8::is_ascii_whitespace);
    let may_be = |name: &&[u8]| {
        let (begin, behind) = line.split_at_checked(name.len()).unwrap_or((line, b""));
        let begins = name
            .get(..begin.len())
            .is_some_and(|known| known.eq_ignore_ascii_case(begin));
        begins && !begin.is_empty() && (is_named(line, name) || is_blank(behind))
    };
    // A lone CR may be half of the empty line that ends the header.
    line == b"\r" || NAMES.iter().any(may_be)
}
