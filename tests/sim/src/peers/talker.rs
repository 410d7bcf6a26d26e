//! A server whose replies do not end.

use serde::{Deserialize, Serialize};

use super::{Act, Manner, Seen, Stage};

/// How it talks too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Babble {
    /// One reply line of so many octets.
    Line(usize),
    /// A reply of so many lines.
    Lines(usize),
    /// Line after line without end.
    Endless,
    /// One line without end.
    EndlessLine,
}

/// Talks too much at one stage.
#[derive(Debug, Clone, Copy)]
pub struct Talker {
    at: Stage,
    how: Babble,
}

impl Talker {
    /// Babbles so at this stage.
    pub fn new(at: Stage, how: Babble) -> Self {
        Self { at, how }
    }
}

impl Manner for Talker {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        if seen.stage != self.at {
            return None;
        }
        let (code, rest) = match seen.stage {
            Stage::Greeting => ("220", Vec::new()),
            Stage::Data => ("354", Vec::new()),
            Stage::Quit => ("221", vec![Act::Close]),
            _ => ("250", Vec::new()),
        };
        let mut acts = vec![match self.how {
            Babble::Line(octets) => {
                Act::Say(format!("{code} {}\r\n", "x".repeat(octets)).into_bytes())
            }
            Babble::Lines(lines) => {
                let more = format!("{code}-and so on\r\n").repeat(lines.saturating_sub(1));
                Act::Say(format!("{more}{code} enough\r\n").into_bytes())
            }
            Babble::Endless => Act::Repeat(format!("{code}-and so on\r\n").into_bytes()),
            Babble::EndlessLine => Act::Repeat(format!("{code} and so on").into_bytes()),
        }];
        acts.extend(rest);
        Some(acts)
    }

    fn is_clear(&self) -> bool {
        false
    }
}
