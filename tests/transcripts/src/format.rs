//! The file: header, blank line, body, attachments.

use std::fmt;
use std::time::Duration;

use crate::escape::unescape;

/// A parsed file. [`fmt::Display`] writes it back, byte for byte as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    /// Names and values, in order; a name may come again.
    pub header: Vec<(String, String)>,
    /// The dialogue.
    pub body: Vec<Line>,
    /// Names and texts, lines ending in LF.
    pub attachments: Vec<(String, String)>,
}

/// One line of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands in the file, from 1.
    pub number: usize,
    /// What it says.
    pub entry: Entry,
}

/// What a line of the body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// `C: text` or `S: text`: a line of one side, CRLF added.
    Text(char, String),
    /// `C| text` or `S| text`: exact octets with escapes, nothing added.
    Exact(char, String),
    /// `C< name` or `S< name`: an attachment.
    Attached(char, String),
    /// `? ...`: the machine asks.
    Ask(String),
    /// `! ...` or `!2 ...`: the world answers the open ask of that place, from 1.
    Answer(usize, String),
    /// `= ...`: a fact the machine tells.
    Fact(String),
    /// `@ ...`: what happens to the stream: tls, eof, drain.
    Transport(String),
    /// `+ 5m`: time passes; ns, us, ms, s, m or h.
    Wait(u64, &'static str),
    /// A comment or a blank line, as written.
    Comment(String),
}

/// Units of time, and how many nanoseconds they are.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a file is not a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for FormatError {}

impl Transcript {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut transcript = Self::default();
        // A line ends in LF or CRLF: also the last one, and also where somebody's editor added a CR to each.
        let lines = text.split_terminator('\n');
        let mut lines = lines
            .enumerate()
            .map(|(at, line)| (at + 1, line.trim_end_matches('\r')));
        for (line, text) in lines.by_ref() {
            if text.is_empty() {
                break;
            }
            let (name, value) = text.split_once(": ").ok_or(FormatError {
                line,
                reason: "a header line is `name: value`",
            })?;
            transcript.header.push((name.into(), value.into()));
        }
        for (number, text) in lines {
            let marker = text.strip_prefix("-- ").and_then(|t| t.strip_suffix(" --"));
            if let Some(name) = marker {
                transcript.attachments.push((name.into(), String::new()));
            } else if let Some((_, attachment)) = transcript.attachments.last_mut() {
                attachment.push_str(text);
                attachment.push('\n');
            } else {
                let entry = Entry::parse(text).map_err(|reason| FormatError {
                    line: number,
                    reason,
                })?;
                transcript.body.push(Line { number, entry });
            }
        }
        Ok(transcript)
    }

    /// The first value of a header line.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values of a header line.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |(n, _): &&(String, String)| n == name;
        self.header.iter().filter(named).map(|(_, v)| v.as_str())
    }

    /// An attachment with lines ending in CRLF.
    pub fn attachment(&self, name: &str) -> Option<Vec<u8>> {
        let (_, text) = self.attachments.iter().find(|(n, _)| n == name)?;
        Some(text.replace('\n', "\r\n").into_bytes())
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.header {
            writeln!(f, "{name}: {value}")?;
        }
        writeln!(f)?;
        for line in &self.body {
            writeln!(f, "{}", line.entry)?;
        }
        for (name, text) in &self.attachments {
            write!(f, "-- {name} --\n{text}")?;
        }
        Ok(())
    }
}

impl Entry {
    /// Reads one line.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.starts_with('#') {
            return Ok(Self::Comment(text.into()));
        }
        let (sigil, rest) = text.split_once(' ').ok_or("a sigil and a space expected")?;
        let rest = rest.to_string();
        Ok(match sigil {
            "C:" => Self::Text('C', rest),
            "S:" => Self::Text('S', rest),
            "C|" | "S|" => {
                unescape(&rest).map_err(|_| "no such escape")?;
                Self::Exact(if sigil == "C|" { 'C' } else { 'S' }, rest)
            }
            "C<" => Self::Attached('C', rest),
            "S<" => Self::Attached('S', rest),
            "?" => Self::Ask(rest),
            "=" => Self::Fact(rest),
            "@" => Self::Transport(rest),
            "+" => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (number, unit) = rest.split_at(digits);
                let number = number.parse().map_err(|_| "no time")?;
                let known = UNITS.iter().find(|(name, _)| *name == unit);
                let (unit, _) = known.ok_or("the unit is ns, us, ms, s, m or h")?;
                Self::Wait(number, unit)
            }
            _ => match sigil.strip_prefix('!') {
                Some("") => Self::Answer(1, rest),
                Some(place) => {
                    let place = place.parse().map_err(|_| "no place of an ask")?;
                    Self::Answer(place, rest)
                }
                None => return Err("no such sigil"),
            },
        })
    }

    /// How long `Wait` is.
    pub fn wait(&self) -> Option<Duration> {
        let Self::Wait(number, unit) = self else {
            return None;
        };
        let (_, nanos) = UNITS.iter().find(|(name, _)| name == unit)?;
        Some(Duration::from_nanos(number.saturating_mul(*nanos)))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(who, text) => write!(f, "{who}: {text}"),
            Self::Exact(who, text) => write!(f, "{who}| {text}"),
            Self::Attached(who, name) => write!(f, "{who}< {name}"),
            Self::Ask(text) => write!(f, "? {text}"),
            Self::Answer(1, text) => write!(f, "! {text}"),
            Self::Answer(place, text) => write!(f, "!{place} {text}"),
            Self::Fact(text) => write!(f, "= {text}"),
            Self::Transport(text) => write!(f, "@ {text}"),
            Self::Wait(number, unit) => write!(f, "+ {number}{unit}"),
            Self::Comment(text) => f.write_str(text),
        }
    }
}
